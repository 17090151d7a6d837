"""Is every configuration file that we render one that its engine takes?"""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from support import ROOT, Case, cases, plan_for

from weighbridge.catalog import Catalog
from weighbridge.errors import BadValue, NotPublic, Refused, Unsupported
from weighbridge.render import render_image
from weighbridge.road import make_plan
from weighbridge.types import Order

SCHEMA = json.loads((ROOT / "images/mindie/config.schema.json").read_text(encoding="utf-8"))
CASES = [c for c in cases() if c.order.engine == "mindie" and not c.name.endswith("-refused")]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_the_file_is_as_the_engines_makers_say(case: Case, catalog: Catalog) -> None:
    plan = case.plan(catalog)
    config = json.loads(render_image(plan, catalog).files["config/config.json"].text)
    assert list(jsonschema_rs.validator_for(SCHEMA).iter_errors(config)) == []
    backend = config["BackendConfig"]
    deploy, schedule = backend["ModelDeployConfig"], backend["ScheduleConfig"]
    (model,) = deploy["ModelConfig"]
    assert model["worldSize"] == len(backend["npuDeviceIds"][0]) == plan.cards_per_node
    assert model["tp"] * model["pp"] == plan.cards
    assert deploy["maxInputTokenLen"] <= schedule["maxPrefillTokens"]
    assert deploy["maxInputTokenLen"] < deploy["maxSeqLen"] == schedule["maxIterTimes"] == plan.max_model_len
    server = config["ServerConfig"]
    assert (server["ipAddress"], server["httpsEnabled"], server["allowAllZeroIpListening"]) == (
        "127.0.0.1",
        False,
        False,
    )
    assert backend["multiNodesInferEnabled"] == (plan.nodes > 1)


def test_replicas_of_an_engine_that_has_none_are_refused(catalog: Catalog) -> None:
    with pytest.raises(Unsupported, match="data parallel 2: this engine runs one replica"):
        plan_for(catalog, "910b-64g-x2", "qwen3-8b", engine="mindie", data_parallel=2)
    plan = plan_for(catalog, "910b-64g-x8", "qwen2.5-7b-instruct", engine="mindie")
    assert (plan.tensor_parallel, plan.pipeline_parallel, plan.data_parallel) == (4, 1, 1)


def test_a_card_whose_memory_is_not_public_promises_nothing(catalog: Catalog) -> None:
    with pytest.raises(NotPublic) as caught:
        plan_for(catalog, "ppu-810e-96g-x8", "qwen3-32b")
    assert "--visible-gib" in caught.value.hint
    plan = plan_for(catalog, "ppu-810e-96g-x8", "qwen3-32b", visible_gib=90.0)
    assert plan.kv_cache_tokens is None
    assert any("90 GiB a card is what was asked" in w for w in plan.warnings)
    for profile, gib in (("a100-80g-x1", 90.0), ("ppu-810e-96g-x1", 0.5), ("ppu-810e-96g-x1", 1e6)):
        with pytest.raises((BadValue, Refused), match="--visible-gib"):
            plan_for(catalog, profile, "qwen3-0.6b", visible_gib=gib)


@pytest.mark.parametrize(("profile", "off"), [("l40s-48g-x4", True), ("a100-80g-x4", False), ("l40s-48g-x1", False)])
def test_cards_without_peer_to_peer_are_not_asked_for_it(profile: str, off: bool, catalog: Catalog) -> None:
    plan = plan_for(catalog, profile, "qwen3-8b")
    assert (plan.environment.get("NCCL_P2P_DISABLE") == "1") == off
    assert any("without peer-to-peer" in b for b in plan.because) == off
    assert any("driver 580 or newer" in b for b in plan.because)


OFF = ["--compilation-config", '{"pass_config": {"fuse_allreduce_rms": false}}']


@pytest.mark.parametrize(
    ("profile", "asked", "said"),
    [
        ("h200-141g-x4", {}, None),
        ("h200-141g-x4", {"without": "multicast"}, OFF),
        ("h200-141g-x4", {"without": "peer-to-peer"}, OFF),  # nothing is left that could copy to all
        ("h200-141g-x4", {"without": "multicast", "eager": True}, None),  # the fusion is the compiler's
        ("h200-141g-x4", {"without": "multicast", "tensor_parallel": 1, "pipeline_parallel": 4}, None),
        ("a100-80g-x4", {"without": "multicast"}, None),  # not fused there in the first place
        (
            "h200-141g-x4",
            {"without": "multicast", "engine": "sglang"},
            ["--enforce-disable-flashinfer-allreduce-fusion"],
        ),
    ],
)
def test_what_the_cards_of_a_host_lack_is_not_used(
    profile: str, asked: dict[str, Any], said: list[str] | None, catalog: Catalog
) -> None:
    plan = plan_for(catalog, profile, "qwen2.5-72b-instruct", **asked)
    off = [a for a in plan.engine_args if "fus" in a or a == OFF[0]]
    assert off == (said or [])
    assert plan.all_reduce == ("plain" if said else None)
    fused = profile.startswith("h200") and not asked
    assert any("is planned --without multicast" in b for b in plan.because) == fused
    assert any("apart from the norm" in b for b in plan.because) == bool(said)


def test_the_memory_of_a_fusion_that_is_off_is_the_caches(catalog: Catalog) -> None:
    order: dict[str, Any] = {"tensor_parallel": 2, "context": 32768}
    fused = plan_for(catalog, "h200-141g-x2", "qwen2.5-72b-instruct", **order)
    apart = plan_for(catalog, "h200-141g-x2", "qwen2.5-72b-instruct", **order, without="multicast")
    assert fused.kv_cache_tokens
    assert apart.kv_cache_tokens
    assert apart.kv_cache_tokens.low > fused.kv_cache_tokens.low
    assert apart.kv_cache_tokens.high == fused.kv_cache_tokens.high, "what is hoped had no fusion in it"
    assert apart.kv_cache_tokens.low <= 389_312, "what the engine held with the fusion off: tests/bare/h200.json"


def test_a_host_without_direct_copies_is_cut_as_cards_on_pcie(catalog: Catalog) -> None:
    order: dict[str, Any] = {"profile": "a100-80g-x4", "model": "deepseek-r1-distill-llama-70b"}
    usual, apart = (make_plan(Order(**order, without=w), catalog) for w in (None, "peer-to-peer,multicast"))
    assert (usual.tensor_parallel, usual.pipeline_parallel) == (4, 1)
    assert (apart.tensor_parallel, apart.pipeline_parallel) == (2, 2)
    assert "tensor parallel 2: pcie carries it" in apart.because
    assert apart.environment["NCCL_P2P_DISABLE"] == "1"
    assert any("without peer-to-peer" in b for b in apart.because)
    spellings = ("peer-to-peer", "multicast, peer-to-peer", "peer-to-peer,multicast")
    assert len({json.dumps(make_plan(Order(**order, without=w), catalog).engine_args) for w in spellings}) == 1
    assert {make_plan(Order(**order, without=w), catalog).without for w in spellings} == {"peer-to-peer"}
    cpu, told = (make_plan(Order(without=w), catalog) for w in (None, "peer-to-peer"))
    assert (told.because, told.engine_args) == (cpu.because, cpu.engine_args), "a CPU has no links to lack"
