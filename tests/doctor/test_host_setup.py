"""The script that prepares a host: its addresses, its shell, and what it does when it runs, once and again."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from support_doctor import catalog
from test_here import tool

from weighbridge.effects.host_setup import apply
from weighbridge.errors import BadValue, HostError, UnknownName, Unsupported
from weighbridge.host_setup import read_setup, setup_script


def setup(profile: str, **flags: Any) -> Any:
    return read_setup(catalog().profile(profile), flags)


def script(profile: str, **flags: Any) -> str:
    return setup_script(setup(profile, **flags), catalog())


SCRIPTS = {
    "910b-64g-x8": script("910b-64g-x8"),
    "910b-64g-x8-n2": script("910b-64g-x8-n2", network="10.0.0.0/24", machine="2"),
    "910b-64g-x1": script("910b-64g-x1"),
    "h100-80g-x8": script("h100-80g-x8"),
    "l40s-48g-x4": script("l40s-48g-x4"),
}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_script_is_clean_shell(name: str, tmp_path: Path) -> None:
    path = tmp_path / "host-setup.sh"
    path.write_text(SCRIPTS[name])
    for shell in ("sh", "bash"):
        subprocess.run([shell, "-n", str(path)], check=True)
    if not shutil.which("shellcheck"):
        assert os.environ.get("CI") != "true", "shellcheck is missing, and CI must have it"
        pytest.skip("shellcheck is missing")
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_card_of_every_machine_has_an_address_of_its_own() -> None:
    machines = [setup("910b-64g-x8-n2", network="10.0.0.0/24", machine=str(n)) for n in (1, 2)]
    found = [port.address for machine in machines for port in machine.ports]
    assert len(set(found)) == 16
    assert found[:2] == ["10.0.0.2", "10.0.0.3"]
    assert found[8] == "10.0.0.10"
    network = ipaddress.ip_network("10.0.0.0/24")
    assert all(ipaddress.ip_address(a) in network for a in found)
    assert machines[0].gateway == "10.0.0.1"
    assert machines[0].gateway not in found


def test_a_gateway_in_the_middle_is_left_out() -> None:
    found = [p.address for p in setup("910b-64g-x8", network="10.1.0.0/28", gateway="10.1.0.4").ports]
    assert found == [f"10.1.0.{n}" for n in (1, 2, 3, 5, 6, 7, 8, 9)]


@pytest.mark.parametrize(
    ("flags", "message", "hint"),
    [
        ({"network": "10.197.90.1.10/24"}, "an address has 4 numbers, this has 5", "--network 192.168.100.0/24"),
        ({"network": "10.0.0.256/24"}, "'256' is no number of 0 to 255", "--network"),
        ({"network": "10.0.0/24"}, "an address has 4 numbers, this has 3", "--network"),
        ({"network": "10.0.0.0"}, "has no length of 8 to 30", "--network 10.0.0.0/24"),
        ({"network": "10.0.0.0/33"}, "has no length of 8 to 30", "--network 10.0.0.0/24"),
        ({"network": "10.0.0.7/24"}, "is an address in 10.0.0.0/24", "--network 10.0.0.0/24"),
        ({"network": "10.0.0.0/29"}, "has room for 5 cards; 910b-64g-x8 has 8", "--network 10.0.0.0/28"),
        ({"network": "$(id)/24"}, "an address has 4 numbers", "--network"),
        ({"gateway": "10.9.9.9"}, "is no address for a host in 192.168.100.0/24", "--gateway 192.168.100.1"),
        ({"gateway": "192.168.100.255"}, "is no address for a host", "--gateway 192.168.100.1"),
        ({"gateway": "1.2.3.4.5"}, "an address has 4 numbers, this has 5", "--gateway"),
        ({"machine": "2"}, "--machine 2: 910b-64g-x8 is 1", "--profile 910b-64g-x8-n2"),
        ({"machine": "0"}, "--machine '0' is not a whole number from 1 to 9999", "--machine 1"),
        ({"machine": "999999"}, "--machine '999999' is not a whole number from 1 to 9999", "--machine 1"),
        ({"machine": "x"}, "--machine 'x' is not a whole number", "--machine 1"),
        ({"network": "127.0.0.0/8"}, "'127.0.0.0/8': no other machine reaches it", "--network 192.168.100.0/24"),
        ({"network": "224.0.0.0/8"}, "no other machine reaches it", "--network 192.168.100.0/24"),
        ({"network": "0.0.0.0/0"}, "no other machine reaches it", "--network 192.168.100.0/24"),
        ({"apply": True}, "--apply sets addresses, and no network was named", "--network 192.168.100.0/24"),
    ],
)
def test_what_cannot_be_is_refused(flags: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(BadValue) as caught:
        setup("910b-64g-x8", **flags)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("profile", "more"),
    [("910b-64g-x8", "910b-64g-x8-n9999"), ("910b-64g-x8-n2", "910b-64g-x8-n9999"), ("cpu", None)],
)
def test_the_profile_of_a_hint_is_one(profile: str, more: str | None) -> None:
    """Up to the most machines that a profile has; none where cards do not work over machines."""
    with pytest.raises(BadValue) as caught:
        setup(profile, machine="9999")
    if more is None:
        assert caught.value.hint == "leave --machine out"
    else:
        assert caught.value.hint == f"name them all: --profile {more}"
        assert catalog().profile(more).nodes == 9999
        with pytest.raises(UnknownName):
            catalog().profile(f"{more}9")


@pytest.mark.parametrize("flag", ["network", "gateway"])
def test_addresses_for_cards_without_ports_are_refused(flag: str) -> None:
    with pytest.raises(BadValue, match=f"--{flag} 10.0.0.1: the cards of h100-80g-x8 have no network ports") as caught:
        setup("h100-80g-x8", **{flag: "10.0.0.1"})
    assert caught.value.hint == f"leave --{flag} out"


def test_a_host_without_cards_needs_no_preparation() -> None:
    with pytest.raises(Unsupported, match="cpu: such a host needs no preparation"):
        script("cpu")


def test_switches_are_set_up_only_where_cards_are_joined_by_them() -> None:
    assert "nvidia-fabricmanager" in SCRIPTS["h100-80g-x8"]
    assert "nvidia-fabricmanager" not in SCRIPTS["l40s-48g-x4"]


def test_applying_it_without_being_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="--apply needs root"):
        apply("true\n", print)


# --- run: stand-ins for the vendors' tools keep the settings in files -------------------------------------

HCCN = ROOT / "tests" / "simulated" / "stub" / "hccn_tool"
NPU_SMI = """
case "$*" in
  'info -l') for i in 0 1 2 3 4 5 6 7; do echo "        NPU ID                         : $i"; done;;
  *) echo '        Health                         : {health}';;
esac
"""


def run(text: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    path = ":".join([*map(str, folders), os.environ["PATH"]])
    return subprocess.run(["sh", "-s"], input=text, text=True, capture_output=True, env={"PATH": path}, check=False)


class Npus:
    """A machine of eight cards whose network ports are files in a folder."""

    def __init__(self, folder: Path, *, link: str = "UP", health: str = "OK") -> None:
        self.log = folder / "state" / "log"
        self.log.parent.mkdir()
        version = folder / "version.info"
        version.write_text("Version=25.3.rc1\n")
        hccn = f'SIMULATED_HCCN={self.log.parent} SIMULATED_LINK={link} exec sh {HCCN} "$@"'
        self.folders = [
            tool(folder, "id", "echo 0"),
            tool(folder, "npu-smi", NPU_SMI.replace("{health}", health)),
            tool(folder, "hccn_tool", hccn),
        ]
        self.script = SCRIPTS["910b-64g-x8"].replace("/usr/local/Ascend/driver/version.info", str(version))

    def prepare(self) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return run(self.script, *self.folders)

    @property
    def settings(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if " -s " in line]


def test_eight_cards_are_set_up_and_read_back_and_a_second_run_sets_nothing(tmp_path: Path) -> None:
    npus = Npus(tmp_path)
    done = npus.prepare()
    assert done.returncode == 0, done.stderr
    assert "host-setup: 8 cards are ready" in done.stdout
    assert len(npus.settings) == 8 * 4
    assert "hccn_tool -i 7 -ip -s address 192.168.100.9 netmask 255.255.255.0" in npus.settings
    assert "hccn_tool -i 0 -tls -s enable 0" in npus.settings
    again = npus.prepare()
    assert again.returncode == 0
    assert npus.settings == []


def test_an_address_that_only_begins_like_the_right_one_is_set(tmp_path: Path) -> None:
    npus = Npus(tmp_path)
    (tmp_path / "state" / "0-ip").write_text("ipaddr:192.168.100.20\nnetmask:255.255.255.0\n")
    assert npus.prepare().returncode == 0
    assert "hccn_tool -i 0 -ip -s address 192.168.100.2 netmask 255.255.255.0" in npus.settings


def test_a_link_that_is_down_is_named_and_fails(tmp_path: Path) -> None:
    done = Npus(tmp_path, link="DOWN").prepare()
    assert done.returncode == 1
    assert "card 3: -link does not say linkstatus:UP" in done.stderr
    assert "not every setting holds" in done.stderr


def test_a_card_that_is_not_well_stops_before_anything_is_set(tmp_path: Path) -> None:
    npus = Npus(tmp_path, health="Alarm")
    done = npus.prepare()
    assert done.returncode == 1
    assert "card 0 is not well" in done.stderr
    assert npus.settings == []


def test_without_the_driver_or_without_root_nothing_happens(tmp_path: Path) -> None:
    done = run(SCRIPTS["910b-64g-x8"], tool(tmp_path, "id", "echo 0"))
    assert (done.returncode, "no npu-smi: install driver and firmware" in done.stderr) == (1, True)
    done = run(SCRIPTS["910b-64g-x8"], tool(tmp_path, "id", "echo 1000"))
    assert (done.returncode, "run it as root" in done.stderr) == (1, True)


class Cards:
    """A machine of eight joined cards, its settings in files; paths of the script lead into a folder."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        (folder / "dev").mkdir()
        (folder / "switches" / "devices").mkdir(parents=True)
        mode, dev, active, runtime = (folder / n for n in ("mode", "dev/nvidia-uvm", "active", "runtime"))
        mode.write_text("Disabled\n")
        log = f'echo "$(basename "$0") $*" >> {self.log}\n'
        smi = f"""case "$*" in
          --query-gpu=index\\ *|--query-gpu=index,\\ *|"--query-gpu=index --format=csv,noheader") seq 0 7;;
          --query-gpu=persistence_mode*) for i in 1 2 3 4 5 6 7 8; do cat {mode}; done;;
          --query-gpu=driver_version*) echo 580.95.05;;
          "-pm 1") {log} echo Enabled > {mode};;
        esac"""
        ctl = f"""case "$1" in
          list-unit-files) echo nvidia-fabricmanager.service;;
          is-active) [ -e {active} ];;
          *) {log} case "$*" in *fabricmanager) touch {active};; esac;;
        esac"""
        ctk = f"""{log} case "$*" in
          cdi*) echo 'libcuda.so.580.95.05' > {folder}/cdi.yaml;;
          runtime*) touch {runtime};;
        esac"""
        docker = f"""case "$1" in
          ps) cat {folder}/running 2>/dev/null;;
          info) [ -e {runtime} ] && echo ' Runtimes: nvidia runc';;
        esac; true"""
        self.folders = [
            tool(folder, "id", "echo 0"),
            tool(folder, "nvidia-smi", smi),
            tool(folder, "nvidia-modprobe", f"{log} touch {dev}"),
            tool(folder, "nvidia-ctk", ctk),
            tool(folder, "systemctl", ctl),
            tool(folder, "docker", docker),
        ]
        text = SCRIPTS["h100-80g-x8"]
        for old, new in (
            ("/dev/nvidia-uvm", str(dev)),
            ("/proc/driver/nvidia-nvswitch", str(folder / "switches")),
            ("/etc/cdi/nvidia.yaml", str(folder / "cdi.yaml")),
            ("mkdir -p /etc/cdi", f"mkdir -p {folder}"),
        ):
            assert old in text
            text = text.replace(old, new)
        self.script = text

    def prepare(self) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return run(self.script, *self.folders)


def test_cards_of_another_family_are_set_up_and_a_second_run_sets_nothing(tmp_path: Path) -> None:
    machine = Cards(tmp_path)
    done = machine.prepare()
    assert done.returncode == 0, done.stderr
    acts = [re.sub(r"--output=\S+", "--output=…", line) for line in machine.log.read_text().splitlines()]
    assert acts == [
        "nvidia-smi -pm 1",
        "nvidia-modprobe -u -c=0",
        "systemctl enable --now nvidia-fabricmanager",
        "nvidia-ctk cdi generate --output=…",
        "nvidia-ctk runtime configure --runtime=docker",
        "systemctl restart docker",
    ]
    again = machine.prepare()
    assert again.returncode == 0, again.stderr
    assert machine.log.read_text() == ""


def test_docker_is_not_restarted_under_running_containers(tmp_path: Path) -> None:
    machine = Cards(tmp_path)
    (tmp_path / "running").write_text("0123456789ab\n")
    done = machine.prepare()
    assert done.returncode == 1
    assert "containers are running: stop them" in done.stderr
    assert "restart docker" not in machine.log.read_text()
