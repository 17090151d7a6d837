"""One bake as a process of its own, so that its CPU, bytes and memory are its own: TO MODEL PLACE CACHE IMAGE TEXT."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from contextlib import closing
from pathlib import Path

from weighbridge.effects.oci.bake import Work, bake, jobs_of
from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.engine import EngineImage
from weighbridge.effects.oci.folder import ModelFolder
from weighbridge.effects.oci.layout import LayoutSink
from weighbridge.effects.oci.sink import Sink
from weighbridge.image import BAKED, Sealed, sealed
from weighbridge.reference import read_reference


def engine_of(image: str, entrypoint: str, cache: Path) -> EngineImage:
    """The image, and above it a layer with an entrypoint: another text is another image, as after a build."""
    memo = cache / "engine.json"
    if not memo.is_file():
        from weighbridge.effects.docker import Host
        from weighbridge.effects.oci.engine import engine_image

        host = Host()
        found = engine_image(host.client.images.get(image), host, cache, "/models/m", print)
        memo.write_text(json.dumps([found.config, [[s.digest, s.size_bytes] for s in found.layers]]))
    config, rows = json.loads(memo.read_bytes())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("entrypoint.sh")
        member.size = len(entrypoint)
        tar.addfile(member, io.BytesIO(entrypoint.encode()))
    top = sealed(packed.getvalue(), "engine")
    (cache / "blobs" / top.digest).write_bytes(packed.getvalue())
    layers = [Sealed(digest=d, size_bytes=n, title="engine") for d, n in rows]
    diffs = [f"sha256:{s.digest}" for s in (*layers, top)]
    config = {**config, "history": [{"created_by": "bench"} for _ in diffs]}
    return EngineImage(config, (*layers, top), cache / "blobs")


def sink_of(to: str, place: str, model: Path, digests: Digests, cache: Path) -> Sink:
    """With the libraries of this sink alone, as the verb does."""
    if to == "layout":
        return LayoutSink(Path(place), "bench", model)
    if to == "docker":
        from weighbridge.effects.docker import Host
        from weighbridge.effects.oci.daemon import DockerSink

        return DockerSink(Host(), place, cache)
    if to == "podman":
        from weighbridge.effects.oci.pull import PodmanSink

        return PodmanSink("podman", place)
    from weighbridge.effects.oci.registry import RegistrySink

    return RegistrySink(read_reference(place), digests, {"DOCKER_CONFIG": "/nonexistent"}, uploads=cache / "uploads")


def main(to: str, model: str, place: str, cache: str, image: str, entrypoint: str) -> None:
    with closing(Digests(Path(cache))) as digests:
        engine = engine_of(image, entrypoint, Path(cache))
        with closing(sink_of(to, place, Path(model), digests, Path(cache))) as sink:
            files = ModelFolder(Path(model), "/models/m", "m", digests)
            done = bake(Work(files, engine, lambda lock: {BAKED: "bench"}, 20, jobs_of(None)), sink, digests, print)
    print(done.digest, done.poured_bytes, done.written_bytes, os.getpid())


if __name__ == "__main__":
    main(*sys.argv[1:7])
