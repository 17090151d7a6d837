"""The JSON of a baked image: config, manifest, index. Layers of weights lie beneath those of the engine's image.

The formats are the OCI image specification's, version 1.1. Same layers, same bytes: keys are sorted, the time is 1970.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from weighbridge.facts import Value
from weighbridge.lock import Lock
from weighbridge.plan import slug
from weighbridge.runspec import LABEL
from weighbridge.types import Plan

CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"

BAKED = f"{LABEL}.baked"
WEIGHTS = f"{LABEL}.weights"
_CREATED = "1970-01-01T00:00:00Z"
_TITLE = "org.opencontainers.image"
_KEPT = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "Shell", "StopSignal", "User", "Volumes",
         "WorkingDir")  # fmt: skip


class Sealed(Value, frozen=True, kw_only=True):
    """A blob that is known to the last byte. `digest` is sha256 in hexadecimal."""

    digest: str
    size_bytes: int
    title: str = ""

    def descriptor(self, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": f"sha256:{self.digest}", "size": self.size_bytes}


class Image(NamedTuple):
    """A whole image but for its layers' bytes."""

    layers: tuple[Sealed, ...]
    config: bytes
    manifest: bytes
    annotations: Mapping[str, str]

    @property
    def config_blob(self) -> Sealed:
        return sealed(self.config)

    @property
    def manifest_blob(self) -> Sealed:
        return sealed(self.manifest)

    @property
    def all_layers(self) -> tuple[str, ...]:
        return tuple(s.digest for s in self.layers)


def baked_tag(plan: Plan, digest: str) -> str:
    """`weighbridge-baked/<engine>:<profile>-<model>-<digest>`: the name of a recipe's image with its weights inside."""
    return f"weighbridge-baked/{slug(plan.engine)}:{slug(plan.profile)}-{slug(plan.model)}-{digest[:12]}"


def sealed(content: bytes, title: str = "") -> Sealed:
    return Sealed(digest=hashlib.sha256(content).hexdigest(), size_bytes=len(content), title=title)


def marks(plan: Plan, lock: Lock, recipe: str, licence: str | None) -> dict[str, str]:
    """Labels and annotations: what is inside, by name and by content."""
    found = {
        BAKED: recipe,
        WEIGHTS: f"sha256:{lock.digest}",
        f"{LABEL}.model": plan.model,
        f"{_TITLE}.title": f"{plan.model} on {plan.profile}, weights inside",
        f"{LABEL}.repository": lock.repository,
        f"{_TITLE}.revision": lock.revision,
        f"{_TITLE}.licenses": lock.licence or licence,
    }
    return {name: value for name, value in found.items() if value}


def image_of(
    weights: Sequence[Sealed], engine: Mapping[str, Any], engine_layers: Sequence[Sealed], marked: Mapping[str, str]
) -> Image:
    """The image of these layers, weights first. `engine` is the config of the engine's image, whole."""
    layers = (*weights, *engine_layers)
    config = _config(weights, engine, engine_layers, marked)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": sealed(config).descriptor(CONFIG),
        "layers": [s.descriptor(TAR) for s in layers],
        "annotations": dict(marked),
    }
    return Image(layers, config, plain(manifest), marked)


def _config(
    weights: Sequence[Sealed], engine: Mapping[str, Any], engine_layers: Sequence[Sealed], marked: Mapping[str, str]
) -> bytes:
    inner = {k: v for k in _KEPT if (v := (engine.get("config") or {}).get(k))}
    recipe = f"{LABEL}.recipe"  # names the image without weights, which must not be taken for this one
    labels = {k: v for k, v in (inner.get("Labels") or {}).items() if k != recipe}
    inner["Labels"] = {**labels, **marked}
    history = [
        {"created": _CREATED, "created_by": "weighbridge bake", "comment": f"weights: {s.title}"} for s in weights
    ]
    found = {
        **{k: engine[k] for k in ("architecture", "os", "variant") if engine.get(k)},
        "created": _CREATED,
        "config": inner,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{s.digest}" for s in (*weights, *engine_layers)]},
        "history": [*history, *(engine.get("history") or [{"created": _CREATED} for _ in engine_layers])],
    }
    return plain(found)


def index_json(descriptors: Sequence[Mapping[str, Any]]) -> bytes:
    return plain({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(descriptors)})


def index_entry(image: Image, reference: str) -> dict[str, Any]:
    """How an index names an image."""
    names = {f"{_TITLE}.ref.name": reference}
    return {**image.manifest_blob.descriptor(MANIFEST), "annotations": names}


def named(entry: Mapping[str, Any]) -> str | None:
    """The name under which an index lists an image."""
    found = (entry.get("annotations") or {}).get(f"{_TITLE}.ref.name")
    return str(found) if found else None


def archive_manifest(image: Image, tag: str, paths: Sequence[str], config_path: str) -> bytes:
    """manifest.json of the archive that Docker engines load."""
    return plain([{"Config": config_path, "RepoTags": [tag], "Layers": list(paths)}])


def plain(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
