"""64 clients stream through the gateway of a real image: is a stream lost, what does the gateway add, does it grow?

    make load SECONDS=300

The engine is tests/load/stub.py, so that the gateway is measured and not a model. On the way one of two keys is
revoked; at the end the container is told to stop while clients are in the middle of their streams. Exit code 1 when a
promise fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from client import ask, closed

from weighbridge.effects.keyring import Keyring

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CLIENTS = 64
MOST_ADDED_MS = 3.0


def docker(*words: str, feed: str | None = None) -> str:
    return subprocess.run(["docker", *words], input=feed, capture_output=True, text=True, check=True).stdout


@contextmanager
def appliance(
    name: str, home: Path, *more: str, uid: str | None = None, restart: str | None = None, text: str | None = None,
    bodies: str = "size=1024m",
) -> Iterator[tuple[Keyring, int]]:  # fmt: skip
    """The rendered container with the stub for an engine; its keys, and the port it is published on.

    `more` are flags of `invoke run`; `uid`, `restart` and `bodies` (the size of their tmpfs) stand in for what is
    rendered, `text` for the key file's.
    """
    ring = Keyring(home / "weighbridge" / name)
    ring.ensure()
    if text is not None:
        ring.file.write_text(text)
    environment = {**os.environ, "XDG_CONFIG_HOME": str(home)}
    invoke = [str(Path(sys.executable).with_name("invoke"))]
    subprocess.run([*invoke, "build"], cwd=ROOT, check=True, capture_output=True)
    line = [*invoke, "run", "--print", "docker", "--name", name, "--port", "0"]
    said = subprocess.run([*line, *more], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    words = [w.replace("size=1024m", bodies) if w.startswith("/run/bodies:") else w
             for w in shlex.split(said.replace("\\\n", " "), comments=True)]  # fmt: skip
    for flag, value in (("--user", uid), ("--restart", restart)):
        if value:
            words[words.index(flag) + 1] = value
    stub = [
        "--mount", f"type=bind,source={HERE / 'entrypoint.sh'},target=/opt/weighbridge/entrypoint.sh,readonly",
        "--mount", f"type=bind,source={HERE},target=/tmp/load,readonly",
    ]  # fmt: skip
    subprocess.run([*words[:-1], *stub, words[-1]], check=True, capture_output=True)
    try:
        address, port, _ = words[words.index("--publish") + 1].rsplit(":", 2)
        asyncio.run(ready(name, address.strip("[]"), int(port)))
        yield ring, int(port)
    except TimeoutError:
        done = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=False)
        raise SystemExit(done.stderr) from None
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=False, capture_output=True)


async def ready(name: str, address: str, port: int) -> None:
    """Until something answers in HTTP and the first token is there. TimeoutError when the container dies."""
    secure = None
    async with asyncio.timeout(60):
        while True:
            try:
                reader, writer = await asyncio.open_connection(address, port, ssl=secure)
                try:
                    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    status = (await reader.readline()).split()
                finally:
                    await closed(writer)
                if status[1:2] == [b"200"]:
                    return
                if status[1:2] == [b"400"]:  # it speaks TLS
                    secure = ssl._create_unverified_context()  # noqa: S323
            except OSError:
                pass
            if docker("inspect", "--format", "{{.State.Running}}", name).strip() != "true":
                raise TimeoutError
            await asyncio.sleep(0.2)


def gateway_kib(name: str) -> int:
    """Proportional memory of nginx in the container, KiB; what workers share is counted once."""
    script = (
        "for p in /proc/[0-9]*; do grep -qs nginx $p/cmdline && cat $p/smaps_rollup 2>/dev/null; done"
        " | awk '/^Pss:/ { sum += $2 } END { print sum + 0 }'"
    )
    return int(docker("exec", name, "sh", "-c", script).strip() or 0)


class Load:
    """What the clients saw, by the name of their key."""

    def __init__(self, port: int, seconds: float) -> None:
        self.port, self.until = port, time.monotonic() + seconds
        self.seen: Counter[str] = Counter()
        self.stopping = False
        self.last_guest = 0.0

    async def client(self, who: str, key: str) -> None:
        while time.monotonic() < self.until or not self.stopping:
            began = time.monotonic()
            try:
                got = await ask(("127.0.0.1", self.port), key, 40)
            except (OSError, asyncio.IncompleteReadError, IndexError):
                # after the stop nothing listens any more: a connection that was never answered carried no stream
                self.seen["refused after the stop" if self.stopping else "lost"] += 1
                if self.stopping:
                    return
                continue
            self.count(who, got.status, got.whole, began)
            if got.status != 200:
                await asyncio.sleep(0.5)
            if self.stopping:
                return

    def count(self, who: str, status: int, whole: bool, began: float) -> None:
        if status == 200:
            self.seen[f"{who}: whole" if whole else "truncated"] += 1
            if who == "guest":
                self.last_guest = max(self.last_guest, began)
        else:
            self.seen[f"{who}: {status}"] += 1


async def drive(name: str, ring: Keyring, port: int, seconds: float) -> dict[str, Any]:
    owner, guest = ring.own.read_text().strip() if ring.own else "", ring.add("guest", "api").value
    await asyncio.sleep(2.5)  # the gateway looks at its keys every second
    load = Load(port, seconds)
    tasks = [
        asyncio.create_task(load.client("guest" if i % 2 else "owner", guest if i % 2 else owner))
        for i in range(CLIENTS)
    ]
    await asyncio.sleep(min(5, seconds / 4))
    before = await asyncio.to_thread(gateway_kib, name)
    count = str(int(max(50, seconds * 4)))
    added = json.loads(await asyncio.to_thread(
        docker, "exec", "-i", name, "python3", "/tmp/load/client.py", count, feed=owner + "\n"
    ))  # fmt: skip
    await asyncio.sleep(max(0, load.until - time.monotonic() - seconds / 3))
    await asyncio.to_thread(ring.revoke, "guest")
    revoked = time.monotonic()
    await asyncio.sleep(max(4, load.until - time.monotonic()))
    after = await asyncio.to_thread(gateway_kib, name)
    load.stopping = True
    await asyncio.to_thread(docker, "stop", "--time", "30", name)
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    return {
        "clients": CLIENTS, "seconds": seconds, "seen": dict(sorted(load.seen.items())), **added,
        "gateway_kib": [before, after], "revoked_key_worked_for_s": round(max(0, load.last_guest - revoked), 2),
        "exit_code": int(docker("inspect", "--format", "{{.State.ExitCode}}", name)),
    }  # fmt: skip


def broken(found: dict[str, Any]) -> list[str]:
    """The promises that do not hold."""
    seen = found["seen"]
    promises = {
        "no stream is lost": not seen.get("lost") and not seen.get("truncated"),
        "streams ran": seen.get("owner: whole", 0) >= CLIENTS,
        f"the gateway adds less than {MOST_ADDED_MS} ms": found["added_ms"] < MOST_ADDED_MS,
        "the other key was not disturbed": set(seen) <= {"owner: whole", "owner: 503", "guest: whole", "guest: 401",
                                                         "guest: 503", "refused after the stop"},
        "a revoked key ends within 2 s": found["revoked_key_worked_for_s"] < 2 and seen.get("guest: 401", 0) > 0,
        "memory is flat": found["gateway_kib"][1] < found["gateway_kib"][0] * 1.5 + 8192,
        "it stops with 0": found["exit_code"] == 0,
    }  # fmt: skip
    return [name for name, held in promises.items() if not held]


def measure(name: str, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="weighbridge-load-") as home, appliance(name, Path(home)) as (ring, port):
        return asyncio.run(drive(name, ring, port, seconds))


if __name__ == "__main__":
    report = measure("weighbridge-load", float(sys.argv[1] if len(sys.argv) > 1 else 300))
    print(json.dumps(report, indent=2))
    for promise in broken(report):
        print(f"broken: {promise}", file=sys.stderr)
    sys.exit(1 if broken(report) else 0)
