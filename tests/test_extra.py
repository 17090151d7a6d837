"""Arguments beside the plan: which are taken, and what is said of those that are not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, plan_for

from weighbridge.calibration import file_of
from weighbridge.catalog import Catalog
from weighbridge.diagnose import order_of
from weighbridge.errors import Refused, Unsupported
from weighbridge.render import render_image
from weighbridge.road import make_plan
from weighbridge.types import Order

H100: dict[str, Any] = {"profile": "h100-80g-x1", "model": "qwen3-8b"}
ENGINES = ("vllm", "sglang")
# Words in the name of an argument that opens something or moves gigabytes, and open ones that hold such a word.
OPENS = {
    "port", "endpoint", "url", "server", "plugin", "module", "modules", "class", "code", "path", "trust", "config",
    "requests", "outputs", "api", "host", "ssl", "address", "embeds", "dir", "folder", "lora", "spec", "speculative",
    "draft", "offload", "offloading", "block", "blocks", "memory", "device", "rank", "parallel", "size", "format",
    "loader", "cache", "template", "model", "tokenizer", "worker",
}  # fmt: skip
REVIEWED = {
    "--override-generation-config": "sampling defaults, as JSON",
    "--default-chat-template-kwargs": "values for the model's own template, as JSON",
    "--chat-template-content-format": "how a message is handed to the model's own template",
    "--language-model-only": "less is loaded",
    "--kv-cache-metrics": "figures of what is there",
    "--enable-cache-report": "figures of what is there",
    "--disable-radix-cache": "less is kept",
    "--skip-server-warmup": "one request less at the start",
}


def test_they_stand_behind_the_plans_own(catalog: Catalog) -> None:
    words = """--seed=7 --override-generation-config '{"top_p": 0.8, "$(id)": "a `b` \\\\ é"}' --response-role x"""
    plain, found = plan_for(catalog, **H100), plan_for(catalog, **H100, extra_args=words)
    assert found.engine_args == (*plain.engine_args, *shlex.split(words))
    assert any(w.startswith("beside the plan: --seed=7") for w in found.warnings)
    assert found.memory == plain.memory, "it does not pretend to have weighed them"
    assert plain.extra_args is None
    assert order_of(found, catalog).extra_args == found.extra_args
    script = render_image(found, catalog).files["entrypoint.sh"].text
    assert shlex.quote(shlex.split(words)[2]) in script
    lines = plan_for(catalog, **H100, extra_args="--seed 7\n  --max-logprobs 5\n")  # as a block of YAML
    assert lines.engine_args[-4:] == ("--seed", "7", "--max-logprobs", "5")


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("", "begins with the whole name", "--extra-args '--seed 7'"),
        ("seed 7", "begins with the whole name", "'--seed 7'"),
        ("-tp 2", "begins with the whole name", "'--seed 7'"),
        ("--seed '7", "cannot be read: no closing quotation", "'--seed 7'"),
        ("--seed \x1b7", "printable characters", "'--seed 7'"),
        ("--seed " + "7" * 4000, "at most 4000", "'--seed 7'"),
        ("--seed 7 8", "a word belongs to no argument", "'--seed 7'"),
        ("--seed wb-1234", "not a value of --seed", "--seed takes int"),
        ("--seed $HOME", "not a value of --seed", "--seed takes int"),
        ("--seed", "not a value of --seed", "--seed takes int"),
        ("--enable-prefix-caching=wb-1234", "not a value of --enable-prefix-caching", "stands alone"),
        ("--seed 1 --seed 2", "--seed is given twice", "give it once"),
        ("--enable-prefix-caching --no-enable-prefix-caching", "is given twice", "give it once"),
        ("--scheduling-policy wb-1234", "not a value of --scheduling-policy", "one of fcfs, priority"),
        ('--limit-mm-per-prompt {"image":1}', "not JSON behind --limit-mm-per-prompt", '{\\"a\\": 1}'),
        ("--sede 7", "vLLM 0.26.0 has no --sede", "did you mean --seed?"),
        ("--see 7", "vLLM 0.26.0 has no --see", "did you mean --seed?"),
        ("--api-keyy wb-1234", "vLLM 0.26.0 has no --api-keyy", "docs/planner.md: which it takes"),
        # what the plan decides is said to the plan
        ("--max-model-len 4096", "--max-model-len is the plan's to decide", "--context"),
        ("--max_model_len 4096", "--max-model-len is the plan's to decide", "--context"),
        ("--max-model 4096", "--max-model-len is the plan's to decide", "--context"),
        ("--seed 1 -tp 2", "--tensor-parallel-size is the plan's to decide", "--tensor-parallel"),
        ("--max-cudagraph-capture-size 8", "is the plan's to decide", "--graph-size"),
        ("--kv-cache-memory-bytes 9000", "is the plan's to decide", "leave it out"),
        ("--uds /tmp/x", "--uds is the plan's to decide", "leave it out"),
        ("--served-model-name x", "is the plan's to decide", "leave it out"),
        # what would open the appliance, run code, or load something else
        ("--api-key wb-1234", "--api-key is none of the arguments that are left open", "docs/planner.md"),
        ("--api_key=wb-1234", "--api-key is none of", "docs/planner.md"),
        ("--host 0.0.0.0", "--host is none of", "docs/planner.md"),
        ("--trust-remote-code", "--trust-remote-code is none of", "docs/planner.md"),
        ("--load-format dummy", "--load-format is none of", "docs/planner.md"),
        ("--enable-log-requests", "--enable-log-requests is none of", "docs/planner.md"),
        ("--attention-config.backend X", "has no --attention-config.backend", "did you mean --attention-backend?"),
    ],
)
def test_what_is_not_taken_is_told(words: str, said: str, hint: str, catalog: Catalog) -> None:
    with pytest.raises(Refused) as caught:
        plan_for(catalog, **H100, extra_args=words)
    assert caught.value.exit_code == 2
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert "wb-1234" not in f"{caught.value.message} {caught.value.hint}", "what may be a secret is not said again"


@pytest.mark.parametrize("profile", ["t4-16g-x1", "h20-96g-x8"])
def test_they_are_looked_at_before_anything_is_weighed(profile: str, catalog: Catalog) -> None:
    with pytest.raises(Refused, match="--api-key is none of") as caught:
        plan_for(catalog, profile, "qwen3-235b-a22b", extra_args="--api-key wb-4444")
    assert not caught.value.alternatives
    assert "wb-4444" not in str(caught.value)


def test_each_line_that_is_offered_takes_them(catalog: Catalog) -> None:
    """Another engine has other arguments, so that its line would be refused."""
    for engine, words in (("sglang", "--random-seed 7"), ("vllm", "--seed 7")):
        order = Order(profile="h20-96g-x8", model="deepseek-r1", engine=engine, extra_args=words, context=131072)
        with pytest.raises(Refused) as caught:
            make_plan(order, catalog)
        assert caught.value.alternatives
        for line in (a["command"] for a in caught.value.alternatives):
            given = dict(zip(*[iter(shlex.split(line)[2:])] * 2, strict=True))
            asked: dict[str, Any] = {
                k.removeprefix("--").replace("-", "_"): int(v) if v.isdigit() else v for k, v in given.items()
            }
            assert make_plan(Order(**asked), catalog).extra_args == words


def test_lint_knows_json_that_a_shell_took_the_quotes_from(catalog: Catalog) -> None:
    flags = catalog.flags_at("vllm", "0.26.0")
    assert flags is not None
    for value, faults in (
        ("{method:ngram}", ["type"]),
        ('{"method": "ngram"}', []),
        ("{$X}", []),
        ("image=2", ["type"]),
    ):
        given = flags.split(["--speculative-config", value])[1]
        assert [p.fault for p in flags.problems(given)] == faults, value


def test_an_engine_that_reads_files_takes_none(catalog: Catalog) -> None:
    order = Order(profile="910b-64g-x1", model="qwen3-8b", engine="mindie", extra_args="--seed 7")
    with pytest.raises(Unsupported, match="takes no arguments beside the plan") as caught:
        make_plan(order, catalog)
    assert "--extra-args" not in caught.value.hint


def test_a_version_that_nobody_has_read_takes_none(tmp_path: Path) -> None:
    """Its parser completes what is begun, and a secret would be in argv."""
    text = (ROOT / "images/vllm/engine.yaml").read_text(encoding="utf-8").replace("0.26.0", "0.25.9")
    (tmp_path / "images/vllm").mkdir(parents=True)
    (tmp_path / "images/vllm/engine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(Unsupported, match=r"nobody has read the arguments of vLLM 0\.25\.9 yet") as caught:
        plan_for(Catalog(tmp_path), **H100, extra_args="--api-k wb-1234")
    assert caught.value.hint == "try invoke plan --profile h100-80g-x1 --model qwen3-8b"


def test_what_is_open_stands_in_the_docs(catalog: Catalog) -> None:
    page = (ROOT / "docs/planner.md").read_text(encoding="utf-8")
    for engine in ENGINES:
        assert ", ".join(f"`{name}`" for name in catalog.engine(engine).open) in " ".join(page.split())


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_open_opens_nothing(engine: str, catalog: Catalog) -> None:
    """Each is an argument of the pinned version, none is the plan's, and none sounds like a door."""
    found = catalog.engine(engine)
    assert found.open
    for family in found.families.values():
        flags = catalog.flags_at(engine, family.version)
        if flags is None:
            continue
        for name in found.open:
            flag = flags.find(name)
            if flag is None:
                continue
            names = {flag.flag, *flag.also}
            assert not names & {a.flag for a in found.arguments}, f"{name} is the plan's"
            assert name in REVIEWED or not OPENS & {w for n in names for w in n.split("-")}, name
    assert REVIEWED.keys() <= {n for e in ENGINES for n in catalog.engine(e).open}
    newest = catalog.flags_at(engine, next(iter(found.families.values())).version)
    assert newest is not None
    assert [n for n in found.open if newest.find(n) is None] == []


def test_a_run_with_them_is_no_measure_of_its_plan(catalog: Catalog) -> None:
    plan = plan_for(catalog, **H100, extra_args="--seed 7")
    with pytest.raises(Unsupported, match="no measure of its plan"):
        file_of(plan, {}, card="x", architecture=None, date="2026-01-01")


def test_a_verb_takes_them_as_they_are_typed(inv: Any) -> None:
    for words in (["--extra-args", "--seed 7"], ["--extra-args=--seed 7"]):
        found = inv("plan", "--profile", "h100-80g-x1", "--model", "qwen3-8b", *words, "--json")
        assert found.data["engine_args"][-2:] == ["--seed", "7"]
