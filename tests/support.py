"""Orders, plans and golden cases, made the way tasks.py makes them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from weighbridge.catalog import Catalog, read_yaml
from weighbridge.errors import Refused
from weighbridge.facts import Model
from weighbridge.machines import must_be_one, read_machines, render_machines
from weighbridge.plan import slug
from weighbridge.render import plan_json, render_all, render_image
from weighbridge.road import make_plan
from weighbridge.runspec import container_name, run_spec
from weighbridge.types import File, Order, Plan, Reach, RunSpec

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
PORT = 8000
COPIED = ("/requirements.txt", ".py", ".js", ".css", ".html")


class Case(NamedTuple):
    """tests/golden/<name>/order.yaml: an Order, the config.json of a model that is not in the catalogue, and the
    words of --nodes and --network for several machines."""

    name: str
    order: Order
    model_config: str | None
    machines: tuple[tuple[str, str], ...] = ()

    def model(self, catalog: Catalog) -> Model | None:
        if self.model_config is None:
            return None
        return catalog.model_from_config(self.order.model, ROOT / "tests" / self.model_config)

    def plan(self, catalog: Catalog) -> Plan:
        return _plan(self, catalog)


@cache
def _plan(case: Case, catalog: Catalog) -> Plan:
    return make_plan(case.order, catalog, case.model(catalog))


def read_case(folder: Path) -> Case:
    found = read_yaml(folder / "order.yaml")
    config = found.pop("model_config", None)
    machines = tuple((name, found.pop(name)) for name in ("nodes", "network") if name in found)
    return Case(folder.name, msgspec.convert(found, Order), config, machines)


def cases() -> list[Case]:
    return [read_case(path.parent) for path in sorted(GOLDEN.glob("*/order.yaml"))]


def spec_of(
    plan: Plan, catalog: Catalog, port: int = PORT, *, name: str | None = None, weights: str | None = None,
    reach: Reach | None = None,
) -> RunSpec:  # fmt: skip
    """The RunSpec of a plan, its weights in /srv/models/<slug>, its keys in /srv/keys."""
    engine = catalog.engine(plan.engine).families[plan.family]
    family = catalog.profile(plan.profile).family
    digest = render_image(plan, catalog).digest
    folder = weights or f"/srv/models/{slug(plan.model)}"
    called, reach = name or container_name(plan), reach or Reach(keys="/srv/keys/keys")
    return run_spec(plan, family, engine, digest=digest, weights=folder, name=called, port=port, reach=reach)


@cache
def outcome(case: Case, catalog: Catalog) -> dict[str, File]:
    """Everything that a case's order makes: all the files, or the refusal as error.json."""
    try:
        plan = case.plan(catalog)
    except Refused as e:
        return {"error.json": File(text=json.dumps(e.to_json(), indent=2, ensure_ascii=False) + "\n")}
    try:
        must_be_one(case.order, plan, catalog, case.model(catalog), ())
        spec = spec_of(plan, catalog)
    except Refused as e:  # planned, and not started from here
        refusal = json.dumps(e.to_json(), indent=2, ensure_ascii=False) + "\n"
        made = {"plan.json": File(text=plan_json(plan)), "run-refused.json": File(text=refusal)}
        if case.machines:
            several = read_machines(dict(case.machines), plan, catalog.profile(plan.profile))
            made.update(render_machines(plan, several, catalog))
        return made
    files = render_all(plan, spec, catalog)
    return {name: file for made in files.items() for name, file in [_short(*made)]}


def _short(name: str, file: File) -> tuple[str, File]:
    """A file that is copied whole from images/ (lock, scripts) is reviewed there: here its sha256 is enough."""
    if not name.endswith(COPIED):
        return name, file
    digest = hashlib.sha256(file.text.encode()).hexdigest()
    return f"{name}.sha256", File(text=f"{digest}  {name.split('/')[-1]}\n", executable=file.executable)


def plan_for(catalog: Catalog, profile: str, model: str, **more: Any) -> Plan:
    return make_plan(Order(profile=profile, model=model, **more), catalog)


def ended(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    """What it said; one that does not end is no other test's company."""
    try:
        return process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
