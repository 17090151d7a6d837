"""What a smoke test asks: an appliance of this host, with the plan in its image, or any address."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import httpx
from docker.models.containers import Container

from weighbridge.catalog import Catalog
from weighbridge.effects.chat import Target, open_client
from weighbridge.effects.docker import Host, url_of
from weighbridge.effects.figures import reconciled
from weighbridge.effects.keyring import own_of, read_secret
from weighbridge.errors import BadValue, HostError, UnknownName
from weighbridge.facts import SmokeFacts
from weighbridge.image import WEIGHTS
from weighbridge.runspec import LABEL
from weighbridge.types import Plan


class Given(NamedTuple):
    """What the flags say of who is asked: files of this host, and what is known of a server at an address."""

    key_file: Path | None = None
    cert: Path | None = None
    metrics_key: Path | None = None
    model: str | None = None


def target_of(name: str | None, url: str | None, catalog: Catalog, given: Given = Given()) -> Target:  # noqa: B008
    """What to ask, with the key of a file, trusting a certificate; an appliance of this host has its own.

    Raises UnknownName without such an appliance, HostError when nothing answers at the address.
    """
    return _address(url, catalog, given) if url else _appliance(name, catalog, given)


def _appliance(name: str | None, catalog: Catalog, given: Given) -> Target:
    host = Host()
    container = host.container(name)
    plan = host.plan_of(container)
    metrics = given.metrics_key or own_of(host.key_file(container), "metrics-key")
    return Target(
        url=url_of(container),
        model=plan.model,
        max_model_len=plan.max_model_len,
        reasoning=bool(plan.reasoning_parser),
        tools=bool(plan.tool_call_parser),
        facts=_facts(plan.model, catalog),
        memory=reconciled(host, container, plan, catalog.engine(plan.engine)),
        key_file=given.key_file or own_key(host, container),
        cert=given.cert or host.certificate(container),
        gateway=True,
        max_num_seqs=plan.max_num_seqs * plan.data_parallel,
        replicas=plan.data_parallel,
        metrics_key=metrics if metrics and metrics.is_file() else None,
        metrics_path=plan.gateway.metrics_path if metrics and metrics.is_file() else None,
        body_mib=plan.gateway.body_mib,
        about=_about(container, plan),
    )


def _about(container: Container, plan: Plan) -> tuple[tuple[str, str], ...]:
    """Which appliance it was, for whoever reads the report later."""
    recipe = container.labels.get(f"{LABEL}.plan", "")
    return (
        ("engine", plan.engine), ("engine_version", plan.engine_version), ("profile", plan.profile),
        ("image", str(container.attrs.get("Image", ""))), ("recipe", recipe),
        ("weights", container.labels.get(WEIGHTS, "mounted")),
    )  # fmt: skip


def own_key(host: Host, container: Container) -> Path:
    """The owner's key, which lies above the folder of hashes. Raises HostError when it is not there."""
    found = own_of(host.key_file(container), "key")
    if found is None or not found.is_file():
        raise HostError(
            f"{found or 'a file of keys'}: no key to ask {container.name} with",
            "name a file with a key: --key-file FILE",
        )
    return found


def _facts(model: str, catalog: Catalog) -> SmokeFacts:
    try:
        return catalog.model(model).smoke
    except UnknownName:  # planned from a config.json: only the form of answers is known
        return SmokeFacts()


def _address(url: str, catalog: Catalog, given: Given) -> Target:
    root = url.rstrip("/").removesuffix("/v1")
    if not root.startswith(("http://", "https://")):
        raise BadValue(f"--url {url!r} is no http address", "for example: --url http://127.0.0.1:8000")
    known = catalog.model(given.model) if given.model else None
    try:
        key = read_secret(given.key_file) if given.key_file else None
        with open_client(root, 10.0, key, given.cert) as client:
            served = client.get("/v1/models").raise_for_status().json()["data"][0]
        return Target(
            url=root, model=served["id"], max_model_len=served.get("max_model_len"),
            reasoning=bool(known and known.parsers.reasoning), tools=bool(known and known.parsers.tool_call),
            facts=known.smoke if known else SmokeFacts(), key_file=given.key_file, cert=given.cert,
            metrics_key=given.metrics_key, metrics_path="/metrics" if given.metrics_key else None,
        )  # fmt: skip
    except httpx.InvalidURL as e:
        raise BadValue(f"--url {url!r}: {e}", "for example: --url http://127.0.0.1:8000") from None
    except httpx.HTTPStatusError as e:
        hint = "with a key: --key-file FILE" if e.response.status_code == 401 else "is it running? invoke status"
        raise HostError(f"{root}/v1/models answers {e.response.status_code}", hint) from None
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as e:
        raise HostError(f"{root}/v1/models: {e}", "is it running? invoke status") from None
