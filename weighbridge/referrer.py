"""The manifest of something that is said about an image: an OCI artifact whose `subject` is the image.

Formats: the OCI image specification 1.1 (artifactType, subject, the empty descriptor) and the distribution
specification 1.1 (the tag under which a registry without a list of referrers keeps one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from weighbridge.image import INDEX, MANIFEST, Sealed, plain, sealed
from weighbridge.runspec import LABEL

SMOKE = "application/vnd.weighbridge.smoke.v1+json"
EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_TITLE = "org.opencontainers.image.title"


class Artifact(NamedTuple):
    """A document about an image, and the manifest that ties them together."""

    kind: str
    document: bytes
    manifest: bytes
    annotations: dict[str, str]

    @property
    def blobs(self) -> list[tuple[Sealed, bytes]]:
        return [(sealed(EMPTY, "an empty config"), EMPTY), (sealed(self.document, "the report"), self.document)]

    def descriptor(self) -> dict[str, Any]:
        """How a list of referrers, or an index, names it."""
        found = sealed(self.manifest).descriptor(MANIFEST)
        return {**found, "artifactType": self.kind, "annotations": self.annotations}


def smoke_artifact(report: bytes, subject: Mapping[str, Any], said: Mapping[str, str]) -> Artifact:
    """A smoke report, tied to the image of this descriptor. `said` are annotations, such as what came of it."""
    annotations = {f"{LABEL}.{name}": value for name, value in said.items()}
    layer = {**sealed(report).descriptor(SMOKE), "annotations": {_TITLE: "smoke.json"}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": SMOKE,
        "config": sealed(EMPTY).descriptor(_EMPTY_TYPE),
        "layers": [layer],
        "subject": {name: subject[name] for name in ("mediaType", "digest", "size")},
        "annotations": annotations,
    }
    return Artifact(SMOKE, report, plain(manifest), annotations)


def referrers_tag(digest: str) -> str:
    """Where a registry that lists no referrers keeps the index of them."""
    return digest.replace(":", "-")


def with_referrer(listed: Sequence[Mapping[str, Any]], artifact: Artifact) -> bytes:
    """An index of referrers with this one in it, once."""
    own = artifact.descriptor()
    others = [dict(e) for e in listed if e.get("digest") != own["digest"]]
    return plain({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, own]})
