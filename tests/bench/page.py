"""The benchmark's results as the table in docs/bake.md and a plot beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

GIB = 1024**3
BEGIN, END = "<!-- table: made by make bench-bake -->", "<!-- end of the table -->"
TITLES = {
    "floor": "dd, direct copy without a hash (the floor)",
    "sha256": "openssl sha256 alone",
    "layout": "**bake to a layout**, nothing known",
    "layout-known": "**bake to a layout**, files' sha256 known from fetch or verify",
    "layout-again": "**bake to a layout**, new entrypoint",
    "xfs": "**bake to a layout** on XFS, blocks shared, nothing known",
    "registry": "**bake to a registry**, nothing known",
    "registry-again": "**bake to a registry**, new entrypoint",
    "docker": "**bake to Docker**, nothing known",
    "docker-again": "**bake to Docker**, new entrypoint",
    "podman": "**bake to podman**, nothing known",
    "podman-again": "**bake to podman**, new entrypoint",
    "docker-build": "docker build (COPY)",
    "docker-build-push": "docker build (COPY) + push",
    "buildah-push": "buildah bud (COPY) + push",
    "olot": "olot",
}
Rows = Sequence[Mapping[str, Any]]


class Target(NamedTuple):
    """What a route should cost. `of` takes the route's rows, and those of the route `beside` of the same rounds."""

    route: str
    words: str
    limit: float
    of: Callable[[Rows, Rows], float]
    at_least: bool = False
    beside: str = "floor"


def _middle(figures: Iterable[float]) -> float:
    return float(median(figures))


def _ratio(rows: Rows, beside: Rows) -> float:
    """Of wall times, paired by round."""
    walls = {r["round"]: r["wall"] for r in beside}
    return _middle(r["wall"] / walls[r["round"]] for r in rows if r["round"] in walls)


def _gain(rows: Rows, beside: Rows) -> float:
    return 1 / _ratio(rows, beside)


def _cpu_a_gib(rows: Rows, _: Rows) -> float:
    return _middle(r["cpu"] / r["gib"] for r in rows)


def _wall(rows: Rows, _: Rows) -> float:
    return _middle(r["wall"] for r in rows)


def _own_times(rows: Rows, _: Rows) -> float:
    return _middle(r["written"] / r["gib"] / GIB for r in rows)


def _all_times(rows: Rows, _: Rows) -> float:
    return _middle((r["written"] + r["daemon_written"]) / r["gib"] / GIB for r in rows)


def _gib_written(rows: Rows, _: Rows) -> float:
    return _middle((r["written"] + r["daemon_written"]) / GIB for r in rows)


def _most_rss(rows: Rows, _: Rows) -> float:
    return float(max(r["rss"] for r in rows)) / 2**20


SINKS = ("layout", "registry", "docker", "podman")
_GROWTH = 1.2
_SMALL_GIB = 0.15  # the engine's layers, which lie elsewhere, and nothing of the weights
TARGETS = (
    Target("layout", "to a layout, nothing known: wall, x floor", 1.15, _ratio),
    Target("layout-known", "to a layout, sha256 known: wall, x floor", 1.15, _ratio),
    Target("layout-known", "to a layout, sha256 known: CPU s/GiB", 1.0, _cpu_a_gib),
    Target("layout", "to a layout: written, x size", 1.01, _own_times),
    Target("xfs", "to a layout, blocks shared: written, GiB", _SMALL_GIB, _gib_written),
    Target("registry", "to a registry: written by the command, x size", 0.01, _own_times),
    Target(
        "registry", "to a registry: times as fast as docker build + push", 8, _gain, at_least=True,
        beside="docker-build-push",
    ),
    Target("docker", "to Docker: times as fast as docker build", 1.8, _gain, at_least=True, beside="docker-build"),
    Target("docker", "to Docker: written, x size", 1.15, _all_times),
    *(Target(f"{to}-again", f"new entrypoint, {to}: wall s", 0.5, _wall)
      for to in SINKS),
    *(Target(f"{to}-again", f"new entrypoint, {to}: written, GiB", 0.01, _gib_written)
      for to in SINKS),
    *(Target(to, f"{to}: RSS MiB", 256, _most_rss) for to in SINKS),
)  # fmt: skip
_BAR, _ROW, _LEFT = 420, 20, 330


def write_page(found: dict[str, Any], page: Path, plot: Path) -> None:
    """The table between its marks in the page; the plot as a file of its own."""
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    page.write_text(f"{head}{BEGIN}\n\n{table(found)}\n\n{targets(found)}\n\n{END}{tail}", encoding="utf-8")
    plot.write_text(svg(found), encoding="utf-8")


def groups(found: dict[str, Any]) -> list[tuple[float, str, list[dict[str, Any]]]]:
    sizes = sorted({r["gib"] for r in found["rows"]})
    wanted = [(g, t) for g in sizes for t in found["routes"]]
    return [(g, t, [r for r in found["rows"] if (r["gib"], r["route"]) == (g, t)]) for g, t in wanted]


def _spread(walls: list[float]) -> str:
    """The median, and the least and most where there are several."""
    most = f" [{min(walls):.2f}-{max(walls):.2f}]" if len(walls) > 1 else ""
    return f"{median(walls):.2f}{most}"


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
            f"{gib:g}", TITLES[route], str(len(rows)), _spread(walls),
            f"{median(ratios):.2f}" if ratios else "-", _per(rows, "cpu", gib), _per(rows, "daemon_cpu", gib),
            _times(rows, "written", gib), _times(rows, "daemon_written", gib), _times(rows, "peak", gib),
            f"{max(r['rss'] for r in rows) / 2**20:.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def targets(found: dict[str, Any]) -> str:
    """Each target with what was measured at each size, and whether it is missed there."""
    sizes = sorted({r["gib"] for r in found["rows"]})
    by_route: dict[tuple[float, str], Rows] = {(g, t): rows for g, t, rows in groups(found) if rows}
    lines, missed, asked = [], 0, 0
    for target in TARGETS:
        cells = [_reached(target, by_route.get((g, target.route)), by_route.get((g, target.beside))) for g in sizes]
        if any(cells):
            missed += sum("missed" in c for c in cells)
            asked += sum(bool(c) for c in cells)
            sign = ">=" if target.at_least else "<="
            lines.append(f"| {target.words} | {sign} {target.limit:g} | {' | '.join(c or '-' for c in cells)} |")
    head = f"| target | | {' | '.join(f'{g:g} GiB' for g in sizes)} |"
    said = f"{missed} of {asked} targets are missed." if missed else f"All {asked} targets are met."
    return "\n".join([said, "", head, "|" + "---|" * (2 + len(sizes)), *lines, *_growth(by_route, sizes)])


def _growth(by_route: Mapping[tuple[float, str], Rows], sizes: Sequence[float]) -> list[str]:
    """Whether a GiB costs the same in a large model as in a small one."""
    if len(sizes) < 2:
        return []
    small, large = sizes[0], sizes[-1]
    both = [t for t in SINKS if (small, t) in by_route and (large, t) in by_route]
    found = {t: _cpu_a_gib(by_route[large, t], ()) / _cpu_a_gib(by_route[small, t], ()) for t in both}
    words = [f"{t} {x:.2f}" if x <= _GROWTH else f"**{t} {x:.2f}, missed**" for t, x in found.items()]
    return ["", f"CPU a GiB at {large:g} GiB beside that at {small:g} (at most {_GROWTH:g}): {', '.join(words)}."]


def _reached(target: Target, rows: Rows | None, beside: Rows | None) -> str:
    """A figure, in bold where it misses the target; empty where it was not measured."""
    if not rows or (target.of in (_ratio, _gain) and not beside):
        return ""
    figure = target.of(rows, beside or ())
    met = figure >= target.limit if target.at_least else figure <= target.limit
    return f"{figure:.2f}" if met else f"**{figure:.2f}, missed**"


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
    return _middle(r["cpu"] for r in rows) / gib, median(r["daemon_cpu"] for r in rows) / gib
