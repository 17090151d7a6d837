"""The picture of a plan: well-formed, to scale, and nothing a model's name could break."""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec
import pytest
from support import plan_for

from weighbridge.catalog import Catalog
from weighbridge.draw import plan_html, plan_svg
from weighbridge.types import Plan

SVG = "{http://www.w3.org/2000/svg}"
KINDS = ("weights", "kv", "band", "overhead", "free")


def bars(plan: Plan) -> list[dict[str, float]]:
    """For each stage the widths of its parts; the legend's squares are left out."""
    root = ElementTree.fromstring(plan_svg(plan))  # noqa: S314  our own text
    parts = [r for r in root.iter(f"{SVG}rect") if r.get("class") in KINDS and r.get("height") == "34"]
    rows = sorted({float(r.get("y", 0)) for r in parts})
    return [{str(r.get("class")): float(r.get("width", 0)) for r in parts if float(r.get("y", 0)) == y} for y in rows]


@pytest.mark.parametrize(
    ("profile", "model", "stages"),
    [("l40s-48g-x4", "deepseek-r1-distill-llama-70b", 2), ("h20-96g-x8", "deepseek-r1", 1), ("cpu", "qwen3-0.6b", 1)],
)
def test_a_bar_for_each_stage_drawn_to_scale(profile: str, model: str, stages: int, catalog: Catalog) -> None:
    plan = plan_for(catalog, profile, model)
    found = bars(plan)
    assert len(found) == stages
    rank = plan.memory.per_rank[0]
    for bar in found:
        assert set(bar) == set(KINDS)
        assert all(width >= 0 for width in bar.values())
        whole = sum(bar.values())
        assert bar["weights"] / whole == pytest.approx(rank.weights_gib / rank.visible_gib, abs=0.01)
        assert bar["kv"] / whole == pytest.approx(rank.kv_gib_low / rank.visible_gib, abs=0.01)


def test_the_page_says_reasons_warnings_and_arguments(catalog: Catalog) -> None:
    plan = plan_for(catalog, "l40s-48g-x4", "deepseek-r1-distill-llama-70b")
    page = plan_html(plan)
    assert all(b.replace("'", "&#x27;") in page for b in plan.because)
    assert plan.warnings[0] in page
    assert "--pipeline-parallel-size 2" in page


def test_the_page_asks_nothing_of_the_network(catalog: Catalog) -> None:
    page = plan_html(plan_for(catalog, "cpu", "weighbridge-demo"))
    assert "default-src 'none'" in page
    links = [w for w in ("<script", "<link", "<img", "src=") if w in page]
    assert links == []


def test_a_hostile_name_stays_text(catalog: Catalog) -> None:
    name = "<script>alert(1)</script>&\"'"
    plan = msgspec.structs.replace(plan_for(catalog, "cpu", "weighbridge-demo"), model=name)
    assert "<script>" not in plan_html(plan)
    title = next(ElementTree.fromstring(plan_svg(plan)).iter(f"{SVG}title"))  # noqa: S314
    assert (title.text or "").startswith(name)
