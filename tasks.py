"""Weighbridge's verbs: plan, render, build, run and smoke-test the container that serves a model."""

from weighbridge.verbs.check import lint, upgrade_diff
from weighbridge.verbs.keys import keys
from weighbridge.verbs.look import calibrate, engines, fit, models, plan, profiles
from weighbridge.verbs.serve import build, clean, logs, render, run, status, stop
from weighbridge.verbs.smoke import smoke

__all__ = [
    "build",
    "calibrate",
    "clean",
    "engines",
    "fit",
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
    "upgrade_diff",
]
