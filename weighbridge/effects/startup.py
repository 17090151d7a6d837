"""Where the starts of this host's appliances went: the log of each, with the engine's own time of every line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from docker.models.containers import Container

from weighbridge.catalog import Catalog
from weighbridge.effects.docker import Host, engine_trouble
from weighbridge.errors import WeighbridgeError
from weighbridge.startup import Start, start_of

_LINES = 5000  # a start writes a few hundred


def starts(host: Host, catalog: Catalog) -> dict[str, Start]:
    """By name of the appliance; an empty one where plan or log cannot be read."""
    return {str(c.name): _start(host, c, catalog) for c in host.appliances()}


def _start(host: Host, container: Container, catalog: Catalog) -> Start:
    try:
        return start_of(list(stamped(container)), catalog.engine(host.plan_of(container).engine).startup)
    except WeighbridgeError:
        return Start()


def stamped(container: Container) -> Iterator[tuple[float, str]]:
    """(seconds since the container started, line), of this start and none before."""
    began = _seconds(str(container.attrs["State"]["StartedAt"]))
    with engine_trouble(f"the log of {container.name} cannot be read", "invoke status"):
        content = container.logs(stream=True, follow=False, timestamps=True, since=began)
        for line in islice(_lines(content), _LINES):
            stamp, _, text = line.partition(" ")
            yield _seconds(stamp) - began, text


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    pending = b""
    for chunk in chunks:
        *whole, pending = (pending + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)


def _seconds(stamp: str) -> float:
    """A time of Docker's, such as 2026-11-21T05:15:09.123456789Z, in seconds of the epoch."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(f"0.{fraction or 0}")
