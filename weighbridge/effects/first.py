"""What a printed line needs and this machine does not have yet, as what to type before the line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from weighbridge.effects.appliance import has_image, is_built
from weighbridge.effects.asked import Asked
from weighbridge.effects.tls import by_hand
from weighbridge.keys import METRICS, OWNER
from weighbridge.road import command_line
from weighbridge.runspec import LABEL


def first_steps(it: Asked) -> list[str]:
    """The commands, in their order; none when all is here. Changes nothing."""
    return [*_keys(it), *_certificate(it), *_weights(it), *_image(it)]


def as_comments(steps: Sequence[str]) -> str:
    """The commands as comments of a shell script or a YAML file; empty for none."""
    lines = ["Not all that this needs is here yet. Type first:", *(f"  {step}" for step in steps)]
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


def _image(it: Asked) -> Iterator[str]:
    """Without a Docker engine nobody knows: then the image is not here."""
    spec, by_podman = it.spec, it.flags.get("print") == "podman"
    baked = bool(it.flags.get("baked"))
    there = has_image(spec.image) if baked else is_built(spec.labels[f"{LABEL}.plan"])
    if there:
        return
    made = command_line(it.order, it.frame).replace("invoke plan", "invoke bake" if baked else "invoke build", 1)
    if baked:
        weights = ["--weights", it.flags["weights"]] if it.flags.get("weights") else []
        yield shlex.join([*shlex.split(made), *weights, "--to", "podman" if by_podman else "docker"])
        return
    yield made
    if by_podman:
        yield f"docker save {shlex.quote(spec.image)} | podman load"
