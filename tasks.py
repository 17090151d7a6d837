"""Weighbridge's verbs: plan, render, build, run and smoke-test the container that serves a model."""

from weighbridge.program import adopt
from weighbridge.verbs.bake import bake
from weighbridge.verbs.check import lint, upgrade_diff
from weighbridge.verbs.diagnose import diagnose
from weighbridge.verbs.doctor import doctor, host_setup
from weighbridge.verbs.keys import keys
from weighbridge.verbs.look import calibrate, engines, fit, models, plan, profiles
from weighbridge.verbs.prove import bench
from weighbridge.verbs.serve import build, clean, logs, render, run, status, stop
from weighbridge.verbs.smoke import smoke
from weighbridge.verbs.tune import tune
from weighbridge.verbs.warm import warm
from weighbridge.verbs.weights import fetch, verify

__all__ = [
    "bake",
    "bench",
    "build",
    "calibrate",
    "clean",
    "diagnose",
    "doctor",
    "engines",
    "fetch",
    "fit",
    "host_setup",
    "keys",
    "lint",
    "logs",
    "models",
    "plan",
    "profiles",
    "render",
    "run",
    "smoke",
    "status",
    "stop",
    "tune",
    "upgrade_diff",
    "verify",
    "warm",
]

adopt()
