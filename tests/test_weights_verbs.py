"""fetch and verify as typed: exit codes, JSON, hints; what is chosen from a repository; where the store is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fetch_bench import Bench
from hub_stub import NEEDED, REPOSITORY, model_files
from support import ROOT

from weighbridge.catalog import Catalog
from weighbridge.effects import store
from weighbridge.errors import BadFile
from weighbridge.fetching import progress_line, time_text
from weighbridge.sources import card_licence, check_endpoint, licence_file, origin, read_pointer, wanted


def typed(bench: Bench, *words: str, **more: str) -> tuple[int, str, str]:
    environment = {
        **os.environ,
        **bench.environment,
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(bench.folder),
        **more,
    }
    line = [sys.executable, "-m", "weighbridge", *words]
    done = subprocess.run(line, cwd=bench.folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_fetch_then_verify_then_harm_then_verify(bench: Bench) -> None:
    code, out, said = typed(bench, "fetch", "--repo", REPOSITORY, "--endpoint", bench.hub.endpoint, "--json")
    assert (code, said) == (0, "")
    assert json.loads(out)["files"] == list(NEEDED)
    assert typed(bench, "verify", "--model", "some-model")[0] == 0
    (bench.model() / "config.json").chmod(0o644)
    os.truncate(bench.model() / "config.json", 3)
    code, out, _ = typed(bench, "verify", "--model", "some-model", "--json")
    assert code == 1
    assert [(p["path"], p["kind"]) for p in json.loads(out)["problems"]] == [("config.json", "size")]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["fetch", "--model", "qwen3-8"], 2, "did you mean qwen3-8b?; or name its repository: --repo OWNER/NAME"),
        (["fetch", "--source", "hff"], 2, "no source called 'hff'"),
        (["fetch", "--from", ""], 2, "--from is empty"),
        (["verify", "--model", "qwen3-8b"], 2, "weighbridge fetch --model qwen3-8b"),
        (["verify", "--weights", "/no/such"], 2, "no such folder of weights"),
        (["verify", "--lock", "/no/such"], 2, "No such file"),
    ],
)
def test_wrong_words_are_two_lines(bench: Bench, words: list[str], code: int, says: str) -> None:
    found, out, said = typed(bench, *words)
    assert (found, out) == (code, "")
    assert says in said
    assert len(said.strip().splitlines()) == 2


def test_run_without_weights_says_what_to_type(bench: Bench) -> None:
    from weighbridge.effects.weights import check_weights

    with pytest.raises(BadFile) as e:
        check_weights(bench.model(), "qwen3-8b")
    assert e.value.hint == "invoke fetch --model qwen3-8b; or name its folder: --weights FOLDER"


def test_what_serving_needs() -> None:
    assert tuple(wanted(model_files())) == NEEDED
    assert wanted(["consolidated.safetensors", "config.json"]) == ["config.json", "consolidated.safetensors"]
    assert wanted(["weighbridge.lock.json", ".x.json", "training_args.json", "LICENSE.py", "Notice.txt"]) == [
        "Notice.txt"
    ]


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\nlicense: other\nlicense_name: maker-1.0\n---\n", "maker-1.0"),
        ("---\nlicense: 'apache-2.0'\n---\nlicense: mit\n", "apache-2.0"),
        ("license: mit\n", None),
        ("", None),
    ],
)
def test_a_cards_licence(card: str, licence: str | None) -> None:
    assert card_licence(card) == licence


def test_pointers_addresses_and_papers() -> None:
    head = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64
    assert read_pointer(head + b"\nsize 12\n") == ("a" * 64, 12)
    assert read_pointer(head + b"\nsize -1\n") is None
    assert read_pointer(b"{}") is None
    assert check_endpoint("mirror.example.com/") == "https://mirror.example.com"
    assert origin("https://Hub.example.com/x") == ("https", "hub.example.com", 443)
    assert licence_file(["README.md", "LICENSE-MODEL", "COPYING"]) == "COPYING"


def test_progress_in_words() -> None:
    assert progress_line(1 << 30, 4 << 30, 1e8) == "fetch: 1.00 GiB of 4.00 GiB (25 %), 100.0 MB/s, 32 s left"
    assert progress_line(0, 0, 0) == "fetch: 0.0 MiB of 0.0 MiB (100 %), 0.0 MB/s"
    assert [time_text(s) for s in (59.4, 61, 7300)] == ["59 s", "1 min 1 s", "2 h 1 min"]


def test_where_models_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, mine = tmp_path / "system", tmp_path / "data" / "weighbridge" / "models"
    monkeypatch.setattr(store, "SYSTEM", system)
    environment = {"XDG_DATA_HOME": str(tmp_path / "data")}
    assert store.store_folder(environment) == system
    monkeypatch.setattr(store, "_may_write", lambda folder: folder != system)
    assert store.store_folder(environment) == mine
    (system / "m").mkdir(parents=True)
    assert store.model_folder(environment, "m") == system / "m", "what another put there is found"
    assert store.model_folder(environment, "n") == mine / "n"
    assert store.model_folder({"WEIGHBRIDGE_STORE": str(tmp_path)}, "m") == tmp_path / "m"


@pytest.mark.parametrize(
    ("text", "says"), [("x: {titel: X, protocol: hf}", "titel"), ("x: {title: X, protocol: ftp}", "ftp")]
)
def test_a_source_of_ones_own(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "_sources.yaml"
    path.write_text("lan: {title: Ours, protocol: hf, endpoint: https://hub.lan, repositories: huggingface}")
    known: dict[str, Any] = Catalog(tmp_path).sources
    assert (known["lan"].endpoint, known["hf"].protocol) == ("https://hub.lan", "hf")
    path.write_text(text)
    with pytest.raises(BadFile, match=says):
        _ = Catalog(tmp_path).sources
