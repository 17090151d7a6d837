"""Does a log get the right cause, the right line and a change that plans? On logs that people posted."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support import ROOT, cases

from scripts.diagnose_page import HELD, LOGS, NONE, PAGE, Judged, judged, page
from weighbridge.catalog import Catalog
from weighbridge.diagnose import Diagnosis, diagnose, explained, order_of, remedies, run_line
from weighbridge.effects import logfile
from weighbridge.effects.logfile import appliance_log, read_log
from weighbridge.errors import BadFile, NotReady, Refused, UnknownName
from weighbridge.failures import Book, read_book
from weighbridge.logs import clean
from weighbridge.road import make_plan
from weighbridge.signs import words
from weighbridge.types import Order

BOOK = read_book(Catalog())
ROWS = {row.name: row for row in judged(BOOK, ROOT / LOGS)}


@pytest.fixture(scope="session")
def book() -> Book:
    return BOOK


def lines(name: str) -> list[str]:
    return ROWS[name].lines


# --- the logs --------------------------------------------------------------------------------------------


STILL_WRONG = {"aot-save-slow-rank", "v100-custom-all-reduce"}  # a line that is written when all is well, too


@pytest.mark.parametrize("row", [r for r in ROWS.values() if r.name not in STILL_WRONG], ids=lambda r: r.name)
def test_each_log_is_named_rightly(row: Judged) -> None:
    assert row.now.right


def test_held_out_logs_were_named_as_often_as_the_page_says() -> None:
    held = [row.then for row in ROWS.values() if row.head.split == HELD]
    named = [row for row in held if row.found != NONE]
    known = [row for row in held if row.failure != NONE]
    assert len(held) >= 140
    assert 0.85 <= sum(row.right for row in named) / len(named) < 1
    assert 0.7 <= sum(row.right for row in known) / len(known) < 1


def test_the_page_is_what_the_logs_say() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page(text) == text, "run: make diagnose-report"


def test_every_log_names_a_known_failure_and_a_public_address(book: Book) -> None:
    assert len(ROWS) >= 250
    assert {row.head.failure for row in ROWS.values()} <= {*book.failures, NONE}
    assert {row.head.named for row in ROWS.values()} <= {*book.failures, NONE}
    assert all(row.head.source.startswith("https://") for row in ROWS.values())
    folders = {"held" if row.head.split == HELD else "logs" for row in ROWS.values()}
    assert folders == {path.name for path in (ROOT / LOGS).iterdir()}
    assert all((row.head.round > 0) is (row.head.split == HELD) for row in ROWS.values())


def test_no_log_is_there_twice() -> None:
    held = {row.head.source for row in ROWS.values() if row.head.split == HELD}
    assert not held & {row.head.source for row in ROWS.values() if row.head.split != HELD}
    assert len(ROWS) == len(list((ROOT / LOGS).glob("*/*.txt")))


@pytest.mark.parametrize("row", [r for r in ROWS.values() if r.now.found != NONE], ids=lambda r: r.name)
def test_the_line_that_is_quoted_stands_in_the_log(row: Judged) -> None:
    found = row.found
    assert found.line is not None
    assert found.quote.strip("… ")[:40] in "".join(row.lines[found.line - 1 : found.line + 1])


@pytest.mark.parametrize("name", ["ordinary", "sure"])
def test_a_log_of_an_engine_that_serves_shows_nothing(name: str, book: Book) -> None:
    said = {
        "ordinary": ["INFO 10-01 10:00:00 [api_server.py:1] Starting", "INFO:     Application startup complete."],
        "sure": ['INFO:     10.0.0.1:1 - "POST /v1/chat/completions HTTP/1.1" 200 OK', "", "loading 100%"],
    }[name]
    found = diagnose(said, book)
    assert (found.failure, found.line, found.title) == (None, None, "nothing in this log is a failure")


HARMLESS = (
    "WARNING 11-21 08:00:17 [system_utils.py:255] Found ulimit of 20000 and failed to automatically increase with "
    "error current limit exceeds maximum limit. This can cause fd limit errors like "
    "`OSError: [Errno 24] Too many open files`. Consider increasing with ulimit -n",
    "WARNING 01-02 03:04:05 [cuda.py:1] Your device 'Tesla T4' doesn't support torch.bfloat16. "
    "Falling back to torch.float16 for compatibility.",
    "Cannot use FA version 3 is not supported due to FA3 is only supported on devices with 9.x",
    "INFO 01-02 03:04:05 executor_base.py:111] # cuda blocks: 1234, # CPU blocks: 0",
    "INFO [network.py:33] Port 8998 is already in use, trying port 8999",
    "QwenFor has no vLLM implementation, falling back to Transformers implementation.",
    '  "State": {"OOMKilled": false, "ExitCode": 0}',
    "gpu:77952:77952 [0] NCCL INFO NCCL_P2P_DISABLE set by environment to 1",
    "gpu:77952:77952 [0] NCCL INFO Channel 00 : 0[0] -> 1[1] via P2P/CUMEM",
    "Custom allreduce is disabled because your platform lacks GPU P2P capability or P2P test failed.",
    "server_args=ServerArgs(trust_remote_code=True, watchdog_timeout=300, disable_cuda_graph=False)",
    "INFO [weight_utils.py:1] No model.safetensors.index.json found in remote.",
    "Some weights of QwenModel were not initialized from the model checkpoint and are newly initialized",
    "Your GPU does not have native support for FP8 computation but FP8 quantization is being used.",
    "path owner uid mismatch: path=/m, current_uid=1, path_uid=0, owner mismatch is ignored",
    "HCCL_CONNECT_TIMEOUT=7200 HCCL_IF_IP=10.0.0.1",
)  # fmt: skip


@pytest.mark.parametrize("line", HARMLESS)
def test_what_an_engine_writes_when_nothing_is_wrong_is_no_failure(line: str, book: Book) -> None:
    assert diagnose([line, "INFO next", "INFO and next", "INFO last"], book).failure is None


PATTERNS = sorted({s.text for f in BOOK.failures.values() for s in f.signs})
SAID = sorted({line.text for name in ROWS for line in clean(lines(name), BOOK)})


def test_the_words_of_a_sign_stand_in_each_line_that_it_matches() -> None:
    for pattern in PATTERNS:
        found = words(pattern)
        assert found, f"{pattern}: a way through it has no plain word, and each line of a log would be tried"
        assert len(min(found, key=len)) >= 2
        for text in filter(re.compile(pattern).search, SAID):
            assert any(word in text for word in found), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("abc", {"abc"}),
        ("ab+c.*long enough", {"long enough"}),
        ("(one|other) way", {" way"}),
        ("(first|second)", {"first", "second"}),
        ("(first|second)?.", None),
        ("one|.*", None),
        (r"\(x\)|a{2,}bcd", {"(x)", "bcd"}),
        ("(?P<n>\\d+)GiB(?!no)", {"GiB"}),
        ("(?i:Words)", None),
        ("(?i)Words", None),
        ("a", None),
    ],
)
def test_plain_words_of_a_pattern(pattern: str, found: set[str] | None) -> None:
    assert words(pattern) == found


# --- what the text around a cause does -------------------------------------------------------------------

CAUSE = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
PREFIXES = (
    "", "engine-1  | ", "2026-01-02T03:04:05.678901234Z ", "(EngineCore_DP0 pid=77) ",
    "(EngineCore pid=12) ERROR 01-02 03:04:05 [core.py:866] ", "[rank0]: ", "ERROR 01-02 03:04:05 core.py:396] ",
    "\x1b[31mERROR\x1b[0m ", "> ",
)  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_stands_before_a_line_is_taken_off(prefix: str, book: Book) -> None:
    unknown = prefix + "RuntimeError: the frobnicator is out of tune"
    assert diagnose(["INFO begin", unknown], book).quote == "RuntimeError: the frobnicator is out of tune"


def test_the_first_cause_is_the_innermost_process_own(book: Book) -> None:
    said = [
        "(APIServer pid=1) Traceback (most recent call last):",
        "(Worker_TP0 pid=30) ValueError: the true cause",
        "(Worker_TP0 pid=30) RuntimeError: came of it",
        "(EngineCore pid=20) RuntimeError: Worker failed with error 'the true cause'",
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    for order in (said, said[::-1]):
        assert diagnose(order, book).quote in ("ValueError: the true cause", "RuntimeError: came of it")
    assert diagnose(said, book).quote == "ValueError: the true cause"
    assert diagnose(said, book).line == 2


def test_an_error_that_goes_on_indented_is_shown_with_its_reason(book: Book) -> None:
    said = ["pydantic_core.ValidationError: 1 validation error for Config", "  Value error, no such thing [type=x]"]
    assert "Value error, no such thing" in diagnose(said, book).quote


def test_a_line_that_a_terminal_broke_in_two_is_put_together(book: Book) -> None:
    whole = lines("rtx5090-pp-context")[0]
    at = whole.index("estimated maximum") + 4
    found = diagnose([whole[:at], whole[at:]], book)
    assert found.failure == "kv-cache-too-small"
    assert found.numbers == {"context": 34736.0}


def test_a_quote_is_short_and_holds_the_place(book: Book) -> None:
    found = diagnose(["x" * 5000 + " OSError: [Errno 28] No space left on device " + "y" * 5000], book)
    assert found.failure == "disk-full"
    assert "No space left" in found.quote
    assert len(found.quote) < 400


def test_the_surest_sign_wins_over_the_first(book: Book) -> None:
    ranks = {n: [s for s in f.signs] for n, f in book.failures.items()}
    assert ranks["host-memory"]
    said = ["Bus error", "ValueError: No available memory for the cache blocks. Try increasing it"]
    assert diagnose(said[:1], book).certainty == "likely"
    assert diagnose(said, book).failure == "no-kv-cache"


def test_what_an_engine_survived_is_not_why_it_failed(book: Book) -> None:
    began = ["RuntimeError: Bus error", "AssertionError", "INFO:     Application startup complete."]
    assert diagnose(began[:2], book).failure == "shm-too-small"
    assert diagnose(began, book).title == "nothing in this log is a failure"
    assert diagnose([*began, "KeyError: 'later'"], book).line == 4
    assert diagnose([*began, "OSError: [Errno 28] No space left on device"], book).failure == "disk-full"


# --- the change ------------------------------------------------------------------------------------------


def first(found: Diagnosis, book: Book, catalog: Catalog, order: Order | None = None) -> Any:
    return next(remedies(found, book, order, catalog), None)


@pytest.mark.parametrize(
    ("failure", "numbers", "order", "line"),
    [
        ("kv-cache-too-small", {"context": 34741}, {"context": 40960}, "--context 34736"),
        ("card-busy", {"free": 30.0, "total": 79.18}, {}, "--utilization 0.36"),
        ("card-memory-graphs", {}, {"utilization": 0.9}, "--utilization 0.85"),
        ("card-memory-profiling", {}, {"batched_tokens": 8192}, "--batched-tokens"),
        ("bfloat16-unsupported", {}, {}, "--dtype float16"),
        ("fp8-unsupported", {}, {"kv_dtype": "fp8_e5m2"}, "--kv-dtype auto"),
        ("no-compiler", {}, {}, "--eager"),
    ],
)
def test_a_change_comes_from_the_log_or_from_the_plan_and_plans(
    failure: str, numbers: dict[str, float], order: dict[str, Any], line: str, book: Book, catalog: Catalog
) -> None:
    wanted = Order(profile="a100-80g-x1", model="qwen3-8b", **order)
    found = Diagnosis(failure=failure, title="", certainty="sure", line=1, quote="", numbers=numbers)
    remedy = first(found, book, catalog, wanted)
    assert line in run_line(remedy.order)
    assert run_line(remedy.order).startswith("invoke run --profile a100-80g-x1 --model qwen3-8b ")
    assert remedy.plan == make_plan(remedy.order, catalog)
    assert remedy.plan.engine_args != make_plan(wanted, catalog).engine_args


@pytest.mark.parametrize(
    ("log", "profile", "change", "was", "moved"),
    [
        ("multicast-h200-tp2", "h200-141g-x2", "--without multicast", None, "--compilation-config"),
        ("l40s-hang-after-pynccl", "a100-80g-x2", "--without peer-to-peer", None, "NCCL_P2P_DISABLE"),
        ("l40s-hang-after-pynccl", "l40s-48g-x2", "--tensor-parallel 1", 2, "1"),  # it copied through the host already
    ],
)
def test_what_a_host_lacks_is_planned_without(
    log: str, profile: str, change: str, was: int | None, moved: str, book: Book, catalog: Catalog
) -> None:
    model = "qwen2.5-72b-instruct" if profile.startswith("h200") else "deepseek-r1-distill-qwen-32b"
    order = Order(profile=profile, model=model, tensor_parallel=was)
    remedy = first(diagnose(lines(log), book), book, catalog, order)
    assert change in run_line(remedy.order)
    now = {*remedy.plan.engine_args, *remedy.plan.environment}
    before = make_plan(order, catalog)
    assert moved in now
    assert (*remedy.plan.engine_args, *remedy.plan.environment) != (*before.engine_args, *before.environment)


def test_what_a_host_was_said_to_lack_stays_said(book: Book, catalog: Catalog) -> None:
    order = Order(profile="h200-141g-x2", model="qwen2.5-72b-instruct", without="peer-to-peer")
    remedy = first(diagnose(lines("multicast-h200-tp2"), book), book, catalog, order)
    assert remedy is None, "nothing is left that it could lack"


def test_the_heads_of_the_log_choose_the_width(book: Book, catalog: Catalog) -> None:
    said = ["ValueError: Total number of attention heads (20) must be divisible by tensor parallel size (8)."]
    remedy = first(diagnose(said, book), book, catalog)
    assert (remedy.field, remedy.value) == ("tensor_parallel", 5)


@pytest.mark.parametrize("failure", sorted(BOOK.failures))
@pytest.mark.parametrize("profile", ["a100-80g-x4", "rtx4090-x2", "910b-x8"])
def test_no_change_is_offered_that_does_not_plan(failure: str, profile: str, book: Book, catalog: Catalog) -> None:
    order = Order(profile=profile, model="qwen3-8b")
    found = Diagnosis(failure=failure, title="", certainty="sure", line=1, quote="", numbers={"context": 1000.0})
    for remedy in remedies(found, book, order, catalog):
        assert remedy.plan == make_plan(remedy.order, catalog)  # type: ignore[arg-type]


ORDERS = (
    Order(profile="a100-80g-x4", model="qwen3-32b"),
    Order(profile="rtx4090-x2", model="qwen3-8b", kv_dtype="fp8", quantization="fp8"),
    Order(profile="h100-80g-x8", model="deepseek-r1-distill-llama-70b", engine="sglang"),
    Order(profile="ascend-910b-64g-x8", model="qwen3-32b", engine="mindie"),
)


def test_every_line_to_type_can_be_pasted(inv: Any, book: Book, catalog: Catalog) -> None:
    seen = {row.found.failure: row.found for row in ROWS.values()}
    changed = [first(found, book, catalog, order) for found in seen.values() for order in ORDERS]
    typed = {run_line(remedy.order) for remedy in changed if remedy}
    assert len(typed) >= 30
    for line in sorted(typed):
        said = inv(*shlex.split(line)[1:], "--print", "docker")
        assert (said.code, said.err) == (0, ""), line


def test_a_number_that_makes_no_sense_gives_no_change(book: Book, catalog: Catalog) -> None:
    found = Diagnosis(
        failure="card-busy", title="", certainty="sure", line=1, quote="", numbers={"free": 1.0, "total": 0.0}
    )
    assert first(found, book, catalog) is None


@pytest.mark.parametrize("case", [c for c in cases() if c.model_config is None], ids=lambda c: c.name)
def test_a_plan_is_traced_back_to_an_order_that_gives_it(case: Any, catalog: Catalog) -> None:
    try:
        plan = case.plan(catalog)
    except Refused:
        return
    assert make_plan(order_of(plan, catalog), catalog).engine_args == plan.engine_args


# --- a failed start --------------------------------------------------------------------------------------


def died(*log: str, message: str = "mine died with exit code 1 before it was ready") -> NotReady:
    error = NotReady(message + "".join(f"\n  | {line}" for line in log), "less build/mine.log")
    error.log = log
    return error


def said_of(error: NotReady, catalog: Catalog, **order: Any) -> list[str]:
    wanted = Order(**{"profile": "a100-80g-x1", "model": "qwen3-8b", **order})
    found = explained(error, wanted, catalog, None, ["--name", "mine"])
    assert found.hint == error.hint
    assert found.message.startswith(error.message)
    return found.message.removeprefix(error.message).strip().splitlines()


def test_a_failed_start_says_what_to_change(catalog: Catalog) -> None:
    diagnosis, change = said_of(died(*lines("rtx5090-pp-context")), catalog)
    assert diagnosis.startswith("diagnosis (sure): the KV cache does not hold one request of the asked length: ")
    assert change.strip() == (
        "change: what the engine found to fit: "
        "invoke run --profile a100-80g-x1 --model qwen3-8b --context 34736 --name mine"
    )


def test_a_failed_start_that_nobody_knows_shows_the_first_cause(catalog: Catalog) -> None:
    assert said_of(died("KeyError: 'no_such_kind'", "RuntimeError: Engine core initialization failed."), catalog) == [
        "diagnosis: no known failure; the first cause in the log is this: KeyError: 'no_such_kind'"
    ]


def test_a_start_that_the_kernel_ended_is_known_by_docker_s_word(catalog: Catalog) -> None:
    message = "mine died with exit code 137 (out of memory) before it was ready"
    diagnosis, change = said_of(died("INFO loading", message=message), catalog)
    assert "the host's memory ended" in diagnosis
    assert change.strip() == "try: free -g"


def test_a_start_without_a_log_is_the_error_it_was(catalog: Catalog) -> None:
    error = NotReady("mine was removed", "invoke run")
    assert explained(error, Order(), catalog, None, []) is error


def test_a_broken_file_of_signs_does_not_hide_why_a_start_failed(tmp_path: Path) -> None:
    write(tmp_path, "_shared", "prefixes: 3\n")
    found = explained(died("KeyError: 'x'"), Order(), Catalog(tmp_path), None, [])
    assert "KeyError: 'x'" in found.message
    assert "\n  no diagnosis: " in found.message


# --- the files of signs ----------------------------------------------------------------------------------


def write(folder: Path, engine: str, text: str) -> None:
    path = folder / "images" / engine / "failures.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def refusal(tmp_path: Path, engine: str, text: str) -> BadFile:
    write(tmp_path, engine, text)
    with pytest.raises(BadFile) as caught:
        read_book(Catalog(tmp_path))
    return caught.value


def shared(**changes: Any) -> str:
    """The shared file with one failure changed."""
    file = yaml.safe_load((ROOT / "images" / "_shared" / "failures.yaml").read_text(encoding="utf-8"))
    file["failures"]["card-busy"] |= changes
    return yaml.safe_dump(file)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"tilte": "x"}, "unknown key 'tilte'", "did you mean title?"),
        ({"signs": [{"text": "x", "certanty": "sure"}]}, "unknown key 'certanty'", "did you mean certainty?"),
        ({"signs": [{"text": "x", "certainty": "surely"}]}, "surely", ""),
        ({"signs": [{"text": "(unclosed"}]}, "'(unclosed' is no pattern", "edit "),
        ({"changes": [{"field": "contxt", "because": "x"}]}, "an order has no 'contxt'", "did you mean context?"),
    ],
)
def test_a_wrong_shared_file_says_where(changes: dict[str, Any], message: str, hint: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, "_shared", shared(**changes))
    assert message in error.message
    assert hint in error.hint


def test_signs_of_a_failure_that_is_not_there_name_the_near_miss(tmp_path: Path) -> None:
    error = refusal(tmp_path, "vllm", "signs: {card-bussy: [{text: x}]}\n")
    assert "no failure called 'card-bussy'" in error.message
    assert error.hint == "did you mean card-busy?"


def test_signs_of_one_s_own_are_found(tmp_path: Path) -> None:
    write(tmp_path, "mine", "signs: {disk-full: [{text: 'the barn is full'}]}\n")
    assert diagnose(["the barn is full"], read_book(Catalog(tmp_path))).failure == "disk-full"
    assert diagnose(["the barn is full"], read_book(Catalog(tmp_path), "vllm")).failure is None


# --- the verb --------------------------------------------------------------------------------------------

LOG = str(ROOT / LOGS / "logs" / "rtx5090-pp-context.txt")


def test_a_log_with_an_order_gives_a_line_to_type(inv: Any) -> None:
    said = inv("diagnose", "--log", LOG, "--profile", "rtx4090-x4", "--model", "qwen3-32b")
    assert said.code == 0
    assert said.err == ""
    assert "(sure)" in said.out
    assert "\n  invoke run --profile rtx4090-x4 --model qwen3-32b --context 34736" in said.out
    assert "parallel" not in said.out.splitlines()[-1]


def test_apply_shows_the_new_plan_and_starts_nothing(inv: Any) -> None:
    said = inv("diagnose", "--log", LOG, "--profile", "rtx4090-x4", "--model", "qwen3-32b", "--apply")
    assert said.code == 0
    assert "\ncontext    34736 tokens\n" in said.out


def test_a_log_without_an_order_names_the_flag_alone(inv: Any) -> None:
    assert "\n  with --context 34736" in inv("diagnose", "--log", LOG).out


def test_json_holds_the_change_and_its_plan(inv: Any) -> None:
    found = inv("diagnose", "--log", LOG, "--profile", "rtx4090-x4", "--model", "qwen3-32b", "--json").data
    assert (found["failure"], found["line"]) == ("kv-cache-too-small", 2)
    assert found["change"]["value"] == 34736
    assert found["change"]["plan"]["max_model_len"] == 34736


def test_a_log_comes_through_standard_input(inv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"OSError: [Errno 28] No space left on device\r\n")))
    assert inv("diagnose", "--log", "-", "--json").data["failure"] == "disk-full"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--log", "nofile"], "nofile: No such file", "name a file that can be read"),
        (["--log", "."], ".: Is a directory", "name a file"),
        (["--log", ""], "--log is empty", "give it a value"),
        (["--log", LOG, "--name", "x"], "--log and --name are two logs", "give one"),
        (["--log", LOG, "--apply"], "--apply changes a plan", "--profile NAME --model NAME"),
        (["--log", LOG, "--model", "qwen3-8b"], "--model without --profile", "add --profile NAME"),
        (["--log", LOG, "--context", "8k"], "--context without --profile", "add --profile NAME"),
        (["--log", LOG, "--engine", "vlm"], "no engine called 'vlm'", "did you mean vllm?"),
        (["--log", LOG, "--profile", "rtx4900-x4"], "no profile called", "did you mean rtx4090"),
        (["--log", LOG, "--profile", "cpu", "--model", "qwen3-8"], "no model called", "did you mean qwen3-8b?"),
    ],
)
def test_what_is_wrong_is_two_lines(words: list[str], message: str, hint: str, inv: Any) -> None:
    said = inv("diagnose", *words)
    assert said.code == 2
    assert said.out == ""
    assert message in said.err.splitlines()[0]
    assert hint in said.err.splitlines()[1]
    assert len(said.err.splitlines()) == 2


# --- where a log comes from ------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "why"), [(b"", "empty"), (b" \n\n", "empty"), (b"\x1f\x8b\x00\x00", "not text")])
def test_a_file_that_is_no_log_is_refused(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(content)
    with pytest.raises(BadFile, match=why):
        read_log(str(tmp_path / "x.log"))


def test_bytes_that_are_no_utf8_are_read_past(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"\xff\xfe broken\nKeyError: 'x'\n")
    assert "KeyError: 'x'" in read_log(str(tmp_path / "x.log")).lines


def test_of_a_long_log_the_end_is_read_and_lines_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, book: Book
) -> None:
    monkeypatch.setattr(logfile, "_MOST_BYTES", 4096)
    monkeypatch.setattr(logfile, "_PART_BYTES", 512)
    said = [*(f"INFO line {i}" for i in range(1, 2000)), "OSError: [Errno 28] No space left on device"]
    (tmp_path / "x.log").write_text("\n".join(said) + "\n", encoding="utf-8")
    log = read_log(str(tmp_path / "x.log"))
    assert len(log.lines) < 1000
    assert diagnose(log.lines, book, log.skipped).line == 2000


SAID_BY_ENGINE = (
    "INFO 01-02 03:04:05 [core.py:1] Waiting for init message from front-end.",
    "Traceback (most recent call last):",
    '  File "/usr/lib/python3.12/site-packages/vllm/v1/engine/core.py", line 1, in __init__',
    "ValueError: To serve at least one request with the models's max seq len (40960), (5.62 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (4.77 GiB). Based on the available memory, the estimated "
    "maximum model length is 34736. Try increasing `gpu_memory_utilization`.",
    "RuntimeError: Engine core initialization failed. See root cause above.",
)
WRAPPED = {
    "docker json-file": '{"log":%s,"stream":"stderr","time":"2026-01-02T03:04:05.678901234Z"}',
    "fluent-bit": '{"date":1767323045.6,"kubernetes":{"pod_name":"engine-0"},"message":%s}',
    "cloud logging": '{"insertId":"a","jsonPayload":{"message":%s},"severity":"ERROR"}',
    "journalctl -o json": '{"__CURSOR":"s","PRIORITY":"6","MESSAGE":%s}',
    "kubectl --timestamps": "2026-01-02T03:04:05.678901234Z %s",
    "kubectl --prefix": "[pod/engine-0/vllm] %s",
    "kubectl --prefix --timestamps": "[pod/engine-0/vllm] 2026-01-02T03:04:05.678901234Z %s",
    "the node's own file": "2026-01-02T03:04:05.678901234+08:00 stderr F %s",
    "systemd": "Jan 02 03:04:05 host-7 vllm[8052]: %s",
    "compose": "engine-1  | %s",
    "compose, with colours": "\x1b[36mengine-1  |\x1b[0m %s",
    "ray": "(RayWorkerWrapper pid=206994, ip=192.168.10.25) ERROR 03-27 10:29:13 [worker_base.py:620] %s",
    "engine core": "(EngineCore_0 pid=77) ERROR 01-02 03:04:05 [core.py:718] %s",
    "engine core, with colours": "\x1b[1;36m(EngineCore_DP0 pid=77)\x1b[0;0m ERROR 01-02 03:04:05 [core.py:718] %s",
    "a colour whose escape was lost": "ESC[1;36m(EngineCore_0 pid=114)ESC[0;0m ERROR 08-12 14:37:44 [core.py:718] %s",
    "a colour that became a question mark": "\ufffd[1;36m(VllmWorker rank=3 pid=4867)\ufffd[0;0m %s",
    "cloud logging, as text": "INFO 2025-11-19T20:16:36.096674521Z [resource.labels.containerName: vllm] %s",
    "sglang": "[2026-01-02 03:04:05 TP0] %s",
    "quoted": "> %s",
}  # fmt: skip


def as_bytes(wrapped: str, end: str = "\n") -> bytes:
    said = [json.dumps(line + "\n") if wrapped.startswith("{") else line for line in SAID_BY_ENGINE]
    return "".join(wrapped.replace("%s", line) + end for line in said).encode()


def assert_known(content: bytes, tmp_path: Path, book: Book) -> None:
    (tmp_path / "x.log").write_bytes(content)
    found = diagnose(read_log(str(tmp_path / "x.log")).lines, book)
    assert (found.failure, found.certainty, found.line) == ("kv-cache-too-small", "sure", 4)
    assert found.numbers["context"] == 34736
    assert found.quote.startswith("ValueError: To serve at least one request")


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_what_a_tool_made_of_a_log_is_read_as_the_log(wrapped: str, tmp_path: Path, book: Book) -> None:
    assert_known(as_bytes(wrapped), tmp_path, book)


@pytest.mark.parametrize(
    "content",
    [
        as_bytes("%s", "\r\n"),
        b"\xff\xfe" + as_bytes("%s").decode().encode("utf-16-le"),
        as_bytes("%s").decode().encode("utf-16-be"),
        b"\0" * 70_000 + as_bytes("%s"),
        as_bytes("%s") + b"\0" * 70_000,
    ],
    ids=["windows", "utf-16", "utf-16 without its mark", "rotated", "preallocated"],
)
def test_how_a_log_is_written_does_no_harm(content: bytes, tmp_path: Path, book: Book) -> None:
    assert_known(content, tmp_path, book)


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_an_unknown_log_shows_its_first_cause_in_whatever_it_is_wrapped(wrapped: str, book: Book) -> None:
    lines = as_bytes(wrapped).decode().replace("ValueError: To serve", "ValueError: To frobnicate").splitlines()
    without = [line.replace("max seq len", "m").replace("KV cache", "c").replace("estimated", "e") for line in lines]
    found = diagnose(without, book)
    assert (found.failure, found.line) == (None, 4)
    assert found.quote.startswith("ValueError: To frobnicate at least one request")


def test_memory_that_ended_after_the_engine_served_ended_in_a_request(book: Book) -> None:
    served = ["INFO:     Application startup complete.", 'INFO:     1.2.3.4:5 - "POST /v1/completions HTTP/1.1" 200 OK']
    assert diagnose([CAUSE], book).failure != "card-memory-running"
    assert diagnose([*served, CAUSE], book).failure == "card-memory-running"


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")


@pytest.mark.usefixtures("no_engine")
def test_without_a_container_the_newest_log_of_a_failed_start_is_read(inv: Any, tmp_path: Path) -> None:
    build = tmp_path / "build"
    build.mkdir()
    for age, name in enumerate(("new", "old")):
        (build / f"{name}.log").write_text(f"KeyError: '{name}'\n", encoding="utf-8")
        os.utime(build / f"{name}.log", (1000 - age, 1000 - age))
    said = inv("diagnose")
    assert said.code == 0
    assert "KeyError: 'new'" in said.out
    assert "build/new.log" in said.err
    (build / "bench").mkdir()
    (build / "bench" / "new.log").write_text("ValueError: of a benchmark\n", encoding="utf-8")
    assert "build/new.log" in inv("diagnose").err, "what a benchmark wrote is no failed start"
    assert "KeyError: 'old'" in inv("diagnose", "--name", "old").out


@pytest.mark.usefixtures("no_engine")
def test_without_docker_and_without_a_log_that_is_what_is_said(inv: Any) -> None:
    said = inv("diagnose")
    assert said.code == 1
    assert "Docker" in said.err


def test_a_name_that_nothing_has_names_the_near_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my-broken.log").write_text("KeyError: 'x'\n", encoding="utf-8")
    none = UnknownName("no appliance called 'my-brokn'", "invoke run")

    def nobody() -> Any:
        raise none

    monkeypatch.setattr(logfile, "Host", nobody)
    with pytest.raises(UnknownName) as caught:
        appliance_log("my-brokn", tmp_path)
    assert caught.value.hint.startswith("did you mean --name my-broken?")


def test_the_data_is_json(book: Book) -> None:
    assert json.loads(msgspec.json.encode(book))["failures"].keys() == book.failures.keys()


def test_a_line_to_type_has_the_model_that_was_named(inv: Any) -> None:
    words = ["diagnose", "--log", str(ROOT / "tests" / "diagnose" / "logs" / "awq-turing.txt")]
    bare = inv(*words, "--json").data["type"]
    known = inv(*words, "--profile", "h20-96g-x8", "--model", "qwen3-8b", "--json").data["type"]
    assert known == [line.replace("--model MODEL", "--model qwen3-8b") for line in bare]
    assert known != bare
