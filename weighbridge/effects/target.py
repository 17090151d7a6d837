"""What a smoke test asks: an appliance of this host, with the plan in its image, or any address."""

from __future__ import annotations

import httpx

from weighbridge.catalog import Catalog
from weighbridge.effects.chat import Target, open_client
from weighbridge.effects.docker import Host
from weighbridge.effects.figures import reconciled
from weighbridge.errors import BadValue, HostError, UnknownName
from weighbridge.facts import SmokeFacts
from weighbridge.runspec import LABEL


def target_of(name: str | None, url: str | None, catalog: Catalog) -> Target:
    """Raises UnknownName without such an appliance, HostError when nothing answers at the address."""
    return _address(url) if url else _appliance(name, catalog)


def _appliance(name: str | None, catalog: Catalog) -> Target:
    host = Host()
    container = host.container(name)
    plan = host.plan_of(container)
    return Target(
        url=f"http://127.0.0.1:{container.labels[f'{LABEL}.port']}",
        model=plan.model,
        max_model_len=plan.max_model_len,
        reasoning=bool(plan.reasoning_parser),
        tools=bool(plan.tool_call_parser),
        facts=_facts(plan.model, catalog),
        memory=reconciled(host, container, plan, catalog.engine(plan.engine)),
    )


def _facts(model: str, catalog: Catalog) -> SmokeFacts:
    try:
        return catalog.model(model).smoke
    except UnknownName:  # planned from a config.json: only the form of answers is known
        return SmokeFacts()


def _address(url: str) -> Target:
    root = url.rstrip("/").removesuffix("/v1")
    if not root.startswith(("http://", "https://")):
        raise BadValue(f"--url {url!r} is no http address", "for example: --url http://127.0.0.1:8000")
    try:
        with open_client(root, 10.0) as client:
            served = client.get("/v1/models").raise_for_status().json()["data"][0]
        return Target(root, served["id"], served.get("max_model_len"), False, False, SmokeFacts())
    except httpx.InvalidURL as e:
        raise BadValue(f"--url {url!r}: {e}", "for example: --url http://127.0.0.1:8000") from None
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as e:
        raise HostError(f"{root}/v1/models: {e}", "is it running? invoke status") from None
