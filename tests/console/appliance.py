"""What the console's tests stand on: a folder of the page's files, an appliance, a browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from support import ROOT, plan_for

from weighbridge.catalog import Catalog
from weighbridge.console import console_files
from weighbridge.render import plan_json

expect.set_options(timeout=20_000)  # what a busy machine needs; nothing waits so long for what is right
KEY = "wb-4cHq1u3mZ9rVx7yN2kTs8aLe5oPd0fGj"
Data = Literal["open", "key", "off"]


class Site(NamedTuple):
    """Where a console answers, and the key that its API takes."""

    url: str
    key: str


def program(name: str) -> str:
    """A tool of the distribution; without it the test is skipped."""
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
    if found is None:
        pytest.skip(f"{name} is missing: scripts/install-missing.sh tools")
    return found


def write_console(folder: Path) -> None:
    """The page's files and its data, as an image holds them, for the demo model."""
    catalog = Catalog()
    plan = plan_for(catalog, "cpu", "weighbridge-demo")
    (folder / "console").mkdir()
    for name, file in console_files(plan, catalog).items():
        (folder / "console" / name).write_text(file.text, encoding="utf-8")
    (folder / "console" / "plan.json").write_text(plan_json(plan), encoding="utf-8")


@contextmanager
def appliance(name: str, home: Path) -> Iterator[Site]:
    """The appliance with the real engine and its own gateway, started here and removed; its key lies beneath `home`."""
    invoke = str(Path(sys.executable).with_name("invoke"))
    start = [invoke, "run", "--port", "0", "--name", name, "--json"]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(home)}
    done = subprocess.run(start, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=1500, env=environment)
    try:
        key = (home / "weighbridge" / name / "key").read_text(encoding="utf-8").strip()
        yield Site(json.loads(done.stdout)["url"].removesuffix("v1"), key)
    finally:
        subprocess.run([invoke, "stop", "--name", name], cwd=ROOT, capture_output=True, check=True, timeout=120)


@contextmanager
def browser() -> Iterator[Browser]:
    """The distribution's Chromium, without a window."""
    path = program("chromium")
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


class Tab:
    """One page in a context of its own, and everything that it complained of or asked for elsewhere."""

    def __init__(self, browser: Browser, site: Site, **more: Any) -> None:
        self.site = site
        options: dict[str, Any] = {"locale": "en-GB", "color_scheme": "light", **more}
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.site.url, "data:")):
            self.foreign.append(request.url)

    def open(self, *, key: bool = False) -> Page:
        """The console, ready; with the key held when it is wanted."""
        self.page.goto(self.site.url)
        self.page.wait_for_selector("html[data-ready]")
        if key:
            self.give_key(self.site.key)
            self.page.wait_for_selector("#key", state="hidden")
            self.page.wait_for_selector("html[data-ready]")
        return self.page

    def give_key(self, key: str) -> None:
        if not self.page.is_visible("#key"):
            self.page.click("#key-button")
        self.page.fill("#key-value", key)
        self.page.press("#key-value", "Enter")

    def ask(self, text: str) -> None:
        """A question, and the wait until its answer is whole."""
        self.page.fill("#ask", text)
        self.page.press("#ask", "Enter")
        self.page.wait_for_selector("#send", state="visible")

    def close(self) -> None:
        self.context.close()


def barriers(page: Page) -> list[tuple[str, str, str]]:
    """What axe-core calls serious or critical: rule, impact, the first element."""
    found = Axe().run(page).response["violations"]
    rows = [(v["id"], v["impact"], v["nodes"][0]["html"][:200]) for v in found]
    return [row for row in rows if row[1] in ("serious", "critical")]
