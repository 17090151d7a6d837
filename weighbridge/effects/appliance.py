"""From a plan to a running container: base, wheels, build, start, wait. Each step does only what is not done yet."""

from __future__ import annotations

import re
import shlex
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from docker.errors import NotFound
from docker.models.containers import Container

from weighbridge.catalog import Catalog
from weighbridge.effects import disk, probe
from weighbridge.effects.base import ensure_base
from weighbridge.effects.chat import HEALTH, wait_ready
from weighbridge.effects.docker import Host, NameReserved, engine_trouble, url_of
from weighbridge.effects.figures import reconciled
from weighbridge.effects.wheels import fetch_wheels
from weighbridge.engines import Engine
from weighbridge.errors import Ended, HostError, NotReady, WeighbridgeError
from weighbridge.facts import Value
from weighbridge.render import render_image
from weighbridge.runspec import LABEL, image_tag
from weighbridge.types import Plan, Recipe, Reconciliation, RunSpec

Say = Callable[[str], None]
_PROGRESS_EVERY_SECONDS = 5.0
_TAIL_LINES = 60
_STARTING_SECONDS = 10  # between a container's creation and its start
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_CONTEXT = "image"  # beneath the folder that is marked as ours, so that the mark is not sent to the builder


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
    memory: Reconciliation | None = None


def build(plan: Plan, catalog: Catalog, host: Host, folders: Folders, say: Say) -> Built:
    """The image of a plan; nothing happens when an image with the same recipe is there."""
    started = time.monotonic()
    recipe = render_image(plan, catalog)
    tag = image_tag(plan, recipe.digest)
    if host.find(recipe.digest) is not None:
        return Built(tag, recipe.digest, False, time.monotonic() - started)
    links = {}
    if recipe.gateway_base:
        ensure_base(recipe.gateway_base, mirror=folders.mirror, say=say)
    if recipe.lock and recipe.python:
        ensure_base(recipe.base, mirror=folders.mirror, say=say)
        lock = catalog.engine_file(plan.engine, recipe.lock)
        wheels = fetch_wheels(lock, folders.cache / "wheels", python=recipe.python, say=say)
        links = {f"{_CONTEXT}/wheels/{w.name}": w for w in wheels}
    files = {f"{_CONTEXT}/{name}": file for name, file in recipe.files.items()}
    folder = disk.write_folder(folders.build / tag.replace("/", "-").replace(":", "-"), files, links)
    host.build(folder / _CONTEXT, tag=tag, labels=_labels(plan, recipe), say=say)
    return Built(tag, recipe.digest, True, time.monotonic() - started)


def is_built(digest: str) -> bool:
    """Whether the image of a recipe is here; without a Docker engine it is not."""
    try:
        return Host().find(digest) is not None
    except HostError:
        return False


def has_image(tag: str) -> bool:
    """Whether an image of this very name is here; without a Docker engine it is not."""
    try:
        return any(tag in image.tags for image in Host().images())
    except HostError:
        return False


def _labels(plan: Plan, recipe: Recipe) -> dict[str, str]:
    return {
        f"{LABEL}.recipe": recipe.digest,
        f"{LABEL}.engine": f"{plan.engine} {plan.engine_version}",
        "org.opencontainers.image.title": f"{plan.model} on {plan.profile}",
    }


def check_startable(spec: RunSpec, host: Host) -> None:
    """Raises HostError when the name or the port is taken by anything but this very appliance."""
    if host.made_from(spec) is None:
        host.check_free(spec.name)
        probe.check_port(spec.host_address, spec.host_port)


def run(
    plan: Plan, spec: RunSpec, catalog: Catalog, host: Host, folders: Folders, say: Say, *, baked: bool = False
) -> Started:
    """Build what is missing, start the container and wait. One that was started just so is left alone.

    `baked`: the spec's image has all in it and is here.
    """
    engine = catalog.engine(plan.engine)
    running = host.same(spec)
    if running is not None:
        return _join(running, spec, engine, host, folders, say)
    try:
        host.check_free(spec.name)
        probe.check_port(spec.host_address, spec.host_port)
        if not baked:
            build(plan, catalog, host, folders, say)
        seconds = _start(spec, engine, host, folders, say)
    except HostError as e:
        running = _begun_elsewhere(spec, host, isinstance(e, NameReserved))
        if running is None:
            raise
        say(f"{spec.name} was started by another command at the same time")
        return _join(running, spec, engine, host, folders, say)
    container = host.container(spec.name)
    memory, url = reconciled(host, container, plan, engine), f"{url_of(container)}/v1"
    return Started(name=spec.name, url=url, image=spec.image, ready_seconds=round(seconds, 1), memory=memory)


def _join(running: Container, spec: RunSpec, engine: Engine, host: Host, folders: Folders, say: Say) -> Started:
    """Wait for one that runs just so already; whoever started it removes it when it fails."""
    _wait(running, engine, host, folders, say)
    return Started(name=spec.name, url=f"{url_of(running)}/v1", image=spec.image, ready_seconds=None)


def _begun_elsewhere(spec: RunSpec, host: Host, reserved: bool) -> Container | None:
    """The same container, made by another command a moment ago: running now or within seconds.

    `reserved`: its name is known to be taken, so that it may be there before the engine shows it. Raises HostError when
    it turns out to be another one's.
    """
    for _ in range(_STARTING_SECONDS * 5):
        found = host.made_from(spec)
        if found is not None and found.status == "running":
            return found
        if not reserved and (found is None or found.status != "created"):
            return None
        if reserved and host.made_as_another(spec):
            host.check_free(spec.name)
        time.sleep(0.2)
    return None


def _start(spec: RunSpec, engine: Engine, host: Host, folders: Folders, say: Say) -> float:
    """Seconds until the engine answered. A failed or interrupted start leaves no container behind."""
    token = uuid.uuid4().hex
    try:
        with ended_like_interrupted():
            container = host.run(spec, token)
            say(f"started {spec.name}, waiting for the engine")
            seconds = _wait(container, engine, host, folders, say)
            host.keep_alive(container, spec)
            return seconds
    except (KeyboardInterrupt, WeighbridgeError):
        _remove(spec, token, host, say)
        raise


def _remove(spec: RunSpec, token: str, host: Host, say: Say) -> None:
    """What this start made, however far it came. What ended it is the error to show, even where this fails too."""
    with undisturbed():
        try:
            container = host.made_by(spec, token)
            if container is not None:
                say(f"removing {spec.name}")
                host.stop(container, 5)
        except HostError as e:
            say(f"{e.message}\n  {e.hint}")


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C waits until what must not be left is gone."""
    before = {s: signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, *_ENDING)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(container: Container, engine: Engine, host: Host, folders: Folders, say: Say) -> float:
    """Seconds until the engine answered. NotReady shows the end of its log, and where the whole of it is kept."""
    progress = _Progress(container, engine, host, say)
    alive = lambda: must_live(container)  # noqa: E731
    try:
        url, cert, seconds = url_of(container), host.certificate(container), engine.ready_seconds
        return wait_ready(url, HEALTH, seconds=seconds, alive=alive, progress=progress, cert=cert)
    except NotReady as e:
        raise _with_log(e, container, host, folders) from None


def must_live(container: Container) -> None:
    """Raises NotReady when the container died, is being restarted or was removed."""
    with engine_trouble(f"the Docker engine does not say how {container.name} is"):
        try:
            container.reload()
        except NotFound:
            raise NotReady(f"{container.name} was removed before it was ready", "start it again: invoke run") from None
    state = container.attrs["State"]
    if state["Running"]:
        return
    oom = " (out of memory)" if state.get("OOMKilled") else ""
    code = state.get("ExitCode")
    raise NotReady(
        f"{container.name} died with exit code {code}{oom} before it was ready", "start it again: invoke run"
    )


def _with_log(error: NotReady, container: Container, host: Host, folders: Folders) -> NotReady:
    """The error with the end of the log; all of it is kept in a file, since the container is about to go."""
    path = folders.build / f"{container.name}.log"
    try:
        lines = list(host.logs(container))
    except HostError:  # somebody removed it
        return error
    told = [line for line in lines if f'"path":"{HEALTH}"' not in line]  # our own asking says nothing
    message = error.message + "".join(f"\n  | {line}" for line in told[-_TAIL_LINES:])
    hint = f"less {shlex.quote(str(path))}"
    try:
        disk.write_file(path, "".join(f"{line}\n" for line in lines))
    except HostError as e:
        hint = e.hint
    found = NotReady(message, hint)
    found.log = tuple(lines)
    return found


@contextmanager
def ended_like_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP are handled as Ctrl-C is, so that nothing is left behind; one that is ignored stays so."""

    def end(number: int, _: object) -> None:
        raise Ended(number)

    before = {n: signal.getsignal(n) for n in _ENDING if signal.getsignal(n) != signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
        try:
            lines = list(self.host.logs(self.container, tail=200))
        except HostError:  # a container that is gone is for must_live() to say
            lines = []
        for line in reversed(lines):
            for pattern, words in self.patterns:
                if pattern.search(line):
                    return words
        return "starting"
