"""A smoke report tied to the image it is about: in an OCI layout, or at a registry."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.layout import LayoutSink
from weighbridge.effects.oci.registry import RegistrySink
from weighbridge.effects.records import smoke_bytes
from weighbridge.errors import BadValue, HostError
from weighbridge.image import BAKED, INDEX, MANIFEST, WEIGHTS
from weighbridge.reference import Reference, read_reference
from weighbridge.referrer import Artifact, referrers_tag, smoke_artifact, with_referrer
from weighbridge.types import SmokeReport
from weighbridge.words import many

_ACCEPT = {"Accept": f"{MANIFEST}, {INDEX}, application/vnd.docker.distribution.manifest.v2+json"}


def attach(report: SmokeReport, place: str, cache: Path, *, insecure: bool = False) -> dict[str, str]:
    """Tie the report to the image at `place`, a layout's folder or HOST/NAME:TAG; what was made, by name.

    Raises BadValue for an image that the report is not about, HostError for a place that does not take it.
    """
    reference = check_place(place)
    if reference is None:
        return _to_layout(report, Path(place))
    with (
        closing(Digests(cache)) as digests,
        closing(RegistrySink(reference, digests, os.environ, insecure=insecure)) as sink,
    ):
        return _to_registry(report, sink, place)


def check_place(place: str) -> Reference | None:
    """None for a layout's folder, else the name at a registry. Raises BadValue, before anything is asked or baked."""
    folder = Path(place)
    if folder.is_dir():
        if not (folder / "oci-layout").is_file():
            raise BadValue(f"{folder}: no OCI layout", "make one: invoke bake --to layout")
        return None
    try:
        return read_reference(place)
    except BadValue:
        message = f"--attach {place!r} is neither a layout's folder that is there nor HOST/NAME:TAG"
        raise BadValue(message, f"make a layout: invoke bake --to layout --output {place}") from None


def _artifact(report: SmokeReport, subject: Mapping[str, Any], image: Mapping[str, Any], place: str) -> Artifact:
    """The report's artifact, when the image there is the one that was asked."""
    recipe, there = report.about.get("recipe"), (image.get("annotations") or {}).get(BAKED)
    if not recipe or there != recipe:
        message = f"{place} is of recipe {str(there)[:12]}, and the report of {str(recipe)[:12]}"
        raise BadValue(message, "bake the plan that runs, or start the image that is there: invoke run --baked")
    weights, sealed = report.about.get("weights") or "mounted", (image.get("annotations") or {}).get(WEIGHTS)
    if weights not in ("mounted", sealed):
        message = f"{place} holds weights {str(sealed)[:19]}, and those that were asked are {weights[:19]}"
        raise BadValue(message, "start the image that is there: invoke run --baked")
    marks = [c.ok for c in report.checks]
    said = {
        "smoke": "passed" if report.ok else "failed", "smoke.level": report.level,
        "smoke.weights": "mounted" if weights == "mounted" else "of the image",
        "smoke.checks": f"{marks.count(True)} of {len(marks) - marks.count(None)}",
    }  # fmt: skip
    return smoke_artifact(smoke_bytes(report), subject, said)


def _made(artifact: Artifact, subject: Mapping[str, Any], place: str) -> dict[str, str]:
    return {"place": place, "subject": str(subject["digest"]), "digest": str(artifact.descriptor()["digest"])}


def _to_layout(report: SmokeReport, folder: Path) -> dict[str, str]:
    with closing(LayoutSink(folder, "", folder)) as sink:
        images = [e for e in sink.entries() if e.get("artifactType") is None]
        if len(images) != 1:
            raise BadValue(f"{folder}: holds {many(len(images), 'image')}", "name a layout with one image in it")
        image = json.loads((sink.blobs / images[0]["digest"].removeprefix("sha256:")).read_bytes())
        artifact = _artifact(report, images[0], image, str(folder))
        sink.add(artifact)
        return _made(artifact, images[0], str(folder))


def _to_registry(report: SmokeReport, sink: RegistrySink, place: str) -> dict[str, str]:
    found = sink.manifest(sink.reference.tag, _ACCEPT)
    if found is None:
        raise HostError(f"{place}: no such image", "push it: invoke bake --to registry --ref HOST/NAME:TAG")
    content, kind = found
    subject: dict[str, Any] = {
        "mediaType": kind, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content),
    }  # fmt: skip
    artifact = _artifact(report, subject, json.loads(content), place)
    for blob, data in artifact.blobs:
        sink.put_small(blob, data)
    digest = str(artifact.descriptor()["digest"])
    listed = sink.put_manifest(digest, artifact.manifest, MANIFEST)
    if not listed:  # a registry that does not know `subject` lists nothing: the tag of the specification does
        tag = referrers_tag(subject["digest"])
        old = sink.manifest(tag, _ACCEPT)
        entries = json.loads(old[0]).get("manifests", []) if old else []
        sink.put_manifest(tag, with_referrer(entries, artifact), INDEX)
    return _made(artifact, subject, place)
