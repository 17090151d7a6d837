"""What was typed, as an Order: text to numbers, with an error that names the flag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any

import msgspec

from weighbridge.errors import BadValue
from weighbridge.types import Order

_COUNTS = {  # with a value that a small machine takes, for the hint
    "tensor_parallel": "1", "pipeline_parallel": "1", "data_parallel": "1", "context": "1024", "sequences": "16",
    "batched_tokens": "2048", "graph_size": "64",
}  # fmt: skip
_TEXTS = (
    "profile", "model", "engine", "engine_version", "dtype", "kv_dtype", "quantization", "batching", "scheduling",
    "without", "extra_args",
)  # fmt: skip
_SUFFIXES = {"": 1, "k": 1000, "K": 1024, "m": 1000**2, "M": 1024**2}
_LARGEST = 10**9
_LAST_PORT = 65535


def read_order(flags: Mapping[str, Any], base: Order | None = None) -> Order:
    """`base`, or what is asked by default, with the flags that were given; None and False mean: not given.

    Raises BadValue.
    """
    found: dict[str, Any] = {name: flags[name] for name in _TEXTS if flags.get(name) is not None}
    for name, example in _COUNTS.items():
        if flags.get(name) is not None:
            found[name] = read_count(_flag(name), flags[name], example, least=1)
    if flags.get("model_config") and not flags.get("model"):
        found["model"] = _name_of(PurePath(flags["model_config"]))
    if flags.get("utilization") is not None:
        found["utilization"] = read_share("--utilization", flags["utilization"])
    if flags.get("visible_gib") is not None:
        found["visible_gib"] = read_share("--visible-gib", flags["visible_gib"])
    if flags.get("eager") and flags.get("compiled"):
        raise BadValue("--eager and --compiled are opposites", "give one of them")
    if flags.get("eager") or flags.get("compiled"):
        found["eager"] = bool(flags.get("eager"))
    return msgspec.structs.replace(base or Order(), **found)


def _name_of(config: PurePath) -> str:
    """A model that was given no name has its folder's."""
    folder = config.parent if config.suffix == ".json" else config
    if not folder.name:
        raise BadValue(f"--model-config {config}: the model has no name", "give it one: --model NAME")
    return folder.name


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def read_count(flag: str, text: Any, example: str, least: int = 0, most: int = _LARGEST) -> int:
    """A whole number; 32k is 32000 and 32K is 32768, as the engines read them. `example`: one that can be typed.

    Raises BadValue, which names both bounds.
    """
    match = re.fullmatch(r"(\d{1,12})([kKmM]?)", str(text).strip())
    found = int(match[1]) * _SUFFIXES[match[2]] if match else -1
    if not least <= found <= most:
        subject = f"{flag} {str(text)!r} is not a whole number from {least} to {most}"
        raise BadValue(subject, f"for example: {flag} {example}")
    return found


def read_share(flag: str, text: Any) -> float:
    try:
        return float(str(text))
    except ValueError:
        raise BadValue(f"{flag} {text!r} is not a number", f"for example: {flag} 0.9") from None


def read_positive(flag: str, text: Any) -> float:
    """A number above zero, in the flag's own unit."""
    with suppress(ValueError):
        found = float(str(text))
        if 0 < found < _LARGEST:  # nan is neither
            return found
    raise BadValue(f"{flag} {text!r} is not a number above 0", f"for example: {flag} 10")


def read_port(text: Any) -> int:
    """A TCP port; 0 stands for a free one."""
    with suppress(BadValue):  # whichever it is, the bounds are what has to be said
        port = read_count("--port", text, "8000")
        if port <= _LAST_PORT:
            return port
    raise BadValue(f"--port {str(text)!r} is no whole number from 0 to {_LAST_PORT}", "for example: --port 8000")


def read_name(name: str) -> str:
    """A container name, as the engines allow it."""
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}", name):
        raise BadValue(
            f"--name {name!r} cannot name a container", "letters, digits, dots and dashes: --name my-appliance"
        )
    return name
