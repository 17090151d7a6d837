"""Every decision of a plan: limits, context, memory, arguments, refusals, and what must always hold."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import ROOT, plan_for

from weighbridge.catalog import Catalog
from weighbridge.engines import Base
from weighbridge.errors import BadValue, DoesNotFit, Refused, UnknownName, Unsupported
from weighbridge.memory import GIB
from weighbridge.plan import base_reference, plan, slug
from weighbridge.road import command_line, make_plan, taken_for
from weighbridge.types import Order, Plan

R1D = "deepseek-r1-distill-"


def value_of(found: Plan, flag: str) -> str:
    return found.engine_args[found.engine_args.index(flag) + 1]


# --- what is said --------------------------------------------------------------------------------------


def test_what_has_no_compiler_is_not_planned_compiled(catalog: Catalog) -> None:
    with pytest.raises(Unsupported, match="compiles nothing") as caught:
        make_plan(Order(profile="cpu", model="weighbridge-demo", eager=False), catalog)
    assert caught.value.hint == "try invoke plan --profile cpu --model weighbridge-demo"
    assert make_plan(Order(profile="cpu", model="weighbridge-demo", eager=True), catalog).eager


def test_the_example_of_the_readme(catalog: Catalog) -> None:
    found = plan_for(catalog, "a100-80g-x4", R1D + "llama-70b")
    assert (found.tensor_parallel, found.pipeline_parallel, found.data_parallel) == (4, 1, 1)
    assert (found.precision, found.max_model_len) == ("bfloat16", 131072)
    assert len(found.memory.per_rank) == 4
    assert found.memory.kv_bytes_per_token == 81920
    assert (found.shm_gib, found.shm_mib) == (8.0, 8192)
    assert {u.name for u in found.ulimits} >= {"memlock", "stack"}
    alone = plan_for(catalog, "a100-80g-x1", R1D + "qwen-7b")
    assert {u.name for u in alone.ulimits}.isdisjoint({"memlock", "stack"}), "these are for cards that work together"


@pytest.mark.parametrize("profile", ["a100-80g-x4", "l40s-48g-x4", "910b-64g-x8", "b200-180g-x1", "h20-96g-x8-n2"])
def test_every_number_has_its_reason(profile: str, catalog: Catalog) -> None:
    found = plan_for(catalog, profile, R1D + "llama-70b")
    reasons = "\n".join(found.because)
    for number in (
        found.engine_version, f"context {found.max_model_len} tokens", f"{found.max_num_batched_tokens} tokens",
        f"{found.max_num_seqs} sequences", f"dtype {found.dtype}", f"{found.utilization:g} x ",
        f"{found.memory.kv_bytes_per_token} bytes a token", f"shm {found.shm_gib:g} GiB",
        *(f"ulimit {u.name}={u.value}" for u in found.ulimits),
    ):  # fmt: skip
        assert number in reasons
    assert len(set(found.because)) == len(found.because)


@pytest.mark.parametrize("profile", ["a100-80g-x4", "l40s-48g-x4", "910b-64g-x8", "cpu"])
def test_limits_that_move_gigabytes_are_always_stated(profile: str, catalog: Catalog) -> None:
    found = plan_for(catalog, profile, "qwen3-0.6b")
    for flag, value in (
        ("--max-num-seqs", found.max_num_seqs),
        ("--max-num-batched-tokens", found.max_num_batched_tokens),
        ("--max-model-len", found.max_model_len),
        ("--tensor-parallel-size", found.tensor_parallel),
        ("--pipeline-parallel-size", found.pipeline_parallel),
        ("--data-parallel-size", found.data_parallel),
        ("--served-model-name", found.model),
        ("--dtype", found.dtype),
    ):
        assert value_of(found, flag) == str(value)
    assert "--trust-remote-code" not in found.engine_args


def test_flags_are_written_in_full_and_once(catalog: Catalog) -> None:
    found = plan_for(catalog, "l40s-48g-x1", R1D + "qwen-7b", quantization="fp8", eager=True)
    flags = [w for w in found.engine_args if w.startswith("--")]
    assert len(flags) == len(set(flags))
    assert set(flags) <= {a.flag for a in catalog.engine(found.engine).arguments}
    assert value_of(found, "--quantization") == "fp8"
    assert "--enforce-eager" in flags


@pytest.mark.parametrize(
    ("model", "reasoning", "tools"),
    [
        (R1D + "qwen-7b", "deepseek_r1", None),
        (R1D + "llama-70b", "deepseek_r1", "llama3_json"),
        ("qwen2.5-7b-instruct", None, "hermes"),
        ("qwen3-8b", "qwen3", "hermes"),
    ],
)
def test_parsers_are_the_models_own(model: str, reasoning: str | None, tools: str | None, catalog: Catalog) -> None:
    found = plan_for(catalog, "a100-80g-x4", model)
    flags = dict(zip(found.engine_args, [*found.engine_args[1:], ""], strict=True))
    assert flags.get("--reasoning-parser") == reasoning
    assert flags.get("--tool-call-parser") == tools
    assert ("--enable-auto-tool-choice" in flags) == (tools is not None)


def test_the_cpu_is_told_how_much_cache_to_take(catalog: Catalog) -> None:
    found = plan_for(catalog, "cpu", "qwen3-0.6b")
    said = found.engine_args[found.engine_args.index("--kv-cache-memory-bytes") + 1]
    assert int(said) == found.kv_space_bytes == found.memory.per_rank[0].kv_gib_low * GIB
    assert "--gpu-memory-utilization" not in found.engine_args
    assert found.kv_cache_tokens is not None
    assert found.kv_cache_tokens.low == found.kv_cache_tokens.high


def test_what_was_asked_is_taken_and_said(catalog: Catalog) -> None:
    asked: dict[str, Any] = {
        "engine": "vllm", "engine_version": "0.26.0", "utilization": 0.8, "dtype": "float16", "kv_dtype": "fp8",
        "context": 8192, "sequences": 32, "batched_tokens": 1024, "eager": True,
    }  # fmt: skip
    found = plan_for(catalog, "h100-80g-x1", R1D + "qwen-7b", **asked)
    assert (found.max_model_len, found.max_num_seqs, found.max_num_batched_tokens) == (8192, 32, 1024)
    assert (found.dtype, found.kv_dtype, found.utilization, found.eager) == ("float16", "fp8", 0.8, True)
    assert "context 8192 tokens: asked" in "\n".join(found.because)
    assert found.memory.per_rank[0].budget_gib == pytest.approx(0.8 * 79.18, abs=1e-3)


def test_batches_grow_with_the_card(catalog: Catalog) -> None:
    small, large = (plan_for(catalog, p, "qwen3-0.6b") for p in ("l40s-48g-x1", "h100-80g-x1"))
    assert (small.max_num_batched_tokens, large.max_num_batched_tokens) == (2048, 8192)


@pytest.mark.parametrize(
    ("profile", "tokens", "sequences"),
    [
        ("h100-80g-x1", 8192, 1024), ("a100-80g-x1", 2048, 256), ("l40s-48g-x1", 2048, 256), ("cpu", 2048, 128),
        ("b200-180g-x1", 16384, 1024), ("h20-96g-x1", 8192, 1024),
    ],
)  # fmt: skip
def test_the_engines_own_batch_limits_are_stated_too(
    profile: str, tokens: int, sequences: int, catalog: Catalog
) -> None:
    found = plan_for(catalog, profile, "qwen3-0.6b", batching="engine")
    assert (found.max_num_batched_tokens, found.max_num_seqs) == (tokens, sequences)
    assert value_of(found, "--max-num-seqs") == str(sequences)
    assert any("the engine's own, its default" in line for line in found.because)
    asked = plan_for(catalog, profile, "qwen3-0.6b", batching="engine", sequences=8)
    assert (asked.max_num_batched_tokens, asked.max_num_seqs) == (tokens, 8)
    assert plan_for(catalog, profile, "qwen3-0.6b", batching="plan") == plan_for(catalog, profile, "qwen3-0.6b")


def test_batch_limits_that_nobody_knows_are_refused(catalog: Catalog) -> None:
    with pytest.raises(Unsupported, match="own batch limits on Huawei Ascend"):
        plan_for(catalog, "910b-64g-x1", "qwen3-8b", batching="engine")
    with pytest.raises(BadValue, match="--batching 'engin' is none of plan, engine") as caught:
        plan_for(catalog, "cpu", "qwen3-0.6b", batching="engin")
    assert caught.value.hint == "try --batching engine"


# --- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deepseek-r1", "deepseek-r1"),
        ("Qwen/Qwen3-0.6B", "qwen3-0.6b"),
        ('it\'s a "model"; $(id)', "it-s-a-model-id"),
        ("../../etc/passwd", "passwd"),
        ("..", "model"),
        ("模型", "model"),
        ("a" * 200, "a" * 64),
        ("a" * 63 + "-b", "a" * 63),
    ],
)
def test_a_slug_holds_nothing_that_a_shell_could_read(name: str, expected: str) -> None:
    assert slug(name) == expected


@given(st.text(max_size=200))
def test_a_slug_is_always_a_tag_and_a_path(name: str) -> None:
    assert msgspec.convert(slug(name), str)
    assert set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert slug(name)[0].isalnum()
    assert len(slug(name)) <= 64


def test_our_base_is_named_by_what_it_is_made_of() -> None:
    one = Base(image="debian:x", suite="x", packages=("b", "a"))
    assert base_reference(one) == base_reference(msgspec.structs.replace(one, note="a note changes nothing"))
    for other in ({"packages": ("a",)}, {"suite": "y"}, {"image": "debian:y"}):
        assert base_reference(one) != base_reference(msgspec.structs.replace(one, **other))
    assert base_reference(Base(image="vendor/image:1@sha256:0")) == "vendor/image:1@sha256:0"


# --- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "model", "asked", "kind", "message", "hint"),
    [
        ("a100-80g-x8", "deepseek-r1", {}, DoesNotFit, "needs 79.29 GiB of weights", "--profile b200-180g-x4"),
        ("a100-80g-x4", "deepseek-r1", {}, DoesNotFit, "gives 72.91 of 79.25 GiB a card", "--profile b200-180g-x4"),
        ("rtx4090-24g-x1", R1D + "qwen-14b", {}, DoesNotFit, "27.51 GiB of weights", "--quantization fp8"),
        ("rtx4090-24g-x1", R1D + "qwen-7b", {"context": 131072}, DoesNotFit, "131072 are asked", "invoke plan"),
        ("910b-64g-x8", "deepseek-r1", {}, Unsupported, "a checkpoint in fp8 does not load", "invoke plan"),
        ("cpu", "qwen3-0.6b", {"context": 50000}, BadValue, "--context 50000 is more than the 40960", "40960"),
        ("cpu", "qwen3-0.6b", {"context": 0}, BadValue, "--context 0 is not a number of tokens", "--context 40960"),
        ("cpu", "qwen3-0.6b", {"utilization": 1.5}, BadValue, "--utilization 1.5 is not a share", "0.9"),
        ("cpu", "qwen3-0.6b", {"utilization": 0.0}, BadValue, "--utilization 0 is not a share", "0.9"),
        ("cpu", "qwen3-0.6b", {"utilization": float("nan")}, BadValue, "--utilization nan", "0.9"),
        ("cpu", "qwen3-0.6b", {"sequences": 0}, BadValue, "--sequences 0 is less than 1", "--sequences 16"),
        ("cpu", "qwen3-0.6b", {"sequences": 64, "batched_tokens": 32}, BadValue,
         "--batched-tokens 32 is less than --sequences 64", "--batched-tokens 2048"),
        ("cpu", "qwen3-0.6b", {"engine_version": "0.32"}, UnknownName, "no version of vLLM called '0.32'", "0.32.0"),
        ("cpu", "qwen3-0.6b", {"engine": "vlm"}, UnknownName, "no engine called 'vlm'", "did you mean vllm?"),
        ("cpu", "", {}, BadValue, "a model cannot be called ''", "--model NAME"),
        ("cpu", "-rf", {}, BadValue, "a model cannot be called '-rf'", "no leading dash"),
        ("cpu", "a\nb", {}, BadValue, "a model cannot be called 'a\\nb'", "no control characters"),
        ("cpu", "x" * 201, {}, BadValue, "a model cannot be called 'xxx", "1 to 200 characters"),
    ],
)  # fmt: skip
def test_a_refusal_says_the_numbers_and_what_to_type(
    profile: str, model: str, asked: dict[str, Any], kind: type[Refused], message: str, hint: str, catalog: Catalog
) -> None:
    with pytest.raises(kind) as caught:
        plan_for(catalog, profile, model, **asked)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("profile", "model", "asked"),
    [
        ("a100-80g-x8", "deepseek-r1", {}),
        ("rtx4090-24g-x1", R1D + "qwen-7b", {"context": 131072}),
        ("910b-64g-x8", "deepseek-r1", {}),
        ("a100-80g-x1", R1D + "llama-70b", {"kv_dtype": "fp8"}),
        ("cpu", R1D + "qwen-7b", {"kv_dtype": "fp8", "dtype": "float16"}),
        ("l40s-48g-x4", R1D + "llama-70b", {"tensor_parallel": 3, "context": 16384}),
        ("h200-141g-x8", "qwen3-30b-a3b", {"data_parallel": 4}),
        ("rtx4090-24g-x1", "qwen3-32b", {}),
        ("t4-16g-x1", R1D + "qwen-14b", {}),
    ],
)
def test_every_alternative_fits_when_it_is_typed(
    profile: str, model: str, asked: dict[str, Any], catalog: Catalog
) -> None:
    with pytest.raises((DoesNotFit, Unsupported)) as caught:
        plan_for(catalog, profile, model, **asked)
    found = caught.value.alternatives
    assert 1 <= len(found) <= 5
    assert caught.value.hint == f"try {found[0]['command']}"
    assert len({a["command"] for a in found}) == len(found)
    for alternative in found:
        assert alternative.keys() == {"command", "change", "holds"}
        again = make_plan(order_of(alternative["command"]), catalog)
        assert alternative["holds"] == f"context {again.max_model_len} tokens, {again.precision}"


@pytest.mark.parametrize(
    ("profile", "model", "engine", "change"),
    [
        ("a100-80g-x8", "deepseek-r1", None, "more machines: planned, not started from here"),
        ("910b-64g-x8", "qwen3-235b-a22b", "mindie", "more machines: rendered, not started from here"),
    ],
)
def test_a_machine_that_can_be_started_comes_before_several_that_cannot(
    profile: str, model: str, engine: str | None, change: str, catalog: Catalog
) -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan_for(catalog, profile, model, engine=engine)
    several = [catalog.profile(order_of(a["command"]).profile).nodes > 1 for a in caught.value.alternatives]
    assert several == [False, False, False, False, True]
    assert caught.value.alternatives[-1]["change"] == change


def test_less_asked_of_the_same_machine_still_comes_first(catalog: Catalog) -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan_for(catalog, "t4-16g-x1", R1D + "qwen-14b")
    changes = [a["change"] for a in caught.value.alternatives]
    assert changes == ["the model's quantized variant", "more cards", *["another machine"] * 3]


def order_of(command: str) -> Order:
    words = command.split()
    assert words[:2] == ["invoke", "plan"]
    pairs = zip(words[2::2], words[3::2], strict=True)
    found = {flag.removeprefix("--").replace("-", "_"): value for flag, value in pairs}
    return msgspec.convert(found, Order, strict=False)


def test_a_command_line_can_be_pasted() -> None:
    order = Order(profile="cpu", model='it\'s "x"', context=4096, utilization=0.85, eager=True)
    assert command_line(order) == (
        """invoke plan --profile cpu --model 'it'"'"'s "x"' --utilization 0.85 --context 4096 --eager"""
    )


# --- warnings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "model", "asked", "words"),
    [
        ("h20-96g-x8", "deepseek-r1", {}, "narrow: "),
        ("a100-80g-x1", R1D + "qwen-7b", {"utilization": 0.97}, "utilization 0.97 leaves the driver no room"),
        ("b200-180g-x1", R1D + "llama-70b", {}, "holds 0.7 requests of 131072 tokens at once"),
    ],
)
def test_what_is_tight_is_said(profile: str, model: str, asked: dict[str, Any], words: str, catalog: Catalog) -> None:
    assert any(words in w for w in plan_for(catalog, profile, model, **asked).warnings)


def test_a_hybrid_model_is_promised_no_tokens(catalog: Catalog) -> None:
    model = catalog.model("qwen3-8b")
    why = "its layers are of several kinds (sliding window, linear or state space)"
    hybrid = msgspec.structs.replace(model, shape=msgspec.structs.replace(model.shape, no_kv_rate_because=why))
    with pytest.raises(Unsupported, match="no context can be promised, because its layers"):
        make_plan(Order(profile="a100-80g-x1", model="hybrid"), catalog, hybrid)
    found = make_plan(Order(profile="a100-80g-x1", model="hybrid", context=8192), catalog, hybrid)
    assert found.max_model_len == 8192
    assert found.kv_cache_tokens is None
    assert found.memory.kv_bytes_per_token is None
    assert any(why in w for w in found.warnings)


# --- a card is one YAML --------------------------------------------------------------------------------

CARD = """
title: Example Accelerator 128 GB
family: cuda
visible_gib: 127.5
visible_basis: "made up, for this test"
counts: [1, 2, 4]
interconnect: {kind: nvlink, peer_to_peer: true, tensor_parallel_cards: 4}
precisions: {bfloat16: native, float16: native, fp8: native}
aliases: [example]
sources: ["made up, for this test"]
"""


def test_adding_a_card_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "example-128g.yaml").write_text(CARD, encoding="utf-8")
    catalog = Catalog(tmp_path)
    found = plan_for(catalog, "example-128g-x2", R1D + "llama-70b")
    assert (found.profile, found.tensor_parallel) == ("example-128g-x2", 2)
    assert found.memory.per_rank[0].visible_gib == 127.5
    assert plan_for(catalog, "example-x2", R1D + "llama-70b").tensor_parallel == 2
    assert found.evidence.level == "rendered"
    assert "example-128g" not in Catalog().card_ids()


def test_an_alias_of_two_cards_says_which_was_taken(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    for card, aliases in (("example-128g", "[example]"), ("example-pro", "[]"), ("mine", "[example-lite]")):
        text = CARD.replace("[example]", aliases)
        (tmp_path / "profiles" / f"{card}.yaml").write_text(text, encoding="utf-8")
    catalog = Catalog(tmp_path)
    (line,) = taken_for("example-x4-n2", catalog)
    assert line.startswith("--profile example-x4-n2 is taken for example-128g-x4-n2")
    assert "--profile example-pro-x4-n2" in line
    assert "--profile mine-x4-n2" in line
    for plain in ("example-128g-x4", "example-pro", "mine-x2", "example-lite"):
        assert taken_for(plain, catalog) == (), plain


def test_of_the_cards_here_only_one_alias_has_two_meanings(catalog: Catalog) -> None:
    aliases = [a for i in catalog.card_ids() for a in catalog.card(i).aliases]
    said = [line for a in aliases for line in taken_for(f"{a}-x1", catalog)]
    assert len(said) == 1
    assert "h20-96g-x1" in said[0]
    assert said[0].endswith("--profile h20-141g-x1")


def test_a_model_and_an_engine_of_ones_own_are_files_too(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    text = (ROOT / "models" / "qwen3-8b.yaml").read_text(encoding="utf-8")
    (tmp_path / "models" / "mine.yaml").write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "images" / "vllm", tmp_path / "images" / "other")
    found = plan_for(Catalog(tmp_path), "a100-80g-x1", "mine", engine="other")
    assert (found.model, found.engine) == ("mine", "other")


# --- what always holds ---------------------------------------------------------------------------------

PROFILES = [p.id for p in Catalog().profiles()] + ["h20-96g-x8-n2", "a100-80g-x4-n2"]
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
orders = st.builds(
    Order,
    profile=st.sampled_from(PROFILES),
    model=st.sampled_from(Catalog().model_ids()),
    utilization=st.none() | st.floats(0.05, 1.0),
    context=st.none() | st.integers(1, 40960),
    sequences=st.none() | st.integers(1, 1024),
    eager=st.sampled_from([None, True, False]),
    quantization=st.sampled_from([None, "fp8"]),
    kv_dtype=st.sampled_from([None, "fp8"]),
)


def plan_alone(order: Order, catalog: Catalog) -> Plan | None:
    """The plan without the search for alternatives; None when it is refused."""
    profile = catalog.profile(order.profile)
    try:
        return plan(order, profile, catalog.engine(profile.family.default_engine), catalog.model(order.model))
    except Refused:
        return None


@quick
@given(order=orders)
def test_a_plan_never_exceeds_what_there_is(order: Order, catalog: Catalog) -> None:
    found = plan_alone(order, catalog)
    if found is None:
        return
    profile, shape = catalog.profile(order.profile), catalog.model(order.model).shape
    assert found.tensor_parallel * found.pipeline_parallel * found.data_parallel == found.cards <= profile.cards
    assert shape.heads % found.tensor_parallel == 0
    assert found.tensor_parallel <= profile.count
    assert found.max_model_len <= shape.max_context_tokens
    assert found.max_num_batched_tokens >= found.max_num_seqs
    for rank in found.memory.per_rank:
        assert rank.budget_gib <= rank.visible_gib
        assert 0 <= rank.kv_gib_low <= rank.kv_gib_high
        assert rank.overhead_gib_low <= rank.overhead_gib_high
        if rank.kv_gib_low:
            promised = rank.weights_gib + rank.overhead_gib_high + rank.kv_gib_low
            assert promised <= rank.budget_gib + 0.005
            assert found.kv_space_bytes or promised == pytest.approx(rank.budget_gib, abs=0.005)
    if found.kv_cache_tokens:
        low, high = found.kv_cache_tokens.low, found.kv_cache_tokens.high
        assert found.max_model_len <= low <= high
        bytes_low = low * (found.memory.kv_bytes_per_token or 0)
        assert bytes_low <= max(r.kv_gib_low for r in found.memory.per_rank) * GIB * 1.001


@quick
@given(
    model=st.sampled_from([R1D + "qwen-7b", R1D + "qwen-32b", R1D + "llama-70b", "qwen3-30b-a3b"]),
    split=st.sampled_from([(1, 1), (2, 1), (4, 1), (2, 2), (1, 4)]),
    small=st.floats(20, 180),
    more=st.floats(0, 60),
)
def test_more_memory_never_means_less_context(
    model: str, split: tuple[int, int], small: float, more: float, catalog: Catalog
) -> None:
    """At the same split and the same batches."""
    base = catalog.profile("a100-80g-x4")
    order = Order(
        profile=base.id, model=model, tensor_parallel=split[0], pipeline_parallel=split[1], sequences=64,
        batched_tokens=2048,
    )  # fmt: skip
    lengths = []
    for visible in (small, small + more):
        card = msgspec.structs.replace(base.card, visible_gib=visible)
        profile = msgspec.structs.replace(base, card=card)
        try:
            found = plan(order, profile, catalog.engine("vllm"), catalog.model(model))
            lengths.append(found.max_model_len)
        except DoesNotFit:
            lengths.append(0)
    assert lengths[0] <= lengths[1]


# --- files at hand -------------------------------------------------------------------------------------


def test_the_files_own_headers_beat_the_shape(catalog: Catalog) -> None:
    model = catalog.model("qwen3-8b")
    order = Order(profile="h100-80g-x1", model="qwen3-8b")
    plain = make_plan(order, catalog, model)
    stored = round(1.04 * plain.memory.weights_total_gib * GIB)
    found = make_plan(order, catalog, msgspec.structs.replace(model, stored_bytes=stored))
    assert found.memory.weights_total_gib == pytest.approx(1.04 * plain.memory.weights_total_gib, rel=1e-3)
    assert any("by the files' own headers, 104" in b for b in found.because)
    half = make_plan(order, catalog, msgspec.structs.replace(model, stored_bytes=stored // 2))
    assert any("are they this model's?" in w for w in half.warnings)
