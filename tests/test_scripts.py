"""scripts/install-missing.sh on machines made for the purpose: folders of programs that are there, or are not."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT

SCRIPT = ROOT / "scripts" / "install-missing.sh"
TOOLS = ("bash", "env", "id", "seq", "sleep", "sh")
NOBODY = 65534


class Machine:
    """A folder of programs; what apt-get, sudo and dockerd are asked to do is written down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        (folder / "did").touch()
        (folder / "did").chmod(0o666)
        shutil.copy(SCRIPT, folder / "install.sh")
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)
        self.put("apt-cache", "exit 0")  # every package is known
        self.put("apt-get", f'echo "apt-get $*" >> {folder}/did')
        self.put("sudo", f'echo "sudo $*" >> {folder}/did; "$@"')

    def put(self, name: str, body: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)

    def run(self, *words: str, user: int | None = None, **more: str) -> tuple[int, list[str]]:
        """Exit code, and what was said."""
        plain = {"PATH": str(self.bin), **more}
        command = [str(self.bin / "bash"), str(self.folder / "install.sh"), *words]
        done = subprocess.run(
            command, env=plain, capture_output=True, text=True, check=False, timeout=30, cwd=self.folder, user=user
        )
        return done.returncode, done.stderr.splitlines()

    @property
    def did(self) -> str:
        return (self.folder / "did").read_text(encoding="utf-8")


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Not beneath tmp_path, which other users may not enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Machine(Path(name))


def test_a_browser_that_is_no_package_is_not_asked_for(machine: Machine) -> None:
    machine.put("apt-cache", "exit 100")
    machine.put("shellcheck", "exit 0")
    assert machine.run("tools") == (0, [])
    machine.put("apt-cache", "exit 0")
    lines = [line for line in machine.run("tools")[1] if "installing" in line]
    assert lines == [f"setup: installing {name} with apt-get" for name in ("chromium", "docker-registry")]


def test_fonts_are_installed_where_none_has_the_characters(machine: Machine) -> None:
    machine.put("fc-list", "exit 0")
    machine.run("fonts")
    assert "install -y -qq --no-install-recommends fontconfig fonts-noto-cjk" in machine.did
    machine.put("fc-list", "echo a font")
    assert machine.run("fonts") == (0, [])


def test_all_that_is_missing_is_said_and_nothing_is_done(machine: Machine) -> None:
    code, lines = machine.run("python", "docker", "tools", WEIGHBRIDGE_NO_INSTALL="1", DOCKER_HOST="unix:///nowhere")
    assert code == 1
    assert [line.removeprefix("setup: missing: ").split(": ")[0] for line in lines[:-2]] == [
        "python3 python3-venv", "mmdebstrap", "docker.io", "shellcheck", "chromium", "docker-registry",
    ]  # fmt: skip
    assert lines[-2:] == [
        "error: 6 missing, and WEIGHBRIDGE_NO_INSTALL is set",
        "  install what is listed above, or unset WEIGHBRIDGE_NO_INSTALL",
    ]
    assert not any("installing" in line or "starting" in line for line in lines)
    assert machine.did == ""


def test_nothing_is_missing(machine: Machine) -> None:
    for name in ("python3", "mmdebstrap", "docker", "shellcheck", "chromium", "docker-registry"):
        machine.put(name, "exit 0")
    assert machine.run("python", "docker", "tools", WEIGHBRIDGE_NO_INSTALL="1") == (0, [])


def test_an_engine_that_is_there_and_does_not_run_is_not_started(machine: Machine) -> None:
    for name in ("mmdebstrap", "dockerd"):
        machine.put(name, f"echo {name} >> {machine.folder}/did")
    machine.put("docker", "exit 1")
    code, lines = machine.run("docker", WEIGHBRIDGE_NO_INSTALL="1", DOCKER_HOST="unix:///nowhere")
    assert code == 1
    assert lines[0] == "setup: missing: a Docker engine that answers: systemctl start docker"
    assert machine.did == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not")
@pytest.mark.parametrize("installed", [True, False])
def test_a_socket_that_is_closed_is_said_at_once(installed: bool, machine: Machine) -> None:
    """A fresh machine: Docker comes with the package and runs, and this user is in no group of it."""
    path = machine.folder / "docker.sock"
    machine.put("docker", "exit 1")
    machine.put("dockerd", "exit 0")
    machine.put("mmdebstrap", "exit 0")
    machine.put("id", "case $1 in -u) echo 1000 ;; *) echo ada ;; esac")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        if not installed:  # the package brings the programs, and its installation opens the socket
            hidden = path.rename(machine.folder / "hidden.sock")
            docker = (machine.bin / "docker").rename(machine.folder / "docker")
            machine.folder.chmod(0o777)
            machine.bin.chmod(0o777)
            machine.put("apt-get", f"[ $1 = update ] || {{ /bin/mv {hidden} {path}; /bin/mv {docker} {machine.bin}; }}")
        began = time.monotonic()
        code, lines = machine.run("docker", user=NOBODY, DOCKER_HOST=f"unix://{path}")
    assert time.monotonic() - began < 10
    assert code == 1
    assert lines[-2:] == [
        "error: the Docker engine is there, and ada is not in its group yet",
        "  sudo usermod -aG docker ada && newgrp docker   # and then this again",
    ]
    assert not any("starting" in line for line in lines)
