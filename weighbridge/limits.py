"""What a card's vendor does not publish, an engine does not do, and a host must have at least."""

from __future__ import annotations

from typing import Any

import msgspec

from weighbridge.engines import Engine, EngineFamily
from weighbridge.errors import BadValue, NotPublic, Unsupported, nearest
from weighbridge.facts import Interconnect, Model, Profile
from weighbridge.memory import Load
from weighbridge.types import Order

_MOST_GIB = 4096
_SETTABLE = ("graph_size", "scheduling")  # an order may ask for them where the engine has an argument for it
_SCHEDULINGS = ("async", "sync")
_LINKS = ("multicast", "peer-to-peer")
_CARRIED_BY_HOST = 2  # cards that tensor parallel spans where every copy passes through the host's memory


def with_memory(order: Order, profile: Profile) -> Profile:
    """The profile, with the memory that was asked for where none is public. Raises NotPublic, BadValue."""
    known, asked = profile.card.visible_gib, order.visible_gib
    if asked is None and known is None:
        raise NotPublic(
            f"{profile.card.title}: how much memory it shows is not public, so no plan can promise anything",
            "read the total that an engine prints on it, and plan with that: --visible-gib GIB",
        )
    if asked is None:
        return profile
    if known is not None:
        raise BadValue(
            f"--visible-gib {asked:g}: {profile.card.title} is known to show {known:g} GiB", "leave --visible-gib out"
        )
    if not 1 <= asked <= _MOST_GIB:
        raise BadValue(f"--visible-gib {asked:g} is no card's memory", "in GiB, as the engine prints it")
    card = msgspec.structs.replace(profile.card, visible_gib=asked, visible_basis="asked")
    return msgspec.structs.replace(profile, card=card)


def lacks(order: Order) -> str | None:
    """What `--without` says, said one way. Raises BadValue.

    Without direct copies between cards nothing is left that could copy to all of them at once.
    """
    if order.without is None:
        return None
    names = [n.strip() for n in order.without.split(",")]
    meant = [n if n in _LINKS else nearest(n, _LINKS) for n in names]
    wrong = next((n for n in names if n not in _LINKS), None)
    if wrong is not None:
        hint = ",".join(dict.fromkeys(m for m in meant if m)) if all(meant) else " or --without ".join(_LINKS)
        raise BadValue(f"--without {wrong!r} is none of {', '.join(_LINKS)}", f"try --without {hint}")
    return "peer-to-peer" if "peer-to-peer" in names else "multicast"


def with_links(order: Order, profile: Profile, family: EngineFamily) -> Profile:
    """The profile, less what `--without` says that this host's cards lack.

    Raises BadValue, and Unsupported where nobody knows how an engine is told.
    """
    lacking = lacks(order)
    if lacking is None:
        return profile
    link = msgspec.structs.replace(profile.card.interconnect, multicast=False)
    if lacking == "peer-to-peer" and link.kind != "none":
        if link.peer_to_peer and profile.count > 1 and not family.environment_without_peer_to_peer:
            message = f"how an engine is kept from copies between {profile.card.title} cards is not known"
            raise Unsupported(message, "leave --without out")
        fewer = min(link.tensor_parallel_cards, _CARRIED_BY_HOST)
        link = Interconnect(kind="pcie", peer_to_peer=False, tensor_parallel_cards=fewer)
    return msgspec.structs.replace(profile, card=msgspec.structs.replace(profile.card, interconnect=link))


def all_reduce(family: EngineFamily, profile: Profile, tensor_parallel: int, *, eager: bool) -> str | None:
    """`plain` where the engine must be told not to fuse it; None where it does right by itself.

    Fused, it writes to all cards at once; where they lack that, engines crash or hang at their start
    (https://github.com/vllm-project/vllm/issues/48071).
    """
    fuses = _fuses(family, profile, tensor_parallel, eager=eager)
    return "plain" if fuses and not profile.card.interconnect.multicast else None


def _fuses(family: EngineFamily, profile: Profile, tensor_parallel: int, *, eager: bool) -> bool:
    """Whether the engine, left alone, fuses the all-reduce with what follows it."""
    return profile.card.compute_capability in family.fuses_all_reduce_on and tensor_parallel > 1 and not eager


def parser(engine: Engine, name: str | None) -> str | None:
    """A model's parser under the engine's own name; None where the engine has none for it."""
    return name if engine.parser_names is None or name is None else engine.parser_names.get(name)


def warnings(order: Order, engine: Engine, family: EngineFamily, model: Model, load: Load) -> tuple[str, ...]:
    """What this engine does not do, or nobody knows."""
    found = []
    if family.whole_prompts:
        found.append(f"prompts of up to {load.batched_tokens} tokens: the engine computes each in one batch")
    for what, name in (("reasoning", model.parsers.reasoning), ("tool calls", model.parsers.tool_call)):
        if name and parser(engine, name) is None:
            found.append(f"{what} stay in the text: this engine has no parser {name}")
    if order.graph_size is not None:
        found.append(f"graphs up to {order.graph_size} sequences: asked; the band was measured with the engine's own")
    if order.visible_gib is not None:
        asked = f"{order.visible_gib:g} GiB a card is what was asked, not a public figure"
        found.append(f"{asked}: no number of KV cache tokens is promised")
    return tuple(found)


def told(order: Order, profile: Profile, engine: Engine) -> dict[str, Any]:
    """What the engine is told only when it was asked for.

    Raises Unsupported for what this engine cannot be told on these cards, BadValue for a word or number that is none.
    """
    for name in _SETTABLE:
        flag, taken = "--" + name.replace("_", "-"), [a for a in engine.arguments if a.field == name]
        here = [a for a in taken if not a.families or profile.card.family in a.families]
        if getattr(order, name) is not None and not here:
            raise Unsupported(f"{engine.title} takes no {flag} on {profile.card.title}", f"leave {flag} out")
    if order.scheduling not in (None, *_SCHEDULINGS):
        near = nearest(order.scheduling, _SCHEDULINGS) or _SCHEDULINGS[0]
        raise BadValue(f"--scheduling {order.scheduling!r} is none of async, sync", f"try --scheduling {near}")
    if order.graph_size is not None and order.eager:
        raise BadValue("--eager captures no graphs, so --graph-size says nothing", "leave one of them out")
    if order.graph_size is not None and order.graph_size < 1:
        raise BadValue(f"--graph-size {order.graph_size} is less than 1", "try --graph-size 256")
    return {name: getattr(order, name) for name in _SETTABLE} | {"without": lacks(order)}


def without_peers(profile: Profile, cards: int) -> bool:
    """Whether `cards` of one machine must copy through the host."""
    return cards > 1 and not profile.card.interconnect.peer_to_peer


def floors_because(family: EngineFamily, profile: Profile, decided: dict[str, Any]) -> tuple[str, ...]:
    """What the host must have at least, and what is switched off for the way its cards are linked."""
    found, link = [], profile.card.interconnect
    able = f"; compute capability {profile.card.compute_capability:g}" if profile.card.compute_capability else ""
    if decided["min_driver"]:
        found.append(f"driver {decided['min_driver']} or newer on the host: the image's libraries need it{able}")
    if without_peers(profile, decided["cards_per_node"]):
        here = "--without peer-to-peer" if decided["without"] == "peer-to-peer" else f"{link.kind} without peer-to-peer"
        found.append(f"copies from card to card go through the host: {here}")
    return (*found, *_links_because(family, profile, decided))


def _links_because(family: EngineFamily, profile: Profile, decided: dict[str, Any]) -> tuple[str, ...]:
    """What an engine that fuses its all-reduce takes for granted of the host."""
    if decided["all_reduce"]:
        return (
            "all-reduce apart from the norm after it: fused, it needs multicast between the cards, which is not here;"
            " the fusion's workspace is the KV cache's",
        )
    if _fuses(family, profile, decided["tensor_parallel"], eager=decided["eager"]):
        return (
            "the engine may fuse the all-reduce with the norm after it, which needs multicast between the cards: a host"
            " without it (a virtual machine, confidential computing, bridged cards) is planned --without multicast",
        )
    if decided["without"] == "multicast":
        return ("--without multicast changes nothing here: nothing would have used it",)
    return ()
