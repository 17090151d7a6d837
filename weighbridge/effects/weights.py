"""A folder of weights, checked before anything starts: incomplete files never reach an engine."""

from __future__ import annotations

import json
from pathlib import Path

from weighbridge.errors import BadFile

_LARGEST_HEADER_BYTES = 100_000_000  # the format's own limit


def check_weights(folder: Path) -> None:
    """Raises BadFile unless the folder holds a model that an engine can load."""
    if not folder.is_dir():
        raise BadFile(f"{folder}: no such folder of weights", "name the model's folder: --weights FOLDER")
    if not (folder / "config.json").is_file():
        raise BadFile(f"{folder}: holds no config.json", "name the model's folder: --weights FOLDER")
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise BadFile(f"{folder}: holds no .safetensors file", "fetch the weights in safetensors format")
    pointers = [
        s.name for s in shards if s.stat().st_size < 1024 and s.read_bytes().startswith(b"version https://git-lfs")
    ]
    if pointers:
        raise BadFile(
            f"{folder}: {len(pointers)} of {len(shards)} files are LFS pointers", f"cd {folder} && git lfs pull"
        )
    for shard in shards:
        wanted, found = whole_size(shard), shard.stat().st_size
        if wanted != found:
            said = f"its header says {wanted}" if wanted else "its header cannot be read"
            raise BadFile(f"{shard}: {found} bytes, and {said}", "fetch this file again")


def whole_size(shard: Path) -> int | None:
    """Bytes that a safetensors file must have, by its own header; None when there is no header to read."""
    with shard.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LARGEST_HEADER_BYTES:
            return None
        try:
            tensors = json.loads(file.read(length))
            ends = [t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"]
            return 8 + length + int(max(ends, default=0))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None
