"""The pictures of the console in docs/: the real engine, the distribution's Chromium. `make screenshots`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "console")]

from appliance import Site, Tab, appliance, browser  # noqa: E402
from playwright.sync_api import Browser  # noqa: E402

NAME = "weighbridge-screenshots"
MOST_BYTES = 150_000
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
SHOTS: dict[str, tuple[dict[str, Any], list[str], bool]] = {
    "console-light": ({"viewport": DESK}, ["What is 17 + 25?", "Write hello world in Python."], True),
    "console-dark-zh": (
        {"viewport": DESK, "color_scheme": "dark", "locale": "zh-CN"},
        ["法国的首都是哪里？", "5的阶乘是多少？"],
        True,
    ),
    "console-phone": ({"viewport": PHONE, "device_scale_factor": 2}, ["What is 17 + 25?"], False),
}


def shoot(chromium: Browser, site: Site, name: str) -> None:
    options, questions, whole = SHOTS[name]
    tab = Tab(chromium, site, reduced_motion="reduce", **options)
    page = tab.open(key=True)
    for ask in questions:
        tab.ask(ask)
    page.click(".reasoning summary")
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.wait_for_timeout(4500)  # two polls: a rate needs both
    if not whole:
        page.evaluate("document.getElementById('chat').scrollIntoView()")
    path = ROOT / "docs" / f"{name}.jpg"
    page.screenshot(path=path, type="jpeg", quality=68, full_page=whole)
    size = path.stat().st_size
    assert size < MOST_BYTES, f"{path} has {size} bytes"
    print(f"{path.relative_to(ROOT)}: {size} bytes")
    tab.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as home, appliance(NAME, Path(home)) as site, browser() as chromium:
        for name in SHOTS:
            shoot(chromium, site, name)


if __name__ == "__main__":
    main()
