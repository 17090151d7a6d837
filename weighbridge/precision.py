"""In what precision a model is served: the checkpoint's, what was asked, and what the card can do."""

from __future__ import annotations

from typing import NamedTuple

from weighbridge.engines import EngineFamily
from weighbridge.errors import BadValue, Unsupported, nearest
from weighbridge.facts import Card, Shape
from weighbridge.types import Order
from weighbridge.words import many

_EIGHT_BIT = "fp8"
_ABILITIES = ("none", "weight-only", "native")


class Precision(NamedTuple):
    """`label` for people; `dtype` of activations; `online` quantization asked of the engine; KV cache dtype."""

    label: str
    dtype: str
    online: str | None
    kv_dtype: str
    kv_bytes: float
    because: tuple[str, ...]


def choose_precision(order: Order, card: Card, family: EngineFamily, shape: Shape) -> Precision:
    """Raises Unsupported when the card or the engine cannot, BadValue for a name that is none."""
    dtype, because = _dtype(order, card, family, shape)
    kv_dtype = _kv_dtype(order, card, family, shape)
    kv_bytes = 1.0 if kv_dtype.startswith(_EIGHT_BIT) else (4.0 if dtype == "float32" else 2.0)
    if kv_dtype != "auto":
        because += (f"KV cache in {kv_dtype}: asked; {many(int(kv_bytes), 'byte')} an element",)
    online = _online(order, card, family, shape)
    if online:
        because += (f"weights quantized to {online} while they load: asked; embeddings and head stay {dtype}",)
        if card.precisions.get(online) == "weight-only":
            because += (
                f"{online} weights, {dtype} arithmetic: {card.title} has no units for it; memory is saved, time is not",
            )
        return Precision(online, dtype, online, kv_dtype, kv_bytes, because)
    label, why = _stored(card, family, shape, dtype)
    return Precision(label, dtype, None, kv_dtype, kv_bytes, because + why)


def _kv_dtype(order: Order, card: Card, family: EngineFamily, shape: Shape) -> str:
    """The KV cache's type, when the card has what it needs and the checkpoint leaves the choice."""
    found = one_of("--kv-dtype", order.kv_dtype or "auto", tuple(family.kv_dtypes))
    needs, has = family.kv_dtypes[found], card.precisions.get(_EIGHT_BIT, "none")
    if _ABILITIES.index(has) < _ABILITIES.index(needs):
        able = [k for k, n in family.kv_dtypes.items() if _ABILITIES.index(has) >= _ABILITIES.index(n)]
        raise Unsupported(f"{card.title} keeps no KV cache in {found}", f"try --kv-dtype {able[-1]}")
    eight_bit = shape.quantization is not None and shape.quantization.floating
    if eight_bit and needs == "weight-only":
        raise Unsupported(f"an FP8 checkpoint takes no KV cache in {found}", "try --kv-dtype auto")
    return found


def one_of(flag: str, value: str, known: tuple[str, ...]) -> str:
    if value in known:
        return value
    near = nearest(value, known)
    hint = f"did you mean {flag} {near}?" if near else f"{flag} takes: {', '.join(known)}"
    raise BadValue(f"{flag} {value!r} is none of {', '.join(known)}", hint)


def _dtype(order: Order, card: Card, family: EngineFamily, shape: Shape) -> tuple[str, tuple[str, ...]]:
    if order.dtype:
        dtype = one_of("--dtype", order.dtype, family.dtypes)
        if card.precisions.get(dtype, "none") == "none":
            usable = next(d for d in family.dtypes if card.precisions.get(d, "none") != "none")
            raise Unsupported(f"{card.title} has no {dtype}", f"try --dtype {usable}")
        return dtype, (f"dtype {dtype}: asked",)
    stored = shape.dtype if shape.dtype in ("bfloat16", "float16") else "bfloat16"
    for dtype in (stored, "bfloat16", "float16"):
        if dtype in family.dtypes and card.precisions.get(dtype, "none") != "none":
            same = dtype == shape.dtype
            why = (
                "the checkpoint's own" if same else f"the checkpoint's {shape.dtype} is not what this card computes in"
            )
            return dtype, (f"dtype {dtype}: {why}",)
    raise Unsupported(f"{card.title} computes in neither bfloat16 nor float16", "see the cards: invoke profiles")


def _online(order: Order, card: Card, family: EngineFamily, shape: Shape) -> str | None:
    if order.quantization is None:
        return None
    if shape.quantization:
        raise Unsupported(
            f"the checkpoint is quantized already ({shape.quantization.method})", "leave --quantization out"
        )
    if not family.online_quantizations:
        raise Unsupported("this engine quantizes nothing on this family of cards", "leave --quantization out")
    online = one_of("--quantization", order.quantization, family.online_quantizations)
    if card.precisions.get(online, "none") == "none":
        raise Unsupported(f"{card.title} has no {online}", "leave --quantization out")
    return online


def _stored(card: Card, family: EngineFamily, shape: Shape, dtype: str) -> tuple[str, tuple[str, ...]]:
    found = shape.quantization
    if found is None:
        return dtype, ()
    if found.method not in family.checkpoint_quantizations:
        able = ", ".join(family.checkpoint_quantizations) or "no quantized checkpoint"
        raise Unsupported(
            f"a checkpoint in {found.method} does not load on {card.title}; this engine loads {able} there",
            "take the bfloat16 model, or another profile: invoke profiles",
        )
    if found.bits >= 16:
        return dtype, ()
    if found.bits != 8 or not found.floating:
        return f"{found.method}-{found.bits:g}bit", (
            f"weights in {found.bits:g} bits ({found.method}): the checkpoint's",
        )
    ability = card.precisions.get(_EIGHT_BIT, "none")
    if ability == "none":
        raise Unsupported(f"{card.title} does not load FP8 weights", "take a bfloat16 conversion of the model")
    if ability == "weight-only":
        return "fp8-weight-only", (
            f"FP8 weights, {dtype} arithmetic: {card.title} has no FP8 units; memory is saved, time is not",
        )
    return _EIGHT_BIT, ("FP8 weights and arithmetic: the checkpoint's, and the card has FP8 units",)
