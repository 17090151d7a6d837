"""docs/hardware.md: every card with every engine, and how far each pair was taken."""

from __future__ import annotations

from pathlib import Path

from weighbridge.catalog import Catalog, read_yaml
from weighbridge.facts import Card

RECORD = Path("tests/simulated/evidence.yaml")
HEAD = """# Which card with which engine, and how far it was proven

Made by `make docs`. *rendered*: the files are made and compared with reviewed ones. *simulated*: `tests/simulated`
built it on a stub of the vendor's image with the CPU engine inside, started it with its RunSpec through a real Docker
engine on device nodes that are not cards, looked at what arrived, and asked one profile of each engine and family real
questions. *ran*: on the hardware. A dash: the engine does not run on the card.

What a simulation cannot show: that the vendor's image starts, that its libraries find the card, memory and speed.

"""


def row(card_id: str, card: Card, engines: list[str], catalog: Catalog) -> str:
    cells = []
    for engine in engines:
        if card.family not in catalog.engine(engine).families:
            cells.append("–")
        else:
            found = card.evidence.get(engine)
            cells.append(found.words if found else "rendered")
    counts = ", ".join(map(str, card.counts))
    shown = f"{card.visible_gib:.2f}" if card.visible_gib else "not public"
    link = f"{card.interconnect.kind}{'' if card.interconnect.peer_to_peer else ', no peer-to-peer'}"
    return f"| `{card_id}` | {card.title} | {counts} | {shown} | {link} | {' | '.join(cells)} |"


def page(catalog: Catalog, record: Path = RECORD) -> str:
    engines = catalog.engine_ids()
    lines = [f"| card | | a machine | GiB seen | link | {' | '.join(engines)} |", "|---" * (5 + len(engines)) + "|"]
    cards = sorted(catalog.card_ids(), key=lambda c: (catalog.card(c).family, c))
    lines += [row(c, catalog.card(c), engines, catalog) for c in cards]
    notes = ["", "## What stands behind it", ""]
    for card_id in cards:
        for engine, found in sorted(catalog.card(card_id).evidence.items()):
            if found.note or found.command:
                notes.append(f"- `{card_id}` with {engine}: {found.note or ''} `{found.command}` ({found.date})")
    if record.is_file():
        kept = read_yaml(record)
        served = ", ".join(f"{e} on {p}" for e, found in sorted(kept.get("answered", {}).items()) for p in found)
        notes.append(f"- simulated with `{kept['command']}` ({kept['date']}); it answered as {served}")
    bases = ["", "## What the images stand on", "", "| engine | family | version | image | |", "|---|---|---|---|---|"]
    for engine in engines:
        for name, family in sorted(catalog.engine(engine).families.items()):
            for version, base in family.bases.items():
                image = base.image.split("@")[0]
                digest = "digest pinned" if "@" in base.image else "no digest"
                bases.append(f"| {engine} | {name} | {version} | `{image}` | {digest}; {base.note or ''} |")
    return HEAD + "\n".join([*lines, *notes, *bases]) + "\n"


def main() -> None:
    Path("docs/hardware.md").write_text(page(Catalog()), encoding="utf-8")


if __name__ == "__main__":
    main()
