"""The command line's frame: flags, help, output, and the one place where errors become an exit code."""

from __future__ import annotations

import functools
import inspect
import json as json_module
import os
import sys
from collections.abc import Callable
from typing import Any

from invoke.context import Context
from invoke.tasks import task

from weighbridge.errors import Ended, WeighbridgeError

Flags = dict[str, tuple[Any, str]]  # name: (default, help)
SAY = "\033[2m" if sys.stderr.isatty() else ""
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
    "context": (None, "longest request, tokens (default: the longest that fits)"),
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
    "order": (None, "a file with an order, such as invoke tune writes; options that are typed win (default: none)"),
    "catalog": (None, "a folder with your own profiles/, models/ or images/ (also WEIGHBRIDGE_CATALOG)"),
}
CATALOG: Flags = {"catalog": ORDER["catalog"]}
JSON: Flags = {"json": (False, "print JSON on standard output")}
DRY: Flags = {"dry_run": (False, "say what would be done, and do nothing")}
NAME: Flags = {"name": (None, "name of the appliance (default: the only one that is here)")}
RUN: Flags = {
    "name": (None, "name of the appliance (default: from the model)"),
    "weights": (None, "folder with the model's weights (default: WEIGHBRIDGE_STORE/<model>)"),
    "port": ("8000", "port of the gateway; 0 takes a free one (default 8000)"),
    "listen": (None, "IP address to publish the port on; 0.0.0.0 is all of them (default 127.0.0.1)"),
    "keys": (None, "file of key hashes, alone in its folder (default: made on the first run; see: invoke keys --help)"),
    "tls": (None, "self-signed: make a certificate and serve https"),
    "tls_cert": (None, "serve https with this certificate and its chain, PEM; a renewed file is taken over"),
    "tls_key": (None, "the certificate's private key, PEM, in the same folder"),
    "cors": (None, "origin whose pages may ask, such as https://chat.example.org (default: none)"),
    "console": (None, "data of the page at /: open, key or off (default key)"),
    "cdi": (False, "ask Docker for the cards by their CDI names instead of --gpus"),
    "key_rate": (None, "requests a second with one key (default 100)"),
    "key_streams": (None, "requests at a time with one key (default 256)"),
    "memory_limit": (None, "most memory of the container, such as 64g (default: none)"),
    "stop_seconds": (None, "time for running requests to end when it is stopped (default 30)"),
}


def say(line: str) -> None:
    print(f"{SAY}{line}\033[0m" if SAY else line, file=sys.stderr, flush=True)


def on_terminal() -> bool:
    """Whether one person reads both, so that what was said need not be shown again."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def show(result: Any, text: Callable[[], str], as_json: bool) -> None:
    """The result on standard output: JSON for programs, text for people."""
    import msgspec

    plain = msgspec.to_builtins(result)
    print(json_module.dumps(plain, indent=2, ensure_ascii=False) if as_json else text())


def verb(*groups: Flags, positional: tuple[str, ...] = ()) -> Callable[[Callable[..., int | None]], Any]:
    """A task whose flags are these; errors become two lines (or JSON) and an exit code, once, here.

    `positional` are the flags that are given as plain words.
    """
    flags = {name: flag for group in groups for name, flag in group.items()}

    def wrap(body: Callable[..., int | None]) -> Any:
        @functools.wraps(body)
        def call(_: Context, **values: Any) -> None:
            if any(values[n] in ("--help", "-h") for n in positional):  # the parser took it for the word
                print(_help(body, flags, positional))
                sys.exit(0)
            sys.exit(guarded(body, values))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        given = [inspect.Parameter(n, kind, default=default) for n, (default, _) in flags.items()]
        call.__signature__ = inspect.Signature([inspect.Parameter("c", kind), *given])  # type: ignore[attr-defined]
        help_ = {flag_name(n): words for n, (_, words) in flags.items()}
        return task(auto_shortflags=False, positional=positional, help=help_)(call)

    return wrap


def _help(body: Callable[..., int | None], flags: Flags, positional: tuple[str, ...]) -> str:
    """The help of a verb with plain words, in the form of the others."""
    options = [(n if n in positional else f"--{flag_name(n)}", words) for n, (_, words) in flags.items()]
    width = max(len(name) for name, _ in options)
    rows = [f"  {name.ljust(width)}   {words}" for name, words in options]
    usage = " ".join((body.__name__, *(f"<{n}>" for n in positional), "[--options]"))
    head = [f"Usage: inv [--core-opts] {usage}", "", "Docstring:", f"  {body.__doc__}", "", "Options:"]
    return "\n".join([*head, *rows])


def flag_name(name: str) -> str:
    """A parameter as it is typed; `from_` keeps clear of Python's own word."""
    return name.strip("_").replace("_", "-")


def refuse_empty(values: dict[str, Any]) -> None:
    """An empty value is a variable that was not set, and never what was meant."""
    from weighbridge.errors import BadValue

    for name, value in values.items():
        if value == "":
            flag = "--" + flag_name(name)
            raise BadValue(f"{flag} is empty", f"give it a value, or leave {flag} out")


def guarded(body: Callable[..., int | None], values: dict[str, Any]) -> int:
    try:
        refuse_empty(values)
        return body(**values) or 0
    except WeighbridgeError as e:
        return complain(e, bool(values.get("json")))
    except KeyboardInterrupt as e:
        say("interrupted")
        return e.exit_code if isinstance(e, Ended) else 130
    except BrokenPipeError:  # the reader has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0


def complain(error: WeighbridgeError, as_json: bool) -> int:
    """The error in its two lines, or as JSON; and its exit code."""
    if as_json:
        print(json_module.dumps(error.to_json(), indent=2, ensure_ascii=False))
    else:
        say(f"error: {error.message}\n  {error.hint}")
    return error.exit_code
