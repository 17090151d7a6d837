"""What a bake will cost at each sink: bytes read, written and held at the worst moment, and about how long it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from weighbridge.errors import unknown
from weighbridge.facts import Value
from weighbridge.memory import GIB
from weighbridge.words import many


class _Cost(NamedTuple):
    """Per byte of the image: written on this machine, and held there at most; and bytes a second.

    Measured with 4 GiB on 2 cores and one virtual disk: docs/bake.md. What another disk or registry does is not known.
    """

    written: float
    peak: float
    rate: float
    engine_written: float


_COSTS = {
    "layout": _Cost(1.0, 1.0, 0.6e9, 0.0),  # the engine's layers are links
    "docker": _Cost(1.1, 1.1, 0.14e9, 2.05),
    "podman": _Cost(2.1, 2.2, 0.1e9, 2.1),
    "registry": _Cost(0.0, 0.0, 0.25e9, 0.0),
}
SINKS = tuple(_COSTS)


class Forecast(Value, frozen=True, kw_only=True):
    """One sink. `free_bytes`: of the disk it would write to, where that is known."""

    to: str
    read_bytes: int
    written_bytes: int
    peak_bytes: int
    seconds: float
    free_bytes: int | None = None

    @property
    def fits(self) -> bool | None:
        return None if self.free_bytes is None else self.peak_bytes <= self.free_bytes


def forecast(kind: str, weights_bytes: int, engine_bytes: int, *, free_bytes: int | None, shares: bool) -> Forecast:
    """The first bake to a sink. `shares`: its disk can share blocks with the model's files. Raises UnknownName."""
    if kind not in _COSTS:
        raise unknown("sink", kind, SINKS, "invoke bake --dry-run")
    cost = _COSTS[kind]
    moved = 0.0 if shares else 1.0
    engine = int(engine_bytes * cost.engine_written)
    return Forecast(
        to=kind, read_bytes=weights_bytes, written_bytes=int(weights_bytes * cost.written * moved) + engine,
        peak_bytes=int(weights_bytes * cost.peak * moved) + engine,
        seconds=round((weights_bytes + (engine_bytes if cost.engine_written else 0)) / cost.rate, 1),
        free_bytes=free_bytes,
    )  # fmt: skip


def forecast_text(rows: Sequence[Forecast], layers: int, lock: bool) -> str:
    """The table of a dry run, and what it does not say."""
    from weighbridge.report import table

    head = ("TO", "READ", "WRITTEN", "PEAK", "FREE", "ABOUT")
    lines = [(r.to, *(_size(n) for n in (r.read_bytes, r.written_bytes, r.peak_bytes, r.free_bytes)), _time(r.seconds))
             for r in rows]  # fmt: skip
    notes = [
        f"{many(layers, 'layer')} of weights; a new engine image moves none of them again",
        "times as measured on 2 cores and one virtual disk, docs/bake.md",
        *([] if lock else ["no weighbridge.lock.json there: each file is hashed, and a lock goes into the image"]),
    ]
    return "\n".join([table(lines, head), *(f"  {note}" for note in notes)])


def baked_text(done: Any) -> str:
    """What came of a bake, and what to type next."""
    rows = [
        ("image", done.digest),
        ("config", done.image_id),
        ("weights", f"{_size(done.weights_bytes)} in {many(done.layers, 'layer')} with the engine's; lock {done.lock}"),
        ("copied", _copied(done.poured_bytes, done.written_bytes)),
        ("took", f"{done.seconds:.2f} s"),
    ]
    return "\n".join([*(f"{name:8} {words}" for name, words in rows), f"use it: {done.use}"])


def _copied(read: int, given: int) -> str:
    if not read and not given:
        return "nothing: all of it was there already"
    if not read:
        return f"no weights: they were there already; {_size(given)} besides them"
    return f"{_size(read)} of weights read, {_size(given)} written"


def _size(count: int | None) -> str:
    if count is None:
        return "?"
    if 0 < count < 2**20 / 10:
        return f"{count / 2**10:.1f} KiB"
    return f"{count / GIB:.2f} GiB" if count >= GIB / 10 or not count else f"{count / 2**20:.1f} MiB"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
