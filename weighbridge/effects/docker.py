"""The Docker engine: find, build, run, watch, stop. The only place that speaks to it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.images import Image

from weighbridge.errors import HostError, NotReady, UnknownName, nearest
from weighbridge.runspec import LABEL, sdk_arguments
from weighbridge.types import RunSpec

Say = Callable[[str], None]
PLAN_FILE = "/opt/weighbridge/plan.json"
_TAIL_LINES = 60


class Running(NamedTuple):
    """An appliance on this host, running or not."""

    name: str
    state: str
    model: str
    profile: str
    url: str
    since: str


class Host:
    """A Docker engine. Raises HostError when none answers."""

    def __init__(self) -> None:
        try:
            self.client = docker.from_env(timeout=600)
            self.client.ping()
        except (DockerException, requests.RequestException) as e:
            raise HostError(f"no Docker engine answers: {_short(e)}", "start one: make docker") from None

    # --- images

    def find(self, digest: str) -> Image | None:
        """The image that was built from this recipe."""
        found = self.client.images.list(filters={"label": f"{LABEL}.recipe={digest}"})
        return found[0] if found else None

    def build(self, context: Path, *, tag: str, labels: dict[str, str], say: Say) -> None:
        """Build a context without network: buildx where it is there, else the engine's classic builder."""
        say(f"building {tag}")
        started = time.monotonic()
        if _has_buildx():
            self._buildx(context, tag, labels, say)
        else:
            self._classic(context, tag, labels, say)
        size = self.client.images.get(tag).attrs["Size"] / 1e9
        say(f"built {tag}: {size:.2f} GB in {time.monotonic() - started:.0f} s")

    def _buildx(self, context: Path, tag: str, labels: dict[str, str], say: Say) -> None:
        marks = [w for k, v in labels.items() for w in ("--label", f"{k}={v}")]
        words = ["docker", "buildx", "build", "--load", "--network", "none", "--progress", "plain", "--tag", tag]
        with subprocess.Popen(
            [*words, *marks, str(context)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip())
                if " RUN " in line or " COPY " in line:
                    say(f"  {line.strip()[:110]}")
        if process.returncode:
            raise HostError(f"the build of {tag} failed: {_last_of(lines)}", f"see it whole: docker build {context}")

    def _classic(self, context: Path, tag: str, labels: dict[str, str], say: Say) -> None:
        lines: list[str] = []
        try:
            stream = self.client.api.build(
                path=str(context), tag=tag, labels=labels, network_mode="none", rm=True, forcerm=True, decode=True
            )
            for event in stream:
                if "error" in event:
                    raise HostError(
                        f"the build of {tag} failed: {event['error'].strip()}", f"see it whole: docker build {context}"
                    )
                text = str(event.get("stream", "")).strip()
                lines.append(text)
                if text.startswith("Step "):
                    say(f"  {text[:110]}")
        except (APIError, requests.RequestException) as e:
            raise HostError(f"the build of {tag} failed: {_short(e)}", "docker info") from None

    def remove_image(self, image: Image) -> None:
        try:
            self.client.images.remove(str(image.id), force=True)
        except APIError as e:
            raise HostError(
                f"image {image.tags or image.short_id}: {_short(e)}", "stop what uses it: invoke stop"
            ) from None

    def images(self) -> list[Image]:
        return self.client.images.list(filters={"label": f"{LABEL}.recipe"})

    # --- containers

    def run(self, spec: RunSpec) -> Container:
        """Start the container. A name or an image that is taken or missing is a two-line error."""
        self.check_free(spec.name)
        try:
            # Until it is ready a death is final: its log and exit code are what the person needs.
            container: Container = self.client.containers.run(
                **{**sdk_arguments(spec), "restart_policy": {"Name": "no"}}
            )
            return container
        except ImageNotFound:
            raise HostError(f"no image {spec.image}", "build it: invoke build") from None
        except APIError as e:
            self._discard(spec.name)
            raise HostError(f"Docker did not start {spec.name}: {_short(e)}", "docker info") from None

    def keep_alive(self, container: Container, spec: RunSpec) -> None:
        """From now on a death is answered as the spec says."""
        container.update(restart_policy=sdk_arguments(spec)["restart_policy"])

    def same(self, name: str, digest: str) -> bool:
        """Whether this very plan runs under this name already."""
        found = self._get(name)
        return found is not None and found.status == "running" and found.labels.get(f"{LABEL}.plan") == digest

    def check_free(self, name: str) -> None:
        """Raises HostError when a container has this name."""
        found = self._get(name)
        if found is not None:
            ours = f"{LABEL}.name" in found.labels
            hint = f"try: invoke stop --name {name}" if ours else f"try another: --name {name}-2"
            raise HostError(f"a container called {name} is {found.status} already", hint)

    def _get(self, name: str) -> Container | None:
        try:
            return self.client.containers.get(name)
        except NotFound:
            return None

    def _discard(self, name: str) -> None:
        found = self._get(name)
        if found is not None:
            found.remove(force=True)

    def appliances(self) -> list[Container]:
        return self.client.containers.list(all=True, filters={"label": f"{LABEL}.name"})

    def describe(self) -> list[Running]:
        return [_describe(c) for c in self.appliances()]

    def container(self, name: str | None) -> Container:
        """The appliance of this name; without one, the only one there is."""
        found = {c.labels[f"{LABEL}.name"]: c for c in self.appliances()}
        if name in found:
            return found[name]
        if name is None and len(found) == 1:
            return next(iter(found.values()))
        if not found:
            raise UnknownName(
                "no appliance runs here" if name is None else f"no appliance called {name!r}", "invoke run"
            )
        near = nearest(name or "", found)
        hint = f"did you mean --name {near}?" if near else f"name one: --name {' | '.join(sorted(found))}"
        raise UnknownName(f"no appliance called {name!r}" if name else f"{len(found)} appliances are here", hint)

    def stop(self, container: Container, seconds: int) -> None:
        """Stop and remove: running requests get `seconds` to end."""
        try:
            container.stop(timeout=seconds)
            container.remove(force=True)
        except NotFound:
            return
        except (APIError, requests.RequestException) as e:
            raise HostError(f"{container.name} does not stop: {_short(e)}", f"docker rm -f {container.name}") from None

    def plan_of(self, container: Container) -> dict[str, Any]:
        """The plan that travels in the image. Raises HostError when it is not there."""
        try:
            stream, _ = container.get_archive(PLAN_FILE)
        except (NotFound, APIError):
            raise HostError(f"{container.name} holds no {PLAN_FILE}", "build it again: invoke build") from None
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            member = tar.extractfile("plan.json")
            assert member is not None
            found = json.loads(member.read())
        assert isinstance(found, dict)
        return found

    def logs(self, container: Container, *, follow: bool = False, tail: int | None = None) -> Iterator[str]:
        stream = container.logs(stream=True, follow=follow, tail="all" if tail is None else tail)
        pending = b""
        for chunk in stream:
            *whole, pending = (pending + chunk).split(b"\n")
            yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
        if pending:
            yield pending.decode(errors="replace")

    def memory_gib(self, container: Container) -> float | None:
        """What the container uses now, page cache left out; None when the engine does not say."""
        try:
            stats = self.client.api.stats(str(container.id), stream=False, one_shot=True)["memory_stats"]
            inner = stats.get("stats", {})
            cache = inner.get("total_inactive_file", inner.get("inactive_file", 0))
            return float(stats["usage"] - cache) / 1024**3
        except (KeyError, DockerException, requests.RequestException):
            return None


def must_live(container: Container) -> None:
    """Raises NotReady, with the end of the log, when the container died or is being restarted."""
    container.reload()
    state = container.attrs["State"]
    if state["Running"]:
        return
    code = state.get("ExitCode")
    tail = container.logs(tail=_TAIL_LINES).decode(errors="replace").rstrip()
    oom = " (out of memory)" if state.get("OOMKilled") else ""
    log = "\n".join(f"  | {line}" for line in tail.splitlines())
    raise NotReady(
        f"{container.name} died with exit code {code}{oom} before it was ready\n{log}", "see it whole: invoke logs"
    )


def _describe(container: Container) -> Running:
    labels = container.labels
    ports = container.attrs["NetworkSettings"]["Ports"] or {}
    bound = next((b[0] for b in ports.values() if b), None)
    url = f"http://{bound['HostIp']}:{bound['HostPort']}" if bound else ""
    started = str(container.attrs["State"].get("StartedAt", ""))[:19]
    return Running(
        name=labels[f"{LABEL}.name"], state=container.status, model=labels.get(f"{LABEL}.model", ""),
        profile=labels.get(f"{LABEL}.profile", ""), url=url, since=started,
    )  # fmt: skip


def _has_buildx() -> bool:
    if not shutil.which("docker"):
        return False
    done = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
    return done.returncode == 0


def _short(error: Exception) -> str:
    text = getattr(error, "explanation", None) or str(error)
    return " ".join(str(text).split())[:300]


def _last_of(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "no output")
