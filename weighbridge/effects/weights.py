"""A folder of weights, checked before anything starts: incomplete files never reach an engine."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from weighbridge.catalog import Catalog
from weighbridge.errors import BadFile
from weighbridge.facts import Shape
from weighbridge.lock import LOCK_NAME
from weighbridge.words import are, many

_LARGEST_HEADER_BYTES = 100_000_000  # the format's own limit
_INDEX = "model.safetensors.index.json"
_SAME = {"hidden_size": "hidden_size", "num_hidden_layers": "layers", "vocab_size": "vocab_size"}


def check_weights(folder: Path, model: str | None = None) -> None:
    """Raises BadFile unless the folder holds a model that an engine can load; `model` is what fetch could bring."""
    if not folder.is_dir() and model:
        hint = f"invoke fetch --model {shlex.quote(model)}; or name its folder: --weights FOLDER"
        raise BadFile(f"{folder}: {model} is not here", hint)
    if not folder.is_dir():
        raise BadFile(f"{folder}: no such folder of weights", "name the model's folder: --weights FOLDER")
    if not (folder / "config.json").is_file():
        raise BadFile(f"{folder}: holds no config.json", "name the model's folder: --weights FOLDER")
    if (folder / f".{LOCK_NAME}").is_file() and not (folder / LOCK_NAME).is_file():
        hint = f"bring them again: invoke fetch --model {shlex.quote(model or folder.name)}"
        raise BadFile(f"{folder}: files were found corrupt and moved away", hint)
    _check_links(folder)
    _check_index(folder)
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise BadFile(f"{folder}: holds no .safetensors file", "fetch the weights in safetensors format")
    pointers = [
        s.name for s in shards if s.stat().st_size < 1024 and s.read_bytes().startswith(b"version https://git-lfs")
    ]
    if pointers:
        kind = "is an LFS pointer" if len(pointers) == 1 else "are LFS pointers"
        raise BadFile(
            f"{folder}: {len(pointers)} of {many(len(shards), 'file')} {kind}",
            f"cd {shlex.quote(str(folder))} && git lfs pull",
        )
    for shard in shards:
        wanted, found = whole_size(shard), shard.stat().st_size
        if wanted != found:
            said = f"its header says {wanted}" if wanted else "its header cannot be read"
            raise BadFile(f"{shard}: {found} bytes, and {said}", "fetch this file again")


def check_model(folder: Path, model: str, planned: Shape, catalog: Catalog) -> None:
    """Raises BadFile when the folder's own config.json is another model's than the one that was planned."""
    found = catalog.model_from_config(model, folder).shape
    wrong = [
        f"{key} {getattr(found, field)}, planned {getattr(planned, field)}"
        for key, field in _SAME.items()
        if getattr(found, field) != getattr(planned, field)
    ]
    if wrong:
        hint = f"plan what is there: --model NAME --model-config {shlex.quote(str(folder))}"
        raise BadFile(f"{folder}: not the weights of {model}: {'; '.join(wrong)}", hint)


def _check_links(folder: Path) -> None:
    """The container sees the folder alone: a link out of it, as in download caches, leads nowhere there."""
    root = folder.resolve()
    links = sorted(p.name for p in folder.iterdir() if p.is_symlink() and not p.resolve().is_relative_to(root))
    if links:
        out = many(len(links), "file is a link", "files are links")
        message = f"{folder}: {out} out of the folder, the first is {links[0]}"
        raise BadFile(message, f"cp -rL {shlex.quote(str(folder))} NEW, then --weights NEW")


def _check_index(folder: Path) -> None:
    """Every file that the index names must be there."""
    path = folder / _INDEX
    if not path.is_file():
        return
    try:
        names = sorted({str(name) for name in json.loads(path.read_bytes())["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadFile(f"{path}: names no files in weight_map", "fetch this file again") from None
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        lacks = f"{len(missing)} of {many(len(names), 'shard')} {are(len(missing))} missing"
        message = f"{folder}: {lacks}, the first is {missing[0]}"
        raise BadFile(message, f"fetch them again; what is there: ls {shlex.quote(str(folder))}")


def whole_size(shard: Path) -> int | None:
    """Bytes that a safetensors file must have, by its own header; None when there is no header to read."""
    found = _header(shard)
    if found is None:
        return None
    length, spans = found
    return 8 + length + max((end for _, end in spans.values()), default=0)


def stored_bytes(folder: Path, shape: Shape) -> int | None:
    """Bytes of the tensors that an engine loads, by the headers of a folder's shards; None without readable shards.

    Prediction layers past the model's own, and a head that is tied to the embedding, are stored and not loaded.
    """
    headers = [_header(shard) for shard in sorted(folder.glob("*.safetensors"))]
    if not headers or any(h is None for h in headers):
        return None
    spans = [(name, end - begin) for h in headers if h for name, (begin, end) in h[1].items()]
    return sum(size for name, size in spans if _is_loaded(name, shape))


def _is_loaded(name: str, shape: Shape) -> bool:
    if shape.tied_embeddings and name.endswith("lm_head.weight"):
        return False
    layer = re.search(r"\blayers\.(\d+)\.", name)
    return layer is None or int(layer[1]) < shape.layers


def _header(shard: Path) -> tuple[int, dict[str, tuple[int, int]]] | None:
    """The length of a shard's header, and for each tensor where its bytes begin and end after it."""
    with shard.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LARGEST_HEADER_BYTES:
            return None
        try:
            tensors = json.loads(file.read(length))
            offsets = {n: t["data_offsets"] for n, t in tensors.items() if n != "__metadata__"}
            return length, {n: (int(o[0]), int(o[1])) for n, o in offsets.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            return None
