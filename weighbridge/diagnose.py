"""What a log says went wrong: one failure with its certainty, the line that shows it, and the change that avoids it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from weighbridge.catalog import Catalog
from weighbridge.errors import DoesNotFit, NotPublic, NotReady, Refused
from weighbridge.facts import Model, Value
from weighbridge.failures import CERTAINTIES, Book, Change, Failure, read_book
from weighbridge.logs import Line, clean, first_cause, quote, ready_at
from weighbridge.road import command_line, make_plan
from weighbridge.signs import hits
from weighbridge.types import PLANNED_AS, Order, Plan


class Diagnosis(Value, frozen=True, kw_only=True):
    """`failure` is None when no sign was found; `line` is then the first cause in the log, if it has one."""

    failure: str | None
    title: str
    certainty: str | None
    line: int | None
    quote: str
    because: str = ""
    numbers: dict[str, float] = msgspec.field(default_factory=dict)
    type: tuple[str, ...] = ()


class Remedy(Value, frozen=True, kw_only=True):
    """A change of the order, and the plan that it gives; None where there is no order to plan from."""

    field: str
    value: Any
    flag: str
    because: str
    order: Order | None = None
    plan: Plan | None = None


# --- the failure -----------------------------------------------------------------------------------------


def diagnose(raw: Sequence[str], book: Book, skipped: int = 0) -> Diagnosis:
    """The one failure that a log shows: the surest sign, then the first, then the one nearest to what it must stand
    beside. Without a sign, the first cause of the innermost process. What stands before the engine served did not end
    it. `skipped` lines stood before these.
    """
    lines = [line._replace(number=line.number + skipped) for line in clean(raw, book)]
    served = ready_at(lines, book)
    found = sorted(hits(lines, book.failures, served), key=lambda h: h[:4])
    if not found:
        return _unknown([line for line in lines if line.number > served], book)
    best = found[0]
    failure = book.failures[best.failure]
    return Diagnosis(
        failure=best.failure,
        title=failure.title,
        certainty=CERTAINTIES[best.rank],
        line=best.line.number,
        quote=quote(best.line.text, best.match.start()),
        because=failure.because,
        numbers=_numbers(h.match for h in found if h.failure == best.failure),
        type=failure.type,
    )


def named(found: Diagnosis, order: Order | None) -> Diagnosis:
    """The same, its lines to type with the order's model in them."""
    if order is None:
        return found
    lines = tuple(line.replace("--model MODEL", f"--model {shlex.quote(order.model)}") for line in found.type)
    return msgspec.structs.replace(found, type=lines)


def _unknown(lines: Sequence[Line], book: Book) -> Diagnosis:
    cause = first_cause(lines, book)
    if cause is None:
        return Diagnosis(failure=None, title="nothing in this log is a failure", certainty=None, line=None, quote="")
    title = "no known failure; the first cause in the log is this"
    return Diagnosis(failure=None, title=title, certainty=None, line=cause.number, quote=quote(cause.text))


def _numbers(matches: Iterator[re.Match[str]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for match in matches:
        for name, text in match.groupdict().items():
            if text is not None:
                found.setdefault(name, float(text.replace(",", "")))
    return found


# --- what to change --------------------------------------------------------------------------------------


def remedies(
    found: Diagnosis, book: Book, order: Order | None, catalog: Catalog, model: Model | None = None
) -> Iterator[Remedy]:
    """The changes that can be made, first things first. With an order, those alone that give another plan."""
    failure = book.failures.get(found.failure or "")
    if failure is None:
        return
    planned = _attempt(order, catalog, model) if order else None
    for change in failure.changes:
        known, value = _value(change, found.numbers, planned)
        if not known:
            continue
        remedy = Remedy(field=change.field, value=value, flag=_flag(change.field, value), because=change.because)
        if order is None:
            yield remedy
        else:
            yield from _planned(remedy, order, planned, catalog, model)


def _planned(remedy: Remedy, order: Order, now: Plan | None, catalog: Catalog, model: Model | None) -> Iterator[Remedy]:
    value = remedy.value
    if remedy.field == "without" and order.without:  # what a host lacks comes to what is known of it
        value = f"{order.without},{value}"
    wanted = msgspec.structs.replace(order, **{remedy.field: value})
    plan = _attempt(wanted, catalog, model)
    told = plan and (plan.engine_args, plan.environment)
    if plan is not None and wanted != order and (now is None or told != (now.engine_args, now.environment)):
        yield msgspec.structs.replace(remedy, order=wanted, plan=plan)


def _attempt(order: Order, catalog: Catalog, model: Model | None) -> Plan | None:
    try:
        return make_plan(order, catalog, model)
    except Refused:
        return None


def _value(change: Change, numbers: Mapping[str, float], planned: Plan | None) -> tuple[bool, Any]:
    """(whether it is known, the field's new value)."""
    if change.constant:
        return True, change.value
    if change.divides:
        return _divisor(change, numbers, planned)
    if change.group:
        if change.group not in numbers or (change.over and not numbers.get(change.over)):
            return False, None
        base = numbers[change.group] / (numbers[change.over] if change.over else 1)
    elif planned is not None:
        base = float(getattr(planned, PLANNED_AS.get(change.field, change.field)))
    else:
        return False, None
    return _fitting(change, base * (change.times or 1))


def _fitting(change: Change, value: float) -> tuple[bool, Any]:
    """A share with two digits, at most what starts reliably; a count as a whole number of steps, at least one."""
    if change.field == "utilization":
        share = int(value * 100) / 100
        return (share >= 0.05, min(share, 0.95))
    count = int(value) // change.step * change.step
    return count >= 1, count


def _divisor(change: Change, numbers: Mapping[str, float], planned: Plan | None) -> tuple[bool, Any]:
    whole = int(numbers.get(change.divides or "", 0))
    now = numbers.get(change.below or "", float(planned.tensor_parallel) if planned else 0)
    fitting = [n for n in range(1, int(now)) if whole and whole % n == 0]
    return bool(fitting), max(fitting, default=None)


def _flag(field: str, value: Any) -> str:
    name = "--" + field.replace("_", "-")
    if value is None:
        return f"no {name}"
    if isinstance(value, bool):
        return name if value else "--compiled"
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def order_of(plan: Plan, catalog: Catalog, model: Model | None = None) -> Order:
    """An order that gives this plan: profile, model and engine, and each field in which the planner's own differs.

    Raises Refused when there is none, as for a model that is not in the catalogue.
    """
    default = catalog.engine(plan.engine).families[plan.family].version
    version = None if plan.engine_version == default else plan.engine_version
    order = Order(profile=plan.profile, model=plan.model, engine=plan.engine, engine_version=version)
    own: Plan | None = None
    try:
        own = make_plan(order, catalog, model)
    except NotPublic:
        order = msgspec.structs.replace(order, visible_gib=plan.memory.per_rank[0].visible_gib)
        own = _attempt(order, catalog, model)
    except DoesNotFit:  # it was made to fit by what was asked, so that all of it is
        pass
    asked: dict[str, Any] = {}
    for field in Order.__struct_fields__:
        name = PLANNED_AS.get(field, field)
        if field not in ("profile", "model", "engine", "engine_version") and hasattr(plan, name):
            asked |= {} if own and getattr(plan, name) == getattr(own, name) else {field: getattr(plan, name)}
    order = msgspec.structs.replace(order, **asked)
    make_plan(order, catalog, model)
    return order


# --- as text ---------------------------------------------------------------------------------------------


def run_line(order: Order, frame: Sequence[str] = ()) -> str:
    """The order as a line that starts it."""
    return command_line(order, frame).replace("invoke plan", "invoke run", 1)


def diagnosis_text(found: Diagnosis, remedy: Remedy | None, frame: Sequence[str] = ()) -> str:
    """What went wrong, the line that shows it, and what to type."""
    lines = [f"{found.title}{f' ({found.certainty})' if found.certainty else ''}"]
    if found.line is not None:
        lines.append(f"  line {found.line}: {found.quote}")
    if found.because:
        lines.append(f"  {found.because}")
    if remedy is not None:
        typed = run_line(remedy.order, frame) if remedy.order else f"with {remedy.flag}"
        lines += [f"change: {remedy.flag} ({remedy.because})", f"  {typed}"]
    if found.type:
        lines += ["see also" if remedy else "try", *(f"  {words}" for words in found.type)]
    return "\n".join(lines)


def in_short(found: Diagnosis, remedy: Remedy | None, frame: Sequence[str] = ()) -> str:
    """The same in two lines, for the error of a start that failed."""
    if found.line is None:
        return ""
    sure = f" ({found.certainty})" if found.certainty else ""
    text = f"\n  diagnosis{sure}: {found.title}: {found.quote}"
    if remedy is not None and remedy.order is not None:
        return f"{text}\n  change: {remedy.because}: {run_line(remedy.order, frame)}"
    return text + (f"\n  try: {found.type[0]}" if found.type else "")


def explained(error: NotReady, order: Order, catalog: Catalog, model: Model | None, frame: Sequence[str]) -> NotReady:
    """The error of a failed start, with what its log says went wrong, and the line that avoids it."""
    if not error.log:
        return error
    try:
        engine = order.engine or catalog.profile(order.profile).family.default_engine
        book = read_book(catalog, engine)
    except Refused as e:  # a folder of one's own is wrong: that must not hide why the start failed
        return NotReady(f"{error.message}\n  no diagnosis: {e.message}", error.hint)
    found = named(diagnose((error.message.partition("\n")[0], *error.log), book), order)
    remedy = next(remedies(found, book, order, catalog, model), None)
    return NotReady(error.message + in_short(found, remedy, frame), error.hint)


def diagnosis_json(found: Diagnosis, remedy: Remedy | None, frame: Sequence[str] = ()) -> dict[str, Any]:
    """The diagnosis as an object, with the change, the line to type and the plan it gives."""
    plain: dict[str, Any] = msgspec.to_builtins(found)
    if remedy is None:
        return {**plain, "change": None}
    change = {"field": remedy.field, "value": remedy.value, "because": remedy.because}
    command = run_line(remedy.order, frame) if remedy.order else None
    plan = msgspec.to_builtins(remedy.plan) if remedy.plan else None
    return {**plain, "change": {**change, "command": command, "plan": plan}}


def failures_rows(book: Book) -> list[tuple[str, str, str]]:
    """(name, what it is, the first change or thing to type)."""
    return [(name, f.title, _first(f)) for name, f in sorted(book.failures.items())]


def _first(failure: Failure) -> str:
    if failure.changes:
        return f"--{failure.changes[0].field.replace('_', '-')}: {failure.changes[0].because}"
    return failure.type[0] if failure.type else ""
