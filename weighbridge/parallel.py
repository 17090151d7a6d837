"""Which ways of cutting a model over cards are possible, and which is best for the way the cards are linked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from weighbridge.errors import BadValue, Unsupported
from weighbridge.facts import Profile, Shape
from weighbridge.memory import Split, padded_vocabulary
from weighbridge.types import Order, Span

COMFORT = 2  # a replica is large enough once it holds this many requests of the full context
GOOD_SHARE = 0.5  # a better-linked split may hold less than the largest, down to this share of its tokens


class Layout(NamedTuple):
    """A split of one replica, how many replicas, and the tokens each replica holds."""

    split: Split
    replicas: int
    tokens: Span


def cannot_split(shape: Shape, tp: int, pp: int) -> str | None:
    """Why a model cannot be cut so, with the numbers; None when it can."""
    if shape.heads % tp:
        return f"{shape.heads} attention heads do not divide by tensor parallel {tp}"
    if not shape.mla and shape.kv_heads % tp and tp % shape.kv_heads:
        return f"{shape.kv_heads} KV heads do not divide by tensor parallel {tp}, nor the other way"
    if padded_vocabulary(shape) % tp:
        return f"a vocabulary of {padded_vocabulary(shape)} does not divide by tensor parallel {tp}"
    if pp > shape.layers:
        return f"{shape.layers} layers are fewer than {pp} pipeline stages"
    block = shape.quantization.block if shape.quantization else None
    sizes = [shape.experts.intermediate_size] if shape.experts else []
    for size in [*sizes, shape.intermediate_size] if block else []:
        if size % tp or (block and (size // tp) % block[0]):
            return f"a size of {size} over tensor parallel {tp} cuts through FP8 blocks of {block and block[0]}"
    return None


def splits(order: Order, profile: Profile, shape: Shape) -> Iterator[Split]:
    """Every possible split of one replica, those with fewer cards first, then as the cards are linked."""
    for group in range(1, profile.cards + 1):
        if profile.cards % group == 0 and (group <= profile.count or group == profile.cards):
            found = [s for s in _of_size(group, profile) if not cannot_split(shape, *s) and _asked(order, s)]
            yield from sorted(found, key=lambda s: _preference(s, profile))


def _of_size(group: int, profile: Profile) -> Iterator[Split]:
    """Tensor parallel stays inside a machine; a replica over machines has at least a stage on each."""
    for tp in range(1, min(group, profile.count) + 1):
        if group % tp == 0 and profile.count % tp == 0:
            yield Split(tp, group // tp)


def _asked(order: Order, split: Split) -> bool:
    tp, pp = order.tensor_parallel, order.pipeline_parallel
    return (tp is None or tp == split.tensor_parallel) and (pp is None or pp == split.pipeline_parallel)


def _preference(split: Split, profile: Profile) -> tuple[int, int]:
    """Tensor parallel as wide as the links carry it, pipeline stages for the rest."""
    beyond = max(0, split.tensor_parallel - profile.card.interconnect.tensor_parallel_cards)
    return beyond, split.pipeline_parallel


def choose_layout(order: Order, profile: Profile, shape: Shape, tokens: Callable[[Split], Span], wanted: int) -> Layout:
    """The smallest replica that is comfortable, else the one that holds most.

    `tokens` tells how many tokens of KV cache a replica holds; `wanted` is the context it should serve.
    Raises Unsupported when no split is possible, BadValue for one into none.
    """
    for name in ("tensor_parallel", "pipeline_parallel", "data_parallel"):
        asked = getattr(order, name)
        if asked is not None and asked < 1:
            flag = "--" + name.replace("_", "-")
            raise BadValue(f"{flag} {asked} is less than 1", f"try {flag} 1")
    found: list[Layout] = []
    for split in splits(order, profile, shape):
        layout = Layout(split, order.data_parallel or profile.cards // split.ranks, tokens(split))
        if layout.replicas * split.ranks > profile.cards:
            continue
        found.append(layout)
    if not found:
        raise _impossible(order, profile, shape)
    comfortable = [x for x in found if x.tokens.low >= COMFORT * wanted]
    if comfortable:
        return next((x for x in comfortable if _preference(x.split, profile)[0] == 0), comfortable[0])
    most = max(x.tokens.low for x in found)
    if not most:  # nothing fits: speak of the replica that comes nearest
        return max(found, key=lambda x: x.split.ranks)
    holds = [x for x in found if x.tokens.low >= min(wanted, most * GOOD_SHARE)]
    return min(holds, key=lambda x: (_preference(x.split, profile), -x.tokens.low))


def _impossible(order: Order, profile: Profile, shape: Shape) -> Unsupported:
    tp, pp = order.tensor_parallel or 1, order.pipeline_parallel or 1
    ranks = tp * pp * (order.data_parallel or 1)
    free = Order(profile=order.profile, model=order.model)
    able = sorted({s.tensor_parallel for s in splits(free, profile, shape)})
    hint = f"{profile.id} can take --tensor-parallel {', '.join(map(str, able))}"
    if ranks > profile.cards:
        return Unsupported(
            f"{tp} x {pp} x {order.data_parallel or 1} = {ranks} cards; {profile.id} has {profile.cards}", hint
        )
    if tp > profile.count:
        return Unsupported(f"tensor parallel {tp} reaches past one machine of {profile.count} cards", hint)
    why = cannot_split(shape, tp, pp) or f"{profile.cards} cards do not divide into groups of {tp} x {pp}"
    return Unsupported(f"{order.model}: {why}", hint)
