"""Plan + a folder of templates -> files. Templates read the plan and decide nothing."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import jinja2
import msgspec

from weighbridge.catalog import Catalog
from weighbridge.console import console_files
from weighbridge.engines import Tmpfs, Ulimit
from weighbridge.errors import none_of
from weighbridge.reach import bracketed
from weighbridge.runspec import line, run_spec, tmpfs_options
from weighbridge.types import File, Plan, Reach, Recipe, RunSpec
from weighbridge.warm import warm_json

RUNTIMES = ("docker", "podman")
_RUN_HEADER = "# Rendered by Weighbridge from a plan: change the plan, not this."


def shell(value: object) -> str:
    """A value as one shell word."""
    return shlex.quote(str(value))


def argument_rows(words: Sequence[str]) -> list[list[str]]:
    """Flags with their values, a flag and its value together, for templates to print a row each."""
    rows: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not rows:
            rows.append([word])
        else:
            rows[-1].append(word)
    return rows


def sh_words(words: Sequence[str]) -> str:
    """Words as shell words on one line."""
    return shlex.join(words)


def as_json(value: object) -> str:
    """A value as JSON, which is YAML too."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, sort_keys=True)


def nginx(value: object) -> str:
    """A value as one word of an nginx configuration, in which a dollar begins a variable."""
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def compose_json(value: object) -> str:
    """JSON for a compose file, in which a dollar begins a variable unless it is doubled."""
    return as_json(value).replace("$", "$$")


def project_name(name: str) -> str:
    """A name for a compose project, which takes neither dots nor capitals."""
    return re.sub(r"[^a-z0-9_-]", "-", name.lower())


def ulimit_values(ulimits: Sequence[Ulimit]) -> dict[str, int]:
    return {u.name: u.value for u in ulimits}


def tmpfs_values(tmpfs: Sequence[Tmpfs]) -> list[str]:
    return [f"{t.path}:{tmpfs_options(t)}" for t in tmpfs]


def environment(folders: Sequence[Path]) -> jinja2.Environment:
    """Templates of these folders; an undefined name is an error, and values are quoted by `sh` or `json`."""
    return _environment(tuple(folders))


@cache
def _environment(folders: tuple[Path, ...]) -> jinja2.Environment:
    """Kept, since it compiles each template once."""
    found = jinja2.Environment(  # noqa: S701  what is rendered is shell, Dockerfiles and YAML, not HTML
        loader=jinja2.FileSystemLoader([str(f) for f in folders]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (argument_rows, bracketed, compose_json, nginx, project_name, sh_words, tmpfs_values, ulimit_values)
    found.filters.update({"sh": shell, "json": as_json, **{f.__name__: f for f in filters}})
    return found


def plan_json(plan: Plan) -> str:
    """The plan as a file: stable keys, two spaces."""
    return json.dumps(msgspec.to_builtins(plan), indent=2, ensure_ascii=False) + "\n"


def render_image(plan: Plan, catalog: Catalog) -> Recipe:
    """Everything that goes into the image of a plan, but wheels and weights."""
    family = catalog.engine(plan.engine).families[plan.family]
    base = family.bases[plan.engine_version]
    entrypoint = catalog.engine_file(plan.engine, "entrypoint.sh.j2")
    templates = environment([entrypoint.parent, entrypoint.parent.parent / "_shared"])
    names = {"Dockerfile": family.dockerfile, "entrypoint.sh": entrypoint.name, "nginx.conf": "gateway/nginx.conf.j2"}
    files = {
        name: File(text=templates.get_template(source).render(plan=plan), executable=name.endswith(".sh"))
        for name, source in names.items()
    }
    for name, source in family.config_files.items():
        files[f"config/{name}"] = File(text=templates.get_template(source).render(plan=plan))
    for name in family.context_files:
        files[name] = File(text=catalog.engine_file(plan.engine, name).read_text(encoding="utf-8"))
    files.update(_gateway_files(catalog.shared_folder("gateway"), bundle=family.gateway_base is not None))
    files.update({f"console/{name}": file for name, file in console_files(plan, catalog).items()})
    files["plan.json"] = File(text=plan_json(plan))
    files["warm.json"] = File(text=warm_json(plan, catalog.engine(plan.engine)))
    if base.lock:
        files["requirements.txt"] = File(text=catalog.engine_file(plan.engine, base.lock).read_text(encoding="utf-8"))
    return Recipe(
        files=files, lock=base.lock, python=base.python, base=base, gateway_base=family.gateway_base,
        digest=_digest(files),
    )  # fmt: skip


def _gateway_files(folder: Path, *, bundle: bool) -> dict[str, File]:
    """The gateway's programs, copied as they are; `bundle` adds what gathers nginx."""
    return {
        path.name: File(text=path.read_text(encoding="utf-8"), executable=path.suffix == ".sh")
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix != ".j2" and (bundle or path.name != "bundle.sh")
    }


def _digest(files: Mapping[str, File]) -> str:
    """sha256 over paths, modes and bytes: the name of what will be built."""
    found = hashlib.sha256()
    for path in sorted(files):
        content = files[path].text.encode()
        found.update(f"{path}\0{files[path].executable}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()


def spec_of(plan: Plan, catalog: Catalog, *, weights: Path, name: str, port: int, reach: Reach) -> RunSpec:
    """The RunSpec of a plan with its image's digest."""
    profile = catalog.profile(plan.profile)
    engine = catalog.engine(plan.engine).families[plan.family]
    digest = render_image(plan, catalog).digest
    return run_spec(
        plan, profile.family, engine, digest=digest, weights=str(weights), name=name, port=port, reach=reach
    )


def render_target(target: str, plan: Plan, run: RunSpec, catalog: Catalog) -> dict[str, File]:
    """The files of templates/<target>/ for a plan and its run; a template that renders to nothing is left out."""
    folder = catalog.target_folder(target)
    templates = environment([folder, folder.parent / "_shared"])
    found = {}
    for path in sorted(folder.glob("[!_]*.j2")):
        text = templates.get_template(path.name).render(plan=plan, run=run)
        name = path.name.removesuffix(".j2")
        if text.strip():
            found[name] = File(text=text, executable=name.endswith(".sh"))
    return found


def render_all(plan: Plan, run: RunSpec, catalog: Catalog) -> dict[str, File]:
    """The build context under image/, the run lines under run/, and every target under its own name."""
    found = {f"image/{name}": file for name, file in render_image(plan, catalog).files.items()}
    for runtime in RUNTIMES:
        found[f"run/{runtime}.sh"] = File(text=f"#!/bin/sh\n{_RUN_HEADER}\n{line(run, runtime)}", executable=True)
    for target in catalog.target_ids():
        files = render_target(target, plan, run, catalog)
        found.update({f"{target}/{name}": file for name, file in files.items()})
    return found


def spelling(name: str, plan: Plan, run: RunSpec, catalog: Catalog) -> str:
    """The run as a line for a runtime, or as the files of a target. Raises UnknownName."""
    if name in RUNTIMES:
        return line(run, name)
    if name not in catalog.target_ids():
        raise none_of("spelling", name, [*RUNTIMES, *catalog.target_ids()])
    return "".join(file.text for file in render_target(name, plan, run, catalog).values())
