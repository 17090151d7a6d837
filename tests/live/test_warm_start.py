"""Warm starts of the CPU appliance: what a first start found out travels in the image; a broken one breaks nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from support import ROOT

from weighbridge.effects.warm import read_layer

pytestmark = pytest.mark.live
NAME = "weighbridge-live-warm"
INVOKE = str(Path(sys.executable).with_name("invoke"))
PLAN = ("--context", "1000", "--sequences", "2")  # an image of its own: others' start as they are
CONFIG = tempfile.mkdtemp(prefix="weighbridge-live-")
MODEL = ROOT / "models" / "weighbridge-demo"
USE = ("/usr/bin/python3", "/opt/weighbridge/warm.py", "use", "any")


def invoke(*words: str) -> subprocess.CompletedProcess[str]:
    around = {**os.environ, "XDG_CONFIG_HOME": CONFIG}
    return subprocess.run(
        [INVOKE, *words], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False, env=around
    )


def answer(*words: str) -> dict[str, Any]:
    done = invoke(*words, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def forget() -> None:
    engine = docker.from_env()
    for name in (NAME, f"{NAME}-warm", f"_{NAME}-warm"):
        for old in engine.containers.list(all=True, filters={"name": f"^{name}$"}):
            old.remove(force=True)
        for volume in engine.volumes.list(filters={"name": f"weighbridge-cache-{name}"}):
            if volume.name == f"weighbridge-cache-{name}":
                volume.remove()


def started() -> dict[str, Any]:
    """A start with an empty cache: how it called itself, and its phases."""
    forget()
    run = answer("run", "--name", NAME, "--port", "0", *PLAN)
    start = answer("status", "--startup")[NAME]
    report = answer("smoke", "--name", NAME)
    assert {c["id"]: c["detail"] for c in report["checks"] if c["ok"] is False} == {}
    return {**run, "how": start["how"], **{p["phase"]: p["seconds"] for p in start["phases"]}}


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    forget()
    tag = answer("warm", "--dry-run", *PLAN)["image"]
    yield
    forget()
    engine = docker.from_env()
    recipes = {i.labels["io.weighbridge.recipe"] for i in engine.images.list(name=tag)}
    ours = [i for r in recipes for i in engine.images.list(filters={"label": f"io.weighbridge.recipe={r}"})]
    for image in sorted(ours, key=lambda i: "io.weighbridge.warm" not in i.labels):  # what lies on another first
        engine.images.remove(str(image.id), force=True)
    assert engine.images.list(name=tag) == engine.images.list(name=f"{tag}-cold") == []


@pytest.fixture(scope="module")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    path = tmp_path_factory.mktemp("warm") / "layer.tar"
    done = answer("warm", "--name", NAME, "--export", str(path), *PLAN)
    assert docker.from_env().containers.list(all=True, filters={"name": f"^{NAME}"}) == [], "nothing is left running"
    assert [v.name for v in docker.from_env().volumes.list() if NAME in str(v.name)] == []
    return done, path


def test_an_appliance_under_the_name_of_the_run_is_left_alone(warmed: tuple[dict[str, Any], Path]) -> None:
    done, _ = warmed
    engine, name = docker.from_env(), f"{NAME}-warm"
    volume = f"weighbridge-cache-{name}"
    made = engine.containers.create(
        done["image"], name=name, labels={"io.weighbridge.name": name}, volumes={volume: {"bind": "/c", "mode": "rw"}}
    )
    refused = invoke("warm", "--name", NAME, *PLAN)
    assert refused.returncode == 1
    assert f"a container called {name} is there already (created)" in refused.stderr
    assert engine.containers.get(name).id == made.id
    made.remove()
    assert engine.volumes.get(volume), "its cache is its own"


def test_a_warmed_image_starts_warm_and_looks_at_the_model_no_more(warmed: tuple[dict[str, Any], Path]) -> None:
    done, path = warmed
    manifest, digest = read_layer(path, "it")
    assert (done["digest"], done["files"]) == (digest, len(manifest.files))
    assert any(name.startswith("vllm/modelinfos/") for name in manifest.files)
    found = started()
    files = "1 file" if done["files"] == 1 else f"{done['files']} files"
    assert found["how"] == f"warm start: {files}, {done['size_bytes'] / 2**20:.1f} MiB, from the image"
    image = docker.from_env().images.get(done["image"])
    assert image.labels["io.weighbridge.warm"] == digest
    inside: Any = docker.from_env().containers.get(NAME).exec_run(["ls", "-lR", "/opt/weighbridge/warm"]).output
    assert b"root" in inside
    assert b"rw-rw" not in inside, "only root may change it"


def test_a_layer_that_was_changed_or_is_another_plans_is_ignored_in_one_line(
    warmed: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    done, path = warmed
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path, filter="data")
    layer = tmp_path / "warm"
    key = (layer / "key.json").read_text()

    def said() -> str:
        words = [
            "docker", "run", "--rm", "--read-only", "--network", "none", "--tmpfs", "/var/cache/weighbridge:mode=1777",
            "--volume", f"{layer}:/opt/weighbridge/warm:ro", "--volume", f"{MODEL}:/models/weighbridge-demo:ro",
            "--entrypoint", USE[0], done["image"], *USE[1:],
        ]  # fmt: skip
        found = subprocess.run(words, capture_output=True, text=True, check=True)
        return found.stderr.strip()

    assert said().startswith("weighbridge: warm start: ")
    (layer / "key.json").write_text(key.replace('"max_model_len": "1000"', '"max_model_len": "2000"'))
    assert said().endswith("made for another: max model len '2000' there, '1000' here")
    (layer / "key.json").write_text(key)
    next((layer / "cache" / "vllm" / "modelinfos").iterdir()).write_text("{}")
    assert said().startswith("weighbridge: cold start: the warm layer is ignored: ")
    assert "\n" not in said()


def with_other_bytes(path: Path, content: bytes) -> bytes:
    """The same layer with this in each of its files: whole to every check of ours."""
    out = io.BytesIO()
    with tarfile.open(path) as tar, tarfile.open(fileobj=out, mode="w") as new:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            data = file.read() if file else b""
            if member.name == "warm/key.json":
                found = json.loads(data)
                row = [hashlib.sha256(content).hexdigest(), len(content)]
                data = json.dumps({**found, "files": dict.fromkeys(found["files"], row)}).encode()
            elif file:
                data = content
            member.size, member.pax_headers = len(data), {}
            new.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_an_engine_that_finds_nonsense_in_its_cache_starts_all_the_same(
    warmed: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    _, path = warmed
    bad = tmp_path / "bad.tar"
    bad.write_bytes(with_other_bytes(path, b"nonsense"))
    done = answer("warm", "--import", str(bad), *PLAN)
    assert done["seconds"] is None, "no engine was run for it"
    found = started()
    assert found["how"].startswith("warm start: ")
    full = invoke("warm", "--name", NAME, "--export", "/dev/full", *PLAN)
    assert full.returncode == 1
    assert full.stderr.rstrip().splitlines()[-2:] == [
        "error: /dev/full: No space left on device", "  name another place: --export FILE",
    ]  # fmt: skip
    assert docker.from_env().images.get(done["image"]).labels["io.weighbridge.warm"] == done["digest"], "as before"
    forget()
    again = answer("warm", "--name", NAME, "--export", str(tmp_path / "again.tar"), *PLAN)
    rows = read_layer(tmp_path / "again.tar", "it")[0].files
    assert rows.keys() == read_layer(path, "it")[0].files.keys()
    assert hashlib.sha256(b"nonsense").hexdigest() not in {row[0] for row in rows.values()}, "made anew"
    assert len(docker.from_env().images.get(again["image"]).history()) == len(
        docker.from_env().images.get(done["image"]).history()
    ), "layers do not lie on one another"


def test_a_layer_of_another_plan_is_refused_before_anything_is_built(
    warmed: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    _, path = warmed
    refused = invoke("warm", "--import", str(path), "--context", "1200")
    assert refused.returncode == 2
    assert "was made for another plan: max model len 1000 there, 1200 here" in refused.stderr
    (tmp_path / "cut.tar").write_bytes(path.read_bytes()[:1500])
    assert invoke("warm", "--import", str(tmp_path / "cut.tar"), *PLAN).returncode == 2
    assert invoke("warm", "--import", str(tmp_path / "none.tar"), *PLAN).returncode == 2
