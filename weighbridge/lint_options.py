"""The options of a container as they are typed: on a `run` line, or as the keys of a service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from weighbridge.facts import Value
from weighbridge.lint_rules import Containers


class Chosen(Value, frozen=True, kw_only=True):
    """An option of a container by its long name, and as it was typed. `value` is None for a switch."""

    name: str
    value: str | None
    line: int
    typed: str


@dataclass
class Container:
    runtime: str
    line: int
    options: list[Chosen] = field(default_factory=list)
    image: str | None = None
    words: tuple[str, ...] = ()
    faults: list[tuple[str, str, int]] = field(default_factory=list)  # (id, what was typed, line)

    def values(self, *names: str) -> list[str]:
        return [o.value or "" for o in self.options if o.name in names]

    def mounts(self) -> Iterator[tuple[str, str, bool, int]]:
        """(source, target, read-only, line) of the binds."""
        for option in self.options:
            value = option.value or ""
            if option.name == "--volume" and ":" in value:
                source, target, *rest = re.sub(r"\$\{[^}]*\}", lambda m: m[0].replace(":", ";"), value).split(":")
                yield source, target, "ro" in ",".join(rest).split(","), option.line
            elif option.name == "--mount":
                fields = dict((f.partition("=")[::2]) for f in value.replace('"', "").split(","))
                if fields.get("type", "volume") == "bind":
                    source = fields.get("source") or fields.get("src") or ""
                    target = fields.get("target") or fields.get("dst") or fields.get("destination") or ""
                    read_only = fields.get("readonly", fields.get("ro", "false")) in ("", "true", "1")
                    yield source, target, read_only, option.line


def take_option(rest: list[str], found: Container, known: Containers) -> None:
    """One option and its value off the front of `rest`, into `found`."""
    word = rest.pop(0)
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        option = known.known.get(name)
        if option is None or (found.runtime != "podman" and name in known.podman_only):
            found.faults.append(("unknown-option", word, found.line))
            if not equals and rest and not rest[0].startswith("-") and "=" not in rest[0] and len(rest) > 1:
                rest.pop(0)
            return
        taken = value if equals else None
        if option.value and not equals:
            taken = _value(rest, word, found)
        typed = word if equals or taken is None else f"{word} {taken}"
        found.options.append(Chosen(name=option.same_as or name, value=taken, line=found.line, typed=typed))
        return
    shorts = {o.short: (n, o) for n, o in known.known.items() if o.short}
    letters = word[1:]
    while letters:
        name_of = shorts.get(f"-{letters[0]}")
        letters = letters[1:]
        if name_of is None:
            found.faults.append(("unknown-option", word, found.line))
            return
        long, option = name_of
        taken = None
        if option.value:
            taken, letters = (letters.removeprefix("=") or _value(rest, word, found)), ""
        typed = word if taken is None or word.endswith(taken) else f"{word} {taken}"
        found.options.append(Chosen(name=long, value=taken, line=found.line, typed=typed))


def _value(rest: list[str], word: str, found: Container) -> str | None:
    if not rest or rest[0].startswith("--"):
        found.faults.append(("option-value-missing", word, found.line))
        return None
    return rest.pop(0)


def containers_of(services: Any, known: Containers) -> list[Container]:
    """The services of a file for several containers, each as the options that would start it."""
    found = []
    for service in services.values() if isinstance(services, dict) else ():
        if not isinstance(service, dict):
            continue
        one = Container("docker", 1, image=service.get("image"))
        for key, option in known.services.items():
            for value in _values_of(key, service.get(key)):
                one.options.append(Chosen(name=option, value=value, line=1, typed=f"{key}: {value}"))
        words = service.get("command") or ()
        one.words = tuple(words.split() if isinstance(words, str) else map(str, words))
        found.append(one)
    return found


def _values_of(key: str, value: Any) -> Iterator[str]:
    """Each value of a key, as the option would have it."""
    if value is None or value is False or value == "":
        return
    if key == "deploy":
        for step in ("resources", "reservations", "devices"):
            value = value.get(step) if isinstance(value, dict) else None
        for device in value if isinstance(value, list) else ():
            ids = device.get("device_ids") if isinstance(device, dict) else None
            count = device.get("count", "all") if isinstance(device, dict) else "all"
            yield '"device=' + ",".join(map(str, ids)) + '"' if isinstance(ids, list) and ids else str(count)
    elif key == "volumes":
        yield from (v if isinstance(v, str) else _long_volume(v) for v in value)
    elif isinstance(value, dict):
        yield from (f"{k}={v}" for k, v in value.items())
    elif isinstance(value, list):
        yield from map(str, value)
    else:
        yield str(value).lower() if isinstance(value, bool) else str(value)


def _long_volume(volume: dict[str, Any]) -> str:
    end = ":ro" if volume.get("read_only") else ""
    return f"{volume.get('source', '')}:{volume.get('target', '')}{end}"
