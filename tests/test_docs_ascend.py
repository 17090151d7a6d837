"""Does docs/ascend.md give a reason for each part of the command in circulation, and our line as it is rendered?"""

from __future__ import annotations

import re
import shlex

from support import GOLDEN, ROOT

PAGE = (ROOT / "docs" / "ascend.md").read_text(encoding="utf-8")
SEED = (ROOT / "tests" / "lint" / "seeds" / "d-container.txt").read_text(encoding="utf-8")
OURS = (GOLDEN / "mindie-910b-64g-x8-r1-70b" / "run" / "docker.sh").read_text(encoding="utf-8")
CARDS = {f"/dev/davinci{n}" for n in range(1, 7)}  # the page writes the first and the last


def words(text: str) -> list[str]:
    return shlex.split(text.replace("\\\n", " "), comments=True)


def blocks() -> list[str]:
    return re.findall(r"```sh\n(docker run .*?)```", PAGE, re.DOTALL)


def test_every_part_of_the_command_has_a_row() -> None:
    theirs = [w for w in words(SEED) if w not in ("docker", "run", "-v", "--device")]
    first = "\n".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("|"))
    missing = []
    for word in theirs:
        part = word.removeprefix("--device=").split(":")[0].rstrip("/")  # a path that is mounted, a node, a flag
        if part in CARDS or word == "500g":
            continue
        if part.startswith("swr."):
            part = "ei-mindie/mindie"
        if part not in first and part.split("/")[-1] not in first:
            missing.append(word)
    assert missing == []


def test_the_command_on_the_page_is_the_one_in_circulation() -> None:
    shown = words(blocks()[0])
    assert [w for w in words(SEED) if w not in shown and not any(c in w for c in CARDS)] == []


def test_our_line_on_the_page_is_the_rendered_one() -> None:
    shown = words(blocks()[1])
    ours = [w for w in words(OURS) if not w.startswith(("io.weighbridge.", "weighbridge/")) and w not in CARDS]
    assert [w for w in ours if w not in shown] == []
    assert [w for w in shown if w not in ours and "…" not in w] == []
