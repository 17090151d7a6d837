"""The verb that says why an appliance failed: diagnose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.cli import JSON, NAME, ORDER, Flags, flag_name, say, show, verb
from weighbridge.verbs import asked

if TYPE_CHECKING:
    from weighbridge.effects.logfile import Log
    from weighbridge.types import Order

_OPTIONAL: Flags = {
    **ORDER,
    "profile": (None, "the kind of machine the log is of, and beside it the rest of its order: for a change that fits"),
    "engine": (None, "the engine that wrote the log (default: the order's; with no order, any)"),
}
LOG: Flags = {
    "log": (None, "file with a log; - reads standard input (default: an appliance's, or what a failed start left)"),
    "apply": (False, "also show the plan with the change; nothing is started"),
}
_OF_THE_ENGINE = ("profile", "engine", "catalog")


@verb(LOG, NAME, _OPTIONAL, JSON)
def diagnose(json: bool, log: str | None, name: str | None, apply: bool, **values: Any) -> None:
    """Why an appliance failed: one cause, the line that shows it, and the change of the order that avoids it."""
    from weighbridge.diagnose import diagnose as look
    from weighbridge.diagnose import diagnosis_json, diagnosis_text, named, remedies
    from weighbridge.errors import BadValue
    from weighbridge.failures import read_book
    from weighbridge.report import plan_text

    it = asked(values)
    order = _typed(it, values)
    found = _read(log, name, json)
    order, engine = (order, values["engine"]) if order or found.container is None else _planned(it, found)
    if order and not engine:
        engine = order.engine or it.catalog.profile(order.profile).family.default_engine
    if apply and order is None:
        raise BadValue("--apply changes a plan, and none is known", "say which: --profile NAME --model NAME")
    if engine:
        it.catalog.engine(engine)
    book = read_book(it.catalog, engine)
    what = named(look(found.lines, book, found.skipped), order)
    remedy = next(remedies(what, book, order, it.catalog, it.model if order else None), None)
    text = diagnosis_text(what, remedy, it.frame)
    if apply:
        text += "\n\n" + (plan_text(remedy.plan) if remedy and remedy.plan else "no change of the order avoids it")
    show(diagnosis_json(what, remedy, it.frame), lambda: text, json)


def _typed(it: Any, values: dict[str, Any]) -> Order | None:
    """The order that was typed; without a profile there is none. Raises BadValue for a part of one."""
    from weighbridge.errors import BadValue

    if values["profile"] or values["order"]:
        it.catalog.profile(it.profile_name)
        if not it.config:
            it.catalog.model(it.order.model)
        return it.order  # type: ignore[no-any-return]
    part = next((n for n in ORDER if values[n] and n not in _OF_THE_ENGINE), None)
    if part:
        flag = "--" + flag_name(part)
        raise BadValue(f"{flag} without --profile is no order", "add --profile NAME; see them with: invoke profiles")
    return None


def _read(log: str | None, name: str | None, json: bool) -> Log:
    from weighbridge.effects.logfile import appliance_log, read_log
    from weighbridge.errors import BadValue

    if log and name:
        raise BadValue("--log and --name are two logs", "give one of them")
    found = read_log(log) if log else appliance_log(name, Path("build"))
    if not log and not json:
        say(f"from {'the container' if found.container else 'what a failed start left,'} {found.source}")
    return found


def _planned(it: Any, log: Log) -> tuple[Order | None, str | None]:
    """The order that gives a container's own plan, and its engine."""
    from weighbridge.diagnose import order_of
    from weighbridge.effects.docker import Host
    from weighbridge.errors import WeighbridgeError

    try:
        plan = Host().plan_of(log.container)  # type: ignore[arg-type]
        return order_of(plan, it.catalog), plan.engine
    except WeighbridgeError as e:
        say(f"no plan to change: {e.message}")
        return None, None
