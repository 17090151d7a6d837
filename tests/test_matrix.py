"""Every kind of machine with every engine that runs there and four models: what is planned starts, and starts clean."""

from __future__ import annotations

import json
import shlex
from functools import cache
from typing import NamedTuple

import jsonschema_rs
import pytest
from support import ROOT, spec_of

from weighbridge.catalog import Catalog
from weighbridge.errors import DoesNotFit, Refused, Unsupported
from weighbridge.lint import lint_plan
from weighbridge.plan import plan as planned
from weighbridge.render import RUNTIMES, render_all, spelling
from weighbridge.road import checked
from weighbridge.types import Order, Plan

# A small one whose 28 heads divide by few numbers, a large one, experts, and the largest, with MLA and blocks of FP8.
MODELS = ("qwen2.5-7b-instruct", "deepseek-r1-distill-llama-70b", "qwen3-30b-a3b", "deepseek-r1")
NEVER = ("privileged", "--net=host", "--network host", "--ipc=host", "--ipc host", "--cap-add", "docker.sock", "--pid=")
SCHEMAS = {p.name.split(".")[0]: p for p in ROOT.glob("images/*/*.schema.json")}


class Row(NamedTuple):
    """A machine with an engine; of a card whose memory is not public with 90 GiB a card."""

    profile: str
    engine: str


def rows() -> list[Row]:
    found = Catalog()
    return [
        Row(profile.id, engine)
        for profile in found.profiles()
        for engine in found.engine_ids()
        if profile.card.family in found.engine(engine).families
    ]


@cache
def outcomes(row: Row, catalog: Catalog) -> dict[str, Plan | Refused]:
    profile = catalog.profile(row.profile)
    found: dict[str, Plan | Refused] = {}
    for model in MODELS:
        gib = None if profile.card.visible_gib else 90.0
        order = Order(profile=row.profile, engine=row.engine, model=model, visible_gib=gib)
        try:
            plan = planned(order, profile, catalog.engine(row.engine), catalog.model(model))
            found[model] = checked(plan, catalog)
        except Refused as e:
            found[model] = e
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda r: f"{r.engine}-{r.profile}")
def test_what_is_planned_is_rendered_and_linted_and_what_is_not_says_why(row: Row, catalog: Catalog) -> None:
    for model, found in outcomes(row, catalog).items():
        if isinstance(found, Refused):
            assert isinstance(found, DoesNotFit | Unsupported), f"{model}: {found}"
            assert found.message
            assert "\n" not in found.message
            continue
        spec = spec_of(found, catalog)
        linted = lint_plan(found, spec, catalog)
        assert linted.findings == (), model
        if found.engine_args:  # by the parser of exactly that version
            assert f"arguments of {found.engine_version}" in " ".join(linted.checked)
        for runtime in RUNTIMES:
            line = spelling(runtime, found, spec, catalog)
            assert shlex.split(line.replace("\\\n", " "))[:2] == [runtime, "run"]
            assert not [word for word in NEVER if word in line]
            shown = [w for d in spec.devices for w in ("--device", d)]
            assert all(w in line for w in shown)
        assert found.cards <= catalog.profile(row.profile).cards
        check_files(found, catalog)


def check_files(plan: Plan, catalog: Catalog) -> None:
    """The files that an engine reads instead of arguments are as their schemas say."""
    if not plan.config_files:
        return
    files = render_all(plan, spec_of(plan, catalog), catalog)
    for name in plan.config_files:
        schema = json.loads(SCHEMAS[name.split(".")[0]].read_text(encoding="utf-8"))
        found = json.loads(files[f"image/config/{name}"].text)
        assert list(jsonschema_rs.validator_for(schema).iter_errors(found)) == []


def test_the_matrix_is_whole_and_says_something() -> None:
    """No engine and no card is missing, every model is planned somewhere and refused somewhere."""
    found = Catalog()
    assert {row.engine for row in rows()} == set(found.engine_ids())
    assert {found.profile(row.profile).card_id for row in rows()} == set(found.card_ids())
    counts = {row.profile for row in rows()}
    assert all(len([p for p in counts if found.profile(p).card_id == c]) == len(found.card(c).counts)
               for c in found.card_ids())  # fmt: skip
    for model in MODELS:  # as many machines as it takes to see both
        for kind in (Plan, Refused):
            assert any(isinstance(outcomes(row, found)[model], kind) for row in rows()), f"{model}: no {kind.__name__}"
