"""The benchmark's results as the table in docs/bake.md and a plot beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

GIB = 1024**3
BEGIN, END = "<!-- table: made by make bench-bake -->", "<!-- end of the table -->"
TITLES = {
    "floor": "dd, direct copy without a hash (the floor)",
    "sha256": "openssl sha256 alone",
    "layout": "**bake to a layout**, nothing known (two hashes: file and layer)",
    "layout-known": "**bake to a layout**, files' sha256 known from fetch or verify",
    "layout-again": "**bake to a layout**, new entrypoint",
    "xfs": "**bake to a layout** on XFS, blocks shared",
    "registry": "**bake to a registry**",
    "registry-again": "**bake to a registry**, new entrypoint",
    "docker": "**bake to Docker**",
    "docker-again": "**bake to Docker**, new entrypoint",
    "podman": "**bake to podman**",
    "podman-again": "**bake to podman**, new entrypoint",
    "docker-build": "docker build (COPY)",
    "docker-build-push": "docker build (COPY) + push",
    "buildah-push": "buildah bud (COPY) + push",
    "olot": "olot",
}
_BAR, _ROW, _LEFT = 420, 20, 330


def write_page(found: dict[str, Any], page: Path, plot: Path) -> None:
    """The table between its marks in the page; the plot as a file of its own."""
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    page.write_text(f"{head}{BEGIN}\n\n{table(found)}\n\n{END}{tail}", encoding="utf-8")
    plot.write_text(svg(found), encoding="utf-8")


def groups(found: dict[str, Any]) -> list[tuple[float, str, list[dict[str, Any]]]]:
    sizes = sorted({r["gib"] for r in found["rows"]})
    wanted = [(g, t) for g in sizes for t in found["routes"]]
    return [(g, t, [r for r in found["rows"] if (r["gib"], r["route"]) == (g, t)]) for g, t in wanted]


def table(found: dict[str, Any]) -> str:
    names = ("GiB", "route", "n", "wall s", "x floor", "CPU s/GiB", "daemons", "written", "daemons", "peak", "RSS MiB")
    head = f"| {' | '.join(names)} |"
    lines = [f"{found['machine']}; load before each run {_loads(found['rows'])}.", "", head, "|" + "---|" * 11]
    floors = {(r["gib"], r["round"]): r["wall"] for r in found["rows"] if r["route"] == "floor"}
    for gib, route, rows in groups(found):
        if not rows:
            continue
        ratios = [r["wall"] / f for r in rows if (f := floors.get((r["gib"], r["round"])))]
        walls = [r["wall"] for r in rows]
        cells = [
            f"{gib:g}", TITLES[route], str(len(rows)), f"{median(walls):.2f} [{min(walls):.2f}-{max(walls):.2f}]",
            f"{median(ratios):.2f}" if ratios else "-", _per(rows, "cpu", gib), _per(rows, "daemon_cpu", gib),
            _times(rows, "written", gib), _times(rows, "daemon_written", gib), _times(rows, "peak", gib),
            f"{max(r['rss'] for r in rows) / 2**20:.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _loads(rows: Sequence[dict[str, Any]]) -> str:
    loads = [r["load"] for r in rows]
    return f"{min(loads):.1f} to {max(loads):.1f}"


def _per(rows: Sequence[dict[str, Any]], key: str, gib: float) -> str:
    return f"{median(r[key] for r in rows) / gib:.2f}"


def _times(rows: Sequence[dict[str, Any]], key: str, gib: float) -> str:
    return f"{median(r[key] for r in rows) / gib / GIB:.2f}x"


def svg(found: dict[str, Any]) -> str:
    """CPU seconds a GiB, client and daemons, of the largest size: one bar a route."""
    largest = max(r["gib"] for r in found["rows"])
    bars = [(route, _cpu(rows, largest)) for gib, route, rows in groups(found) if gib == largest and rows]
    most = max(sum(parts) for _, parts in bars) or 1.0
    height = _ROW * len(bars) + 50
    title = f"CPU seconds a GiB, {largest:g} GiB in 4 shards: the command (dark), daemons (light)"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _BAR + 70} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="100%" height="100%" fill="#fff"/><text x="8" y="20" font-size="13">{title}</text>',
    ]
    for i, (route, (own, daemons)) in enumerate(bars):
        y, first, second = 34 + i * _ROW, own / most * _BAR, daemons / most * _BAR
        name = TITLES[route].replace("**", "")
        lines += [
            f'<text x="{_LEFT - 6}" y="{y + 12}" text-anchor="end" font-size="10">{name}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{first:.1f}" height="14" fill="#24527a"/>',
            f'<rect x="{_LEFT + first:.1f}" y="{y}" width="{second:.1f}" height="14" fill="#9fc0da"/>',
            f'<text x="{_LEFT + first + second + 5:.1f}" y="{y + 12}">{own + daemons:.2f}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _cpu(rows: Sequence[dict[str, Any]], gib: float) -> tuple[float, float]:
    return median(r["cpu"] for r in rows) / gib, median(r["daemon_cpu"] for r in rows) / gib
