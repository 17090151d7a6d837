"""The key file: one line a key, with its name, what it is for and its sha256. The key itself stands nowhere in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from weighbridge.errors import BadFile, BadValue, UnknownName, nearest, none_of
from weighbridge.facts import Value

SCOPES = ("api", "metrics")
OWNER = "owner"  # the key that is made with an appliance, and that its own checks use
METRICS = "metrics"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(rf"({_NAME.pattern}) ({'|'.join(SCOPES)}) sha256:([0-9a-f]{{64}})")
_HEAD = "# Keys of an appliance, as hashes: name, scope, sha256. Made by: invoke keys\n"


class Key(Value, frozen=True, kw_only=True):
    """A key that may be shown to anybody: 256 random bits cannot be found from their hash."""

    name: str
    scope: str
    sha256: str


def digest(value: str) -> str:
    """sha256 in hexadecimal. No salt and no stretching: those are for passwords, which people choose."""
    return hashlib.sha256(value.encode()).hexdigest()


def read_keys(text: str, path: str) -> list[Key]:
    """The keys in a file's text. Raises BadFile naming the line, never what stands in it."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            hint = f"the file holds hashes, never keys; add one: invoke keys add --keys {path} --key-name NAME"
            raise BadFile(f"{path}: line {number} is not: name scope sha256:HASH", hint)
        found.append(Key(name=match[1], scope=match[2], sha256=match[3]))
    return found


def keys_text(keys: Iterable[Key]) -> str:
    """The file of these keys, in their order."""
    return _HEAD + "".join(f"{k.name} {k.scope} sha256:{k.sha256}\n" for k in keys)


def with_key(keys: list[Key], name: str, scope: str, value: str) -> list[Key]:
    """The keys with one more. Raises BadValue for a name that is taken or is none, UnknownName for a scope."""
    if not _NAME.fullmatch(name):
        raise BadValue(f"--key-name {name!r} is no name", "letters, digits, dots and dashes: --key-name alice")
    if scope not in SCOPES:
        raise none_of("scope", scope, SCOPES)
    if any(k.name == name for k in keys):
        raise BadValue(
            f"a key called {name} is there already", f"revoke it first: invoke keys revoke --key-name {name}"
        )
    return [*keys, Key(name=name, scope=scope, sha256=digest(value))]


def without_key(keys: list[Key], name: str) -> list[Key]:
    """The keys without one. Raises UnknownName."""
    names = [k.name for k in keys]
    if name not in names:
        near = nearest(name, names)
        hint = f"did you mean --key-name {near}?" if near else "see them all with: invoke keys list"
        raise UnknownName(f"no key called {name!r}", hint)
    return [k for k in keys if k.name != name]
