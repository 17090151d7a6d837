"""The code that touches the world, against a world made for the purpose: folders, programs, a real HTTP server."""

from __future__ import annotations

import copy
import fcntl
import itertools
import json
import os
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support import ROOT

from weighbridge.catalog import Catalog
from weighbridge.effects import disk, probe
from weighbridge.effects.appliance import Folders
from weighbridge.effects.base import mirror_lines
from weighbridge.effects.chat import Target, local, open_client, wait_ready
from weighbridge.effects.clean import clean, remove_layouts
from weighbridge.effects.oci.bake import cache_of
from weighbridge.effects.oci.daemon import IMPORTED, mark_of
from weighbridge.effects.oci.layout import LayoutSink
from weighbridge.effects.smoke import smoke
from weighbridge.effects.target import target_of
from weighbridge.effects.weights import check_model, check_weights, stored_bytes
from weighbridge.effects.wheels import fetch_wheels, read_lock, target_flags
from weighbridge.errors import BadFile, BadValue, HostError, NotReady, Unsupported
from weighbridge.facts import Expectation, SmokeFacts
from weighbridge.image import image_of
from weighbridge.smoke import read_contract
from weighbridge.types import File, SmokeReport

# --- disk ----------------------------------------------------------------------------------------------


def tree(folder: Path) -> dict[str, str]:
    """The files, but for the mark that every folder of ours has."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != disk.MARKER]
    return {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in files}


def test_a_folder_holds_exactly_what_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    disk.write_folder(folder, {"a": File(text="1"), "b/c.sh": File(text="2", executable=True)})
    disk.write_folder(folder, {"b/c.sh": File(text="3", executable=True), "d": File(text="é")})
    assert tree(folder) == {"b/c.sh": "3", "d": "é"}
    assert os.access(folder / "b" / "c.sh", os.X_OK)
    assert not os.access(folder / "d", os.X_OK)
    assert [p.name for p in folder.parent.iterdir()] == ["out"], "nothing is left aside"


def test_large_files_are_linked_not_copied(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    wheel.write_text("wheel", encoding="utf-8")
    disk.write_folder(tmp_path / "out", {"a": File(text="1")}, {"wheels/x.whl": wheel})
    assert (tmp_path / "out" / "wheels" / "x.whl").samefile(wheel)


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "thesis"
    theirs.mkdir()
    (theirs / "chapter1.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(BadValue) as caught:
        disk.write_folder(theirs, {"a": File(text="1")})
    assert caught.value.message == f"{theirs}: holds 1 file or folder that Weighbridge did not write"
    assert caught.value.hint.startswith("choose another: --output FOLDER")
    assert tree(tmp_path) == {"thesis/chapter1.tex": "years of work"}


def test_a_file_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    with pytest.raises(BadValue):
        disk.write_folder(tmp_path / "notes", {"a": File(text="1")})
    assert tree(tmp_path) == {"notes": "mine"}


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    disk.write_folder(tmp_path / "out", {"a": File(text="1")})
    assert tree(tmp_path) == {"out/a": "1"}


def test_a_place_that_cannot_be_is_two_lines() -> None:
    with pytest.raises(HostError) as caught:
        disk.write_folder(Path("/proc/nope/x"), {"a": File(text="1")})
    assert caught.value.message.startswith("/proc/nope/x: ")
    with pytest.raises(HostError):
        disk.write_file(Path("/proc/nope/x"), "1")


# --- clean ---------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A build folder and a cache in which other people keep things too."""
    found = Folders(tmp_path / "build", tmp_path / "cache")
    disk.write_folder(found.build / "ours", {"a": File(text="1")})
    for path in ("build/theirs/x", "build/log", "cache/theirs/x", "cache/wheels/x.whl", "cache/train/bin/python"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1", encoding="utf-8")
    return found


class NoImages:
    """A Docker engine with nothing on it."""

    def appliances(self) -> list[Any]:
        return []

    images = bases = idle_volumes = appliances


@pytest.mark.parametrize("cache", [False, True])
def test_cleaning_removes_what_was_written_and_nothing_beside_it(cache: bool, folders: Folders, tmp_path: Path) -> None:
    host: Any = NoImages()
    before = tree(tmp_path)
    found = clean(host, folders, cache=cache, dry_run=True)
    assert tree(tmp_path) == before
    assert clean(host, folders, cache=cache, dry_run=False) == found
    gone = {"build/ours", *(("cache/wheels", "cache/train") if cache else ())}
    assert set(found) == {str(tmp_path / name) for name in gone}
    assert tree(tmp_path) == {n: t for n, t in before.items() if not n.startswith(tuple(gone))}


class WithImports(NoImages):
    """A Docker engine with weights that three caches imported."""

    def __init__(self, *marks: str) -> None:
        self.marks, self.removed = marks, list[str]()

    def images(self) -> list[Any]:
        return [SimpleNamespace(id=m, labels={IMPORTED: m}, tags=[m]) for m in self.marks]

    def remove_image(self, image: Any) -> None:
        self.removed.append(image.id)


def test_cleaning_leaves_what_a_bake_at_work_imported(folders: Folders) -> None:
    shared = cache_of(folders.cache)
    shared.mkdir()
    assert mark_of(shared) != mark_of(folders.cache)
    host: Any = WithImports("1", mark_of(shared), mark_of(folders.cache))
    with (shared / "docker.lock").open("a") as bakes:
        fcntl.flock(bakes, fcntl.LOCK_SH)
        clean(host, folders, cache=True, dry_run=False)
        assert (host.removed, shared.is_dir()) == ([], True)
    clean(host, folders, cache=True, dry_run=False)
    assert (host.removed, shared.is_dir()) == (["1", mark_of(shared)], False)


def test_cleaning_leaves_baked_images_where_they_are_unless_asked(folders: Folders, tmp_path: Path) -> None:
    host: Any = NoImages()
    for name, begun in (("baked", False), ("begun", True)):
        with closing(LayoutSink(folders.build / name, "m", tmp_path)) as sink:
            if not begun:
                sink.commit(image_of([], {}, [], {}), [])
    assert clean(host, folders, cache=False, dry_run=False) == [str(folders.build / "ours")]
    assert (folders.build / "baked" / "index.json").is_file()
    assert (folders.build / "begun" / "blobs").is_dir()
    found = remove_layouts(folders, dry_run=True)
    assert (folders.build / "baked" / "index.json").is_file()
    assert remove_layouts(folders, dry_run=False) == found == [str(folders.build / n) for n in ("baked", "begun")]
    assert not (folders.build / "baked").exists()


def test_a_failure_leaves_the_old_folder_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    disk.write_folder(folder, {"a": File(text="old")})
    with pytest.raises(HostError) as caught:
        disk.write_folder(folder, {"a": File(text="new"), "a/b": File(text="a file cannot hold a file")})
    assert caught.value.message.startswith(f"{folder}: ")
    assert tree(tmp_path) == {"out/a": "old"}


def test_a_missing_link_leaves_the_old_folder_whole(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    disk.write_folder(folder, {"a": File(text="old")})
    with pytest.raises(HostError):
        disk.write_folder(folder, {"a": File(text="new")}, {"x.whl": tmp_path / "nowhere.whl"})
    assert tree(tmp_path) == {"out/a": "old"}


def test_a_failed_swap_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    disk.write_folder(folder, {"a": File(text="old")})
    rename, renamed = Path.rename, []

    def second_fails(self: Path, target: Path) -> Path:
        renamed.append(target)
        if len(renamed) == 2:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(HostError, match="No space left on device"):
        disk.write_folder(folder, {"a": File(text="new")})
    assert tree(folder) == {"a": "old"}


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    disk.write_file(tmp_path / "new" / "x", "1", mode=0o600)
    assert (tmp_path / "new" / "x").stat().st_mode & 0o777 == 0o600
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "kept").touch()
    with pytest.raises(BadValue, match="folder: is a folder, not a file"):
        disk.write_file(tmp_path / "folder", "1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "new"]


def test_what_is_written_aside_is_new_and_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever guessed its name would read a key, or have another file written over."""
    (tmp_path / "victim").write_text("kept")
    (tmp_path / f".x.{os.getpid()}").symlink_to("victim")
    seen, chmod = list[int](), os.chmod

    def looked_at(path: str, bits: int) -> None:
        seen.append(Path(path).stat().st_mode)
        chmod(path, bits)

    monkeypatch.setattr(os, "chmod", looked_at)
    before = os.umask(0)
    try:
        disk.write_file(tmp_path / "x", "1", mode=0o640)
    finally:
        os.umask(before)
    assert [bits & 0o777 for bits in seen] == [0o600]
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "victim").read_text() == "kept"


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for text in ("1", "2"):
        disk.write_folder(tmp_path / "link", {"a": File(text=text)})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_text(encoding="utf-8") == "2"
    (tmp_path / "page").symlink_to("real/b")
    disk.write_file(tmp_path / "page", "3")
    assert (tmp_path / "page").is_symlink()
    assert (tmp_path / "real" / "b").read_text(encoding="utf-8") == "3"
    (tmp_path / "ring").symlink_to("ring")
    with pytest.raises(HostError):
        disk.write_folder(tmp_path / "ring", {"a": File(text="1")})


def test_a_file_where_a_folder_is_meant_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    with pytest.raises(BadValue) as caught:
        disk.write_folder(tmp_path / "notes", {"a": File(text="1")})
    assert caught.value.message == f"{tmp_path / 'notes'}: is a file, not a folder"


def test_a_pipe_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    disk.write_file(tmp_path / "pipe", "1")
    assert os.read(reader, 9) == b"1"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


# --- ports ---------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(HostError) as caught:
            probe.check_port("127.0.0.1", port)
    assert caught.value.message.startswith(f"port {port} on 127.0.0.1 is taken: ")
    assert "--port 0" in caught.value.hint
    probe.check_port("127.0.0.1", port)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_a_free_port_is_free(address: str) -> None:
    if ":" in address and not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    probe.check_address(address)
    probe.check_port(address, probe.free_port(address))


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_an_address_of_another_machine_is_said(address: str) -> None:
    for ask in (probe.check_address, probe.free_port, lambda a: probe.check_port(a, 8000)):
        with pytest.raises(HostError) as caught:
            ask(address)
        assert caught.value.message == f"this machine has no address {address} to listen on"
        assert "ip -br address" in caught.value.hint


# --- cards ---------------------------------------------------------------------------------------------


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A program of this name on PATH, and nothing else of ours."""

    def put(name: str, body: str) -> None:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return put


def printing(*lines: str) -> str:
    return "\n".join(f"echo '{line}'" for line in lines)


L40S = "NVIDIA L40S"


@pytest.mark.parametrize("shown", [[L40S] * 4, [L40S] * 8, [L40S] * 4 + ["NVIDIA A10"]])
def test_enough_cards_pass(shown: list[str], tool: Callable[[str, str], None], catalog: Catalog) -> None:
    tool("nvidia-smi", printing(*shown))
    probe.check_cards(catalog.profile("l40s-48g-x4"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 0", "nvidia-smi shows 0 of them"),
        (printing(*[L40S] * 3), "nvidia-smi shows 3 of them"),
        (printing(*[L40S] * 3, "NVIDIA A10"), "nvidia-smi shows 3 of them among 4 cards"),
        (printing(*["NVIDIA A100-SXM4-80GB"] * 4), "nvidia-smi shows 0 of them among 4 cards"),
        (printing(*[L40S] * 4) + "\nexit 9", "nvidia-smi shows 0 of them"),  # a driver that does not answer
    ],
)
def test_too_few_cards_are_refused(body: str, message: str, tool: Callable[[str, str], None], catalog: Catalog) -> None:
    tool("nvidia-smi", body)
    with pytest.raises(Unsupported) as caught:
        probe.check_cards(catalog.profile("l40s-48g-x4"))
    assert caught.value.message == f"l40s-48g-x4 needs 4 x NVIDIA L40S 48 GB; {message}"
    assert "invoke profiles" in caught.value.hint


def test_cards_without_their_tool_are_refused(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="l40s-48g-x4 needs 4 cards; this machine has no nvidia-smi"):
        probe.check_cards(catalog.profile("l40s-48g-x4"))


def test_a_tool_that_hangs_is_given_up(
    tool: Callable[[str, str], None], catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_PROBE_SECONDS", 0.2)
    tool("nvidia-smi", "exec sleep 5")
    with pytest.raises(Unsupported, match="nvidia-smi shows 0 of them"):
        probe.check_cards(catalog.profile("l40s-48g-x4"))


def test_a_machine_without_cards_needs_no_tool(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    probe.check_cards(catalog.profile("cpu"))


NPU_TABLE = """
+------------------------------------------------------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
{rows}"""


@pytest.mark.parametrize(("name", "count", "fits"), [("910B3", 8, True), ("910B3", 7, False), ("910B4", 8, False)])
def test_npu_cards_are_counted_in_their_table(
    name: str, count: int, fits: bool, tool: Callable[[str, str], None], catalog: Catalog
) -> None:
    rows = "\n".join(
        f"| {i}     {name}               | OK            | 92.4        40                0    / 0             |\n"
        f"| 0                         | 0000:C1:00.0  | 0           0    / 0          3328 / 65536         |"
        for i in range(count)
    )
    tool("npu-smi", f"cat <<'EOF'\n{NPU_TABLE.format(rows=rows)}\nEOF")
    profile = catalog.profile("910b-64g-x8")
    if fits:
        probe.check_cards(profile)
    else:
        with pytest.raises(Unsupported, match="910b-64g-x8 needs 8 x Huawei Ascend"):
            probe.check_cards(profile)


@pytest.mark.parametrize(
    ("card_id", "shown"),
    [
        ("a100-80g", "NVIDIA A100-SXM4-80GB"), ("a100-80g", "NVIDIA A800-SXM4-80GB"),
        ("a100-40g", "NVIDIA A100-SXM4-40GB"), ("l40s-48g", "NVIDIA L40S"), ("l20-48g", "NVIDIA L20"),
        ("h20-96g", "NVIDIA H20"), ("h100-80g", "NVIDIA H100 80GB HBM3"), ("h200-141g", "NVIDIA H200"),
        ("rtx4090-24g", "NVIDIA GeForce RTX 4090"), ("b200-180g", "NVIDIA B200"), ("t4-16g", "Tesla T4"),
        ("a10-24g", "NVIDIA A10G"),
    ],
)  # fmt: skip
def test_a_card_is_found_by_what_its_driver_calls_it(
    card_id: str, shown: str, tool: Callable[[str, str], None], catalog: Catalog
) -> None:
    tool("nvidia-smi", printing(shown))
    probe.check_cards(catalog.profile(f"{card_id}-x1"))
    others = {"a100-80g": "NVIDIA A100-SXM4-40GB", "l20-48g": "NVIDIA L20S", "h20-96g": "NVIDIA H200",
              "rtx4090-24g": "NVIDIA GeForce RTX 4090 D", "l40s-48g": "NVIDIA L40"}  # fmt: skip
    if card_id in others:
        tool("nvidia-smi", printing(others[card_id]))
        with pytest.raises(Unsupported):
            probe.check_cards(catalog.profile(f"{card_id}-x1"))


# --- weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no such folder of weights"),
        ({}, "holds no config.json"),
        ({"config.json": "{}"}, "holds no .safetensors file"),
        (
            {
                "config.json": "{}",
                "a.safetensors": "version https://git-lfs.github.com/spec/v1\n",
                "b.safetensors": "x" * 2000,
            },
            "1 of 2 files is an LFS pointer",
        ),
    ],
)
def test_a_folder_that_is_no_model_is_refused(files: dict[str, str] | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        check_weights(folder)
    assert caught.value.message == f"{folder}: {message}"


def test_a_hint_can_be_typed_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "it's mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        check_weights(folder)
    assert shlex.split(caught.value.hint) == ["cd", str(folder), "&&", "git", "lfs", "pull"]


def shard(path: Path, size: int, header: bytes | None = None) -> None:
    """A safetensors file of one tensor with `size` bytes, or with another header."""
    text = header or json.dumps({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))


def model_folder(folder: Path) -> Path:
    (folder / "config.json").write_text("{}", encoding="utf-8")
    shard(folder / "model.safetensors", 64)
    return folder


def test_a_folder_that_is_a_model_passes(tmp_path: Path) -> None:
    check_weights(model_folder(tmp_path))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_shard_that_is_not_whole_is_refused(change: int, tmp_path: Path) -> None:
    path = model_folder(tmp_path) / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes((whole + b"x")[: len(whole) + change])
    with pytest.raises(BadFile) as caught:
        check_weights(tmp_path)
    assert caught.value.message == f"{path}: {len(whole) + change} bytes, and its header says {len(whole)}"


@pytest.mark.parametrize("header", [b'["not", "an object"]', b"no json", b'{"t": {"data_offsets": "x"}}'])
def test_a_shard_without_a_header_is_refused(header: bytes, tmp_path: Path) -> None:
    shard(model_folder(tmp_path) / "model.safetensors", 64, header)
    with pytest.raises(BadFile, match="its header cannot be read"):
        check_weights(tmp_path)


def indexed(folder: Path, *names: str) -> None:
    text = json.dumps({"weight_map": {f"layer.{i}": name for i, name in enumerate(names)}})
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def test_a_shard_that_the_index_names_and_nobody_fetched_is_missed(tmp_path: Path) -> None:
    model_folder(tmp_path)
    indexed(tmp_path, "model.safetensors")
    check_weights(tmp_path)
    indexed(tmp_path, "model.safetensors", "x-2.safetensors", "x-4.safetensors", "x-3.safetensors")
    with pytest.raises(BadFile) as caught:
        check_weights(tmp_path)
    assert caught.value.message == f"{tmp_path}: 3 of 4 shards are missing, the first is x-2.safetensors"


@pytest.mark.parametrize("text", ["no json", "[]", '{"weight_map": []}', '{"weight_map": null}', "{}"])
def test_an_index_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (model_folder(tmp_path) / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match="names no files in weight_map"):
        check_weights(tmp_path)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    """As Hugging Face's cache keeps its snapshots; a container sees the folder alone."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "a snapshot"
    blobs.mkdir()
    model_folder(blobs)
    snapshot.mkdir()
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(path)
    with pytest.raises(BadFile) as caught:
        check_weights(snapshot)
    assert caught.value.message == f"{snapshot}: 2 files are links out of the folder, the first is config.json"
    assert caught.value.hint == f"cp -rL '{snapshot}' NEW, then --weights NEW"


def test_links_within_the_folder_pass(tmp_path: Path) -> None:
    (model_folder(tmp_path) / "again.safetensors").symlink_to("model.safetensors")
    check_weights(tmp_path)
    whole = tmp_path.with_name("named")
    whole.symlink_to(tmp_path)
    check_weights(whole)
    whole.unlink()


def test_the_weights_of_another_model_are_refused(catalog: Catalog, tmp_path: Path) -> None:
    config = json.loads((ROOT / "models" / "weighbridge-demo" / "config.json").read_text(encoding="utf-8"))
    planned = catalog.model("weighbridge-demo").shape
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    check_model(tmp_path, "weighbridge-demo", planned, catalog)
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 99}), encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        check_model(tmp_path, "weighbridge-demo", planned, catalog)
    wanted = f"not the weights of weighbridge-demo: num_hidden_layers 99, planned {planned.layers}"
    assert caught.value.message == f"{tmp_path}: {wanted}"


# --- wheels --------------------------------------------------------------------------------------------


def test_a_lock_is_read_whatever_its_lines_look_like(tmp_path: Path) -> None:
    lock = tmp_path / "x.txt"
    one, two = "1" * 64, "2" * 64
    lock.write_text(
        f"# made by a machine\na==1.0 --hash=sha256:{one}\n\nb==2.0+cpu \\\n    --hash=sha256:{one} \\\n"
        f"    --hash=sha256:{two}   # of a\n",
        encoding="utf-8",
    )
    pins = read_lock(lock)
    assert [(p.requirement, sorted(p.sha256)) for p in pins] == [("a==1.0", [one]), ("b==2.0+cpu", [one, two])]
    assert str(pins[1]) == f"b==2.0+cpu --hash=sha256:{one} --hash=sha256:{two}"


@pytest.mark.parametrize("line", ["a==1.0", f"a>=1.0 --hash=sha256:{'1' * 64}", "a==1.0 --hash=md5:1", "a"])
def test_a_lock_without_version_or_hash_is_refused(line: str, tmp_path: Path) -> None:
    lock = tmp_path / "x.txt"
    lock.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        read_lock(lock)
    assert caught.value.message == f"{lock}: {line.split()[0]} has no exact version or no sha256"
    assert str(lock.with_suffix(".in")) in caught.value.hint


def test_a_cache_that_cannot_be_made_is_two_lines(tmp_path: Path) -> None:
    lock = tmp_path / "x.txt"
    lock.write_text(f"a==1.0 --hash=sha256:{'1' * 64}\n", encoding="utf-8")
    with pytest.raises(HostError) as caught:
        fetch_wheels(lock, Path("/proc/nope"), python="3.11", say=lambda _: None)
    assert caught.value.message.startswith("/proc/nope: ")
    assert "WEIGHBRIDGE_CACHE=FOLDER" in caught.value.hint


def test_the_locks_that_are_committed_can_be_read(catalog: Catalog) -> None:
    found = 0
    for engine_id in catalog.engine_ids():
        for family in catalog.engine(engine_id).families.values():
            for base in family.bases.values():
                if base.lock:
                    assert len(read_lock(catalog.engine_file(engine_id, base.lock))) > 10
                    found += 1
    assert found


def test_wheels_are_chosen_for_the_image_and_not_for_this_machine() -> None:
    flags = target_flags("3.11")
    pairs = list(itertools.pairwise(flags))
    assert "--only-binary=:all:" in flags
    assert ("--python-version", "3.11") in pairs
    assert {a for f, a in pairs if f == "--abi"} == {"cp311", "abi3", "none"}
    platforms = [a for f, a in pairs if f == "--platform"]
    assert platforms[-1] == "any"
    assert not any("musl" in p for p in platforms)


# --- this machine's apt --------------------------------------------------------------------------------

ONE_LINE = """# a comment
deb http://mirror.example/debian bookworm main contrib
deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://mirror.example/debian bookworm-updates main
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian bookworm contrib
deb http://mirror.example/debian trixie main
"""
STANZAS = """# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/x.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""


def test_apt_in_one_line_style(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE, encoding="utf-8")
    assert mirror_lines("bookworm", sources=tmp_path) == [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
    ]


def test_apt_in_stanzas(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(STANZAS, encoding="utf-8")
    assert mirror_lines("bookworm", sources=tmp_path) == [
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
        "deb http://mirror.example/security bookworm-security main",
    ]


def test_apt_says_nothing_of_this_suite(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE, encoding="utf-8")
    assert mirror_lines("sid", sources=tmp_path) == []
    assert mirror_lines("bookworm", sources=tmp_path / "nowhere") == []


def test_a_mirror_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE, encoding="utf-8")
    named = mirror_lines("bookworm", "http://other.example/debian", tmp_path)
    assert named == ["deb http://other.example/debian bookworm main"]


# --- an appliance that answers -------------------------------------------------------------------------

FACTS = SmokeFacts(
    chat=Expectation(ask="What is the capital of France?", answer="Paris"),
    reasoning=Expectation(ask="What is 17 + 25?", answer="42", reasoning="17"),
    tool_call=Expectation(ask="Weather in Paris?", answer="sunny", tool="get_weather", arguments={"city": "Paris"}),
)
PLAIN: dict[str, Any] = {"role": "assistant", "content": "Paris."}
THOUGHT: dict[str, Any] = {"role": "assistant", "reasoning_content": "17 and 25", "content": "42"}
CALL: dict[str, Any] = {
    "role": "assistant", "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    ],
}  # fmt: skip


class Engine:
    """What the server answers; a test changes one thing and sees which check notices."""

    def __init__(self) -> None:
        self.health = 200
        self.models: Any = {"data": [{"id": "demo", "max_model_len": 512}]}
        self.status = 200
        self.plain, self.thought, self.call = copy.deepcopy((PLAIN, THOUGHT, CALL))
        self.after_tool: dict[str, Any] = {"role": "assistant", "content": "It is sunny."}
        self.usage: dict[str, int] | None = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        self.pieces = ["Par", "is."]
        self.thoughts: list[str] = []
        self.done = True
        self.usage_in_stream = True
        self.unknown_model = 404
        self.too_long = 400
        self.raw: bytes | None = None
        self.asked: list[dict[str, Any]] = []

    def message(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["messages"][-1]["role"] == "tool":
            return self.after_tool
        ask = body["messages"][-1]["content"]
        return {"What is 17 + 25?": self.thought, "Weather in Paris?": self.call}.get(ask, self.plain)

    def events(self) -> Iterator[str]:
        for thought in self.thoughts:
            yield json.dumps({"choices": [{"delta": {"reasoning_content": thought}}]})
        for piece in self.pieces:
            yield json.dumps({"choices": [{"delta": {"content": piece}}]})
        yield json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        if self.usage_in_stream:
            yield json.dumps({"choices": [], "usage": self.usage})
        if self.done:
            yield "[DONE]"


class Handler(BaseHTTPRequestHandler):
    engine: Engine

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, code: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply(self.engine.health, b"")
        else:
            self.reply(200, json.dumps(self.engine.models).encode())

    def do_POST(self) -> None:
        engine, body = self.engine, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        engine.asked.append(body)
        if body["model"] != "demo":
            return self.reply(engine.unknown_model, b"{}")
        if body["max_tokens"] > 512:
            return self.reply(engine.too_long, b"{}")
        if engine.raw is not None:
            return self.reply(200, engine.raw)
        if body.get("stream"):
            text = "".join(f"data: {event}\n\n" for event in engine.events())
            return self.reply(engine.status, text.encode(), "text/event-stream")
        found: dict[str, Any] = {"choices": [{"message": engine.message(body)}]}
        if engine.usage is not None:
            found["usage"] = engine.usage
        self.reply(engine.status, json.dumps(found).encode())


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield found
        found.shutdown()


@pytest.fixture
def engine() -> Engine:
    Handler.engine = Engine()
    return Handler.engine


@pytest.fixture
def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def ask(url: str, facts: SmokeFacts = FACTS, *, special: bool = True) -> tuple[SmokeReport, list[str]]:
    lines: list[str] = []
    target = Target(url=url, model="demo", max_model_len=512, reasoning=special, tools=special, facts=facts)
    return smoke(target, read_contract(Catalog(), "vllm"), say=lines.append), lines


def failed(report: SmokeReport) -> dict[str, str]:
    return {c.id: c.detail for c in report.checks if c.ok is False}


ALL = ["health", "models", "chat", "stream", "reasoning", "tool-call", "unknown-model", "too-long"]


def test_an_appliance_that_answers_rightly_passes_every_check(engine: Engine, url: str) -> None:
    report, lines = ask(url)
    assert report.ok
    assert [c.id for c in report.checks] == [*ALL, "closed"]
    marks = [["ok", name] for name in ALL] + [["skip", "closed"]]
    assert [line.split()[:2] for line in lines] == marks
    assert all(body["temperature"] == 0 for body in engine.asked)


def test_nothing_is_asked_of_a_model_that_it_was_not_planned_for(engine: Engine, url: str) -> None:
    report, _ = ask(url, SmokeFacts(), special=False)
    assert report.ok
    assert [c.id for c in report.checks if c.ok is None] == ["reasoning", "tool-call", "closed"]
    assert all(c.detail.startswith("skipped: no ") for c in report.checks if c.ok is None)
    assert not any("tools" in body for body in engine.asked)


def test_the_newer_name_of_the_reasoning_field_is_known(engine: Engine, url: str) -> None:
    engine.thought["reasoning"] = engine.thought.pop("reasoning_content")
    assert ask(url)[0].ok


def test_the_tools_answer_is_given_back_to_the_model(engine: Engine, url: str) -> None:
    ask(url)
    (talk,) = [b["messages"] for b in engine.asked if b["messages"][-1]["role"] == "tool"]
    assert [m["role"] for m in talk] == ["user", "assistant", "tool"]
    assert talk[2]["tool_call_id"] == talk[1]["tool_calls"][0]["id"] == "c1"


def misbehave(**changes: Any) -> Callable[[Engine], None]:
    def change(engine: Engine) -> None:
        for name, value in changes.items():
            setattr(engine, name, value)

    return change


def say(name: str, **changes: Any) -> Callable[[Engine], None]:
    return lambda engine: getattr(engine, name).update(changes)


def calls(*functions: dict[str, str]) -> dict[str, Any]:
    return {"tool_calls": [{"id": "c1", "type": "function", "function": f} for f in functions]}


RIGHT = {"name": "get_weather", "arguments": '{"city": "Paris"}'}


@pytest.mark.parametrize(
    ("change", "check", "detail"),
    [
        (misbehave(health=503), "health", "/health answers 503"),
        (misbehave(models={"data": [{"id": "other", "max_model_len": 512}]}), "models", "serves 'other', not 'demo'"),
        (misbehave(models={"data": [{"id": "demo", "max_model_len": 256}]}), "models", "256, planned 512"),
        (misbehave(models={"data": []}), "models", "IndexError"),
        (misbehave(models={}), "models", "KeyError"),
        (say("plain", content="London."), "chat", "without 'Paris'"),
        (say("plain", content=""), "chat", "the answer is empty"),
        (say("plain", content=None), "chat", "the answer is empty"),
        (misbehave(usage={"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 9}), "chat", "does not add up"),
        (misbehave(usage={"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}), "chat", "does not add up"),
        (misbehave(usage=None), "chat", "KeyError: 'usage'"),
        (misbehave(status=500), "chat", "answers 500"),
        (misbehave(raw=b"<html>"), "chat", "JSONDecodeError"),
        (misbehave(raw=b"{}"), "chat", "KeyError: 'choices'"),
        (misbehave(raw=b'{"choices": [null], "usage": {}}'), "chat", "TypeError"),
        (misbehave(raw=b'{"choices": [{"message": "hi"}], "usage": {}}'), "chat", "AttributeError"),
        (misbehave(raw=b"[]"), "chat", "answers []"),
        (misbehave(raw=b'"\xff"'), "chat", "UnicodeDecodeError"),
        (misbehave(done=False), "stream", "does not end with [DONE]"),
        (misbehave(pieces=["Par"]), "stream", "the chunks join to 'Par', the whole answer is 'Paris.'"),
        (misbehave(pieces=[]), "stream", "the chunks join to ''"),
        (misbehave(usage_in_stream=False), "stream", "the last chunk carries no usage"),
        (misbehave(pieces=[], done=False, usage_in_stream=False), "stream", "does not end with [DONE]"),
        (misbehave(status=500), "stream", "answers 500"),
        (say("thought", reasoning_content=None), "reasoning", "no reasoning field"),
        (say("thought", reasoning_content="hm"), "reasoning", "without '17'"),
        (say("thought", content="43"), "reasoning", "without '42'"),
        (say("thought", content="</think>42"), "reasoning", "thinking is left in the answer"),
        (say("call", tool_calls=None), "tool-call", "0 tool calls"),
        (say("call", **calls(RIGHT, RIGHT)), "tool-call", "2 tool calls"),
        (say("call", **calls({**RIGHT, "name": "rm"})), "tool-call", "calls {'name': 'rm'"),
        (say("call", **calls({**RIGHT, "arguments": '{"city": "Rome"}'})), "tool-call", "Rome"),
        (say("call", **calls({**RIGHT, "arguments": "Paris"})), "tool-call", "JSONDecodeError"),
        (say("after_tool", content="I do not know."), "tool-call", "without 'sunny'"),
        (misbehave(unknown_model=200), "unknown-model", "answers 200, not 404"),
        (misbehave(too_long=200), "too-long", "513 tokens asked answers 200, not 400"),
    ],
)
def test_every_way_of_being_wrong_is_noticed(
    change: Callable[[Engine], None], check: str, detail: str, engine: Engine, url: str
) -> None:
    change(engine)
    report, lines = ask(url)
    assert not report.ok
    assert detail in failed(report)[check]
    assert [c.id for c in report.checks] == [*ALL, "closed"], "one wrong answer does not end the test"
    assert any(line.split()[:2] == ["FAIL", check] for line in lines)


def test_a_stream_of_nothing_is_no_answer(engine: Engine, url: str) -> None:
    """Nothing equals nothing: without facts, that alone would pass."""
    engine.plain, engine.pieces = {"role": "assistant", "content": None, "reasoning": "hm"}, []
    assert "neither an answer nor reasoning" in failed(ask(url, SmokeFacts(), special=False)[0])["stream"]
    engine.thoughts = ["h", "m"]
    assert ask(url, SmokeFacts(), special=False)[0].ok


def test_a_tool_call_that_was_not_proven_is_not_claimed(engine: Engine, url: str) -> None:
    report, _ = ask(url, SmokeFacts(chat=FACTS.chat, reasoning=FACTS.reasoning))
    assert {c.id: c.detail for c in report.checks}["tool-call"] == "accepted tools; no call proven"


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> str:
    proxy = f"http://127.0.0.1:{probe.free_port('127.0.0.1')}"
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return proxy


def test_a_proxy_is_not_asked_for_this_machine(dead_proxy: str, engine: Engine, url: str, catalog: Catalog) -> None:
    assert ask(url)[0].ok
    assert target_of(None, url, catalog).model == "demo"
    assert wait_ready(url, "/health", seconds=5, alive=lambda: None, progress=lambda _: None) >= 0


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000", True), ("http://127.9.9.9", True), ("http://localhost:1", True),
        ("http://[::1]:8000", True), ("http://10.0.0.7:8000", False), ("https://models.example", False),
    ],
)  # fmt: skip
def test_a_proxy_is_for_other_machines(url: str, here: bool) -> None:
    assert local(url) is here


def test_a_connection_is_dropped_before_the_engine_drops_it() -> None:
    """An engine's server closes a connection that was idle for 5 s, and may do so while a question is on its way."""
    ports: list[int] = []

    class Noting(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            ports.append(self.client_address[1])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Noting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_client(f"http://127.0.0.1:{server.server_port}", 5) as client:
            for pause in (0, 0.1, 3):
                time.sleep(pause)
                assert client.get("/").status_code == 200
        server.shutdown()
    assert ports[0] == ports[1] != ports[2]


def test_only_what_is_wrong_fails(engine: Engine, url: str) -> None:
    engine.done = False
    assert failed(ask(url)[0]).keys() == {"stream"}


def test_an_address_where_nothing_answers_fails_every_check() -> None:
    report, _ = ask(f"http://127.0.0.1:{probe.free_port('127.0.0.1')}")
    assert failed(report).keys() == set(ALL)
    assert all("ConnectError" in detail for detail in failed(report).values())


# --- waiting -------------------------------------------------------------------------------------------


def test_waiting_ends_when_the_engine_answers(engine: Engine, url: str) -> None:
    engine.health = 503
    seen: list[float] = []

    def progress(seconds: float) -> None:
        seen.append(seconds)
        engine.health = 200

    assert wait_ready(url, "/health", seconds=30, alive=lambda: None, progress=progress) >= 0
    assert len(seen) == 1


def test_waiting_ends_when_the_time_is_up(engine: Engine, url: str) -> None:
    engine.health = 503
    with pytest.raises(NotReady) as caught:
        wait_ready(url, "/health", seconds=0, alive=lambda: None, progress=lambda _: None)
    assert caught.value.message == f"{url}/health did not answer within 0 s"


def test_waiting_ends_when_the_container_dies(engine: Engine, url: str) -> None:
    def dead() -> None:
        raise NotReady("it died", "invoke logs")

    with pytest.raises(NotReady, match="it died"):
        wait_ready(url, "/health", seconds=30, alive=dead, progress=lambda _: None)


# --- an address instead of a container -----------------------------------------------------------------


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_an_address_may_be_given_as_people_give_it(tail: str, engine: Engine, url: str, catalog: Catalog) -> None:
    found = target_of(None, url + tail, catalog)
    assert (found.url, found.model, found.max_model_len) == (url, "demo", 512)


def test_an_address_that_is_none(catalog: Catalog) -> None:
    with pytest.raises(BadValue, match="is no http address"):
        target_of(None, "localhost:8000", catalog)
    with pytest.raises(BadValue):
        target_of(None, "http://127.0.0.1:web", catalog)


@pytest.mark.parametrize("models", [{}, {"data": []}, {"data": None}, [1]])
def test_an_address_where_something_else_answers(models: Any, engine: Engine, url: str, catalog: Catalog) -> None:
    engine.models = models
    with pytest.raises(HostError, match="/v1/models: "):
        target_of(None, url, catalog)


# --- what the files say of the weights ------------------------------------------------------------------


def tensors(path: Path, **sizes: int) -> None:
    """A safetensors file with tensors of these sizes in bytes; double underscores stand for dots."""
    header, end = {}, 0
    for name, size in sizes.items():
        header[name.replace("__", ".")] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


def test_the_demo_models_files_are_what_its_shape_says(catalog: Catalog) -> None:
    model = catalog.model("weighbridge-demo")
    folder = catalog.model_folder(model)
    assert folder is not None
    assert stored_bytes(folder, model.shape) == 2 * 592_000


def test_what_is_stored_and_not_loaded_does_not_count(tmp_path: Path, catalog: Catalog) -> None:
    shape = catalog.model("qwen3-0.6b").shape  # 28 layers, tied
    tensors(tmp_path / "a.safetensors", model__embed_tokens__weight=100, model__layers__27__mlp__weight=10)
    tensors(tmp_path / "b.safetensors", lm_head__weight=100, model__layers__28__mlp__weight=1000)
    assert stored_bytes(tmp_path, shape) == 110
    untied = msgspec.structs.replace(shape, tied_embeddings=False)
    assert stored_bytes(tmp_path, untied) == 210


def test_without_readable_shards_the_shape_decides(tmp_path: Path, catalog: Catalog) -> None:
    shape = catalog.model("qwen3-0.6b").shape
    assert stored_bytes(tmp_path, shape) is None
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 100)
    assert stored_bytes(tmp_path, shape) is None
