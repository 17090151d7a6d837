"""What lint finds by more than a pattern: arguments against a parser, ranks against cards, the model itself."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from weighbridge.catalog import Catalog
from weighbridge.errors import Refused, UnknownName
from weighbridge.facts import Model, Profile
from weighbridge.fit import FITS, NARROW, profiles_for
from weighbridge.flags import Problem, meaning, version_key
from weighbridge.here import AUTO
from weighbridge.lint_around import ALL_ADDRESSES, Hit, around
from weighbridge.lint_options import Container
from weighbridge.lint_read import Launch, Reading
from weighbridge.lint_rules import Rules
from weighbridge.road import make_plan
from weighbridge.types import Order
from weighbridge.words import many

_MOST_CARDS = 8  # in a machine
_MOST_PROFILES = 3  # that are named for a machine that nobody named
_IDS = {
    "choice": "bad-choice",
    "registered": "unknown-parser-name",
    "type": "bad-value-type",
    "no-value": "argument-value-missing",
    "unwanted-value": "switch-with-value",
    "twice": "argument-twice",
    "deprecated": "deprecated-argument",
    "abbreviated": "abbreviated-argument",
}


class Checked(NamedTuple):
    hits: list[Hit]
    instead: str | None


def checks(reading: Reading, rules: Rules, catalog: Catalog, order: Order | None) -> Checked:
    """Every such finding, and our own line for the same model."""
    hits = list(around(reading, rules))
    for launch in reading.launches:
        hits += [*_arguments(launch, rules), *_start(launch), *_open(launch), *_cards(launch)]
    instead = None
    for launch in reading.launches:
        model = _model(launch, catalog, order)
        if model:
            hits += _of_model(launch, model)
            more, instead = _fits(launch, model, catalog, order)
            hits += more
    return Checked(hits, instead)


# --- the engine's arguments ----------------------------------------------------------------------------


def _arguments(launch: Launch, rules: Rules) -> Iterator[Hit]:
    if launch.flags is None or launch.launcher.wrong or launch.launcher.retired:
        return
    for problem in launch.flags.problems([g for g in launch.given if g.word != "--"]):
        gone = launch.engine.gone.get(problem.given.word.replace("_", "-"))
        if not (gone and launch.version and version_key(launch.version) < version_key(gone.gone)):
            yield _problem(problem, launch, rules)


def _problem(problem: Problem, launch: Launch, rules: Rules) -> Hit:
    given, flag = problem.given, problem.flag
    typed = " ".join((given.word, *given.values))
    version = launch.flags.version if launch.flags else ""
    name = _IDS.get(problem.fault, "unknown-argument")
    better, why = problem.near or "", ""
    if problem.fault in ("unknown", "abbreviated"):
        word = given.word.replace("_", "-")
        gone = launch.engine.gone.get(word)
        if gone:
            return _gone(launch, word, typed)
        later = [f.version for f in rules.flags[launch.engine.id] if f.find(word)]
        if later and version_key(later[0]) > version_key(version):
            better = better if better and meaning(better) == meaning(word) else ""
            return Hit("argument-not-yet", launch.line, typed, better, f"{version} has it not, {later[0]} has")
        before = [f.version for f in rules.flags[launch.engine.id] if f.find(word)]
        last = f", which {before[-1]} had" if before else ""
        why = f"no argument of {version}{last}" if problem.fault == "unknown" else f"read as {problem.near}"
    elif problem.fault == "choice" and flag:
        better = f"{flag.flag} {problem.near}" if problem.near else ""
        why = f"the choices are {', '.join(flag.choices)}"
    elif problem.fault == "registered" and flag:
        better = f"{flag.flag} {problem.near}" if problem.near else ""
    elif flag and flag.help and problem.fault == "deprecated":
        better = flag.help
    return Hit(name, launch.line, typed, better, why)


def _gone(launch: Launch, word: str, typed: str) -> Hit:
    """An argument of other days; a text for a version that still had it is right."""
    gone = launch.engine.gone[word]
    if gone.gone == "never":
        return Hit("unknown-argument", launch.line, typed, gone.instead or "", "it never existed")
    return Hit("removed-argument", launch.line, typed, gone.instead or "", f"last in {gone.last}, gone in {gone.gone}")


def _start(launch: Launch) -> Iterator[Hit]:
    line, start = launch.line, " ".join(launch.launcher.words)
    if launch.launcher.wrong:
        yield Hit("no-such-subcommand", line, start, launch.launcher.wrong)
        return
    if launch.launcher.retired:
        yield Hit("retired-program", line, start, launch.launcher.retired)
        return
    yield from (Hit("lonely-dashes", line, f"-- {name}", f"--{name}") for name in launch.parted)
    share = launch.role("utilization")
    if share and re.fullmatch(r"\d+(\.\d*)?|\.\d+", share) and not 0 < float(share) <= 1:
        yield Hit("utilization-impossible", line, share)
    if launch.from_image and launch.loose[: len(launch.launcher.words)] == list(launch.launcher.words):
        yield Hit("command-twice", line, " ".join(launch.loose[:3]))
    else:
        yield from _model_words(launch)


def _model_words(launch: Launch) -> Iterator[Hit]:
    """Words that belong to no argument: the model, where it is taken, and strays."""
    line, loose = launch.line, list(launch.loose)
    if launch.launcher.model == "taken" and loose:
        if launch.role("model") is not None:
            yield Hit("model-twice", line, f"{loose[0]} and {launch.role('model')}")
        loose.pop(0)
    elif launch.launcher.model == "ignored" and loose and launch.role("model") is None:
        yield Hit("positional-model-ignored", line, loose[0], f"{launch.engine.roles['model']} {loose.pop(0)}")
    elif launch.role("model") is None and not any(g.word in ("--config", "--") for g in launch.given):
        yield Hit("no-model", line, " ".join(launch.launcher.words))
    yield from (Hit("stray-word", line, word) for word in loose)


def _open(launch: Launch) -> Iterator[Hit]:
    """Who reaches the engine's port, and whether a key stands before it."""
    if launch.launcher.wrong or launch.launcher.retired:
        return
    flag = launch.flags.find(launch.engine.roles["host"]) if launch.flags else None
    host = launch.role("host") or (flag.default if flag else None) or ""
    box = launch.container
    reached = box is None or "host" in box.values("--network")
    if box is not None and not reached:
        host = "" if any(_everywhere(v) for v in box.values("--publish")) else "127.0.0.1"
    if host not in ALL_ADDRESSES:
        return
    keyed = launch.role("key") is not None or any(launch.environment.get(k) for k in launch.engine.keys)
    shown = f"{launch.engine.roles['host']} {launch.role('host') or '(default)'}"
    yield Hit("listens-everywhere" if keyed else "open-without-key", launch.line, shown)


def _everywhere(publish: str) -> bool:
    return publish.rpartition(":")[0].rpartition(":")[0] in ALL_ADDRESSES


def _cards(launch: Launch) -> Iterator[Hit]:
    """Ranks against cards, and what ranks need of a container."""
    line, box = launch.line, launch.container
    tensor = launch.role("tensor_parallel") or "1"
    if "$(" in tensor or "`" in tensor:
        yield Hit("cards-by-count", line, tensor)
    sizes = [launch.number(r) for r in ("tensor_parallel", "pipeline_parallel", "data_parallel")]
    several = tensor != "1" or any(s is None or s > 1 for s in sizes)
    if box and several and not ({"--shm-size", "--ipc"} & {o.name for o in box.options} or _shm_mounted(box)):
        yield Hit("no-shared-memory", line, f"{launch.engine.roles['tensor_parallel']} {tensor}")
    if any(s is None for s in sizes):
        return
    ranks = 1
    for size in sizes:
        ranks *= size or 1
    between = any(g.word in launch.engine.machines for g in launch.given)
    if (sizes[0] or 1) > _MOST_CARDS and not between:
        yield Hit("tensor-parallel-over-machines", line, f"{launch.engine.roles['tensor_parallel']} {tensor}")
    cards = _given_cards(box) if box else None
    if cards and not between:
        if ranks > cards:
            yield Hit("cards-too-few", line, f"{many(ranks, 'rank')}, {many(cards, 'card')}")
        elif ranks < cards:
            yield Hit("cards-unused", line, f"{many(ranks, 'rank')}, {many(cards, 'card')}")


def _shm_mounted(box: Container) -> bool:
    return any(v.startswith("/dev/shm") for v in box.values("--tmpfs")) or any(
        t == "/dev/shm" for _, t, _, _ in box.mounts()
    )


def _given_cards(box: Container) -> int | None:
    """How many cards a container gets; None when it is not said."""
    for value in box.values("--gpus"):
        text = value.strip("\"'")
        if text.isdigit():
            return int(text)
        match = re.match(r"(?:\"?device=)([\w,:-]+)", text)
        return len(match[1].split(",")) if match else None
    named = {v for v in box.values("--device") if re.search(r"/gpu=\d+$|^/dev/[a-z]+\d+(:|$)", v)}
    return len(named) or None


# --- the model -----------------------------------------------------------------------------------------


def _model(launch: Launch, catalog: Catalog, order: Order | None) -> Model | None:
    """The model that is served, when the catalogue knows it by the name or the end of the path."""
    named = launch.model or ""
    parts = [p for p in named.split("/") if p]
    for name in (named, *reversed(parts[-1:]), "/".join(parts[-2:])):
        try:
            return catalog.model(name) if name and "$" not in name else None
        except UnknownName:
            continue
    return catalog.model(order.model) if order and order.model != Order().model else None


def _of_model(launch: Launch, model: Model) -> Iterator[Hit]:
    shape = model.shape
    context = launch.number("context", 0)
    if context and context > shape.max_context_tokens:
        flag = launch.engine.roles["context"]
        yield Hit("context-beyond-model", launch.line, f"{flag} {context}", f"{flag} {shape.max_context_tokens}")
    ranks = launch.number("tensor_parallel")
    if ranks and shape.heads % ranks:
        fits = [n for n in (8, 4, 2) if shape.heads % n == 0 and n < ranks]
        better = f"{launch.engine.roles['tensor_parallel']} {fits[0] if fits else 1}"
        yield Hit(
            "heads-do-not-divide",
            launch.line,
            many(ranks, "rank"),
            better,
            f"{model.title} has {many(shape.heads, 'head')}",
        )
    quantized = launch.role("quantization")
    if quantized and shape.quantization and quantized.split("_")[0] != shape.quantization.method:
        why = f"{model.title} is {shape.quantization.method}"
        yield Hit("quantization-differs", launch.line, f"quantization {quantized}", why=why)
    dtype = {"half": "float16", "float": "float32"}.get(launch.role("dtype") or "", launch.role("dtype"))
    if shape.quantization and dtype in ("float16", "float32") and dtype != shape.dtype:
        yield Hit(
            "dtype-of-quantized-model",
            launch.line,
            f"dtype {launch.role('dtype')}",
            why=f"it is {shape.quantization.method}",
        )


def _fits(launch: Launch, model: Model, catalog: Catalog, order: Order | None) -> tuple[list[Hit], str | None]:
    """Does it fit the machine that was named, as it was typed; and our own line for the same."""
    numbers = {
        "context": launch.number("context", 0),
        "tensor_parallel": launch.number("tensor_parallel", 0),
        "pipeline_parallel": launch.number("pipeline_parallel", 0),
    }
    asked = {name: value for name, value in numbers.items() if value}
    if asked.get("context", 0) > model.shape.max_context_tokens:
        del asked["context"]  # a finding of its own
    context = asked.get("context")
    if order is None:
        return [], "\n".join(_lines(launch, model, catalog, context))
    try:
        wanted = msgspec.structs.replace(order, model=model.id, **asked)
        make_plan(wanted, catalog)
    except Refused as e:
        lines = [str(a["command"]) for a in e.alternatives]
        near = lines[0] if lines else None
        one_machine = [said for said in lines if not re.search(r"-n\d+\b", said)]  # several are planned, not started
        instead = one_machine[0].replace("invoke plan", "invoke run") if one_machine else None
        return [Hit("does-not-fit", launch.line, e.message, near or e.hint)], instead
    return [], _line(order.profile, model, context)


def _line(profile: str, model: Model, context: int | None) -> str:
    more = ["--context", str(context)] if context else []
    return shlex.join(["invoke", "run", "--profile", profile, "--model", model.id, *more])


def _lines(launch: Launch, model: Model, catalog: Catalog, context: int | None) -> Iterator[str]:
    """For a machine that nobody named: kinds of as many cards that hold the model, and last the one that is here."""
    for profile in _holding(launch, model, catalog, context)[:_MOST_PROFILES]:
        yield f"{_line(profile.id, model, context)}   # on {profile.cards} x {profile.card.title}"
    yield f"invoke fit --model {model.id}   # which machines hold it"
    yield f"{_line(AUTO, model, context)}   # on this machine, if it holds it"


def _holding(launch: Launch, model: Model, catalog: Catalog, context: int | None) -> list[Profile]:
    """Machines that hold a model with as many cards as the text gives it, else with the next more; smallest first."""
    box = launch.container
    ranks = [launch.number(r) or 1 for r in ("tensor_parallel", "pipeline_parallel", "data_parallel")]
    cards = (_given_cards(box) if box else None) or math.prod(ranks)
    with suppress(Refused):
        weighed = profiles_for(Order(model=model.id, context=context), catalog)
        for verdict in (FITS, NARROW):
            found = [p for p in (catalog.profile(f.profile) for f in weighed if f.verdict == verdict) if _alike(p, box)]
            least = min((p.count for p in found if p.count >= cards), default=0)
            if least:
                return sorted((p for p in found if p.count == least), key=lambda p: (p.card.memory_gib, p.id))
    return []


def _alike(profile: Profile, box: Container | None) -> bool:
    """Has it cards, and are they asked for in the text's way?"""
    by_request = box is not None and bool(box.values("--gpus"))
    return profile.family.probe is not None and bool(profile.family.container.device_request or not by_request)
