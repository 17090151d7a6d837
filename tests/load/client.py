"""Streams over plain sockets: how long to the first token, and whether every token came. Runs in the container too."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

PATH = "/v1/chat/completions"


class Got(NamedTuple):
    """One stream: its status, seconds to the first token, and whether it was whole."""

    status: int
    first: float
    whole: bool


async def closed(writer: asyncio.StreamWriter) -> None:
    """A connection that leaves nothing open, however it went."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def ask(where: str | tuple[str, int], key: str, tokens: int = 20) -> Got:
    """One stream of numbered tokens, read to its end. `where` is a socket's path, or a host and port."""
    body = json.dumps({"stream": True, "max_tokens": tokens}).encode()
    began = time.perf_counter()
    opened = asyncio.open_unix_connection(where) if isinstance(where, str) else asyncio.open_connection(*where)
    reader, writer = await opened
    try:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        status = int((await reader.readline()).split()[1])
        await reader.readuntil(b"data: " if status == 200 else b"\r\n\r\n")
        first = time.perf_counter() - began
        rest = b"data: " + await reader.read(-1)
    finally:
        await closed(writer)
    said = [line[6:] for line in rest.decode().split("\n") if line.startswith("data: ")]
    return Got(status, first, [t.strip() for t in said] == [*map(str, range(tokens)), "[DONE]"])


async def pairs(socket: str, port: int, key: str, count: int) -> dict[str, float]:
    """Medians of the time to the first token, direct and through the gateway in turn, and of their difference."""
    rows = []
    for number in range(count):
        ways: list[str | tuple[str, int]] = [socket, ("127.0.0.1", port)]
        first = {i: (await ask(ways[i], key, 1)).first for i in ((0, 1) if number % 2 else (1, 0))}
        rows.append((first[0] * 1000, first[1] * 1000))
        await asyncio.sleep(0.02)
    return {
        "direct_ms": round(median(r[0] for r in rows), 3),
        "gateway_ms": round(median(r[1] for r in rows), 3),
        "added_ms": round(median(r[1] - r[0] for r in rows), 3),
        "pairs": len(rows),
    }


if __name__ == "__main__":  # in the container; the key comes over standard input
    plan = json.loads(Path("/opt/weighbridge/plan.json").read_bytes())
    found = asyncio.run(pairs(plan["gateway"]["socket"], plan["port"], sys.stdin.readline().strip(), int(sys.argv[1])))
    print(json.dumps(found))
