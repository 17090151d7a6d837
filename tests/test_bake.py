"""Baking into folders and registries, with real files, real HTTP and, where it is installed, a real registry."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from hub_stub import NEEDED, model_files
from msgspec.structs import replace
from registries import Difficult, real_registry
from support import ROOT

from weighbridge import layers
from weighbridge.catalog import Catalog
from weighbridge.effects.docker import Host
from weighbridge.effects.locks import lock_of, own_lock
from weighbridge.effects.oci import blocks
from weighbridge.effects.oci import registry as registry_module
from weighbridge.effects.oci.bake import Baked, Work, bake
from weighbridge.effects.oci.daemon import IMPORTED, DockerSink
from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.engine import EngineImage, _check_hides, _part, sweep
from weighbridge.effects.oci.folder import ModelFolder, listed
from weighbridge.effects.oci.layout import LayoutSink
from weighbridge.effects.oci.login import read_login
from weighbridge.effects.oci.pour import Pour
from weighbridge.effects.oci.pull import PodmanSink
from weighbridge.effects.oci.registry import RegistrySink
from weighbridge.effects.oci.sink import Sink
from weighbridge.effects.oci.uploads import Upload, come
from weighbridge.effects.wish import stored_model
from weighbridge.errors import BadFile, BadValue, HostError, Unsupported
from weighbridge.image import BAKED, sealed
from weighbridge.layers import Inside, Layer
from weighbridge.lock import LOCK_NAME, Lock, lock_json, lock_text
from weighbridge.reference import read_reference

DEMO = ROOT / "models" / "weighbridge-demo"
PLACE = "/models/m"
ON_THE_LINE = 2 << 20  # bytes of two connections that were sent and not yet taken


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "PAUSE_SECONDS", 0.001)


@pytest.fixture(autouse=True)
def _small_is_large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 9 MiB, which are more than one block, are large; live tests leave things as they are."""
    if not request.node.get_closest_marker("live"):
        monkeypatch.setattr(layers, "LARGE_BYTES", 9 << 20)


@pytest.fixture
def digests(tmp_path: Path) -> Iterator[Digests]:
    with closing(Digests(tmp_path / "cache")) as found:
        yield found


@pytest.fixture
def engine(tmp_path: Path) -> EngineImage:
    """An engine's image of one layer, as it would lie in the cache."""
    folder = tmp_path / "cache" / "blobs"
    folder.mkdir(parents=True)
    layer = sealed(b"the engine's layer" * 100, "engine")
    (folder / layer.digest).write_bytes(b"the engine's layer" * 100)
    return EngineImage({"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]}}, (layer,), folder)


def large_model(folder: Path, shards: int = 2) -> Path:
    """A model with shards that are layers of their own; holes in the files keep them cheap."""
    folder.mkdir(parents=True)
    for i in range(shards):
        with (folder / f"model-{i}.safetensors").open("wb") as file:
            file.write(f"shard {i}".encode() * 1000)
            file.truncate(layers.LARGE_BYTES + 4097 * i)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    settle(folder)
    return folder


def settle(folder: Path) -> None:
    """Files whose time stamps are old enough for their digests to be kept."""
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    time.sleep(0.06)


def baked(model: Path, sink: Sink, engine: EngineImage, digests: Digests, jobs: int = 2) -> Baked:
    with closing(sink):
        files = ModelFolder(model, PLACE, "m", digests, own_lock(model))
        work = Work(files, engine, lambda lock: {"lock": lock.digest}, 9, jobs)
        return bake(work, sink, digests, lambda _: None)


def whole_layout(folder: Path) -> dict[str, bytes]:
    """The files of a layout's image, after every digest in it was proved."""
    for blob in (folder / "blobs" / "sha256").iterdir():
        with blob.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == blob.name
    index = json.loads((folder / "index.json").read_bytes())
    assert len(index["manifests"]) == 1
    manifest = json.loads(blob_of(folder, index["manifests"][0]["digest"]).read_bytes())
    config = json.loads(blob_of(folder, manifest["config"]["digest"]).read_bytes())
    assert config["rootfs"]["diff_ids"] == [d["digest"] for d in manifest["layers"]]
    found: dict[str, bytes] = {}
    for layer in manifest["layers"][:-1]:
        with tarfile.open(blob_of(folder, layer["digest"])) as tar:
            found |= {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    return found


def blob_of(folder: Path, digest: str) -> Path:
    return folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


# --- a layout ------------------------------------------------------------------------------------------


def test_a_layout_holds_the_model_its_lock_and_the_engine(
    tmp_path: Path, engine: EngineImage, digests: Digests
) -> None:
    model = large_model(tmp_path / "m")
    done = baked(model, LayoutSink(tmp_path / "out", "m", model), engine, digests)
    found = whole_layout(tmp_path / "out")
    lock = json.loads(found.pop(f"models/m/{LOCK_NAME}"))
    assert {f"models/m/{p.name}": p.read_bytes() for p in model.iterdir()} == found
    rows = {f["path"]: (f["size_bytes"], f["sha256"]) for f in lock["files"]}
    assert rows == {p.name: (p.stat().st_size, hashlib.sha256(p.read_bytes()).hexdigest()) for p in model.iterdir()}
    assert done.layers == 4, "two shards, the small files, the engine's"
    assert not list((tmp_path / "out").rglob(".part-*"))


def test_the_same_model_elsewhere_under_other_times_and_modes_is_the_same_image(
    tmp_path: Path, engine: EngineImage, digests: Digests
) -> None:
    model = large_model(tmp_path / "m")
    other = tmp_path / "elsewhere" / "copy"
    shutil.copytree(model, other)
    for path in other.iterdir():
        path.chmod(0o600)
        os.utime(path, (1e9, 1e9))
    one = baked(model, LayoutSink(tmp_path / "1", "m", model), engine, digests, jobs=1)
    with closing(Digests(tmp_path / "other-cache")) as empty:
        two = baked(other, LayoutSink(tmp_path / "2", "m", other), engine, empty, jobs=3)
    assert one.digest == two.digest
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "2" / "blobs" / "sha256").iterdir()}
    assert modes == {0o644}


def test_a_new_engine_reads_and_writes_no_weights(tmp_path: Path, engine: EngineImage, digests: Digests) -> None:
    model, out = large_model(tmp_path / "m"), tmp_path / "out"
    baked(model, LayoutSink(out, "m", model), engine, digests)
    before = {p.name: p.stat().st_ino for p in (out / "blobs" / "sha256").iterdir()}
    newer = engine._replace(config={**engine.config, "config": {"Env": ["A=c"]}})
    done = baked(model, LayoutSink(out, "m", model), newer, digests)
    assert done.poured_bytes == 0
    assert done.written_bytes < 10_000
    after = {p.name: p.stat().st_ino for p in (out / "blobs" / "sha256").iterdir()}
    assert len(after) == len(before), "the old config and manifest are swept away"
    assert len(set(after.items()) & set(before.items())) == 4
    assert len(whole_layout(out)) == 4


@pytest.mark.parametrize("refuses", ["reads", "nothing"])
def test_a_file_system_without_direct_io_gives_the_same_bytes(
    refuses: str, tmp_path: Path, engine: EngineImage, digests: Digests
) -> None:
    """/dev/shm is a tmpfs: it shares no blocks, and older kernels open nothing there directly."""
    model = large_model(tmp_path / "m")
    place = Path("/dev/shm") / f"weighbridge-test-{os.getpid()}"
    there = large_model(place / "m") if refuses == "reads" else model
    try:
        one = baked(model, LayoutSink(tmp_path / "out", "m", model), engine, digests)
        two = baked(there, LayoutSink(place / "out", "m", there), engine, digests)
        assert one.digest == two.digest
        whole_layout(place / "out")
    finally:
        shutil.rmtree(place)


def test_a_damaged_blob_is_not_taken_for_whole(tmp_path: Path, engine: EngineImage, digests: Digests) -> None:
    model, out = large_model(tmp_path / "m"), tmp_path / "out"
    baked(model, LayoutSink(out, "m", model), engine, digests)
    largest = max((out / "blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size)
    os.truncate(largest, 1000)
    baked(model, LayoutSink(out, "m", model), engine, digests)
    whole_layout(out)


def test_a_folder_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years", encoding="utf-8")
    with pytest.raises(BadValue, match="holds 1 file or folder that"):
        LayoutSink(tmp_path, "m", tmp_path)


def test_two_bakes_into_one_folder_do_not_meet(tmp_path: Path) -> None:
    with (
        closing(LayoutSink(tmp_path / "out", "m", tmp_path)),
        pytest.raises(HostError, match="another bake writes there"),
    ):
        LayoutSink(tmp_path / "out", "m", tmp_path)


# --- the model's folder --------------------------------------------------------------------------------


def locked(model: Path, digests: Digests, **changes: Any) -> Lock:
    """The lock that `invoke fetch` would have put there, and has."""
    found = ModelFolder(model, PLACE, "m", digests)
    hashes = {f.path: hashlib.sha256((model / f.source).read_bytes()).hexdigest() for f in found.files}
    lock, _ = found.locked(hashes)
    lock = replace(lock, **changes)
    (model / LOCK_NAME).write_text(lock_json(lock), encoding="utf-8")
    return lock


def test_a_lock_that_is_there_travels_as_it_is(tmp_path: Path, engine: EngineImage, digests: Digests) -> None:
    model = large_model(tmp_path / "m")
    locked(model, digests, revision="5" * 40)
    (model / "not-in-the-lock.txt").write_text("x", encoding="utf-8")
    baked(model, LayoutSink(tmp_path / "out", "m", model), engine, digests)
    found = whole_layout(tmp_path / "out")
    assert found[f"models/m/{LOCK_NAME}"] == (model / LOCK_NAME).read_bytes()
    assert "models/m/not-in-the-lock.txt" not in found


@pytest.mark.parametrize("name", ["model-1.safetensors", "config.json"])
def test_a_file_that_is_not_the_locks_is_named_and_nothing_is_visible(
    name: str, tmp_path: Path, engine: EngineImage, digests: Digests
) -> None:
    model = large_model(tmp_path / "m")
    locked(model, digests)
    with (model / name).open("r+b") as file:
        file.write(b"?")
    with pytest.raises(BadFile, match=rf"{name}: sha256 [0-9a-f]{{16}}…, the lock has") as caught:
        baked(model, LayoutSink(tmp_path / "out", "m", model), engine, digests)
    assert caught.value.hint == "fetch this file again; or name the lock that it follows: --lock FILE"
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_digest_is_believed_only_while_the_file_stays_as_it_was(
    tmp_path: Path, engine: EngineImage, digests: Digests
) -> None:
    model = large_model(tmp_path / "m")
    one = baked(model, LayoutSink(tmp_path / "out", "m", model), engine, digests)
    shard = model / "model-0.safetensors"
    with shard.open("r+b") as file:
        file.write(b"other")
    os.utime(shard, (1, 1))  # size and mtime as before; ctime tells
    two = baked(model, LayoutSink(tmp_path / "out", "m", model), engine, digests)
    assert one.digest != two.digest
    assert whole_layout(tmp_path / "out")["models/m/model-0.safetensors"].startswith(b"other")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, engine: EngineImage, digests: Digests) -> None:
    model = large_model(tmp_path / "m")
    sink = LayoutSink(tmp_path / "out", "m", model)
    put = sink.put

    def touched(pour: Any) -> None:
        os.utime(model / pour.layer.files[0].source)
        put(pour)

    sink.put = touched  # type: ignore[method-assign]
    with pytest.raises(BadFile, match="changed while it was read"):
        baked(model, sink, engine, digests)
    assert not list((tmp_path / "out").rglob(".part-*"))


def test_what_a_fetch_would_not_bring_stays_behind(tmp_path: Path) -> None:
    for name, content in model_files(100).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "y.json").write_text("x", encoding="utf-8")
    assert tuple(f.source for f in listed(tmp_path, PLACE)) == NEEDED


@pytest.fixture
def catalogue(tmp_path: Path, digests: Digests) -> Catalog:
    """One with a lock of the model `m`, which lies in tmp_path / "m" just so."""
    lock = locked(large_model(tmp_path / "m"), digests, revision="1" * 40)
    (tmp_path / "m" / LOCK_NAME).unlink()
    (tmp_path / "catalogue" / "models").mkdir(parents=True)
    (tmp_path / "catalogue" / "models" / "m.lock.yaml").write_text(lock_text(lock), encoding="utf-8")
    return Catalog(tmp_path / "catalogue")


@pytest.mark.parametrize("own", ["none", "the same", "another"])
def test_the_catalogues_lock_is_kept_to_whatever_lies_in_the_folder(
    own: str, tmp_path: Path, catalogue: Catalog, digests: Digests
) -> None:
    model = tmp_path / "m"
    said: list[str] = []
    if own == "another":
        (model / "config.json").write_text("[]", encoding="utf-8")
    if own != "none":
        locked(model, digests, revision="2" * 40)
    lock = lock_of(model, "m", catalogue, None, said.append)
    assert lock
    assert lock.revision == "1" * 40
    if own == "another":
        assert len(said) == 1
        assert re.search(r"of other files \(1, the first is config.json, revision 2{40} not 1{40}\).*m.lock", said[0])
        with pytest.raises(BadFile, match=r"config\.json: sha256 .*the lock has"):
            ModelFolder(model, PLACE, "m", digests, lock)
        named = model / LOCK_NAME
        assert ModelFolder(model, PLACE, "m", digests, lock_of(model, "m", catalogue, str(named))).lock == own_lock(
            model
        )
    else:
        assert said == []
        assert ModelFolder(model, PLACE, "m", digests, lock).lock == lock


def test_a_broken_lock_in_the_folder_is_said_and_another_is_kept_to(tmp_path: Path, catalogue: Catalog) -> None:
    """Else the very flag that gets round it could not be used."""
    (tmp_path / "m" / LOCK_NAME).write_text("{", encoding="utf-8")
    with pytest.raises(BadFile):
        lock_of(tmp_path / "m", "another", catalogue, None)
    for named in (None, str(catalogue.model_lock("m"))):
        said: list[str] = []
        lock = lock_of(tmp_path / "m", "m", catalogue, named, said.append)
        assert lock
        assert lock.revision == "1" * 40
        assert len(said) == 1
        assert re.search(rf"warning: .*{re.escape(LOCK_NAME)}.*m\.lock\.yaml is kept to", said[0])


def test_verify_keeps_to_the_catalogues_lock_too(tmp_path: Path, catalogue: Catalog, digests: Digests) -> None:
    (tmp_path / "m" / "config.json").write_text("[]", encoding="utf-8")
    locked(tmp_path / "m", digests)
    said: list[str] = []
    flags = {"weights": str(tmp_path / "m")}
    assert stored_model(flags, {}, catalogue, said.append)[2] == lock_of(tmp_path / "m", "m", catalogue, None)
    assert len(said) == 1


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "passwd.json").symlink_to("/etc/passwd")
    with pytest.raises(BadFile, match="no plain file"):
        listed(tmp_path / "m", PLACE)


def test_a_short_file_ends_the_layer(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    layer = Layer(files=(Inside(path="m/a", size_bytes=200, sha256=None, source="a"),))
    with pytest.raises(BadFile, match="ends after 100 of 200 bytes"):
        list(blocks.read_ahead(layer, tmp_path, threading.Event()))


# --- the engine's layers -------------------------------------------------------------------------------


def layer_with(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return path


@pytest.mark.parametrize("mark", ["models/.wh..wh..opq", ".wh.models", "models/.wh.m", "models/m/.wh..wh..opq"])
def test_a_layer_that_takes_the_weights_away_is_refused(mark: str, tmp_path: Path) -> None:
    layer = layer_with(tmp_path / "layer", "bin/sh", mark)
    with pytest.raises(Unsupported, match="removes /models"):
        _check_hides(layer, PLACE, tmp_path / "memo")


@pytest.mark.parametrize("mark", ["models/m", "models/.wh.other", "var/.wh..wh..opq", "models/m/.wh.config.json.x"])
def test_a_layer_that_takes_something_else_away_is_not(mark: str, tmp_path: Path) -> None:
    _check_hides(layer_with(tmp_path / "layer", mark), PLACE, tmp_path / "memo")


def test_what_a_killed_bake_left_is_swept_and_what_another_writes_is_not(tmp_path: Path) -> None:
    blobs = tmp_path / "oci" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / ".part-killed").write_bytes(b"half")
    (blobs / ("0" * 64)).write_bytes(b"whole")
    handle, mine = _part(blobs)
    sweep(tmp_path / "oci")
    assert {p.name for p in blobs.iterdir()} == {Path(mine).name, "0" * 64}
    os.close(handle)  # as a kill does
    sweep(tmp_path / "oci")
    assert {p.name for p in blobs.iterdir()} == {"0" * 64}


# --- a registry ----------------------------------------------------------------------------------------


def pushed(
    model: Path, address: str, engine: EngineImage, digests: Digests, environment: Mapping[str, str] | None = None,
    name: str = "demo:1", **more: Any,
) -> Baked:  # fmt: skip
    nobody = {"DOCKER_CONFIG": "/nonexistent"}
    sink = RegistrySink(read_reference(f"{address}/{name}"), digests, environment or nobody, **more)
    return baked(model, sink, engine, digests)


def test_a_registry_gets_what_a_layout_gets_and_nothing_twice(
    tmp_path: Path, engine: EngineImage, digests: Digests
) -> None:
    model = large_model(tmp_path / "m")
    layout = baked(model, LayoutSink(tmp_path / "out", "m", model), engine, digests)
    with closing(Digests(tmp_path / "empty")) as empty, real_registry(tmp_path / "registry") as address:
        done = pushed(model, address, engine, empty)
        assert done.digest == layout.digest
        found = httpx.get(
            f"http://{address}/v2/demo/manifests/1", trust_env=False,
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        )  # fmt: skip
        assert f"sha256:{hashlib.sha256(found.content).hexdigest()}" == done.digest
        for layer in found.json()["layers"]:
            blob = httpx.get(f"http://{address}/v2/demo/blobs/{layer['digest']}", trust_env=False)
            assert f"sha256:{hashlib.sha256(blob.content).hexdigest()}" == layer["digest"]
        assert pushed(model, address, engine, empty).poured_bytes == 0
        other = pushed(model, address, engine, empty, name="team/other:2")
        assert other.poured_bytes == 0, "the registry takes its own blobs over from the other repository"
        assert other.digest == done.digest


@pytest.mark.parametrize(
    "manners", [{"streams": False}, {"busy": 3}, {"drops": 2}, {"drops": 2, "resumes": True}], ids=str
)
def test_a_difficult_registry_gets_the_right_image(
    manners: dict[str, Any], tmp_path: Path, engine: EngineImage, digests: Digests
) -> None:
    model = large_model(tmp_path / "m")
    with Difficult(**manners) as registry:
        done = pushed(model, registry.address, engine, digests)
    assert f"sha256:{hashlib.sha256(registry.manifests['1']).hexdigest()}" == done.digest
    manifest = json.loads(registry.manifests["1"])
    assert {d["digest"] for d in manifest["layers"]} <= registry.blobs.keys()


def test_digest_first_streams_nothing(tmp_path: Path, engine: EngineImage, digests: Digests) -> None:
    with Difficult() as registry:
        pushed(large_model(tmp_path / "m"), registry.address, engine, digests, digest_first=True)
    assert not [path for method, path in registry.log if method == "PATCH"]


def login_file(folder: Path, address: str, user: str, password: str) -> dict[str, str]:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}), encoding="utf-8")
    return {"DOCKER_CONFIG": str(folder)}


def test_a_token_is_fetched_with_the_login_of_docker(tmp_path: Path, engine: EngineImage, digests: Digests) -> None:
    basic = "Basic " + base64.b64encode(b"ann:secret").decode()
    with Difficult(token=basic) as registry:
        environment = login_file(tmp_path / "docker", registry.address, "ann", "secret")
        pushed(DEMO, registry.address, engine, digests, environment)
        assert registry.manifests.keys() == {"1"}
        assert set(registry.asked) == {basic}
        nobody = login_file(tmp_path / "docker", "elsewhere.example", "ann", "secret")
        with pytest.raises(HostError, match="gives no token to push: 401") as caught:
            pushed(DEMO, registry.address, engine, digests, nobody)
    assert caught.value.hint == f"docker login {registry.address}"
    assert registry.asked[-1] is None, "a login for one registry goes to no other"


def test_a_credential_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-mine"
    helper.write_text('#!/bin/sh\nread host\nprintf \'{"Username":"ann","Secret":"%s"}\' "$host"\n', encoding="utf-8")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "config.json").write_text('{"credHelpers": {"r.example:5000": "mine"}}', encoding="utf-8")
    found = read_login(read_reference("r.example:5000/x:1"), {"DOCKER_CONFIG": str(tmp_path)})
    assert (found.user, found.password) == ("ann", "r.example:5000")
    assert read_login(read_reference("other.example/x:1"), {"DOCKER_CONFIG": str(tmp_path)}) == ("", "", "")


@pytest.mark.parametrize(
    "text", ["{", '{"auths": {"r.example": {"auth": "no base64"}}}', '{"credsStore": "../x"}', "[]"]
)
def test_a_broken_docker_config_is_a_two_line_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        read_login(read_reference("r.example/x:1"), {"DOCKER_CONFIG": str(tmp_path)})
    assert caught.value.hint == "docker login r.example"


def test_a_registry_that_fails_leaves_no_manifest(tmp_path: Path, engine: EngineImage, digests: Digests) -> None:
    with Difficult(wrong=True) as registry, pytest.raises(HostError, match="500 disk full"):
        pushed(DEMO, registry.address, engine, digests)
    assert not registry.manifests


def test_nobody_at_the_address_is_a_two_line_error(engine: EngineImage, digests: Digests) -> None:
    with pytest.raises(HostError, match=r"127\.0\.0\.1:9: .*refused"):
        pushed(DEMO, "127.0.0.1:9", engine, digests)


# --- killed, and no room -------------------------------------------------------------------------------

KILLED = """
import sys
from contextlib import closing
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from test_bake import *
tmp, to, address, layers.LARGE_BYTES = Path(sys.argv[3]), sys.argv[4], sys.argv[5], int(sys.argv[6])
with closing(Digests(tmp / "cache")) as digests:
    layer = sealed(b"the engine's layer" * 100, "engine")
    engine = EngineImage({"architecture": "amd64", "os": "linux", "config": {}}, (layer,), tmp / "cache" / "blobs")
    print("begins", flush=True)
    if to == "layout":
        done = baked(tmp / "m", LayoutSink(tmp / "out", "m", tmp / "m"), engine, digests, jobs=1)
    else:
        done = pushed(tmp / "m", address, engine, digests, uploads=tmp / "uploads")
    print(done.digest, done.poured_bytes)
"""


def begin(tmp_path: Path, to: str, address: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", KILLED, str(ROOT), str(ROOT / "tests"), str(tmp_path), to, address]
    words.append(str(layers.LARGE_BYTES))
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.live
@pytest.mark.parametrize("to", ["layout", "registry"])
def test_killed_at_twenty_points_it_goes_on_and_no_half_image_is_visible(
    to: str, tmp_path: Path, engine: EngineImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The points are spread over the time that one undisturbed bake takes here."""
    monkeypatch.setattr(layers, "LARGE_BYTES", 24 << 20)
    large_model(tmp_path / "m", shards=6)
    with real_registry(tmp_path / "registry") as address:
        started = time.monotonic()
        whole = begin(tmp_path, to, address).communicate()[0].split()
        took = time.monotonic() - started
        assert whole[0] == "begins"
        for i in range(20):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            (tmp_path / "cache" / "digests.sqlite").unlink()
            process = begin(tmp_path, to, address)
            assert process.stdout
            assert process.stdout.readline() == "begins\n"
            time.sleep(took * i / 25)
            process.kill()
            process.communicate()
            assert not (tmp_path / "out" / "index.json").exists() or whole_layout(tmp_path / "out")
            again = begin(tmp_path, to, address).communicate()[0].split()
            assert again[1] == whole[1], f"killed at point {i}"
            if to == "layout":
                assert len(whole_layout(tmp_path / "out")) == 8


@pytest.mark.parametrize(("kills", "shards"), [(3, 2), pytest.param(20, 3, marks=pytest.mark.live)])
def test_killed_while_it_sends_nothing_is_sent_twice(
    kills: int, shards: int, tmp_path: Path, engine: EngineImage
) -> None:
    """Where the registry says how much of an upload came: beyond what was on the line at each kill."""
    model = large_model(tmp_path / "m", shards)
    total, chance = sum(p.stat().st_size for p in model.iterdir()), random.Random(kills)  # noqa: S311
    with Difficult(resumes=True, rate_bytes=40e6) as registry:
        for point in sorted(chance.randrange(total) for _ in range(kills)):
            process = begin(tmp_path, "registry", registry.address)
            while registry.came < point and process.poll() is None:
                time.sleep(0.005)
            process.kill()
            process.communicate()
            assert not registry.manifests
        whole = begin(tmp_path, "registry", registry.address).communicate()[0].split()
    assert whole[1] == f"sha256:{hashlib.sha256(registry.manifests['1']).hexdigest()}"
    assert {d["digest"] for d in json.loads(registry.manifests["1"])["layers"]} <= registry.blobs.keys()
    twice = registry.came - total
    print(f"{kills} kills, {total} bytes, {twice} came beyond them")
    assert twice < kills * ON_THE_LINE, registry.log
    assert not list((tmp_path / "uploads").iterdir()), "what is whole is kept no longer"


def test_what_was_whole_when_it_was_killed_is_not_sent_again(
    tmp_path: Path, engine: EngineImage, digests: Digests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry had the blob, and the bake died before it noted that."""
    model = large_model(tmp_path / "m")
    with Difficult(resumes=True) as registry:
        with monkeypatch.context() as patched:
            patched.setattr(Upload, "end", lambda self: None)
            pushed(model, registry.address, engine, digests, uploads=tmp_path / "uploads")
        sent = registry.came
        with closing(Digests(tmp_path / "other")) as empty:
            pushed(model, registry.address, engine, empty, uploads=tmp_path / "uploads")
        assert registry.came - sent < 100_000
    assert not list((tmp_path / "uploads").iterdir())


def test_an_upload_is_one_bakes_at_a_time_and_its_users_alone(tmp_path: Path) -> None:
    with closing(Upload(tmp_path / "u", "a")) as mine:
        mine.keep("http://r/there?_state=secret")
        mine.keep("http://r/there")
        with closing(Upload(tmp_path / "u", "a")) as others:
            assert others.place == ""
            others.keep("http://r/elsewhere")
            others.end()
    (kept,) = (tmp_path / "u").iterdir()
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == ("http://r/there", 0o600)
    assert stat.S_IMODE((tmp_path / "u").stat().st_mode) == 0o700
    with closing(Upload(tmp_path / "u", "a")) as again:
        assert again.place == "http://r/there"
        again.end()
    assert not list((tmp_path / "u").iterdir())


@pytest.mark.parametrize(("said", "have"), [("0-99", 100), ("bytes=0-99", 100), ("0-0", 0), ("", 0), ("5-9", 0)])
def test_how_much_has_come(said: str, have: int) -> None:
    assert come(said) == have


def test_what_goes_on_with_another_files_bytes_is_refused_and_begun_anew(
    tmp_path: Path, engine: EngineImage, digests: Digests
) -> None:
    """The registry's half is not this layer's: its digest tells, and the next try begins at the first byte."""
    model = large_model(tmp_path / "m", shards=1)
    with Difficult(resumes=True, drops=9) as registry:
        with pytest.raises(HostError, match=r"disconnected|reset|Broken"):
            pushed(model, registry.address, engine, digests, uploads=tmp_path / "uploads")
        registry.manners["drops"] = 0
        half = next(iter(registry.uploads.values()))
        half[0] ^= 1
        with pytest.raises(HostError, match="did not keep") as caught:
            pushed(model, registry.address, engine, digests, uploads=tmp_path / "uploads")
        assert caught.value.hint == "type it again: it goes on"
        done = pushed(model, registry.address, engine, digests, uploads=tmp_path / "uploads")
    assert f"sha256:{hashlib.sha256(registry.manifests['1']).hexdigest()}" == done.digest


# --- engines of this machine ---------------------------------------------------------------------------


@pytest.fixture
def real_engine(tmp_path: Path) -> EngineImage:
    """An engine's image that engines can unpack."""
    folder = tmp_path / "cache" / "blobs"
    folder.mkdir(parents=True)
    content = layer_with(tmp_path / "layer.tar", "entrypoint.sh").read_bytes()
    layer = sealed(content, "engine")
    (folder / layer.digest).write_bytes(content)
    return EngineImage({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]}}, (layer,), folder)


NAMED = "weighbridge-test-bake:1"


def to_docker(model: Path, engine: EngineImage, digests: Digests, cache: Path) -> Baked:
    with closing(DockerSink(Host(), NAMED, cache)) as sink:
        work = Work(ModelFolder(model, PLACE, "m", digests), engine, lambda lock: {BAKED: "test"}, 9, 2)
        return bake(work, sink, digests, lambda _: None)


@pytest.fixture
def docker_host() -> Iterator[Host]:
    host = Host()
    before = set(waiting(host))
    yield host
    for image in host.client.images.list(filters={"label": f"{BAKED}=test"}):
        host.remove_image(image)
    assert set(waiting(host)) <= before


def waiting(host: Host) -> list[str]:
    """Weights without a name that some bake imported."""
    found: list[str] = host.client.api.images(quiet=True, filters={"label": IMPORTED})
    return found


@pytest.mark.live
def test_weights_of_a_killed_bake_serve_the_next_and_are_swept(
    tmp_path: Path, real_engine: EngineImage, digests: Digests, docker_host: Host
) -> None:
    """Killed between the import and the image: the engine holds weights that no image names."""
    model, before = large_model(tmp_path / "m"), set(waiting(docker_host))
    killed = DockerSink(docker_host, NAMED, tmp_path / "shared")
    if not killed.imports:
        pytest.skip("this engine is given archives alone, which it takes whole or not at all")
    (layer,) = killed.cut(ModelFolder(model, PLACE, "m", digests).files, 9)
    pour = Pour(layer, model, digests, passed=lambda _: None, stop=threading.Event())
    killed.put(pour)
    assert pour.sealed
    digests.keep_layer(pour.layer, pour.sealed)
    (mine,) = set(waiting(docker_host)) - before
    other = large_model(tmp_path / "other", shards=1)
    to_docker(other, real_engine, digests, tmp_path / "shared")
    assert mine in waiting(docker_host), "the first bake is at work still, for all that others know"
    killed.close()
    to_docker(other, real_engine, digests, tmp_path / "elsewhere")
    assert mine in waiting(docker_host), "another cache's bakes cannot know who is at work"
    done = to_docker(model, real_engine, digests, tmp_path / "shared")
    assert done.written_bytes < layers.LARGE_BYTES
    assert not set(waiting(docker_host)) - before
    found = docker_host.client.images.get(NAMED)
    assert found.id == done.image_id
    assert found.attrs["RootFS"]["Layers"][0] == f"sha256:{pour.sealed.digest}"


@pytest.mark.live
def test_a_kill_while_docker_takes_the_weights_leaves_nothing(
    tmp_path: Path, real_engine: EngineImage, digests: Digests, docker_host: Host
) -> None:
    model, before = large_model(tmp_path / "m", shards=4), set(waiting(docker_host))
    script = KILLED.split("with closing")[0] + DOCKER
    words = [sys.executable, "-c", script, str(ROOT), str(ROOT / "tests"), str(tmp_path), "docker", "", "9999999"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.communicate()
    time.sleep(2)
    assert not set(waiting(docker_host)) - before
    done = to_docker(model, real_engine, digests, tmp_path / "shared")
    assert docker_host.client.images.get(NAMED).id == done.image_id


DOCKER = """
with closing(Digests(tmp / "cache")) as digests:
    sink = DockerSink(Host(), NAMED, tmp / "shared")
    (layer,) = sink.cut(ModelFolder(tmp / "m", PLACE, "m", digests).files, 9)
    seen = []
    def passed(count):
        seen.append(count)
        if len(seen) == 9:
            print("half", flush=True)
            time.sleep(60)
    sink.put(Pour(layer, tmp / "m", digests, passed=passed, stop=threading.Event()))
"""


@pytest.mark.live
def test_podman_has_the_image_under_its_name_and_no_other(
    tmp_path: Path, real_engine: EngineImage, digests: Digests
) -> None:
    if not shutil.which("podman"):
        pytest.skip("no podman here")
    model, names = large_model(tmp_path / "m", shards=1), [f"localhost/{NAMED}"]
    try:
        done = baked(model, PodmanSink("podman", NAMED), real_engine, digests)
        ask = ["podman", "image", "inspect", f"localhost/{NAMED}"]
        (found,) = json.loads(subprocess.run(ask, check=True, capture_output=True, text=True).stdout)
        assert (found["Digest"], found["Id"]) == (done.digest, done.image_id.removeprefix("sha256:"))
        assert found["RepoTags"] == [f"localhost/{NAMED}"]
        assert not any("127.0.0.1" in name for name in found["RepoDigests"])
        names.append(done.image_id.removeprefix("sha256:"))  # it loses its name to the next
        newer = real_engine._replace(config={**real_engine.config, "config": {"Cmd": ["y"]}})
        again = baked(model, PodmanSink("podman", NAMED), newer, digests)
        assert again.written_bytes < 100_000
        (found,) = json.loads(subprocess.run(ask, check=True, capture_output=True, text=True).stdout)
        assert found["Digest"] == again.digest
    finally:
        subprocess.run(["podman", "rmi", "-f", *names], check=False, capture_output=True)


@pytest.mark.live
def test_a_full_disk_is_a_two_line_error_and_leaves_nothing_half_done(
    tmp_path: Path, engine: EngineImage, digests: Digests
) -> None:
    model = large_model(tmp_path / "m")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "none", str(small)], check=True)
    try:
        with pytest.raises(HostError, match=r"GiB are needed at once, .* GiB are free") as caught:
            baked(model, LayoutSink(small / "out", "m", model), engine, digests)
        assert caught.value.hint == "choose a larger place: --output FOLDER"
        sink = LayoutSink(small / "out", "m", model)
        sink.check_room = lambda new_bytes: None  # type: ignore[method-assign]  # somebody else filled the disk meanwhile
        with pytest.raises(HostError, match=r"GiB are needed at once"):
            baked(model, sink, engine, digests)
        assert not (small / "out" / "index.json").exists()
        assert not list((small / "out").rglob(".part-*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
