"""Arguments beside the plan: which are taken, and what is said of those that are not."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from support import plan_for

from weighbridge.catalog import Catalog
from weighbridge.diagnose import order_of
from weighbridge.errors import Refused
from weighbridge.render import render_image

H100: dict[str, Any] = {"profile": "h100-80g-x1", "model": "qwen3-8b"}


def test_they_stand_behind_the_plans_own(catalog: Catalog) -> None:
    words = """--seed 7 --override-generation-config '{"top_p": 0.8, "x": "a b"}' --enable-lora"""
    plain, found = plan_for(catalog, **H100), plan_for(catalog, **H100, extra_args=words)
    assert found.engine_args == (*plain.engine_args, *shlex.split(words))
    assert any(w.startswith("beside the plan: --seed 7") for w in found.warnings)
    assert found.memory == plain.memory, "it does not pretend to have weighed them"
    assert plain.extra_args is None
    assert order_of(found, catalog).extra_args == found.extra_args
    script = render_image(found, catalog).files["entrypoint.sh"].text
    assert shlex.quote('{"top_p": 0.8, "x": "a b"}') in script


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("", "'' begins with no argument", "--extra-args '--seed 7'"),
        ("seed 7", "begins with no argument", "'--seed 7'"),
        ("--seed '7", "cannot be read: No closing quotation", "'--seed 7'"),
        ("--seed\n7", "holds a control character", "'--seed 7'"),
        ("--seed " + "7" * 4000, "begins with no argument", "'--seed 7'"),
        ("--seed 7 8", "'8' belongs to no argument", "'--seed 7'"),
        ("--seed seven", "vLLM 0.26.0 does not take --seed seven", "--seed takes int"),
        ("--seed", "does not take --seed", "--seed takes int"),
        ("--enable-lorra", "does not take --enable-lorra", "did you mean --enable-lora?"),
        ("--enable-lora yes --seed 1 --seed 2", "'yes' belongs to no argument", "'--seed 7'"),
        ("--seed 1 --seed 2", "does not take --seed 2", "leave it out"),
        ("--enable-lora=yes", "does not take --enable-lora yes", "--enable-lora stands alone"),
        ("--scheduling-policy fast", "does not take --scheduling-policy fast", "one of fcfs, priority"),
        ("--see 7", "does not take --see 7", "did you mean --seed?"),
        ("--runner poling", "does not take --runner poling", "takes one of"),
        # what the plan decides is said to the plan
        ("--max-model-len 4096", "--max-model-len is decided by the plan", "--context"),
        ("--max_model_len 4096", "--max_model_len is decided by the plan", "--context"),
        ("--max-model 4096", "--max-model is decided by the plan", "--context"),
        ("-tp 2", "begins with no argument", "'--seed 7'"),
        ("--seed 1 -tp 2", "-tp is decided by the plan", "--tensor-parallel"),
        ("--max-cudagraph-capture-size 8", "is decided by the plan", "--graph-size"),
        ("--uds /tmp/x", "--uds is decided by the plan", "leave it out"),
        # what would open the appliance
        ("--api-key wb-1234", "--api-key: a secret in argv", "leave it out"),
        ("--api_key wb-1234", "--api_key: a secret in argv", "leave it out"),
        ("--api-k wb-1234", "--api-k: a secret in argv", "leave it out"),
        ("--host 0.0.0.0", "on its own socket", "leave it out"),
        ("--middleware x.Y", "code from outside the image", "leave it out"),
    ],
)
def test_what_is_not_taken_is_told(words: str, said: str, hint: str, catalog: Catalog) -> None:
    with pytest.raises(Refused) as caught:
        plan_for(catalog, **H100, extra_args=words)
    assert caught.value.exit_code == 2
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert "wb-1234" not in f"{caught.value.message} {caught.value.hint}", "nor is a secret said again"


def test_one_that_says_what_the_plan_said_is_refused(catalog: Catalog) -> None:
    order: dict[str, Any] = {"profile": "h200-141g-x4", "model": "qwen2.5-72b-instruct", "extra_args": "-cc x"}
    with pytest.raises(Refused, match="begins with no argument"):
        plan_for(catalog, **order)
    order["extra_args"] = '--compilation-config {"mode":0}'.replace('"', '\\"')
    assert plan_for(catalog, **order).extra_args
    with pytest.raises(Refused, match="--compilation-config is decided by the plan"):
        plan_for(catalog, **order, without="multicast")


def test_an_engine_that_reads_files_takes_none(catalog: Catalog) -> None:
    with pytest.raises(Refused, match="takes no arguments"):
        plan_for(catalog, "910b-64g-x1", "qwen3-8b", engine="mindie", extra_args="--seed 7")


def test_what_is_closed_is_an_argument_of_the_engine(catalog: Catalog) -> None:
    """A slip in a name would leave it open."""
    for engine in map(catalog.engine, catalog.engine_ids()):
        versions = {f.version for f in engine.families.values()}
        known = [flags for v in versions if (flags := catalog.flags_at(engine.id, v))]
        for name in engine.closed:
            assert any(flags.find(name) for flags in known), name


def test_a_verb_takes_them_as_they_are_typed(inv: Any) -> None:
    for words in (["--extra-args", "--seed 7"], ["--extra-args=--seed 7"]):
        found = inv("plan", "--profile", "h100-80g-x1", "--model", "qwen3-8b", *words, "--json")
        assert found.data["engine_args"][-2:] == ["--seed", "7"]
    wrong = inv("fit", "--profile", "h100-80g-x1", "--extra-args", "--api-key x")
    assert "--api-key: a secret in argv" in wrong.out, "beside what does not fit in the first place"
    assert "fits" not in wrong.out.split()
    plain, with_them = (
        inv("fit", "--profile", "h100-80g-x1", *w, "--json") for w in ([], ["--extra-args", "--seed 7"])
    )
    assert plain.data == with_them.data
