"""The verbs as they are typed: flags in, a result on standard output, steps and errors on standard error."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Said
from support import ROOT

from weighbridge.cli import NAME, ORDER, RUN, flag_name
from weighbridge.cli import VERBS as VERBS_OF_HELP
from weighbridge.effects import appliance

LLAMA = "deepseek-r1-distill-llama-70b"
VERBS = [
    "build",
    "calibrate",
    "clean",
    "diagnose",
    "doctor",
    "engines",
    "host-setup",
    "keys",
    "lint",
    "logs",
    "models",
    "plan",
    "profiles",
    "render",
    "run",
    "smoke",
    "status",
    "stop",
]


def refused(said: Said) -> tuple[str, str]:
    """The two lines of a refusal: exit 2, nothing on standard output."""
    assert said.code == 2
    assert said.out == ""
    first, second = said.err.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  ")
    return first.removeprefix("error: "), second.strip()


# --- plan ----------------------------------------------------------------------------------------------

KEYS = {
    "profile", "model", "engine", "engine_version", "tensor_parallel", "pipeline_parallel", "data_parallel",
    "precision", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "memory", "kv_cache_tokens", "shm_gib",
    "engine_args", "because",
}  # fmt: skip
RANK_KEYS = {
    "weights_gib", "kv_gib_low", "kv_gib_high", "overhead_gib_low", "overhead_gib_high", "budget_gib",
}  # fmt: skip


def test_a_plan_as_a_table_with_reasons(inv: Any) -> None:
    said = inv("plan", "--profile", "a100-80g-x4", "--model", LLAMA)
    assert said.code == 0
    assert said.err == ""
    assert "TP 4 x PP 1 x DP 1" in said.out
    assert "\nbecause\n  vLLM 0.26.0: " in said.out


def test_a_plan_as_json_has_the_keys_that_were_promised(inv: Any) -> None:
    found = inv("plan", "--profile", "a100-80g-x4", "--model", LLAMA, "--json").data
    assert found.keys() >= KEYS
    assert found["kv_cache_tokens"].keys() == {"low", "high"}
    assert all(rank.keys() >= RANK_KEYS for rank in found["memory"]["per_rank"])
    assert len(found["memory"]["per_rank"]) == 4
    assert found["because"]
    assert "--max-model-len" in found["engine_args"]


@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        (["--context", "8K"], "max_model_len", 8192),
        (["--sequences", "32"], "max_num_seqs", 32),
        (["--batched-tokens", "1024"], "max_num_batched_tokens", 1024),
        (["--utilization", "0.8"], "utilization", 0.8),
        (["--tensor-parallel", "2"], "tensor_parallel", 2),
        (["--pipeline-parallel", "2"], "pipeline_parallel", 2),
        (["--data-parallel", "2"], "data_parallel", 2),
        (["--dtype", "float16"], "dtype", "float16"),
        (["--kv-dtype", "fp8"], "kv_dtype", "fp8"),
        (["--quantization", "fp8"], "precision", "fp8"),
        (["--engine", "vllm"], "engine", "vllm"),
        (["--engine-version", "0.26.0"], "engine_version", "0.26.0"),
        (["--eager"], "eager", True),
        (["--compiled"], "eager", False),
    ],
)
def test_every_flag_overrides(flags: list[str], key: str, value: object, inv: Any) -> None:
    found = inv("plan", "--profile", "l40s-48g-x4", "--model", "qwen3-8b", "--json", *flags)
    assert found.code == 0, found
    assert found.data[key] == value


def test_a_model_by_its_config(inv: Any) -> None:
    folder = ROOT / "tests" / "models" / "hostile"
    for path in (folder, folder / "config.json"):
        found = inv("plan", "--model", "mine", "--model-config", str(path), "--json").data
        assert (found["model"], found["max_model_len"]) == ("mine", 1024)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--profile", "a100-80-x4"], "no profile called 'a100-80-x4'", "did you mean a100-80g-x4?"),
        (["--profile", "a100-80g-x3"], "a100-80g-x3: NVIDIA A100", "try --profile a100-80g-x2"),
        (["--profile", ""], "--profile is empty", "give it a value, or leave --profile out"),
        (["--catalog", "/no/such/folder"], "--catalog /no/such/folder: no such folder", "profiles/"),
        (
            ["--catalog", "."],
            "--catalog .: nothing of a catalogue in it",
            "name one with profiles/, models/ or images/",
        ),
        (["--model", "qwen3-8"], "no model called 'qwen3-8'", "did you mean qwen3-8b?"),
        (["--engine", "vlm"], "no engine called 'vlm'", "did you mean vllm?"),
        (["--engine-version", "9"], "no version of vLLM called '9'", "invoke engines"),
        (["--model-config", "nowhere.json"], "nowhere.json: No such file", "give a config.json"),
        (["--utilization", "lots"], "--utilization 'lots' is not a number", "--utilization 0.9"),
        (["--utilization", "2"], "--utilization 2 is not a share of memory", "--utilization 0.9"),
        (["--context", "long"], "--context 'long' is not a whole number", "--context 1024"),
        (["--context", "-5"], "--context '-5' is not a whole number from 1 to", "--context 1024"),
        (["--sequences", "0"], "--sequences '0' is not a whole number from 1 to", "--sequences 16"),
        (["--sequences", "-1"], "--sequences '-1' is not a whole number from 1 to", "--sequences 16"),
        (["--batched-tokens", "x"], "--batched-tokens 'x' is not a whole number", "--batched-tokens 2048"),
        (["--tensor-parallel", "0"], "--tensor-parallel '0' is not a whole number from 1 to", "--tensor-parallel 1"),
        (["--tensor-parallel", "2"], "2 x 1 x 1 = 2 cards; cpu has 1", "--tensor-parallel 1"),
        (["--dtype", "bf16"], "--dtype 'bf16' is none of bfloat16", "--dtype"),
        (["--kv-dtype", "fp4"], "--kv-dtype 'fp4' is none of auto", "--kv-dtype takes: auto"),
        (["--quantization", "fp8"], "vLLM takes no --quantization fp8 on CPU", "try invoke plan --profile cpu"),
        (["--eager", "--compiled"], "--eager and --compiled are opposites", "give one of them"),
    ],
)
def test_what_cannot_be_is_two_lines_and_exit_2(words: list[str], message: str, hint: str, inv: Any) -> None:
    model = [] if "--model" in words else ["--model", "qwen3-0.6b"]
    found = refused(inv("plan", *model, *words))
    assert found[0].startswith(message)
    assert hint in found[1]


def test_a_refusal_as_json(inv: Any) -> None:
    said = inv("plan", "--profile", "a100-80g-x8", "--model", "deepseek-r1", "--json")
    assert said.code == 2
    assert said.data.keys() == {"error", "hint", "alternatives"}
    assert "79.29 GiB of weights" in said.data["error"]
    first = said.data["alternatives"][0]
    assert said.data["hint"] == f"try {first['command']}"
    again = inv(*shlex.split(first["command"])[1:])
    assert again.code == 0


def test_a_typo_in_a_catalogue_of_ones_own(inv: Any, tmp_path: Path) -> None:
    (tmp_path / "own" / "profiles").mkdir(parents=True)
    path = tmp_path / "own" / "profiles" / "mine.yaml"
    text = (ROOT / "profiles" / "a100-80g.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("visible_gib:", "visibel_gib:"), encoding="utf-8")
    found = refused(inv("plan", "--catalog", str(tmp_path / "own"), "--profile", "mine-x4", "--model", "qwen3-8b"))
    assert found == (f"{path}: unknown key 'visibel_gib'", "did you mean visible_gib?")


def test_a_catalogue_may_come_from_the_environment(inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles").mkdir()
    shutil.copy(ROOT / "profiles" / "a100-80g.yaml", tmp_path / "profiles" / "mine.yaml")
    text = (tmp_path / "profiles" / "mine.yaml").read_text(encoding="utf-8")
    (tmp_path / "profiles" / "mine.yaml").write_text(
        "".join(line for line in text.splitlines(keepends=True) if not line.startswith("aliases:")), encoding="utf-8"
    )
    monkeypatch.setenv("WEIGHBRIDGE_CATALOG", str(tmp_path))
    assert inv("plan", "--profile", "mine-x4", "--model", "qwen3-8b", "--json").data["profile"] == "mine-x4"


# --- run --print, --dry-run ----------------------------------------------------------------------------


def test_the_docker_line_of_four_l40s(inv: Any) -> None:
    said = inv("run", "--profile", "l40s-48g-x4", "--model", LLAMA, "--weights", "/srv/w", "--print", "docker")
    assert said.code == 0
    words = shlex.split(said.out.replace("\\\n", " "), comments=True)
    after = {w: words[i + 1] for i, w in enumerate(words[:-1])}
    assert words[:2] == ["docker", "run"]
    assert after["--gpus"] == '"device=0,1,2,3"'
    assert after["--shm-size"] == "8192m"
    assert {"memlock=-1", "stack=67108864"} <= set(words)
    assert after["--publish"] == "127.0.0.1:8000:8000"
    assert "--privileged" not in words
    plan = inv("plan", "--profile", "l40s-48g-x4", "--model", LLAMA, "--json").data
    assert (plan["tensor_parallel"], plan["pipeline_parallel"]) == (2, 2)


@pytest.mark.parametrize("name", ["docker", "podman", "compose"])
def test_every_spelling_is_printed(name: str, inv: Any) -> None:
    words = ["run", "--profile", "l40s-48g-x4", "--model", LLAMA, "--print", name]
    said = inv(*words)
    assert said.code == 0
    assert "127.0.0.1:8000:8000" in said.out
    assert said.out.rstrip("\n").endswith(inv(*words, "--json").data["text"].rstrip("\n"))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["run", "--print", "k8s"], "it takes docker, podman or compose"),
        (["run", "--print", "dockr"], "did you mean docker? it takes docker, podman or compose"),
        (["run", "--print", "docker", "--tls", "maybe"], "it takes self-signed"),
        (["run", "--print", "docker", "--console", "of"], "did you mean off? it takes open, key or off"),
        (["smoke", "--level", "medium"], "it takes quick or full"),
        (
            ["keys", "add", "--keys", "keys", "--key-name", "a", "--scope", "metric"],
            "did you mean metrics? it takes api or metrics",
        ),
    ],
)
def test_a_value_that_is_none_of_a_few_is_told_them_all(words: list[str], hint: str, inv: Any) -> None:
    assert refused(inv(*words))[1] == hint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--print", "dockr"], "no spelling called 'dockr'"),
        (["--port", "99999"], "--port '99999' is no whole number from 0 to 65535"),
        (["--port", "web"], "--port 'web' is no whole number from 0 to 65535"),
        (["--name", "a b"], "--name 'a b' cannot name a container"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_touched(words: list[str], message: str, inv: Any) -> None:
    rest = [] if "--print" in words else ["--dry-run"]
    assert refused(inv("run", "--model", "qwen3-0.6b", *rest, *words))[0].startswith(message)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--dry-run"],
        ["run", "--print", "docker"],
        ["build", "--dry-run"],
        ["render", "--dry-run"],
        ["plan"],
    ],
)
def test_a_dry_run_touches_nothing(words: list[str], inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    said = inv(*words, "--profile", "l40s-48g-x4", "--model", LLAMA)
    assert said.code == 0, said
    assert said.out
    assert list(tmp_path.iterdir()) == []


def test_render_writes_what_it_lists(inv: Any, tmp_path: Path) -> None:
    words = ["render", "--profile", "l40s-48g-x4", "--model", LLAMA, "--output", "out", "--json"]
    found = inv(*words).data
    assert found["written"]
    written = {str(p.relative_to(tmp_path)) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert written == {*found["files"], "out/.weighbridge"}
    assert os.access(tmp_path / "out" / "image" / "entrypoint.sh", os.X_OK)
    assert inv(*words, "--dry-run").data["written"] is False


def test_render_says_whose_plan_it_replaces_and_what_comes_next(inv: Any, tmp_path: Path) -> None:
    first, again, other = (inv("render", "--context", c, "--port", "9000") for c in ("1024", "1024", "512"))
    folder = Path("build") / "cpu-weighbridge-demo"
    order = "--profile cpu --model weighbridge-demo --context 1024"
    after = f"sh {folder}/run/docker.sh   # which keys and weights it needs first"
    line = f"next: invoke build {order} && {after}: invoke run {order} --port 9000 --print docker"
    assert first.err.splitlines() == again.err.splitlines() == [line]
    replaced = re.fullmatch(rf"{folder}: replaces the plan ([0-9a-f]{{12}}) that was there", other.err.splitlines()[0])
    assert replaced
    old = inv("build", "--context", "1024", "--dry-run", "--json").data["image"]
    assert old.endswith(replaced[1])
    there = (tmp_path / folder / "run" / "docker.sh").read_text(encoding="utf-8")
    assert replaced[1] not in there
    would = inv("render", "--context", "1024", "--dry-run")
    assert "would replace the plan" in would.err
    assert inv("render", "--context", "1024", "--json").data["replaced"] in there
    assert inv("render", "--context", "1024", "--output", "elsewhere", "--json").data["replaced"] is None


def test_render_leaves_a_folder_of_somebody_elses_alone(inv: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work", encoding="utf-8")
    found = refused(inv("render", "--model", "qwen3-0.6b", "--output", "thesis"))
    assert found[0] == "thesis: holds 1 file or folder that Weighbridge did not write"
    assert found[1].startswith("choose another: --output FOLDER")
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter1.tex"]


def test_a_folder_that_cannot_be_made_is_two_lines(inv: Any) -> None:
    said = inv("render", "--model", "qwen3-0.6b", "--output", "/proc/nope/x")
    assert said.code == 1
    assert said.err.startswith("error: /proc/nope/x: ")
    assert len(said.err.splitlines()) == 2


def test_a_dry_run_says_why_the_container_starts_so(inv: Any) -> None:
    said = inv("run", "--dry-run", "--profile", "l40s-48g-x4", "--model", LLAMA)
    line, reasons = said.out.split("\nbecause\n")
    assert line.startswith("would run:\ndocker run")
    assert "  pids: a bound on runaway processes" in reasons
    assert "  /tmp: " in reasons


@pytest.mark.parametrize(
    ("there", "words"), [(True, "nothing to do: weighbridge/"), (False, "would build weighbridge/")]
)
def test_a_dry_build_looks_whether_the_image_is_there(
    there: bool, words: str, inv: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance, "is_built", lambda digest: there)
    assert inv("build", "--dry-run", "--model", "qwen3-0.6b").out.startswith(words)
    assert inv("build", "--dry-run", "--model", "qwen3-0.6b", "--json").data["present"] is there


def test_weights_of_another_model_are_refused_before_anything_starts(inv: Any) -> None:
    folder = ROOT / "models" / "weighbridge-demo"
    message, hint = refused(inv("run", "--model", "qwen3-0.6b", "--weights", str(folder)))
    assert message.startswith(f"{folder}: not the weights of qwen3-0.6b: hidden_size ")
    assert hint == f"plan what is there: --model NAME --model-config {folder}"


def test_a_gpu_profile_here_is_refused_by_a_check(inv: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = refused(inv("run", "--profile", "l40s-48g-x4", "--model", LLAMA))
    assert found[0] == "l40s-48g-x4 needs 4 cards; this machine has no nvidia-smi"
    assert "invoke profiles" in found[1]


# --- listings, help, and speed -------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["profiles", "models", "engines"])
def test_listings(verb: str, inv: Any) -> None:
    assert len(inv(verb).out.splitlines()) > 3
    found = inv(verb, "--json").data
    assert found
    assert all("id" in row for row in found)


POSITIONALS = {"keys": " <action>"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_takes_no_positionals(verb: str, inv: Any) -> None:
    said = inv(verb, "--help")
    assert said.code == 0
    usage, nothing, about = said.out.splitlines()[:3]
    assert (usage, nothing) == (f"Usage: invoke {verb}{POSITIONALS.get(verb, '')} [--options]", "")
    assert about


def test_the_default_of_a_name_is_what_it_is() -> None:
    """A verb that starts one names it after the model; the others take the one that is here."""
    assert "the only one that is here" in NAME["name"][1]
    assert "from the model" in RUN["name"][1]


def test_the_order_has_help_with_units_and_defaults() -> None:
    assert [name for name, (_, words) in ORDER.items() if not words] == []
    silent = {"eager", "compiled", "model_config", "catalog"}
    assert [n for n, (_, words) in ORDER.items() if "default" not in words and n not in silent] == []


OPTIONAL = {  # without them there is nothing instead, and their words say what they add
    "action", "captured", "command", "compare", "file", "gate", "html", "junit", "key_name", "model_config", "output",
    "print", "profile", "ref", "result", "slo", "svg", "tls_cert", "tls_key", "to", "with_", "catalog", "network",
    "from_", "model", "key_file", "keys", "lock", "url", "nodes", "attach", "goal", "import_", "export",
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS_OF_HELP)
def test_every_option_says_its_default(verb: str) -> None:
    """In the words themselves, since a default that is worked out cannot be shown by the parser."""
    flags = VERBS_OF_HELP[verb].flags
    wrong = [
        n for n, (default, words) in flags.items() if isinstance(default, str) and f"default {default}" not in words
    ]
    assert wrong == []
    silent = [n for n, (default, words) in flags.items() if default is None and "default" not in words]
    assert set(silent) <= OPTIONAL


@pytest.mark.parametrize("verb", VERBS_OF_HELP)
def test_help_shows_every_option_once_and_fits_a_screen(verb: str, inv: Any) -> None:
    lines = inv(verb, "--help").out.splitlines()
    flags, words = VERBS_OF_HELP[verb]
    shown = [line.split()[0] for line in lines if re.match(r"  \S", line)]
    assert sorted(shown) == sorted([*words, *(f"--{flag_name(n)}" for n in flags if n not in words)])
    assert max(map(len, lines)) <= 100


def test_the_verbs_that_were_promised_are_there_and_quick() -> None:
    """Half a second of the processor's time, of which a busy machine takes nothing away: the best of three."""
    words = [sys.executable, "-m", "invoke", "--list"]
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert [v for v in VERBS if f"\n  {v} " not in done.stdout] == []
    assert min(seconds) < 0.5


@pytest.mark.parametrize("heavy", ["docker", "httpx", "jinja2", "msgspec"])
def test_listing_the_verbs_loads_nothing_heavy(heavy: str) -> None:
    code = f"import tasks, sys; sys.exit({heavy!r} in sys.modules and {heavy!r} or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- the installed command -----------------------------------------------------------------------------


def started(program: str, *words: str) -> Said:
    """What `python -m invoke` or `python -m weighbridge` says, in this repository."""
    command = [sys.executable, "-m", program, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


USAGE = [
    (["plan", "--modle", "x"], "no flag called '--modle'", "did you mean --model? see them all with: {} plan --help"),
    (["paln"], "no verb called 'paln'", "did you mean plan? see them all with: {} --list"),
    (["plan", "cpu"], "plan takes flags, and 'cpu' is none", "see them all with: {} plan --help"),
    (["--help", "paln"], "no verb called 'paln'", "did you mean plan?"),
    (["plan", "--model"], "--model needs a value", "see what it takes: {} plan --help"),
    (["keys"], "keys without its action", "see which there are: {} keys --help"),
    (["profiles", "engines"], "2 verbs in one line: profiles, engines", "one a line: {0} profiles && {0} engines"),
    (["--list", "plan"], "--list takes no name, and 'plan' is one", "see them all: {} --list"),
]


@pytest.mark.parametrize("program", ["invoke", "weighbridge"])
@pytest.mark.parametrize(("words", "message", "hint"), USAGE, ids=[" ".join(row[0]) for row in USAGE])
def test_what_is_no_flag_and_no_verb_is_two_lines(program: str, words: list[str], message: str, hint: str) -> None:
    found = refused(started(program, *words))
    assert found[0].startswith(message)
    assert hint.format(program) in found[1]


@pytest.mark.parametrize("program", ["invoke", "weighbridge"])
def test_what_is_no_flag_is_json_where_json_was_asked_for(program: str) -> None:
    said = started(program, "plan", "--json", "--modle", "x")
    assert said.code == 2
    assert said.data["error"] == "no flag called '--modle'"
    assert said.data["hint"].endswith(f"{program} plan --help")


@pytest.mark.parametrize("program", ["invoke", "weighbridge"])
def test_a_bare_command_says_where_to_begin(program: str, inv: Any) -> None:
    said = started(program)
    assert said.code == 0
    lines = said.out.splitlines()
    assert len(lines) == 4
    offered = re.findall(rf"{program} ([a-z]+)((?: --[a-z]+)?(?: auto)?)", said.out)
    assert [verb for verb, _ in offered] == ["plan", "run", "smoke", "stop", "fit", "plan"]
    for verb, rest in offered:
        if verb in ("plan", "fit"):
            assert inv(verb, *rest.split()).code == 0


@pytest.mark.parametrize("program", ["invoke", "weighbridge"])
def test_a_reader_that_leaves_early_sees_no_traceback(program: str) -> None:
    line = f"{shlex.quote(sys.executable)} -u -m {program} --list | head -1"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("program", ["invoke", "weighbridge"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["models"], 0), (["models", "--json"], 0), (["--list"], 0), (["plan", "--help"], 0),
        (["lint", "--command", "vllm serve x --api-key k"], 1), (["models", "--jsno"], 2),
        (["plan", "--json", "--model", "none"], 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_changes_no_exit_code(program: str, words: list[str], code: int, unbuffered: str) -> None:
    """For a reader of both streams too: what failed has failed, whoever looks."""
    for both in (False, True):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-m", program, *words], cwd=ROOT, stdout=writer,
            stderr=writer if both else subprocess.PIPE, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
        os.close(writer)
        assert done.returncode == code, (both, done.stderr)
        assert both or b"Exception ignored" not in done.stderr
        assert both or b"Traceback" not in done.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and installed into a folder of its own."""
    made, target = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = made.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], capture_output=True, check=True)
    return target


def test_the_package_works_away_from_its_repository(package: Path, tmp_path: Path) -> None:
    def call(*words: str) -> str:
        plain = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package)}
        command = [sys.executable, "-m", "weighbridge", *words]
        done = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert [v for v in VERBS if f"\n  {v} " not in call("--list")] == []
    assert json.loads(call("plan", "--json"))["model"] == "weighbridge-demo"
    assert "a100-80g" in call("profiles")
    assert f"source={package}/weighbridge/_data/models/" in call("run", "--print", "docker"), "the weights travel along"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("tests/golden/*/error.json")), ids=lambda p: p.parent.name)
def test_every_line_that_a_refusal_offers_can_be_pasted(path: Path, inv: Any) -> None:
    error = json.loads(path.read_text(encoding="utf-8"))
    lines = [a["command"] for a in error["alternatives"]]
    if "not public" in error["error"]:  # only a person can read the figure
        assert "--visible-gib" in error["hint"]
        return
    assert error["hint"] == f"try {lines[0]}"
    for line in lines:
        assert inv(*shlex.split(line)[1:]).code == 0, line


def test_an_order_file_that_is_not_there_is_offered_to_be_made_there(inv: Any) -> None:
    said = inv("run", "--order", "/nope.yaml", "--model", "qwen3-8b")
    line = "make one: invoke tune --profile auto --model qwen3-8b --goal throughput --output /nope.yaml"
    form = "or write one, which begins order: {profile: PROFILE, model: MODEL}"
    assert said.err.splitlines()[1].strip() == f"{line}; {form}"


def test_without_a_model_no_line_is_offered_that_tunes_another(inv: Any) -> None:
    hint = refused(inv("run", "--order", "missing.yaml"))[1]
    assert hint.strip().startswith("make one: invoke tune --profile auto --model MODEL --goal throughput --output ")


@pytest.mark.parametrize("there", ["h100-best.yaml", "build/tune/h100-best.yaml"])
def test_an_order_file_that_is_not_there_names_the_one_that_was_meant(there: str, inv: Any, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_text("order: {}\n", encoding="utf-8")
    hint = refused(inv("run", "--order", "h100-bets.yaml"))[1].strip()
    assert hint.startswith(f"did you mean --order {there}? else make one: invoke tune ")
    assert "did you mean" not in refused(inv("run", "--order", "other.yaml"))[1]


def test_fit_names_several_machines_in_its_text_and_keeps_its_json(inv: Any) -> None:
    words = ("fit", "--model", "qwen3-235b-a22b", "--engine", "mindie")
    assert "910b-64g-x8-n2" in inv(*words).out
    keys = {"profile", "model", "verdict", "parallel", "max_model_len", "kv_cache_tokens", "precision", "why"}
    assert {frozenset(row) for row in inv(*words, "--json").data} == {frozenset(keys)}


@pytest.mark.parametrize("words", [("plan", "--model", "qwen3-32b"), ("fit",)])
def test_a_profile_of_two_meanings_is_told(words: tuple[str, ...], inv: Any) -> None:
    said = inv(*words, "--profile", "h20-x4")
    assert said.code == 0
    assert "warning: --profile h20-x4 is taken for h20-96g-x4" in said.err
    assert "--profile h20-141g-x4" in said.err
    assert "taken for" not in inv(*words, "--profile", "h20-96g-x4").err
