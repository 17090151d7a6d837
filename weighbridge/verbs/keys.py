"""The verb that adds, lists and revokes the keys of an appliance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.cli import JSON, Flags, say, show, verb
from weighbridge.verbs import asked

if TYPE_CHECKING:
    from weighbridge.effects.keyring import Keyring, Made
    from weighbridge.errors import WeighbridgeError

ACTIONS = ("add", "list", "revoke")
KEYS: Flags = {
    "action": (None, "add, list or revoke"),
    "name": (None, "name of the appliance (default: the only one that is here)"),
    "keys": (None, "a key file, instead of an appliance's"),
    "key_name": (None, "name of the key, as the access log has it; needed to add and to revoke"),
    "scope": ("api", "what the key opens: api or metrics (default api)"),
    "key_file": (None, "write the new key to this file, for nobody else to read, instead of showing it"),
}


@verb(KEYS, JSON, positional=("action",))
def keys(json: bool, action: str, key_name: str | None, scope: str, key_file: str | None, **values: Any) -> None:
    """Keys of an appliance: add one (its value is shown once), list them, revoke one. No restart is needed."""
    from weighbridge.errors import BadValue, unknown

    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS, "invoke keys --help")
    if key_name is None and action != "list":
        raise BadValue("which key? --key-name is missing", f"for example: invoke keys {action} --key-name alice")
    ring, strange = _keyring(values, new=action == "add")
    if action == "list" or key_name is None:
        return _list(ring, json)
    if action == "revoke":
        gone = ring.revoke(key_name)
        words = f"revoked {gone.name}; new requests with it get 401 within two seconds"
        return show({"revoked": gone.name, "sha256": gone.sha256}, lambda: words, json)
    _add(ring, key_name, scope, key_file, json)
    if strange:
        name = values["name"]
        back = f"invoke keys revoke --key-name {key_name} --name {name}"
        say(f"warning: {strange}\n  the key waits for: invoke run --name {name}; to take it back: {back}")


def _keyring(values: dict[str, Any], *, new: bool) -> tuple[Keyring, str | None]:
    """The file of --keys, else the one that the appliance was started with, else the one kept for its name.

    `new`: a name whose appliance is still to be started gets one; the text says that it is not here.
    """
    from weighbridge.effects.docker import Host
    from weighbridge.effects.keyring import Keyring
    from weighbridge.errors import HostError, UnknownName
    from weighbridge.order import read_name

    it, name = asked(values), values["name"]
    if values["keys"]:
        return Keyring(Path(values["keys"]).absolute().parent, Path(values["keys"]).absolute()), None
    if name:
        read_name(name)
    try:
        host = Host()
        container = host.container(name)
        return Keyring(it.home(str(container.name)), host.key_file(container)), None
    except (HostError, UnknownName) as e:
        if not name or not (new or it.home(name).is_dir()):
            raise
        return Keyring(it.home(name)), _not_here(e, name) if new else None


def _not_here(error: WeighbridgeError, name: str) -> str:
    """That no appliance of this name is here, and which are; or why nobody knows."""
    from difflib import get_close_matches

    from weighbridge.effects.docker import Host
    from weighbridge.errors import UnknownName
    from weighbridge.words import are

    if not isinstance(error, UnknownName):
        return error.message
    here = sorted(str(c.name) for c in Host().appliances())
    near = next(iter(get_close_matches(name, here, 1, 0.7)), None)  # all names begin alike
    others = f"here {are(len(here))} {', '.join(here)}" if here else "none is here"
    return f"{error.message}: {others}" + (f"; did you mean --name {near}?" if near else "")


def _list(ring: Keyring, json: bool) -> None:
    from weighbridge.report import table

    found = ring.read()
    rows = [(k.name, k.scope, k.sha256[:12]) for k in found]
    show(
        {"file": str(ring.file), "keys": found},
        lambda: table(rows, ("NAME", "SCOPE", "SHA256")) if rows else "no key opens this appliance",
        json,
    )


def _add(ring: Keyring, name: str, scope: str, key_file: str | None, json: bool) -> None:
    from weighbridge.effects.disk import file_to_write, write_file
    from weighbridge.errors import BadValue, WeighbridgeError

    if json and key_file is None:
        hint = "name a file for it: --key-file FILE; or leave --json out"
        raise BadValue("a new key is shown once, and never in JSON", hint)
    if key_file is not None and Path(key_file).exists():
        raise BadValue(
            f"--key-file {key_file} is there already", "name a new file; the key in the old one may be in use"
        )
    kept = file_to_write("--key-file", key_file)
    made = ring.add(name, scope)
    if kept is not None:
        try:
            write_file(kept, f"{made.value}\n", mode=0o600)
        except WeighbridgeError:
            ring.revoke(name)  # a key whose value nobody has
            raise
    found = {"added": made.key.name, "scope": made.key.scope, "sha256": made.key.sha256, "key_file": key_file}
    show(found, lambda: f"the key is in {key_file}" if key_file else made.value, json)


def show_once(made: Iterable[Made], ring: Keyring, say: Callable[[str], None], terminal: bool) -> None:
    """The keys of a first run: on a terminal, and elsewhere only where they are kept."""
    for found in made:
        opens = "the API" if found.key.scope == "api" else "/metrics"
        value = f": {found.value}" if terminal else ""
        say(f"made the key {found.key.name} for {opens}{value}")
    if ring.own is not None:
        say(f"keys: hashes in {ring.file}, your own in {ring.own}")
