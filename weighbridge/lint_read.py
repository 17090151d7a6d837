"""A pasted text as what it does: containers that start, engines that start, and the steps around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weighbridge.flags import Flags, Given
from weighbridge.lint_options import Container, take_option
from weighbridge.lint_rules import EngineLint, Launcher, Rules
from weighbridge.shell import Command, Trap, commands, repaired

_VERBS = ("run", "create")
_PREFIXES = {"sudo": "ugCpDrtT", "nohup": "", "time": "", "exec": "", "command": "", "env": "uCS", "nice": "n"}
_SHELLS = ("sh", "bash", "dash", "zsh", "ash")


@dataclass
class Launch:
    engine: EngineLint
    launcher: Launcher
    version: str | None
    flags: Flags | None
    loose: list[str]
    given: list[Given]
    environment: dict[str, str]
    container: Container | None
    line: int
    from_image: bool = False
    parted: tuple[str, ...] = ()  # names of arguments that a space parts from their dashes

    def role(self, name: str) -> str | None:
        """The last value of the argument that has a role; "" for a switch that is given; None when it is not."""
        flag = self.flags.find(self.engine.roles.get(name, "")) if self.flags else None
        names = {flag.flag, *flag.also} if flag else {self.engine.roles.get(name)}
        found = [g for g in self.given if g.word in names or g.word.replace("_", "-") in names]
        return (found[-1].values[0] if found[-1].values else "") if found else None

    def number(self, name: str, otherwise: int = 1) -> int | None:
        """A role's whole number; None when only the shell knows it."""
        text = self.role(name)
        if text is None:
            return otherwise
        match = re.fullmatch(r"(\d{1,9})([kKmM]?)", text)
        return int(match[1]) * {"": 1, "k": 1000, "K": 1024, "m": 10**6, "M": 1024**2}[match[2]] if match else None

    @property
    def model(self) -> str | None:
        if self.launcher.model == "taken" and self.loose:
            return self.loose[0]
        return self.role("model")


@dataclass
class Step:
    words: tuple[str, ...]
    line: int
    then: str
    container: Container | None

    @property
    def text(self) -> str:
        return " ".join(self.words)


@dataclass
class Reading:
    text: str
    traps: list[Trap] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    environment: list[tuple[str, str, int]] = field(default_factory=list)


class Reader:
    """Reads one text. `version` is the engine's that was asked for; images and installs may name another.

    `pinned`: by engine, the version that a text is held against which names none.
    """

    def __init__(self, rules: Rules, version: str | None, pinned: Mapping[str, str]) -> None:
        self.rules, self.asked, self.pinned = rules, version, pinned
        self.installed: dict[str, str] = {}

    def read(self, text: str) -> Reading:
        whole, traps = repaired(text)
        found = Reading(whole, traps)
        lines, more = commands(whole)
        found.traps += more
        self.walk(lines, found, None, {})
        return found

    def walk(self, lines: list[Command], out: Reading, container: Container | None, around: dict[str, str]) -> None:
        around = dict(around)
        for command in lines:
            words, assigned = _bare(command)
            if words[:1] in (("export",), ("set",)) or not words:
                pairs = (w.partition("=") for w in words[1:] if "=" in w)
                assigned.update({name: value for name, _, value in pairs})
                around.update(assigned)
            out.environment += [(name, value, command.line) for name, value in assigned.items()]
            if words:
                self.one(words, command, out, container, {**around, **assigned})

    def one(
        self, words: tuple[str, ...], command: Command, out: Reading, container: Container | None, env: dict[str, str]
    ) -> None:
        started = self.container(words, command.line)
        if started:
            return self.contained(started, out, env)
        script = _script(words)
        if script is not None:
            return self.walk(commands(script, command.line)[0], out, container, env)
        self.note_install(words)
        if self.launched(words, command.line, out, container, env) is None:
            out.steps.append(Step(words, command.line, command.then, container))

    def note_install(self, words: tuple[str, ...]) -> None:
        for engine in self.rules.engines:
            for word in words if "install" in words else ():
                match = re.search(engine.version_in_install, word)
                if match:
                    self.installed[engine.id] = match.groups()[-1]

    # --- containers ------------------------------------------------------------------------------------

    def container(self, words: tuple[str, ...], line: int) -> Container | None:
        """The container that `words` starts, or None when they start none."""
        known = self.rules.containers
        program = words[0].rsplit("/", 1)[-1]
        at = 2 if words[1:2] == ("container",) else 1
        if program not in known.runtimes or words[at : at + 1] == () or words[at] not in _VERBS:
            return None
        found = Container(program, line)
        rest = list(words[at + 1 :])
        while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
            take_option(rest, found, known)
        if rest[:1] == ["--"]:
            rest.pop(0)
        found.image = rest.pop(0) if rest else None
        found.words = tuple(rest)
        return found

    def contained(self, container: Container, out: Reading, around: dict[str, str]) -> None:
        out.containers.append(container)
        line = container.words_line or container.line
        env = dict(w.partition("=")[::2] for w in container.values("--env"))
        env = {name: value or around.get(name, "") for name, value in env.items()}
        entry = tuple((container.values("--entrypoint") or [""])[-1].split())
        words = (*entry, *container.words)
        script = _script(words) if words else None
        if script is not None:
            return self.walk(commands(script, line)[0], out, container, env)
        if entry or not self.by_image(container, out, env):
            self.launched(words, line, out, container, env)

    def by_image(self, container: Container, out: Reading, env: dict[str, str]) -> bool:
        """True when the image's own entrypoint is an engine; the words are its arguments."""
        for engine in self.rules.engines:
            for image in engine.images:
                if re.search(image.pattern, container.image or ""):
                    words = (*image.launcher, *container.words)
                    line = container.words_line or container.line
                    self.launched(words, line, out, container, env, from_image=True)
                    return True
        return False

    # --- engines ---------------------------------------------------------------------------------------

    def launched(
        self,
        words: Sequence[str],
        line: int,
        out: Reading,
        container: Container | None,
        env: dict[str, str],
        from_image: bool = False,
    ) -> Launch | None:
        plain = [_program(words[0]), *words[1:]] if words else []
        if len(plain) > 1 and plain[0] == "python" and plain[1].endswith(".py"):
            plain[1] = plain[1].rsplit("/", 1)[-1]
        for engine in self.rules.engines:
            for launcher in engine.launchers:
                if tuple(plain[: len(launcher.words)]) == launcher.words:
                    version = self.version(engine, container)
                    flags = self.flags(engine, version)
                    rest, parted = _rejoined(plain[len(launcher.words) :], flags)
                    loose, given = flags.split(rest) if flags else (rest, [])
                    found = Launch(engine, launcher, version, flags, loose, given, env, container, line)
                    found.from_image, found.parted = from_image, parted
                    out.launches.append(found)
                    return found
        return None

    def configured(self, mapping: dict[str, Any], out: Reading) -> bool:
        """An engine's own configuration file: its keys are arguments. False when most are none of any engine."""
        names = [f"--{key.replace('_', '-')}" for key in mapping]
        for engine in self.rules.engines:
            flags = self.flags(engine, self.asked)
            known = [n for n in names if flags and flags.find(n)]
            if len(known) < 3 or len(known) * 2 < len(names):
                continue
            given = [g for name, value in zip(names, mapping.values(), strict=True) for g in _given(name, value)]
            launcher = Launcher(words=("a", "configuration", "of", engine.id))
            out.launches.append(Launch(engine, launcher, self.asked, flags, [], given, {}, None, 1))
            return True
        return False

    def flags(self, engine: EngineLint, version: str | None) -> Flags | None:
        return self.rules.flags_of(engine.id, version or self.pinned.get(engine.id))

    def version(self, engine: EngineLint, container: Container | None) -> str | None:
        match = re.search(engine.version_in_image, (container.image if container else None) or "")
        return self.asked or self.installed.get(engine.id) or (match[1] if match else None)


def _rejoined(words: list[str], flags: Flags | None) -> tuple[list[str], tuple[str, ...]]:
    """`-- model X` as the `--model X` that was meant, and the names that were parted."""
    found: list[str] = []
    parted: list[str] = []
    for word in words:
        if found and found[-1] == "--" and flags and flags.find(f"--{word}"):
            found[-1] = f"--{word}"
            parted.append(word)
        else:
            found.append(word)
    return found, tuple(parted)


def _given(name: str, value: Any) -> Iterator[Given]:
    """A key of a configuration file as the argument it stands for."""
    if value is False or value is None:
        return
    values = value if isinstance(value, list) else [] if value is True else [value]
    yield Given(word=name, values=tuple(map(str, values)))


def _program(word: str) -> str:
    return re.sub(r"^python\d(\.\d+)?$", "python", word.rsplit("/", 1)[-1])


def _bare(command: Command) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words without sudo, env and their like, and what they assign."""
    words, assigned = list(command.words), dict(command.assigned)
    while words and words[0] in _PREFIXES:
        takes = _PREFIXES[words.pop(0)]
        while words and words[0].startswith("-"):
            if words.pop(0)[1:] in takes and words:
                words.pop(0)
        while words and re.match(r"[A-Za-z_]\w*=", words[0]):
            name, _, value = words.pop(0).partition("=")
            assigned[name] = value
    return tuple(words), assigned


def _script(words: Sequence[str]) -> str | None:
    """What a shell is given to run: the word after -c."""
    if not words or _program(words[0]) not in _SHELLS:
        return None
    for at, word in enumerate(words[1:], 1):
        if re.fullmatch(r"-[a-z]*c", word) and at + 1 < len(words):
            return words[at + 1]
    return None
