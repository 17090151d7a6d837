"""Why a plan is as it is: the lines a person reads beside the numbers."""

from __future__ import annotations

from weighbridge.memory import GIB
from weighbridge.parallel import COMFORT, Layout, cannot_split
from weighbridge.types import Order
from weighbridge.weigh import Weighing
from weighbridge.words import many

_ODD_SHARE = 0.1  # files that differ from the shape by more than this are worth a question
_NARROW_SHARE = 0.05  # a promised KV cache smaller than this share of the budget is a narrow margin


def layout_because(order: Order, weighing: Weighing, layout: Layout, wanted: int) -> tuple[str, ...]:
    split, profile = layout.split, weighing.profile
    if profile.cards == 1:
        return ("one card: nothing to divide",)
    lines = []
    if split.tensor_parallel > 1 or order.tensor_parallel:
        why = "asked" if order.tensor_parallel else _width_because(weighing, layout)
        lines.append(f"tensor parallel {split.tensor_parallel}: {why}")
    if split.pipeline_parallel > 1:
        lines.append(f"pipeline parallel {split.pipeline_parallel}: {_stages_because(order, weighing, layout)}")
    if layout.replicas > 1:
        enough = f"each replica of {split.ranks} holds {layout.tokens.low / wanted:.1f} full contexts"
        why = "asked" if order.data_parallel else f"{enough}; replicas need no all-reduce between them"
        lines.append(f"data parallel {layout.replicas}: {why}")
    elif weighing.model.shape.experts:
        lines.append("one replica: the experts are divided over all its cards; replicas of them would work in step")
    idle = profile.cards - split.ranks * layout.replicas
    return (*lines, *([f"{many(idle, 'card stays', 'cards stay')} idle"] if idle else []))


def _width_because(weighing: Weighing, layout: Layout) -> str:
    if weighing.profile.nodes > 1 and layout.split.pipeline_parallel == layout.replicas == 1:
        return "from machine to machine, since this engine cuts no model into stages"
    link = weighing.profile.card.interconnect
    if layout.split.tensor_parallel > link.tensor_parallel_cards:
        return f"so it is held; {link.kind} carries it slowly"
    return f"{link.kind} carries it"


def _stages_because(order: Order, weighing: Weighing, layout: Layout) -> str:
    if order.pipeline_parallel:
        return "asked"
    if layout.split.ranks > weighing.profile.count:
        return "from machine to machine"
    if order.tensor_parallel:
        return "what tensor parallel, as asked, leaves of the cards"
    link = weighing.profile.card.interconnect
    if layout.split.tensor_parallel >= link.tensor_parallel_cards:
        return f"{link.kind} does not carry wider tensor parallel"
    if cannot_split(weighing.model.shape, 2 * layout.split.tensor_parallel, 1):
        return "the model does not divide by wider tensor parallel"
    return "stages leave more for the KV cache than wider tensor parallel"


def memory_because(weighing: Weighing, layout: Layout) -> tuple[str, ...]:
    worst = weighing.tightest(layout.split)
    budget = f"{weighing.utilization:g} x {worst.visible_gib:g} visible = {worst.budget_gib:.2f} GiB"
    lines = [
        f"budget a card: {budget}; weights {worst.weights_gib:.2f}, overhead {worst.overhead_gib_low:.2f} to"
        f" {worst.overhead_gib_high:.2f}, which leaves {worst.kv_gib_low:.2f} to {worst.kv_gib_high:.2f} GiB",
        f"overhead: {weighing.overhead.because}{_measured(weighing)}",
    ]
    if weighing.files_share != 1.0:
        stored = (weighing.model.stored_bytes or 0) / GIB
        lines.append(
            f"weights: {stored:.2f} GiB by the files' own headers, {weighing.files_share:.1%} of what the shape says"
        )
    if weighing.family.kv_cache == "stated":
        space = weighing.kv_space_gib(layout.split)
        lines.append(
            f"KV cache of {space} GiB is stated to the engine: what"
            f" {many(weighing.load.sequences, 'full sequence needs', 'full sequences need')}, in whole GiB"
        )
    if not weighing.model.shape.no_kv_rate_because:
        rate = max(weighing.rates(layout.split))
        lines.append(f"KV cache: {rate:.0f} bytes a token a rank; {layout.tokens.low} tokens promised")
    return tuple(lines)


def _measured(weighing: Weighing) -> str:
    measured = weighing.overhead.measured_on
    return (
        f"; none of them on {weighing.profile.card_id}" if measured and weighing.profile.card_id not in measured else ""
    )


def warnings(weighing: Weighing, layout: Layout, wanted: int) -> tuple[str, ...]:
    found = []
    if weighing.profile.nodes > 1:
        found.append("planned over several machines; starting it there is not offered yet")
    if abs(weighing.files_share - 1) > _ODD_SHARE:
        found.append(
            f"the files hold {weighing.files_share:.0%} of what config.json's shape needs: are they this model's?"
        )
    link = weighing.profile.card.interconnect
    if layout.split.tensor_parallel > link.tensor_parallel_cards:
        found.append(f"tensor parallel {layout.split.tensor_parallel} is wider than {link.kind} carries well")
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
    if held < COMFORT and not why and not found:
        found.append(f"the KV cache holds {held:.1f} requests of {wanted} tokens at once; shorter ones share it")
    return tuple(found)
