"""From a plan to a running container: base, wheels, build, start, wait. Each step does only what is not done yet."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from docker.models.containers import Container

from weighbridge.catalog import Catalog
from weighbridge.effects import disk, probe
from weighbridge.effects.base import ensure_base
from weighbridge.effects.chat import wait_ready
from weighbridge.effects.docker import Host, must_live
from weighbridge.effects.wheels import fetch_wheels
from weighbridge.engines import Engine
from weighbridge.errors import NotReady
from weighbridge.facts import Value
from weighbridge.plan import slug
from weighbridge.render import render_image
from weighbridge.runspec import LABEL, image_tag, run_spec
from weighbridge.types import Plan, Recipe, RunSpec

Say = Callable[[str], None]
_PROGRESS_EVERY_SECONDS = 5.0


class Folders(NamedTuple):
    """Where builds are rendered and downloads are kept; and the Debian mirror, when it is not the machine's own."""

    build: Path
    cache: Path
    mirror: str | None = None


class Built(NamedTuple):
    """The image of a plan, and whether anything had to be done for it."""

    tag: str
    digest: str
    new: bool
    seconds: float


class Started(Value, frozen=True, kw_only=True):
    """A running appliance. `ready_seconds` is None when it ran already."""

    name: str
    url: str
    image: str
    ready_seconds: float | None


def build(plan: Plan, catalog: Catalog, host: Host, folders: Folders, say: Say) -> Built:
    """The image of a plan; nothing happens when an image with the same recipe is there."""
    started = time.monotonic()
    recipe = render_image(plan, catalog)
    tag = image_tag(plan, recipe.digest)
    if host.find(recipe.digest) is not None:
        return Built(tag, recipe.digest, False, time.monotonic() - started)
    links = {}
    if recipe.lock and recipe.python:
        ensure_base(recipe.base, mirror=folders.mirror, say=say)
        lock = catalog.engine_file(plan.engine, recipe.lock)
        wheels = fetch_wheels(lock, folders.cache / "wheels", python=recipe.python, say=say)
        links = {f"wheels/{w.name}": w for w in wheels}
    context = disk.write_folder(folders.build / tag.replace("/", "-").replace(":", "-"), recipe.files, links)
    host.build(context, tag=tag, labels=_labels(plan, recipe), say=say)
    return Built(tag, recipe.digest, True, time.monotonic() - started)


def _labels(plan: Plan, recipe: Recipe) -> dict[str, str]:
    return {
        f"{LABEL}.recipe": recipe.digest,
        f"{LABEL}.engine": f"{plan.engine} {plan.engine_version}",
        "org.opencontainers.image.title": f"{plan.model} on {plan.profile}",
    }


def spec_of(plan: Plan, catalog: Catalog, *, weights: Path, name: str, port: int) -> RunSpec:
    """The RunSpec of a plan with its image's digest."""
    profile = catalog.profile(plan.profile)
    engine = catalog.engine(plan.engine).families[plan.family]
    digest = render_image(plan, catalog).digest
    return run_spec(plan, profile.family, engine, digest=digest, weights=str(weights), name=name, port=port)


def run(plan: Plan, spec: RunSpec, catalog: Catalog, host: Host, folders: Folders, say: Say) -> Started:
    """Build what is missing, start the container and wait. The very same plan running already is left alone."""
    url = f"http://{spec.host_address}:{spec.host_port}"
    if host.same(spec.name, spec.labels[f"{LABEL}.plan"]):
        port = host.container(spec.name).labels[f"{LABEL}.port"]
        url = f"http://{spec.host_address}:{port}"
        return Started(name=spec.name, url=f"{url}/v1", image=spec.image, ready_seconds=None)
    host.check_free(spec.name)
    probe.check_port(spec.host_address, spec.host_port)
    build(plan, catalog, host, folders, say)
    seconds = _start(spec, catalog.engine(plan.engine), host, say, url)
    return Started(name=spec.name, url=f"{url}/v1", image=spec.image, ready_seconds=round(seconds, 1))


def _start(spec: RunSpec, engine: Engine, host: Host, say: Say, url: str) -> float:
    """Seconds until the engine answered. A failed or interrupted start leaves no container behind."""
    container = host.run(spec)
    say(f"started {spec.name}, waiting for the engine")
    progress = _Progress(container, engine, host, say)
    try:
        with terminated_like_interrupted():
            seconds = wait_ready(
                url,
                engine.health_path,
                seconds=engine.ready_seconds,
                alive=lambda: must_live(container),
                progress=progress,
            )
            host.keep_alive(container, spec)
            return seconds
    except (KeyboardInterrupt, NotReady):
        say(f"removing {spec.name}")
        host.stop(container, 5)
        raise


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM is handled as Ctrl-C is, so that nothing is left behind."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    except SystemExit as e:
        raise KeyboardInterrupt from e
    finally:
        signal.signal(signal.SIGTERM, before)


class _Progress:
    """A line every few seconds: how long, how much memory, and what the engine's log says it does."""

    def __init__(self, container: Container, engine: Engine, host: Host, say: Say) -> None:
        self.container, self.host, self.say = container, host, say
        self.patterns = [(re.compile(pattern), words) for pattern, words in engine.progress.items()]
        self.last = 0.0

    def __call__(self, passed: float) -> None:
        if passed - self.last < _PROGRESS_EVERY_SECONDS:
            return
        self.last = passed
        memory = self.host.memory_gib(self.container)
        used = f", {memory:.1f} GiB" if memory is not None else ""
        self.say(f"  {passed:.0f} s{used}: {self._doing()}")

    def _doing(self) -> str:
        for line in reversed(list(self.host.logs(self.container, tail=200))):
            for pattern, words in self.patterns:
                if pattern.search(line):
                    return words
        return "starting"


def build_name(plan: Plan) -> str:
    """The folder name of a rendered plan."""
    return f"{slug(plan.profile)}-{slug(plan.model)}"
