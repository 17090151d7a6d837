"""The console page in front of the real engine: its words stream in, its figures are shown, its clients work.

WEIGHBRIDGE_CONSOLE_URL and WEIGHBRIDGE_CONSOLE_KEY_FILE point the tests at an appliance that serves its console itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from appliance import Site, Tab, appliance, barriers, browser
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.live
NAME = "weighbridge-live-console"
COUNT_STATES = """() => {
  const turns = document.getElementById("turns");
  const shown = (window.shown = []);
  const look = () => { if (shown.at(-1) !== turns.textContent) shown.push(turns.textContent); };
  new MutationObserver(look).observe(turns, {subtree: true, childList: true});
}"""
REFUSED = "status of 401"  # Chromium writes each refused request to the console itself


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The appliance with the real engine and its own gateway, started here and removed."""
    if url := os.environ.get("WEIGHBRIDGE_CONSOLE_URL"):
        key = Path(os.environ["WEIGHBRIDGE_CONSOLE_KEY_FILE"]).read_text(encoding="utf-8").strip()
        yield Site(url.rstrip("/") + "/", key)
        return
    with appliance(NAME, tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def tab(chromium: Browser, site: Site) -> Iterator[Tab]:
    found = Tab(chromium, site)
    yield found
    found.close()


def said(site: Site, ask: str) -> tuple[str, str]:
    """Reasoning and content of the same question, asked without a browser."""
    body = {"model": "weighbridge-demo", "messages": [{"role": "user", "content": ask}], "temperature": 0}
    headers = {"Authorization": f"Bearer {site.key}"}
    answer = httpx.post(f"{site.url}v1/chat/completions", json=body, headers=headers, timeout=60, trust_env=False)
    message = answer.raise_for_status().json()["choices"][0]["message"]
    return message.get("reasoning") or message.get("reasoning_content") or "", message["content"] or ""


def slow_down(tab: Tab) -> None:
    """A thin line: the demo model says all it knows in a tenth of a second, which the eye cannot see grow."""
    line = {"offline": False, "latency": 0, "downloadThroughput": 5000, "uploadThroughput": -1}
    tab.context.new_cdp_session(tab.page).send("Network.emulateNetworkConditions", line)


def test_it_loads_without_a_complaint_and_asks_nobody_else(tab: Tab) -> None:
    page = tab.open(key=True)
    expect(page.locator("h1")).to_have_text("Weighbridge demo")
    expect(page.locator("#state")).to_have_attribute("data-state", "serving", timeout=10000)
    assert [e for e in tab.errors if REFUSED not in e] == [], "no error, and no violation of the policy"
    assert tab.foreign == []
    policy = httpx.get(tab.site.url, trust_env=False).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("ask", ["What is the capital of France?", "What is 17 + 25?", "5的阶乘是多少？"])
def test_the_engines_words_stream_in(tab: Tab, site: Site, ask: str) -> None:
    page = tab.open(key=True)
    page.click(".options summary")
    page.fill("#temperature", "0")
    slow_down(tab)
    page.evaluate(COUNT_STATES)
    tab.ask(ask)
    reasoning, content = said(site, ask)
    assert page.inner_text(".turn.model .markdown") == content.strip()
    if reasoning:
        page.click(".reasoning summary")
        assert page.inner_text(".thought") == reasoning.strip()
        assert reasoning.strip() not in page.inner_text(".turn.model .markdown")
        assert page.evaluate("window.shown.length") > 5, "what was shown grew"


def test_a_conversation_goes_on_and_the_engines_tool_call_is_shown(tab: Tab) -> None:
    page = tab.open(key=True)
    page.click(".options summary")
    page.fill("#temperature", "0")
    page.click("#tools-example")
    tab.ask("What is the weather in Paris?")
    assert json.loads(page.inner_text(".call pre")) == {"city": "Paris"}
    page.fill(".results textarea", '{"temperature_c": 21, "sky": "sunny"}')
    page.click(".results button")
    expect(page.locator(".turn.model").last).to_contain_text("sunny in Paris", timeout=20000)
    page.click("#new-chat")
    expect(page.locator(".turn")).to_have_count(0)


def test_what_was_planned_stands_beside_what_the_engine_reports(tab: Tab) -> None:
    page = tab.open(key=True)
    expect(page.locator("#reported")).to_contain_text("1,048,576 tokens", timeout=10000)
    assert "promise kept" in page.inner_text("#reported")
    tab.ask("What is 17 + 25?")
    expect(page.locator("#live-rate")).to_have_text("0", timeout=20000)  # polled twice and more: a rate, then rest
    assert page.inner_text("#live-running") == "0"


def test_a_wrong_key_is_explained_and_the_right_one_opens(tab: Tab, site: Site) -> None:
    page = tab.open()
    expect(page.locator("#key")).to_be_visible()
    tab.give_key("not-the-key")
    expect(page.locator("#key-message")).to_contain_text("401")
    expect(page.locator("#key-value")).to_be_focused()
    tab.give_key(site.key)
    expect(page.locator("#plan .rows")).to_be_visible()
    assert site.key not in page.content()


@pytest.mark.parametrize("client", ["curl", "openai", "langchain", "deepseek", "health"])
def test_what_is_pasted_works(tab: Tab, site: Site, client: str, tmp_path: Path) -> None:
    page = tab.open(key=True)
    text = page.locator(f"#panel-{client} pre").last.text_content() or ""
    assert site.key not in text
    file = tmp_path / "weighbridge.key"
    file.write_text(f"{site.key}\n", encoding="utf-8")
    shell = client in ("curl", "health")
    words = ["bash", "-euc", text] if shell else [sys.executable, "-c", text]
    around = {**os.environ, "HOME": str(tmp_path), "KEY_FILE": str(file), "NO_PROXY": "127.0.0.1,localhost"}
    done = subprocess.run(words, env=around, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = done.stdout
    if client == "deepseek":
        reasoning, content = said(site, "What is 17 + 25?")
        assert f"thought:  {reasoning}" in found
        assert f"answered: {content}" in found
    elif client == "health":
        assert "healthy" in found
        assert "weighbridge-demo" in found
    else:
        assert "Paris" in found.replace('"', "") or '"content":" Paris"' in found or "data: [DONE]" in found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
def test_axe_finds_nothing_serious(chromium: Browser, site: Site, scheme: str, locale: str) -> None:
    tab = Tab(chromium, site, locale=locale, color_scheme=scheme, reduced_motion="reduce")
    page = tab.open()
    assert barriers(page) == [], "asking for the key"
    tab.give_key(site.key)
    expect(page.locator("#key")).to_be_hidden()
    tab.ask("What is 17 + 25?")
    assert barriers(page) == [], "with an answer"
    tab.close()
