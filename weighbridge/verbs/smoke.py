"""The verb that proves an appliance, or any server: real questions, and two reports set side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.cli import CATALOG, JSON, NAME, Flags, is_watched, say, show, tell, verb
from weighbridge.verbs import asked

if TYPE_CHECKING:
    from weighbridge.types import SmokeReport

SMOKE: Flags = {
    "level": ("quick", "how much is asked: quick or full (default quick)"),
    "soak": (None, "minutes to go on asking, again and again (default: each question once)"),
    "url": (None, "ask this address instead of a container of this host; any server with the same API"),
    "model": (None, "with --url: the model there is this one of the catalogue, so its own questions are asked"),
    "engine": (None, "with --url: the engine there (default: that of the default profile)"),
    "key_file": (None, "file with the key to ask with (default: the appliance's own)"),
    "metrics_key_file": (None, "file with the key for metrics (default: the appliance's own)"),
    "tls_cert": (None, "trust this certificate, for an address that signs itself"),
    "answer_seconds": (None, "seconds to wait for one answer at most (default 120)"),
    "junit": (None, "also write a JUnit XML file there"),
    "html": (None, "also write the report as a page there"),
    "attach": (None, "also tie the report to its baked image: a layout's folder, or HOST/NAME:TAG at a registry"),
    "insecure": (False, "with --attach: plain http, or a certificate that nobody signed"),
    "strict": (False, "also fail when the engine holds over 5 % fewer tokens than the plan promised"),
    "compare": (None, "ask nothing; set this report of an earlier --json beside another one"),
    "with_": (None, "the other report, the newer one"),
}


@verb(NAME, SMOKE, CATALOG, JSON)
def smoke(json: bool, compare: str | None, with_: str | None, **values: Any) -> int:
    """Ask a running appliance real questions; exit 1 when an answer is wrong, or worse than in another report."""
    from weighbridge.effects.disk import file_to_write
    from weighbridge.effects.oci.attach import check_place
    from weighbridge.errors import BadValue
    from weighbridge.smoke_report import compare_reports, compare_text, read_report

    if bool(compare) != bool(with_):
        raise BadValue("two reports are compared", "give both: --compare OLD.json --with NEW.json")
    if compare and with_:
        found = compare_reports(*(read_report(_text(path), path) for path in (compare, with_)))
        show(found, lambda: compare_text(found), json)
        return 0 if found.ok else 1
    files = {name: file_to_write(f"--{name}", values[name]) for name in ("junit", "html")}
    values["json"] = json
    if values["attach"]:
        check_place(values["attach"])
    report = _ask(values)
    return _show(report, files, values)


def _text(path: str) -> str:
    from weighbridge.errors import BadFile

    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise BadFile(f"{path}: {e}", "make one: invoke smoke --json > FILE") from None


def _ask(values: dict[str, Any]) -> SmokeReport:
    import msgspec

    from weighbridge.effects.smoke import smoke as ask
    from weighbridge.effects.target import Given, target_of
    from weighbridge.errors import BadValue
    from weighbridge.order import read_positive
    from weighbridge.smoke import read_contract, read_level
    from weighbridge.types import Order

    level, minutes = read_level(values["level"]), read_positive("--soak", values["soak"]) if values["soak"] else 0
    patience = read_positive("--answer-seconds", values["answer_seconds"]) if values["answer_seconds"] else 0
    if (values["model"] or values["engine"]) and not values["url"]:
        raise BadValue("--model and --engine are for --url", "an appliance of this host says itself what it is")
    catalog = asked(values).catalog
    own = catalog.profile(Order().profile).family.default_engine
    catalog.engine(values["engine"] or own)  # a wrong name is told before anything is asked
    files = {f: Path(values[f]) if values[f] else None for f in ("key_file", "tls_cert", "metrics_key_file")}
    given = Given(files["key_file"], files["tls_cert"], files["metrics_key_file"], values["model"])
    target = target_of(values["name"], values["url"], catalog, given)
    contract = read_contract(catalog, dict(target.about).get("engine") or values["engine"] or own)
    if patience:
        contract = msgspec.structs.replace(contract, answer_seconds=patience)
    if _at_once(values):
        return ask(target, contract, level=level, minutes=minutes, say=tell)
    return ask(target, contract, level=level, minutes=minutes, say=say, passed=sys.stderr.isatty())


def _at_once(values: dict[str, Any]) -> bool:
    """Whether the checks are shown as they come, and not again; of a soak, the table says what all rounds did.

    Where the result is all that anybody reads, a log has each check once.
    """
    return not (is_watched() or values["json"] or values["soak"])


def _show(report: SmokeReport, files: dict[str, Path | None], values: dict[str, Any]) -> int:
    from weighbridge.effects.disk import write_file
    from weighbridge.reconcile import TOLERATED_SHARE
    from weighbridge.report import smoke_junit, smoke_text
    from weighbridge.smoke_report import smoke_html

    strict, json = values["strict"], values["json"]
    junit = smoke_junit(report, tolerated=TOLERATED_SHARE if strict else None)
    for path, text in ((files["junit"], junit), (files["html"], smoke_html(report))):
        if path:
            write_file(path, text)
            say(f"wrote {path}")
    show(report, lambda: smoke_text(report, checks=not _at_once(values)), json)
    _keep(report, values)
    short = strict and report.memory is not None and report.memory.missing_share > TOLERATED_SHARE
    return 0 if report.ok and not short else 1


def _keep(report: SmokeReport, values: dict[str, Any]) -> None:
    """Beside the image, and tied to it where that was asked: after the answer was shown, which nothing may cost."""
    from weighbridge.effects.oci.attach import attach
    from weighbridge.effects.records import keep_smoke
    from weighbridge.errors import HostError

    folders = asked(values).folders
    try:
        kept = keep_smoke(report, folders.build)
        if kept:
            say(f"recorded in {kept}")
    except HostError as e:
        say(f"not recorded: {e.message}")
    if values["attach"]:
        made = attach(report, values["attach"], folders.cache, insecure=values["insecure"])
        say(f"attached to {made['subject']} as {made['digest']}")
