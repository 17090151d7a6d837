"""An engine that answers at once: numbered tokens over the socket of the plan. For tests of the gateway."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

SOCKET = json.loads(Path("/opt/weighbridge/plan.json").read_bytes())["gateway"]["socket"]
METRICS = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="secret-{name}\\""} 3.0
vllm:num_requests_running_total 4.0
vllm:num_requests_waiting{engine="0"} 1.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:generation_tokens_total{engine="0"} 12345.0
vllm:cache_config_info{block_size="16",cache_dtype="secret",num_gpu_blocks="4096"} 1.0
vllm:e2e_request_latency_seconds_sum{engine="0"} 17.5
process_resident_memory_bytes 1.2e+09
"""
PAUSE = float(os.environ.get("STUB_PAUSE", "0.02"))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length") or 0))
        try:
            asked = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            asked = None
        if lines[0].startswith("HEAD "):  # as engines do that declare GET alone
            await whole(writer, "405 Method Not Allowed", {"detail": "Method Not Allowed"})
        elif lines[0].startswith("GET /metrics "):
            await whole(writer, "200 OK", METRICS)
        elif not isinstance(asked, dict):
            await whole(writer, "400 Bad Request", {"error": {"message": "not JSON"}})
        elif asked.get("stream"):
            await stream(writer, int(asked.get("max_tokens") or 20))
        else:
            await whole(writer, "200 OK", {"reached": lines[0], "headers": headers, "bytes": len(body)})
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def whole(writer: asyncio.StreamWriter, status: str, found: object) -> None:
    content = found.encode() if isinstance(found, str) else json.dumps(found).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nAccess-Control-Allow-Origin: *\r\n"
    writer.write(f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content)
    await writer.drain()


async def stream(writer: asyncio.StreamWriter, tokens: int) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n")
    writer.write(b"Connection: close\r\n\r\n")
    for text in [*map(str, range(tokens)), "[DONE]"]:
        event = f"data: {text}\n\n".encode()
        writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        await writer.drain()
        await asyncio.sleep(PAUSE)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def main() -> None:
    async with await asyncio.start_unix_server(answer, SOCKET, backlog=1024) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
