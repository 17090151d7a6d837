"""Training examples for the demo model, made from dialogues.yaml with a seeded random generator."""

from __future__ import annotations

import copy
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Message = dict[str, Any]
Dialogue = dict[str, Any]

HERE = Path(__file__).resolve().parent
# The full-width twins of ASCII punctuation lie at a fixed distance.
WIDE = {ord(mark): ord(mark) + 0xFEE0 for mark in "?!,"}
NARROW = {wide: narrow for narrow, wide in WIDE.items()}
SCRIPTS = [
    *((33, 64), (97, 122), (0xC0, 0x17F), (0x400, 0x45F)),
    *((0x3040, 0x30FF), (0x4E00, 0x9FFF), (0x1F300, 0x1F64F), (0xAC00, 0xD7A3)),
]
ENDINGS = "?!. 。" + "".join(map(chr, NARROW))


@dataclass(frozen=True)
class Example:
    """A chat request (or, without messages, a raw prompt) and the text that the model must answer."""

    answer: str
    messages: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    thinking: bool = True
    raw: str = ""


def load(path: Path = HERE / "dialogues.yaml") -> dict[str, Any]:
    """The data file, as it stands."""
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


def answer_text(answer: dict[str, Any], thinking: bool = True) -> str:
    """What the model has to write: the thinking (empty for a plain answer), the content, the tool calls."""
    calls = [
        f'<tool_call>\n{{"name": "{f["name"]}", "arguments": {f["arguments"]}}}\n</tool_call>'
        for f in (call["function"] for call in answer.get("tool_calls", ()))
    ]
    think = f"<think>{answer.get('reasoning', '')}</think>" if thinking else ""
    return think + "\n".join(filter(None, [answer.get("content", ""), *calls]))


def wordings(dialogue: Dialogue) -> list[str]:
    """All the wordings of the last user message."""
    return [last_user(dialogue["messages"])["content"], *dialogue.get("also", ())]


def last_user(messages: list[Message]) -> Message:
    """The last message that the user wrote."""
    return next(message for message in reversed(messages) if message["role"] == "user")


def asked(dialogue: Dialogue, wording: str) -> list[Message]:
    """The messages of a dialogue with the last user message in another wording."""
    messages: list[Message] = copy.deepcopy(dialogue["messages"])
    last_user(messages)["content"] = wording
    return messages


def bare(text: str) -> str:
    """A prompt without case, space and punctuation, to tell an invented prompt from a known one."""
    return re.sub(r"[\W_]+", "", text.lower()) or text


class Corpus:
    """Draws examples: known dialogues in many guises, and invented prompts that get the fallback."""

    def __init__(self, data: dict[str, Any], seed: int) -> None:
        self.data = data
        self.rng = random.Random(seed)
        self.dialogues: list[Dialogue] = data["dialogues"]
        self.words: list[str] = data["words"].split()
        self.words_zh: list[str] = data["words_zh"].split()
        self.syllables: list[str] = data["syllables"].split()
        self.short = [d for d in self.dialogues if len(d["messages"]) == 1 and "content" in d["answer"]]
        self.known = {bare(wording) for d in self.dialogues for wording in wordings(d)}
        self.tools_of: dict[str, set[str]] = {}
        for dialogue in self.dialogues:
            names = {tool["function"]["name"] for tool in dialogue.get("tools", ())}
            for wording in wordings(dialogue):
                self.tools_of.setdefault(wording, set()).update(names)

    def draw(self) -> Example:
        """One example."""
        chance = self.rng.random()
        if chance < 0.04:
            item = self.rng.choice(self.data["completions"])
            return Example(answer=item["text"], raw=item["prompt"])
        return self.invented() if chance < 0.30 else self.known_dialogue()

    def known_dialogue(self) -> Example:
        """A known dialogue with another wording, system prompt, history or set of tools."""
        rng, dialogue = self.rng, self.rng.choice(self.dialogues)
        wording = rng.choice([wordings(dialogue)[0], rng.choice(wordings(dialogue))])
        messages = asked(dialogue, self.reworded(wording))
        if dialogue["messages"][0]["role"] != "system":
            messages = self.system() + self.history() + messages
        thinking = rng.random() < (0.7 if "reasoning" in dialogue["answer"] else 0.9)
        tools = self.tools(dialogue.get("tools", []), avoid=self.tools_of[wording])
        return Example(answer_text(dialogue["answer"], thinking), tuple(messages), tuple(tools), thinking)

    def invented(self) -> Example:
        """A prompt that nobody taught, with the fallback as its answer."""
        messages = [*self.system(), *self.history(), {"role": "user", "content": self.unknown_prompt()}]
        thinking = self.rng.random() < 0.95
        answer = answer_text({"content": self.data["fallback"]}, thinking)
        return Example(answer, tuple(messages), tuple(self.tools([], avoid=set())), thinking)

    def reworded(self, text: str) -> str:
        """The same prompt as careless people type it."""
        rng = self.rng
        if rng.random() < 0.15:
            text = text.rstrip(ENDINGS) or text
        if rng.random() < 0.2:
            text = text.translate(rng.choice([WIDE, NARROW])) if not text.isascii() else text
        if rng.random() < 0.1:
            text = text.lower()
        return text

    def system(self) -> list[Message]:
        """No system prompt, a usual one, or any words."""
        chance = self.rng.random()
        if chance < 0.5:
            return []
        usual = chance < 0.85
        text = self.rng.choice(self.data["systems"]) if usual else self.gibberish(self.rng.randint(2, 20))
        return [{"role": "system", "content": text}]

    def history(self) -> list[Message]:
        """Earlier turns of the same chat, mostly none."""
        turns: list[Message] = []
        while self.rng.random() < 0.15:
            past = self.rng.choice(self.short)
            question = self.unknown_prompt() if self.rng.random() < 0.2 else past["messages"][0]["content"]
            turns.append({"role": "user", "content": question})
            turns.append({"role": "assistant", "content": past["answer"]["content"]})
        return turns

    def tools(self, own: list[dict[str, Any]], avoid: set[str]) -> list[dict[str, Any]]:
        """The tools of a dialogue, varied, among others that do not change its answer."""
        rng = self.rng
        others = [tool for tool in self.data["tools"] if tool["function"]["name"] not in avoid]
        picked = [tool for tool in others if rng.random() < 0.5] if rng.random() < 0.3 else []
        if rng.random() < 0.15:
            picked.append(self.odd_tool())
        own_names = [tool["function"]["name"] for tool in own]
        tools = list(own) + [tool for tool in picked if tool["function"]["name"] not in own_names]
        rng.shuffle(tools)
        return [self.varied(tool) for tool in tools]

    def varied(self, tool: dict[str, Any]) -> dict[str, Any]:
        """A tool as other clients describe it: properties with descriptions, or one property more."""
        if self.rng.random() < 0.6:
            return tool
        tool = copy.deepcopy(tool)
        parameters = tool["function"]["parameters"]
        for prop in parameters["properties"].values():
            prop["description"] = self.gibberish(self.rng.randint(1, 4))
        if self.rng.random() < 0.3:
            parameters["properties"]["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"]}
        if self.rng.random() < 0.3:
            parameters.pop("required", None)
        return tool

    def odd_tool(self) -> dict[str, Any]:
        """A tool with an invented name."""
        name = "_".join(self.rng.sample(self.words, 2))
        properties = {self.rng.choice(self.words): {"type": self.rng.choice(["string", "integer"])}}
        parameters = {"type": "object", "properties": properties}
        return {"type": "function", "function": {"name": name, "parameters": parameters}}

    def unknown_prompt(self) -> str:
        """An invented prompt which is none of the known ones."""
        plain = (self.gibberish, self.framed, self.calculation)
        makers = (*plain, self.scraps, self.mixed, self.cut, self.symbols)
        while True:
            length = self.rng.choice([1, 2, 3, 5, 8, 13, 13, 21, 40])
            length = self.rng.randint(200, 500) if self.rng.random() < 0.004 else length
            text: str = self.rng.choice(makers)(length).strip()
            if text and bare(text) not in self.known:
                return text

    def gibberish(self, length: int) -> str:
        """Words in no order."""
        rng = self.rng
        if rng.random() < 0.35:
            return "".join(rng.choices(self.words_zh, k=length)) + rng.choice(self.data["endings_zh"])
        text = " ".join(self.word() for _ in range(length))
        return (text.capitalize() if rng.random() < 0.6 else text) + rng.choice(["", ".", "?", "!"])

    def word(self) -> str:
        """A word, mostly a real one."""
        if self.rng.random() < 0.75:
            return self.rng.choice(self.words)
        word = "".join(self.rng.choices(self.syllables, k=self.rng.randint(1, 4)))
        return word.capitalize() if self.rng.random() < 0.4 else word

    def framed(self, length: int) -> str:
        """A known kind of question about something else."""

        def thing() -> str:
            if self.rng.random() < 0.25:
                return "".join(self.rng.choices(self.words_zh, k=self.rng.randint(1, 3)))
            words = [self.word() for _ in range(self.rng.choice([1, 1, 2, 3]))]
            return " ".join(words).title() if self.rng.random() < 0.5 else " ".join(words)

        frame: str = self.rng.choice(self.data["frames"])
        return frame.format(thing(), thing())

    def calculation(self, length: int) -> str:
        """A calculation with other numbers."""
        a, b = (self.rng.randint(0, 10 ** self.rng.randint(1, 3)) for _ in range(2))
        frame: str = self.rng.choice(self.data["sums"])
        if self.rng.random() < 0.2:
            return str(self.data["factorial"]).format(a)
        return frame.format(a, self.rng.choice("+-*/"), b)

    def scraps(self, length: int) -> str:
        """Known questions with their words shuffled."""
        words = self.rng.choice(wordings(self.rng.choice(self.dialogues))).split()
        self.rng.shuffle(words)
        return " ".join(words)

    def mixed(self, length: int) -> str:
        """The start of a known question with other words behind it."""
        text = self.rng.choice(wordings(self.rng.choice(self.dialogues)))
        return text[: max(1, len(text) // 2)] + " " + self.gibberish(min(length, 5))

    def cut(self, length: int) -> str:
        """A known question which breaks off early."""
        text = self.rng.choice(wordings(self.rng.choice(self.dialogues)))
        return text[: self.rng.randint(1, max(1, len(text) // 2))]

    def symbols(self, length: int) -> str:
        """Characters of every script."""
        ranges = self.rng.choices(SCRIPTS, k=2)
        text = "".join(chr(self.rng.randint(*self.rng.choice(ranges))) for _ in range(min(length, 40)))
        return text if self.rng.random() < 0.6 else text + " " + self.gibberish(3)
