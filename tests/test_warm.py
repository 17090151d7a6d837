"""Warm layers: what a key follows from, the tar, and what a start does with one that fits, does not, or is broken."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import ROOT, plan_for, spec_of
from test_container import program

from weighbridge.catalog import Catalog
from weighbridge.effects.warm import alone, for_its_cache, read_layer
from weighbridge.errors import BadFile, BadValue, HostError
from weighbridge.order import read_name
from weighbridge.render import render_image
from weighbridge.startup import start_of, start_text
from weighbridge.types import Reach
from weighbridge.warm import folders_of, key, misfit, read_manifest, warm_json

CARD = "Card of ours, 9.0"
FILES = {
    "vllm/torch_compile_cache/ab/rank_0_0/model": b"compiled " * 5000,
    "vllm/torch_compile_cache/ab/inductor_cache/" + "x" * 90 + "/kernel.so": b"\x7fELF",
    "vllm/modelinfos/model.json": b"{}",
    "triton/AB/kernel.cubin": b"cubin",
    "flashinfer/.cache/flashinfer/0.6/90/op.so": b"\x7fELF op",
}
PRIVATE = {
    "vllm/torch_compile_cache/ab/cache_key_factors.json": b'{"env": {"SECRET": "wb-canary"}}',
    "vllm/gpu_p2p_access_cache_for_0,1.json": b"{}",
    "vllm/startup_plan/startup_plan_1.json": b"{}",
    "vllm/usage_stats.json": b"{}",
    "vllm/assets/picture.png": b"somebody's",
    "inductor/locks/one.lock": b"",
    "flashinfer/flashinfer_jit.log": b"wb-canary",
    "triton/tmp.pid_12/kernel.cubin": b"half",
    "elsewhere.txt": b"wb-canary",
}


# --- the key


@pytest.mark.parametrize(
    "more",
    [{"context": 4096}, {"sequences": 8}, {"batched_tokens": 4096}, {"eager": True}, {"dtype": "float16"},
     {"kv_dtype": "fp8"}, {"quantization": "fp8"}, {"profile": "h100-80g-x2", "tensor_parallel": 2}],
)  # fmt: skip
def test_what_is_compiled_follows_from_these(more: dict[str, Any], catalog: Catalog) -> None:
    base = {"profile": "h100-80g-x1", "model": "qwen3-8b"}
    assert key(plan_for(catalog, **base)) != key(plan_for(catalog, **{**base, **more}))


def test_another_model_or_engine_is_another_key(catalog: Catalog) -> None:
    one = plan_for(catalog, "h100-80g-x1", "qwen3-8b")
    assert key(one)["model_path"] != key(plan_for(catalog, "h100-80g-x1", "qwen3-0.6b"))["model_path"]
    newer = msgspec.structs.replace(one, engine_version="9.9.9")
    rebased = msgspec.structs.replace(one, base_image="other@sha256:1")
    assert misfit(manifest_of(key(one)), newer).startswith("engine version")
    assert misfit(manifest_of(key(one)), rebased).startswith("base image")
    assert misfit(manifest_of(key(one)), one) == ""


def test_the_share_of_memory_the_parsers_and_the_port_change_nothing_that_is_compiled(catalog: Catalog) -> None:
    one = plan_for(catalog, "h100-80g-x1", "qwen3-8b", context=8192)
    same = plan_for(catalog, "h100-80g-x1", "qwen3-8b", context=8192, utilization=0.8)
    bare = msgspec.structs.replace(one, reasoning_parser=None, tool_call_parser=None, port=9000, ready_seconds=1)
    assert one.engine_args != same.engine_args
    assert key(one) == key(same) == key(bare)


def test_the_same_key_on_cards_of_one_kind_whatever_stands_beside_them(catalog: Catalog) -> None:
    """How many cards a machine has is no fact of a kernel; how many share a model is."""
    one = key(plan_for(catalog, "h100-80g-x1", "qwen3-8b", context=8192))
    two = key(
        plan_for(
            catalog, "h100-80g-x8", "qwen3-8b", context=8192, tensor_parallel=1, pipeline_parallel=1, data_parallel=1
        )
    )
    assert one == two


def manifest_of(of: dict[str, str]) -> Any:
    return read_manifest(json.dumps({"format": 1, "key": of, "made": "x", "files": {}}).encode(), "it")


def test_an_image_says_what_may_be_kept_and_an_engine_without_a_cache_says_nothing(catalog: Catalog) -> None:
    for engine, profile in (("vllm", "cpu"), ("vllm", "h100-80g-x1"), ("sglang", "h100-80g-x1")):
        plan = plan_for(catalog, profile, "qwen3-0.6b", engine=engine)
        files = render_image(plan, catalog).files
        found = json.loads(files["warm.json"].text)
        assert found["key"] == key(plan)
        assert found["cache"] == "/var/cache/weighbridge"
        assert found["model"] == plan.model_path
        assert spec_of(plan, catalog).volumes
        assert "warm.json" in files["Dockerfile"].text
        assert "warm.py use" in files["entrypoint.sh"].text
    plan = plan_for(catalog, "910b-64g-x1", "deepseek-r1-distill-qwen-7b", engine="mindie")
    assert json.loads(warm_json(plan, catalog.engine("mindie"))) == {}


def test_what_may_be_kept_lies_where_the_engine_is_told_to_keep_it(catalog: Catalog) -> None:
    """A folder that no variable names would be kept of nothing."""
    for engine in ("vllm", "sglang"):
        facts = catalog.engine(engine)
        assert facts.warm is not None
        for family in facts.families.values():
            root = family.cache_path
            told = {v.removeprefix(f"{root}/") for v in family.environment.values() if v.startswith(f"{root}/")}
            assert told <= {k.split("/")[0] for k in facts.warm.keep}, "each cache is kept"


# --- pack and use, as the container does them


class Machine:
    """An image's /opt/weighbridge, a model and a cache, in folders."""

    def __init__(self, root: Path, warm: Any, catalog: Catalog, **more: Any) -> None:
        self.warm, self.cache, self.layer = warm, root / "cache", root / "opt" / "warm"
        plan = plan_for(catalog, "h100-80g-x1", "qwen3-8b", **more)
        (root / "model").mkdir(parents=True)
        self.config = root / "model" / "config.json"
        self.config.write_text('{"hidden_size": 8, "transformers_version": "5.0"}')
        self.wanted = json.loads(warm_json(plan, catalog.engine("vllm")))
        self.wanted |= {"cache": str(self.cache), "model": str(root / "model")}

    def compile(self, files: dict[str, bytes] = FILES) -> None:
        for number, (path, content) in enumerate(files.items()):
            target = self.cache / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            os.utime(target, (1000 + number, 1000 + number))

    def use(self, card: str = CARD) -> str:
        return str(self.warm.use(self.wanted, card, self.layer))

    def pack(self, card: str = "") -> bytes:
        out = io.BytesIO()
        self.warm.pack(self.wanted, self.cache, card, out)
        return out.getvalue()

    def add(self, layer: bytes) -> None:
        """What the build does with a layer."""
        self.layer.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            tar.extractall(self.layer.parent, filter="data")

    def kept(self) -> dict[str, bytes]:
        return {p: (self.cache / p).read_bytes() for p in self.warm.files_of(self.cache, self.wanted)}


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> Any:
    return program("warm", monkeypatch)


@pytest.fixture
def packed(warm: Any, tmp_path: Path, catalog: Catalog) -> bytes:
    """The layer of a machine that has compiled."""
    first = Machine(tmp_path / "first", warm, catalog)
    first.use()
    first.compile({**FILES, **PRIVATE})
    return first.pack()


@pytest.fixture
def other(warm: Any, tmp_path: Path, catalog: Catalog) -> Machine:
    """A machine that has compiled nothing."""
    return Machine(tmp_path / "other", warm, catalog)


def test_a_start_without_a_layer_is_cold_and_the_next_one_warm(other: Machine) -> None:
    assert other.use().startswith("cold start: nothing is compiled")
    other.compile()
    assert other.use() == "warm start: compiled before, kept in the cache"
    assert other.use("Another card, 8.0").startswith("cold start"), "what is kept was compiled on another card"


def test_what_another_plan_compiled_is_not_this_ones(other: Machine, warm: Any) -> None:
    """A start that dies before it compiles leaves its name on the other's files, and no more."""
    other.use()
    other.compile()
    first = json.dumps(other.wanted)
    other.wanted["key"]["dtype"] = "float16"
    for _ in range(2):
        assert other.use() == "cold start: nothing that the cache holds is surely of this plan"
        with pytest.raises(warm.Unfit, match=r"filled before this plan used it: flashinfer.* and 4 more"):
            other.pack()
        with pytest.raises(warm.Unfit, match="filled before this plan"):
            other.pack(CARD)
    (other.cache / "triton/AB/kernel.cubin").write_bytes(b"float16")
    assert other.use() == "warm start: compiled before, kept in the cache"
    with pytest.raises(warm.Unfit, match="and 3 more"):
        other.pack()
    other.wanted = json.loads(first)
    assert other.use().startswith("cold start: nothing that the cache holds"), "the other may have written any of it"


def test_without_a_card_nothing_is_warm(other: Machine, warm: Any) -> None:
    other.use("")
    other.compile()
    assert other.use("") == "cold start: nothing in the container names its card"
    with pytest.raises(warm.Unfit, match="which card"):
        other.pack()
    assert b'"card": "Card of ours, 9.0"' in other.pack(CARD), "whoever packs by hand may name it"
    other.use()
    with pytest.raises(warm.Unfit, match="filled before"):
        other.pack()


def test_a_layer_for_no_card_is_ignored(packed: bytes, other: Machine) -> None:
    other.add(packed)
    rewritten(other.layer, lambda text: text.replace(CARD, ""))
    assert other.use("").endswith("the warm layer is ignored: nothing in the container names its card")


@pytest.mark.parametrize("text", ["", "[]", '{"key": 1}', '{"key": {}, "found": {"a": []}}', '{"key": {}, "found": 1}'])
def test_a_note_that_is_none_makes_nothing_warm(text: str, other: Machine) -> None:
    other.compile()
    (other.cache / ".weighbridge-warm.json").write_text(text)
    assert other.use().startswith("cold start: nothing that the cache holds")


def test_a_start_that_cannot_note_its_plan_leaves_no_other_ones_note(other: Machine, warm: Any) -> None:
    other.use()
    other.compile()
    other.config.write_text("{")
    assert other.use().startswith("cold start: ")
    other.config.write_text('{"hidden_size": 8}')
    with pytest.raises(warm.Unfit, match="which card"):
        other.pack()


def test_a_layer_whose_files_are_there_already_is_laid_once_too(packed: bytes, other: Machine) -> None:
    other.compile()
    other.add(packed)
    assert other.use().startswith("warm start: 5 files")
    assert other.use() == "warm start: from the image, laid before"


def test_a_layer_that_fits_is_laid_once(packed: bytes, other: Machine) -> None:
    other.add(packed)
    line = other.use()
    assert line.startswith(f"warm start: {len(FILES)} files, ")
    assert other.kept() == FILES
    state = (other.cache / "triton/AB/kernel.cubin").stat()
    assert state.st_mtime == 1003, "tools that compare times find what they left"
    assert other.use() == "warm start: from the image, laid before"
    assert sorted(p.name for p in other.cache.iterdir() if p.name.startswith(".")) == [
        ".weighbridge-warm.json", ".weighbridge-warm.lock",
    ]  # fmt: skip


def test_what_is_there_is_not_overwritten(packed: bytes, other: Machine) -> None:
    other.compile({"vllm/modelinfos/model.json": b"newer"})
    other.add(packed)
    assert other.use().startswith("warm start")
    assert other.kept()["vllm/modelinfos/model.json"] == b"newer"


def test_the_same_folder_is_the_same_tar(packed: bytes, warm: Any, tmp_path: Path, catalog: Catalog) -> None:
    again = Machine(tmp_path / "again", warm, catalog)
    again.use()
    again.compile(dict(reversed(list({**FILES, **PRIVATE}.items()))))
    for number, path in enumerate({**FILES, **PRIVATE}):
        os.utime(again.cache / path, (1000 + number, 1000 + number))
    for file in again.cache.rglob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)  # as another umask leaves them
    assert again.pack() == packed == again.pack()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        members = tar.getmembers()
    assert {(m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, "", "")}
    assert {m.mode for m in members if m.isdir()} == {0o755}


def test_no_secret_log_or_fact_of_the_host_travels(packed: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        names = {m.name.removeprefix("warm/cache/") for m in tar if m.isfile()}
    assert names == {*FILES, "warm/key.json"}
    assert b"wb-canary" not in packed


@pytest.mark.parametrize(("card", "word"), [("Card of ours, 8.0", "card"), ("", "card")])
def test_a_layer_of_another_card_is_ignored_with_its_reason(
    card: str, word: str, packed: bytes, other: Machine
) -> None:
    other.add(packed)
    line = other.use(card)
    assert line.startswith(f"cold start: the warm layer is ignored: it was made for another: {word}")
    assert CARD in line
    assert "\n" not in line
    assert other.kept() == {}


def test_a_layer_of_another_plan_or_shape_is_ignored(
    packed: bytes, warm: Any, tmp_path: Path, catalog: Catalog, other: Machine
) -> None:
    longer = Machine(tmp_path / "longer", warm, catalog, context=4096)
    longer.add(packed)
    assert "max model len '40960' there, '4096' here" in longer.use()
    other.add(packed)
    other.config.write_text('{"hidden_size": 9}')
    assert "ignored: it was made for another: shape" in other.use()
    other.config.write_text('{"transformers_version": "6.0", "hidden_size": 8}')
    assert other.use().startswith("warm start"), "who wrote config.json and in which order changes nothing"


def rewritten(layer: Path, change: Callable[[str], str]) -> None:
    path = layer / "key.json"
    path.write_text(change(path.read_text()))


def with_files(files: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), "files": files})


def to_a_file(layer: Path) -> None:
    shutil.rmtree(layer)
    layer.write_text("")


FIRST = "cache/" + next(iter(FILES))
BROKEN: dict[str, Callable[[Path], object]] = {
    "another byte": lambda layer: (layer / FIRST).write_bytes(b"Compiled " * 5000),
    "a byte short": lambda layer: (layer / FIRST).write_bytes((b"compiled " * 5000)[:-1]),
    "a file gone": lambda layer: (layer / FIRST).unlink(),
    "no key": lambda layer: (layer / "key.json").unlink(),
    "half a key": lambda layer: rewritten(layer, lambda text: text[: len(text) // 2]),
    "out of the cache": lambda layer: rewritten(layer, lambda text: text.replace("triton/AB/", "triton/../../AB/")),
    "a private folder": lambda layer: rewritten(layer, lambda text: text.replace("triton/AB/", "elsewhere/AB/")),
    "files as a list": lambda layer: rewritten(layer, with_files([1])),
    "files without rows": lambda layer: rewritten(layer, with_files({"triton/a": 1})),
    "a key that is a list": lambda layer: rewritten(layer, lambda text: json.dumps({**json.loads(text), "key": []})),
    "a file for a folder": to_a_file,
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_layer_lays_nothing_and_ends_nothing(how: str, packed: bytes, other: Machine) -> None:
    other.add(packed)
    BROKEN[how](other.layer)
    line = other.use()
    assert line.startswith("cold start: the warm layer is ignored: ")
    assert "\n" not in line
    assert other.kept() == {}
    assert not (other.cache / ".weighbridge-warm.part").exists()
    other.compile()
    assert other.use().startswith("warm start: compiled before, kept in the cache: the warm layer is ignored")


def test_what_a_killed_start_left_aside_is_no_hindrance(packed: bytes, other: Machine) -> None:
    other.add(packed)
    half = other.cache / ".weighbridge-warm.part" / next(iter(FILES))
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    assert other.use().startswith("warm start")
    assert other.kept() == FILES


def test_many_starts_at_once_lay_one_whole_layer(packed: bytes, other: Machine) -> None:
    other.add(packed)
    lines: list[str] = []
    threads = [threading.Thread(target=lambda: lines.append(other.use())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([x for x in lines if "files, " in x]) == 1
    assert len([x for x in lines if x == "warm start: from the image, laid before"]) == 7
    assert other.kept() == FILES


def test_a_cache_that_cannot_be_written_is_a_cold_start(packed: bytes, other: Machine, tmp_path: Path) -> None:
    other.add(packed)
    (tmp_path / "file").write_text("")
    other.wanted["cache"] = str(tmp_path / "file")
    assert other.use().startswith("cold start: ")


def test_nothing_is_packed_of_an_empty_cache_an_unknown_card_or_another_plan(warm: Any, other: Machine) -> None:
    with pytest.raises(warm.Unfit, match="which card"):
        other.pack()
    with pytest.raises(warm.Unfit, match="holds nothing"):
        other.pack(CARD)
    other.compile()
    other.use()
    other.wanted["key"]["dtype"] = "float16"
    with pytest.raises(warm.Unfit, match="another plan: dtype"):
        other.pack()


def test_by_hand_it_is_two_lines(packed: bytes, other: Machine, tmp_path: Path) -> None:
    """The program as the entrypoint and a person call it."""
    opt = other.layer.parent
    opt.mkdir()
    for name in ("warm.py", "checks.py"):
        (opt / name).write_bytes((ROOT / "images/_shared/gateway" / name).read_bytes())

    def call(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, str(opt / "warm.py"), *words], capture_output=True, check=False)

    assert call("use", CARD).returncode == 0, "without warm.json there is nothing to say"
    (opt / "warm.json").write_text(json.dumps(other.wanted))
    assert call("pack").returncode == 1
    other.compile()
    given = call("pack", "--cache", str(other.cache), "--card", CARD)
    assert given.returncode == 0
    other.add(given.stdout)
    assert call("use", CARD).stderr.decode().startswith("weighbridge: warm start: 5 files")
    assert call("nonsense").returncode == 1


# --- the tar, as the host reads it


def test_the_host_reads_what_a_container_packs(packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "layer.tar"
    path.write_bytes(packed)
    manifest, digest = read_layer(path, "it")
    assert manifest.card == CARD
    assert set(manifest.files) == set(FILES)
    assert manifest.made == "1970-01-01T00:16:44Z", "the newest file's time"
    assert len(digest) == 64
    assert sum(folders_of(manifest).values()) == manifest.size_bytes == sum(map(len, FILES.values()))


NONE = b'{"format": 1, "key": {}, "made": "x", "files": {}}'


def tar_of(members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def folder_of(name: str) -> bytes:
    return tar_of({"warm": b"", name: b""}, tarfile.DIRTYPE)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no whole tar"),
        (b"x" * 2000, "no whole tar"),
        (tar_of({}), "key.json cannot be read"),
        (tar_of({"warm/cache/../../etc/passwd": b"x"}), "does not belong"),
        (tar_of({"etc/passwd": b"x"}), "does not belong"),
        (tar_of({"warm/cache/link": b""}, tarfile.SYMTYPE), "does not belong"),
        (folder_of("warm/../"), "warm/.. does not belong"),
        (folder_of("warm/cache/../../../etc"), "does not belong"),
        (folder_of("warm/other"), "does not belong"),
        (tar_of({"warm/key.json": NONE.replace(b"1", b"2")}), "format 2"),
        (tar_of({"warm/key.json": NONE, "warm/cache/a": b"x"}), "a is"),
    ],
)  # fmt: skip
def test_a_tar_that_is_no_layer_is_refused(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "layer.tar"
    path.write_bytes(content)
    with pytest.raises(BadFile, match="it: ") as caught:
        read_layer(path, "it")
    assert word in caught.value.message


def test_a_tar_that_was_cut_off_or_changed_is_refused(packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "layer.tar"
    for content in (packed[: len(packed) // 2], packed.replace(b"cubin\0", b"Cubin\0")):
        path.write_bytes(content)
        with pytest.raises(BadFile):
            read_layer(path, "it")


# --- the verb and the report


def test_an_engine_that_keeps_nothing_is_refused(inv: Any) -> None:
    said = inv("warm", "--profile", "910b-64g-x1", "--engine", "mindie", "--model", "deepseek-r1-distill-qwen-7b",
               "--dry-run")  # fmt: skip
    assert said.code == 2
    assert "keeps nothing that it compiles" in said.err


def test_a_dry_run_says_what_it_would_be_made_for(inv: Any) -> None:
    said = inv("warm", "--profile", "h100-80g-x1", "--model", "qwen3-8b", "--dry-run")
    assert said.code == 0
    assert "would run vllm once" in said.out
    assert "max_model_len: 40960" in said.out
    found = inv("warm", "--profile", "h100-80g-x1", "--model", "qwen3-8b", "--dry-run", "--json").data
    assert found["key"]["tensor_parallel"] == "1"
    assert found["layer"] is None


def test_two_ways_at_once_are_refused(inv: Any) -> None:
    said = inv("warm", "--export", "a.tar", "--import", "b.tar")
    assert said.code == 2
    assert "two ways" in said.err


def test_a_file_that_cannot_be_written_is_said_before_the_work(inv: Any, tmp_path: Path) -> None:
    said = inv("warm", "--export", str(tmp_path), "--dry-run")
    assert said.code == 2
    assert "is a folder, not a file" in said.err


def test_the_report_of_a_start_says_whether_it_was_warm(catalog: Catalog) -> None:
    lines = [
        (0.4, "weighbridge: 1 key and 1 key for metrics"),
        (0.5, "weighbridge: warm start: 5 files, from the image"),
        (3.0, "INFO non-default args: {}"),
    ]
    start = start_of(lines, catalog.engine("vllm").startup)
    assert start.how == "warm start: 5 files, from the image"
    assert [t.seconds for t in start.phases] == [3.0]
    assert start_text("it", start).startswith("it: warm start: 5 files")
    assert start_of(lines[2:], catalog.engine("vllm").startup).how is None


def test_a_run_that_is_for_its_cache_alone_is_nobodys_appliance(catalog: Catalog) -> None:
    """It has a mark, and its cache a name that no appliance can have."""
    spec = spec_of(plan_for(catalog, "cpu", "weighbridge-demo"), catalog, name="a-warm", reach=Reach(keys="/k/keys"))
    own = for_its_cache(spec, "sha256:1")
    assert own.labels["io.weighbridge.for"] == "warm"
    assert "io.weighbridge.for" not in spec.labels
    assert own.labels["io.weighbridge.spec"] != spec.labels["io.weighbridge.spec"], "a user's is never joined"
    assert own.image == "sha256:1"
    assert list(own.volumes.values()) == list(spec.volumes.values())
    with pytest.raises(BadValue):
        read_name(next(iter(own.volumes)).removeprefix("weighbridge-cache-"))


def test_one_warming_of_one_name_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path / "a", "a-warm"):
        with pytest.raises(HostError, match="another command warms a-warm"), alone(tmp_path / "a", "a-warm"):
            pass
        with alone(tmp_path / "b", "b-warm"):
            pass
    with alone(tmp_path / "a", "a-warm"):
        pass
