"""What the command line says of itself: usage errors in two lines, help in groups, where to begin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from invoke.exceptions import Exit, ParseError
from invoke.main import program as of_invoke
from invoke.program import Program

from weighbridge.cli import VERBS, complain, flush, hang_up, help_of, typed
from weighbridge.errors import BadValue, Refused, nearest, unknown

BEGIN = """\
see if it fits:    invoke plan --profile auto      this machine, and the demo model that travels along
start and ask it:  invoke run                      then: invoke smoke, and invoke stop
find your own:     invoke fit --profile auto       every model that is known, on this machine
all verbs: invoke --list; what one takes: invoke plan --help"""


class Verbs(Program):
    """A flag or a verb that is none is refused as a wrong value is: two lines, the near miss, exit code 2."""

    def parse_tasks(self) -> None:
        with self.refusing():
            super().parse_tasks()
        names = [str(context.name) for context in self.tasks]
        if len(names) > 1:  # the first one ends the program, whatever was typed behind it
            lines = " && ".join(f"invoke {name}" for name in names)
            raise self.refused(BadValue(f"{len(names)} verbs in one line: {', '.join(names)}", f"one a line: {lines}"))

    def parse_cleanup(self) -> None:
        under = self.args.list.value
        if isinstance(under, str):
            raise self.refused(BadValue(f"--list takes no name, and {under!r} is one", "see them all: invoke --list"))
        with self.refusing():
            super().parse_cleanup()

    def no_tasks_given(self) -> None:
        print(typed(BEGIN))
        raise Exit(code=0)

    def print_task_help(self, name: str) -> None:
        print(help_of(name, str(self.collection[name].__doc__)))

    @contextmanager
    def refusing(self) -> Iterator[None]:
        try:
            yield
        except ParseError as e:
            raise self.refused(explained(e, list(self.collection.task_names))) from None
        except BrokenPipeError:  # the reader has seen enough
            hang_up()
            raise Exit(code=0) from None
        finally:
            flush()

    def refused(self, error: Refused) -> Exit:
        return Exit(code=complain(error, "--json" in self.argv))


def adopt() -> None:
    """Let plain `invoke` speak in this folder as the installed command does.

    Its program is made before tasks.py is read, and no setting names another class: the one that runs gets ours here.
    """
    if of_invoke.argv:
        of_invoke.__class__ = Verbs


def explained(error: ParseError, verbs: list[str]) -> Refused:
    """What the parser did not take, in our words."""
    verb = error.context.name if error.context else None
    usage = f"invoke {verb} --help" if verb else "invoke --list"
    lacks = re.match(r"Flag <Argument: ([\w-]+).*> needed value", str(error))
    if lacks:
        return BadValue(f"--{lacks[1].replace('_', '-')} needs a value", f"see what it takes: {usage}")
    if verb and "required positional arguments" in str(error):
        names = ", ".join(VERBS[verb].words)
        return BadValue(f"{verb} without its {names}", f"see which there are: {usage}")
    match = re.fullmatch(r"No idea what '(.*)' is!", str(error), re.DOTALL)
    if match is None:
        return BadValue(str(error).rstrip("!"), f"see what it takes: {usage}")
    return _unknown(match[1], verb, verbs, list(error.context.flags) if error.context else [], usage)


def _unknown(word: str, verb: str | None, verbs: list[str], flags: list[str], usage: str) -> Refused:
    if word.startswith("-"):
        return unknown("flag", word, [flag for flag in flags if flag.startswith("--")], usage)
    if verb and nearest(word, verbs) is None:
        return BadValue(f"{verb} takes flags, and {word!r} is none", f"see them all with: {usage}")
    return unknown("verb", word, verbs, "invoke --list")
