"""A host whose cards have network ports is prepared by our own verb, run in a container with stand-ins for the tools.

The doctor looks before and after: what host-setup set is read back by other code, through the tool's own words.
"""

from __future__ import annotations

import json
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from machine import NAME, ROOT, STUB
from test_simulated import client, folder, gone  # noqa: F401  the stub's image is built once

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.getuid() != 0, reason="mknod needs root")]
CARDS = 16  # more than the eight of the profile that travels along
PORTS = "ascend-address-missing,ascend-address-twice,ascend-netmask-differs,ascend-link-down,ascend-tls-on"
MACHINE = f"""set -eu
for n in $(seq 0 {CARDS - 1}); do mknod /dev/davinci$n c 1 3; done
mknod /dev/davinci_manager c 1 3
mkdir -p /usr/local/Ascend/driver
echo Version=25.3.rc1 >/usr/local/Ascend/driver/version.info
exec sleep 600
"""


@pytest.fixture
def host(client: docker.DockerClient, folder: Path, tmp_path: Path) -> Iterator[Any]:  # noqa: F811
    """A container that looks like a machine of 16 cards, with our code and a catalogue that knows such a machine."""
    card = yaml.safe_load((ROOT / "profiles" / "910b-64g.yaml").read_text(encoding="utf-8"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "npu.yaml").write_text(yaml.safe_dump({**card, "counts": [CARDS], "aliases": []}))
    name = f"{NAME}-host"
    gone(client, name)
    code = {str(ROOT): "/src", sysconfig.get_path("purelib"): "/packages", str(tmp_path): "/catalog"}
    container = client.containers.run(
        STUB, ["sh", "-c", MACHINE], name=name, user="root", detach=True, working_dir="/src", network_mode="none",
        volumes={path: {"bind": inside, "mode": "ro"} for path, inside in code.items()},
        environment={"PYTHONPATH": "/src:/packages", "PYTHONDONTWRITEBYTECODE": "1", "WEIGHBRIDGE_CATALOG": "/catalog"},
    )  # fmt: skip
    try:
        yield container
    finally:
        container.remove(force=True, v=True)


def ask(host: Any, *words: str) -> tuple[int, str]:
    """A verb of ours, run there as root."""
    code, said = host.exec_run(["python3", "-m", "weighbridge", *words])
    return code, said.decode()


def found(host: Any) -> dict[str, str]:
    _, said = ask(host, "doctor", "--profile", "npu-x16-n2", "--only", PORTS, "--json")
    report = json.loads(said)
    assert set(PORTS.split(",")) <= set(report["judged"]), report["not_judged"]
    return {f["id"]: f["says"] for f in report["found"]}


def settings(host: Any) -> list[str]:
    _, log = host.exec_run(["cat", "/tmp/hccn/log"])
    return [line for line in log.decode().splitlines() if " -s " in line]


def test_sixteen_cards_are_set_up_and_the_doctor_reads_it_back(host: Any) -> None:
    before = found(host)
    assert set(before) == {"ascend-address-missing", "ascend-tls-on"}
    assert all("0, 1, 2, 3, 4, 5, 6, 7 and 8 more" in says for says in before.values()), before
    words = ["host-setup", "--profile", "npu-x16-n2", "--machine", "2", "--network", "10.0.0.0/24"]
    code, said = ask(host, *words, "--apply")
    assert code == 0, said
    assert "host-setup: 16 cards are ready" in said
    assert len(settings(host)) == CARDS * 4
    _, last = host.exec_run(["hccn_tool", "-i", "15", "-ip", "-g"])
    assert last.decode().split() == ["ipaddr:10.0.0.33", "netmask:255.255.255.0"]
    assert found(host) == {}
    assert ask(host, *words, "--apply")[0] == 0
    assert len(settings(host)) == CARDS * 4, "a second run sets nothing"


def test_the_doctor_mends_what_somebody_changed(host: Any) -> None:
    words = ["host-setup", "--profile", "npu-x16-n2", "--network", "10.0.0.0/24"]
    assert ask(host, *words, "--apply")[0] == 0
    host.exec_run(["hccn_tool", "-i", "12", "-tls", "-s", "enable", "1"])
    assert set(found(host)) == {"ascend-tls-on"}
    _, said = ask(host, "doctor", "--profile", "npu-x16-n2", "--only", "ascend-tls-on", "--fix", "--json")
    assert [m["result"] for m in json.loads(said[said.index("{") :])["mended"]] == ["fixed"]
    assert found(host) == {}


def test_a_card_too_few_and_a_wrong_address_set_nothing(host: Any) -> None:
    host.exec_run(["rm", "/dev/davinci15"])
    code, said = ask(host, "host-setup", "--profile", "npu-x16-n2", "--network", "10.0.0.0/24", "--apply")
    assert code == 1
    assert "npu-smi shows 15 of 16 cards" in said
    code, said = ask(host, "host-setup", "--profile", "npu-x16-n2", "--network", "10.197.90.1.10/24", "--apply")
    assert (code, "an address has 4 numbers, this has 5" in said) == (2, True)
    assert host.exec_run(["ls", "/tmp/hccn/log"])[0] != 0, "no port was touched"
