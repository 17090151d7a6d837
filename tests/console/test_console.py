"""The console page in the distribution's Chromium, against an engine that misbehaves on demand."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from appliance import KEY, Site, Tab, barriers, browser
from playwright.sync_api import Browser, expect
from scripted import DONE, Engine, event, scripted
from support import ROOT, plan_for

from weighbridge.catalog import Catalog
from weighbridge.console import about, console_files

PAGE = ROOT / "images" / "_shared" / "console"
WORDS = {name: json.loads((PAGE / f"words.{name}.json").read_text(encoding="utf-8")) for name in ("en", "zh")}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Engine]]:
    with scripted(tmp_path_factory.mktemp("site"), "open") as found:
        yield found


@pytest.fixture
def engine(served: tuple[Site, Engine]) -> Engine:
    served[1].says(event({"content": "Hello."}), event({}, "stop"), DONE)
    served[1].metrics, served[1].bench = "", None
    served[1].asked.clear()
    served[1].hung_up.clear()
    return served[1]


@pytest.fixture
def tab(chromium: Browser, served: tuple[Site, Engine], engine: Engine) -> Iterator[Tab]:
    found = Tab(chromium, served[0])
    found.open(key=True)
    yield found
    found.close()


# --- the files


def test_both_languages_have_the_same_words_with_the_same_blanks() -> None:
    blanks = {
        name: {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in words.items()}
        for name, words in WORDS.items()
    }
    assert blanks["en"] == blanks["zh"]
    assert [key for key, text in WORDS["zh"].items() if not text.strip()] == []


def test_every_word_is_used_and_every_used_word_is_there() -> None:
    source = "\n".join(p.read_text(encoding="utf-8") for p in sorted(PAGE.iterdir()) if p.suffix in (".js", ".html"))
    said = set(re.findall(r'data-word(?:-label|-placeholder)?="([\w-]+)"', source))
    assert said <= WORDS["en"].keys()
    built = {"evidence-", "means-", "memory-"}  # a word's beginning, to which the code adds a name of the plan's
    unused = [w for w in WORDS["en"] if not re.search(rf'["@]{w}["\s]', source) and not w.startswith(tuple(built))]
    assert [w for w in unused if f'{w}"' not in source] == []


def test_the_page_holds_no_inline_code_and_no_foreign_address() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", html) == []
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"https?://", text) == [], path.name
        assert "innerHTML" not in text
        assert "insertAdjacentHTML" not in text
        assert not re.search(r"\beval\(|new Function", text), path.name


def test_the_plan_and_what_goes_with_it_are_files_beside_the_page(catalog: Catalog) -> None:
    plan = plan_for(catalog, "a100-80g-x4", "deepseek-r1-distill-llama-70b")
    found = about(plan, catalog)
    assert (found["title"], found["licence"]) == ("DeepSeek R1 Distill Llama 70B", "MIT")
    assert found["metrics"]["kv_tokens"]["labels"] == ("num_gpu_blocks", "block_size")
    files = console_files(plan, catalog)
    assert files.keys() == {p.name for p in PAGE.iterdir()} | {"about.json"}


def test_a_model_that_nobody_has_written_down_has_its_name_for_a_title(catalog: Catalog, tmp_path: Path) -> None:
    config = catalog.model("qwen3-8b")
    plan = plan_for(catalog, "a100-80g-x4", config.id)
    unknown = type(plan)(**{f: getattr(plan, f) for f in plan.__struct_fields__} | {"model": 'it\'s a "model"'})
    assert about(unknown, catalog)["title"] == 'it\'s a "model"'
    assert about(unknown, catalog)["licence"] is None


# --- the stream


def answer(tab: Tab) -> str:
    return tab.page.inner_text(".turn.model:last-child .markdown")


def failure(tab: Tab) -> str:
    return tab.page.inner_text(".turn.model:last-child .failure")


def test_borders_of_chunks_may_fall_anywhere(tab: Tab, engine: Engine) -> None:
    whole = (
        event({"content": "巴黎 é 🙂 "}).replace(b"\n", b"\r\n") + b": keep-alive\r\n\r\n" + event({"content": "Ende"})
    )
    whole += b'data: {"choices":\r\ndata: [{"delta": {"content": " gut"}}]}\r\n\r\n' + event({}, "stop") + DONE
    engine.says(*(whole[i : i + 1] for i in range(len(whole))))
    tab.ask("anything")
    assert answer(tab) == "巴黎 é 🙂 Ende gut"
    assert tab.page.locator(".failure").count() == 0


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_stands_apart_and_folds_when_the_answer_begins(tab: Tab, engine: Engine, field: str) -> None:
    pause = 0.4
    engine.says(event({field: "First I think."}), pause, event({"content": "Then I say."}), event({}, "stop"), DONE)
    tab.page.fill("#ask", "why?")
    tab.page.press("#ask", "Enter")
    expect(tab.page.locator(".thought")).to_be_visible()
    expect(tab.page.locator("#send")).to_be_visible()
    assert answer(tab) == "Then I say."
    expect(tab.page.locator(".thought")).to_be_hidden()
    tab.page.click(".reasoning summary")
    assert tab.page.inner_text(".thought") == "First I think."
    engine.says(event({"content": "More."}), event({}, "stop"), DONE)
    tab.ask("and?")
    assert engine.asked[-1]["messages"][1] == {"role": "assistant", "content": "Then I say."}, (
        "thoughts are not sent back"
    )


@pytest.mark.parametrize(
    ("pieces", "words", "kept"),
    [
        ([event({"content": "Half"}), b'data: {"error": {"message": "out of blocks"}}\n\n'], "out of blocks", "Half"),
        ([event({"content": "Half an ans"})], WORDS["en"]["error-cut"], "Half an ans"),
        ([event({"content": "Half"}), b"data: {not json\n\n", DONE], "not an answer", "Half"),
        ([b'data: {"object": "error", "message": "died"}\n\n', DONE], "died", ""),
    ],
    ids=["error-in-the-middle", "cut", "not-json", "old-error-form"],
)
def test_a_stream_that_breaks_says_so_and_keeps_what_came(
    tab: Tab, engine: Engine, pieces: list[bytes | float], words: str, kept: str
) -> None:
    engine.says(*pieces)
    tab.ask("a question")
    assert words in failure(tab)
    assert answer(tab) == kept
    assert tab.page.input_value("#ask") == ("" if kept else "a question"), "what was not answered can be sent again"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (429, b'{"error": {"message": "slow down"}}', "429"),
        (400, b'{"error": {"message": "maximum context length is 2048 tokens"}}', "maximum context length is 2048"),
        (503, b"<html>busy</html>", "503"),
        (500, b"", "500"),
    ],
)
def test_a_refusal_is_explained_with_what_the_engine_said(
    tab: Tab, engine: Engine, status: int, body: bytes, words: str
) -> None:
    engine.says(body, status=status, kind="application/json")
    tab.ask("a question")
    assert words in failure(tab)
    assert tab.page.input_value("#ask") == "a question"


def test_stop_ends_the_request_and_keeps_what_came(tab: Tab, engine: Engine) -> None:
    more: list[bytes | float] = [0.05, event({"content": " a time"})]
    engine.says(event({"content": "Once upon"}), *more * 100, event({}, "stop"), DONE)
    tab.page.fill("#ask", "a tale")
    tab.page.press("#ask", "Enter")
    tab.page.wait_for_selector("text=Once upon a time")
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("#send")).to_be_visible()
    assert answer(tab).startswith("Once upon a time")
    assert "stopped" in tab.page.inner_text(".meta")
    assert engine.hung_up.wait(5), "the engine no longer writes for nobody"


def test_a_tool_call_arrives_in_pieces_and_its_result_goes_back(tab: Tab, engine: Engine) -> None:
    first = {"index": 0, "id": "c1", "function": {"name": "get_weather", "arguments": '{"ci'}}
    rest = {"index": 0, "function": {"arguments": 'ty": "Paris"}'}}
    engine.says(event({"tool_calls": [first]}), event({"tool_calls": [rest]}), event({}, "tool_calls"), DONE)
    tab.page.click(".options summary")
    tab.page.click("#tools-example")
    tab.ask("What is the weather in Paris?")
    assert engine.asked[0]["tools"][0]["function"]["name"] == "get_weather"
    assert json.loads(tab.page.inner_text(".call pre")) == {"city": "Paris"}
    engine.says(event({"content": "Sunny."}), event({}, "stop"), DONE)
    tab.page.fill(".results textarea", "21 °C")
    tab.page.click(".results button")
    expect(tab.page.locator(".turn.model").last).to_contain_text("Sunny.")
    sent = engine.asked[1]["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool"]
    assert (sent[1]["tool_calls"][0]["id"], sent[2]["tool_call_id"], sent[2]["content"]) == ("c1", "c1", "21 °C")


def test_a_call_without_a_result_is_left_out_of_what_follows(tab: Tab, engine: Engine) -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    engine.says(event({"tool_calls": [call]}), event({}, "tool_calls"), DONE)
    tab.ask("call")
    engine.says(event({"content": "Well."}), event({}, "stop"), DONE)
    tab.ask("never mind")
    assert [set(m) for m in engine.asked[1]["messages"]] == [{"role", "content"}] * 3
    assert tab.page.locator(".results").count() == 0


def test_options_are_sent_and_wrong_tools_are_not(tab: Tab, engine: Engine) -> None:
    tab.page.click(".options summary")
    tab.page.fill("#system", "Be brief.")
    tab.page.fill("#temperature", "0.5")
    tab.page.fill("#max-tokens", "7")
    tab.page.fill("#tools", "{}")
    tab.page.fill("#ask", "hi")
    tab.page.press("#ask", "Enter")
    expect(tab.page.locator("#tools-message")).to_contain_text("not a JSON list")
    assert engine.asked == []
    tab.page.fill("#tools", "")
    tab.ask("hi")
    body = engine.asked[0]
    assert (body["temperature"], body["max_tokens"], body["messages"][0]) == (
        0.5, 7, {"role": "system", "content": "Be brief."},
    )  # fmt: skip
    assert "tools" not in body


# --- what the model writes is text

TEXT = """# Title

A **bold** and `code` and *slant* <img src=x onerror=alert(1)> [link](javascript:alert(1))

- one
- two
  - inner

1. first
2. second

| a | b |
|---|---|
| 1 | <b>2</b> |

> quoted

```html
<script>alert(1)</script>
```
"""


def test_markdown_is_built_and_html_stays_text(tab: Tab, engine: Engine) -> None:
    raw = TEXT.encode()
    engine.says(*(event({"content": raw[i : i + 3].decode()}) for i in range(0, len(raw), 3)), event({}, "stop"), DONE)
    tab.ask("format")
    said = tab.page.locator(".turn.model .markdown")
    assert said.locator("img, script, a, b, style").count() == 0
    assert said.locator("strong").inner_text() == "bold"
    assert said.locator("pre code").text_content() == "<script>alert(1)</script>"
    assert said.locator("ul li").count() == 3
    assert said.locator("ol li").count() == 2
    assert said.locator("td").all_inner_texts() == ["1", "<b>2</b>"]
    assert "<img src=x onerror=alert(1)> [link](javascript:alert(1))" in said.inner_text()
    assert tab.errors == []


# --- live figures


def figures(running: int, generated: int) -> str:
    return f"""# HELP vllm:num_requests_running x
vllm:num_requests_running{{engine="0",model_name="it's \\"}} {{"}} {running}.0
vllm:num_requests_running{{engine="1",model_name="m"}} 1.0
vllm:num_requests_waiting{{engine="0"}} 2.0
vllm:kv_cache_usage_perc{{engine="0"}} 0.42
vllm:generation_tokens_total{{engine="0"}} {generated}
vllm:cache_config_info{{block_size="128",num_gpu_blocks="8000",x="None"}} 1.0
"""


def test_figures_follow_the_engine_and_rest_while_nobody_looks(tab: Tab, engine: Engine) -> None:
    engine.metrics = figures(3, 1000)
    page = tab.page
    expect(page.locator("#live-running")).to_have_text("4", timeout=8000)
    assert page.inner_text("#live-kv") == "42 %"
    assert page.inner_text("#live-waiting") == "2"
    assert "1,024,000 tokens" in page.inner_text("#reported")
    assert "less than promised" in page.inner_text("#reported"), "the plan promises 1,048,448"
    engine.metrics = figures(0, 1400)
    expect(page.locator("#live-rate")).not_to_have_text("–", timeout=8000)
    assert 100 < float(page.inner_text("#live-rate")) < 400
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_timeout(200)
    before = engine.polls
    page.wait_for_timeout(2600)
    assert engine.polls == before


# --- the modes


def test_the_last_benchmark_stands_below_the_plan(tab: Tab, engine: Engine) -> None:
    assert tab.page.locator("#bench").count() == 0, "nothing where none was made"
    rate = {"mean": 402.24, "low": 390.0, "high": 414.0, "count": 3}
    once = {"mean": 12.5, "low": None, "high": None, "count": 1}
    engine.bench = {
        "date": "2026-11-21T08:38:04+00:00",
        "points": [
            {"label": "few", "runs": 3, "output_tokens_per_second": rate, "ttft_ms": 4570.2, "tpot_ms": 2.1},
            {"label": "<b>chat</b>, 4/s", "runs": 1, "output_tokens_per_second": once, "ttft_ms": 9.0, "tpot_ms": 2.1},
        ],
    }
    page = tab.open(key=True)
    assert page.inner_text("#plan-body h3") == "Measured with invoke bench on 2026-11-21"
    rows = [
        [row.locator("dt").inner_text(), row.locator("dd").inner_text()] for row in page.locator("#bench > div").all()
    ]
    assert rows == [
        ["few", "402 ± 12.0 tokens a second, the first after 4,570 ms"],
        ["<b>chat</b>, 4/s", "12.5 tokens a second, the first after 9.0 ms"],
    ]
    page.click("#language")
    expect(page.locator("#plan-body h3")).to_have_text("2026-11-21 用 invoke bench 测得")


@pytest.mark.parametrize("data", ["key", "off"])
def test_without_the_plan_the_page_explains_and_the_chat_still_works(
    chromium: Browser, tmp_path: Path, data: str
) -> None:
    with scripted(tmp_path, data) as (site, engine):  # type: ignore[arg-type]
        engine.says(event({"content": "Here."}), event({}, "stop"), DONE)
        tab = Tab(chromium, site)
        page = tab.open()
        expect(page.locator("#key")).to_be_visible(visible=data == "key")
        assert page.inner_text("#plan-absent") == WORDS["en"]["plan-key" if data == "key" else "plan-off"]
        tab.give_key("wrong")
        expect(page.locator("#key-message")).to_contain_text("401")
        tab.give_key("schlüssel mit leer")
        expect(page.locator("#key-message")).to_contain_text("no spaces")
        tab.give_key(KEY)
        expect(page.locator("#key")).to_be_hidden()
        tab.ask("there?")
        assert answer(tab) == "Here."
        expect(page.locator("#plan .rows")).to_have_count(1 if data == "key" else 0)
        assert "weighbridge-demo" in page.inner_text("#panel-curl")
        assert KEY not in page.content()
        assert KEY not in page.url
        tab.close()


def test_a_question_without_a_key_is_given_back(chromium: Browser, served: tuple[Site, Engine], engine: Engine) -> None:
    tab = Tab(chromium, served[0])
    page = tab.open()
    assert (tab.errors, tab.foreign) == ([], [])
    tab.ask("Hello?")
    assert "401" in failure(tab)
    expect(page.locator("#key-value")).to_be_focused()
    assert page.input_value("#ask") == "Hello?"
    tab.close()


def test_a_key_is_gone_after_a_reload_unless_it_is_kept(chromium: Browser, served: tuple[Site, Engine]) -> None:
    tab = Tab(chromium, served[0])
    page = tab.open(key=True)
    page.reload()
    expect(page.locator("#key-button")).to_have_text("Enter key")
    page.click("#key-button")
    page.check("#key-keep")
    tab.give_key(KEY)
    expect(page.locator("#key-button")).to_have_text("Key kept in this tab")
    page.reload()
    expect(page.locator("#key-button")).to_have_text("Key kept in this tab")
    page.click("#key-button")
    page.click("#key-forget")
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage])").find(KEY) == -1
    tab.close()


# --- for everybody


def test_language_and_theme_are_the_browsers_until_they_are_switched(
    chromium: Browser, served: tuple[Site, Engine]
) -> None:
    tab = Tab(chromium, served[0], locale="zh-TW", color_scheme="dark")
    page = tab.open()
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.inner_text("#chat-title") == "对话"
    assert page.evaluate(ground) == "rgb(19, 20, 17)"
    page.click("#language")
    page.click("#theme")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert (page.inner_text("#chat-title"), page.get_attribute("html", "lang")) == ("Chat", "en")
    assert page.evaluate(ground) == "rgb(246, 244, 238)"
    tab.close()


@pytest.mark.parametrize(("locale", "scheme"), [("en-GB", "light"), ("zh-CN", "dark")])
def test_axe_finds_nothing_serious(
    chromium: Browser, served: tuple[Site, Engine], engine: Engine, scheme: str, locale: str
) -> None:
    engine.says(
        event({"reasoning": "Hm."}), event({"content": TEXT}), event({"tool_calls": [{"index": 0, "id": "c"}]}), DONE
    )
    engine.metrics = figures(1, 5)
    tab = Tab(chromium, served[0], locale=locale, color_scheme=scheme, reduced_motion="reduce")
    page = tab.open(key=True)
    tab.ask("everything")
    page.click("#key-button")
    page.click(".options summary")
    page.click("#because summary")
    for client in ("curl", "chatbox"):
        page.click(f"#tab-{client}")
        assert barriers(page) == []
    tab.close()


def test_a_phone_has_no_sideways_scroll(chromium: Browser, served: tuple[Site, Engine], engine: Engine) -> None:
    engine.says(event({"content": TEXT + "x" * 300}), event({}, "stop"), DONE)
    tab = Tab(chromium, served[0], viewport={"width": 320, "height": 700})
    page = tab.open(key=True)
    tab.ask("long")
    for client in ("curl", "deepseek", "chatbox", "dify"):
        page.click(f"#tab-{client}")
        assert page.evaluate("document.documentElement.scrollWidth") == 320
    tab.close()


def test_a_chat_by_keyboard_alone(chromium: Browser, served: tuple[Site, Engine], engine: Engine) -> None:
    tab = Tab(chromium, served[0])
    page = tab.open()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#ask")).to_be_focused()
    page.keyboard.type("Hello?")
    expect(page.locator("#ask")).to_have_value("Hello?")
    page.keyboard.press("Enter")
    expect(page.locator("#key-value")).to_be_focused()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#ask")).to_be_focused()
    page.wait_for_selector("html[data-ready]")  # with the key all is loaded anew, and the tabs below are made anew
    page.keyboard.press("Enter")
    expect(page.locator(".turn.model .markdown").last).to_have_text("Hello.")
    expect(page.locator("#spoken")).to_have_text("Hello.")
    page.focus("#tab-curl")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#tab-health")).to_be_focused()
    expect(page.locator("#panel-health")).to_be_visible()
    tab.close()


def test_an_input_methods_enter_ends_a_word_not_the_message(tab: Tab, engine: Engine) -> None:
    tab.page.fill("#ask", "ni hao")
    tab.page.dispatch_event("#ask", "keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    tab.page.wait_for_timeout(100)
    assert engine.asked == []
    assert tab.page.input_value("#ask") == "ni hao"


HOSTILE = 'it\'s a "model"; $(touch /tmp/injected) `id` </script>\\'


def test_a_hostile_name_is_quoted_in_every_client(chromium: Browser, tmp_path: Path) -> None:
    with scripted(tmp_path, "open") as (site, _):
        path = tmp_path / "console" / "plan.json"
        plan = {**json.loads(path.read_text(encoding="utf-8")), "model": HOSTILE}
        path.write_text(json.dumps(plan), encoding="utf-8")
        tab = Tab(chromium, site)
        page = tab.open()
        for client in ("openai", "langchain", "deepseek"):
            text = page.locator(f"#panel-{client} pre").last.text_content() or ""
            compile(text, client, "exec")
            assert repr(HOSTILE) in ascii_reprs(text)
        assert shell_words(page.locator("#panel-curl pre").text_content() or "")["model"] == HOSTILE
        assert HOSTILE in page.inner_text("#facts")
        tab.close()


def ascii_reprs(text: str) -> set[str]:
    """Every string of a Python source, as its repr."""
    return {
        repr(n.value) for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }


def shell_words(text: str) -> dict[str, str]:
    """The JSON body of a curl line, as bash reads it: curl is a function that prints its last word."""
    script = 'curl() { printf %s "${@: -1}"; }\nHOME=/nowhere\n' + text
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
