"""How long a request may be: what was asked, the model's own, or the longest that the KV cache holds."""

from __future__ import annotations

from weighbridge.errors import BadValue, DoesNotFit, Unsupported
from weighbridge.facts import Model
from weighbridge.parallel import Layout
from weighbridge.types import Order
from weighbridge.weigh import Weighing
from weighbridge.words import are, many

_STEP = 256  # a context chosen by us is a round number
_SHORTEST = 512  # below this no chat is served; a plan that holds less does not fit


def wanted_context(order: Order, model: Model) -> int:
    """What was asked, or the model's own longest, tokens. Raises Refused."""
    longest = model.shape.max_context_tokens
    if order.context is None and model.shape.no_kv_rate_because:
        raise Unsupported(
            f"{model.title}: no context can be promised, because {model.shape.no_kv_rate_because}",
            f"say how many tokens you need: --context {min(8192, longest)}",
        )
    if order.context is None:
        return longest
    if order.context < 1:
        raise BadValue(f"--context {order.context} is not a number of tokens", f"try --context {longest}")
    if order.context > longest:
        raise BadValue(
            f"--context {order.context} is more than the {longest} tokens {model.title} was made for",
            f"leave --context out, for the longest that fits; at most it is {longest}",
        )
    return order.context


def choose_context(order: Order, weighing: Weighing, layout: Layout, wanted: int) -> tuple[int, str]:
    """The context, tokens, and why. Raises DoesNotFit."""
    if weighing.model.shape.no_kv_rate_because:
        return wanted, f"context {wanted} tokens: asked; whether the KV cache holds it, the engine will tell"
    holds = layout.tokens.low
    if holds >= wanted:
        asked = "asked" if order.context else "the model's own"
        return wanted, f"context {wanted} tokens: {asked}; the KV cache holds it {holds / wanted:.1f} times"
    if order.context is not None or holds < min(_SHORTEST, wanted):
        raise _does_not_fit(order, weighing, layout, wanted)
    context = max(_SHORTEST, holds // _STEP * _STEP)
    return context, (
        f"context {context} tokens of the model's {wanted}: what the low end of the band, {holds} tokens, holds"
    )


def _does_not_fit(order: Order, weighing: Weighing, layout: Layout, wanted: int) -> DoesNotFit:
    worst = weighing.tightest(layout.split)
    profile, split = weighing.profile, layout.split
    lacks = worst.weights_gib + worst.overhead_gib_low > worst.budget_gib
    where = f"{profile.id} gives {worst.budget_gib:.2f} of {worst.visible_gib:.2f} GiB a card"
    cut = f"TP{split.tensor_parallel} x PP{split.pipeline_parallel}"
    if lacks:
        message = (
            f"{weighing.model.title} needs {worst.weights_gib:.2f} GiB of weights and {worst.overhead_gib_low:.2f} to"
            f" {worst.overhead_gib_high:.2f} GiB beside them on each card at {cut}; {where}"
        )
    else:
        message = (
            f"{weighing.model.title} at {cut} leaves room for {many(layout.tokens.low, 'token')} of KV cache, and"
            f" {wanted} {are(wanted)} asked; {where}"
        )
    return DoesNotFit(message, "see where it fits: invoke fit --model NAME")  # road.make_plan() knows nearer ones
