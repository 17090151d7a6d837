"""Is every configuration file that we render one that its engine takes?"""

from __future__ import annotations

import json

import jsonschema_rs
import pytest
from support import ROOT, Case, cases, plan_for

from weighbridge.catalog import Catalog
from weighbridge.errors import BadValue, NotPublic, Refused, Unsupported
from weighbridge.render import render_image

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
