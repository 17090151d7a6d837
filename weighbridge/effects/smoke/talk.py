"""Questions about what is said: chat, stream, completions, reasoning, tools, JSON, unicode."""

from __future__ import annotations

import json
from typing import Any

from weighbridge.effects.chat import HEALTH
from weighbridge.effects.smoke.session import PLAIN, Heard, Session, Skipped, Wrong, expect, reasoning_of
from weighbridge.facts import Expectation
from weighbridge.smoke import Question
from weighbridge.words import many

_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_TYPES: dict[str, type] = {"string": str, "boolean": bool, "object": dict, "array": list}


def health(session: Session, question: Question) -> str:
    code = session.client.get(HEALTH).status_code
    expect(code == 200, f"{HEALTH} answers {code}")
    return "200"


def models(session: Session, question: Question) -> str:
    served = session.client.get(question.path).raise_for_status().json()["data"][0]
    wanted, planned = session.target.model, session.target.max_model_len
    expect(served["id"] == wanted, f"serves {served['id']!r}, not {wanted!r}")
    longest = served.get("max_model_len")
    expect(planned is None or longest == planned, f"max_model_len is {longest}, planned {planned}")
    return f"{served['id']}, max_model_len {longest}"


def chat(session: Session, question: Question) -> str:
    wanted = session.target.facts.chat or PLAIN
    found = session.post(question, session.body(question, wanted.ask))
    message, usage = found["choices"][0]["message"], found["usage"]
    text = message.get("content") or ""
    expect(bool(text or reasoning_of(message)), "the answer is empty")
    expect(wanted.answer in text, f"{wanted.ask!r} -> {text!r}, without {wanted.answer!r}")
    _adds_up(usage)
    return f"{wanted.ask!r} -> {text[:80]!r}, {many(usage['completion_tokens'], 'token')}"


def _adds_up(usage: dict[str, int]) -> None:
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    expect(usage["completion_tokens"] > 0 and usage["total_tokens"] == total, f"usage does not add up: {usage}")


def stream(session: Session, question: Question) -> str:
    wanted = session.target.facts.chat or PLAIN
    body = session.body(question, wanted.ask)
    whole = session.message(question, body).get("content") or ""
    heard = session.hear(question, body)
    expect(heard.done, "the stream does not end with [DONE]")
    expect(heard.text == whole, f"the chunks join to {heard.text!r}, the whole answer is {whole!r}")
    said = bool(heard.text) or any(map(reasoning_of, heard.deltas))
    expect(said, "the chunks hold neither an answer nor reasoning")
    expect(bool(heard.chunks[-1].get("usage")), "the last chunk carries no usage")
    _in_order(heard)
    first = next(m for m, c in zip(heard.moments, heard.chunks, strict=True) if c["choices"] and _says(c))
    return f"{many(len(heard.chunks), 'chunk')}, the first token after {first:.2f} s, joined they are the whole answer"


def _says(chunk: dict[str, Any]) -> bool:
    delta = chunk["choices"][0]["delta"]
    return bool(delta.get("content") or reasoning_of(delta))


def _in_order(heard: Heard) -> None:
    """One answer, and nothing after its end but the usage."""
    names = {c.get("id") for c in heard.chunks}
    expect(len(names) == 1, f"the chunks are of {many(len(names), 'answer')}: {sorted(map(str, names))[:3]}")
    ends = [n for n, c in enumerate(heard.chunks) if c["choices"] and c["choices"][0].get("finish_reason")]
    expect(len(ends) == 1, f"{many(len(ends), 'chunk has', 'chunks have')} a finish_reason, not one")
    late = [n for n, c in enumerate(heard.chunks) if n > ends[0] and c["choices"] and _says(c)]
    expect(not late, f"chunk {late[:1]} says more after the finish_reason of chunk {ends[0]}")


def reasoning(session: Session, question: Question) -> str:
    wanted = session.target.facts.reasoning or Expectation(ask="What is 17 + 25? Think first.", answer="")
    message = session.message(question, session.body(question, wanted.ask))
    thought, text = reasoning_of(message), message.get("content") or ""
    expect(bool(thought), f"no reasoning field in {message}")
    expect((wanted.reasoning or "") in thought, f"the reasoning is {thought!r}, without {wanted.reasoning!r}")
    expect(wanted.answer in text, f"the answer is {text!r}, without {wanted.answer!r}")
    expect("think>" not in text, f"thinking is left in the answer: {text!r}")
    return f"{thought[:60]!r} apart from {text[:60]!r}"


def tool_call(session: Session, question: Question) -> str:
    wanted = session.target.facts.tool_call
    ask = wanted.ask if wanted else "What is the weather in Paris?"
    message = session.message(question, session.body(question, ask, tools=[_WEATHER], tool_choice="auto"))
    if wanted is None:  # a model that was not taught this may answer in words; the server must not refuse
        return "accepted tools; no call proven"
    calls = message.get("tool_calls") or []
    expect(len(calls) == 1, f"{len(calls)} tool calls in {message}")
    function = calls[0]["function"]
    arguments = json.loads(function["arguments"])
    expect(function["name"] == wanted.tool and arguments == wanted.arguments, f"calls {function}")
    talk = [{"role": "user", "content": ask}, message, _tool_answer(calls[0]["id"])]
    text = session.message(question, session.body(question, ask, messages=talk, tools=[_WEATHER]))["content"]
    expect(wanted.answer in (text or ""), f"after the tool's answer: {text!r}, without {wanted.answer!r}")
    return f"{function['name']}({function['arguments']}) -> {text[:60]!r}"


def _tool_answer(call_id: str) -> dict[str, str]:
    return {"role": "tool", "tool_call_id": call_id, "content": json.dumps({"temperature_c": 21, "sky": "sunny"})}


def completions(session: Session, question: Question) -> str:
    """A raw prompt, without the chat template."""
    wanted = session.target.facts.completion or Expectation(ask="The capital of France is", answer="")
    found = session.post(question, {"model": session.target.model, "prompt": wanted.ask, **question.body})
    choice = found["choices"][0]
    expect(bool(choice["text"]), "the text is empty")
    expect(wanted.answer in choice["text"], f"{wanted.ask!r} -> {choice['text']!r}, without {wanted.answer!r}")
    expect(choice.get("finish_reason") in ("stop", "length"), f"finish_reason is {choice.get('finish_reason')!r}")
    _adds_up(found["usage"])
    return f"{wanted.ask!r} -> {choice['text'][:60]!r}"


def unicode(session: Session, question: Question) -> str:
    """As UTF-8 and escaped, whole and in chunks: the same question and the same answer."""
    wanted = session.target.facts.unicode or Expectation(ask="你好 — naïve 🙂", answer="")
    body = session.body(question, wanted.ask)
    whole = session.post(question, body)
    text = whole["choices"][0]["message"].get("content") or ""
    escaped = json.dumps(body, ensure_ascii=True).encode()
    answer = session.client.post(question.path, content=escaped, headers={"Content-Type": "application/json"})
    other = answer.raise_for_status().json()
    used = [found["usage"]["prompt_tokens"] for found in (whole, other)]
    expect(used[0] == used[1], f"{used[0]} tokens as UTF-8, {used[1]} as escapes")
    expect(wanted.answer in text, f"{wanted.ask!r} -> {text!r}, without {wanted.answer!r}")
    heard = session.hear(question, body).text
    expect(heard == text, f"the chunks join to {heard!r}, the whole answer is {text!r}")
    expect("\ufffd" not in text, f"a broken character is in {text!r}")
    return f"{wanted.ask!r} -> {text[:60]!r}"


def deterministic(session: Session, question: Question) -> str:
    wanted = session.target.facts.chat or PLAIN
    found = [session.message(question, session.body(question, wanted.ask)) for _ in range(question.requests)]
    said = {(m.get("content"), reasoning_of(m)) for m in found}
    expect(len(said) == 1, f"{many(len(said), 'answer')} to the same question: {sorted(map(str, said))[:2]}")
    return f"{question.requests} times the same answer"


def json_mode(session: Session, question: Question) -> str:
    """An answer in the form that was asked for: a whole JSON object. One that is cut by its length proves nothing."""
    ask = session.body(question, (session.target.facts.chat or PLAIN).ask)
    choice = session.post(question, ask)["choices"][0]
    text, cut = choice["message"].get("content") or "", choice.get("finish_reason") == "length"
    if cut and not text and reasoning_of(choice["message"]):
        raise Skipped(f"it was still thinking after {question.body.get('max_tokens')} tokens")
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as e:
        if cut and text.lstrip().startswith("{") and _is_beginning(text, e):
            raise Skipped(f"the object was cut at {question.body.get('max_tokens')} tokens: {text[:60]!r}") from None
        raise Wrong(f"no JSON: {e} in {text!r:.150}") from None
    expect(isinstance(found, dict), f"not an object: {text!r:.150}")
    schema = question.body["response_format"].get("json_schema", {}).get("schema", {})
    _fits(found, schema)
    return f"{text[:80]!r}"


def _no_constant(name: str) -> Any:
    """Python reads NaN and Infinity; JSON has neither."""
    raise Wrong(f"no JSON: {name} is no value of it")


def _is_beginning(text: str, error: json.JSONDecodeError) -> bool:
    """Whether only the end is missing."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip())


def _fits(found: dict[str, Any], schema: dict[str, Any]) -> None:
    """The parts of JSON Schema that a contract uses: required, enum, type, additionalProperties."""
    rows = schema.get("properties", {})
    lacking = [n for n in schema.get("required", ()) if n not in found]
    expect(not lacking, f"{', '.join(lacking)} is missing in {found}")
    more = [n for n in found if n not in rows] if schema.get("additionalProperties") is False else []
    expect(not more, f"{', '.join(more)} was not asked for in {found}")
    for name in rows.keys() & found.keys():
        row, value = rows[name], found[name]
        expect(value in row.get("enum", [value]), f"{name} is {value!r}, none of {row.get('enum')}")
        expect(isinstance(value, _TYPES.get(row.get("type", ""), object)), f"{name} is {value!r}, no {row.get('type')}")
