"""What a running engine says of its memory: the beginning of its log, and its metrics where they can be reached."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import httpx
from docker.models.containers import Container

from weighbridge.calibration import CalibrationFile, file_of
from weighbridge.catalog import Catalog
from weighbridge.effects.chat import open_client
from weighbridge.effects.docker import Host, Running, describe, url_of
from weighbridge.effects.keyring import own_of, read_secret
from weighbridge.engines import Engine
from weighbridge.errors import HostError, Refused, WeighbridgeError
from weighbridge.reconcile import read_metrics, read_reported, reconcile
from weighbridge.runspec import LABEL
from weighbridge.types import Plan, Reconciliation

_LINES = 5000  # an engine speaks of its memory once, before it is ready
_SECONDS = 2.0


class Seen(NamedTuple):
    """An appliance with the figures of its memory; None where it does not run or they cannot be had."""

    running: Running
    memory: Reconciliation | None
    recipe: str


def reported_of(host: Host, container: Container, engine: Engine) -> dict[str, float]:
    """Figures of the log, and from the metrics those that the log does not have. Raises HostError for neither."""
    try:
        from_log = read_reported(islice(host.logs(container), _LINES), engine.reported)
    except HostError:
        from_log = {}
    lacking = engine.metrics.keys() - from_log.keys()
    if not lacking:
        return from_log
    text = _metrics_of(host, container, engine)
    return {**read_metrics(text or "", engine.metrics), **from_log}


def _metrics_of(host: Host, container: Container, engine: Engine) -> str | None:
    """Through the gateway, with the owner's key for metrics; None without it."""
    try:
        own = own_of(host.key_file(container), "metrics-key")
        return metrics_text(url_of(container), engine, read_secret(own), host.certificate(container)) if own else None
    except WeighbridgeError:
        return None


def metrics_text(url: str, engine: Engine, key: str | None = None, cert: Path | None = None) -> str | None:
    """The engine's metrics; None when they are not available: the key is not theirs, or nothing answers in time."""
    try:
        with open_client(url, _SECONDS, key, cert) as client:
            answer = client.get(engine.gateway.metrics_path)
        return answer.text if answer.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL):
        return None


def reconciled(host: Host, container: Container, plan: Plan, engine: Engine) -> Reconciliation:
    """The plan beside what its engine says."""
    return reconcile(plan, reported_of(host, container, engine))


def appliances(host: Host, catalog: Catalog) -> list[Seen]:
    """Every appliance of this host. One whose plan or log cannot be read is shown without figures."""
    return [Seen(describe(c), _memory(host, c, catalog), recipe_of(c)) for c in host.appliances()]


def recipe_of(container: Container) -> str:
    """What names its image, and what was measured of it."""
    return str(container.labels.get(f"{LABEL}.plan", ""))


def _memory(host: Host, container: Container, catalog: Catalog) -> Reconciliation | None:
    if container.status != "running":
        return None
    try:
        plan = host.plan_of(container)
        return reconciled(host, container, plan, catalog.engine(plan.engine))
    except WeighbridgeError:
        return None


def measured(name: str | None, host: Host, catalog: Catalog) -> CalibrationFile:
    """The row of a running appliance. Raises HostError when its engine says nothing of its memory."""
    container = host.container(name)
    plan = host.plan_of(container)
    reported = reported_of(host, container, catalog.engine(plan.engine))
    if not reported.keys() & {"kv_tokens", "kv_gib"}:
        message = f"the engine of {container.name} reported no KV cache: is it ready?"
        raise HostError(message, f"invoke logs --name {container.name}")
    card = catalog.profile(plan.profile).card_id
    date = datetime.now(UTC).date().isoformat()
    return file_of(plan, reported, card=card, architecture=architecture_of(plan.model, catalog), date=date)


def architecture_of(model: str, catalog: Catalog) -> str | None:
    """The architecture of a model of the catalogue; None for one that was planned from its config.json."""
    try:
        return catalog.model(model).shape.architecture
    except Refused:
        return None
