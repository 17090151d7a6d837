"""One command, measured: wall time, CPU of the command and of the daemons that work for it, bytes, disk, memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.04


class Measured(NamedTuple):
    """Seconds and bytes. `wall` ends when the disk has everything; `peak` is extra disk at the worst moment."""

    wall: float
    cpu: float
    daemon_cpu: float
    read: int
    written: int
    daemon_read: int
    daemon_written: int
    peak: int
    rss: int


class Daemon(NamedTuple):
    """CPU seconds and bytes of a process since it began."""

    cpu: float
    read: int
    written: int


def daemon(pid: int) -> Daemon:
    """Of a process and its threads, as the kernel counts them; nothing for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except OSError:
        return Daemon(0.0, 0, 0)
    ticks = sum(int(fields[i]) for i in (11, 12, 13, 14))
    return Daemon(ticks / _TICKS, int(io["read_bytes"]), int(io["write_bytes"]))


def pids_of(*names: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() in names:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def measure(command: Sequence[str], disk: Path, daemons: Sequence[int], log: Path) -> Measured:
    """Run it. Raises CalledProcessError with what it wrote in `log`."""
    os.sync()
    before = [daemon(p) for p in daemons]
    free = lowest = _free(disk)
    over = threading.Event()

    def sample() -> None:
        nonlocal lowest
        while not over.wait(_SAMPLE_SECONDS):
            lowest = min(lowest, _free(disk))

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.monotonic()
    with log.open("ab") as out:
        process = subprocess.Popen(list(command), stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    os.sync()
    wall = time.monotonic() - started
    over.set()
    sampler.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command), log.read_bytes()[-2000:])
    spent = [(b.cpu - a.cpu, b.read - a.read, b.written - a.written)
             for a, b in zip(before, map(daemon, daemons), strict=True)]  # fmt: skip
    return Measured(
        wall=wall, cpu=usage.ru_utime + usage.ru_stime, daemon_cpu=sum(s[0] for s in spent),
        read=usage.ru_inblock * 512, written=usage.ru_oublock * 512, daemon_read=sum(s[1] for s in spent),
        daemon_written=sum(s[2] for s in spent), peak=free - min(lowest, _free(disk)), rss=usage.ru_maxrss * 1024,
    )  # fmt: skip


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bfree * found.f_frsize
