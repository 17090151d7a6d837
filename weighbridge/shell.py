"""Text that somebody pasted -> the commands a shell would run, after the traps of web pages are found and repaired."""

from __future__ import annotations

import re
from collections.abc import Iterator

from weighbridge.facts import Value

_QUOTES = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "‚": "'", "′": "'", "″": '"'}
_QUOTED = re.compile("(?:^|[\\s=])[“„‘‚′″]")  # where a word begins: prose in a value has them too
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_NOTHING = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_WIDE = re.compile("[\uff02\uff04\uff07\uff0d\uff0f-\uff19\uff1d\uff21-\uff3c\uff41-\uff5a]")  # not 。，：；
_DASH = re.compile(r"(?<=\s)[\u2013\u2014\u2212\u2010-\u2012]{1,2}(?=[a-zA-Z])")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|#39|nbsp);")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "#39": "'", "nbsp": " "}
_PROMPT = re.compile(
    r"^\s*(?:\([\w.-]+\)\s*)?(?:\[[^\]\n]*@[^\]\n]*\][#$]|[\w.-]+@[\w.-]+\s*:\s*\S*\s*[#$]|[$>%]|#(?= "
    r"(?:sudo|docker|podman|python3?)\s))\s+"
)
_FENCE = re.compile(r"^\s*(```|~~~)")
_HALVES = {"'": re.compile(r"'[^']*'"), '"': re.compile(r'(?s)"(?:\\.|[^"\\])*"')}
_ENDS = ("&&", "||", ";;", ";", "|&", "|", "&", "\n", "(", ")")


class Trap(Value, frozen=True, kw_only=True):
    """Something that a shell reads otherwise than the eye does."""

    id: str
    line: int
    text: str


class Command(Value, frozen=True, kw_only=True):
    """One simple command: its words without quotes, the assignments before it, its first line, what ends it."""

    words: tuple[str, ...]
    assigned: dict[str, str]
    line: int
    then: str


def repaired(text: str) -> tuple[str, list[Trap]]:
    """The text as it was meant, line for line, and the traps that were in it."""
    traps: list[Trap] = []
    lines = [_characters(line, number, traps) for number, line in enumerate(text.splitlines(), 1)]
    lines = ["" if _FENCE.match(line) else line for line in lines]
    for number, line in enumerate(lines, 1):
        lines[number - 1] = _line(line, number, lines, traps)
    return "\n".join(lines) + "\n", sorted(traps, key=lambda t: t.line)


def _characters(line: str, number: int, traps: list[Trap]) -> str:
    """Quotes, spaces, dashes and letters that only look like those of a shell."""

    def swap(name: str, pattern: re.Pattern[str], by: object, line: str) -> str:
        done = pattern.sub(by, line)  # type: ignore[call-overload]
        if done != line:
            traps.append(Trap(id=name, line=number, text=_short(line)))
        return str(done)

    head, mark, comment = _before_comment(line)
    if _QUOTED.search(head):
        head = swap("smart-quotes", re.compile("|".join(_QUOTES)), lambda m: _QUOTES[m[0]], head)
    head = swap("odd-space", _SPACES, " ", head)
    head = swap("invisible-character", _NOTHING, "", head)
    head = swap("dash-for-hyphens", _DASH, "--", head)
    head = swap("full-width", _WIDE, lambda m: chr(ord(m[0]) - 0xFEE0), head)
    head = swap("html-entity", _ENTITY, lambda m: _ENTITIES[m[1]], head)
    line = head + mark + comment
    prompt = _PROMPT.match(line)
    if prompt:
        traps.append(Trap(id="prompt", line=number, text=_short(line)))
        line = " " * prompt.end() + line[prompt.end() :]
    return line


def _before_comment(line: str) -> tuple[str, str, str]:
    """A comment may say what it likes, in any script."""
    found = re.search(r"(?:^|(?<=\s))#", line)
    return (line[: found.start()], "#", line[found.end() :]) if found else (line, "", "")


def _line(line: str, number: int, lines: list[str], traps: list[Trap]) -> str:
    """One line's end put right: what follows a backslash, and a backslash that is not there."""
    after = lines[number] if number < len(lines) else ""
    goes_on = re.match(r"\s*--?[a-zA-Z]", after)
    end = re.search(r"(?<!\\)\\([ \t]*)(#.*)?$", line)
    if end and end[2]:
        return _trap(traps, "comment-after-backslash", number, line, line[: end.start()] + "\\")
    if end and end[1]:
        return _trap(traps, "space-after-backslash", number, line, line[: end.start()] + "\\")
    if end:
        further = next((n for n in range(number, len(lines)) if lines[n].strip()), None)
        if not after.strip() and further is not None and re.match(r"\s*--?[a-zA-Z]", lines[further]):
            for n in range(number, further):
                lines[n] = "\\"
            return _trap(traps, "blank-line-in-command", number + 1, line, line)
        if re.match(r"\s*#", after) and number < len(lines):
            lines[number] = "\\"
            return _trap(traps, "comment-in-command", number + 1, after, line)
        return line
    if goes_on and re.search(r"\S", line) and not re.match(r"\s*#", line) and _is_option_line(line):
        return _trap(traps, "no-backslash", number, line, line.rstrip() + " \\")
    return line


def _is_option_line(line: str) -> bool:
    """A line that is part of a command over several lines: it begins with an option, or starts a program."""
    return bool(re.match(r"\s*(--?[a-zA-Z]|\w[\w./-]*\s)", line)) and not re.search(r"(&&|\|\||[;|&{])\s*$", line)


def _trap(traps: list[Trap], name: str, number: int, shown: str, line: str) -> str:
    traps.append(Trap(id=name, line=number, text=_short(shown)))
    return line


def _short(line: str) -> str:
    found = " ".join(line.split())
    return found if len(found) <= 80 else found[:79] + "…"


# --- words ---------------------------------------------------------------------------------------------


class _Reader:
    """A shell's reading of a text: quotes, escapes, substitutions (kept as they stand), comments, operators."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.line = text, 0, 1
        self.traps: list[Trap] = []

    def commands(self) -> Iterator[Command]:
        words: list[str] = []
        first = self.line
        while self.at < len(self.text):
            if not words:
                first = self.line
            operator = next((o for o in _ENDS if self.text.startswith(o, self.at)), None)
            if operator:
                yield from _command(words, first, operator)
                words = []
                self.step(len(operator))
            elif self.text[self.at] == "#":
                self.until("\n")
            elif self.text[self.at] in " \t\r":
                self.step(1)
            elif self.text.startswith("\\\n", self.at):
                self.step(2)
            else:
                words += self.word()
        yield from _command(words, first, "")

    def step(self, count: int) -> str:
        taken = self.text[self.at : self.at + count]
        self.at += count
        self.line += taken.count("\n")
        return taken

    def until(self, end: str) -> str:
        stop = self.text.find(end, self.at)
        return self.step((len(self.text) if stop < 0 else stop) - self.at)

    def word(self) -> list[str]:
        """One word; none for a redirection and its target."""
        if re.match(r"\d*(>>|>&|<<<|<<|[<>])", self.text[self.at :]):
            self.step(len(re.match(r"\d*(>>|>&|<<<|<<|[<>])[ \t]*", self.text[self.at :])[0]))  # type: ignore[index]
            if self.at < len(self.text) and self.text[self.at] not in " \t\n;|":
                self.word()
            return []
        found = ""
        while self.at < len(self.text) and self.text[self.at] not in " \t\r\n;|&()<>":
            found += self.piece()
        if not found and self.at < len(self.text) and self.text[self.at] in "<>":
            self.step(1)
        return [found]

    def piece(self) -> str:
        char = self.text[self.at]
        if char == "'":
            self.must_close(char)
            self.step(1)
            found = self.until("'")
            self.step(1)
            return found
        if char == '"':
            return self.double()
        if char == "\\":
            taken = self.step(2)
            if re.fullmatch(r"\\[a-zA-Z]", taken):
                rest = self.text[self.at :].split("\n")[0].rstrip(" \\")
                self.traps.append(
                    Trap(
                        id="stray-backslash",
                        line=self.line,
                        text=_short(taken + rest),
                    )
                )
            return "" if taken == "\\\n" else taken[1:]
        return self.substitution() or self.step(1)

    def must_close(self, quote: str) -> None:
        """A quote without its other half takes all the rest for one word."""
        if not _HALVES[quote].match(self.text, self.at):
            line = self.text[self.at :].split("\n")[0]
            self.traps.append(Trap(id="unclosed-quote", line=self.line, text=_short(line)))

    def double(self) -> str:
        self.must_close('"')
        self.step(1)
        found = ""
        while self.at < len(self.text) and self.text[self.at] != '"':
            if self.text.startswith("\\\n", self.at):
                self.step(2)
            elif self.text[self.at] == "\\" and self.text[self.at + 1 : self.at + 2] in ('"', "\\", "$", "`"):
                found += self.step(2)[1]
            else:
                found += self.substitution() or self.step(1)
        self.step(1)
        return found

    def substitution(self) -> str:
        """$(…), ${…} or `…` as it stands; nothing when none begins here."""
        if self.text[self.at] == "`":
            return self.step(1) + self.until("`") + self.step(1)
        opening = self.text[self.at : self.at + 2]
        if opening not in ("$(", "${"):
            return ""
        close, depth, found = {"(": ")", "{": "}"}[opening[1]], 1, self.step(2)
        while self.at < len(self.text) and depth:
            char = self.text[self.at]
            if char in "'\"":
                found += self.step(1) + self.until(char) + self.step(1)
                continue
            depth += (char == opening[1]) - (char == close)
            found += self.step(1)
        return found


def _command(words: list[str], line: int, then: str) -> Iterator[Command]:
    assigned: dict[str, str] = {}
    rest = list(words)
    while rest and re.match(r"[A-Za-z_]\w*=", rest[0]):
        name, _, value = rest.pop(0).partition("=")
        assigned[name] = value
    if rest or assigned:
        yield Command(words=tuple(rest), assigned=assigned, line=line, then=then)


def commands(text: str, first: int = 1) -> tuple[list[Command], list[Trap]]:
    """The simple commands of a (repaired) text that begins on line `first`, and the traps between their words."""
    reader = _Reader(text)
    reader.line = first
    return list(reader.commands()), reader.traps
