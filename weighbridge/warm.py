"""Which compiled kernels fit a plan: the key of a warm layer, and what is said of one.

A layer lies at /opt/weighbridge/warm of an appliance's image. images/_shared/gateway/warm.py packs it in one container
and lays it into another's cache; it adds to the key what only a machine shows: the card, and the model's config.json.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from weighbridge.engines import Engine
from weighbridge.errors import BadFile
from weighbridge.facts import Value
from weighbridge.report import table
from weighbridge.types import Plan

LAYER = "warm"
MANIFEST = f"{LAYER}/key.json"
CACHE = f"{LAYER}/cache/"
FORMAT = 1
# Engines name their compiled programs by these, or by what follows from them. Names, ports, parsers, keys and the
# share of memory change nothing that is compiled.
_FIELDS = (
    "engine", "engine_version", "family", "base_image", "model_path", "tensor_parallel", "pipeline_parallel",
    "data_parallel", "dtype", "quantization", "kv_dtype", "max_model_len", "max_num_seqs", "max_num_batched_tokens",
    "eager",
)  # fmt: skip


def key(plan: Plan) -> dict[str, str]:
    """What of a plan a compiled program follows from, as text."""
    return {name: str(getattr(plan, name)) for name in _FIELDS}


def warm_json(plan: Plan, engine: Engine) -> str:
    """What the container is told: for which plan, from where and to where; an empty object where nothing is kept."""
    cache = engine.families[plan.family].cache_path
    found: dict[str, Any] = {}
    if engine.warm and cache:
        rules = {"keep": engine.warm.keep, "drop": engine.warm.drop}
        found = {"key": key(plan), "cache": cache, "model": plan.model_path, **rules}
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


class Manifest(Value, frozen=True, kw_only=True):
    """key.json of a layer. `made` is the time of the newest file; `files`: path in the cache -> sha256, bytes."""

    format: int
    key: dict[str, str]
    made: str
    files: dict[str, tuple[str, int]]

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.files.values())

    @property
    def card(self) -> str:
        return self.key.get("card", "")


def read_manifest(content: bytes, name: str) -> Manifest:
    """Raises BadFile for what is no manifest of this format."""
    try:
        found = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise BadFile(f"{name}: {MANIFEST} cannot be read: {e}", "make it again: invoke warm --export FILE") from None
    if found.format != FORMAT:
        message = f"{name}: format {found.format}, this version reads {FORMAT}"
        raise BadFile(message, "make it again: invoke warm --export FILE")
    return found


def misfit(manifest: Manifest, plan: Plan) -> str:
    """The first thing in which a layer was made for another plan, in words; empty when it fits."""
    for name, here in key(plan).items():
        there = manifest.key.get(name)
        if there != here:
            return f"{name.replace('_', ' ')} {there} there, {here} here"
    return ""


class Warmed(Value, frozen=True, kw_only=True):
    """What came of warming an image. `seconds` is None for a layer that was not made now."""

    image: str
    card: str
    made: str
    digest: str
    files: int
    size_bytes: int
    folders: dict[str, int]
    seconds: float | None = None
    export: str | None = None


def folders_of(manifest: Manifest) -> dict[str, int]:
    """Bytes by the folder of the cache that they lie in."""
    found: dict[str, int] = {}
    for path, (_, size) in manifest.files.items():
        name = "/".join(path.split("/")[:2]) if path.count("/") > 1 else path.split("/")[0]
        found[name] = found.get(name, 0) + size
    return dict(sorted(found.items()))


def warmed_text(done: Warmed) -> str:
    rows = [(name, f"{size / 2**20:.2f} MiB") for name, size in done.folders.items()]
    lines = [
        f"{done.image} has {done.files} files that the engine compiled, {done.size_bytes / 2**20:.1f} MiB",
        f"made {done.made} on: {done.card}",
        "",
        table(rows, ("FOLDER", "SIZE")),
        "",
        *([f"written to {done.export}"] if done.export else []),
        "start it: invoke run; the log says: warm start",
    ]
    return "\n".join(lines)
