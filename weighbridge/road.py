"""The road as one call: an order and a catalogue in, a plan out; when it does not fit, the nearest orders that do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from weighbridge import extra
from weighbridge.catalog import Catalog, profile_name
from weighbridge.engines import Engine
from weighbridge.errors import BadValue, DoesNotFit, Refused, Unsupported
from weighbridge.facts import Model, Profile
from weighbridge.plan import plan
from weighbridge.types import Order, Plan

_MOST_ALTERNATIVES = 5
SOME_MACHINES = (2, 4, 8)  # what is tried when one machine is too little
_FEW_SEQUENCES = 64
_FEW_TOKENS = 2048
_SOME_CONTEXT = 8192
_CUT = ("data_parallel", "pipeline_parallel", "tensor_parallel")  # what costs least to lower first
_ORDER_FLAGS = tuple(f for f in Order.__struct_fields__)


def make_plan(order: Order, catalog: Catalog, model: Model | None = None, frame: Sequence[str] = ()) -> Plan:
    """The plan of an order. `model` stands in for a name of the catalogue. DoesNotFit carries alternatives.

    `frame` are words beside the order, such as --model-config FILE, that a line to paste must repeat.
    """
    _check_name(order.model)
    asked = model or catalog.model(order.model)

    def attempt(wanted: Order) -> Plan:
        profile = catalog.profile(wanted.profile)
        engine = catalog.engine(wanted.engine or profile.family.default_engine)
        _check_extra(wanted, profile, engine, catalog)
        return plan(wanted, profile, engine, asked if wanted.model == order.model else catalog.model(wanted.model))

    catalog.profile(order.profile)  # a name that is none has a hint of its own
    try:
        planned = attempt(order)
    except (DoesNotFit, Unsupported) as e:
        e.alternatives = _alternatives(order, e, attempt, catalog, frame)
        e.hint = _hint(order, e, catalog, frame)
        raise
    return checked(planned, catalog)


def _hint(order: Order, error: Refused, catalog: Catalog, frame: Sequence[str]) -> str:
    """The nearest line that plans. Without one, the page of all machines, for a model it can be shown for."""
    if error.alternatives:
        return f"try {error.alternatives[0]['command']}"
    return f"see where it fits: {shlex.join(['invoke', 'fit', '--model', order.model, *frame])}"


def checked(found: Plan, catalog: Catalog) -> Plan:
    """The plan, when its engine's version takes every argument exactly as it stands. Raises Unsupported.

    A version whose parser nobody has read yet is taken on trust: see `make flags`.
    """
    engine = catalog.engine(found.engine)
    flags = catalog.flags_at(engine.id, found.engine_version)
    for problem in flags.problems(flags.split(found.engine_args)[1]) if flags else ():
        given = " ".join((problem.given.word, *problem.given.values))
        if problem.fault == "deprecated":
            continue
        hint = f"did you mean {problem.near}? " if problem.near else ""
        raise Unsupported(
            f"{engine.title} {found.engine_version} does not take {given}",
            f"{hint}correct arguments: in images/{engine.id}/engine.yaml, or take another of: invoke engines",
        )
    return found


def _check_extra(order: Order, profile: Profile, engine: Engine, catalog: Catalog) -> None:
    """Before anything is weighed: arguments beside the plan, against the version that would get them."""
    family = engine.families.get(profile.card.family)
    version = order.engine_version or (family.version if family else "")
    if family and version in family.bases:
        extra.check(order, engine, version, catalog.flags_at(engine.id, version))


def _check_name(name: str) -> None:
    """A model may be called anything that a flag's value can hold."""
    if not name or name.startswith("-") or len(name) > 200 or re.search(r"[\x00-\x1f\x7f]", name):
        raise BadValue(
            f"a model cannot be called {name[:40]!r}",
            "1 to 200 characters, no leading dash, no control characters: --model NAME",
        )


def taken_for(name: str, catalog: Catalog) -> tuple[str, ...]:
    """Which card an alias was taken for, with which the name of another begins too, and how to name that; else none."""
    alias = re.sub(r"(-x\d+)?(-n\d+)?$", "", name)
    taken, found = catalog.profile(name), []
    for card_id in catalog.card_ids():
        card = catalog.card(card_id)
        if alias == taken.card_id or card_id == taken.card_id:
            continue
        if any(other.startswith(f"{alias}-") for other in (card_id, *card.aliases)):
            count = min(card.counts, key=lambda c: abs(c - taken.count))
            nodes = f"-n{taken.nodes}" if taken.nodes > 1 else ""
            found.append(f"; {card.title} is --profile {profile_name(card_id, card, count)}{nodes}")
    return (f"--profile {name} is taken for {taken.id}, {taken.card.title}{''.join(found)}",) if found else ()


def command_line(order: Order, frame: Sequence[str] = ()) -> str:
    """The order as a line to paste."""
    words = ["invoke", "plan"]
    for field in _ORDER_FLAGS:
        value = getattr(order, field)
        if value is False:  # the one field that is told both ways
            words.append("--compiled")
        elif value is not None:
            words.append("--" + field.replace("_", "-"))
            words += [] if value is True else [f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join([*words, *frame])


def _alternatives(
    order: Order, error: Refused, attempt: Callable[[Order], Plan], catalog: Catalog, frame: Sequence[str]
) -> tuple[dict[str, str], ...]:
    """Orders that fit, nearest first: less asked of the same machine, more cards, another machine, several machines.

    Another machine leaves the last place to several, which cannot be started from here.
    """
    seen: set[str] = set()

    def fitting(variants: Iterable[tuple[Order, str, str]], most: int) -> list[dict[str, str]]:
        return list(islice(_fitting(variants, attempt, frame, seen), most))

    here = catalog.profile(order.profile)
    free = msgspec.structs.replace(order, tensor_parallel=None, pipeline_parallel=None, data_parallel=None)
    near = fitting(_variants(order, error, catalog, bool(frame)), _MOST_ALTERNATIVES)
    near += fitting(_more_cards(free, here), _MOST_ALTERNATIVES - len(near))
    room = _MOST_ALTERNATIVES - len(near)
    several = fitting(_more_machines(free, here, catalog), min(room, 1))
    return (*near, *fitting(_others(free, here, catalog), room - len(several)), *several)


def _fitting(
    variants: Iterable[tuple[Order, str, str]], attempt: Callable[[Order], Plan], frame: Sequence[str], seen: set[str]
) -> Iterator[dict[str, str]]:
    """Of (order, what changes, key) those that fit; of the variants with one key, the first is enough."""
    for wanted, change, key in variants:
        if key in seen:
            continue
        try:
            found = attempt(wanted)
        except Refused:
            continue
        seen.add(key)
        holds = f"context {found.max_model_len} tokens, {found.precision}"
        yield {"command": command_line(wanted, frame), "change": change, "holds": holds}


def _variants(order: Order, error: Refused, catalog: Catalog, framed: bool) -> Iterator[tuple[Order, str, str]]:
    """Less asked of the same machine, as (order, what changes, key)."""
    if isinstance(error, Unsupported):
        yield from ((wanted, change, change) for wanted, change in _without(order))
    yield from ((wanted, change, "cut") for wanted, change in _cuts(order, catalog))
    yield from ((wanted, change, change) for wanted, change in _smaller(order))
    if order.quantization is None:
        half = msgspec.structs.replace(order, quantization="fp8")
        yield half, "weights of half the size, quantized while they load", "quantized"
    for name in () if framed else catalog.variants_of(order.model):
        wanted = msgspec.structs.replace(order, model=name, quantization=None, dtype=None)
        yield wanted, "the model's quantized variant", "variant"


def _without(order: Order) -> Iterator[tuple[Order, str]]:
    """What was asked and cannot be, left out; and a context for a model that is promised none."""
    change = msgspec.structs.replace
    if order.eager is False:
        yield change(order, eager=None), "without --compiled"
    for name in ("kv_dtype", "quantization", "dtype", "batching", "extra_args", "engine"):
        if getattr(order, name) is not None:
            yield change(order, **{name: None}), f"without --{name.replace('_', '-')}"
    if order.context is None:
        yield change(order, context=_SOME_CONTEXT), "a context that is asked for"


def _cuts(order: Order, catalog: Catalog) -> Iterator[tuple[Order, str]]:
    """The cut that was asked for with one number lowered, then none asked."""
    asked = {n: getattr(order, n) for n in _CUT if getattr(order, n) is not None}
    most = catalog.profile(order.profile).cards
    for name, value in asked.items():
        for less in range(min(value - 1, most), 0, -1):
            yield msgspec.structs.replace(order, **{name: less}), f"--{name.replace('_', '-')} {less}"
    if asked:
        yield msgspec.structs.replace(order, **dict.fromkeys(_CUT)), "cut as the planner would"


def _smaller(order: Order) -> Iterator[tuple[Order, str]]:
    change = msgspec.structs.replace
    if order.context:
        yield change(order, context=None), "the longest context that fits"
    if order.sequences is None or order.sequences > _FEW_SEQUENCES:
        yield change(order, sequences=_FEW_SEQUENCES, batched_tokens=_FEW_TOKENS), "smaller batches"
    if order.kv_dtype is None:
        yield change(order, kv_dtype="fp8"), "KV cache of half the size"


def _more_cards(order: Order, here: Profile) -> Iterator[tuple[Order, str, str]]:
    for count in here.card.counts:
        if count > here.count:
            wanted = msgspec.structs.replace(order, profile=f"{here.card_id}-x{count}")
            yield wanted, "more cards", "more"


def _more_machines(order: Order, here: Profile, catalog: Catalog) -> Iterator[tuple[Order, str, str]]:
    """Several machines, where more cards in one are not enough; the change says how far they are taken."""
    family = catalog.engine(order.engine or here.family.default_engine).families.get(here.card.family)
    done = "rendered" if family and family.machine_files else "planned"
    for nodes in SOME_MACHINES:
        if nodes > here.nodes:
            wanted = msgspec.structs.replace(order, profile=f"{here.card_id}-x{max(here.card.counts)}-n{nodes}")
            yield wanted, f"more machines: {done}, not started from here", "more"


def _others(order: Order, here: Profile, catalog: Catalog) -> Iterator[tuple[Order, str, str]]:
    for other in sorted(catalog.profiles(), key=lambda p: p.cards * p.card.memory_gib):
        if other.card_id != here.card_id:
            wanted = msgspec.structs.replace(order, profile=other.id, engine=None, engine_version=None)
            yield wanted, "another machine", other.card_id
