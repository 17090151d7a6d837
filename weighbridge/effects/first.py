"""What a printed line mounts and this machine does not have yet, as what to type before the line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from weighbridge.effects.asked import Asked
from weighbridge.effects.tls import by_hand
from weighbridge.keys import METRICS, OWNER


def first_steps(it: Asked) -> list[str]:
    """The commands, in their order; none when all is here. Changes nothing."""
    return [*_keys(it), *_certificate(it), *_weights(it)]


def as_comments(steps: Sequence[str]) -> str:
    """The commands as comments of a shell script or a YAML file; empty for none."""
    lines = ["Not all that this mounts is here yet. Type first:", *(f"  {step}" for step in steps)]
    text = "\n".join(lines).replace("\n", "\n# ")
    return f"# {text}\n" if steps else ""


def _keys(it: Asked) -> Iterator[str]:
    if not it.keyring.is_new:
        return
    named = it.keyring.own is None
    words = ["invoke", "keys", "add", *(["--keys", str(it.keyring.file)] if named else ["--name", it.name])]
    yield shlex.join([*words, "--key-name", OWNER])
    yield shlex.join([*words, "--key-name", METRICS, "--scope", METRICS])


def _certificate(it: Asked) -> Iterator[str]:
    cert, key = it.reach.tls_cert, it.reach.tls_key
    if it.signs_itself and cert and key and not (Path(cert).is_file() and Path(key).is_file()):
        yield by_hand(Path(cert).parent, it.reach.address)


def _weights(it: Asked) -> Iterator[str]:
    flags = it.flags
    given = any(flags.get(name) for name in ("weights", "model_config", "baked"))
    if not given and not it.weights.is_dir():
        catalog = ["--catalog", flags["catalog"]] if flags.get("catalog") else []
        yield shlex.join(["invoke", "fetch", "--model", it.plan.model, *catalog])
