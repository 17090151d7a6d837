"""Layers of weights: valid archives, aligned for the disk, the same bytes everywhere; and the JSON of their image."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import plan_for

from weighbridge.catalog import Catalog
from weighbridge.errors import BadValue, Unsupported
from weighbridge.forecast import SINKS, baked_text, forecast, forecast_text
from weighbridge.image import Image, baked_tag, image_of, marks, sealed
from weighbridge.layers import (
    ALIGNMENT,
    LARGE_BYTES,
    MOST_LAYERS,
    Inside,
    Layer,
    cut,
    one_layer,
    parts,
    small_layer,
)
from weighbridge.lock import Lock, LockedFile
from weighbridge.memory import GIB
from weighbridge.reference import read_reference

SHA = "ab" * 32


def inside(path: str, size: int) -> Inside:
    return Inside(path=path, size_bytes=size, sha256=SHA, source=path.split("/", 2)[-1])


def content_of(file: Inside) -> bytes:
    return (file.path.encode() * (1 + file.size_bytes // len(file.path)))[: file.size_bytes]


def bytes_of(layer: Layer) -> bytes:
    found = b""
    for part in parts(layer):
        found += part.head
        if part.file:
            assert len(found) % ALIGNMENT == 0, "a file's first byte lies where blocks can be shared"
            found += content_of(part.file)
    return found


names = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=("Cs", "Cc")), min_size=1, max_size=60)
paths = st.lists(names.filter(lambda n: n not in (".", "..")), min_size=1, max_size=4).map("/".join)


@settings(deadline=None)  # how long it takes is the machine's load
@given(st.lists(st.tuples(paths, st.integers(0, 9000)), min_size=1, max_size=8, unique_by=lambda x: x[0]))
def test_a_layer_is_an_archive_of_exactly_its_files(rows: list[tuple[str, int]]) -> None:
    layer = Layer(files=tuple(inside(f"models/m/{path}", size) for path, size in rows))
    whole = bytes_of(layer)
    assert len(whole) == layer.size_bytes
    assert len(whole) % ALIGNMENT == 0
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        members = tar.getmembers()
        files = [m for m in members if m.isfile()]
        assert [m.name for m in files] == [f.path for f in layer.files]
        assert all(tar.extractfile(m).read() == content_of(f) for m, f in zip(files, layer.files, strict=True))  # type: ignore[union-attr]
        assert {(m.uid, m.gid, m.mtime, m.uname) for m in members} == {(0, 0, 0, "")}
        assert {m.mode for m in files} == {0o644}
        folders = [m.name for m in members if m.isdir()]
        assert folders[:2] == ["models", "models/m"]
        assert {m.mode for m in members if m.isdir()} == {0o755}


def test_the_bytes_of_the_format_never_change_unnoticed() -> None:
    """Another digest would send every model everywhere again: raise FORMAT with it."""
    layer = Layer(files=(inside("models/m/a.safetensors", 5000), inside("models/m/sub/b.json", 3)))
    assert hashlib.sha256(bytes_of(layer)).hexdigest() == (
        "6a7399f2c2e90a1bf368ce04e4daf773aa2b333201d5a21024b7b0068859ae5f"
    )


def test_gnu_tar_reads_it_too(tmp_path: Path) -> None:
    layer = Layer(files=(inside("models/m/" + "é" * 80, 5000), inside("models/m/" + "x" * 300, 1)))
    (tmp_path / "layer.tar").write_bytes(bytes_of(layer))
    words = ["tar", "-tf", str(tmp_path / "layer.tar"), "--quoting-style=literal", "--show-transformed-names"]
    listing = subprocess.run(words, capture_output=True, check=True, text=True, env={"LC_ALL": "C.UTF-8"}).stdout
    assert listing.splitlines() == ["models/", "models/m/", *(f.path for f in layer.files)]


@pytest.mark.parametrize("size", [8 * GIB - 1, 8 * GIB, 700 * GIB])
def test_a_size_past_eleven_octal_digits_stands_in_both_places(size: int) -> None:
    head = next(parts(Layer(files=(inside("models/m/large", size),)))).head
    field = head[-512:][124:136]
    by_field = int.from_bytes(field[1:], "big") if field[0] == 0x80 else int(field.rstrip(b"\0"), 8)
    assert by_field == size
    assert (f" size={size}\n".encode() in head) == (size >= 8 * GIB)
    with tarfile.open(fileobj=io.BytesIO(head + bytes(1024)), ignore_zeros=True) as tar:
        assert tar.next() is not None
        assert tar.next() is not None
        assert (found := tar.next()) is not None
        assert (found.name, found.size) == ("models/m/large", size)


# --- cutting -------------------------------------------------------------------------------------------


def shards(count: int, gib: float) -> list[Inside]:
    return [inside(f"models/m/model-{i:05}.safetensors", int(gib * GIB)) for i in range(count)]


def test_a_shard_is_a_layer_and_small_files_lie_together_above() -> None:
    files = [*shards(3, 4), inside("models/m/config.json", 700), inside("models/m/tokenizer.json", LARGE_BYTES - 1)]
    assert [len(layer.files) for layer in cut(files, 9)] == [1, 1, 1]
    assert [f.path for f in small_layer(files).files] == ["models/m/config.json", "models/m/tokenizer.json"]
    assert [len(layer.files) for layer in one_layer(files)] == [3]
    assert one_layer(files[3:]) == ()


def test_too_many_shards_share_layers() -> None:
    """DeepSeek R1: 163 files of 4.0 GiB."""
    layers = cut(shards(163, 4), 9)
    assert len(layers) == 82 <= MOST_LAYERS
    assert max(layer.size_bytes for layer in layers) <= 9 * GIB
    assert [f for layer in layers for f in layer.files] == shards(163, 4)


def test_a_file_larger_than_a_layer_is_refused_with_what_would_take_it() -> None:
    with pytest.raises(Unsupported, match=r"has 12\.00 GiB; a layer may have 9") as caught:
        cut(shards(1, 12), 9)
    assert "--max-layer-gib 13" in caught.value.hint
    assert cut(shards(1, 12), 13)


def test_a_model_that_no_88_layers_hold_is_refused_with_what_would() -> None:
    with pytest.raises(Unsupported, match="an image holds 88") as caught:
        cut(shards(400, 4), 9)
    gib = float(caught.value.hint.split()[-1])
    assert len(cut(shards(400, 4), gib)) <= MOST_LAYERS


def test_a_layers_key_is_what_it_is_made_of() -> None:
    one, other = Layer(files=(inside("models/m/a", 5),)), Layer(files=(inside("models/n/a", 5),))
    assert one.key != other.key
    assert Layer(files=(Inside(path="models/m/a", size_bytes=5, sha256=None),)).key is None


# --- the image -----------------------------------------------------------------------------------------

ENGINE: dict[str, Any] = {
    "architecture": "amd64", "os": "linux", "created": "2026-11-21T00:00:00Z", "container": "abc",
    "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/entry"], "User": "10001:0", "Hostname": "build-host",
               "Labels": {"io.weighbridge.recipe": "r", "io.weighbridge.base": "pulled"}},
    "history": [{"created_by": "base"}, {"created_by": "LABEL", "empty_layer": True}],
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sealed(b"base").digest]},
}  # fmt: skip
LOCK = Lock(model="m", revision="1" * 40, files=(LockedFile(path="a", size_bytes=1, sha256=SHA),))


def made(catalog: Catalog) -> Image:
    plan = plan_for(catalog, "cpu", "weighbridge-demo")
    return image_of([sealed(b"w", "shard")], ENGINE, [sealed(b"base")], marks(plan, LOCK, "r" * 64, "Apache-2.0"))


def test_weights_lie_at_the_bottom_and_the_engine_runs_as_before(catalog: Catalog) -> None:
    image = made(catalog)
    config = json.loads(image.config)
    assert config["rootfs"]["diff_ids"] == [f"sha256:{sealed(b).digest}" for b in (b"w", b"base")]
    assert next(h for h in config["history"] if not h.get("empty_layer"))["comment"] == "weights: shard"
    assert sum(not h.get("empty_layer") for h in config["history"]) == len(config["rootfs"]["diff_ids"])
    assert {k: config["config"][k] for k in ("Env", "Entrypoint", "User")} == {
        k: ENGINE["config"][k] for k in ("Env", "Entrypoint", "User")
    }
    assert "build-host" not in image.config.decode(), "nothing of the machine that built it"
    assert "2026" not in image.config.decode()


def test_labels_say_what_is_inside_and_do_not_pose_as_the_engines_image(catalog: Catalog) -> None:
    image = made(catalog)
    labels = json.loads(image.config)["config"]["Labels"]
    assert "io.weighbridge.recipe" not in labels
    assert labels["io.weighbridge.baked"] == "r" * 64
    assert labels["io.weighbridge.base"] == "pulled"
    manifest = json.loads(image.manifest)
    for found in (labels, manifest["annotations"]):
        assert found["io.weighbridge.model"] == "weighbridge-demo"
        assert found["io.weighbridge.weights"] == f"sha256:{LOCK.digest}"
        assert found["org.opencontainers.image.revision"] == "1" * 40
        assert found["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert manifest["config"]["digest"] == f"sha256:{hashlib.sha256(image.config).hexdigest()}"


def test_the_name_of_a_baked_image_is_its_recipes(catalog: Catalog) -> None:
    plan = plan_for(catalog, "cpu", "weighbridge-demo")
    assert baked_tag(plan, "c" * 64) == "weighbridge-baked/vllm:cpu-weighbridge-demo-cccccccccccc"


# --- names at a registry -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "loopback"),
    [
        ("127.0.0.1:5000/demo:1", "127.0.0.1:5000", "demo", "1", True),
        ("localhost/a/b_c/d-e:v1.0", "localhost", "a/b_c/d-e", "v1.0", True),
        ("registry.example.com/team/model:latest", "registry.example.com", "team/model", "latest", False),
        ("[::1]:5000/x:1", "[::1]:5000", "x", "1", True),
        ("127.evil.example:80/x:1", "127.evil.example:80", "x", "1", False),
    ],
)
def test_a_name_at_a_registry(text: str, registry: str, repository: str, tag: str, loopback: bool) -> None:
    found = read_reference(text)
    assert (found.registry, found.repository, found.tag, found.is_loopback) == (registry, repository, tag, loopback)
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("demo:1", "names no registry", "--ref HOST/NAME:TAG"),
        ("library/demo:1", "names no registry", "--ref HOST/NAME:TAG"),
        ("https://host.example/x:1", "names no registry", "--ref HOST/NAME:TAG"),
        ("host.example/Demo:1", "'Demo' is no name", "--ref HOST/NAME:TAG"),
        ("host.example/demo", "has no tag", "--ref host.example/demo:1"),
        ("host.example/demo:", "has no tag", "--ref host.example/demo:1"),
        ("host.example/demo@sha256:" + SHA, "no name of a repository", "--ref HOST/NAME:TAG"),
    ],
)
def test_what_is_no_name_at_a_registry_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_reference(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


# --- what it will cost ---------------------------------------------------------------------------------


def test_a_registry_and_a_disk_that_shares_blocks_cost_nothing_here() -> None:
    assert forecast("registry", 4 * GIB, GIB, free_bytes=None, shares=False).written_bytes == 0
    shared = forecast("layout", 4 * GIB, GIB, free_bytes=GIB, shares=True)
    assert (shared.written_bytes, shared.fits) == (0, True)
    copied = forecast("layout", 4 * GIB, GIB, free_bytes=GIB, shares=False)
    assert (copied.written_bytes, copied.fits) == (4 * GIB, False)


def test_the_table_of_a_dry_run_names_every_sink() -> None:
    rows = [forecast(kind, 4 * GIB, GIB, free_bytes=9 * GIB, shares=False) for kind in SINKS]
    text = forecast_text(rows, 5, lock=False)
    assert all(kind in text for kind in SINKS)
    assert "5 layers of weights" in text
    assert "no weighbridge.lock.json" in text


@pytest.mark.parametrize(
    ("read", "given", "words"),
    [
        (0, 0, "nothing: all of it was there already"),
        (0, 3 << 20, "no weights: they were there already; 3.0 MiB besides them"),
        (0, 3 << 10, "no weights: they were there already; 3.0 KiB besides them"),
        (4 * GIB, 5 * GIB, "4.00 GiB of weights read, 5.00 GiB written"),
    ],
)
def test_a_bake_says_what_it_copied(read: int, given: int, words: str) -> None:
    done = SimpleNamespace(
        digest="d", image_id="i", weights_bytes=GIB, layers=1, lock="l", poured_bytes=read, written_bytes=given,
        seconds=1.0, use="u",
    )  # fmt: skip
    assert f"copied   {words}" in baked_text(done).splitlines()
