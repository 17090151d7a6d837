"""The benchmark of a running appliance: the engine's own, inside its container, driven over a pipe; and its records."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from docker.errors import DockerException
from docker.models.containers import Container
from docker.utils.socket import frames_iter
from requests import RequestException

from weighbridge.bench import PERCENTILES, BenchReport, Figures, Measured, Point
from weighbridge.benchtext import brief
from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.effects.disk import write_file
from weighbridge.effects.docker import Host, engine_trouble
from weighbridge.effects.keyring import read_secret
from weighbridge.effects.target import own_key
from weighbridge.errors import BadFile, BadValue, HostError, Unsupported
from weighbridge.runspec import LABEL
from weighbridge.types import Plan, Reach
from weighbridge.verdict import Slo, check_slo
from weighbridge.words import many

Say = Callable[[str], None]
_LOG_LINES = 20


class Bench(NamedTuple):
    """What is measured where: an appliance that runs, its plan, the points, and what goodput each request must keep."""

    container: Container
    plan: Plan
    points: Sequence[Point]
    goodput: dict[str, float]
    key: str
    seed: int
    command: str
    words: Sequence[str]


Events = Callable[[Bench, Catalog, dict[str, Any], Path], Iterator[dict[str, Any]]]


def must_run(container: Container) -> None:
    """Raises HostError for an appliance that does not run."""
    if container.status != "running":
        raise HostError(f"{container.name} is {container.status}", f"invoke logs --name {container.name}")


def key_of(host: Host, container: Container, file: str | None) -> str:
    """The key of --key-file, else the owner's of this appliance."""
    return read_secret(Path(file) if file else own_key(host, container))


def streams_of(container: Container) -> int:
    """How many requests at a time the gateway takes with one key."""
    told = _environment(container).get("WEIGHBRIDGE_KEY_STREAMS")
    return int(told) if told else Reach(keys="").key_streams


def _environment(container: Container) -> dict[str, str]:
    return dict(e.split("=", 1) for e in container.attrs["Config"]["Env"] or [])


def measure(bench: Bench, catalog: Catalog, log: Path, say: Say, events: Events | None = None) -> BenchReport:
    """Every point with its repeats, in one process that `events` drives, in_container() by default.

    Raises HostError when that process fails.
    """
    jobs = [(point, n) for point in bench.points for n in range(point.repeats)]
    order = {
        "url": _url(bench.container, bench.plan),
        "model": bench.plan.model,
        "path": bench.plan.model_path,
        "key": bench.key,
        "percentiles": list(PERCENTILES),
        "goodput": bench.goodput,
        "jobs": [_job(point, bench.seed + n) for point, n in jobs],
    }
    done: dict[int, Figures] = {}
    broken: dict[int, str] = {}
    say(f"the engine's own benchmark starts in {bench.container.name}: {many(len(jobs), 'run')}")
    for event in (events or in_container)(bench, catalog, order, log):
        _take(event, jobs, done, broken, say)
    lost = [jobs[i][0].label for i in range(len(jobs)) if i not in done and i not in broken]
    if lost:
        raise HostError(f"the benchmark ended before {lost[0]}", f"less {shlex.quote(str(log))}")
    return _report(bench, jobs, done, broken)


def _job(point: Point, seed: int) -> dict[str, Any]:
    names = ("input_tokens", "output_tokens", "prefix_tokens", "prompts", "rate", "concurrency")
    return {name: getattr(point, name) for name in names} | {"seed": seed}


def _url(container: Container, plan: Plan) -> str:
    """The appliance's own port, from inside: what its clients see, without the host's network."""
    tls = "WEIGHBRIDGE_TLS_CERT" in _environment(container)
    return f"http{'s' if tls else ''}://127.0.0.1:{plan.port}"


def _take(
    event: dict[str, Any],
    jobs: Sequence[tuple[Point, int]],
    done: dict[int, Figures],
    broken: dict[int, str],
    say: Say,
) -> None:
    number = event.get("job", 0)
    label = f"  {number + 1}/{len(jobs)} {jobs[number][0].label}"
    if event["event"] == "measured":
        figures = msgspec.convert(event["figures"], Figures)
        done[number] = figures
        say(
            f"{label}: {figures.requests_per_second:.2f} requests/s, TTFT {figures.ttft_ms['p50']:.0f} ms,"
            f" TPOT {figures.tpot_ms['p50']:.1f} ms, {figures.failed} failed"
        )
    elif event["event"] == "broken":
        broken[number] = str(event["error"])
        say(f"{label}: broken: {event['error']}")


def script_of(plan: Plan, catalog: Catalog) -> list[str]:
    """The command of the engine's own benchmark. Raises Unsupported where there is none."""
    script = catalog.engine(plan.engine).bench
    if script is None:
        raise Unsupported(f"{plan.engine} has no benchmark of its own here", "see the engines: invoke engines")
    return [*script.command, catalog.engine_file(plan.engine, script.script).read_text(encoding="utf-8")]


def in_container(bench: Bench, catalog: Catalog, order: dict[str, Any], log: Path) -> Iterator[dict[str, Any]]:
    """What the script says, line by line. Whatever ends this generator ends the script too: its input closes."""
    command = script_of(bench.plan, catalog)
    client: Any = bench.container.client
    api = client.api
    with engine_trouble(f"no benchmark in {bench.container.name}", f"invoke status --name {bench.container.name}"):
        run = api.exec_create(bench.container.id, command, stdin=True, environment=bench.plan.environment)["Id"]
        stream = api.exec_start(run, socket=True)
    said: list[str] = []
    try:
        stream._sock.sendall(json.dumps(order).encode() + b"\n")
        yield from _lines(stream, said)
    except (OSError, ValueError) as e:
        raise HostError(f"the benchmark in {bench.container.name} broke off: {e}", "invoke status") from None
    finally:
        with suppress(OSError):
            stream._sock.close()
        stream.close()
        write_file(log, "".join(said))
    with engine_trouble(f"the benchmark in {bench.container.name} broke off", "invoke status"):
        code = api.exec_inspect(run)["ExitCode"]
    if code:
        end = "".join(f"\n  | {line}" for line in "".join(said).splitlines()[-_LOG_LINES:])
        raise HostError(f"the benchmark ended with exit code {code}{end}", f"less {shlex.quote(str(log))}")


def _lines(stream: Any, said: list[str]) -> Iterator[dict[str, Any]]:
    """Events of standard output; what comes on standard error is kept as the log."""
    pending = b""
    frames: Any = frames_iter(stream, tty=False)  # type: ignore[no-untyped-call]
    for kind, content in frames:
        if kind != 1:
            said.append(content.decode(errors="replace"))
            continue
        *whole, pending = (pending + content).split(b"\n")
        yield from (json.loads(line) for line in whole if line.strip())


def _report(
    bench: Bench, jobs: Sequence[tuple[Point, int]], done: dict[int, Figures], broken: dict[int, str]
) -> BenchReport:
    measured = []
    for point in bench.points:
        numbers = [i for i, (p, _) in enumerate(jobs) if p is point]
        measured.append(
            Measured(
                point=point,
                repeats=tuple(done[i] for i in numbers if i in done),
                errors=tuple(broken[i] for i in numbers if i in broken),
            )
        )
    plan, labels = bench.plan, bench.container.labels
    return BenchReport(
        name=str(bench.container.name), model=plan.model, profile=plan.profile, engine=plan.engine,
        engine_version=plan.engine_version, recipe=labels.get(f"{LABEL}.plan", ""), engine_args=plan.engine_args,
        max_model_len=plan.max_model_len, date=datetime.now(UTC).isoformat(timespec="seconds"), seed=bench.seed,
        command=bench.command, words=tuple(bench.words), measured=tuple(measured),
    )  # fmt: skip


# --- records -------------------------------------------------------------------------------------------


def record(report: BenchReport, folder: Path) -> Path:
    """The last benchmark of an image, in a file that its recipe names."""
    path = folder / "bench" / f"{report.recipe[:12] or report.name}.json"
    write_report(report, path)
    return path


def recorded(recipe: str, folder: Path) -> BenchReport | None:
    """The last benchmark of an image; None when there is none that can be read."""
    with suppress(BadFile, BadValue):
        return read_report(folder / "bench" / f"{recipe[:12]}.json")
    return None


_PUT = """
import os, sys
aside, text = "/run/weighbridge/.bench.json", sys.argv[1]
with open(aside, "w", encoding="utf-8") as stream:
    stream.write(text)
os.replace(aside, "/run/weighbridge/bench.json")
"""


def put_in_console(container: Container, report: BenchReport) -> bool:
    """A few figures into the memory of a running gateway, which shows them to those who may see the plan.

    They are gone when the container starts again, and an image from before has no place for them: False then.
    """
    with suppress(DockerException, RequestException):
        text = json.dumps(brief(report), ensure_ascii=False)
        return bool(container.exec_run(["python3", "-c", _PUT, text]).exit_code == 0)
    return False


def write_report(report: BenchReport, path: Path) -> None:
    write_file(path, json.dumps(msgspec.to_builtins(report), indent=1, ensure_ascii=False) + "\n")


def read_report(path: Path) -> BenchReport:
    """Raises BadValue without such a file, BadFile for one that is no benchmark's."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=BenchReport)
    except OSError as e:
        raise BadValue(f"{path}: {e.strerror}", "a file that invoke bench --output FILE wrote") from None
    except msgspec.MsgspecError as e:
        raise BadFile(f"{path}: no benchmark's result: {e}", "write one: invoke bench --output FILE") from None


def read_slo(path: Path, scenarios: Sequence[str]) -> Slo:
    """Raises BadValue without such a file, BadFile for one that is none, UnknownName for what it cannot name."""
    if not path.is_file():
        raise BadValue(f"{path}: no such file", "an example is in docs/benchmark.md")
    return check_slo(convert(read_yaml(path), Slo, path), scenarios)
