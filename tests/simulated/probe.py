"""Runs in the container, under its own user and limits: what arrived, as JSON."""

import contextlib
import glob
import json
import os
import resource
import stat
import subprocess
from pathlib import Path

STATUS = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
PLAIN = {"console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
         "urandom", "zero", "core"}  # fmt: skip
FOLDERS = ("/", "/etc", "/opt", "/tmp", "/run/weighbridge", "/run/bodies", "/var/cache/weighbridge")


def usable(path: str) -> bool:
    """Whether this user can open a node to read and write."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDWR))
        return True
    return False


def writable(path: str) -> bool:
    with contextlib.suppress(OSError):
        os.close(os.open(f"{path}/.probe", os.O_CREAT | os.O_WRONLY))
        return True
    return False


def output(*words: str) -> str:
    with contextlib.suppress(OSError):
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return ""


found = [p for p in glob.glob("/dev/**", recursive=True) if p.split("/")[2:3] and p.split("/")[2] not in PLAIN]
nodes = sorted(p for p in found if stat.S_ISCHR(os.stat(p).st_mode))
mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
    "nodes": nodes, "usable": [n for n in nodes if usable(n)],
    "mounts": {m[4]: "ro" if "ro" in m[5].split(",") else "rw" for m in mounts},
    "written": [p for p in FOLDERS if writable(p)],
    "shm_mib": os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize // 2**20,
    "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0], "stack": resource.getrlimit(resource.RLIMIT_STACK)[0],
    "capabilities": int(STATUS["CapEff"], 16) | int(STATUS["CapBnd"], 16), "no_new_privileges": STATUS["NoNewPrivs"],
    "environment": dict(os.environ), "cards": output("nvidia-smi", "-L").count("GPU "),
}))  # fmt: skip
