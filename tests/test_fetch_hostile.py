"""Hubs that lie, drip, break off and send elsewhere: each time the right files, or an error of two lines."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fetch_bench import QUICK, Bench, files_are_right
from hub_stub import NEEDED, Handler, StubHub

from weighbridge.effects.web import _redirect
from weighbridge.errors import Failed, HostError

SHARD = NEEDED[6]
HASTY = dataclasses.replace(
    QUICK, read_seconds=0.4, window_seconds=0.3, window_bytes=1000, answer_seconds=0.6, answer_bytes=12 << 20
)


def fails(bench: Bench, *says: str, **flags: Any) -> HostError:
    """A fetch that fails in two plain lines, and leaves no model."""
    with pytest.raises(Failed) as e:
        bench.fetch(**flags)
    assert isinstance(e.value, HostError)
    for line in (e.value.message, e.value.hint):
        assert line
        assert "\n" not in line
        assert len(line) < 500
    for said in says:
        assert said in e.value.message
    assert not bench.model().exists()
    assert not list(bench.store.glob(".new-*"))
    return e.value


def for_shard(act: Callable[[Handler, bytes, int, int], bool]) -> Callable[[Handler, str, bytes, int], bool]:
    """A fault of one file alone; `act` also hears how often it was asked before."""
    times = [0]

    def fault(handler: Handler, name: str, content: bytes, start: int) -> bool:
        if name != SHARD:
            return False
        times[0] += 1
        return act(handler, content, start, times[0] - 1)

    return fault


# --- storage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["hf", "modelscope"])
def test_wrong_bytes_of_the_right_length(bench: Bench, source: str) -> None:
    wrong = bytes(len(bench.hub.files[SHARD]))

    def lie(handler: Handler, content: bytes, start: int, _: int) -> bool:
        handler.head(200, len(content))
        handler.body(SHARD, wrong)
        return True

    bench.hub.fault = for_shard(lie)
    expected, found = (hashlib.sha256(c).hexdigest() for c in (bench.hub.files[SHARD], wrong))
    error = fails(bench, SHARD, expected, found, source=source)
    assert [str(p) in error.hint for p in (bench.store / ".quarantine").iterdir()] == [True]
    bench.hub.fault = None
    bench.fetch(source=source)
    files_are_right(bench)


def test_a_small_file_that_is_not_the_one_of_the_commit(bench: Bench) -> None:
    """Files outside LFS have no sha256 in the listing: git's own name for them is the check."""

    def lie(handler: Handler, name: str, content: bytes, _: int) -> bool:
        if name != "config.json":
            return False
        handler.plain(200, bytes(len(content)))
        return True

    bench.hub.fault = lie
    fails(bench, "config.json", "expected git object")


def test_a_connection_that_breaks_off_is_resumed_at_its_byte(bench: Bench) -> None:
    def broken(handler: Handler, content: bytes, start: int, before: int) -> bool:
        if before >= 4:
            return False
        handler.head(206 if start else 200, len(content) - start, _span(content, start))
        handler.body(SHARD, content[start : start + 50_000])
        handler.close_connection = True
        return True

    bench.hub.fault = for_shard(broken)
    bench.fetch()
    files_are_right(bench)
    assert bench.hub.sent[SHARD] == len(bench.hub.files[SHARD])


def _span(content: bytes, start: int) -> dict[str, str]:
    return {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}


def test_a_file_that_always_ends_early(bench: Bench) -> None:
    def short(handler: Handler, content: bytes, start: int, _: int) -> bool:
        part = content[start:50_000]
        handler.head(206 if start else 200, len(part), _span(content, start))
        handler.body(SHARD, part)
        return True

    bench.hub.fault = for_shard(short)
    fails(bench, f"ends after 50000 of {len(bench.hub.files[SHARD])} bytes, 3 times")


def test_a_file_that_does_not_end(bench: Bench) -> None:
    def endless(handler: Handler, content: bytes, start: int, _: int) -> bool:
        handler.head(200, 1 << 40)
        handler.body(SHARD, content)
        while True:
            handler.wfile.write(bytes(64 << 10))

    bench.hub.fault = for_shard(endless)
    fails(bench, f"{SHARD} has more than the {len(bench.hub.files[SHARD])} bytes that were said")


def test_a_server_that_ignores_ranges(bench: Bench) -> None:
    def whole(handler: Handler, content: bytes, start: int, before: int) -> bool:
        handler.head(200, len(content))
        handler.body(SHARD, content if before else content[:100_000])
        handler.close_connection = True
        return True

    bench.hub.fault = for_shard(whole)
    bench.fetch()
    files_are_right(bench)


@pytest.mark.parametrize("span", ["bytes 0-9/10", "bytes 7-99/100", "pages 1-2/3", ""])
def test_a_range_that_was_not_asked_for(bench: Bench, span: str) -> None:
    def other(handler: Handler, content: bytes, start: int, before: int) -> bool:
        if not before:
            handler.head(200, len(content))
            handler.body(SHARD, content[:100_000])
            handler.close_connection = True
        else:
            handler.plain(206, content[:100_000], {"Content-Range": span})
        return True

    bench.hub.fault = for_shard(other)
    fails(bench, "asked for bytes from 100000")


def test_too_many_requests_and_when_to_come_again(bench: Bench) -> None:
    moments: list[float] = []

    def busy(handler: Handler, content: bytes, start: int, before: int) -> bool:
        moments.append(time.monotonic())
        if before:
            return False
        handler.plain(429, b"slow down", {"Retry-After": "1"})
        return True

    bench.hub.fault = for_shard(busy)
    bench.fetch()
    files_are_right(bench)
    assert moments[1] - moments[0] >= 1
    assert any("answers 429; again in 1 s" in line for line in bench.said)


def test_too_many_requests_until_tomorrow(bench: Bench) -> None:
    bench.hub.api_fault = lambda handler: handler.plain(429, b"", {"Retry-After": "86400"})
    fails(bench, "answers 429, asks to wait 86400 s")


@pytest.mark.parametrize("value", ["-1", "soon", "9" * 400, "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_retry_after_that_makes_no_sense(bench: Bench, value: str) -> None:
    bench.hub.api_fault = lambda handler: handler.plain(503, b"", {"Retry-After": value})
    fails(bench, "answers 503")


def test_errors_of_the_server_that_pass(bench: Bench) -> None:
    def flaky(handler: Handler, content: bytes, start: int, before: int) -> bool:
        return before < 2 and handler.plain(500 + 3 * before, b"oops")

    bench.hub.fault = for_shard(flaky)
    bench.fetch()
    files_are_right(bench)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 418, 204])
def test_errors_of_the_server_that_stay(bench: Bench, status: int) -> None:
    bench.hub.fault = for_shard(lambda handler, *_: handler.plain(status, b""))
    fails(bench, f"answers {status}")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://x/", "http://", "/loop", "http://[", "//\x7f"])
def test_a_redirect_to_nowhere(bench: Bench, target: str) -> None:
    def away(handler: Handler, *_: object) -> bool:
        handler.plain(302, b"", {"Location": handler.path if target == "/loop" else target})
        return True

    bench.hub.fault = for_shard(away)
    fails(bench)


def test_no_redirect_leads_out_of_tls() -> None:
    with pytest.raises(HostError, match="redirects to http://, refused"):
        _redirect("https://hub/x", "http://hub/x")
    assert _redirect("https://hub/x", "/y") == "https://hub/y"


# --- dripping --------------------------------------------------------------------------------------------


def drip(handler: Handler, seconds: float = 6) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)
    return True


def test_storage_that_drips(bench: Bench) -> None:
    def slow(handler: Handler, content: bytes, start: int, _: int) -> bool:
        handler.head(200, len(content))
        return drip(handler)

    bench.hub.fault = for_shard(slow)
    begun = time.monotonic()
    fails(bench, "only", patience=HASTY)
    assert time.monotonic() - begun < 5


def test_an_api_that_drips(bench: Bench) -> None:
    def slow(handler: Handler) -> bool:
        handler.head(200, 1 << 20)
        return drip(handler)

    bench.hub.api_fault = slow
    begun = time.monotonic()
    fails(bench, "no whole answer in", patience=HASTY)
    assert time.monotonic() - begun < 5


def test_a_head_that_drips(bench: Bench) -> None:
    def slow(handler: Handler) -> bool:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        return drip(handler)

    bench.hub.api_fault = slow
    begun = time.monotonic()
    fails(bench, "3 times", patience=HASTY)
    assert time.monotonic() - begun < 5


def test_a_hub_that_says_nothing(bench: Bench) -> None:
    def silent(handler: Handler) -> bool:
        time.sleep(1.5)
        return True

    bench.hub.api_fault = silent
    fails(bench, "no answer in time, 3 times", patience=HASTY)


# --- listings --------------------------------------------------------------------------------------------


def changed(bench: Bench, change: Callable[[dict[str, Any]], object], source: str = "hf") -> None:
    listing = bench.hub.hf_listing() if source == "hf" else bench.hub.modelscope_listing()
    change(listing)
    bench.hub.api_fault = lambda handler: handler.json(listing) if _lists(handler) else False


def _lists(handler: Handler) -> bool:
    return "/revision/" in handler.path or "/repo/files" in handler.path


def add(**row: Any) -> Callable[[dict[str, Any]], object]:
    return lambda listing: listing["siblings"].append({"size": 5, "blobId": "a" * 40, **row})


def first(**row: Any) -> Callable[[dict[str, Any]], object]:
    return lambda listing: listing["siblings"][0].update(row)


LFS = {"size": 5, "pointerSize": 134}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (add(rfilename="../../evil.json"), "leads out of its folder"),
        (add(rfilename="/etc/cron.d/evil.json"), "leads out of its folder"),
        (add(rfilename="..\\evil.json"), "leads out of its folder"),
        (add(rfilename="a/../../evil.safetensors"), "leads out of its folder"),
        (add(rfilename="evil\n.json"), "leads out of its folder"),
        (add(rfilename=".."), "leads out of its folder"),
        (add(rfilename=""), "leads out of its folder"),
        (add(rfilename="config.json"), "lists a file twice"),
        (add(rfilename=None), "not an answer of a hub"),
        (add(rfilename=7), "not an answer of a hub"),
        (add(rfilename="x.json", size=None), "not an answer of a hub"),
        (add(rfilename="x.json", size="5"), "not an answer of a hub"),
        (add(rfilename="x.json", size=-5), "less than no bytes"),
        (add(rfilename="x.json", blobId="../../../etc/x"), "is no digest"),
        (add(rfilename="x.json", lfs={**LFS, "sha256": "../" * 21 + "x"}), "is no digest"),
        (add(rfilename="x.safetensors", lfs={**LFS, "size": 10**18, "sha256": "a" * 64}), "are free"),
        (add(rfilename="x.json", lfs={"oid": "1"}), "not an answer of a hub"),
        (lambda x: x.update(siblings=None), "no .safetensors among 0 files"),
        (lambda x: x.update(siblings="many"), "not an answer of a hub"),
        (lambda x: x.update(siblings=[s for s in x["siblings"] if "safet" not in s["rfilename"]]), "2 pickle files"),
        (lambda x: x.update(sha="../../main"), "not an answer of a hub"),
        (lambda x: x.clear(), "not an answer of a hub"),
    ],
)
def test_a_listing_that_lies(bench: Bench, change: Callable[[dict[str, Any]], object], says: str) -> None:
    changed(bench, change)
    fails(bench, says)
    assert bench.hub.total_sent == 0
    assert not list(bench.folder.glob("**/evil*"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x.update(Success=False, Message="model not found"), "model not found"),
        (lambda x: x.update(Data=None), "not an answer of ModelScope"),
        (lambda x: x["Data"].update(Files=[{"Type": "blob"}]), "not an answer of ModelScope"),
        (lambda x: x["Data"]["Files"][0].update(Path="../x.safetensors"), "leads out of its folder"),
        (lambda x: x["Data"]["Files"][0].update(Size="many"), "not an answer of ModelScope"),
    ],
)
def test_a_listing_of_modelscope_that_lies(
    bench: Bench,
    change: Callable[[dict[str, Any]], object],
    says: str,
) -> None:
    changed(bench, change, "modelscope")
    fails(bench, says, source="modelscope")


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"[" * 200_000, b"null", b"[]", b'"x"', b"\xff\xfe"])
def test_what_is_no_listing(bench: Bench, content: bytes) -> None:
    bench.hub.api_fault = lambda handler: handler.plain(200, content)
    fails(bench)
    fails(bench, source="modelscope")


def test_ten_megabytes_of_json_are_read(bench: Bench) -> None:
    row = {"size": 5, "blobId": "a" * 40}
    changed(bench, lambda x: x["siblings"].extend({"rfilename": f"step/{n:060}.bin", **row} for n in range(80_000)))
    assert len(json.dumps(bench.hub.hf_listing())) < 10_000
    bench.fetch(patience=dataclasses.replace(QUICK, read_seconds=10))
    files_are_right(bench)


def test_more_json_than_any_listing_has(bench: Bench) -> None:
    bench.hub.api_fault = lambda handler: handler.plain(200, b"[" + b"1," * (7 << 20))
    fails(
        bench, f"longer than {12 << 20} bytes", patience=dataclasses.replace(HASTY, answer_seconds=10, read_seconds=5)
    )


def test_an_index_that_names_what_is_not_there(bench: Bench) -> None:
    del bench.hub.files[NEEDED[7]]
    fails(bench, "1 of 3 shards is missing")


def test_weights_that_are_no_safetensors(bench: Bench) -> None:
    bench.hub.files[SHARD] = b"x" * 100_000
    fails(bench, SHARD, "its header cannot be read")


def test_a_pickle_under_another_name_is_never_asked_for(bench: Bench) -> None:
    bench.fetch()
    assert not [
        a.path for a in bench.hub.asked if any(x in a.path for x in (".bin", ".pth", "original", "onnx", ".py"))
    ]


def test_nothing_outside_the_store_is_written(tmp_path: Path) -> None:
    with StubHub() as found:
        one = Bench(tmp_path, found)
        one.fetch(endpoint=found.endpoint)
        assert {p.name for p in tmp_path.iterdir()} == {"store", "catalog"}
