"""Units never mix: the planner's own arithmetic, done with numbers that carry their unit and refuse another."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weighbridge import memory, weigh
from weighbridge.catalog import Catalog
from weighbridge.engines import Overhead
from weighbridge.memory import Load, Split
from weighbridge.plan import overhead_of
from weighbridge.precision import choose_precision
from weighbridge.types import Order
from weighbridge.weigh import Weighing

Units = dict[str, int]


class Quantity:
    """A number of units, such as 3 B / GiB. Sums and comparisons of two units are an error; products make new ones."""

    def __init__(self, value: float, units: Units) -> None:
        self.value, self.units = value, {k: n for k, n in units.items() if n}

    def _same(self, other: Any) -> float:
        if not isinstance(other, Quantity):
            if other == 0:  # nothing is nothing in any unit
                return 0.0
            raise TypeError(f"{self.units} and a plain {other}")
        if other.value and self.value and other.units != self.units:
            raise TypeError(f"{self.units} and {other.units}")
        return other.value

    def _or_theirs(self, other: Any) -> Units:
        return self.units if self.value or not isinstance(other, Quantity) else other.units

    def __add__(self, other: Any) -> Quantity:
        return Quantity(self.value + self._same(other), self._or_theirs(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Quantity:
        return Quantity(self.value - self._same(other), self._or_theirs(other))

    def __rsub__(self, other: Any) -> Quantity:
        return Quantity(self._same(other) - self.value, self.units)

    def __mul__(self, other: Any) -> Quantity:
        if isinstance(other, Quantity):
            names = self.units.keys() | other.units.keys()
            units = {n: self.units.get(n, 0) + other.units.get(n, 0) for n in names}
            return Quantity(self.value * other.value, units)
        return Quantity(self.value * other, self.units)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Quantity:
        if isinstance(other, Quantity):
            return self * Quantity(1 / other.value, {n: -k for n, k in other.units.items()})
        return Quantity(self.value / other, self.units)

    def __rtruediv__(self, other: float) -> Quantity:
        return Quantity(other / self.value, {n: -k for n, k in self.units.items()})

    def __floordiv__(self, other: Any) -> Quantity:
        found = self / other
        return Quantity(math.floor(found.value), found.units)

    def __lt__(self, other: Any) -> bool:
        return self.value < self._same(other)

    def __gt__(self, other: Any) -> bool:
        return self.value > self._same(other)

    def __eq__(self, other: object) -> bool:
        return self.value == self._same(other)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self.value)

    def __round__(self, digits: int = 0) -> Quantity:
        return Quantity(round(self.value, digits), self.units)

    def __int__(self) -> int:
        """A count: only what has no unit left, or tokens, is one."""
        if self.value and self.units not in ({}, {"token": 1}):
            raise TypeError(f"{self.units} is no count")
        return int(self.value)


BYTE, GIB, TOKEN = {"B": 1}, {"GiB": 1}, {"token": 1}
PER_GIB: Units = {"B": 1, "GiB": -1}


def test_two_units_do_not_add_up() -> None:
    with pytest.raises(TypeError):
        Quantity(1, BYTE) + Quantity(1, GIB)
    with pytest.raises(TypeError):
        Quantity(1, GIB) + 1.0
    with pytest.raises(TypeError):
        max(Quantity(1, GIB), Quantity(1, BYTE))
    with pytest.raises(TypeError):
        int(Quantity(1, GIB))
    assert (Quantity(4, BYTE) / Quantity(2, PER_GIB)).units == GIB


@pytest.fixture(scope="module")
def in_units() -> Any:
    """The constants of the arithmetic with their units."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (memory, weigh):
            patch.setattr(module, "GIB", Quantity(1024**3, PER_GIB))
        patch.setattr(memory, "BYTES", {k: Quantity(v, BYTE) for k, v in memory.BYTES.items()})
        patch.setattr(memory, "_ACTIVATION_BYTES", Quantity(2.0, BYTE))
        patch.setattr(memory, "_SCALE_BYTES", Quantity(4, BYTE))
        patch.setattr(memory, "_BYTE", Quantity(1.0, BYTE))
        yield


def overhead_in_units(term: Overhead) -> Overhead:
    """Each field in the unit that its name says."""
    found: dict[str, Any] = {}
    for name in term.__struct_fields__:
        value = getattr(term, name)
        unit = GIB if name.endswith("_gib") else BYTE if name.startswith("logits_bytes") else None
        found[name] = Quantity(value, unit) if unit else value
    return Overhead(**found)


MODELS = ["qwen3-8b", "deepseek-r1", "qwen3-30b-a3b", "deepseek-r1-distill-qwen-7b-awq", "qwen3-0.6b"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=st.sampled_from(MODELS),
    profile=st.sampled_from(["h200-141g-x8", "l40s-48g-x4", "910b-64g-x8"]),
    split=st.sampled_from([(1, 1), (2, 1), (2, 2), (1, 4)]),
    kv_dtype=st.sampled_from([None, "fp8"]),
    eager=st.booleans(),
)
def test_every_figure_of_a_rank_is_in_the_unit_of_its_name(
    model: str, profile: str, split: tuple[int, int], kv_dtype: str | None, eager: bool, catalog: Catalog, in_units: Any
) -> None:
    machine, found = catalog.profile(profile), catalog.model(model)
    family = catalog.engine("vllm").families[machine.card.family]
    if (kv_dtype and kv_dtype not in family.kv_dtypes) or (
        found.shape.quantization and not family.checkpoint_quantizations
    ):
        return
    precision = choose_precision(Order(kv_dtype=kv_dtype), machine.card, family, found.shape)
    per_token = Quantity(precision.kv_bytes, {"B": 1, "token": -1})
    card: Any = msgspec.structs.replace(machine.card, visible_gib=Quantity(machine.card.memory_gib, GIB))
    weighing = Weighing(
        msgspec.structs.replace(machine, card=card),
        msgspec.structs.replace(family, kv_block_tokens=Quantity(16, TOKEN)),
        found,
        precision._replace(kv_bytes=per_token),  # type: ignore[arg-type]
        Load(2048, 64, eager, machine.card.compute_capability or 0.0),
        0.9,
        overhead_in_units(overhead_of(family, family.version)),
    )
    for rank in weighing.stages(Split(*split)):
        figures = {n: getattr(rank, n) for n in rank.__struct_fields__ if n not in ("rank", "stage")}
        wrong = {n: q for n, q in figures.items() if isinstance(q, Quantity) and q.value and q.units != GIB}
        assert not wrong
        assert all(isinstance(q, Quantity) or q == 0 for q in figures.values())
    rates: Any = weighing.rates(Split(*split))
    assert all(r.units == {"B": 1, "token": -1} for r in rates)
    tokens: Any = weighing.tokens(Split(*split))
    assert tokens.low == 0 or tokens.low.units == TOKEN
    assert tokens.high == 0 or tokens.high.units == TOKEN
