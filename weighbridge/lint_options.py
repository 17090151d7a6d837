"""The options of a container as they are typed: on a `run` line, or as the keys of a service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from weighbridge.facts import Value
from weighbridge.lint_rules import Containers
from weighbridge.lint_yaml import Places


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
    service: str | None = None  # its name in a file of services, whose keys stand for options
    keys: dict[str, str] = field(default_factory=dict)  # option: key
    image_line: int = 0  # where these stand, when not on the container's line
    words_line: int = 0

    @property
    def title(self) -> str:
        return f"service {self.service}" if self.service is not None else f"{self.runtime} run"

    def said(self, option: str, value: str = "") -> str:
        """An option as it is written here: `--user 0`, or `user: 0`."""
        name = option if self.service is None else f"{self.keys.get(option, option)}:"
        return f"{name} {value}".rstrip()

    def publishes(self, value: str) -> str:
        return self.said("--publish", value if self.service is None else f'["{value}"]')

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


def containers_of(services: Any, known: Containers, places: Places) -> list[Container]:
    """The services of a file for several containers, each as the options that would start it."""
    keys = {option: key for key, option in reversed(known.services.items())}
    found = []
    for name, service in services.items() if isinstance(services, dict) else ():
        if not isinstance(service, dict):
            continue
        at = ("services", str(name))
        one = Container(
            known.runtimes[0], places.line(*at), image=_text(service.get("image")), service=str(name), keys=keys
        )
        for key, option in known.services.items():
            for n, value in enumerate(_values_of(key, service.get(key))):
                line = places.line(*at, key, _nth(service[key], n))
                one.options.append(Chosen(name=option, value=value, line=line, typed=f"{key}: {value}"))
        words = service.get("command")
        one.words = tuple(map(str, words) if isinstance(words, list) else (_text(words) or "").split())
        one.image_line = places.line(*at, "image")
        one.words_line = places.line(*at, "command") if words else one.line
        found.append(one)
    return found


def _text(value: Any) -> str | None:
    """A value that is one word or line; a number is written as one."""
    return str(value) if isinstance(value, str | int | float) else None


def _nth(value: Any, n: int) -> str:
    """The key or the position of the nth value, as a place names it."""
    return str([*value][n]) if isinstance(value, dict) and n < len(value) else str(n)


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
    elif key == "volumes" and isinstance(value, list):
        yield from (v if isinstance(v, str) else _long_volume(v) for v in value)
    elif key == "entrypoint" and isinstance(value, list):
        yield " ".join(map(str, value))
    elif isinstance(value, dict):
        yield from (f"{k}={v}" for k, v in value.items())
    elif isinstance(value, list):
        yield from map(str, value)
    else:
        yield str(value).lower() if isinstance(value, bool) else str(value)


def _long_volume(volume: dict[str, Any]) -> str:
    end = ":ro" if volume.get("read_only") else ""
    return f"{volume.get('source', '')}:{volume.get('target', '')}{end}"
