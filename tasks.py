"""Weighbridge's verbs: plan, render, build, run and smoke-test the container that serves a model."""

from weighbridge.verbs.bake import bake
from weighbridge.verbs.look import engines, fit, models, plan, profiles
from weighbridge.verbs.serve import build, clean, logs, render, run, smoke, status, stop

__all__ = [
    "bake",
    "build",
    "clean",
    "engines",
    "fit",
    "logs",
    "models",
    "plan",
    "profiles",
    "render",
    "run",
    "smoke",
    "status",
    "stop",
]
