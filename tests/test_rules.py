"""Is the house in order? Each rule of the design, held by a test that names the file and the line."""

from __future__ import annotations

import ast
import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import nodes
from support import ROOT, Case, cases, outcome

from weighbridge.catalog import Catalog
from weighbridge.engines import Base
from weighbridge.errors import BadFile
from weighbridge.render import environment, render_image
from weighbridge.types import Plan

PACKAGE = ROOT / "weighbridge"
MODULES = sorted(PACKAGE.rglob("*.py"))
VERBS = [p for p in MODULES if "verbs" in p.parts]  # where the two halves meet
PURE = [p for p in MODULES if "effects" not in p.parts and p not in VERBS]
TEMPLATES = sorted([*ROOT.glob("images/**/*.j2"), *ROOT.glob("templates/**/*.j2")])


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


# --- 1: side effects only in effects/ ------------------------------------------------------------------

WORLD = {
    "datetime", "docker", "ftplib", "glob", "http", "httpx", "huggingface_hub", "multiprocessing", "openai", "os",
    "platform", "random", "requests", "secrets", "select", "shutil", "signal", "socket", "ssl", "subprocess", "sys",
    "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
MAY_IMPORT = {
    ("weighbridge/cli.py", "os"): "os.devnull, when whoever reads standard output has gone",
    ("weighbridge/cli.py", "sys"): "exit codes, and standard error for the steps",
    ("weighbridge/__main__.py", "sys"): "registers tasks.py as a module",
    ("weighbridge/sources.py", "urllib"): "urllib.parse alone: addresses as text",
}
WRITES = {"write_text", "write_bytes", "mkdir", "unlink", "rename", "replace_file", "touch", "rmdir", "symlink_to"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module.split(".")[0]
            if node.module.startswith("weighbridge.effects") or (
                node.module == "weighbridge" and any(a.name == "effects" for a in node.names)
            ):
                yield node.lineno, "weighbridge.effects"


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_a_pure_module_imports_nothing_that_touches_the_world(path: Path) -> None:
    wrong = [
        f"{name_of(path)}:{line}: imports {name}"
        for line, name in imports(path)
        if name in WORLD | {"weighbridge.effects"} and (name_of(path), name) not in MAY_IMPORT
    ]
    assert not wrong


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_a_pure_module_reads_no_environment_and_writes_no_file(path: Path) -> None:
    wrong = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr in WRITES | {"environ", "getenv", "cwd", "home"}:
            wrong.append(f"{name_of(path)}:{node.lineno}: {node.attr}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"__import__", "eval"}:
            wrong.append(f"{name_of(path)}:{node.lineno}: {node.func.id}")
    assert not wrong


def test_every_exception_to_the_import_rule_is_used() -> None:
    used = {(name_of(path), name) for path in PURE for _, name in imports(path)}
    assert MAY_IMPORT.keys() <= used


WATCH = """
import importlib, os, sys
import {libraries}
def watch(event, args):
    if event == "open":
        mode, flags = args[1] or "", args[2] or 0
        if set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise SystemExit(f"opens {{args[0]}} for writing")
    elif event.split(".")[0] in ("socket", "subprocess", "shutil", "tempfile") and event != "socket.__new__":
        raise SystemExit(f"{{event}} {{args}}")
    elif event in ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove", "os.rename",
                   "os.chmod", "os.putenv", "signal.signal"):
        raise SystemExit(f"{{event}} {{args}}")
sys.addaudithook(watch)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted(sys.modules))
"""


def imported(*names: str, libraries: str = "os") -> set[str]:
    """The modules in memory after importing `names`, when that did nothing else."""
    script = WATCH.format(libraries=libraries)
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]
    return set(done.stdout.split())


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_importing_any_module_does_nothing() -> None:
    """What the libraries do on import (a look at the system's certificates) is theirs, not ours."""
    imported(*map(module_name, MODULES), "tasks", libraries="docker, httpx")


def test_pure_modules_bring_no_library_that_touches_the_world() -> None:
    pure = [module_name(p) for p in PURE]
    assert not imported(*pure) & {"docker", "httpx", "requests", "subprocess", "weighbridge.effects"} - _of_invoke()


def _of_invoke() -> set[str]:
    """cli.py stands on invoke, which starts programs for others; we never ask it to."""
    return {"subprocess"}


# --- 2: Python names no accelerator, engine, model or target -------------------------------------------

ALLOWED_NAMES = {
    ("weighbridge/types.py", "cpu"): "the named default of Order.profile: the machine that everybody has",
    ("weighbridge/types.py", "weighbridge-demo"): "the named default of Order.model: the model that travels along",
    ("weighbridge/render.py", "compose json"): "a way of quoting, named for the format whose dollar it doubles",
    (
        "weighbridge/cli.py",
        "kind of machine: <card>-x<cards>[-n<machines>], or auto; see: invoke profiles (default cpu)",
    ): "help",
    (
        "weighbridge/verbs/serve.py",
        "print the line for docker or podman, or compose, and run nothing",
    ): "help",
    ("weighbridge/cli.py", "model id or repository name; see: invoke models (default weighbridge-demo)"): "help",
}
# Words of vendors, their tools and their devices, beside what the catalogue's own file names give.
VENDORS = {
    "amd", "ascend", "cann", "cuda", "davinci", "gaudi", "hccl", "hccn_tool", "hccs", "huawei", "mindie", "nccl", "npu",
    "nvidia", "nvlink", "nvswitch", "rocm", "sglang", "tpu", "vllm", "xpu",
}  # fmt: skip
VALUES_OF_PROPERTIES = {("weighbridge/facts.py", "nvlink"), ("weighbridge/facts.py", "hccs")}


@cache
def forbidden_words(catalog: Catalog) -> re.Pattern[str]:
    ids = {*catalog.card_ids(), *catalog.model_ids(), *catalog.engine_ids(), *catalog.target_ids(), *VENDORS}
    ids |= {catalog.card(c).family for c in catalog.card_ids()} | {c.split("-")[0] for c in catalog.card_ids()}
    brands = {re.split(r"[-.\d]", m)[0] for m in catalog.model_ids()}
    words = {w.lower() for w in ids | brands | {"llama"}} - {"weighbridge"}
    return re.compile(rf"(?<![a-z0-9])({'|'.join(map(re.escape, sorted(words)))})(?![a-z0-9])")


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """String constants and names in code, without docstrings."""
    docs = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docs.add(id(first.value))
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id.replace("_", " ")
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr.replace("_", " ")
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name.replace("_", " ")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_python_names_no_accelerator_engine_model_or_target(path: Path, catalog: Catalog) -> None:
    words = forbidden_words(catalog)
    where = name_of(path)
    wrong = [
        f"{where}:{line}: {text!r} names {found[1]}"
        for line, text in strings(path)
        if (found := words.search(text.lower()))
        and (where, text) not in ALLOWED_NAMES
        and (where, text) not in VALUES_OF_PROPERTIES
    ]
    assert not wrong, "say the difference in YAML or in a template"


def test_every_exception_to_the_name_rule_is_used() -> None:
    used = {(name_of(path), text) for path in MODULES for _, text in strings(path)}
    assert ALLOWED_NAMES.keys() | VALUES_OF_PROPERTIES <= used


# --- 3: every pair has a golden case -------------------------------------------------------------------


def pairs() -> list[tuple[str, str]]:
    found = Catalog()
    return [
        (card, engine)
        for card in found.card_ids()
        for engine in found.engine_ids()
        if found.card(card).family in found.engine(engine).families
    ]


@pytest.mark.parametrize(("card", "engine"), pairs())
def test_every_card_and_engine_that_can_run_it_has_a_golden_case(card: str, engine: str, catalog: Catalog) -> None:
    rendered = set()
    for case in cases():
        profile = catalog.profile(case.order.profile)
        if not case.name.endswith("-refused"):
            rendered.add((profile.card_id, case.order.engine or profile.family.default_engine))
    assert (card, engine) in rendered, f"no golden case for {card} with {engine}: see tests/golden/README.md"


def test_every_family_has_a_card_and_every_card_a_family(catalog: Catalog) -> None:
    written = {p.stem[1:] for p in ROOT.glob("profiles/_*.yaml")}
    assert written == {catalog.card(c).family for c in catalog.card_ids()}


# --- 4: unknown keys and double keys -------------------------------------------------------------------

MODEL_FILES = [p for p in ROOT.glob("models/[!_]*.yaml") if not p.name.endswith(".lock.yaml")]
KINDS = sorted([*ROOT.glob("profiles/*.yaml"), *MODEL_FILES, *ROOT.glob("images/*/engine.yaml")])
NESTED = [
    ("profiles/a100-80g.yaml", ("interconnect",), "bandwith_gbs", "bandwidth_gbs"),
    ("profiles/a100-80g.yaml", ("evidence", "vllm"), "levle", "level"),
    ("profiles/_cuda.yaml", ("container",), "device_reqest", "device_request"),
    ("profiles/_ascend.yaml", ("container", "mounts", 0), "read_olny", "read_only"),
    ("profiles/_cuda.yaml", ("probe",), "comand", "command"),
    ("models/deepseek-r1.yaml", ("parsers",), "reasonning", "reasoning"),
    ("images/vllm/engine.yaml", ("families", "cuda"), "utilisation", "utilization"),
    ("images/vllm/engine.yaml", ("families", "cpu", "tmpfs", 0), "size_gb", "size_gib"),
    ("images/vllm/overhead.yaml", ("cuda", "0.26"), "fixed_low_gb", "fixed_low_gib"),
    ("images/vllm/engine.yaml", ("families", "cuda", "bases", "0.26.0"), "imagee", "image"),
    ("images/vllm/engine.yaml", ("arguments", 0), "feild", "field"),
    ("images/vllm/engine.yaml", ("gateway",), "body_mb", "body_mib"),
    ("images/vllm/engine.yaml", ("gateway", "paths", 0), "method", "methods"),
    ("images/vllm/engine.yaml", ("gateway", "first_token"), "pth", "path"),
]


def load(folder: Path, name: str) -> object:
    """The value of a catalogue's file, read as the planner reads it."""
    found = Catalog(folder)
    kind, stem = name.split("/")[0], Path(name).stem
    if kind == "images":
        return found.engine(name.split("/")[1])
    if kind == "models":
        return found.model(stem)
    return found.family(stem[1:]) if stem.startswith("_") else found.card(stem)


def refusal(folder: Path, name: str, text: str) -> BadFile:
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadFile) as caught:
        load(folder, name)
    assert caught.value.message.startswith(str(path))
    return caught.value


@pytest.mark.parametrize("path", KINDS, ids=name_of)
def test_a_misspelt_key_names_file_key_and_near_miss(path: Path, tmp_path: Path) -> None:
    error = refusal(tmp_path, name_of(path), path.read_text(encoding="utf-8") + "\ntitel: x\n")
    assert error.message.endswith("unknown key 'titel'")
    assert error.hint == "did you mean title?"


@pytest.mark.parametrize(("name", "at", "typo", "meant"), NESTED)
def test_a_misspelt_key_further_in_is_found_too(
    name: str, at: tuple[Any, ...], typo: str, meant: str, tmp_path: Path
) -> None:
    found = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    inner = found
    for key in at:
        inner = inner[key]
    inner[typo] = "x"
    error = refusal(tmp_path, name, yaml.safe_dump(json.loads(json.dumps(found))))
    assert f"unknown key {typo!r}" in error.message
    assert error.hint == f"did you mean {meant}?"


@pytest.mark.parametrize("path", KINDS, ids=name_of)
def test_the_same_key_twice_is_refused(path: Path, tmp_path: Path) -> None:
    error = refusal(tmp_path, name_of(path), path.read_text(encoding="utf-8") + "\ntitle: x\n")
    assert "key title stands twice" in error.message


def test_the_same_key_twice_further_in_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "profiles/a100-80g.yaml").read_text(encoding="utf-8")
    error = refusal(tmp_path, "profiles/a100-80g.yaml", text.replace("  kind: nvlink\n", "  kind: nvlink\n" * 2))
    assert "key kind stands twice" in error.message


def test_an_unknown_fact_of_an_architecture_is_refused(tmp_path: Path) -> None:
    text = "Qwen2ForCausalLM: {attention_bais: true}\n"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "_architectures.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match=r"_architectures\.yaml: .*unknown key 'attention_bais'") as caught:
        Catalog(tmp_path).model("qwen3-8b")
    assert caught.value.hint == "did you mean attention_bias?"


# --- 5: templates --------------------------------------------------------------------------------------

QUOTING = {
    ".sh.j2": {"sh", "sh_words"},
    ".dockerfile.j2": {"sh"},
    ".yaml.j2": {"json", "compose_json"},
    ".json.j2": {"json"},
    ".conf.j2": {"nginx"},
    ".env.j2": {"sh"},  # an env file knows no quotes: its values are addresses and numbers, which need none
}
ARITHMETIC = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg)
BARE = {
    ("images/_shared/_checks.sh.j2", "name"): "a variable's name: engine.yaml's own, see the test below",
    ("images/vllm/cpu.dockerfile.j2", "plan.base_image"): "engine.yaml's own, see the test below",
    ("images/vllm/cpu.dockerfile.j2", "plan.engine_version"): "engine.yaml's own, see the test below",
    ("images/_shared/vendor.dockerfile.j2", "plan.base_image"): "engine.yaml's own, see the test below",
    ("images/_shared/vendor.dockerfile.j2", "plan.gateway_image"): "the same",
}


def parsed(path: Path) -> nodes.Template:
    return environment([path.parent]).parse(path.read_text(encoding="utf-8"))


def outputs(path: Path) -> Iterator[tuple[int, nodes.Expr]]:
    for output in parsed(path).find_all(nodes.Output):
        yield from ((output.lineno, node) for node in output.nodes if not isinstance(node, nodes.TemplateData))


def spelt(node: nodes.Node) -> str:
    if isinstance(node, nodes.Getattr):
        return f"{spelt(node.node)}.{node.attr}"
    return node.name if isinstance(node, nodes.Name) else type(node).__name__


def whole_number(node: nodes.Expr) -> bool:
    """plan.<field> where the plan's field can hold nothing but a whole number."""
    dotted = spelt(node).split(".")
    return len(dotted) == 2 and dotted[0] == "plan" and Plan.__annotations__.get(dotted[1]) == "int"


def literal(node: nodes.Expr) -> bool:
    if isinstance(node, nodes.CondExpr):
        return literal(node.expr1) and (node.expr2 is None or literal(node.expr2))
    return isinstance(node, nodes.Const)


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_every_value_in_a_template_is_quoted(path: Path) -> None:
    kind = next((k for k in QUOTING if path.name.endswith(k)), "")
    assert kind or path.name.endswith("dockerfile.j2"), f"{name_of(path)}: say in QUOTING how this kind is quoted"
    wrong = [
        f"{name_of(path)}:{line}: {{{{ {spelt(node)} }}}} ends in none of {sorted(QUOTING.get(kind, ()))}"
        for line, node in outputs(path)
        if not (isinstance(node, nodes.Filter) and node.name in QUOTING.get(kind, set()))
        and not (whole_number(node) or literal(node) or (name_of(path), spelt(node)) in BARE)
    ]
    assert not wrong


def test_every_bare_value_is_used() -> None:
    assert BARE.keys() <= {(name_of(path), spelt(node)) for path in TEMPLATES for _, node in outputs(path)}


def bases() -> list[tuple[str, Base]]:
    found = Catalog()
    engines = [(e, found.engine(e)) for e in found.engine_ids()]
    return [(f"{e}-{n}-{v}", b) for e, x in engines for n, f in x.families.items() for v, b in f.bases.items()]


@pytest.mark.parametrize(("name", "base"), bases(), ids=lambda x: x if isinstance(x, str) else "")
def test_bare_values_of_dockerfiles_hold_nothing_that_ends_a_word(name: str, base: Base) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9./_-]*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", base.image)
    assert re.fullmatch(r"[\w.-]+", name)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package) for package in base.packages)


def test_names_of_environment_variables_are_names(catalog: Catalog) -> None:
    engines = [catalog.engine(e) for e in catalog.engine_ids()]
    names = {n for e in engines for f in e.families.values() for n in f.environment}
    names |= {n for c in catalog.card_ids() for n in catalog.family(catalog.card(c).family).container.environment}
    assert [n for n in names if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", n)] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_a_template_decides_nothing(path: Path) -> None:
    found = parsed(path).find_all((*ARITHMETIC, nodes.Assign, nodes.AssignBlock, nodes.Macro, nodes.Call))
    assert [f"{name_of(path)}:{node.lineno}: {type(node).__name__}" for node in found] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_a_template_can_be_read_at_a_glance(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


def test_an_undefined_name_is_an_error() -> None:
    templates = environment([ROOT])
    assert templates.undefined is jinja2.StrictUndefined
    with pytest.raises(jinja2.UndefinedError):
        templates.from_string("{{ plan.no_such_field }}").render(plan={})


# --- 6: rendering is deterministic ---------------------------------------------------------------------

DIGESTS = """
import hashlib, sys
sys.path[:0] = sys.argv[1:]
from support import cases, outcome
from weighbridge.catalog import Catalog
for case in cases():
    made = outcome(case, Catalog())
    text = "".join(f"{n}{f.executable}{f.text}" for n, f in sorted(made.items()))
    print(case.name, hashlib.sha256(text.encode()).hexdigest())
"""


def digests(folder: Path, **more: str) -> str:
    plain = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **more}
    words = [sys.executable, "-c", DIGESTS, str(ROOT), str(ROOT / "tests")]
    return subprocess.run(words, cwd=folder, env=plain, capture_output=True, text=True, check=True).stdout


def test_the_same_bytes_for_another_user_elsewhere_at_another_hour(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    here = digests(ROOT, PYTHONHASHSEED="1", HOME="/root", USER="root", TZ="UTC", LANG="C.UTF-8")
    there = digests(
        tmp_path, PYTHONHASHSEED="2", HOME=str(tmp_path / "home"), USER="somebody", TZ="Asia/Shanghai", LANG="C"
    )
    assert here == there
    assert len(here.splitlines()) == len(cases())


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_no_output_holds_a_date_a_home_or_a_place_of_this_machine(case: Case, catalog: Catalog) -> None:
    today = datetime.datetime.now(tz=datetime.UTC)
    private = [str(ROOT), str(Path.home()) + "/", f"{today:%Y-%m-%d}", f"{today:%d %b %Y}", f"{today:%b %d}"]
    for name, file in outcome(case, catalog).items():
        assert [p for p in private if p in file.text] == [], name


def test_host_paths_stand_where_they_were_given_and_never_in_the_image(
    inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for host in ("one", "two"):
        monkeypatch.setenv("HOME", f"/{host}/home")
        words = ("render", "--weights", f"/{host}/weights", "--keys", f"/{host}/keys/file", "--output", host)
        assert inv(*words).code == 0
        files = {
            p.relative_to(tmp_path / host): p.read_text("utf-8") for p in (tmp_path / host).rglob("*") if p.is_file()
        }
        holding = {p.parts[0] for p, text in files.items() if f"/{host}/weights" in text or f"/{host}/keys" in text}
        assert holding == {"run", "compose"}
        assert [p for p, text in files.items() if f"/{host}/home" in text or str(tmp_path) in text] == []
        made.append({p: text for p, text in files.items() if p.parts[0] == "image"})
    assert made[0] == made[1]


def test_the_digest_names_what_is_in_the_image(catalog: Catalog) -> None:
    plans = [c.plan(catalog) for c in cases() if not c.name.endswith("-refused")]
    first, again = ([render_image(p, Catalog()).digest for p in plans] for _ in range(2))
    assert first == again
    assert len(set(first)) == len(plans)


# --- 7: sizes ------------------------------------------------------------------------------------------

LATER = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")


@pytest.mark.parametrize("path", [*MODULES, ROOT / "tasks.py", *sorted(ROOT.glob("tests/**/*.py"))], ids=name_of)
def test_no_function_is_longer_than_sixty_lines(path: Path) -> None:
    functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f"{f.name}: {n}" for f in functions if (n := (f.end_lineno or 0) - f.lineno + 1) > 60]
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_fewer_than_350_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 350


@pytest.mark.parametrize("path", VERBS, ids=name_of)
def test_a_verb_loads_no_effect_before_it_is_called(path: Path) -> None:
    """Listing the verbs stays quick, and importing them does nothing."""
    top = [node for node in tree_of(path).body if isinstance(node, ast.ImportFrom)]
    wrong = [f"{name_of(path)}:{n.lineno}: {n.module}" for n in top if "effects" in (n.module or "")]
    assert not wrong


def test_the_verbs_are_wiring_only() -> None:
    assert len((ROOT / "tasks.py").read_text(encoding="utf-8").splitlines()) <= 60
    for path in VERBS:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_in_its_first_line_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


# --- 8: words ------------------------------------------------------------------------------------------

# Joined here, so that this file does not find itself.
HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"), ("files", "pythonhosted", "org"), ("registry", "npmjs"), ("deb", "debian", "org"),
        ("security", "debian", "org"), ("archive", "ubuntu", "com"), ("download", "pytorch", "org"),
        ("pypi", "tuna"), ("conda", "anaconda", "org"), ("proxy", "golang", "org"), ("static", "crates", "io"),
    )
]  # fmt: skip


def committed() -> list[Path]:
    """Files that git has or would take."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in found if name and (ROOT / name).is_file()]


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the business of the machine that builds: its pip and apt are configured."""
    wrong = []
    for path in committed():
        content = path.read_bytes().lower()
        wrong += [f"{name_of(path)}: {host}" for host in HOSTS if host.encode() in content]
    assert not wrong


def test_no_file_puts_work_off() -> None:
    """Not in code, templates or documents; weights and tokenizers are data."""
    wrong = []
    for path in committed():
        if path.suffix in {".py", ".j2", ".yaml", ".md", ".sh", ".toml", ""} and "models" not in path.parts:
            lines = path.read_text(encoding="utf-8").splitlines()
            wrong += [f"{name_of(path)}:{n}: {line.strip()}" for n, line in enumerate(lines, 1) if LATER.search(line)]
    assert not wrong
