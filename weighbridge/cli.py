"""The command line's frame: flags, help, output, and the one place where errors become an exit code."""

from __future__ import annotations

import functools
import inspect
import json as json_module
import os
import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any, TextIO

from invoke.context import Context
from invoke.tasks import task

from weighbridge.errors import Ended, WeighbridgeError
from weighbridge.hints import Flags as Flags
from weighbridge.hints import Taken, carried, given_words

VERBS: dict[str, Taken] = {}  # what each verb takes, by the name that is typed; tasks.py imports them all
SAY = "\033[2m" if sys.stderr.isatty() else ""
_WIDTH = 100
_FRAME = ("name", "keys", "catalog", "model_config")  # whatever a line is about, it is about these
ORDER: Flags = {  # the order, as flags; order.read_order() reads their values
    "profile": (None, "kind of machine: <card>-x<cards>[-n<machines>], or auto; see: invoke profiles (default cpu)"),
    "model": (None, "model id or repository name; see: invoke models (default weighbridge-demo)"),
    "model_config": (None, "a config.json, or a folder with one, of a model that is not in the catalogue"),
    "engine": (None, "serving engine; see: invoke engines (default: the profile's)"),
    "engine_version": (None, "version of the engine (default: the pinned one)"),
    "utilization": (None, "share of a card's visible memory to use, 0.05 to 1 (default: the engine's)"),
    "visible_gib": (None, "memory a card shows, GiB, where it is not public (default: the profile's)"),
    "tensor_parallel": (None, "cards that share each layer (default: planned)"),
    "pipeline_parallel": (None, "stages of consecutive layers (default: planned)"),
    "data_parallel": (None, "replicas (default: planned)"),
    "dtype": (None, "bfloat16, float16 or float32 (default: the checkpoint's)"),
    "kv_dtype": (None, "type of the KV cache: auto, fp8 … (default auto)"),
    "quantization": (None, "quantize while loading: fp8 (default: none)"),
    "context": (None, "longest request, tokens; 32K is 32768, 32k is 32000 (default: the longest that fits)"),
    "sequences": (None, "most requests at a time (default: by the card's memory)"),
    "batched_tokens": (None, "most tokens a step (default: by the card's memory)"),
    "batching": (
        None,
        "whose batch limits where none are given: plan, or the engine's own for this card (default plan)",
    ),
    "eager": (False, "no compilation, no captured graphs: starts sooner, serves slower"),
    "compiled": (False, "compilation and captured graphs, where eager is the default"),
    "graph_size": (None, "largest batch with a captured graph (default: the engine's own)"),
    "scheduling": (None, "async: the next step is prepared while one computes; or sync (default: the engine's own)"),
    "without": (
        None,
        "what this host's cards lack: peer-to-peer, multicast, or both with a comma (default: the profile's)",
    ),
    "extra_args": (None, "further arguments of the engine, in one pair of quotes: '--seed 7' (default: none)"),
    "order": (None, "a file with an order, such as invoke tune writes; options that are typed win (default: none)"),
    "catalog": (None, "a folder with your own profiles/, models/ or images/ (also WEIGHBRIDGE_CATALOG)"),
}
CATALOG: Flags = {"catalog": ORDER["catalog"]}
JSON: Flags = {"json": (False, "print JSON on standard output")}
DRY: Flags = {"dry_run": (False, "say what would be done, and do nothing")}
NAME: Flags = {"name": (None, "name of the appliance (default: the only one that is here)")}
RUN: Flags = {
    "name": (None, "name of the appliance (default: from the model)"),
    "weights": (None, "folder with the model's weights (default: its own in the store, where fetch puts it)"),
    "port": ("8000", "port of the gateway; 0 takes a free one (default 8000)"),
    "listen": (None, "IP address to publish the port on, such as ::1; 0.0.0.0 is every IPv4 one (default 127.0.0.1)"),
    "keys": (None, "file of key hashes, alone in its folder (default: made on the first run; see: invoke keys --help)"),
    "tls": (None, "self-signed: make a certificate and serve https (default: plain http)"),
    "tls_cert": (None, "serve https with this certificate and its chain, a PEM file; a renewed one is taken over"),
    "tls_key": (None, "the certificate's private key, a PEM file in the same folder"),
    "cors": (None, "origins whose pages may ask: https://chat.example.org, more after a comma (default: none)"),
    "console": (None, "data of the page at /: open, key or off (default key)"),
    "cdi": (False, "ask Docker for the cards by their CDI names instead of --gpus"),
    "key_rate": (None, "requests a second with one key (default 1000)"),
    "key_streams": (None, "requests at a time with one key (default 1024)"),
    "memory_limit": (None, "most memory of the container, such as 64g for GiB (default: no bound)"),
    "stop_seconds": (None, "seconds for running requests to end when it is stopped (default 30)"),
}


def say(line: str) -> None:
    _put(f"{SAY}{typed(line)}\033[0m" if SAY else typed(line), sys.stderr)


def _put(text: str, stream: TextIO) -> None:
    """One that leaves before the end changes neither what a verb does nor its exit code."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        hang_up(stream)


def flush() -> None:
    """All that was printed, before the program ends: what fails later cannot be caught."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        hang_up()


def hang_up(stream: TextIO | None = None) -> None:
    """Say no more on a stream (standard output) that nobody reads on; what it still holds goes nowhere too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, (stream or sys.stdout).fileno())
    os.close(nowhere)


def typed(text: str) -> str:
    """A text whose command lines are spelt as this one was: `weighbridge` is the installed command."""
    if not re.search(r"weighbridge(/__main__\.py|\.exe)?$", sys.argv[0].replace("\\", "/")):
        return text
    return re.sub(rf"\binvoke (?=(?:{'|'.join(VERBS)}|--help|--list)\b)", "weighbridge ", text)


def tell(line: str) -> None:
    """A part of the result, as soon as it is known."""
    _put(typed(line), sys.stdout)


def is_watched() -> bool:
    """Whether a person reads standard error while the result goes elsewhere."""
    return sys.stderr.isatty() and not sys.stdout.isatty()


def show(result: Any, text: Callable[[], str], as_json: bool) -> None:
    """The result on standard output: JSON for programs, text for people."""
    import msgspec

    plain = msgspec.to_builtins(result)
    _put(json_module.dumps(plain, indent=2, ensure_ascii=False) if as_json else typed(text()), sys.stdout)


def verb(
    *groups: Flags, positional: tuple[str, ...] = (), own_empty: tuple[str, ...] = ()
) -> Callable[[Callable[..., int | None]], Any]:
    """A task whose flags are these; errors become two lines (or JSON) and an exit code, once, here.

    `positional` are the flags that are given as plain words; `own_empty` those whose empty value the verb refuses.
    """
    flags = {name: flag for group in groups for name, flag in group.items()}

    def wrap(body: Callable[..., int | None]) -> Any:
        called = flag_name(body.__name__)
        VERBS[called] = Taken(flags, positional)

        @functools.wraps(body)
        def call(_: Context, **values: Any) -> None:
            if any(values[n] in ("--help", "-h") for n in positional):  # the parser took it for the word
                _put(help_of(called, str(body.__doc__)), sys.stdout)
                sys.exit(0)
            sys.exit(guarded(body, values, own_empty))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        given = [inspect.Parameter(n, kind, default=default) for n, (default, _) in flags.items()]
        call.__signature__ = inspect.Signature([inspect.Parameter("c", kind), *given])  # type: ignore[attr-defined]
        help_ = {flag_name(n): words for n, (_, words) in flags.items()}
        return task(auto_shortflags=False, positional=positional, help=help_)(call)

    return wrap


def help_of(verb: str, about: str) -> str:
    """A verb's flags in groups, its own first, each with unit and default."""
    words = VERBS[verb].words
    usage = " ".join([verb, *(f"<{w}>" for w in words), "[--options]"])
    groups = [(title, [(_shown(verb, n), flags[n][1]) for n in flags]) for title, flags in _groups(verb) if flags]
    width = max(len(name) for _, rows in groups for name, _ in rows)
    lines = [typed(f"Usage: invoke {usage}"), "", *textwrap.wrap(typed(about), _WIDTH)]
    for title, rows in groups:
        lines += ["", f"{title}:"]
        for name, text in rows:
            first, *rest = textwrap.wrap(typed(text), _WIDTH - width - 5, break_on_hyphens=False)
            lines += [f"  {name.ljust(width)}   {first}", *(f"  {' ' * width}   {part}" for part in rest)]
    return "\n".join(lines)


def _groups(verb: str) -> list[tuple[str, Flags]]:
    """A verb's flags: its own, those of a container, those of a plan, and what most verbs take."""
    flags, words = VERBS[verb]
    common = {n for g in (NAME, JSON, DRY, CATALOG) for n in g}
    order = {*ORDER} - common if {*ORDER} <= {*flags} else set()
    runs = {*RUN} if {*RUN} <= {*flags} else set()
    own = {*flags} - order - runs - common

    def some(names: set[str]) -> Flags:
        return {n: flag for n, flag in flags.items() if n in names}

    return [
        ("Options", some({*words}) | some(own)),
        ("How the container runs", some(runs)),
        ("What is served, and on what", some(order)),
        ("Besides", some(common - runs)),
    ]


def _shown(verb: str, name: str) -> str:
    """A flag as it is typed, and whether it takes a value."""
    flags, words = VERBS[verb]
    switch = isinstance(flags[name][0], bool)
    return name if name in words else f"--{flag_name(name)}" + ("" if switch else " VALUE")


def flag_name(name: str) -> str:
    """A parameter as it is typed; `from_` keeps clear of Python's own word."""
    return name.strip("_").replace("_", "-")


def refuse_empty(values: dict[str, Any], but: tuple[str, ...] = ()) -> None:
    """An empty value is a variable that was not set, and never what was meant."""
    from weighbridge.errors import BadValue

    for name, value in values.items():
        if value == "" and name not in but:
            flag = "--" + flag_name(name)
            raise BadValue(f"{flag} is empty", f"give it a value, or leave {flag} out")


def guarded(body: Callable[..., int | None], values: dict[str, Any], own_empty: tuple[str, ...] = ()) -> int:
    called = flag_name(body.__name__)
    try:
        refuse_empty(values, own_empty)
        return body(**values) or 0
    except WeighbridgeError as e:
        e.hint = carried(e.hint, called, values, VERBS, {*ORDER, *RUN} - {*_FRAME}, _FRAME)
        return complain(e, bool(values.get("json")))
    except KeyboardInterrupt as e:
        say(f"interrupted\n  again: {_again(called, values)}")
        return e.exit_code if isinstance(e, Ended) else 130


def _again(verb: str, values: dict[str, Any]) -> str:
    """The line that was typed."""
    flags, words = VERBS[verb]
    plain = [str(values[w]) for w in words]
    return " ".join(["invoke", verb, *plain, *given_words(values, flags, [n for n in flags if n not in words])])


def complain(error: WeighbridgeError, as_json: bool) -> int:
    """The error in its two lines, or as JSON; and its exit code."""
    if as_json:
        _put(typed(json_module.dumps(error.to_json(), indent=2, ensure_ascii=False)), sys.stdout)
    else:
        say(f"error: {error.message}\n  {error.hint}")
    return error.exit_code
