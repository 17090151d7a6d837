"""The overhead band from what engines reported: `make calibrate`.

Reads rows/*.yaml, fits each version's terms by the smallest spread of what they leave over (a minimax fit over a grid),
writes the numbers into images/<engine>/overhead.yaml and the table of promises into docs/planner.md. Rows marked
held_out take no part in the fit; the table shows them apart.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from weighbridge import memory
from weighbridge.catalog import DATA, Catalog, read_yaml
from weighbridge.engines import Overhead
from weighbridge.memory import GIB, Load, Split
from weighbridge.order import read_order
from weighbridge.precision import choose_precision

ROWS = Path(__file__).parent / "rows"
MARGIN_GIB = 0.05  # beyond the rows: numbers are printed with two digits
SLACK_GIB = 0.10  # and the high end again, for drivers and cards that no row has


class Row(NamedTuple):
    """One run: what was started, and what the engine said of the rank that decides."""

    id: str
    family: str
    version: str
    budget_gib: float
    weights_gib: float
    rates: tuple[float, ...]
    shape: Any
    split: Split
    load: Load
    block: int
    reported: dict[str, float]
    held_out: bool
    warm: bool
    source: str

    @property
    def overhead_gib(self) -> float:
        """What was neither our figure for the weights nor KV cache."""
        return self.budget_gib - self.weights_gib - self.reported["kv_gib"]

    @property
    def tokens(self) -> float:
        """As reported, or by the reported GiB and the rate."""
        return self.reported.get("kv_tokens") or self.reported["kv_gib"] * GIB / max(self.rates)


def read_rows(catalog: Catalog) -> list[Row]:
    found = []
    for path in sorted(ROWS.glob("*.yaml")):
        file = read_yaml(path)
        found += [read_row({**file["about"], **row}, catalog) for row in file["rows"]]
    return found


def read_row(row: Mapping[str, Any], catalog: Catalog) -> Row:
    order = read_order(row["order"])
    profile, model = catalog.profile(order.profile), catalog.model(order.model)
    family = catalog.engine(row["engine"]).families[row["family"]]
    precision = choose_precision(order, profile.card, family, model.shape)
    split = Split(order.tensor_parallel or 1, order.pipeline_parallel or 1)
    batch = max((b for b in family.batching if b.from_visible_gib <= profile.card.memory_gib), key=_from)
    tokens, sequences = order.batched_tokens or batch.max_num_batched_tokens, order.sequences or batch.max_num_seqs
    stages = range(split.pipeline_parallel)
    weights = [memory.weights_bytes(model.shape, split, s, precision.dtype, precision.online) / GIB for s in stages]
    return Row(
        id=row["id"],
        family=row["family"],
        version=row["engine_version"],
        budget_gib=(order.utilization or family.utilization) * row.get("visible_gib", profile.card.memory_gib),
        weights_gib=max(weights),
        rates=tuple(memory.kv_bytes_per_token(model.shape, split, s, precision.kv_bytes) for s in stages),
        shape=model.shape,
        split=split,
        load=Load(tokens, sequences, bool(order.eager), profile.card.compute_capability or 0.0),
        block=family.kv_block_tokens,
        reported=row["reported"],
        held_out=bool(row.get("held_out")),
        warm="compiled before" in row.get("note", ""),
        source=row.get("source") or f"{row['basis'].split(':')[0]} {row.get('date', '')}".strip(),
    )


def _from(batch: Any) -> float:
    return float(batch.from_visible_gib)


class Terms(NamedTuple):
    """What the fit may choose: see Overhead."""

    hidden_rows: float
    logits_bytes: float
    tensor_parallel_gib: float
    compile_tables: float
    compile_hidden_rows: float


def shape_gib(row: Row, terms: Terms) -> float:
    """The overhead of a row without its fixed part."""
    term = overhead(terms, 0.0, 0.0, {})
    load = row.load._replace(eager=True) if row.warm else row.load
    return max(
        memory.overhead_gib(row.shape, row.split, s, load, term).high for s in range(row.split.pipeline_parallel)
    )


def overhead(terms: Terms, low: float, high: float, more: Mapping[str, Any]) -> Overhead:
    made = {
        "fixed_low_gib": low, "fixed_high_gib": high, "tensor_parallel_low_gib": terms.tensor_parallel_gib,
        "tensor_parallel_high_gib": terms.tensor_parallel_gib, "hidden_rows_low": terms.hidden_rows,
        "hidden_rows_high": terms.hidden_rows, "logits_bytes_low": terms.logits_bytes,
        "logits_bytes_high": terms.logits_bytes, "compile_tables_high": terms.compile_tables,
        "compile_hidden_rows_high": terms.compile_hidden_rows, "experts_low": 1.0, "experts_high": 1.0,
        "because": "",
    }  # fmt: skip
    return Overhead(**{**made, **more})


# What each version's fit may choose from, and what no row measures: figures from elsewhere, for the high end only.
GRIDS: dict[str, dict[str, Any]] = {
    "0.10": {"hidden_rows": [5.0], "logits_bytes": [0.0], "tensor_parallel_gib": (0.0, 2.0, 0.05)},
    "0.11": {"hidden_rows": [5.0], "logits_bytes": (30.0, 45.0, 0.25), "tensor_parallel_gib": [0.0]},
    "0.17": {
        "hidden_rows": (0.0, 8.0, 1.0), "logits_bytes": (12.0, 18.0, 0.25), "tensor_parallel_gib": (1.0, 2.5, 0.05),
    },
    "0.26": {
        "hidden_rows": (2.0, 8.0, 0.25), "logits_bytes": [0.0], "tensor_parallel_gib": [0.0], "compile_tables": [1.0],
        "compile_hidden_rows": (1.0, 4.0, 0.25),
    },
}  # fmt: skip
UNMEASURED: dict[str, dict[str, Any]] = {
    "0.10": {"tensor_parallel_low_gib": 0.0, "graphs_experts_high_gib": 0.6, "experts_high": 2.0},
    "0.11": {"tensor_parallel_high_gib": 1.0, "graphs_experts_high_gib": 0.6, "experts_high": 2.0},
    "0.17": {"graphs_experts_high_gib": 0.6, "experts_high": 2.0},
    "0.26": {
        # a stand-in sampler was measured; 9 bytes is what four-byte logits and their copy would need
        "logits_bytes_high": 9.0,
        # Hopper and newer fuse the all-reduce; its workspace was seen in 0.19 only (2.07 to 2.17 GiB)
        "fused_all_reduce_high_gib": 2.2, "fused_all_reduce_from_capability": 9.0,
        "graphs_experts_high_gib": 0.3, "experts_high": 2.0, "measured_on": ["h100-80g", "h200-141g"],
    },
}  # fmt: skip


def values(grid: Any) -> list[float]:
    if isinstance(grid, list):
        return [float(v) for v in grid]
    start, stop, step = grid
    return [start + i * step for i in range(round((stop - start) / step) + 1)]


def fit(version: str, rows: list[Row]) -> tuple[Overhead, dict[str, float]]:
    """The terms that leave the smallest spread, and what they leave of each row, GiB."""
    grid = GRIDS[version]
    choices = (values(grid.get(name, [0.0])) for name in Terms._fields)
    dense = [r for r in rows if not r.shape.experts]
    best = min((Terms(*c) for c in itertools.product(*choices)), key=lambda t: _spread(dense, t))
    left = {row.id: row.overhead_gib - shape_gib(row, best) for row in dense}
    low = max(0.0, round(min(left.values()) - MARGIN_GIB, 2))
    high = round(max(left.values()) + SLACK_GIB + MARGIN_GIB * (1 if len(dense) > 4 else 3), 2)
    more = {**UNMEASURED[version], "because": f"{len(rows)} rows of {version} and newer, see docs/planner.md"}
    sparse = [r for r in rows if r.shape.experts]
    for factor in values((1.0, 4.0, 0.25)):
        made = overhead(best, low, high, {**more, "experts_high": factor} if sparse else more)
        if all(_high(row, made) >= row.overhead_gib + MARGIN_GIB for row in sparse):
            return made, left
    raise SystemExit(f"{version}: no factor of experts holds {[r.id for r in sparse]}")


def _high(row: Row, term: Overhead) -> float:
    return max(memory.overhead_gib(row.shape, row.split, s, row.load, term).high for s in range(len(row.rates)))


def _spread(rows: list[Row], terms: Terms) -> float:
    left = [row.overhead_gib - shape_gib(row, terms) for row in rows]
    return max(left) - min(left)


def promised(row: Row, term: Overhead) -> int:
    """Tokens a plan would promise: the low end, whole blocks, one less."""
    found = []
    for stage, rate in enumerate(row.rates):
        band = memory.overhead_gib(row.shape, row.split, stage, row.load, term)
        kv = max(0.0, row.budget_gib - row.weights_gib - band.high)
        found.append(max(0, int(kv * GIB / rate // row.block) - 1) * row.block)
    return min(found)


def groups(rows: list[Row], versions: list[str]) -> Iterator[tuple[str, list[Row]]]:
    """Rows by the version group they belong to."""
    for i, version in enumerate(versions):
        later = _key(versions[i + 1]) if i + 1 < len(versions) else (10**6,)
        yield version, [r for r in rows if _key(version) <= _key(r.version) < later]


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in version.split("."))


def write_overheads(path: Path, family: str, found: Mapping[str, Overhead]) -> None:
    """The family's numbers anew; the rest of the file stays as it is."""
    head = "".join(line for line in path.read_text(encoding="utf-8").splitlines(True) if line.startswith("#"))
    file = read_yaml(path)
    file[family] = {v: {k: x for k, x in msgspec.to_builtins(o).items() if x != 0.0} for v, o in found.items()}
    for version, made in file[family].items():
        needed = {"fixed_low_gib": 0.0, "hidden_rows_low": 0.0, "hidden_rows_high": 0.0, "logits_bytes_low": 0.0}
        file[family][version] = {**needed, "logits_bytes_high": 0.0, **made}
    aside = path.with_suffix(".aside")
    aside.write_text(head + yaml.safe_dump(file, sort_keys=False, width=118), encoding="utf-8")
    aside.replace(path)


def table(rows: list[Row], found: Mapping[str, Overhead]) -> list[str]:
    lines = [
        "| run | version | split | weights GiB: ours, reported | overhead GiB: low, was, high"
        " | KV tokens: promised, reported | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        term = term_of(row, found)
        bands = [memory.overhead_gib(row.shape, row.split, s, row.load, term) for s in range(len(row.rates))]
        low, high = min(b.low for b in bands), max(b.high for b in bands)
        eager = " eager" if row.load.eager else ""
        cut = f"TP{row.split.tensor_parallel} PP{row.split.pipeline_parallel}{eager}"
        lines.append(
            f"| {row.id} | {row.version} | {cut} | {row.weights_gib:.2f}, {row.reported['weights_gib']:.2f} |"
            f" {low:.2f}, {row.overhead_gib:.2f}, {high:.2f} | {promised(row, term):,}, {row.tokens:,.0f} |"
            f" {promised(row, term) / row.tokens:.3f} |"
        )
    return lines


def term_of(row: Row, found: Mapping[str, Overhead]) -> Overhead:
    held = [v for v in found if _key(v) <= _key(row.version)]
    return found[max(held, key=_key)]


def summary(rows: list[Row], found: Mapping[str, Overhead]) -> str:
    by_row = {r.id: promised(r, term_of(r, found)) / r.tokens for r in rows}
    ratios, worst = sorted(by_row.values()), min(by_row, key=lambda i: by_row[i])
    outside = [i for i, x in by_row.items() if not 0.88 <= x <= 1.0]
    return (
        f"{len(rows)} rows: promised ÷ reported from {ratios[0]:.3f} ({worst}) to {ratios[-1]:.3f}, median"
        f" {statistics.median(ratios):.3f}; outside 0.88 to 1.00: {', '.join(outside) or 'none'}. {weights_words(rows)}"
    )


def weights_words(rows: list[Row]) -> str:
    """How far our weights are from what the loader said, and the rows beyond 1 %."""
    off = {r.id: r.weights_gib / r.reported["weights_gib"] - 1 for r in rows}
    beyond = [f"{i} ({off[i]:+.1%})" for i in off if abs(off[i]) > 0.01]
    return f"Weights within 1 %: {len(off) - len(beyond)} of {len(off)}" + (
        f"; beyond: {', '.join(beyond)}." if beyond else "."
    )


def constants(rows: list[Row], found: Mapping[str, Overhead], left: Mapping[str, Mapping[str, float]]) -> list[str]:
    """`left` are the dense rows of each version; those with experts set the factor of experts alone."""
    members = {version: len(of) for version, of in groups(rows, list(found))}
    lines = [
        "| from version | rows | of them dense | constants | left over by the dense rows, GiB: lowest, highest |",
        "|---|---|---|---|---|",
    ]
    for version, term in found.items():
        plain = {k: v for k, v in msgspec.to_builtins(term).items() if isinstance(v, float | int) and v}
        said = ", ".join(f"{k} {v:g}" for k, v in plain.items())
        lines.append(
            f"| {version} | {members[version]} | {len(left[version])} | {said} |"
            f" {min(left[version].values()):.2f}, {max(left[version].values()):.2f} |"
        )
    return lines


def fitted(rows: list[Row]) -> tuple[dict[str, Overhead], dict[str, dict[str, float]]]:
    """By version the terms, and what they leave of each dense row, GiB."""
    found: dict[str, Overhead] = {}
    left: dict[str, dict[str, float]] = {}
    for version, members in groups(rows, list(GRIDS)):
        found[version], left[version] = fit(version, [r for r in members if not r.held_out])
    return found, left


def cards_rows(catalog: Catalog) -> list[Row]:
    """On a CPU the cache is stated, and nothing is left to fit."""
    return [r for r in read_rows(catalog) if r.family == "cuda"]


def main() -> None:
    rows = cards_rows(Catalog())
    found, left = fitted(rows)
    write_overheads(DATA / "images" / "vllm" / "overhead.yaml", "cuda", found)
    path = DATA / "docs" / "planner.md"
    text = path.read_text(encoding="utf-8")
    begin, end = "<!-- made by make calibrate -->", "<!-- end -->"
    before, after = text.split(begin)[0], text.split(end)[1]
    path.write_text(f"{before}{begin}\n{page(rows, found, left)}\n{end}{after}", encoding="utf-8")
    print(summary([r for r in rows if not r.held_out], found))
    print("held out:", summary([r for r in rows if r.held_out], found))


def page(rows: list[Row], found: Mapping[str, Overhead], left: Any) -> str:
    """The part of docs/planner.md between its two marks."""
    ours, kept = [r for r in rows if not r.held_out], [r for r in rows if r.held_out]
    made = [
        "## Rows behind the fit", "", summary(ours, found), "", *table(ours, found), "",
        "## Rows kept out of the fit", "", summary(kept, found), "", *table(kept, found), "",
        "## Constants", "", *constants(ours, found, left),
    ]  # fmt: skip
    return "\n".join(made)


if __name__ == "__main__":
    main()
