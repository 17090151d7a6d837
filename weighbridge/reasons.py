"""Why a plan is as it is: the lines a person reads beside the numbers."""

from __future__ import annotations

from weighbridge.parallel import COMFORT, Layout
from weighbridge.weigh import Weighing

_NARROW_SHARE = 0.05  # a promised KV cache smaller than this share of the budget is a narrow margin


def layout_because(weighing: Weighing, layout: Layout, wanted: int) -> tuple[str, ...]:
    split, profile = layout.split, weighing.profile
    link = profile.card.interconnect
    lines = []
    if profile.cards == 1:
        return ("one card: nothing to divide",)
    if split.tensor_parallel > 1:
        lines.append(f"tensor parallel {split.tensor_parallel}: {link.kind} carries it")
    if split.pipeline_parallel > 1:
        spread = (
            "from machine to machine"
            if split.ranks > profile.count
            else f"{link.kind} does not carry wider tensor parallel"
        )
        lines.append(f"pipeline parallel {split.pipeline_parallel}: {spread}")
    if layout.replicas > 1:
        enough = f"each replica of {split.ranks} holds {layout.tokens.low / wanted:.1f} full contexts"
        lines.append(f"data parallel {layout.replicas}: {enough}; replicas need no all-reduce between them")
    idle = profile.cards - split.ranks * layout.replicas
    return (*lines, *([f"{idle} cards stay idle: asked"] if idle else []))


def memory_because(weighing: Weighing, layout: Layout) -> tuple[str, ...]:
    worst = weighing.tightest(layout.split)
    budget = f"{weighing.utilization:g} x {worst.visible_gib:g} visible = {worst.budget_gib:.2f} GiB"
    rest = f"{worst.kv_gib_low:.2f} to {worst.kv_gib_high:.2f} GiB for KV cache"
    lines = [
        f"budget a card: {budget}; weights {worst.weights_gib:.2f}, overhead {worst.overhead_gib_low:.2f} to"
        f" {worst.overhead_gib_high:.2f}, which leaves {rest}",
        f"overhead: {weighing.overhead.because}",
    ]
    rate = max(weighing.rates(layout.split))
    if not weighing.model.shape.no_kv_rate_because:
        lines.append(f"KV cache: {rate:.0f} bytes a token a rank; {layout.tokens.low} tokens promised")
    return tuple(lines)


def warnings(weighing: Weighing, layout: Layout, wanted: int) -> tuple[str, ...]:
    found = []
    if weighing.profile.nodes > 1:
        found.append("planned over several machines; starting it there is not offered yet")
    why = weighing.model.shape.no_kv_rate_because
    if why:
        found.append(f"no number of KV cache tokens is promised: {why}; the engine will tell after its start")
    worst = weighing.tightest(layout.split)
    if weighing.family.kv_cache == "remainder" and worst.kv_gib_low < _NARROW_SHARE * worst.budget_gib:
        found.append(
            f"narrow: {worst.kv_gib_low:.2f} GiB a card left for KV cache after {worst.weights_gib:.2f} GiB of weights"
        )
    if weighing.utilization > 0.95:
        found.append(f"utilization {weighing.utilization:g} leaves the driver no room; up to 0.95 starts reliably")
    held = layout.tokens.low / max(1, wanted)
    if held < COMFORT and not found:
        found.append(f"the KV cache holds {held:.1f} requests of {wanted} tokens at once; shorter ones share it")
    return tuple(found)
