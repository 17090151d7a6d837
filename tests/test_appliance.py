"""Starting, finding and losing a container, against a Docker engine that is a small HTTP server and does as told."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import plan_for, spec_of

from weighbridge.catalog import Catalog
from weighbridge.effects import appliance, docker, doctor_host, figures, probe
from weighbridge.effects.appliance import Folders, must_live
from weighbridge.effects.chat import wait_ready
from weighbridge.effects.docker import Host
from weighbridge.errors import Ended, HostError, NotReady, UnknownName
from weighbridge.types import Plan, RunSpec

LOG = [f"line {i}" for i in range(100)] + ["ValueError: no such kind"]


class Daemon:
    """What the engine holds and says; a test changes one thing."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.volumes: list[str] = []
        self.dies = False
        self.health = 503
        self.broken = False
        self.hidden: dict[str, dict[str, Any]] = {}  # names that are taken, of containers that are not shown yet
        self.answers = threading.Event()  # until it is set, the engine hangs
        self.answers.set()
        self.lists = threading.Event()  # until it is set, it answers all but which containers there are
        self.lists.set()
        self.asked: list[tuple[str, str, Any]] = []
        self.queries: list[str] = []

    def answer(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        self.queries.append(query)
        if path == "/health":
            return self.health, {}
        if path in ("/_ping", "/version"):
            self.answers.wait()
            return 200, {"ApiVersion": "1.45"}
        if self.broken:
            return 500, {"message": "the disk is full"}
        if path.startswith("/containers/"):
            return self.container(method, path.split("/")[2:], query, body)
        if path == "/volumes":
            return 200, {"Volumes": [{"Name": name} for name in self.volumes]}
        if path == "/images/json":
            return 200, [{"Id": "sha256:1"}]
        return 200, {"Id": "sha256:1", "RepoTags": ["weighbridge/x:1"]}

    def container(self, method: str, path: list[str], query: str, body: Any) -> tuple[int, Any]:
        if path == ["create"]:
            name = query.removeprefix("name=")
            if name in self.hidden:
                return 409, {"message": f"Conflict. The container name {name} is already in use"}
            self.containers[name] = self.made(name, body["Labels"], running=not self.dies)
            return 201, {"Id": name}
        if path == ["json"]:
            self.lists.wait()
            running = "running" in query
            return 200, [self.row(n, found) for n, found in self.containers.items() if up(found) or not running]
        if path[0] not in self.containers:
            paths = [asked[1] for asked in self.asked]
            looks = paths[paths.index("/containers/create") :] if "/containers/create" in paths else []
            if path[0] in self.hidden and len(looks) > 4:
                self.containers[path[0]] = self.hidden.pop(path[0])  # the next look finds it
            return 404, {"message": f"No such container: {path[0]}"}
        if method == "DELETE":
            del self.containers[path[0]]
        if path[1:] == ["logs"]:
            return 200, b"".join(b"\1\0\0\0" + len(t).to_bytes(4, "big") + t for t in (f"{x}\n".encode() for x in LOG))
        return (200, self.containers.get(path[0], {})) if path[1:] in (["json"], ["update"]) else (204, {})

    def row(self, name: str, found: dict[str, Any]) -> dict[str, Any]:
        """A container in the list of containers."""
        return {"Id": name, "Names": [f"/{name}"], "Labels": found["Config"]["Labels"]}

    def made(self, name: str, labels: dict[str, str], *, running: bool = True) -> dict[str, Any]:
        state = {"Running": running, "Status": "running" if running else "exited", "ExitCode": 1}
        config = {"Labels": labels, "Tty": False}
        return {"Id": name, "Name": f"/{name}", "State": state, "Config": config, "NetworkSettings": {"Ports": {}}}


def up(container: dict[str, Any]) -> bool:
    return bool(container["State"]["Running"])


class Handler(BaseHTTPRequestHandler):
    daemon: Daemon

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        with suppress(ConnectionError):  # whoever asked has given up
            self.answer()

    def answer(self) -> None:
        path, _, query = re.sub(r"^/v[\d.]+(?=/)", "", self.path).partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        code, found = self.daemon.answer(self.command, path, query, body)
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        if code != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if code != 204:
            self.wfile.write(content)

    do_POST = do_DELETE = do_GET


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture
def daemon(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    Handler.daemon = Daemon()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_address[1]}")
    return Handler.daemon


@pytest.fixture
def host(daemon: Daemon) -> Iterator[Host]:
    found = Host()
    yield found
    found.client.close()


class Start(NamedTuple):
    plan: Plan
    spec: RunSpec
    folders: Folders
    said: list[str]


@pytest.fixture
def start(catalog: Catalog, tmp_path: Path) -> Start:
    plan = plan_for(catalog, "cpu", "qwen3-0.6b")
    spec = spec_of(plan, catalog, probe.free_port("127.0.0.1"), name="mine")
    return Start(plan, spec, Folders(tmp_path / "build", tmp_path / "cache"), [])


def run(start: Start, host: Host, catalog: Catalog) -> appliance.Started:
    return appliance.run(start.plan, start.spec, catalog, host, start.folders, start.said.append)


# --- it starts -----------------------------------------------------------------------------------------


def test_the_engine_is_told_what_the_line_says(daemon: Daemon, host: Host, start: Start) -> None:
    container = host.run(start.spec)
    (body,) = [b for m, p, b in daemon.asked if p == "/containers/create"]
    assert body["StopTimeout"] == start.spec.stop_seconds == 30
    assert body["HostConfig"]["RestartPolicy"] == {"Name": "no"}, "until it is ready a death is final"
    assert ("POST", "/containers/mine/start") in [(m, p) for m, p, _ in daemon.asked]
    host.keep_alive(container, start.spec)
    (update,) = [b for m, p, b in daemon.asked if p == "/containers/mine/update"]
    assert update == {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}


def test_what_was_started_just_so_is_asked_and_left_alone(
    daemon: Daemon, host: Host, start: Start, catalog: Catalog, server: ThreadingHTTPServer
) -> None:
    port = str(server.server_address[1])
    labels = {**start.spec.labels, "io.weighbridge.port": port}
    daemon.containers["mine"] = daemon.made("mine", labels)
    daemon.health = 200
    began = time.monotonic()
    found = run(start, host, catalog)
    assert time.monotonic() - began < 1
    assert (found.url, found.ready_seconds) == (f"http://127.0.0.1:{port}/v1", None)
    assert ("GET", "/health", None) in daemon.asked
    assert "/containers/create" not in [path for _, path, _ in daemon.asked]


def test_what_another_command_makes_at_this_moment_is_waited_for(
    daemon: Daemon, host: Host, start: Start, catalog: Catalog, server: ThreadingHTTPServer
) -> None:
    labels = {**start.spec.labels, "io.weighbridge.port": str(server.server_address[1])}
    daemon.hidden["mine"] = daemon.made("mine", labels)
    daemon.health = 200
    assert run(start, host, catalog).ready_seconds is None
    assert start.said[-1] == "mine was started by another command at the same time"
    assert "mine" in daemon.containers


def test_what_another_command_makes_otherwise_is_named(
    daemon: Daemon, host: Host, start: Start, catalog: Catalog
) -> None:
    daemon.hidden["mine"] = daemon.made("mine", {"io.weighbridge.spec": "another"})
    began = time.monotonic()
    with pytest.raises(HostError, match="a container called mine is there already"):
        run(start, host, catalog)
    assert time.monotonic() - began < 5


def test_what_runs_and_does_not_answer_is_no_success(
    daemon: Daemon, host: Host, start: Start, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.containers["mine"] = daemon.made("mine", start.spec.labels)
    impatient(monkeypatch)
    with pytest.raises(NotReady, match="did not answer within 0 s"):
        run(start, host, catalog)
    assert "mine" in daemon.containers, "another call started it"


def test_other_weights_are_another_container(daemon: Daemon, host: Host, start: Start, catalog: Catalog) -> None:
    other = spec_of(start.plan, catalog, name="mine", weights="/elsewhere")
    daemon.containers["mine"] = daemon.made("mine", other.labels)
    with pytest.raises(HostError) as caught:
        run(start, host, catalog)
    assert (caught.value.message, caught.value.hint) == (
        "a container called mine is there already (running)", "try: invoke stop --name mine",
    )  # fmt: skip


# --- it does not ---------------------------------------------------------------------------------------


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appliance, "wait_ready", lambda *a, **k: wait_ready(*a, **{**k, "seconds": 0}))


@pytest.mark.parametrize("dies", [True, False])
def test_the_log_outlives_the_container(
    dies: bool, daemon: Daemon, host: Host, start: Start, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.dies = dies
    if not dies:
        impatient(monkeypatch)
    with pytest.raises(NotReady) as caught:
        run(start, host, catalog)
    first, *rest = caught.value.message.splitlines()
    assert first.endswith("died with exit code 1 before it was ready" if dies else "/health did not answer within 0 s")
    assert rest == [f"  | {line}" for line in LOG[-60:]]
    path = start.folders.build / "mine.log"
    assert caught.value.hint == f"less {path}"
    assert path.read_text(encoding="utf-8").splitlines() == LOG
    assert daemon.containers == {}
    assert start.said[-1] == "removing mine"


def test_a_log_that_cannot_be_kept_is_still_shown(daemon: Daemon, host: Host, start: Start, catalog: Catalog) -> None:
    daemon.dies = True
    start.folders.build.write_text("a file", encoding="utf-8")
    with pytest.raises(NotReady, match="ValueError: no such kind"):
        run(start, host, catalog)


def test_a_container_that_somebody_removed_is_two_lines(daemon: Daemon, host: Host, start: Start) -> None:
    container = host.run(start.spec)
    del daemon.containers["mine"]
    with pytest.raises(NotReady) as caught:
        must_live(container)
    assert (caught.value.message, caught.value.hint) == (
        "mine was removed before it was ready", "start it again: invoke run",
    )  # fmt: skip


def test_one_that_began_at_the_same_moment_is_joined(
    daemon: Daemon, host: Host, start: Start, catalog: Catalog, server: ThreadingHTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Another command makes the container between our look and our own start: it is waited for, and left alone."""
    labels = {**start.spec.labels, "io.weighbridge.port": str(server.server_address[1]), docker.START: "another"}
    monkeypatch.setattr(appliance, "build", lambda *_: daemon.containers.update(mine=daemon.made("mine", labels)))
    daemon.health = 200
    assert run(start, host, catalog).ready_seconds is None
    assert "mine" in daemon.containers


def test_a_start_removes_only_what_it_made(daemon: Daemon, host: Host, start: Start) -> None:
    host.run(start.spec, "ours")
    appliance._remove(start.spec, "another", host, start.said.append)
    assert "mine" in daemon.containers
    appliance._remove(start.spec, "ours", host, start.said.append)
    assert daemon.containers == {}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_as_an_interruption_does(number: signal.Signals, code: int) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(Ended) as caught, appliance.ended_like_interrupted():
            signal.raise_signal(number)
        assert (caught.value.exit_code, signal.getsignal(number)) == (code, signal.SIG_DFL)
        signal.signal(number, signal.SIG_IGN)
        with appliance.ended_like_interrupted():
            os.kill(os.getpid(), number)  # as under nohup
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("broken", [True, False])
def test_what_cannot_be_read_leaves_status_without_figures(
    broken: bool, daemon: Daemon, host: Host, start: Start, catalog: Catalog
) -> None:
    """No plan in the image, a log without figures, no metrics at the port: the appliance is shown all the same."""
    container = host.run(start.spec)
    (seen,) = figures.appliances(host, catalog)
    assert (seen.running.name, seen.running.state, seen.memory) == ("mine", "running", None)
    engine = catalog.engine("vllm")
    daemon.broken = broken
    assert figures.reported_of(host, container, engine) == {}
    assert figures.metrics_text("http://127.0.0.1:1", engine) is None
    assert figures.reconciled(host, container, start.plan, engine).lines == ()
    gc.collect()


# --- the engine itself ---------------------------------------------------------------------------------


def test_docker_waits_as_long_as_the_appliance_drains(daemon: Daemon, host: Host, start: Start, inv: Any) -> None:
    """What it was started with is said to Docker, whose client would else give up before the last streams end."""
    host.run(start.spec)
    daemon.containers["mine"]["Config"]["StopTimeout"] = 3600
    said = inv("stop", "--name", "mine")
    assert said.code == 0
    assert "t=3600" in daemon.queries
    assert "within 3600 s" in said.err
    assert daemon.containers == {}


CALLS: dict[str, Callable[[Host, Any, RunSpec], object]] = {
    "find": lambda host, _, spec: host.find("1"),
    "images": lambda host, _, spec: host.images(),
    "bases": lambda host, _, spec: host.bases(),
    "idle_volumes": lambda host, _, spec: host.idle_volumes(),
    "run": lambda host, _, spec: host.run(spec),
    "keep_alive": lambda host, container, spec: host.keep_alive(container, spec),
    "same": lambda host, _, spec: host.same(spec),
    "check_free": lambda host, _, spec: host.check_free("x"),
    "appliances": lambda host, _, spec: host.appliances(),
    "container": lambda host, _, spec: host.container(None),
    "stop": lambda host, container, spec: host.stop(container, 1),
    "plan_of": lambda host, container, spec: host.plan_of(container),
    "logs": lambda host, container, spec: list(host.logs(container)),
    "must_live": lambda host, container, spec: must_live(container),
}


@pytest.mark.parametrize("name", CALLS)
def test_whatever_the_engine_refuses_is_two_lines(name: str, daemon: Daemon, host: Host, start: Start) -> None:
    container = host.run(start.spec)
    daemon.broken = True
    with pytest.raises(HostError) as caught:
        CALLS[name](host, container, start.spec)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert host.memory_gib(container) is None
    del caught
    with warnings.catch_warnings():  # the library drops the answer it had before the one that failed
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_an_engine_that_hangs_is_given_up(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "_HELLO_SECONDS", 0.2)
    daemon.answers.clear()
    try:
        with pytest.raises(HostError) as caught:
            Host()
        assert not appliance.is_built("1")
    finally:
        daemon.answers.set()
    assert caught.value.message.startswith("no Docker engine answers: ")
    assert caught.value.hint == "start one: sudo systemctl start docker"


@pytest.mark.usefixtures("daemon")
def test_a_port_that_is_taken_is_told_before_keys_are_made(
    inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = inv("run", "--port", str(port), "--tls", "self-signed")
    assert said.code == 1
    assert said.err.splitlines()[0].startswith(f"error: port {port} on 127.0.0.1 is taken")
    assert not (tmp_path / "config").exists()


def test_several_appliances_are_offered_as_flags(daemon: Daemon, host: Host) -> None:
    for name in ("b", "a"):
        daemon.containers[name] = daemon.made(name, {"io.weighbridge.name": name})
    with pytest.raises(UnknownName) as caught:
        host.container(None)
    assert caught.value.message == "2 appliances are here"
    assert caught.value.hint == "name one: --name a, or --name b"


def test_a_stop_guesses_no_name(daemon: Daemon, inv: Any) -> None:
    gone = inv("stop", "--name", "mine")
    assert gone.err.splitlines() == ["error: no appliance called 'mine'", "  no appliance is here: invoke status"]
    for name in ("mine-2", "other"):
        daemon.containers[name] = daemon.made(name, {"io.weighbridge.name": name})
    said = inv("stop", "--name", "mine")
    assert said.code == 2
    assert said.err.splitlines() == ["error: no appliance called 'mine'", "  here are mine-2, other: invoke status"]
    assert set(daemon.containers) == {"mine-2", "other"}


def test_a_key_for_an_appliance_that_is_not_here_is_made_and_said(
    daemon: Daemon, inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    daemon.broken = True
    said = inv("keys", "add", "--name", "mien", "--key-name", "a")
    assert (said.code, said.err.splitlines()[0]) == (
        0, "warning: the Docker engine does not list its containers: the disk is full",
    )  # fmt: skip
    daemon.broken = False
    for here, words in ((), "none is here"), (("mine", "other"), "here are mine, other; did you mean --name mine?"):
        for name in here:
            daemon.containers[name] = daemon.made(name, {"io.weighbridge.name": name})
        said = inv("keys", "add", "--name", "mien", "--key-name", f"k{len(here)}")
        assert (said.code, said.out.startswith("wb-")) == (0, True)
        first, second = said.err.splitlines()
        assert first == f"warning: no appliance called 'mien': {words}"
        assert second.startswith("  the key waits for: invoke run --name mien; ")
        back = second.partition("take it back: invoke ")[2]
        assert inv(*back.split()).out.startswith(f"revoked k{len(here)}")
    failed = inv("keys", "add", "--name", "mien", "--key-name", "b", "--scope", "al")
    assert (failed.code, "warning" in failed.err) == (2, False)


@pytest.fixture
def asking() -> None:
    """The doctor asks Docker's own tool."""
    if not shutil.which("docker"):
        assert os.environ.get("CI") != "true", "docker is missing, and CI must have it"
        pytest.skip("docker is missing")


@pytest.mark.usefixtures("asking")
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_of_an_appliance_is_no_strangers(address: str, daemon: Daemon, inv: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        labels = {"io.weighbridge.name": "mine", "io.weighbridge.port": str(port), "io.weighbridge.address": address}
        words = ("doctor", "--only", "port-taken,port-own", "--port", str(port))
        for running, found in ((True, "port-own"), (False, "port-taken")):
            daemon.containers["mine"] = daemon.made("mine", labels, running=running)
            said = inv(*words, "--json")
            assert [f["id"] for f in said.data["found"]] == [found]
        daemon.containers["mine"] = daemon.made("mine", labels)
        text = inv(*words).out
        assert "the appliance mine" in text
        assert "invoke stop --name mine" in text
        assert "invoke run --port 0" in text
        daemon.broken = True
        assert [f["id"] for f in inv(*words, "--json").data["found"]] == ["port-taken"]


@pytest.mark.usefixtures("asking")
def test_whose_port_it_is_is_one_question_and_bounded(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks into no appliance, and does not wait for an engine that says who it is and then no more."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name, where in (("a", port + 1), ("b", port), ("c", port + 2)):
            labels = {"io.weighbridge.name": name, "io.weighbridge.port": str(where)}
            daemon.containers[name] = daemon.made(name, labels)
        assert doctor_host.look_at_port(port) == {"number": port, "taken": True, "appliance": "b"}
        assert [path for _, path, _ in daemon.asked if path.startswith("/containers")] == ["/containers/json"]
        monkeypatch.setattr(doctor_host, "_ENGINE_SECONDS", 1.0)
        daemon.lists.clear()
        assert doctor_host.look_at_port(port) == {"number": port, "taken": True, "appliance": ""}
        daemon.lists.set()


def test_only_our_idle_volumes_are_found(daemon: Daemon, host: Host) -> None:
    daemon.volumes = ["weighbridge-cache", "weighbridge-cache-mine", "weighbridge-cached", "db", "my-weighbridge-cache"]
    assert [v.name for v in host.idle_volumes()] == ["weighbridge-cache", "weighbridge-cache-mine"]


def test_an_image_is_looked_for(daemon: Daemon) -> None:
    assert appliance.is_built("1")
