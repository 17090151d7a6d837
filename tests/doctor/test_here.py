"""Which profile is this machine? Stand-ins for the vendors' tools print captures; the naming is real."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support_doctor import capture, catalog

from weighbridge.effects.asked import Asked
from weighbridge.effects.probe import look, profile_here
from weighbridge.errors import Unsupported
from weighbridge.here import here_json, here_text, named, seen


def tool(folder: Path, name: str, script: str) -> Path:
    """A folder for PATH with this tool in it."""
    path = folder / f"bin-{name}" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path.parent


def lines(name: str) -> list[str]:
    return [line.strip() for line in capture(name).splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("family", "printed", "profile", "note"),
    [
        ("cuda", ["NVIDIA H100 80GB HBM3"] * 8, "h100-80g-x8", ""),
        ("cuda", ["NVIDIA H200"] * 4, "h200-141g-x4", ""),
        ("cuda", ["NVIDIA H20"] * 8, "h20-96g-x8", ""),
        ("cuda", ["NVIDIA H20-3e"] * 8, "h20-141g-x8", ""),
        ("cuda", ["NVIDIA A100-SXM4-80GB"] * 7, "a100-80g-x4", "4 of them"),
        ("cuda", ["NVIDIA L40S"] * 3, "l40s-48g-x2", "2 of them"),
        ("cuda", ["NVIDIA GeForce RTX 4090"] * 2, "rtx4090-24g-x2", ""),
        ("cuda", ["NVIDIA GeForce RTX 4090 D"], None, "no profile knows it"),
        ("ascend", lines("npu-smi-910b3-x8-24.1.rc2"), "910b-64g-x8", ""),
        ("ascend", lines("npu-smi-910b4-24.1.1"), None, "no profile knows it"),
    ],
)
def test_cards_name_a_profile(family: str, printed: list[str], profile: str | None, note: str) -> None:
    found = seen(catalog(), {family: printed})
    assert len(found) == 1
    assert found[0].profile == profile
    assert found[0].note.startswith(note)


def test_unknown_cards_are_shown_by_their_names() -> None:
    found = seen(catalog(), {"ascend": lines("npu-smi-910b4-24.1.1")})
    assert [(s.cards, s.title) for s in found] == [(2, "910B4")]


def test_a_machine_without_tools_is_the_one_that_needs_none() -> None:
    assert named(catalog(), (), {}) == "cpu"


@pytest.mark.parametrize(
    ("printed", "failed", "message"),
    [
        (["NVIDIA H200", "NVIDIA L40S"], {}, "1 x NVIDIA H200 SXM 141 GB (h200-141g-x1); 1 x NVIDIA L40S 48 GB"),
        (["NVIDIA T1000"], {}, "1 x NVIDIA T1000 (no profile knows it)"),
        (["NVIDIA H200", "NVIDIA T1000"], {}, "1 x NVIDIA T1000 (no profile knows it)"),
        ([], {"nvidia-smi": "Failed to initialize NVML"}, "nvidia-smi failed: Failed to initialize NVML"),
    ],
)
def test_auto_refuses_with_what_was_seen(printed: list[str], failed: dict[str, str], message: str) -> None:
    with pytest.raises(Unsupported) as caught:
        named(catalog(), seen(catalog(), {"cuda": printed}), failed)
    assert caught.value.message.startswith("--profile auto: this machine shows ")
    assert message in caught.value.message


@pytest.fixture
def h200(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tool(tmp_path, "nvidia-smi", "for i in 1 2 3 4; do echo NVIDIA H200; done")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_the_probe_is_asked_and_the_order_takes_its_name(h200: Path) -> None:
    assert profile_here(catalog()) == "h200-141g-x4"
    plan = Asked({"profile": "auto", "model": "qwen3-8b"}, {}).plan
    assert (plan.profile, plan.cards) == ("h200-141g-x4", 4)


def test_what_is_here_as_text_and_as_json(h200: Path) -> None:
    looked = look(catalog())
    assert here_json(catalog(), *looked)["profile"] == "h200-141g-x4"
    assert here_text(catalog(), *looked).splitlines()[-1] == "this machine is h200-141g-x4"
    json.dumps(here_json(catalog(), *looked))


def test_a_tool_that_fails_is_no_machine_without_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tool(tmp_path, "nvidia-smi", f"cat {tmp_path}/said; exit 18")
    (tmp_path / "said").write_text(capture("smi-mismatch-550"))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    with pytest.raises(Unsupported, match="nvidia-smi failed: Failed to initialize NVML: Driver/library"):
        profile_here(catalog())
    assert "nvidia-smi failed" in here_text(catalog(), *look(catalog()))
