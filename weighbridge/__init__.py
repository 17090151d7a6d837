"""Weighs a language model against a machine, then builds, runs and proves the container that serves it."""

__version__ = "0.1.0"
