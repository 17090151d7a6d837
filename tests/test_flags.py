"""Are the arguments of our plans those that each version's own parser takes?"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from support import ROOT, Case, cases, plan_for

from weighbridge.catalog import Catalog
from weighbridge.errors import BadFile, Refused, UnknownName, Unsupported
from weighbridge.flags import Flag, Flags, Given
from weighbridge.upgrade import upgrade, upgrade_text, versions_of

SCRIPT = ROOT / "scripts" / "flags.py"


def pinned() -> list[tuple[str, str]]:
    found = Catalog()
    return [
        (name, version)
        for name in found.engine_ids()
        for family in found.engine(name).families.values()
        for version in family.bases
        if found.engine(name).arguments
    ]


@pytest.mark.parametrize(("engine", "version"), pinned())
def test_the_arguments_of_every_pinned_version_are_known_and_ours_are_among_them(
    engine: str, version: str, catalog: Catalog
) -> None:
    flags = catalog.flags_at(engine, version)
    assert flags, f"make flags ENGINE={engine} VERSION={version}"
    families = [n for n, f in catalog.engine(engine).families.items() if version in f.bases]
    for argument in catalog.engine(engine).arguments:
        if argument.families and not set(argument.families) & set(families):
            continue
        flag = flags.find(argument.flag)
        assert flag, f"{engine} {version} has no {argument.flag}"
        assert argument.flag in (flag.flag, *flag.also), "underscores for dashes"
        assert argument.switch == (flag.kind == "switch"), argument.flag
        assert not flag.deprecated, argument.flag


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_every_argument_of_every_golden_plan_is_exact_and_legal(case: Case, catalog: Catalog) -> None:
    try:
        plan = case.plan(catalog)
    except Refused:
        return
    if plan.config_files:  # it takes no arguments
        assert plan.engine_args == ()
        return
    flags = catalog.flags_at(plan.engine, plan.engine_version)
    assert flags
    loose, given = flags.split(plan.engine_args)
    assert loose == []
    assert list(flags.problems(given)) == []
    assert len(given) > 8


def test_what_models_name_as_parsers_is_registered_in_every_version(catalog: Catalog) -> None:
    for engine, version in pinned():
        flags = catalog.flags_at(engine, version)
        assert flags
        for model in catalog.models():
            for word, said in (
                ("--reasoning-parser", model.parsers.reasoning),
                ("--tool-call-parser", model.parsers.tool_call),
            ):
                names = catalog.engine(engine).parser_names
                name = said if names is None or said is None else names[said]
                flag = flags.find(word)
                assert not (name and flag and flag.registered) or name in flag.registered, f"{model.id} on {version}"


def own(tmp_path: Path, old: str, new: str) -> Catalog:
    """A catalogue in which the engine's arguments have one thing changed."""
    text = (ROOT / "images/vllm/engine.yaml").read_text(encoding="utf-8")
    assert old in text
    folder = tmp_path / "images" / "vllm"
    folder.mkdir(parents=True)
    (folder / "engine.yaml").write_text(text.replace(old, new), encoding="utf-8")
    return Catalog(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "says", "hint"),
    [
        ("flag: --dtype,", "flag: --dtyp,", "0.26.0 does not take --dtyp bfloat16", "did you mean --dtype?"),
        ("flag: --max-num-seqs,", "flag: --max-sequences,", "does not take --max-sequences 256", "correct arguments:"),
        (
            "flag: --max-num-seqs, field: max_num_seqs",
            'flag: --max-num-seqs, value: "few"',
            "--max-num-seqs few",
            "correct arguments:",
        ),
        ("flag: --dtype, field: dtype", "flag: --dtype, value: fp16", "not take --dtype fp16", "did you mean float16?"),
        ("- {flag: --uds,", "- {flag: --swap-space, value: '4'}\n  - {flag: --uds,", "--swap-space 4", "correct"),
        (
            "- {flag: --dtype,",
            "- {flag: --dtype, value: half}\n  - {flag: --dtype,",
            "take --dtype bfloat16",
            "correct",
        ),
    ],
)
def test_a_plan_with_an_argument_that_the_version_lacks_is_refused(
    old: str, new: str, says: str, hint: str, tmp_path: Path
) -> None:
    catalog = own(tmp_path, old, new)
    with pytest.raises(Unsupported) as caught:
        plan_for(catalog, "a100-80g-x1", "qwen3-8b")
    assert says in caught.value.message
    assert hint in caught.value.hint


def test_a_flags_file_that_does_not_say_what_it_must_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images/vllm/flags/0.26.0.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"engine": "vllm", "version": "0.26.0", "made_from": "x", "flgas": []}', encoding="utf-8")
    with pytest.raises(BadFile, match=r"0\.26\.0\.json: .*flgas") as caught:
        plan_for(Catalog(tmp_path), "a100-80g-x1", "qwen3-8b")
    assert "make flags" in caught.value.hint


def test_lists_and_negations_and_short_names_are_read_as_the_parser_reads_them(catalog: Catalog) -> None:
    flags = catalog.flags_at("vllm", "0.26.0")
    assert flags
    words = [
        "m",
        "-tp",
        "2",
        "--no-enforce-eager",
        "--allowed_media_domains",
        "a",
        "b",
        "--max-model-len=32k",
        "-q",
        "fp8",
    ]
    loose, given = flags.split(words)
    assert loose == ["m"]
    assert given == [
        Given(word="-tp", values=("2",)),
        Given(word="--no-enforce-eager"),
        Given(word="--allowed_media_domains", values=("a", "b")),
        Given(word="--max-model-len", values=("32k",)),
        Given(word="-q", values=("fp8",)),
    ]
    assert list(flags.problems(given)) == []


# --- what another version changes ----------------------------------------------------------------------


def test_an_upgrade_names_what_goes_what_comes_and_what_is_ours(catalog: Catalog) -> None:
    found = upgrade(catalog, "vllm", "0.23.0", "0.33.0")
    changes = {(c.flag, c.change): c.ours for c in found.changes}
    assert changes["--calculate-kv-scales", "gone"] is False
    assert changes["--watchdog-config", "new"] is False
    assert changes["--tool-call-parser", "name gone: minimax"] is True
    ours = [c.ours for c in found.changes]
    assert ours == sorted(ours, reverse=True), "what our plans use stands first"
    assert "arguments of our plans" in upgrade_text(found)
    assert upgrade(catalog, "vllm", "0.26.0", "0.26.0").changes == ()


def test_a_lost_argument_of_ours_is_the_first_thing_said(tmp_path: Path) -> None:
    found = own(tmp_path, "{flag: --disable-uvicorn-access-log,", "{flag: --calculate-kv-scales,")
    first = upgrade(found, "vllm", "0.26.0", "0.33.0").changes[0]
    assert (first.flag, first.change, first.ours) == ("--calculate-kv-scales", "gone", True)


def test_names_that_changed_alike_are_one_line_and_ours_only_as_plans_type_them(catalog: Catalog) -> None:
    found = upgrade(catalog, "vllm", "0.32.0", "0.33.0")
    changes = {(c.flag, c.change): c.ours for c in found.changes}
    assert changes["--enable-lora", "--no-enable-lora is now --disable-lora"] is False
    assert (
        changes["--enable-auto-tool-choice", "--no-enable-auto-tool-choice is now --disable-auto-tool-choice"] is False
    )
    text = upgrade_text(found)
    assert text.count("--no-enable-X is now --disable-X") == 1
    assert text.count("--no-disable-X is now --enable-X") == 1
    assert len(text.splitlines()) < 30
    assert "default none is now none" not in text
    assert changes["--mamba-cache-mode", "the parser names no default now; it was none"] is False


@pytest.mark.parametrize(
    ("engine", "old", "new", "versions"),
    [
        ("vllm", None, None, ("0.23.0", "0.33.0")),
        ("vllm", "0.26.0", None, ("0.26.0", "0.33.0")),
        ("vllm", None, "0.32.0", ("0.23.0", "0.32.0")),
        ("vllm", "0.33.0", "0.26.0", ("0.33.0", "0.26.0")),
        ("sglang", None, "9.9", ("0.5.23", "9.9")),
    ],
)
def test_an_upgrade_goes_from_the_oldest_that_is_pinned_to_the_newest(
    engine: str, old: str | None, new: str | None, versions: tuple[str, str], catalog: Catalog
) -> None:
    assert versions_of(catalog, engine, old, new) == versions


@pytest.mark.parametrize(
    ("engine", "old", "new", "message", "hint"),
    [
        (
            "mindie",
            None,
            None,
            "MindIE takes no arguments",
            "invoke render --profile 910b-64g-x1 --engine mindie --engine-version VERSION",
        ),
        ("sglang", None, None, "the arguments of one version alone are known, 0.5.23", "make flags ENGINE=sglang"),
        ("sglang", "0.5.23", "0.5.23", "one version alone", "make flags ENGINE=sglang"),
        ("vllm", "0.26.0", "0.26.0", "--old and --new are both 0.26.0", "name two of 0.23.0, 0.26.0, 0.32.0, 0.33.0"),
        ("vllm", "0.33.0", None, "--old and --new are both 0.33.0", "make flags ENGINE=vllm"),
    ],
)
def test_an_upgrade_from_nothing_to_nothing_is_refused(
    engine: str, old: str | None, new: str | None, message: str, hint: str, catalog: Catalog
) -> None:
    with pytest.raises(Refused) as caught:
        versions_of(catalog, engine, old, new)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_upgrade_to_an_unknown_version_says_how_to_learn_it(catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as caught:
        upgrade(catalog, "vllm", "0.26.0", "9.9")
    assert "make flags ENGINE=vllm VERSION=9.9" in caught.value.hint
    with pytest.raises(UnknownName, match="no engine called 'vlm'"):
        upgrade(catalog, "vlm", "0.26.0", "0.33.0")


# --- how the files are made ----------------------------------------------------------------------------

PARSER = """
import argparse
WHEEL, VARIANT, STAND_INS = "toy", "cpu", ("not_installed_anywhere",)
def parser():
    import toy_engine
    return toy_engine.parser()
def registered():
    return {"--reader": ["b", "a"]}
"""
ENGINE = """
import argparse, importlib.metadata
import not_installed_anywhere.deep
from not_installed_anywhere import thing
class Odd: pass
def parser():
    assert importlib.metadata.version("toy") == "1.5+cpu"
    p = argparse.ArgumentParser()
    p.add_argument("--size", "-s", type=int, default=3, help="How many. More words.")
    p.add_argument("--eager", action=argparse.BooleanOptionalAction, default=False)
    p.add_argument("--kind", choices=["y", "x"], help="(DEPRECATED) use --size")
    p.add_argument("--names", nargs="+", default=Odd())
    p.add_argument("--reader")
    return p
"""


def toy(tmp_path: Path) -> tuple[Path, Path]:
    wheel = tmp_path / "toy-1.5-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy_engine.py", ENGINE)
        archive.writestr("toy-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.5\n\nwords\n")
    reader = tmp_path / "images/toy/flags/parser.py"
    reader.parent.mkdir(parents=True)
    reader.write_text(PARSER, encoding="utf-8")
    return wheel, tmp_path / "images"


def make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)


def test_the_arguments_of_a_wheel_are_those_of_its_own_parser(tmp_path: Path) -> None:
    wheel, images = toy(tmp_path)
    done = make("toy", "1.5", "--wheel", str(wheel), "--images", str(images), "--python", sys.executable)
    assert done.returncode == 0, done.stderr
    found = Catalog(tmp_path).flags_at("toy", "1.5")
    assert found
    assert {f.flag: f for f in found.flags} == {
        "--size": Flag(flag="--size", also=("-s",), kind="value", takes="int", default="3", help="How many"),
        "--eager": Flag(flag="--eager", also=("--no-eager",), kind="switch", default="False"),
        "--kind": Flag(
            flag="--kind", kind="value", choices=("x", "y"), deprecated=True, help="(DEPRECATED) use --size"
        ),
        "--names": Flag(flag="--names", kind="list"),
        "--reader": Flag(flag="--reader", kind="value", registered=("a", "b")),
    }
    assert [p.name for p in (images / "toy/flags").iterdir() if p.suffix not in (".py", ".json")] in (
        [],
        ["__pycache__"],
    )


def test_an_engine_whose_parser_cannot_be_loaded_leaves_no_file(tmp_path: Path) -> None:
    wheel, images = toy(tmp_path)
    (images / "toy/flags/parser.py").write_text(
        PARSER.replace("import toy_engine", "import toy_engin"), encoding="utf-8"
    )
    assert make("toy", "1.5", "--wheel", str(wheel), "--images", str(images), "--python", sys.executable).returncode
    assert not list((images / "toy/flags").glob("*.json"))
    assert "it says where the engine makes its parser" in make("none", "1").stderr


@pytest.mark.parametrize("path", sorted(ROOT.glob("images/*/flags/*.json")), ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_a_flags_file_is_one_flag_a_line_sorted_and_yaml_too(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = json.loads(text)
    names = [f["flag"] for f in found["flags"]]
    assert names == sorted(set(names))
    assert len(text.splitlines()) == len(names) + 2
    assert yaml.load(text, Loader=yaml.CSafeLoader) == found
    assert (found["engine"], found["version"]) == (path.parts[-3], path.stem)
    assert len(names) > 200
    assert isinstance(Catalog().flags_at(found["engine"], found["version"]), Flags)


@pytest.mark.parametrize(
    ("version", "typed", "near"),
    [
        ("0.33.0", "--no-enable-prefix-caching", "--disable-prefix-caching"),
        ("0.33.0", "--no-enable-prefix-cachin", "--disable-prefix-caching"),
        ("0.33.0", "--no-disable-sliding-window", "--enable-sliding-window"),
        ("0.32.0", "--disable-prefix-caching", "--no-enable-prefix-caching"),
        ("0.33.0", "--enabel-prefix-caching", "--enable-prefix-caching"),
        ("0.33.0", "--diasble-prefix-caching", "--disable-prefix-caching"),
        ("0.33.0", "--max-model-length", "--max-model-len"),
        ("0.33.0", "--no-max-model-length", None),
    ],
)
def test_a_near_miss_never_says_the_opposite(catalog: Catalog, version: str, typed: str, near: str | None) -> None:
    flags = catalog.flags_at("vllm", version)
    assert flags
    (problem,) = flags.problems([Given(word=typed)])
    assert (problem.fault, problem.near) == ("unknown", near)
