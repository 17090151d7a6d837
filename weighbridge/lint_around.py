"""What lint finds around the engine: its container, mounts, the steps before it, clients in the same text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from weighbridge.lint_options import Container
from weighbridge.lint_read import Reading
from weighbridge.lint_rules import Rules

ALL_ADDRESSES = ("", "0.0.0.0", "::", "[::]")  # noqa: S104  found, never bound
_SHM_MOST_GIB = 64
_OWN_DIGEST = r"@sha256:|-[0-9a-f]{12}$"


class Hit(NamedTuple):
    """A finding before its words: where, what was typed, and what is better in this case."""

    id: str
    line: int
    typed: str
    better: str = ""
    why: str = ""


# --- the container -------------------------------------------------------------------------------------


def around(reading: Reading, rules: Rules) -> Iterator[Hit]:
    """Every such finding."""
    for container in reading.containers:
        yield from (Hit(name, line, typed) for name, typed, line in container.faults)
        yield from _container(container, rules)
        yield from _mounts(container)
    yield from _steps(reading, rules)
    yield from _ports(reading)
    yield from _whole_text(reading)


def _container(container: Container, rules: Rules) -> Iterator[Hit]:
    line = container.line
    if container.image is None:
        yield Hit("no-image", line, container.title)
    elif re.search(r":latest(@|$)", container.image) or not re.search(r"[:@][^/]+$", container.image):
        yield Hit("latest-image", container.image_line or line, container.image)
    if container.image and not re.search(_OWN_DIGEST, container.image):
        yield Hit("no-digest", container.image_line or line, container.image)
    if not any(v.startswith("no-new-privileges") for v in container.values("--security-opt")):
        yield Hit("may-gain-privileges", line, f"no {container.said('--security-opt', 'no-new-privileges')}")
    for option in (o for o in container.options if o.name == "--publish"):
        value = option.value or ""
        address = value.rpartition(":")[0].rpartition(":")[0]
        if address in ALL_ADDRESSES and not value.startswith("127."):
            better = container.publishes(f"127.0.0.1:{_ports_of(value)}")
            yield Hit("publish-everywhere", option.line, container.said("--publish", value), better)
    known = rules.containers.known
    names = [o.name for o in container.options]
    for name in sorted({n for n in names if names.count(n) > 1 and not known[n].many}):
        yield Hit("option-twice", line, container.said(name))
    for option in (o for o in container.options if o.name == "--shm-size"):
        gib = _gib(option.value or "")
        if gib is not None and gib > _SHM_MOST_GIB:
            yield Hit("shm-huge", option.line, container.said("--shm-size", option.value or ""))


def _ports_of(value: str) -> str:
    return ":".join(value.split(":")[-2:]) if ":" in value else f"{value}:{value}"


def _gib(text: str) -> float | None:
    """The GiB of a size as container runtimes read it: bytes, or b, k, m, g."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([bkmgt]?)(i?b)?", text.lower())
    return float(match[1]) * 1024.0 ** ("bkmgt".index(match[2] or "b") - 3) if match else None


def _mounts(container: Container) -> Iterator[Hit]:
    found = [(s.rstrip("/") or "/", t.rstrip("/") or "/", ro, line) for s, t, ro, line in container.mounts()]
    for at, (source, target, read_only, line) in enumerate(found):
        shown = f"{source}:{target}"
        inside = [s for n, (s, t, _, _) in enumerate(found) if n != at and _same_below(source, target, s, t)]
        if inside and (source, target) not in [(s, t) for s, t, _, _ in found[at + 1 :]]:
            yield Hit("mount-in-mount", line, shown, why=f"{inside[0]} is mounted too")
        if (
            not read_only
            and re.match(r"[/.~$]", source)
            and re.search(r"(?i)model|weight|checkpoint|/data(/|$)", shown)
        ):
            yield Hit("mount-writable", line, shown)


def _same_below(source: str, target: str, outer: str, outer_target: str) -> bool:
    """Is source at target what the outer mount shows there anyway?"""
    if (source, target) == (outer, outer_target):
        return True
    rest = source.removeprefix(outer.rstrip("/") + "/")
    return rest != source and target == f"{outer_target.rstrip('/')}/{rest}"


# --- around it -----------------------------------------------------------------------------------------


def _steps(reading: Reading, rules: Rules) -> Iterator[Hit]:
    for step in reading.steps:
        text = step.text
        piped = step.then in ("|", "|&")
        if re.match(r"(curl|wget)\b.*\.(sh|py)(\s|$)", text) and not re.search(
            r" (-\w*[oO]|--output|--remote-name)\b", text
        ):
            if piped:
                yield Hit("script-unread", step.line, text)
            elif text.startswith("curl"):
                yield Hit("script-not-run", step.line, text)
        if not re.search(r"\b(pip3?|uv pip)\b install|\bpip3? install", text):
            continue
        if step.container:
            yield Hit("install-at-start", step.line, text)
        if any(word == engine.distribution for engine in rules.engines for word in step.words):
            yield Hit("unpinned-install", step.line, text)
    for container in reading.containers:
        shells = [
            w for w in (*container.values("--entrypoint"), *container.words[:1]) if re.search(r"(^|/)(ba)?sh$", w)
        ]
        if shells and container.words:
            yield Hit("shell-as-entrypoint", container.line, shells[0])


def _ports(reading: Reading) -> Iterator[Hit]:
    """Clients in the same text that ask a port at which nothing listens."""
    served = {launch.role("port") for launch in reading.launches} - {None, ""}
    served |= {v.split(":")[-2] for c in reading.containers for v in c.values("--publish") if ":" in v}
    if not served:
        return
    for number, line in enumerate(reading.text.splitlines(), 1):
        for url, port in re.findall(r"(https?://[^\s:/'\"]+:(\d+)/v1)", line):
            if port not in served:
                yield Hit("client-port", number, url, f"ask port {' or '.join(sorted(p for p in served if p))}")


def _whole_text(reading: Reading) -> Iterator[Hit]:
    joined = re.search(r"^.*\w``\w+:.*$", reading.text, re.MULTILINE)
    if joined:
        yield Hit("lines-joined", reading.text[: joined.start()].count("\n") + 1, joined[0])
    cards = re.search(r"0\.\s*0/([\d.]+) GPU", reading.text)
    nodes = len(re.findall(r"^\s*1 node_\w+", reading.text, re.MULTILINE))
    if cards and nodes and float(cards[1]) % nodes:
        line = reading.text[: cards.start()].count("\n") + 1
        yield Hit("ray-cards-uneven", line, f"{float(cards[1]):g} cards on {nodes} machines")
