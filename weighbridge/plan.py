"""Order + Profile + Engine + Model -> Plan: every decision, made once, each with its reason."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from weighbridge import extra, limits
from weighbridge.context import choose_context, wanted_context
from weighbridge.engines import Base, Batching, Engine, EngineFamily, Overhead
from weighbridge.errors import BadValue, Unsupported, nearest, unknown
from weighbridge.facts import Claim, Evidence, Model, Profile
from weighbridge.memory import GIB, Load
from weighbridge.parallel import Layout, choose_layout
from weighbridge.precision import choose_precision, one_of
from weighbridge.reasons import layout_because, memory_because, warnings
from weighbridge.types import Order, Plan
from weighbridge.weigh import Weighing
from weighbridge.words import many

_BATCHINGS = ("plan", "engine")
_BASE_STEPS = 2  # raise it when effects/base.py changes what it puts into a base image


def plan(order: Order, profile: Profile, engine: Engine, model: Model) -> Plan:
    """The plan, or Unsupported, BadValue, DoesNotFit with the numbers."""
    family, further = _family(profile, engine), extra.words_of(order)
    profile = limits.with_links(order, limits.with_memory(order, profile), family)
    version, base = _version(order, engine, family)
    _check_known(order, profile, engine, family)
    utilization = _utilization(order, family, profile)
    load, load_because = _load(order, profile, engine, family)
    precision = choose_precision(order, profile.card, family, model.shape)
    weighing = Weighing(profile, family, model, precision, load, utilization, overhead_of(family, version))
    wanted = wanted_context(order, model)
    layout = choose_layout(order, profile, model.shape, weighing.tokens, wanted, family)
    context, context_because = choose_context(order, weighing, layout, wanted)
    decided: dict[str, Any] = {
        "profile": profile.id,
        "model": model.id,
        "engine": engine.id,
        "engine_version": version,
        "family": profile.card.family,
        **_cut(layout, profile),
        "precision": precision.label,
        "dtype": precision.dtype,
        "quantization": precision.online,
        "kv_dtype": precision.kv_dtype,
        "max_model_len": context,
        "max_num_seqs": load.sequences,
        "max_num_batched_tokens": load.batched_tokens,
        "max_input_tokens": min(load.batched_tokens, context - 1) if family.whole_prompts else None,
        "utilization": utilization,
        "eager": load.eager,
        **limits.told(order, profile, engine),
        **extra.told(further),
        "memory": weighing.memory(layout.split),
        "kv_cache_tokens": None if model.shape.no_kv_rate_because or order.visible_gib else layout.tokens,
        "kv_space_bytes": weighing.kv_space_gib(layout.split) * GIB if family.kv_cache == "stated" else None,
        **_together(family, layout, profile, load),
        **_of_model(engine, model),
        **_served(engine, family, base),
        "budget_mib": int(weighing.tightest(layout.split).budget_gib * 1024),
        "evidence": _evidence(profile, engine),
        "warnings": (
            *warnings(weighing, layout, wanted),
            *limits.warnings(order, engine, family, model, load),
            *extra.warnings(further),
        ),
    }
    because = (
        f"{engine.title} {version}: {family.because}",
        *layout_because(order, weighing, layout, wanted),
        *precision.because,
        context_because,
        *load_because,
        *memory_because(weighing, layout),
        *_run_because(decided),
        *limits.floors_because(family, profile, decided),
    )
    command = tuple(w.replace("{model_path}", decided["model_path"]) for w in family.command)
    environment = _environment(family, profile, decided)
    args = (*_arguments(engine, decided), *further)
    return Plan(**decided, because=because, command=command, environment=environment, engine_args=args)


def _cut(layout: Layout, profile: Profile) -> dict[str, Any]:
    """The model over the cards, and the cards over the machines."""
    cards = layout.split.ranks * layout.replicas
    return {
        "tensor_parallel": layout.split.tensor_parallel,
        "pipeline_parallel": layout.split.pipeline_parallel,
        "data_parallel": layout.replicas,
        "cards": cards,
        "cards_per_node": cards // profile.nodes,
        "card_indexes": tuple(range(cards // profile.nodes)),
        "nodes": profile.nodes,
    }


def _together(family: EngineFamily, layout: Layout, profile: Profile, load: Load) -> dict[str, Any]:
    """Shared memory, limits, groups and all-reduce of the one container a machine runs, with all the ranks on it."""
    ranks = layout.split.ranks * layout.replicas // profile.nodes
    shm = family.shm_one_card_gib if ranks == 1 else family.shm_per_card_gib * ranks
    ulimits = tuple(u for u in family.ulimits if ranks > 1 or not u.several_cards_only)
    reduced = limits.all_reduce(family, profile, layout.split.tensor_parallel, eager=load.eager)
    return {"shm_gib": shm, "shm_mib": int(shm * 1024), "ulimits": ulimits, "all_reduce": reduced,
            "groups": profile.family.container.groups}  # fmt: skip


def _of_model(engine: Engine, model: Model) -> dict[str, Any]:
    """Where the model lies, and how the engine reads what it says."""
    return {
        "reasoning_parser": limits.parser(engine, model.parsers.reasoning),
        "tool_call_parser": limits.parser(engine, model.parsers.tool_call),
        "chat_template": model.parsers.chat_template,
        "model_path": f"/models/{slug(model.id)}",
    }


def _served(engine: Engine, family: EngineFamily, base: Base) -> dict[str, Any]:
    """What the engine is started from, and what stands in front of it."""
    return {
        "port": engine.port,
        "ready_seconds": engine.ready_seconds,
        "gateway": engine.gateway,
        "base_image": base_reference(base),
        "gateway_image": base_reference(family.gateway_base) if family.gateway_base else None,
        "min_driver": base.min_driver,
        "config_files": tuple(family.config_files),
    }


def _run_because(decided: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"shm {decided['shm_gib']:g} GiB: the ranks and the API server pass tensors and messages through /dev/shm",
        *(f"ulimit {u.name}={u.value}: {u.because}" for u in decided["ulimits"]),
    )


def _evidence(profile: Profile, engine: Engine) -> Evidence:
    """How far this pair was taken. When and by which command stays in the catalogue: a plan holds no date."""
    found = profile.card.evidence.get(engine.id, Claim(level="rendered"))
    return found.of(profile.count, profile.nodes)


def slug(name: str) -> str:
    """`name` for image tags, container names and paths: lower case, and nothing a shell could read."""
    found = re.sub(r"[^a-z0-9._-]+", "-", name.lower().split("/")[-1]).strip("-._")
    return found[:64].rstrip("-._") or "model"


def base_reference(base: Base) -> str:
    """A published image by its own name; ours by a digest over what it is made of."""
    if base.suite is None:
        return base.image
    made_of = json.dumps([_BASE_STEPS, base.image, base.suite, *base.packages])
    return f"weighbridge-base:{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


# --- engine --------------------------------------------------------------------------------------------


def _family(profile: Profile, engine: Engine) -> EngineFamily:
    found = engine.families.get(profile.card.family)
    if found is None:
        able = ", ".join(sorted(engine.families))
        raise Unsupported(
            f"{engine.title} does not run on {profile.card.title}; it runs on {able}",
            f"try --engine {profile.family.default_engine}",
        )
    return found


def _version(order: Order, engine: Engine, family: EngineFamily) -> tuple[str, Base]:
    version = order.engine_version or family.version
    if version not in family.bases:
        raise unknown(f"version of {engine.title}", version, family.bases, "invoke engines")
    return version, family.bases[version]


def _check_known(order: Order, profile: Profile, engine: Engine, family: EngineFamily) -> None:
    """Raises BadValue for a name that is none, Unsupported for what the engine knows on other cards only."""
    for name, known in (("dtype", "dtypes"), ("kv_dtype", "kv_dtypes"), ("quantization", "online_quantizations")):
        asked, here = getattr(order, name), tuple(getattr(family, known))
        anywhere = dict.fromkeys(x for other in engine.families.values() for x in getattr(other, known))
        flag = "--" + name.replace("_", "-")
        if asked is not None and asked not in here:
            one_of(flag, asked, here if asked not in anywhere and here else tuple(anywhere))
            able = f"it takes {', '.join(here)} there" if here else "it takes none there"
            message = f"{engine.title} takes no {flag} {asked} on {profile.card.title}; {able}"
            raise Unsupported(message, f"leave {flag} out")


def overhead_of(family: EngineFamily, version: str) -> Overhead:
    """The band of the newest version it holds from that is not newer than `version`."""
    held = [v for v in family.overheads if _numbers(v) <= _numbers(version)] or sorted(family.overheads, key=_numbers)[
        :1
    ]
    return family.overheads[max(held, key=_numbers)]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version)[:3])


def _utilization(order: Order, family: EngineFamily, profile: Profile) -> float:
    found = family.utilization if order.utilization is None else order.utilization
    if not 0.05 <= found <= 1.0:
        raise BadValue(f"--utilization {found:g} is not a share of memory", "try --utilization 0.9")
    free = profile.card.free_at_start_gib
    if free and found * profile.card.memory_gib > free:
        most = int(free / profile.card.memory_gib * 100) / 100
        raise BadValue(
            f"--utilization {found:g} is {found * profile.card.memory_gib:.2f} GiB; an empty {profile.card.title} has"
            f" {free:g} GiB free, and an engine that asks for more does not start",
            f"try --utilization {most:g}",
        )
    return found


def _load(order: Order, profile: Profile, engine: Engine, family: EngineFamily) -> tuple[Load, tuple[str, ...]]:
    row = _batching(order, profile, engine, family)
    sequences = _at_least(1, "--sequences", order.sequences, row.max_num_seqs)
    tokens = _at_least(1, "--batched-tokens", order.batched_tokens, max(row.max_num_batched_tokens, sequences))
    if tokens < sequences:
        raise BadValue(
            f"--batched-tokens {tokens} is less than --sequences {sequences}: each sequence needs one token a step",
            f"try --batched-tokens {max(sequences, 2048)}",
        )
    if order.eager is False and not family.compiles:
        message = f"{engine.title} for {profile.card.title} compiles nothing: its image has no compiler"
        raise Unsupported(message, "leave --compiled out")
    eager = not family.compiles if order.eager is None else order.eager
    card = profile.card
    load = Load(tokens, sequences, eager, card.compute_capability or 0.0, card.interconnect.multicast)
    return load, _load_because(order, row, tokens, sequences, eager)


def _batching(order: Order, profile: Profile, engine: Engine, family: EngineFamily) -> Batching:
    """The limits by the card's memory: ours, or those that the engine would take itself, stated all the same."""
    asked, card = order.batching or "plan", profile.card
    if asked not in _BATCHINGS:
        near = nearest(asked, _BATCHINGS)
        raise BadValue(f"--batching {asked!r} is none of {', '.join(_BATCHINGS)}", f"try --batching {near or 'plan'}")
    if asked == "plan":
        ours = [b for b in family.batching if b.from_visible_gib <= card.memory_gib]
        return max(ours, key=lambda b: b.from_visible_gib)
    able = card.compute_capability or 0.0
    own = [
        b for b in family.own_batching if b.from_visible_gib <= card.memory_gib and b.from_compute_capability <= able
    ]
    if not own:
        message = f"{engine.title}'s own batch limits on {card.title} are not known"
        raise Unsupported(message, "leave --batching out")
    return Batching(
        from_visible_gib=own[-1].from_visible_gib,
        max_num_batched_tokens=own[-1].max_num_batched_tokens,
        max_num_seqs=own[-1].max_num_seqs,
        because=f"the engine's own, {own[-1].because}",
    )


def _at_least(least: int, flag: str, asked: int | None, otherwise: int) -> int:
    if asked is not None and asked < least:
        raise BadValue(f"{flag} {asked} is less than {least}", f"try {flag} {otherwise}")
    return otherwise if asked is None else asked


def _load_because(order: Order, row: Batching, tokens: int, sequences: int, eager: bool) -> tuple[str, ...]:
    asked = order.sequences is not None or order.batched_tokens is not None
    why = "asked" if asked else row.because
    return (
        f"batches of {many(tokens, 'token')} and {many(sequences, 'sequence')}: {why}; always stated, since the"
        " engine's own defaults change with the card and move gigabytes",
        "eager, no compilation or captured graphs: starts sooner" if eager else "compiled, with captured graphs",
    )


def _environment(family: EngineFamily, profile: Profile, decided: dict[str, Any]) -> dict[str, str]:
    """The family's environment; a value `{field}` is the plan's, and an empty field leaves it out."""
    found = {}
    said = family.environment
    if limits.without_peers(profile, decided["cards_per_node"]):
        said = {**said, **family.environment_without_peer_to_peer}
    for name, value in said.items():
        field = re.fullmatch(r"\{(\w+)\}", value)
        if field is None:
            found[name] = value
        elif decided[field[1]] is not None:
            found[name] = str(decided[field[1]])
    return found


def _arguments(engine: Engine, decided: dict[str, Any]) -> tuple[str, ...]:
    """The engine's arguments in the order of engine.yaml, flags in full, values as text."""
    found: list[str] = []
    for argument in engine.arguments:
        if argument.families and decided["family"] not in argument.families:
            continue
        value = _field(decided, argument.field) if argument.field else argument.value
        if value is None or value is False or value == "" or argument.equals not in (None, value):
            continue
        found.append(argument.flag)
        if not argument.switch:
            said = argument.value or value
            found.append(f"{said:g}" if isinstance(said, float) else str(said))
    return tuple(found)


def _field(decided: dict[str, Any], name: str) -> Any:
    """A decision by its name; `gateway.socket` is one inside another."""
    outer, _, inner = name.partition(".")
    return getattr(decided[outer], inner) if inner else decided[outer]
