"""Does every command line in a hint carry on what was given, and nothing else?"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import ROOT
from test_cli import refused

import tasks
from weighbridge.cli import _FRAME, ORDER, RUN, VERBS
from weighbridge.hints import carried
from weighbridge.words import are, many

PLANNED = {*ORDER, *RUN} - {*_FRAME}


def told(hint: str, verb: str, **given: Any) -> str:
    values = {name: default for name, (default, _) in VERBS[verb].flags.items()}
    assert given.keys() <= values.keys()
    return carried(hint, verb, {**values, **given}, VERBS, PLANNED, _FRAME)


@pytest.mark.parametrize(
    ("verb", "given", "hint", "whole"),
    [
        ("stop", {"name": "mine"}, "invoke run", "invoke run --name mine"),
        ("smoke", {"name": "it's"}, "is it running? invoke status", "is it running? invoke status"),
        ("run", {"name": "a", "profile": "cpu-x2", "context": "8K", "eager": True}, "start it again: invoke run",
         "start it again: invoke run --profile cpu-x2 --context 8K --eager --name a"),
        ("run", {"name": "a", "profile": "p"}, "build it: invoke build", "build it: invoke build --profile p"),
        ("run", {"name": "b", "profile": "p", "model": "m"}, "invoke stop --name a, then invoke run",
         "invoke stop --name a, then invoke run --profile p --model m --name b"),
        ("run", {"model": "m", "context": "99"}, "try invoke plan --profile p --model m --context 8",
         "try invoke plan --profile p --model m --context 8"),
        ("run", {"model": "m", "context": "99", "baked": True}, "bake it: invoke bake --to docker",
         "bake it: invoke bake --to docker --model m --context 99"),
        ("plan", {"catalog": "/my own"}, "see them all with: invoke profiles",
         "see them all with: invoke profiles --catalog '/my own'"),
        ("plan", {"model": "x", "catalog": "c"}, "invoke models; or give its shape: --model-config FILE",
         "invoke models --catalog c; or give its shape: --model-config FILE"),
        ("fetch", {"model": "m", "source": "dir", "from_": "/x y"}, "another disk: STORE=FOLDER invoke fetch",
         "another disk: STORE=FOLDER invoke fetch --model m --source dir --from '/x y'"),
        ("host-setup", {"profile": "p", "network": "10.0.0.0/24", "apply": True}, "invoke host-setup > x && sh x",
         "invoke host-setup --profile p --network 10.0.0.0/24 > x && sh x"),
        ("keys", {"action": "add", "name": "a"}, "for example: invoke keys add --key-name alice",
         "for example: invoke keys add --key-name alice --name a"),
        ("keys", {"action": "revoke", "keys": "k", "key_name": "z"}, "see them all with: invoke keys list",
         "see them all with: invoke keys list --keys k"),
        ("keys", {"action": "list", "name": "a"}, "start it: invoke run; or: invoke keys add --key-name NAME",
         "start it: invoke run --name a; or: invoke keys add --key-name NAME --name a"),
        ("run", {"name": "a"}, "see invoke run --help", "see invoke run --help"),
        ("bench", {"name": "a"}, "invoke bench --list-scenarios", "invoke bench --list-scenarios"),
        ("run", {"name": "a"}, "nobody can invoke this", "nobody can invoke this"),
    ],
)  # fmt: skip
def test_a_hint_carries_on_what_was_given(verb: str, given: dict[str, Any], hint: str, whole: str) -> None:
    assert told(hint, verb, **given) == whole


def test_every_verb_is_known_to_the_hints() -> None:
    assert {*VERBS} == {name.replace("_", "-") for name in tasks.__all__}


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a Docker engine and without weights."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WEIGHBRIDGE_STORE", str(tmp_path / "store"))


@pytest.mark.usefixtures("nobody")
def test_weights_that_are_not_here_can_be_fetched(inv: Any, tmp_path: Path) -> None:
    for words in (["bake", "--to", "layout"], ["bake", "--dry-run"], ["run"]):
        message, hint = refused(inv(*words, "--model", "qwen3-0.6b"))
        assert message == f"{tmp_path}/store/qwen3-0.6b: qwen3-0.6b is not here"
        assert hint == "invoke fetch --model qwen3-0.6b; or name its folder: --weights FOLDER"


@pytest.mark.usefixtures("nobody")
def test_a_run_that_cannot_start_makes_no_keys(inv: Any, tmp_path: Path) -> None:
    assert inv("run", "--name", "some").code == 1
    assert not (tmp_path / "config").exists()


def test_a_sink_is_asked_for_in_words_that_can_be_typed(inv: Any) -> None:
    message, hint = refused(inv("bake", "--context", "512"))
    assert message == "--to is missing"
    assert hint == (
        "name one: --to layout, or docker, podman, registry; what each costs: invoke bake --dry-run --context 512"
    )


def test_a_picture_says_where_it_was_written(inv: Any, tmp_path: Path) -> None:
    said = inv("plan", "--svg", "new/folder/plan.svg", "--html", "plan.html")
    assert (said.code, said.err) == (0, "wrote plan.html\nwrote new/folder/plan.svg\n")
    assert (tmp_path / "new/folder/plan.svg").read_text(encoding="utf-8").startswith("<svg")


# --- counts --------------------------------------------------------------------------------------------


def test_a_count_goes_with_its_noun() -> None:
    assert [many(n, "key") for n in (0, 1, 2)] == ["0 keys", "1 key", "2 keys"]
    assert many(2, "file or folder", "files or folders") == "2 files or folders"
    assert [are(n) for n in (0, 1, 2)] == ["are", "is", "are"]


COUNTED = re.compile(r"\{len\([^{}]*\)\} [a-z]+s\b(?! of\b)")
NEVER_ONE = {
    "effects/docker.py": "one appliance needs no name",
    "effects/oci/bake.py": "more layers than an image holds",
    "layers.py": "the same",
    "program.py": "two verbs or more",
}


def test_no_message_counts_without_the_helper() -> None:
    """`{len(x)} keys` would say "1 keys"."""
    package = ROOT / "weighbridge"
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if COUNTED.search(path.read_text(encoding="utf-8"))
    }
    assert found == NEVER_ONE.keys()


# --- files to write ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["plan", "smoke", "bench"])
@pytest.mark.parametrize("path", ["new/", "here", "here/"])
def test_a_file_that_is_a_folder_is_refused_before_any_work(verb: str, path: str, inv: Any, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    message, hint = refused(inv(verb, "--html", path))
    assert message == f"--html {path}: is a folder, not a file"
    assert hint == f"name a file in it: --html {path.rstrip('/')}/NAME"
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


def test_a_place_where_nothing_can_be_written_is_told_before_any_work(inv: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    said = inv("bench", "--output", "file/x/y.json")
    assert said.code == 1
    assert said.err.splitlines() == [
        f"error: --output file/x/y.json: nothing can be written in {tmp_path}/file",
        "  choose another place: --output FILE",
    ]


# --- interrupted ---------------------------------------------------------------------------------------


def test_a_fetch_that_is_interrupted_says_how_to_go_on(tmp_path: Path) -> None:
    words = ["fetch", "--model", "qwen3-0.6b", "--endpoint", "http://127.0.0.1:1"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "WEIGHBRIDGE_STORE": str(tmp_path / "store")}
    command = [sys.executable, "-u", "-m", "invoke", *words]
    with subprocess.Popen(  # a shell that runs tests in the background has SIGINT ignored
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "again in" in first
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert rest.splitlines()[-2:] == ["interrupted", f"  again: invoke {' '.join(words)}"]
    assert process.returncode == 130
