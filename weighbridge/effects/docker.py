"""The Docker engine: find, build, run, watch, stop. The only place that speaks to it."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import docker
import msgspec
import requests
import urllib3
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.images import Image
from docker.models.volumes import Volume

from weighbridge.errors import HostError, UnknownName, nearest
from weighbridge.reach import asked_at
from weighbridge.runspec import CACHE_VOLUME, KEYS, LABEL, TLS, api_body, restart_policy
from weighbridge.types import Plan, RunSpec

Say = Callable[[str], None]
WARM = f"{LABEL}.warm"  # on an image: the digest of its warm layer
START = f"{LABEL}.start"  # whose start a container is: only that one may remove it again
PLAN_FILE = "/opt/weighbridge/plan.json"
_HELLO_SECONDS = 20
_PATIENCE_SECONDS = 600
_TROUBLE = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)


class NameReserved(HostError):
    """Another command makes a container of this name at this moment; the engine does not show it yet."""


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
        with engine_trouble("no Docker engine answers", "start one: sudo systemctl start docker"):
            self.client = docker.from_env(timeout=_HELLO_SECONDS)
            try:
                self.client.ping()
            except _TROUBLE:
                self.client.close()
                raise
            self.client.api.timeout = _PATIENCE_SECONDS

    # --- images

    def find(self, digest: str) -> Image | None:
        """The image that was built from this recipe; the one with a warm layer before the one without."""
        with engine_trouble("the Docker engine does not list its images"):
            found = self.client.images.list(filters={"label": f"{LABEL}.recipe={digest}"})
        if len(found) < 2:
            return next(iter(found), None)
        return max(found, key=lambda i: (bool(i.tags), WARM in i.labels))

    def build(self, context: Path, *, tag: str, labels: dict[str, str], say: Say) -> None:
        """Build a context without network: buildx where it is there, else the engine's classic builder."""
        say(f"building {tag}")
        started = time.monotonic()
        if _has_buildx():
            self._buildx(context, tag, labels, say)
        else:
            self._classic(context, tag, labels, say)
        with engine_trouble(f"{tag} was built and is not there"):
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
        with engine_trouble(f"the build of {tag} failed"):
            stream = self.client.api.build(
                path=str(context), tag=tag, labels=labels, network_mode="none", rm=True, forcerm=True, decode=True
            )
            for event in stream:
                if "error" in event:
                    raise HostError(
                        f"the build of {tag} failed: {event['error'].strip()}", f"see it whole: docker build {context}"
                    )
                text = str(event.get("stream", "")).strip()
                if text.startswith("Step "):
                    say(f"  {text[:110]}")

    def remove_image(self, image: Image) -> None:
        with engine_trouble(f"image {image.tags or image.short_id}", "stop what uses it: invoke stop"):
            self.client.images.remove(str(image.id), force=True)

    def images(self) -> list[Image]:
        """What was built here."""
        with engine_trouble("the Docker engine does not list its images"):
            names = (f"{LABEL}.recipe", f"{LABEL}.baked", f"{LABEL}.imported")
            return [i for name in names for i in self.client.images.list(filters={"label": name})]

    def bases(self) -> list[Image]:
        """What is built upon."""
        with engine_trouble("the Docker engine does not list its images"):
            return self.client.images.list(name="weighbridge-base")

    # --- volumes

    def idle_volumes(self) -> list[Volume]:
        """The caches of appliances that are gone."""
        with engine_trouble("the Docker engine does not list its volumes"):
            found: list[Volume] = self.client.volumes.list(filters={"dangling": True})
        return [v for v in found if f"{v.name}-".startswith(f"{CACHE_VOLUME}-")]

    def remove_volume(self, volume: Volume) -> None:
        with engine_trouble(f"volume {volume.name}", "stop what uses it: invoke stop --all"):
            volume.remove()

    # --- containers

    def run(self, spec: RunSpec, token: str = "") -> Container:
        """Start the container. A name or an image that is taken or missing is a two-line error.

        `token` tells this start from another one of the same container: see made_by().
        """
        self.check_free(spec.name)
        api: Any = self.client.api  # its stubs leave this call out
        body = api_body(spec)
        body["Labels"] = {**body["Labels"], START: token}
        # Until it is ready a death is final: its log and exit code are what the person needs.
        body["HostConfig"]["RestartPolicy"] = {"Name": "no"}
        with engine_trouble(f"Docker did not start {spec.name}"):
            try:
                made = api.create_container_from_config(body, spec.name)
            except ImageNotFound:
                raise HostError(f"no image {spec.image}", "build it: invoke build") from None
            except APIError as e:
                if e.status_code != HTTPStatus.CONFLICT:
                    raise
                raise NameReserved(
                    f"the name {spec.name} is taken, and nothing of it is shown", "docker ps -a"
                ) from None
            try:
                container = self.client.containers.get(made["Id"])
                container.start()
                return container
            except _TROUBLE:
                with suppress(*_TROUBLE):
                    api.remove_container(made["Id"], force=True)
                raise

    def keep_alive(self, container: Container, spec: RunSpec) -> None:
        """From now on a death is answered as the spec says."""
        with engine_trouble(f"{container.name} cannot be told to start again when it dies"):
            policy: Any = restart_policy(spec)
            container.update(restart_policy=policy)

    def made_from(self, spec: RunSpec) -> Container | None:
        """The container under this name, when it was made just as this one would be."""
        found = self._get(spec.name)
        label = f"{LABEL}.spec"
        return found if found is not None and found.labels.get(label) == spec.labels[label] else None

    def made_as_another(self, spec: RunSpec) -> bool:
        """Whether a container has this name that was not made as this one would be."""
        found = self._get(spec.name)
        return found is not None and found.labels.get(f"{LABEL}.spec") != spec.labels[f"{LABEL}.spec"]

    def made_by(self, spec: RunSpec, token: str) -> Container | None:
        """The container under this name, when this very start made it."""
        found = self._get(spec.name)
        return found if found is not None and found.labels.get(START) == token else None

    def same(self, spec: RunSpec) -> Container | None:
        """The one that runs so already."""
        found = self.made_from(spec)
        return found if found is not None and found.status == "running" else None

    def check_free(self, name: str) -> None:
        """Raises HostError when a container has this name."""
        found = self._get(name)
        if found is not None:
            ours = f"{LABEL}.name" in found.labels
            hint = f"try: invoke stop --name {name}" if ours else f"try another: --name {name}-2"
            raise HostError(f"a container called {name} is there already ({found.status})", hint)

    def _get(self, name: str) -> Container | None:
        with engine_trouble(f"the Docker engine does not say whether {name} is there"):
            try:
                return self.client.containers.get(name)
            except NotFound:
                return None

    def appliances(self) -> list[Container]:
        with engine_trouble("the Docker engine does not list its containers"):
            return self.client.containers.list(all=True, filters={"label": f"{LABEL}.name"}, ignore_removed=True)

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
        hint = f"did you mean --name {near}?" if near else f"name one: --name {', or --name '.join(sorted(found))}"
        raise UnknownName(f"no appliance called {name!r}" if name else f"{len(found)} appliances are here", hint)

    def key_file(self, container: Container) -> Path:
        """Where this host keeps the hashes that the container reads. Raises HostError when it has none."""
        return self._mounted(container, "WEIGHBRIDGE_KEYS", KEYS)

    def certificate(self, container: Container) -> Path | None:
        """The certificate it serves with; None when it speaks plain HTTP."""
        return (
            self._mounted(container, "WEIGHBRIDGE_TLS_CERT", TLS) if _said(container, "WEIGHBRIDGE_TLS_CERT") else None
        )

    def _mounted(self, container: Container, variable: str, target: str) -> Path:
        name = PurePath(_said(container, variable)).name
        source = next((m["Source"] for m in container.attrs.get("Mounts", []) if m["Destination"] == target), None)
        if source is None or not name:
            hint = f"invoke stop --name {container.name}, then invoke run"
            raise HostError(f"{container.name} was started without {target}", hint)
        return Path(source) / name

    def stop(self, container: Container, seconds: int) -> None:
        """Stop and remove: it is killed after `seconds`; the client waits as long, and its usual patience more."""
        with engine_trouble(f"{container.name} does not stop", f"docker rm -f {container.name}"):
            try:
                container.stop(timeout=seconds)
                container.remove(force=True)
            except NotFound:
                return

    def plan_of(self, container: Container) -> Plan:
        """The plan that travels in the image. Raises HostError when it is not there, or another version's."""
        with engine_trouble(f"{container.name} holds no {PLAN_FILE}", "build it again: invoke build"):
            stream, _ = container.get_archive(PLAN_FILE)
            content = b"".join(stream)
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                member = tar.extractfile("plan.json")
                return msgspec.json.decode(member.read() if member else b"", type=Plan)
        except (tarfile.TarError, KeyError) as e:
            message = f"{container.name} holds no whole {PLAN_FILE}: {_short(e)}"
            raise HostError(message, "build it again: invoke build") from None
        except msgspec.MsgspecError as e:
            message = f"{container.name} was built by another version of Weighbridge: {e}"
            raise HostError(message, f"invoke stop --name {container.name}, then invoke run") from None

    def logs(self, container: Container, *, follow: bool = False, tail: int | None = None) -> Iterator[str]:
        pending = b""
        with engine_trouble(f"the log of {container.name} cannot be read", "invoke status"):
            container.reload()  # what fails here leaves no stream open
            for chunk in container.logs(stream=True, follow=follow, tail="all" if tail is None else tail):
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
        except (KeyError, *_TROUBLE):
            return None


@contextmanager
def engine_trouble(subject: str, hint: str = "docker info") -> Iterator[None]:
    """Whatever the engine refuses, or leaves unanswered, becomes a HostError about this subject."""
    try:
        yield
    except _TROUBLE as e:
        raise HostError(f"{subject}: {_short(e)}", hint) from None


def describe(container: Container) -> Running:
    labels = container.labels
    url = url_of(container) if f"{LABEL}.port" in labels else ""
    started = str(container.attrs["State"].get("StartedAt", ""))[:19]
    return Running(
        name=labels[f"{LABEL}.name"], state=container.status, model=labels.get(f"{LABEL}.model", ""),
        profile=labels.get(f"{LABEL}.profile", ""), url=url, since=started,
    )  # fmt: skip


def _said(container: Container, variable: str) -> str:
    """A variable of the container's environment; empty when it is not there."""
    rows: dict[str, str] = dict(row.partition("=")[::2] for row in container.attrs["Config"].get("Env") or [])
    return rows.get(variable, "")


def url_of(container: Container) -> str:
    """Where this machine asks it: the port it was told to publish."""
    address = container.labels.get(f"{LABEL}.address", "127.0.0.1")
    scheme = "https" if _said(container, "WEIGHBRIDGE_TLS_CERT") else "http"
    return f"{scheme}://{asked_at(address)}:{container.labels[f'{LABEL}.port']}"


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
