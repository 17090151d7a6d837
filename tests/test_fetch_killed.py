"""fetch killed, interrupted, and out of disk: what came stays, no half model is seen, the same command goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fetch_bench import Bench, files_are_right
from hub_stub import NEEDED, REPOSITORY, model_files
from support import ROOT

from weighbridge.effects.hashing import Digests
from weighbridge.effects.store import Store
from weighbridge.effects.verify import verify
from weighbridge.errors import HostError
from weighbridge.lock import LOCK_NAME

JOBS = 2
IN_FLIGHT = 256 << 10  # bytes of one connection that were sent and not yet written when a process dies: the chunk


def command(bench: Bench, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **bench.environment, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "0"}
    line = [sys.executable, "-m", "weighbridge", "fetch", "--repo", REPOSITORY, "--endpoint", bench.hub.endpoint]
    line += ["--jobs", str(JOBS), *words]
    return subprocess.Popen(
        line, cwd=bench.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("kills", "shard_bytes"), [(4, 2_000_000), pytest.param(20, 8_000_000, marks=pytest.mark.live)]
)
def test_killed_at_random_bytes_the_same_command_ends_it(bench: Bench, kills: int, shard_bytes: int) -> None:
    hub, chance = bench.hub, random.Random(kills)  # noqa: S311
    hub.files, hub.rate_bytes = model_files(shard_bytes), 20_000_000
    needed = sum(len(hub.files[n]) for n in NEEDED)
    for point in sorted(chance.randrange(needed + needed // 20) for _ in range(kills)):
        process = command(bench)
        while hub.total_sent < point and process.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        process.kill()
        process.communicate()
        assert not bench.model().exists() or (bench.model() / LOCK_NAME).is_file()
        sizes = {len(content) for content in hub.files.values()}
        assert all(p.stat().st_size in sizes for p in bench.store.glob(".blobs/sha256/*"))
    last = command(bench)
    _, said = last.communicate(timeout=60)
    assert last.returncode == 0, said
    files_are_right(bench)
    lock = Store(bench.store).lock_of("some-model")
    assert verify(bench.model(), "some-model", lock, Digests(None), print, quick=False).ok
    twice = hub.total_sent - needed
    print(f"{kills} kills, {needed} bytes needed, {twice} bytes came twice")
    assert twice <= kills * JOBS * IN_FLIGHT
    assert {p.name for p in bench.store.iterdir()} == {".blobs", "some-model"}
    assert not list((bench.store / ".blobs" / "parts").iterdir())


def test_ctrl_c_says_what_is_kept_and_goes_on_from_there(bench: Bench) -> None:
    bench.hub.rate_bytes = 200_000
    process = command(bench)
    while bench.hub.total_sent < 150_000:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "are kept; the same command goes on from there" in said
    assert "Traceback" not in said
    assert not bench.model().exists()
    before, bench.hub.rate_bytes = bench.hub.total_sent, None
    bench.fetch(endpoint=bench.hub.endpoint)
    files_are_right(bench)
    needed = sum(len(bench.hub.files[n]) for n in NEEDED)
    assert bench.hub.total_sent - needed <= JOBS * IN_FLIGHT
    assert bench.hub.total_sent - before < needed


def test_two_fetches_at_once_bring_everything_once(bench: Bench) -> None:
    bench.hub.rate_bytes = 2_000_000
    both = [command(bench), command(bench)]
    ends = [p.communicate(timeout=60) for p in both]
    assert [p.returncode for p in both] == [0, 0], ends
    files_are_right(bench)
    shards = [n for n in NEEDED if n.endswith(".safetensors")]
    assert {n: bench.hub.sent[n] for n in shards} == {n: len(bench.hub.files[n]) for n in shards}


# --- out of disk -----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Four mebibytes of disk, as root only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk of its own: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


def test_too_small_a_disk_is_said_before_the_first_byte(bench: Bench, small_disk: Path) -> None:
    bench.environment["WEIGHBRIDGE_STORE"] = str(small_disk / "store")
    with pytest.raises(HostError, match=r"needs \d+\.\d MiB more, 4\.0 MiB are free") as e:
        bench.fetch()
    assert "WEIGHBRIDGE_STORE=FOLDER invoke fetch" in e.value.hint
    assert bench.hub.total_sent == 0
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_others_fill_meanwhile(bench: Bench, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check finds room, the writes do not: nothing half is seen, and with room again nothing is fetched twice."""
    bench.hub.files = model_files(2_000_000)
    bench.store = small_disk / "store"
    bench.environment["WEIGHBRIDGE_STORE"] = str(bench.store)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "free_bytes", lambda _: 1 << 40)
        with pytest.raises(HostError, match=r"needs \d+\.\d MiB more"):
            bench.fetch()
    assert not bench.model().exists()
    assert not list(bench.store.glob(".new-*"))
    resize(small_disk, "64m")
    bench.fetch()
    files_are_right(bench)
    needed = sum(len(bench.hub.files[n]) for n in NEEDED)
    assert bench.hub.total_sent - needed <= 4 * (1 << 20)


def test_a_store_that_may_not_be_written(bench: Bench) -> None:
    (bench.folder / "file").write_text("x")
    bench.environment["WEIGHBRIDGE_STORE"] = str(bench.folder / "file" / "store")
    with pytest.raises(HostError, match="Not a directory") as e:
        bench.fetch()
    assert e.value.hint == "WEIGHBRIDGE_STORE=FOLDER names another place"
