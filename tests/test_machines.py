"""Several machines: the rank table is what the engine's makers say, and an address that is none goes nowhere."""

from __future__ import annotations

import copy
import json
import shlex
import stat
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from support import ROOT, plan_for

from weighbridge.catalog import Catalog
from weighbridge.effects.asked import Asked
from weighbridge.effects.disk import write_folder
from weighbridge.errors import BadFile, BadValue, Refused, Unsupported
from weighbridge.machines import read_machines, render_machines
from weighbridge.types import Plan

PROFILE = "910b-64g-x8-n2"
SCHEMA = json.loads((ROOT / "images/mindie/ranktable.schema.json").read_text(encoding="utf-8"))
WORDS = {"nodes": "10.0.0.11,10.0.0.12", "network": "192.168.100.0/24"}


@pytest.fixture(scope="module")
def plan(catalog: Catalog) -> Plan:
    return plan_for(catalog, PROFILE, "qwen3-235b-a22b", engine="mindie")


def made(plan: Plan, catalog: Catalog, **flags: Any) -> dict[str, str]:
    machines = read_machines({**WORDS, **flags}, plan, catalog.profile(plan.profile))
    return {name: file.text for name, file in render_machines(plan, machines, catalog).items()}


def table(plan: Plan, catalog: Catalog, **flags: Any) -> Any:
    return json.loads(made(plan, catalog, **flags)["ranktable.json"])


def file_of(folder: Path, *machines: dict[str, Any]) -> str:
    path = folder / "nodes.yaml"
    path.write_text(yaml.safe_dump({"machines": list(machines)}))
    return str(path)


def node(number: int, **changes: Any) -> dict[str, Any]:
    return {"address": f"10.0.0.{number}", "cards": [f"192.168.{number}.{n}" for n in range(2, 10)], **changes}


def from_file(plan: Plan, catalog: Catalog, path: str) -> Any:
    return table(plan, catalog, nodes=path, network=None)


def test_the_rank_table_is_as_its_schema_says_and_counts_on(plan: Plan, catalog: Catalog) -> None:
    found = table(plan, catalog)
    assert list(jsonschema_rs.validator_for(SCHEMA).iter_errors(found)) == []
    assert found["server_count"] == str(len(found["server_list"])) == "2"
    devices = [d for server in found["server_list"] for d in server["device"]]
    assert [d["rank_id"] for d in devices] == [str(n) for n in range(16)]
    assert [d["device_id"] for d in devices] == [str(n) for n in range(8)] * 2
    addresses = [d["device_ip"] for d in devices]
    assert len(set(addresses)) == 16
    assert [s["server_id"] for s in found["server_list"]] == ["10.0.0.11", "10.0.0.12"]


def test_the_cards_have_the_addresses_that_host_setup_gives_them(plan: Plan, catalog: Catalog) -> None:
    from weighbridge.host_setup import read_setup

    for gateway in (None, "192.168.100.5"):
        flags = {"network": WORDS["network"], "gateway": gateway}
        setups = [read_setup(catalog.profile(PROFILE), {**flags, "machine": n}) for n in ("1", "2")]
        wanted = [port.address for setup in setups for port in setup.ports]
        found = table(plan, catalog, gateway=gateway)
        assert [d["device_ip"] for s in found["server_list"] for d in s["device"]] == wanted


def test_each_machine_is_told_its_own_address_and_the_first_ones(plan: Plan, catalog: Catalog) -> None:
    files = made(plan, catalog)
    assert sorted(files) == ["config.json", "machine-1.env", "machine-2.env", "plan.json", "ranktable.json"]
    for number, own in ((1, "10.0.0.11"), (2, "10.0.0.12")):
        lines = dict(x.split("=", 1) for x in files[f"machine-{number}.env"].splitlines() if not x.startswith("#"))
        assert (lines["MIES_CONTAINER_IP"], lines["MASTER_IP"]) == (own, "10.0.0.11")
        assert lines["WORLD_SIZE"] == "16"
    config = json.loads(files["config.json"])["BackendConfig"]
    assert config["multiNodesInferEnabled"] is True
    assert config["ModelDeployConfig"]["ModelConfig"][0]["tp"] == 16


def test_an_engine_without_stages_is_cut_over_all_machines(plan: Plan, catalog: Catalog) -> None:
    assert (plan.tensor_parallel, plan.pipeline_parallel, plan.cards_per_node) == (16, 1, 8)
    assert any("cuts no model into stages" in b for b in plan.because)
    for profile in (PROFILE, "910b-64g-x8"):
        with pytest.raises(Unsupported, match="pipeline parallel 2: this engine cuts no model into stages"):
            plan_for(catalog, profile, "qwen3-235b-a22b", engine="mindie", pipeline_parallel=2)
    with pytest.raises(Unsupported, match="40 attention heads do not divide by tensor parallel 16"):
        plan_for(catalog, PROFILE, "qwen3-14b", engine="mindie", tensor_parallel=16)


def test_a_file_names_every_card_and_the_container(plan: Plan, catalog: Catalog, tmp_path: Path) -> None:
    path = file_of(tmp_path, node(1), node(2, container="172.20.0.3"))
    first, second = from_file(plan, catalog, path)["server_list"]
    assert (first["server_id"], first["container_ip"]) == ("10.0.0.1", "10.0.0.1")
    assert (second["server_id"], second["container_ip"]) == ("10.0.0.2", "172.20.0.3")
    assert second["device"][7] == {"device_id": "7", "device_ip": "192.168.2.9", "rank_id": "15"}


@pytest.mark.parametrize(
    ("flags", "message", "hint"),
    [
        ({"nodes": None}, "the addresses of its 2 machines are not known", "--nodes 10.0.0.11,10.0.0.12 --network"),
        ({"network": None}, "and the addresses of their cards?", "--network 192.168.100.0/24"),
        ({"nodes": "10.0.0.11"}, "--nodes names 1 machines; 910b-64g-x8-n2 is 2", "--nodes 10.0.0.11,10.0.0.12"),
        ({"nodes": "10.0.0.1,10.0.0.2,10.0.0.3"}, "names 3 machines", "--nodes"),
        ({"nodes": "10.197.90.1.10,10.0.0.2"}, "an address has 4 numbers, this has 5", "for example 10.0.0.11"),
        ({"nodes": "10.0.0.256,10.0.0.2"}, "'256' is no number of 0 to 255", "for example"),
        ({"nodes": "10.0.0.11,10.0.0.11"}, "10.0.0.11 stands twice", "an address of its own"),
        ({"nodes": "10.0.0.11,127.0.0.1"}, "no other machine reaches it", "for example"),
        ({"nodes": "10.0.0.11,0.0.0.0"}, "no other machine reaches it", "for example"),
        ({"nodes": "10.0.0.11,"}, "machine 2: ''", "for example"),
        ({"nodes": "host-a,host-b"}, "machine 1: 'host-a'", "for example"),
        ({"nodes": "10.0.0.11,192.168.100.2"}, "192.168.100.2 stands twice", "an address of its own"),
        ({"network": "10.197.90.1.10/24"}, "this has 5", "--network"),
        ({"network": "10.1.0.0/28"}, "has room for 13 cards; 910b-64g-x8-n2 has 16", "--network 10.1.0.0/27"),
    ],
)
def test_words_that_name_no_machines_are_refused(
    flags: dict[str, Any], message: str, hint: str, plan: Plan, catalog: Catalog
) -> None:
    with pytest.raises(BadValue) as caught:
        made(plan, catalog, **flags)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"cards": ["192.168.2.2"]}, "machine 2 has 1 card addresses", "$(seq 0 7); do hccn_tool -i $i -ip -g"),
        ({"cards": [f"192.168.1.{n}" for n in range(2, 10)]}, "192.168.1.2 stands twice", "of its own"),
        ({"cards": [f"192.168.2.1.{n}" for n in range(8)]}, "card 0 of machine 2: '192.168.2.1.0'", "four numbers"),
        ({"cards": [f"192.168.2.{n}" for n in range(249, 257)]}, "'256' is no number", "four numbers"),
        ({"container": "10.0.0.1"}, "10.0.0.1 stands twice", "of its own"),
        ({"container": "::1"}, "the container of machine 2", "four numbers"),
        ({"adress": "10.0.0.2"}, "unknown key 'adress'", "did you mean address?"),
        ({"address": 7}, "Expected `str`, got `int`", "edit"),
    ],
)
def test_a_file_that_is_wrong_says_where(
    changes: dict[str, Any], message: str, hint: str, plan: Plan, catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(Refused) as caught:
        from_file(plan, catalog, file_of(tmp_path, node(1), node(2, **changes)))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_file_that_is_not_there_or_says_it_twice(plan: Plan, catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="No such file"):
        from_file(plan, catalog, str(tmp_path / "none.yaml"))
    with pytest.raises(BadValue, match="both say which addresses"):
        made(plan, catalog, nodes=file_of(tmp_path, node(1), node(2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "910b-64g-x8", "nodes": "10.0.0.1"}, "--nodes 10.0.0.1: 910b-64g-x8 is one machine"),
        ({"profile": "910b-64g-x8", "network": "10.0.0.0/24"}, "--network 10.0.0.0/24: 910b-64g-x8 is one machine"),
        ({"profile": "h20-96g-x8-n2", "engine": "vllm", "nodes": "10.0.0.1,10.0.0.2"}, "needs no addresses"),
    ],
)
def test_addresses_that_nothing_needs_are_refused(changes: dict[str, Any], message: str) -> None:
    flags = {"profile": PROFILE, "engine": "mindie", "model": "qwen3-32b", "nodes": None, "network": None, **changes}
    with pytest.raises(BadValue) as caught:
        _ = Asked(flags, {}).machines
    assert message in caught.value.message


def test_the_files_are_closed_to_others(plan: Plan, catalog: Catalog, tmp_path: Path) -> None:
    machines = read_machines(WORDS, plan, catalog.profile(PROFILE))
    folder = write_folder(tmp_path / "out", render_machines(plan, machines, catalog))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir() if not p.name.startswith(".")}
    assert modes["ranktable.json"] == modes["config.json"] == modes["machine-1.env"] == 0o640


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("server_count",), 2),
        (("server_count",), "1"),
        (("server_count",), "61"),
        (("status",), "initializing"),
        (("version",), "1.2"),
        (("server_list", 0, "server_id"), "10.197.90.1.10"),
        (("server_list", 0, "device", 0, "device_ip"), "10.0.0.256"),
        (("server_list", 0, "device", 0, "device_ip"), "10.0.0."),
        (("server_list", 0, "device", 0, "device_id"), 0),
        (("server_list", 0, "device", 0, "device_id"), "64"),
        (("server_list", 0, "device", 0, "rank_id"), "512"),
        (("server_list", 0, "device"), []),
    ],
)
def test_the_schema_refuses_what_the_engine_does(
    at: tuple[Any, ...], value: object, plan: Plan, catalog: Catalog
) -> None:
    changed = copy.deepcopy(table(plan, catalog))
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    assert not jsonschema_rs.is_valid(SCHEMA, changed)


def test_render_writes_them_or_says_what_to_give(inv: Any, tmp_path: Path) -> None:
    words = ["render", "--profile", PROFILE, "--model", "qwen3-235b-a22b", "--engine", "mindie"]
    said = inv(*words, "--dry-run")
    assert (said.code, len(said.err.strip().splitlines())) == (2, 2)
    assert "--nodes 10.0.0.11,10.0.0.12 --network 192.168.100.0/24" in said.err
    given = [*words, "--nodes", WORDS["nodes"], "--network", WORDS["network"], "--output", str(tmp_path / "out")]
    assert inv(*given, "--dry-run").code == 0
    assert not (tmp_path / "out").exists()
    said = inv(*given, "--json")
    assert (said.code, said.data["written"]) == (0, True)
    assert json.loads((tmp_path / "out" / "ranktable.json").read_text())["server_count"] == "2"
    refused = inv("run", *words[1:], "--print", "docker")
    assert refused.code == 2
    assert "invoke render --profile 910b-64g-x8-n2 --model qwen3-235b-a22b --engine mindie" in refused.err


def test_a_small_model_reaches_over_the_machines_all_the_same(catalog: Catalog) -> None:
    small = plan_for(catalog, PROFILE, "qwen3-8b", engine="mindie")
    assert small.tensor_parallel == small.cards == 2 * small.cards_per_node
    assert any("from machine to machine" in b for b in small.because)
    found = table(small, catalog)
    assert [len(s["device"]) for s in found["server_list"]] == [small.cards_per_node] * 2
    assert found["server_list"][1]["device"][0]["rank_id"] == str(small.cards_per_node)


def test_a_start_over_machines_offers_only_what_can_be_done(inv: Any) -> None:
    """A machine alone only where the model fits it; and each line has all that was given."""
    large = inv(
        "run", "--profile", "a100-80g-x8-n2", "--model", "deepseek-r1", "--context", "4096", "--print", "docker"
    )
    hint = large.err.splitlines()[1].strip()
    assert hint == "only the plan: invoke plan --profile a100-80g-x8-n2 --model deepseek-r1 --context 4096"
    small = inv("run", "--profile", "h20-96g-x8-n2", "--model", "qwen3-8b", "--print", "docker")
    assert "on one machine: invoke run --profile h20-96g-x8 --model qwen3-8b;" in small.err
    files = inv("run", "--profile", PROFILE, "--model", "qwen3-235b-a22b", "--engine", "mindie", "--print", "docker")
    line = files.err.partition("invoke ")[2].strip()
    assert inv(*shlex.split(line), "--dry-run").code == 0
