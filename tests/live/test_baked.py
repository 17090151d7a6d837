"""The baked demo appliance: reproducible, sealed, and able to answer without weights or network."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import docker
import pytest
from support import ROOT

pytestmark = pytest.mark.live
NAME = "weighbridge-live-baked"
INVOKE = str(Path(sys.executable).with_name("invoke"))


def answer(*words: str, enter: tuple[str, ...] = (), cwd: Path = ROOT) -> dict[str, Any]:
    command = [*enter, INVOKE, "--search-root", str(ROOT), *words, "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def baked() -> dict[str, Any]:
    return answer("bake", "--to", "docker")


def test_baked_twice_in_two_folders_it_is_the_same_image(baked: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (
        answer("bake", "--to", "layout", "--output", str(tmp_path / name / "out"), cwd=tmp_path / name)
        for name in ("one", "two")
    )
    assert one["digest"] == two["digest"] == baked["digest"]
    assert docker.from_env().images.get(baked["image_id"]).id == baked["image_id"]


def test_baked_again_nothing_is_read_and_the_engine_gets_nothing(baked: dict[str, Any]) -> None:
    again = answer("bake", "--to", "docker")
    assert again["written_bytes"] == 0
    assert again["image_id"] == baked["image_id"]


def test_the_line_has_no_mount_of_weights() -> None:
    line = answer("run", "--baked", "--print", "docker", "--name", NAME, "--port", "0")["text"]
    assert "weighbridge-baked/" in line
    assert "target=/models" not in line


@pytest.mark.skipif(os.geteuid() != 0, reason="enters the container's network, which only root may")
def test_without_a_network_it_answers_every_question(baked: dict[str, Any], tmp_path: Path) -> None:
    """The printed line with `--network none` in place of the port; asked from inside the container's own network."""
    engine = docker.from_env()
    for old in engine.containers.list(all=True, filters={"name": f"^{NAME}$"}):
        old.remove(force=True)
    keys, key = str(tmp_path / "keys" / "keys"), str(tmp_path / "key")
    answer("keys", "add", "--keys", keys, "--key-name", "test", "--key-file", key)
    flags = ("--baked", "--name", NAME, "--keys", keys)
    port = answer("run", "--dry-run", "--port", "0", *flags)["run"]["container_port"]
    line = answer("run", "--print", "docker", "--port", str(port), *flags)["text"]
    words = shlex.split(line.replace("\\\n", " "))
    published = words.index("--publish")
    words[published : published + 2] = ["--network", "none"]
    subprocess.run(words, check=True, capture_output=True)
    try:
        container = engine.containers.get(NAME)
        pid = container.attrs["State"]["Pid"]
        enter = ("nsenter", "--net", "--target", str(pid))
        ask = f"import httpx; httpx.get('http://127.0.0.1:{port}/health', trust_env=False).raise_for_status()"
        for _ in range(120):
            if subprocess.run([*enter, sys.executable, "-c", ask], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(2)
        report = answer("smoke", "--name", NAME, "--key-file", key, enter=enter)
        assert {c["id"]: c["detail"] for c in report["checks"] if not c["ok"]} == {}
        inside: Any = container.exec_run(["cat", "/models/weighbridge-demo/weighbridge.lock.json"]).output
        assert {f["path"] for f in json.loads(inside)["files"]} >= {"config.json", "model.safetensors"}
    finally:
        engine.containers.get(NAME).remove(force=True, v=True)
