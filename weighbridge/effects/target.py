"""What a smoke test asks: an appliance of this host, with the plan in its image, or any address."""

from __future__ import annotations

from pathlib import Path

import httpx
from docker.models.containers import Container

from weighbridge.catalog import Catalog
from weighbridge.effects.chat import Target, open_client
from weighbridge.effects.docker import Host, url_of
from weighbridge.effects.figures import reconciled
from weighbridge.effects.keyring import read_secret
from weighbridge.errors import BadValue, HostError, UnknownName
from weighbridge.facts import SmokeFacts


def target_of(
    name: str | None, url: str | None, catalog: Catalog, *, key_file: Path | None = None, cert: Path | None = None
) -> Target:
    """What to ask, with the key of a file, trusting a certificate; an appliance of this host has its own.

    Raises UnknownName without such an appliance, HostError when nothing answers at the address.
    """
    return _address(url, key_file, cert) if url else _appliance(name, catalog, key_file, cert)


def _appliance(name: str | None, catalog: Catalog, key_file: Path | None, cert: Path | None) -> Target:
    host = Host()
    container = host.container(name)
    plan = host.plan_of(container)
    return Target(
        url=url_of(container),
        model=plan.model,
        max_model_len=plan.max_model_len,
        reasoning=bool(plan.reasoning_parser),
        tools=bool(plan.tool_call_parser),
        facts=_facts(plan.model, catalog),
        memory=reconciled(host, container, plan, catalog.engine(plan.engine)),
        key_file=key_file or own_key(host, container),
        cert=cert or host.certificate(container),
        gateway=True,
    )


def own_key(host: Host, container: Container) -> Path:
    """The owner's key, which lies above the folder of hashes. Raises HostError when it is not there."""
    found = host.key_file(container).parent.parent / "key"
    if not found.is_file():
        raise HostError(f"{found}: no key to ask {container.name} with", "name a file with a key: --key-file FILE")
    return found


def _facts(model: str, catalog: Catalog) -> SmokeFacts:
    try:
        return catalog.model(model).smoke
    except UnknownName:  # planned from a config.json: only the form of answers is known
        return SmokeFacts()


def _address(url: str, key_file: Path | None, cert: Path | None) -> Target:
    root = url.rstrip("/").removesuffix("/v1")
    if not root.startswith(("http://", "https://")):
        raise BadValue(f"--url {url!r} is no http address", "for example: --url http://127.0.0.1:8000")
    try:
        key = read_secret(key_file) if key_file else None
        with open_client(root, 10.0, key, cert) as client:
            served = client.get("/v1/models").raise_for_status().json()["data"][0]
        longest = served.get("max_model_len")
        return Target(
            root, served["id"], longest, False, False, SmokeFacts(), key_file=key_file, cert=cert
        )  # fmt: skip
    except httpx.InvalidURL as e:
        raise BadValue(f"--url {url!r}: {e}", "for example: --url http://127.0.0.1:8000") from None
    except httpx.HTTPStatusError as e:
        hint = "with a key: --key-file FILE" if e.response.status_code == 401 else "is it running? invoke status"
        raise HostError(f"{root}/v1/models answers {e.response.status_code}", hint) from None
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as e:
        raise HostError(f"{root}/v1/models: {e}", "is it running? invoke status") from None
