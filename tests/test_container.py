"""The programs that run in the container, on this machine: checks, settings, and the gateway's configuration."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import GOLDEN, ROOT

from weighbridge.runspec import _REASONS

SHARED = ROOT / "images" / "_shared" / "gateway"
MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")


def program(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SHARED))
    spec = importlib.util.spec_from_file_location(f"container_{name}", SHARED / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Any:
    return program("checks", monkeypatch)


@pytest.fixture
def supervise(monkeypatch: pytest.MonkeyPatch) -> Any:
    return program("supervise", monkeypatch)


# --- checks


def locked(folder: Path, sizes: dict[str, int]) -> None:
    rows = [{"path": path, "size_bytes": size, "sha256": "0" * 64} for path, size in sizes.items()]
    (folder / "weighbridge.lock.json").write_text(json.dumps({"files": rows}))


def test_weights_are_as_large_as_their_lock_says(checks: Any, tmp_path: Path) -> None:
    assert checks.weights(tmp_path) == 0, "without a lock there is nothing to compare"
    sizes = {f"model-{i:05}.safetensors": i for i in range(30)}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b"x" * size)
    locked(tmp_path, sizes)
    assert checks.weights(tmp_path) == 30
    (tmp_path / "model-00007.safetensors").write_bytes(b"x")
    with pytest.raises(checks.Wrong, match=r"model-00007\.safetensors has 1 bytes, the lock says 7"):
        checks.weights(tmp_path)
    (tmp_path / "model-00007.safetensors").unlink()
    with pytest.raises(checks.Wrong, match="No such file"):
        checks.weights(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', '{"files": [{}]}', '{"files": [1]}'])
def test_a_lock_that_is_none_is_a_failed_check(text: str, checks: Any, tmp_path: Path) -> None:
    (tmp_path / "weighbridge.lock.json").write_text(text)
    done = subprocess.run(
        [sys.executable, str(SHARED / "checks.py"), "weights", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert done.stderr.startswith("weighbridge: check weights failed: ")
    assert len(done.stderr.splitlines()) == 2


def test_the_container_reads_what_the_host_writes(checks: Any, tmp_path: Path) -> None:
    from weighbridge.effects.keyring import Keyring

    ring = Keyring(tmp_path)
    made = ring.ensure()
    assert checks.read_keys(ring.file) == {
        "api": {made[0].key.sha256: "owner"}, "metrics": {made[1].key.sha256: "metrics"},
    }  # fmt: skip
    ring.file.write_text(ring.file.read_text() + "alice api wb-plain\n")
    with pytest.raises(checks.Wrong, match="line 4") as caught:
        checks.read_keys(ring.file)
    assert "wb-plain" not in str(caught.value)
    with pytest.raises(checks.Wrong, match="No such file"):
        checks.read_keys(tmp_path / "none")


# --- settings


@pytest.mark.parametrize(
    "given",
    [{"WEIGHBRIDGE_CORS": "*"}, {"WEIGHBRIDGE_CORS": 'https://a" "b'}, {"WEIGHBRIDGE_CONSOLE": "on"},
     {"WEIGHBRIDGE_KEY_RATE": "0"}, {"WEIGHBRIDGE_KEY_STREAMS": "1;"}, {"WEIGHBRIDGE_STOP_SECONDS": "x"}],
)  # fmt: skip
def test_a_setting_that_is_none_is_a_failed_check(given: dict[str, str], supervise: Any) -> None:
    with pytest.raises(Exception, match="check settings failed: WEIGHBRIDGE_"):
        supervise.Settings(given)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('[error] 1#1: request: "GET /v1/models?key=wb-x HTTP/1.1", host: "x"', 'request: "GET /v1/models?… HTTP/1.1"'),
        ('request: "GET /a/?wb-x HTTP/1.1", referrer: "https://a/b?wb-x"', 'referrer: "https://a/b?…"'),
        ("[notice] signal 1 (SIGHUP) received", "[notice] signal 1 (SIGHUP) received"),
    ],
)
def test_a_message_loses_its_queries(line: str, kept: str, supervise: Any) -> None:
    found = supervise._QUERY.sub("?…", line)
    assert kept in found
    assert "wb-x" not in found


def test_a_death_has_the_code_that_a_shell_gives_it(supervise: Any) -> None:
    assert [supervise._code(status) for status in (0, 78, -9, -15)] == [0, 78, 137, 143]


# --- nginx


def prepared(folder: Path, supervise: Any, **given: str) -> Any:
    """The gateway's files for the CPU appliance, in `folder` instead of the container's own."""
    from weighbridge.effects.keyring import Keyring

    ring = Keyring(folder / "home")
    ring.ensure()
    plan = json.loads((GOLDEN / "vllm-cpu-demo" / "image" / "plan.json").read_text())
    plan["gateway"]["socket"] = str(folder / "engine" / "engine.sock")
    settings = supervise.Settings({"WEIGHBRIDGE_KEYS": str(ring.file), **given})
    gateway = supervise.Gateway(plan, settings, run=folder)
    gateway.prepare()
    return gateway


def test_the_files_hold_hashes_and_no_key(supervise: Any, tmp_path: Path) -> None:
    gateway = prepared(tmp_path, supervise, WEIGHBRIDGE_CORS="https://a.example", WEIGHBRIDGE_KEY_RATE="7")
    written = "".join(p.read_text() for p in tmp_path.iterdir() if p.is_file())
    assert (tmp_path / "home" / "key").read_text().strip() not in written
    assert '"https://a.example" "https://a.example";' in written
    assert "rate=7r/s" in written
    before = (tmp_path / "api.map").read_text()
    gateway.settings.keys.write_text("")
    gateway.follow()
    assert (before != "", (tmp_path / "api.map").read_text()) == (True, ""), "the last key can be revoked too"


@pytest.mark.parametrize("case", sorted(p.parent.parent.name for p in GOLDEN.glob("*/image/nginx.conf")))
def test_every_configuration_is_one_that_nginx_takes(case: str, supervise: Any, tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        if os.environ.get("CI") == "true":
            pytest.fail("nginx is missing, and CI must have it")
        pytest.skip("nginx is missing")
    prepared(tmp_path, supervise)
    text = (GOLDEN / case / "image" / "nginx.conf").read_text().replace("/run/weighbridge", str(tmp_path))
    text = text.replace("/opt/weighbridge", str(SHARED))
    if not MODULE.is_file():  # the image has it; here the hash of a key stays empty
        (tmp_path / "modules.conf").write_text("")
        text = "".join(f"{line}\n" for line in text.splitlines() if not line.lstrip().startswith("js_"))
        text = text.replace("map $key_sha256", "map $http_authorization")
    (tmp_path / "nginx.conf").write_text(text)
    words = [nginx, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr.replace('the "user" directive', ""), done.stderr


# --- what is written about it


def test_the_page_on_security_gives_the_reasons_of_the_run_itself() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert [why for why in _REASONS.values() if f"| {why} |" not in text] == []
