"""Which ways of cutting a model over cards are possible, and which is best for the way the cards are linked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from weighbridge.engines import EngineFamily
from weighbridge.errors import BadValue, Unsupported
from weighbridge.facts import Profile, Shape
from weighbridge.memory import Split, padded_vocabulary
from weighbridge.types import Order, Span
from weighbridge.words import are, many

COMFORT = 2  # a replica is large enough once it holds this many requests of the full context
GOOD_SHARE = 0.5  # smaller or better-linked replicas may hold less than the most, down to this share of the tokens


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
        return f"{many(shape.layers, 'layer')} {are(shape.layers)} fewer than {pp} pipeline stages"
    sizes = [shape.experts.intermediate_size] if shape.experts else []
    for size in [*sizes, shape.intermediate_size]:
        if size % tp:
            return f"a size of {size} does not divide by tensor parallel {tp}"
        unit = _unit(shape)
        if (size // tp) % unit:
            return f"a size of {size} over tensor parallel {tp} cuts through the checkpoint's blocks of {unit}"
    return None


def _unit(shape: Shape) -> int:
    """Weights that share a scale and stay on one rank."""
    found = shape.quantization
    if found is None:
        return 1
    return found.block[0] if found.block else found.group_size or 1


def splits(order: Order, profile: Profile, shape: Shape, stages: bool = True) -> Iterator[Split]:
    """Every possible split of one replica, those with fewer cards first, then as the cards are linked."""
    for group in range(1, profile.cards + 1):
        if profile.cards % group == 0 and (group <= profile.count or group == profile.cards):
            cuts = _of_size(group, profile) if stages else [Split(group, 1)]
            found = [s for s in cuts if not cannot_split(shape, *s) and _asked(order, s)]
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


def choose_layout(
    order: Order, profile: Profile, shape: Shape, tokens: Callable[[Split], Span], wanted: int, family: EngineFamily
) -> Layout:
    """The smallest replica that is comfortable, else the one that holds most.

    `tokens` tells how many tokens of KV cache a replica holds; `wanted` is the context it should serve. Without
    replicas, stages are for several machines only; without stages, tensor parallel reaches over all the machines.
    Raises Unsupported when no split is possible, BadValue for one into none.
    """
    for name in ("tensor_parallel", "pipeline_parallel", "data_parallel"):
        asked = getattr(order, name)
        if asked is not None and asked < 1:
            flag = "--" + name.replace("_", "-")
            raise BadValue(f"{flag} {asked} is less than 1", f"try {flag} 1")
    if shape.experts and (order.data_parallel or 1) > 1:
        raise Unsupported(
            f"data parallel {order.data_parallel}: replicas of a mixture of experts work in step, which is not planned",
            "try --data-parallel 1",
        )
    order = _able(order, profile, family)
    found = list(_layouts(order, profile, shape, tokens, family.stages))
    if not found:
        raise _impossible(order, profile, shape, family.stages)
    if not any(x.tokens.low for x in found):  # nothing fits: speak of the replica that comes nearest
        return max(found, key=lambda x: x.split.ranks)
    sizes = sorted({x.split.ranks for x in found})
    best = [_best_linked([x for x in found if x.split.ranks == size], profile, wanted) for size in sizes]
    most = max(x.replicas * x.tokens.low for x in best)
    enough = [x for x in best if x.replicas * x.tokens.low >= GOOD_SHARE * most]
    comfortable = [x for x in enough if x.tokens.low >= COMFORT * wanted]
    if comfortable:
        return next((x for x in comfortable if _preference(x.split, profile)[0] == 0), comfortable[0])
    return _best_linked(best, profile, wanted)


def _able(order: Order, profile: Profile, family: EngineFamily) -> Order:
    """The order, with what the engine can do only one way. Raises Unsupported for another way."""
    if not family.stages and (order.pipeline_parallel or 1) > 1:
        message = f"pipeline parallel {order.pipeline_parallel}: this engine cuts no model into stages"
        raise Unsupported(message, "try --pipeline-parallel 1")
    if family.replicas:
        return order
    if (order.data_parallel or 1) > 1:
        message = f"data parallel {order.data_parallel}: this engine runs one replica a container"
        raise Unsupported(message, "try --data-parallel 1")
    stages = order.pipeline_parallel or (1 if profile.nodes == 1 else None)
    return msgspec.structs.replace(order, data_parallel=1, pipeline_parallel=stages)


def _best_linked(found: list[Layout], profile: Profile, wanted: int) -> Layout:
    """Of those that hold the context, or else a good share of the most that any holds, the best linked one."""
    most = max(x.tokens.low for x in found)
    holds = [x for x in found if x.tokens.low >= min(wanted, most * GOOD_SHARE)]
    return min(holds, key=lambda x: (_preference(x.split, profile), -x.tokens.low))


def _layouts(
    order: Order, profile: Profile, shape: Shape, tokens: Callable[[Split], Span], stages: bool
) -> Iterator[Layout]:
    """Every split with as many replicas as there are cards for; each machine gets the same number of ranks."""
    possible = list(splits(order, profile, shape, stages))
    if shape.experts:  # one replica over as many cards as can be: its experts are divided, not repeated
        widest = max((s.ranks for s in possible), default=0)
        possible = [s for s in possible if s.ranks == widest]
    for split in possible:
        replicas = order.data_parallel or (1 if shape.experts else profile.cards // split.ranks)
        ranks = replicas * split.ranks
        if ranks <= profile.cards and ranks % profile.nodes == 0:
            yield Layout(split, replicas, tokens(split))


def _impossible(order: Order, profile: Profile, shape: Shape, stages: bool) -> Unsupported:
    """Why nothing can be cut as asked. road.make_plan() finds the cuts that can, and fit."""
    tp, pp, dp = order.tensor_parallel or 1, order.pipeline_parallel or 1, order.data_parallel or 1
    hint = "leave --tensor-parallel, --pipeline-parallel and --data-parallel out"
    ranks = tp * pp * dp
    if ranks > profile.cards:
        return Unsupported(f"{tp} x {pp} x {dp} = {many(ranks, 'card')}; {profile.id} has {profile.cards}", hint)
    if stages and tp > profile.count:
        return Unsupported(f"tensor parallel {tp} reaches past one machine of {many(profile.count, 'card')}", hint)
    wide = order.tensor_parallel or (1 if stages else profile.cards)
    why = cannot_split(shape, wide, pp) or f"{profile.cards} cards do not divide into groups of {tp} x {pp} x {dp}"
    return Unsupported(f"{order.model}: {why}", hint)
