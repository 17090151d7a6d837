"""Every profile with every engine that runs on it, started by the real Docker engine on cards that are not there.

Each profile's container is started with its rendered RunSpec and looked at from inside. One profile of each engine and
family also serves: the vendor's base image is a stub with the CPU engine, the rest is our own build, entrypoint,
gateway and smoke test. What is not real is said in machine.py.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import msgspec
import pytest
import yaml
from docker.errors import NotFound
from machine import NAME, ROOT, STUB, Machine, catalogue, may_raise

from weighbridge.catalog import Catalog
from weighbridge.effects import appliance
from weighbridge.effects import docker as effects_docker
from weighbridge.effects.asked import Asked
from weighbridge.effects.docker import Host
from weighbridge.effects.smoke import smoke
from weighbridge.effects.target import Given, target_of
from weighbridge.runspec import api_body
from weighbridge.smoke import read_contract
from weighbridge.types import Plan, Reach, RunSpec

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="mknod needs root")]
HERE = Path(__file__).parent
RECORD = HERE / "evidence.yaml"
PROBE = (HERE / "probe.py").read_text(encoding="utf-8")
SERVES = [  # one profile of each engine and family
    ("vllm", "a100-80g-x2"), ("vllm", "910b-64g-x2"), ("vllm", "mi300x-192g-x2"), ("vllm", "ppu-810e-96g-x2"),
    ("sglang", "l40s-48g-x2"), ("mindie", "910b-64g-x1"),
]  # fmt: skip


def pairs() -> list[tuple[str, str]]:
    """Every engine with every profile of one machine, but the CPU, which the live tests run for real."""
    found = Catalog()
    return [
        (engine, profile.id)
        for profile in found.profiles()
        for engine in found.engine_ids()
        if profile.card.family in found.engine(engine).families and profile.card.family != "cpu"
    ]


def asked(engine: str, profile: str, folder: Path, name: str = NAME, **more: str) -> Asked:
    card = Catalog().profile(profile).card
    flags: dict[str, Any] = {
        "profile": profile, "engine": engine, "model": "weighbridge-demo", "catalog": str(folder),
        "name": name, "port": "0",
        "visible_gib": None if card.visible_gib else "90", "context": "2048", **more,
    }  # fmt: skip
    return Asked(flags, {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")})


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    found = docker.from_env()
    yield found
    found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, client: docker.DockerClient) -> Path:
    """A catalogue whose engines stand on the stub, which stands on our own CPU image."""
    cpu = asked("vllm", "cpu", tmp_path_factory.mktemp("cpu"))
    cpu.flags = {**cpu.flags, "catalog": None}
    os.chdir(ROOT)
    built = appliance.build(cpu.plan, cpu.catalog, Host(), cpu.folders, print)
    client.images.build(path=str(HERE / "stub"), tag=STUB, buildargs={"BASE": built.tag}, rm=True)
    return catalogue(tmp_path_factory.mktemp("catalogue"))


def gone(client: docker.DockerClient, name: str) -> None:
    try:
        client.containers.get(name).remove(force=True, v=True)
    except NotFound:
        return


def with_nodes(it: Asked, machine: Machine) -> RunSpec:
    """The RunSpec as `invoke run` would make it on that host."""
    vars(it)["reach"] = msgspec.structs.replace(it.reach, device_gids=machine.gids)
    return it.spec


def looked(client: docker.DockerClient, body: dict[str, Any], groups: list[str]) -> dict[str, Any]:
    """What probe.py says in a container that starts just so, with the probe for the entrypoint."""
    body = {**body, "Image": STUB, "Entrypoint": ["/usr/bin/python3", "-c", PROBE], "Cmd": []}
    body["HostConfig"] = {**body["HostConfig"], "RestartPolicy": {"Name": "no"}, "PortBindings": {}, "GroupAdd": groups}
    gone(client, f"{NAME}-probe")
    api: Any = client.api  # its stubs leave this call out
    made = api.create_container_from_config(body, f"{NAME}-probe")
    container = client.containers.get(made["Id"])
    try:
        container.start()
        code = container.wait()["StatusCode"]
        said = container.logs().decode()
        assert code == 0, said
        found = json.loads(said.splitlines()[-1])
        assert isinstance(found, dict)
        return found
    finally:
        container.remove(force=True, v=True)


@pytest.mark.parametrize(("engine", "profile"), pairs(), ids=lambda x: str(x))
def test_what_is_rendered_arrives_and_nothing_else(
    engine: str, profile: str, folder: Path, client: docker.DockerClient, tmp_path: Path
) -> None:
    it = asked(engine, profile, folder, model="qwen3-0.6b", weights=str(ROOT / "models" / "weighbridge-demo"))
    machine = Machine(tmp_path / "host", it.catalog.profile(profile))
    if not it.catalog.engine(engine).families[machine.profile.card.family].replicas:  # all the cards in one
        it = Asked({**it.flags, "tensor_parallel": str(machine.profile.count)}, it.environment)
    it.keyring.ensure()
    spec, plan = with_nodes(it, machine), it.plan
    assert plan.cards == machine.profile.count
    names = [g for g in spec.groups if not g.isdigit()]  # of the image that is built, which makes them
    seen = looked(client, machine.body(spec), [g for g in spec.groups if g not in names])

    wanted = sorted(d for d in spec.devices if not machine.at(d).is_dir())
    inner = [d for d in spec.devices if machine.at(d).is_dir()]
    wanted += [f"{d}/{n.name}" for d in inner for n in machine.at(d).iterdir()]
    assert seen["nodes"] == sorted(wanted)
    assert seen["usable"] == seen["nodes"], "the host's owners of the nodes are among our groups"
    assert (seen["uid"], seen["gid"], seen["capabilities"], seen["no_new_privileges"]) == (10001, 0, 0, "1")
    modes = {m.target: "ro" if m.read_only else "rw" for m in spec.mounts}
    assert {t: seen["mounts"].get(t) for t in modes} == modes
    assert not {"/", "/etc", "/opt"} & set(seen["written"])
    assert {"/tmp", "/run/weighbridge", "/run/bodies"} <= set(seen["written"])
    assert seen["shm_mib"] == plan.shm_mib
    for limit in plan.ulimits:
        assert seen[limit.name] == limit.value or not may_raise(limit.name, limit.value)
    assert spec.environment.items() <= seen["environment"].items()
    if spec.device_request:
        assert seen["cards"] == plan.cards_per_node
    keep(engine, profile, "arrived")


@pytest.mark.parametrize(("engine", "profile"), SERVES, ids=lambda x: str(x))
def test_it_is_built_started_and_answers(
    engine: str, profile: str, folder: Path, client: docker.DockerClient, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name = f"{NAME}-{engine}-{profile}"
    it = asked(engine, profile, folder, name=name)
    it.keyring.ensure()
    machine = Machine(tmp_path / "host", it.catalog.profile(profile))
    spec = with_nodes(it, machine)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(effects_docker, "api_body", machine.body)
    gone(client, name)
    try:
        started = appliance.run(it.plan, spec, it.catalog, Host(), it.folders, print)
        assert started.ready_seconds
        target = target_of(name, None, it.catalog, Given(it.keyring.own))
        report = smoke(target, read_contract(it.catalog, engine), say=print)
        assert {c.id: c.detail for c in report.checks if c.ok is False} == {}
        assert {"chat", "stream", "closed"} <= {c.id for c in report.checks}
        inside = client.containers.get(name)
        log = inside.logs().decode()
        assert f"weighbridge: starting {engine}" in log
        assert it.keyring.own is not None
        assert it.keyring.own.read_text().strip() not in log + json.dumps(inside.attrs)
        check_files(inside, it.plan)
    finally:
        gone(client, name)
    keep(engine, profile, "answered")


def check_files(container: Any, plan: Plan) -> None:
    """A configuration file is the runner's own, closed to others, and under no shell's or engine's process 1."""
    for name in plan.config_files:
        modes = container.exec_run(["stat", "-c", "%a %u", f"/tmp/engine/{name}"]).output.decode()
        assert modes.split() == ["640", "10001"]
        kept = container.exec_run(["stat", "-c", "%a", f"/opt/weighbridge/config/{name}"]).output.decode()
        assert kept.strip() == "640"
    first = container.exec_run(["cat", "/proc/1/comm"]).output.decode()
    assert first.startswith("tini") or "ld-linux" in first


@pytest.mark.parametrize(
    ("environment", "check"),
    [
        ({"SIMULATED_MIG": "1"}, "check mig failed: a card is cut into MIG slices"),
        ({"SIMULATED_DRIVER": "550.54.15"}, "check driver failed: the driver is 550.54.15, this image needs 580"),
        ({"SIMULATED_FREE_MIB": "100"}, "check memory failed: a card has 100 MiB free"),
        ({"NVIDIA_VISIBLE_DEVICES": "0"}, "check cards failed: 1 cards are visible, the plan has 2"),
    ],
)
def test_an_entrypoint_refuses_cards_that_are_not_the_plans(
    environment: dict[str, str], check: str, folder: Path, client: docker.DockerClient, tmp_path: Path
) -> None:
    it = asked("vllm", "a100-80g-x2", folder)
    it = Asked({**it.flags, "tensor_parallel": "2"}, it.environment)
    it.keyring.ensure()
    tag = appliance.build(it.plan, it.catalog, Host(), it.folders, print).tag
    body = Machine(tmp_path / "host", it.catalog.profile(it.plan.profile)).body(it.spec)
    body["Env"] += [f"{k}={v}" for k, v in environment.items()]
    body = {**body, "Image": tag, "Entrypoint": ["/opt/weighbridge/entrypoint.sh"]}
    body["HostConfig"] = {**body["HostConfig"], "RestartPolicy": {"Name": "no"}, "PortBindings": {}}
    gone(client, f"{NAME}-refuses")
    api: Any = client.api  # its stubs leave this call out
    made = api.create_container_from_config(body, f"{NAME}-refuses")
    container = client.containers.get(made["Id"])
    try:
        container.start()
        assert container.wait()["StatusCode"] == 78
        assert check in container.logs().decode()
    finally:
        container.remove(force=True, v=True)


def test_docker_takes_the_request_for_cards_that_was_left_out(folder: Path) -> None:
    """Both ways to ask, as Docker's API has them; this machine's Docker has no driver for either."""
    for by_cdi, driver in ((False, "nvidia"), (True, "cdi")):
        it = asked("vllm", "h100-80g-x2", folder)
        reach = Reach(keys="/keys/keys", cdi=by_cdi)
        vars(it)["reach"] = reach
        (request,) = api_body(it.spec)["HostConfig"]["DeviceRequests"]
        assert request["Driver"] == driver
        assert len(request["DeviceIDs"]) == 2


def keep(engine: str, profile: str, what: str) -> None:
    """Evidence is written by this suite alone, and only when it is asked to: WEIGHBRIDGE_RECORD=1."""
    if not os.environ.get("WEIGHBRIDGE_RECORD"):
        return
    found: dict[str, Any] = yaml.safe_load(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    found["command"] = "WEIGHBRIDGE_RECORD=1 pytest --live tests/simulated"
    found["date"] = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    rows = found.setdefault(what, {}).setdefault(engine, [])
    if profile not in rows:
        rows.append(profile)
        rows.sort()
    aside = RECORD.with_suffix(".new")
    head = "# Written by tests/simulated alone: which profiles arrived in a container, and which answered.\n"
    aside.write_text(head + yaml.safe_dump(found, sort_keys=True, width=118), encoding="utf-8")
    aside.rename(RECORD)
