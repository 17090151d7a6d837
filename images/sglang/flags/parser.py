"""This engine's own argument parser, for scripts/flags.py: loaded beside the engine's unpacked wheel."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable

WHEEL = "sglang"  # what pip calls it
VARIANT = None
# What it imports on the way and the parser does not need.
STAND_INS = (
    "IPython",
    "cuda",
    "flash_attn",
    "orjson",
    "pynvml",
    "soundfile",
    "torchao",
    "torchcodec",
)  # imported on the way, and not needed


def parser() -> argparse.ArgumentParser:
    """What `python -m sglang.launch_server` reads its arguments with."""
    made = argparse.ArgumentParser()
    importlib.import_module("sglang.srt.server_args").ServerArgs.add_cli_args(made)
    return made


def registered() -> dict[str, Iterable[str]]:
    """Nothing: its parser knows every name itself."""
    return {}
