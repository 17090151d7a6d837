"""Can what the two front pages say be typed, and do both say the same?"""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from support import ROOT

from weighbridge.cli import VERBS, flag_name

PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")}
LLAMA = ["--profile", "a100-80g-x4", "--model", "deepseek-r1-distill-llama-70b"]


def blocks(text: str) -> list[list[str]]:
    """The lines of each fenced block."""
    return [part.strip("\n").splitlines() for part in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def commands(text: str) -> list[list[str]]:
    """Every `invoke` line of the fenced blocks and, of an error, what it offers."""
    lines = [line.strip().removeprefix("try ") for block in blocks(text) for line in block]
    return [shlex.split(line, comments=True)[1:] for line in lines if re.match(r"invoke\b", line)]


def test_every_command_is_one(inv: Any) -> None:
    said = commands(PAGES["README.md"])
    assert len(said) >= 8
    for verb, *words in filter(None, said):
        known = {f"--{flag_name(n)}" for n in VERBS[verb].flags}
        assert {w for w in words if w.startswith("--")} <= known
    for words in (w for w in said if w and (w[0] == "plan" or "--print" in w)):
        assert inv(*words).code == 0, words
    assert inv("run", *LLAMA, "--weights", "/data/models/x", "--dry-run").code == 0
    assert inv("build", *LLAMA, "--dry-run").code == 0


def test_the_error_that_is_shown_is_what_is_said(inv: Any) -> None:
    (shown,) = (block for block in blocks(PAGES["README.md"]) if block[0].startswith("error: "))
    said = inv("plan", "--profile", "a100-80g-x4", "--model", "deepseek-r1")
    assert said.err.splitlines() == shown


@pytest.mark.parametrize("page", PAGES)
def test_every_goal_of_make_is_one(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    goals = set(re.findall(r"(?:^|`)(?:WEIGHBRIDGE_NO_INSTALL=1 )?make ([a-z]+)", PAGES[page], re.MULTILINE))
    assert {"appliance", "test", "setup"} <= goals
    assert [g for g in goals if not re.search(rf"^{g}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_table_has_every_verb_and_its_flags_are_theirs(page: str) -> None:
    rows = re.findall(r"^\| (`[a-z-]+`(?:[,、 ]+`[a-z-]+`)*) \|(.*)$", PAGES[page], re.MULTILINE)
    verbs = [v for names, _ in rows for v in re.findall(r"`([a-z-]+)`", names)]
    assert sorted(verbs) == sorted(VERBS)
    everyone = {f"--{flag_name(n)}" for taken in VERBS.values() for n in taken.flags}
    for names, about in rows:
        own = {f"--{flag_name(n)}" for v in re.findall(r"`([a-z-]+)`", names) for n in VERBS[v].flags}
        said = set(re.findall(r"(?<![\w-])--[a-z-]+", about))
        assert said <= everyone
        assert said & own or not said, names


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGES[page]) if "://" not in link]
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_both_pages_say_the_same() -> None:
    """Headings, tables, lists, commands, code words and links are alike; the words around them are a person's work."""
    english, chinese = PAGES.values()
    assert commands(english) == commands(chinese)
    for pattern in (r"^(#+) ", r"^(\|)", r"^(- )", r"^(!\[)"):
        assert len(re.findall(pattern, english, re.MULTILINE)) == len(re.findall(pattern, chinese, re.MULTILINE))
    assert links_of(english) == links_of(chinese)
    assert code_of(english) ^ code_of(chinese) == set()


def links_of(text: str) -> list[str]:
    return sorted(link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("README"))


def code_of(text: str) -> set[str]:
    """What stands between backquotes on the page, placeholders in any language left out."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"`([^`\n]+)`", plain)
    return {code for code in found if "<" not in code and "FOLDER" not in code and code.isascii()}
