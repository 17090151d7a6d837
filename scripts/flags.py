"""Write images/<engine>/flags/<version>.json from that version's own argument parser: no card, nothing installed.

python scripts/flags.py ENGINE VERSION [--python INTERPRETER] [--wheel FILE] [--images FOLDER]

pip fetches the wheel with the machine's own configuration; only its Python files are unpacked, aside. They are loaded
by an interpreter that has the engine's dependencies: INTERPRETER, or a throw-away environment made from
the wheel lock of our CPU image (about 2 GB while it lasts).
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "images/vllm/locks/cpu-0.32.0-cp311.txt"
TYPES = {
    "int": "int", "float": "float", "loads": "json", "human_readable_int": "size",
    "human_readable_int_or_auto": "size", "nullable_kvs": "json", "parse_dataclass": "json",
}  # fmt: skip


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("engine_parser", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- inside the engine's interpreter -------------------------------------------------------------------


class _Anything(types.ModuleType):
    """Stands in for a module that the parser does not need: every name in it is another of these."""

    __path__ = ()  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__getattr__": lambda _, n: _Anything(n), "__call__": lambda *a, **k: _Anything(name)})

    def __call__(self, *_: Any, **__: Any) -> Any:
        return _Anything("called")


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The last to be asked for a module: gives an empty one for the names on the engine's list."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if any(name == n or name.startswith(f"{n}.") for n in self.names):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Anything(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def text_of(value: Any) -> str | None:
    """A default as text; None for none, for what is computed, and for what differs from run to run."""
    if value is None or value is argparse.SUPPRESS:
        return None
    if isinstance(value, str | int | float | bool):
        return str(value)
    if isinstance(value, list | tuple | dict) and not value:
        return None
    shown = str(getattr(value, "value", value))
    return None if " at 0x" in shown or "(" in shown or len(shown) > 60 else shown


def kind_of(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "switch"
    if action.nargs in ("*", "+") or isinstance(action.nargs, int) or "Append" in type(action).__name__:
        return "list"
    return "value" if action.nargs != "?" else "optional"


def takes(action: argparse.Action) -> str | None:
    """The type of a value, where it is one that can be checked; an optional type is that type."""
    inner = [cell.cell_contents for cell in getattr(action.type, "__closure__", None) or ()]
    for function in (action.type, *inner):
        name = getattr(function, "__name__", "")
        if name in TYPES and callable(function):
            return TYPES[name]
    return None


def first_sentence(text: str | None) -> str | None:
    if not text or text is argparse.SUPPRESS:
        return None
    plain = " ".join(text.replace("%%", "%").replace("`", "").split())
    return re.split(r"(?<=[a-z)\d])[.:;] ", plain)[0].rstrip(".")[:120]


def entry(action: argparse.Action) -> dict[str, Any]:
    """One flag, empty facts left out. The longest name that does not deny comes first."""
    names = [n for n in action.option_strings if not n.startswith("--no-")]
    name = next((n for n in names if n.startswith("--")), names[0] if names else action.option_strings[0])
    text = (action.help or "").lower()
    found = {
        "flag": name,
        "also": [n for n in action.option_strings if n != name],
        "kind": kind_of(action),
        "takes": takes(action),
        "choices": sorted(str(c) for c in action.choices) if action.choices else [],
        "default": text_of(action.default),
        "deprecated": bool(getattr(action, "deprecated", False)) or "deprecated" in text[:80],
        "help": first_sentence(action.help),
    }
    return {key: value for key, value in found.items() if value not in (None, [], False)}


def read(module: Any) -> None:
    sys.meta_path.append(StandIns(getattr(module, "STAND_INS", ())))
    actions = [a for a in module.parser()._actions if a.option_strings and "--help" not in a.option_strings]
    found = {e["flag"]: e for e in map(entry, actions)}
    for flag, names in module.registered().items():
        found[flag]["registered"] = sorted(names)
    print("\n" + json.dumps([found[flag] for flag in sorted(found)]))


# --- outside -------------------------------------------------------------------------------------------


def unpack(wheel: Path, aside: Path, variant: str | None) -> None:
    """The wheel's Python files, and its metadata under the local version that loads without cards."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith((".py", ".json", ".jinja")):
                archive.extract(name, aside)
            elif name.endswith(".dist-info/METADATA"):
                folder = name.split("/")[0].removesuffix(".dist-info") + (f"+{variant}" if variant else "")
                text = archive.read(name).decode()
                target = aside / f"{folder}.dist-info" / "METADATA"
                target.parent.mkdir()
                target.write_text(re.sub(r"(?m)^(Version: \S+)$", rf"\1+{variant}", text, count=1) if variant else text)


def fetched(name: str, version: str, aside: Path) -> Path:
    words = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(aside), f"{name}=={version}"]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return next(aside.glob("*.whl"))


def dependencies(aside: Path) -> str:
    """An interpreter with what our CPU image holds, for as long as this runs."""
    subprocess.run([sys.executable, "-m", "venv", str(aside / "venv")], check=True)
    python = str(aside / "venv/bin/python")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", str(LOCK)], check=True
    )
    return python


def written(folder: Path, engine: str, version: str, wheel: Path, entries: list[dict[str, Any]]) -> Path:
    """The file: JSON, which is YAML too, one flag a line."""
    rows = ",\n".join("  " + json.dumps(e, ensure_ascii=False) for e in entries)
    head = json.dumps({"engine": engine, "version": version, "made_from": wheel.name})[:-1]
    path = folder / f"{version}.json"
    path.with_suffix(".part").write_text(f'{head}, "flags": [\n{rows}\n]}}\n', encoding="utf-8")
    path.with_suffix(".part").replace(path)
    return path


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("engine", help="a folder of images/ with flags/parser.py")
    words.add_argument("version", help="of the engine, as pip knows it")
    words.add_argument("--python", help="an interpreter with the engine's dependencies (default: one made aside)")
    words.add_argument("--wheel", type=Path, help="the engine's wheel (default: fetched by pip)")
    words.add_argument("--images", type=Path, default=ROOT / "images", help="the folder of engines")
    words.add_argument("--read-from", type=Path, help=argparse.SUPPRESS)
    asked = words.parse_args()
    flags = asked.images / asked.engine / "flags"
    reader = flags / "parser.py"
    if not reader.is_file():
        sys.exit(f"{reader}: no such file; it says where the engine makes its parser")
    if asked.read_from:
        sys.path.insert(0, str(asked.read_from))
        return read(load(reader))
    with tempfile.TemporaryDirectory(prefix="weighbridge-flags-") as folder:
        aside, module = Path(folder), load(reader)
        wheel = asked.wheel or fetched(module.WHEEL, asked.version, aside)
        unpack(wheel, aside / "unpacked", module.VARIANT)
        python = asked.python or dependencies(aside)
        again = [python, __file__, asked.engine, asked.version, "--images", str(asked.images)]
        again += ["--read-from", str(aside / "unpacked")]
        done = subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True)
        entries = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"{written(flags, asked.engine, asked.version, wheel, entries)}: {len(entries)} flags")


if __name__ == "__main__":
    main()
