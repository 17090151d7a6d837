"""This engine's own argument parser, for scripts/flags.py: loaded beside the engine's unpacked wheel."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable

WHEEL = "vllm"  # what pip calls it
VARIANT = "cpu"  # the local version with which its Python loads on a machine without cards
STAND_INS = ("gguf",)  # what it imports on the way and the parser does not need
PLACES = (  # where the parser is made, newest first
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.common.cli_args",
    "vllm.entrypoints.openai.cli_args",
)
REGISTERS = (  # names that the parser lets pass and the engine looks up later: flag, module, class
    ("--reasoning-parser", "vllm.reasoning", "ReasoningParserManager"),
    ("--tool-call-parser", "vllm.tool_parsers", "ToolParserManager"),
    ("--tool-call-parser", "vllm.entrypoints.openai.tool_parsers", "ToolParserManager"),
)


def parser() -> argparse.ArgumentParser:
    """What `vllm serve` reads its arguments with. It explains its flags only to somebody who asks for help."""
    sys.argv = ["vllm", "serve", "--help=all"]
    os.environ.update(VLLM_TARGET_DEVICE=VARIANT, VLLM_LOGGING_LEVEL="ERROR")
    made = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser()
    for place in PLACES:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as e:
            if e.name != place and not place.startswith(f"{e.name}."):
                raise
            continue
        found: argparse.ArgumentParser = module.make_arg_parser(made)
        return found
    raise SystemExit(f"no parser in any of {', '.join(PLACES)}: add where this version makes it")


def registered() -> dict[str, Iterable[str]]:
    """For a flag, the names its value may be although the parser takes any."""
    found: dict[str, Iterable[str]] = {}
    for flag, place, manager in REGISTERS:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError:
            continue
        found[flag] = getattr(module, manager).list_registered()
    return found
