"""The profile of a machine by what its probes print. A probe only names a profile; the plan is made from that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from weighbridge.catalog import Catalog, profile_name
from weighbridge.errors import Unsupported
from weighbridge.facts import Profile, Value
from weighbridge.report import table

AUTO = "auto"


class Seen(Value, frozen=True, kw_only=True):
    """Cards of one kind in this machine. `profile` is None where the catalogue has none for them."""

    cards: int
    profile: str | None
    title: str
    note: str = ""


def seen(catalog: Catalog, lines: Mapping[str, Sequence[str]]) -> tuple[Seen, ...]:
    """What is in a machine, by family the lines that its probe printed: most cards first, unknown ones last."""
    found: list[Seen] = []
    for family, printed in lines.items():
        probe = catalog.family(family).probe
        cards = [c for c in catalog.card_ids() if catalog.card(c).family == family]
        left = [line for line in printed if probe and re.search(probe.card_line, line)]
        for card_id in cards:
            match = catalog.card(card_id).probe_match
            matching = [line for line in left if match and re.search(match, line)]
            if matching:
                found.append(_seen(catalog, card_id, len(matching)))
                left = [line for line in left if line not in matching]
        kinds = {_short(line): sum(_short(line) == _short(other) for other in left) for line in left}
        found += [Seen(cards=n, profile=None, title=kind, note="no profile knows it") for kind, n in kinds.items()]
    return tuple(sorted(found, key=lambda s: (s.profile is None, -s.cards, s.title)))


def _short(line: str) -> str:
    """A card's name out of its line: without frames, numbers of a table and what changes."""
    return " ".join(re.sub(r"^\W*(\d+\s+)?", "", line.split("|")[1] if line.startswith("|") else line).split())


def _seen(catalog: Catalog, card_id: str, number: int) -> Seen:
    """Cards of a known kind, named by the largest count that is sold and is there."""
    card = catalog.card(card_id)
    count = max((c for c in card.counts if c <= number), default=min(card.counts))
    note = "" if count == number else f"{count} of them: {card.title} comes with {', '.join(map(str, card.counts))}"
    return Seen(cards=number, profile=profile_name(card_id, card, count), title=card.title, note=note)


def fallback(catalog: Catalog) -> Profile:
    """The profile of a machine without cards: the one whose family needs no probe."""
    plain = [p for p in catalog.profiles() if p.family.probe is None]
    return min(plain, key=lambda p: p.id)


def named(catalog: Catalog, found: Sequence[Seen], failed: Mapping[str, str]) -> str:
    """The one profile of this machine. Raises Unsupported, with what was seen, when there is none or more than one.

    `failed` are probes whose tool is here and did not answer: there are cards, and nobody knows which.
    """
    known = [s for s in found if s.profile]
    if len(known) == 1 and known[0].profile and len(found) == 1:
        return known[0].profile
    if not found and not failed:
        return fallback(catalog).id
    words = [f"{s.cards} x {s.title} ({s.profile or s.note})" for s in found]
    words += [f"{tool} failed: {said}" for tool, said in failed.items()]
    hint = f"name one: --profile {known[0].profile}" if known else "see what is wrong: invoke doctor; or name a profile"
    raise Unsupported(f"--profile {AUTO}: this machine shows {'; '.join(words)}", hint)


def here_json(catalog: Catalog, lines: Mapping[str, Sequence[str]], failed: Mapping[str, str]) -> dict[str, Any]:
    """What was seen, and the one profile of this machine, if there is one."""
    found = seen(catalog, lines)
    try:
        profile: str | None = named(catalog, found, failed)
    except Unsupported:
        profile = None
    return {"profile": profile, "seen": [msgspec.to_builtins(s) for s in found], "failed": dict(failed)}


def here_text(catalog: Catalog, lines: Mapping[str, Sequence[str]], failed: Mapping[str, str]) -> str:
    """The same to read."""
    it = here_json(catalog, lines, failed)
    rows = [(s["cards"], s["title"], s["profile"] or "-", s["note"]) for s in it["seen"]]
    parts = [table(rows, ("CARDS", "KIND", "PROFILE", "")), ""] if rows else ["no card's tool is here", ""]
    parts += [f"{tool} failed: {said}" for tool, said in failed.items()]
    parts += [f"this machine is {it['profile']}" if it["profile"] else "no one profile is this machine: name one"]
    return "\n".join(parts)
