"""Does each question of the smoke contract notice what it was made for? A real server, wrong in one thing."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from misbehaving import CONTEXT, KEY, METRICS_KEY, SLOTS, Behaviour, serving
from support import ROOT

from weighbridge.catalog import Catalog
from weighbridge.effects.chat import Target
from weighbridge.effects.smoke import ASKS, smoke
from weighbridge.effects.smoke.load import told_apart
from weighbridge.effects.smoke.session import Skipped, Wrong
from weighbridge.effects.target import Given, target_of
from weighbridge.errors import BadFile, UnknownName
from weighbridge.facts import Expectation, SmokeFacts
from weighbridge.report import smoke_junit, smoke_text
from weighbridge.smoke import Contract, Metrics, read_contract, read_level
from weighbridge.smoke_report import compare_reports, compare_text, read_report, smoke_html
from weighbridge.types import Check, SmokeReport

FACTS = SmokeFacts(
    chat=Expectation(ask="What is the capital of France?", answer="Paris"),
    completion=Expectation(ask="The capital of France is", answer=" Paris."),
    unicode=Expectation(ask="法国的首都是哪里？", answer="巴黎"),
)


@pytest.fixture(scope="module")
def contract() -> Contract:
    """The real one, with short answers: what is asked stays as it is."""
    found = read_contract(Catalog(), "vllm")
    short = {"unbuffered": 60, "burst": 40, "cancel": 300}
    checks = {
        name: msgspec.structs.replace(q, body={**q.body, "max_tokens": short.get(name, q.body.get("max_tokens", 1))})
        if q.body and q.ask != "refused" and name != "large-body"
        else q
        for name, q in found.checks.items()
    }
    checks |= {n: msgspec.structs.replace(checks[n], body={**checks[n].body, "max_tokens": 100}) for n in JSON}
    checks["cancel"] = msgspec.structs.replace(checks["cancel"], seconds=0.2)
    checks["prefix-cache"] = msgspec.structs.replace(checks["prefix-cache"], seconds=0.2)
    metrics = Metrics(running="running", prefix_hits="hits_total")
    return msgspec.structs.replace(found, checks=checks, metrics=metrics, answer_seconds=5)


JSON = ("json-object", "json-schema")


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    with serving() as found:
        yield found


@pytest.fixture
def target(server: tuple[str, Behaviour], tmp_path: Path) -> Target:
    for name, key in (("key", KEY), ("metrics-key", METRICS_KEY)):
        (tmp_path / name).write_text(f"{key}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    return Target(
        url=server[0], model="demo", max_model_len=CONTEXT, reasoning=False, tools=False, facts=FACTS,
        key_file=tmp_path / "key", metrics_key=tmp_path / "metrics-key", metrics_path="/metrics", gateway=True,
        max_num_seqs=SLOTS, body_mib=1,
    )  # fmt: skip


def only(contract: Contract, *names: str) -> Contract:
    return msgspec.structs.replace(contract, checks={n: contract.checks[n] for n in names})


def ask(target: Target, contract: Contract, **more: Any) -> SmokeReport:
    return smoke(target, contract, level="full", say=lambda _: None, **more)


def test_a_server_that_does_all_rightly_passes_all_that_applies(target: Target, contract: Contract) -> None:
    found = {c.id: (c.ok, c.detail) for c in ask(target, contract).checks}
    assert {n: d for n, (ok, d) in found.items() if ok is False} == {}
    assert {n for n, (ok, _) in found.items() if ok is None} == {"reasoning", "tool-call"}
    assert list(found) == list(contract.checks)


def test_of_several_replicas_one_sees_a_prompt_again(
    server: tuple[str, Behaviour], target: Target, contract: Contract
) -> None:
    server[1].replicas = 3
    one = only(contract, "prefix-cache")
    assert not ask(target, one).ok, "asked as though one were there"
    assert ask(target._replace(replicas=3), one).ok
    server[1].caches = False
    (found,) = ask(target._replace(replicas=3), one).checks
    assert "did not grow when the same" in found.detail
    assert "4 times" in found.detail


def broken(**changes: Any) -> Callable[[Behaviour], None]:
    def change(it: Behaviour) -> None:
        for name, value in changes.items():
            setattr(it, name, value)

    return change


def says(ask: str, text: str) -> Callable[[Behaviour], None]:
    return lambda it: it.said.update({ask: text})


def taken(it: Behaviour) -> None:
    """Fewer run at a time than were planned."""
    for _ in range(SLOTS - 1):
        it.slots.acquire()


WRONG: list[tuple[str, Callable[[Behaviour], None], str | re.Pattern[str]]] = [
    ("stream", broken(one_id=False), "the chunks are of 7 answers"),
    ("stream", broken(ends=2), "2 chunks have a finish_reason"),
    ("stream", broken(ends=0), "0 chunks have a finish_reason"),
    ("completions", says("The capital of France is", " Rome."), "without ' Paris.'"),
    ("completions", says("The capital of France is", ""), "the text is empty"),
    ("completions", broken(finish=None), "finish_reason is None"),
    ("unicode", says("法国的首都是哪里？", "Paris"), "without '巴黎'"),
    ("unicode", says("法国的首都是哪里？", "巴黎\ufffd"), "a broken character"),
    ("unicode", broken(escapes_are_other_tokens=True), "as UTF-8"),
    ("deterministic", broken(changes_its_mind=True), "3 answers to the same question"),
    ("json-object", broken(json_text="Paris."), "no JSON"),
    ("json-object", broken(json_text="[1]"), "not an object"),
    ("json-object", broken(json_text='{"a": NaN}'), "NaN is no value"),
    ("json-object", broken(json_text='Here: {"a": 1}'), "no JSON"),
    ("json-object", broken(json_text="Paris.", finish="length"), "no JSON"),
    ("json-object", broken(json_text='{"a": Paris', finish="length"), "no JSON"),
    ("json-schema", broken(json_text='{"city": "Berlin", "capital": true}'), "city is 'Berlin', none of"),
    ("json-schema", broken(json_text='{"city": "Paris"}'), "capital is missing"),
    ("json-schema", broken(json_text='{"city": "Paris", "capital": "yes"}'), "capital is 'yes', no boolean"),
    ("json-schema", broken(json_text='{"city": "Paris", "capital": true, "x": 1}'), "x was not asked for"),
    ("unbuffered", broken(buffered_bytes=-1), "something holds the stream back"),
    ("unbuffered", broken(buffered_bytes=600), "clumps: something holds the stream back"),
    ("long-prompt", broken(context=256), "answers 400"),
    ("long-prompt", broken(length_slack=10_000), "beyond 512 tokens answers 200"),
    ("long-prompt", broken(counted=0), "usage counts no prompt tokens"),
    ("burst", taken, re.compile("^4 were asked at a time, [12] ran at a time, planned 4$")),  # 2 seen once, when busy
    ("cancel", broken(frees_slots=False), "running is still 1"),
    ("cancel", broken(shows_running=False), "running stays 0 while a stream is read"),
    ("prefix-cache", broken(caches=False), "hits_total did not grow"),
    ("no-key", broken(statuses={401: 200}), "answers 200, not 401"),
    ("no-key", broken(code="denied"), "error.code is 'denied', not 'invalid_api_key'"),
    ("wrong-key", broken(statuses={401: 403}), "answers 403, not 401"),
    ("key-for-metrics", broken(statuses={401: 200}), "answers 200, not 401"),
    ("no-such-path", broken(statuses={404: 502}), "answers 502, not 404"),
    ("no-such-path", broken(error=b"<html>"), "JSONDecodeError"),
    ("no-such-model", broken(statuses={404: 200}), "answers 200, not 404"),
    ("broken-json", broken(statuses={400: 500}), "answers 500, not 400"),
    ("broken-json", broken(error={"message": "no"}), "400 without error.message and error.type"),
    ("wrong-type", broken(statuses={400: 500}), "answers 500, not 400"),
    ("large-body", broken(statuses={413: 400}), "answers 400, not 413"),
    ("closed-paths", broken(open_paths={"/docs", "/sleep"}), "GET /docs answers 200, POST /sleep answers 400"),
]


@pytest.mark.parametrize(("check", "change", "detail"), WRONG)
def test_each_question_notices_what_it_is_for(
    check: str, change: Callable[[Behaviour], None], detail: str | re.Pattern[str],
    server: tuple[str, Behaviour], target: Target, contract: Contract,
) -> None:  # fmt: skip
    change(server[1])
    report = ask(target, only(contract, check))
    (found,) = report.checks
    assert found.ok is False
    assert detail in found.detail if isinstance(detail, str) else detail.search(found.detail), found.detail
    assert not report.ok


def moments(*clumps: int) -> list[float]:
    """Chunks that came in clumps of so many: every 3 ms one was made, and each clump came with its last."""
    made, found = 0, []
    for size in clumps:
        made += size
        found += [0.1 + 0.003 * made + 0.00001 * i for i in range(size)]
    return found


@pytest.mark.parametrize(
    "clumps",
    [
        (10,) * 20,
        (10,) * 10 + (1,) * 5 + (10,) * 10,  # a client that is late in the midst of some
        (1, 40) * 8,  # a first segment, and what was coalesced behind it
        (1, 200, 1, 1),
        (200,),
    ],
)
def test_a_buffer_is_told(clumps: tuple[int, ...]) -> None:
    with pytest.raises(Wrong, match="holds the stream back"):
        told_apart(moments(*clumps))


def test_a_busy_client_blames_nobody() -> None:
    assert "200 of them apart" in told_apart(moments(*(1,) * 200))
    with pytest.raises(Skipped, match="in 33 clumps, of which 30 are one chunk: this client is too busy to tell"):
        told_apart(moments(*(1,) * 20, 63, *(1,) * 10, 53, 54))
    with pytest.raises(Skipped, match="too few to tell"):
        told_apart(moments(*(1,) * 19))


def test_every_question_is_shown_to_fail(contract: Contract) -> None:
    """Here or in test_effects.py, which holds those of level quick."""
    assert {n for n, q in contract.checks.items() if q.level == "full"} <= {name for name, _, _ in WRONG}


def test_an_object_that_is_cut_proves_nothing(
    server: tuple[str, Behaviour], target: Target, contract: Contract
) -> None:
    server[1].finish = "length"
    for text in ('{"city": "Pa', '{"city": ', "{\n\n   ", '{"city": "Paris",'):
        server[1].json_text = text
        (found,) = ask(target, only(contract, "json-object")).checks
        assert found.ok is None, text
        assert "the object was cut at 100 tokens" in found.detail


def test_a_model_that_only_thinks_says_nothing_of_json(
    server: tuple[str, Behaviour], target: Target, contract: Contract
) -> None:
    server[1].thinks_instead, server[1].finish = True, "length"
    (found,) = ask(target, only(contract, "json-object")).checks
    assert (found.ok, "still thinking" in found.detail) == (None, True)


def test_an_engine_that_is_silent_is_not_asked_for_more(
    server: tuple[str, Behaviour], target: Target, contract: Contract
) -> None:
    """A dead engine behind a healthy port: one wait, and the gateway is still looked at."""
    server[1].dead = True
    found = {c.id: c for c in ask(target, msgspec.structs.replace(contract, answer_seconds=0.3)).checks}
    assert found["health"].ok
    assert found["chat"].ok is False
    assert "ReadTimeout" in found["chat"].detail
    assert found["burst"].detail == "skipped: chat had no answer in 0.3 s"
    assert found["no-key"].ok


def test_what_is_not_known_is_not_asked(target: Target, contract: Contract) -> None:
    plain = target._replace(gateway=False, metrics_path=None, max_num_seqs=None, max_model_len=None)
    report = ask(plain, contract)
    skipped = {c.id for c in report.checks if c.ok is None}
    assert {"closed", "no-key", "large-body", "cancel", "prefix-cache", "burst", "long-prompt"} <= skipped
    assert report.ok
    text = smoke_text(report)
    assert f"{len(report.checks) - len(skipped)} of {len(report.checks) - len(skipped)} checks passed, " in text
    suite = ElementTree.fromstring(smoke_junit(report))  # noqa: S314  our own text
    assert suite.get("skipped") == str(len(skipped)) == str(len(suite.findall("testcase/skipped")))


def test_nothing_but_skipped_is_no_success() -> None:
    none = Check(id="a", ok=None, seconds=0, detail="skipped: why")
    assert not SmokeReport(url="u", model="m", checks=(none,), seconds=0).ok


def test_a_soak_asks_until_the_time_is_up_and_keeps_the_worst(
    server: tuple[str, Behaviour], target: Target, contract: Contract
) -> None:
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("round 2"):
            server[1].said["What is the capital of France?"] = "Rome."

    report = smoke(target, only(contract, "health", "chat"), level="full", minutes=0.02, say=say)
    health, chat = report.checks
    assert report.rounds > 2
    assert health.detail.startswith(f"{report.rounds} rounds, slowest ")
    assert chat.ok is False
    assert "rounds failed, the first: 'What is the capital of France?' -> 'Rome.'" in chat.detail
    assert any(line.endswith("FAIL chat") for line in lines)


# --- the contract's own files ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine", Catalog().engine_ids())
def test_every_question_of_every_engine_can_be_asked(engine: str) -> None:
    found = read_contract(Catalog(), engine)
    assert {q.ask or name for name, q in found.checks.items()} <= ASKS.keys()
    assert set(found.asked("quick")) < set(found.asked("full"))


def test_every_way_of_asking_is_used() -> None:
    contracts = [read_contract(Catalog(), e) for e in Catalog().engine_ids()]
    assert ASKS.keys() == {q.ask or name for c in contracts for name, q in c.checks.items()}


def own(folder: Path, text: str) -> Catalog:
    (folder / "images" / "vllm").mkdir(parents=True)
    (folder / "images" / "vllm" / "smoke.yaml").write_text(text, encoding="utf-8")
    return Catalog(folder)


def test_an_engine_changes_a_row_and_may_leave_one_out(tmp_path: Path, target: Target) -> None:
    catalog = own(tmp_path, "checks: {json-object: {skip: it has no such mode}, chat: {path: /v2}}")
    found = read_contract(catalog, "vllm")
    assert found.checks["chat"].path == "/v2"
    assert found.checks["chat"].needs == ("tokens",)
    (check,) = ask(target, only(found, "json-object")).checks
    assert check.detail == "skipped: it has no such mode"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("checks: {chat: {levle: quick}}", "unknown key 'levle'", "did you mean level?"),
        ("metric: {running: x}", "unknown key 'metric'", "did you mean metrics?"),
        ("closed: [{metod: GET, path: /x}]", "unknown key 'metod'", "did you mean method?"),
        ("checks: {chat: {level: quik}}", "Invalid enum value 'quik'", "edit "),
        ("checks: {chat: {needs: [token]}}", "Invalid enum value 'token'", "edit "),
    ],
)
def test_a_misspelt_key_or_value_is_refused(text: str, message: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile) as caught:
        read_contract(own(tmp_path, text), "vllm")
    assert message in caught.value.message
    assert caught.value.hint.startswith(hint)


def test_a_way_of_asking_that_is_not_there_is_refused(tmp_path: Path, target: Target) -> None:
    found = read_contract(own(tmp_path, "checks: {chatt: {level: quick}}"), "vllm")
    with pytest.raises(BadFile, match="chatt: no way of asking") as caught:
        smoke(target, found, say=lambda _: None)
    assert caught.value.hint.startswith("did you mean chat?")


def test_a_level_that_is_not_there_names_the_near_miss() -> None:
    with pytest.raises(UnknownName) as caught:
        read_level("ful")
    assert caught.value.hint.startswith("did you mean full?")


def test_a_model_that_is_named_for_an_address_has_its_own_questions(
    server: tuple[str, Behaviour], target: Target
) -> None:
    found = target_of(None, server[0], Catalog(), Given(key_file=target.key_file, model="weighbridge-demo"))
    assert found.facts == Catalog().model("weighbridge-demo").smoke
    assert (found.reasoning, found.tools, found.gateway) == (True, True, False)


# --- what is written of it ------------------------------------------------------------------------------


def report(**changes: bool | None) -> SmokeReport:
    marks: dict[str, bool | None] = {"chat": True, "stream": True, "burst": None, **changes}
    checks = tuple(Check(id=n, ok=ok, seconds=1, detail=f"<{n}> & more") for n, ok in marks.items())
    return SmokeReport(url="http://x", model="<demo>", checks=checks, seconds=3, about={"engine_version": "1"})


def test_the_page_needs_nothing_else_and_quotes_what_it_shows() -> None:
    text = smoke_html(report(stream=False))
    assert "<demo>" not in text
    assert "&lt;stream&gt; &amp; more" in text
    assert 'class="failed">FAIL' in text
    assert "1 of 2 checks passed, 1 skipped, in 3.0 s" in text
    assert "http" not in text.replace("http://x", "").replace("http-equiv", ""), "nothing is fetched"


@pytest.mark.parametrize(
    ("before", "after", "kind", "ok"),
    [
        (True, True, "same", True), (True, False, "broke", False), (True, None, "broke", False),
        (False, True, "mended", True), (None, True, "mended", True), (None, False, "broke", False),
        (False, False, "same", True), (None, None, "same", True), (False, None, "mended", True),
    ],
)  # fmt: skip
def test_two_reports_say_what_broke(before: bool | None, after: bool | None, kind: str, ok: bool) -> None:
    found = compare_reports(report(chat=before), report(chat=after))
    assert {c.id: c.kind for c in found.changes} == {"chat": kind, "stream": "same", "burst": "same"}
    assert found.ok is ok


def test_slower_newer_and_gone_are_said() -> None:
    old, new = report(), report(more=True)
    slow = msgspec.structs.replace(new.checks[1], seconds=2)
    new = msgspec.structs.replace(new, checks=(slow, *new.checks[2:]), about={"engine_version": "2"})
    found = compare_reports(old, new)
    assert {c.id: c.kind for c in found.changes} == {"chat": "gone", "stream": "slower", "burst": "same", "more": "new"}
    text = compare_text(found)
    assert "engine_version  1" in text
    assert text.endswith("1 slower")
    assert compare_text(compare_reports(old, old)).endswith("nothing changed")


def test_a_report_is_read_back_as_it_was(inv: Any, tmp_path: Path) -> None:
    plain = json.dumps(msgspec.to_builtins(report()))
    assert read_report(plain, "a.json") == report()
    for name, found in (("old.json", report()), ("new.json", report(chat=False))):
        (tmp_path / name).write_text(json.dumps(msgspec.to_builtins(found)), encoding="utf-8")
    said = inv("smoke", "--compare", "old.json", "--with", "new.json")
    assert said.code == 1
    assert said.out.splitlines()[-1] == "1 broke"
    assert inv("smoke", "--compare", "new.json", "--with", "old.json").code == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--compare", "a.json"), "two reports are compared"),
        (("--compare", "a.json", "--with", "b.json"), "a.json: "),
        (("--compare", str(ROOT / "pyproject.toml"), "--with", "b.json"), "pyproject.toml: no smoke report"),
        (("--level", "ful"), "no level called 'ful'"),
        (("--soak", "0"), "--soak '0' is not a number above 0"),
        (("--soak", "nan"), "--soak 'nan' is not a number above 0"),
        (("--engine", "vlm", "--url", "http://127.0.0.1:9"), "no engine called 'vlm'"),
        (("--model", "qwen3-8b"), "--model and --engine are for --url"),
        (("--url", "http://127.0.0.1:9", "--answer-seconds", "soon"), "--answer-seconds 'soon' is not a number"),
        (("--with", ""), "--with is empty"),
    ],
)
def test_what_cannot_be_asked_is_two_lines(words: tuple[str, ...], line: str, inv: Any) -> None:
    said = inv("smoke", *words)
    assert said.code == 2
    assert line in said.err
    assert len(said.err.strip().splitlines()) == 2


def around() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def words_of(target: Target) -> list[str]:
    return [sys.executable, "-m", "weighbridge", "smoke", "--url", target.url, "--key-file", str(target.key_file)]


def rows(text: str) -> list[str]:
    """The names of the checks in what was said, a line each."""
    return [line.split()[1] for line in text.splitlines() if line.split()[:1] in (["ok"], ["FAIL"], ["skip"])]


def read_all(terminal: int) -> str:
    said = b""
    with contextlib.suppress(OSError):  # EIO: the last writer has gone
        while piece := os.read(terminal, 4096):
            said += piece
    os.close(terminal)
    return said.decode()


def test_in_a_log_each_check_is_shown_once(server: tuple[str, Behaviour], target: Target, tmp_path: Path) -> None:
    """Both streams go to one place, as in CI; also where each has its own, and JSON has what failed beside it."""
    server[1].health = 503

    def said(*more: str, err: int) -> tuple[str, str]:
        words = [*words_of(target), *more]
        done = subprocess.run(words, cwd=tmp_path, env=around(), stdout=-1, stderr=err, text=True, check=False)
        return done.stdout, done.stderr or ""

    together, _ = said(err=subprocess.STDOUT)
    names = rows(together)
    assert "health" in names
    assert len(names) == len(set(names))
    out, err = said(err=subprocess.PIPE)
    assert (rows(out), rows(err)) == (names, [])
    out, err = said("--json", err=subprocess.PIPE)
    failed = [c["id"] for c in json.loads(out)["checks"] if c["ok"] is False]
    assert rows(err) == failed == ["health"]


def test_on_a_terminal_each_check_is_shown_once(target: Target, tmp_path: Path) -> None:
    """As it comes, and not again in a table; where the result goes to a file, the table is there and both see it."""
    words = words_of(target)
    master, slave = pty.openpty()
    process = subprocess.Popen(words, cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave, env=around())
    os.close(slave)
    lines = read_all(master).splitlines()
    process.wait()
    assert len([x for x in lines if " health " in x]) == len([x for x in lines if " unknown-model " in x]) == 1
    assert any("checks passed" in x for x in lines)
    master, slave = pty.openpty()
    with subprocess.Popen(words, cwd=tmp_path, stdout=-1, stderr=slave, env=around()) as second:
        os.close(slave)
        seen = read_all(master)
        assert second.stdout is not None
        table = second.stdout.read().decode()
    assert "health" in rows(table)
    assert rows(table) == rows(seen.replace("\033[2m", ""))
