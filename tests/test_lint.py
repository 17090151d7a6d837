"""Does lint find what is wrong, by id, and keep quiet where nothing is?"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT, Case, cases, spec_of
from test_cli import refused

from weighbridge.catalog import Catalog
from weighbridge.effects.pasted import text_of
from weighbridge.errors import BadFile, BadValue, Refused, UnknownName
from weighbridge.lint import findings_page, lint, lint_plan, lint_text
from weighbridge.lint_rules import load_rules
from weighbridge.shell import commands, repaired
from weighbridge.types import Order

HERE = ROOT / "tests" / "lint"
CASES: dict[str, list[list[str]]] = yaml.safe_load((HERE / "cases.yaml").read_text(encoding="utf-8"))
FILL = {
    "D": "docker run --name x --user 10001:0 --read-only --cap-drop ALL --security-opt no-new-privileges"
    " --pids-limit 4096 --init",
    "I": f"vllm/vllm-openai:v0.26.0@sha256:{'a' * 64}",
    "M": "/srv/models/my-model",
}
PAIRS = [(name, *pair) for name, pairs in CASES.items() for pair in pairs]


def found(text: str, catalog: Catalog, **more: Any) -> list[str]:
    return [f.id for f in lint(text, catalog, **more).findings]


@pytest.mark.parametrize(("name", "wrong", "right"), PAIRS, ids=[f"{p[0]}-{n}" for n, p in enumerate(PAIRS)])
def test_each_finding_is_found_where_it_is_and_not_where_it_is_not(
    name: str, wrong: str, right: str, catalog: Catalog
) -> None:
    order = Order(profile="a100-80g-x4") if name == "does-not-fit" else None
    assert name in found(wrong.format(**FILL), catalog, order=order)
    assert name not in found(right.format(**FILL), catalog, order=order)


def test_every_finding_has_a_case_and_there_are_many(catalog: Catalog) -> None:
    rules = load_rules(catalog).rules
    assert rules.keys() == CASES.keys()
    assert len(rules) >= 100


SEEDS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "seeds.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SEEDS)
def test_what_blogs_print_is_found_wrong_by_id(name: str, catalog: Catalog) -> None:
    expected = SEEDS[name]
    text = "".join((HERE / "seeds" / f"{n}.txt").read_text(encoding="utf-8") for n in expected.get("texts", [name]))
    order = Order(profile=expected["profile"]) if "profile" in expected else None
    linted = lint(text, catalog, order=order)
    missing = set(expected["finds"]) - {f.id for f in linted.findings}
    assert not missing
    if "instead" in expected:
        assert (linted.instead or "").startswith(expected["instead"])
    shown = lint_text(linted)
    assert all(part in shown for part in expected.get("says", []))


def test_every_text_of_a_blog_is_looked_at() -> None:
    texts = {n for name, e in SEEDS.items() for n in e.get("texts", [name])}
    assert texts == {p.stem for p in (HERE / "seeds").glob("*.txt")}


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_what_we_render_is_clean(case: Case, catalog: Catalog) -> None:
    try:
        plan = case.plan(catalog)
        spec = spec_of(plan, catalog)
    except Refused:
        return
    linted = lint_plan(plan, spec, catalog)
    assert linted.findings == ()
    read = " ".join(linted.checked)
    assert "docker run" in read
    assert "podman run" in read
    assert not plan.engine_args or f"arguments of {plan.engine_version}" in read


def bomb(end: str) -> str:
    """Twelve lists of ten, each of the one above."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(["a0: &a0 [x, y]", *levels, end])


MERGED = "\n".join(["b0: &b0 {x: 1}", *(f"b{n}: &b{n}\n  <<: [*b{n - 1}, *b{n - 1}, *b{n - 1}]" for n in range(1, 20))])
CHAIN = "\n".join(["c0: &c0 [x]", *(f"c{n}: &c{n} [*c{n - 1}]" for n in range(1, 3000))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb("services: {a: {image: x, volumes: *a11}}"), "more than 100,000 entries once its aliases"),
        (bomb("z: *a11"), "more than 100,000 entries"),
        (f"{MERGED}\nservices: {{a: {{image: x, labels: *b19}}}}", "more than 100,000 entries"),
        ("services: &s {a: {image: x, volumes: [*s]}}", "more than 100 levels deep"),
        (f"{CHAIN}\nservices: {{a: {{image: x, volumes: *c2999}}}}", "more than 100 levels deep"),
        ("[" * 3000, "more than 100 levels deep"),
        ("services: " + "{a: " * 3000, "more than 100 levels deep"),
        ("services: {a: {image: x, user: !!int foo}}", "not what its form or tag says: invalid literal for int()"),
        ("services: {a: {image: x, user: 0x_}}", "not what its form or tag says"),
    ],
    ids=["list", "unused", "merge", "circle", "chain", "brackets", "braces", "tag", "form"],
)
def test_yaml_that_nobody_can_mean_is_two_lines(text: str, message: str, inv: Any, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    first, _ = refused(inv("lint", "--file", "compose.yaml"))
    assert message in first


@pytest.mark.parametrize(
    "more", ["labels: {built: 2024-02-31}", "volumes: 5", "command: 7", "command: {a: b}", "ports: {a: [b]}"]
)
def test_a_service_with_an_odd_value_is_looked_at_all_the_same(more: str, catalog: Catalog) -> None:
    linted = lint(f"services:\n  a:\n    image: vllm/vllm-openai:latest\n    {more}\n", catalog)
    assert ("latest-image", 3) in {(f.id, f.line) for f in linted.findings}
    assert lint("services: {a: {image: 3}}", catalog).checked == ("service a",)


def test_a_key_is_never_repeated(catalog: Catalog) -> None:
    texts = [
        "vllm serve x --api-key sk-canary",
        "vllm serve x --api-key=sk-canary",
        "docker run -e HF_TOKEN=sk-canary img:v1",
        "docker run --env=HF_TOKEN=sk-canary img:v1",
        "export VLLM_API_KEY=sk-canary",
        "vllm serve x --api-key 'sk-canary' \\ # my key\n --port 1",
        "vllm serve x --api-key “sk-canary”",
        "vllm serve x --api-ke sk-canary",
        "vllm serve x --api-key a sk-canary --api-key b sk-canary",
    ]
    for text in texts:
        linted = lint(text, catalog)
        assert linted.findings
        assert "sk-canary" not in lint_text(linted), text


def test_a_finding_tells_the_line_on_which_it_stands(catalog: Catalog) -> None:
    text = "set -e\n\ndocker run \\\n  --init \\\n  --privileged \\\n  img:v1 \\\n  vllm serve m --dtyp half\n"
    lines = {f.id: f.line for f in lint(text, catalog).findings}
    assert (lines["privileged"], lines["abbreviated-argument"]) == (5, 7)


def test_a_version_asked_for_beats_the_texts_own(catalog: Catalog) -> None:
    text = "docker run vllm/vllm-openai:v0.33.0 m --watchdog-config '{}'"
    assert "argument-not-yet" not in found(text, catalog)
    assert "argument-not-yet" in found(text, catalog, version="0.26.0")


def test_a_model_that_the_text_does_not_name_is_the_one_that_was_asked_for(catalog: Catalog) -> None:
    text, order = "vllm serve /mnt/m --host 127.0.0.1", Order(profile="a100-80g-x4", model="deepseek-r1")
    assert "does-not-fit" in found(text, catalog, order=order)
    assert "does-not-fit" not in found(text, catalog, order=Order(profile="a100-80g-x4"))


def test_our_own_line_is_one_that_can_be_typed(catalog: Catalog) -> None:
    text, order = "vllm serve /m/QwQ-32B -tp 4 --max-model-len 200000", Order(profile="l40s-48g-x4")
    linted = lint(text, catalog, order=order)
    assert linted.instead == "invoke run --profile l40s-48g-x4 --model qwq-32b"
    assert "does-not-fit" not in [f.id for f in linted.findings]
    for wrong in ("vllm serve /m/DeepSeek-R1 -tp 8", "vllm serve /m/DeepSeek-R1-Distill-Qwen-7B -tp 3"):
        refused = lint(wrong, catalog, order=order).instead
        assert refused is None or refused.startswith("invoke run --profile ")


def test_a_profile_or_a_version_that_is_none_is_refused(catalog: Catalog) -> None:
    with pytest.raises(UnknownName):
        lint("vllm serve m", catalog, order=Order(profile="a100-80gx4"))
    with pytest.raises(BadValue, match="no version"):
        lint("vllm serve m", catalog, version="newest")


def test_a_file_of_services_is_looked_at(catalog: Catalog) -> None:
    text = """
services:
  llm:
    image: vllm/vllm-openai:latest
    privileged: true
    network_mode: host
    ipc: host
    ports: ["8000:8000"]
    volumes: ["/root:/root"]
    environment: {VLLM_API_KEY: sk-canary}
    command: ["/models/x", "--dtyp", "half"]
    deploy: {resources: {reservations: {devices: [{count: all}]}}}
"""
    wanted = {"privileged", "host-network", "host-ipc", "publish-everywhere", "mounts-home", "latest-image"}
    assert wanted | {"key-in-environment", "abbreviated-argument", "all-cards"} <= set(found(text, catalog))


SERVICES = """\
# two services
services:
  db: {image: "postgres:16"}
  llm:
    image: vllm/vllm-openai:latest
    ipc: host
    ports:
      - "127.0.0.1:8001:8001"
      - "8000:8000"
    shm_size: 900g
    environment:
      A: b
      HF_TOKEN: sk-canary
    entrypoint: ["python3", "-m", "vllm.entrypoints.openai.api_server"]
    command:
      - --model=/models/x
      - --dtyp
      - half
"""


def test_a_finding_in_a_file_of_services_names_its_line_and_its_keys(catalog: Catalog) -> None:
    linted = lint(SERVICES, catalog)
    here = [f for f in linted.findings if f.line != 3]
    lines = {
        "root-user": 4, "latest-image": 5, "host-ipc": 6, "publish-everywhere": 9, "shm-huge": 10,
        "key-in-environment": 13, "abbreviated-argument": 17,
    }  # fmt: skip
    assert {f.id: f.line for f in here if f.id in lines} == lines
    typed = {f.id: (f.typed, f.better) for f in here}
    assert typed["publish-everywhere"] == ("ports: 8000:8000", 'ports: ["127.0.0.1:8000:8000"]')
    assert typed["root-user"] == ("no user:", 'user: "10001:0"')
    assert typed["shm-huge"] == ("shm_size: 900g", "shm_size: 16gb")
    assert "option-twice" not in typed
    about = [f for f in linted.findings if f.id not in ("no-digest", "abbreviated-argument", "open-without-key")]
    assert [f for f in about if re.search(r"(?<!\w)--[a-z]", f.typed + f.better)] == []
    assert linted.checked[:2] == ("service db", "service llm")


def test_line_breaks_that_a_page_joined_keep_the_lines_of_the_page(catalog: Catalog) -> None:
    joined = "services:``  llm:``    image: x:latest\n    privileged: true\n"
    lines = {f.id: f.line for f in lint(joined, catalog).findings}
    assert (lines["latest-image"], lines["privileged"]) == (1, 2)


def test_every_option_that_a_service_may_have_has_words_of_a_service(catalog: Catalog) -> None:
    """Who pasted a file of services is not told of flags."""
    rules = load_rules(catalog)
    options = set(rules.containers.services.values())
    about = [r for r in rules.rules.values() if r.when and {*r.when.option, *r.when.lacks} & options]
    assert [r.id for r in about if "--" in r.better and not r.service] == []
    assert [r.id for r in rules.rules.values() if r.service and re.search(r"(^|\s)--[a-z]", r.service)] == []


def test_a_quote_without_its_other_half_is_named_where_it_opens(catalog: Catalog) -> None:
    text = "cd /x\ndocker run -d \\\n  --name 'a b \\\n  img:v1\n"
    (finding,) = [f for f in lint(text, catalog).findings if f.id == "unclosed-quote"]
    assert finding.line == 3
    assert all("\n" not in f.typed for f in lint(text, catalog).findings)


@pytest.mark.parametrize(
    "text",
    ["", "\\", "'", '"', "$(", "`", "docker", "docker run", "docker run --", "vllm", "vllm serve", "<", "|", "&&&",
     "((", "vllm serve --", "vllm serve -", "docker run -", "docker run -e", "docker run -v : x", "bash -c", "a: [",
     "services: 3", "services: {a: }", "docker run -p : i:1", "--gpus", "sudo", "sudo -u", "X=1", "export", "\x00",
     "vllm serve --=3"],
)  # fmt: skip
def test_broken_text_is_no_crash(text: str, catalog: Catalog) -> None:
    lint(text, catalog)


@pytest.mark.parametrize(
    "text",
    [
        'echo "a b" c\\ d \'e "f"\' g"h"i',
        "A=1 B='2 3' env x \\\n  y",
        "echo a#b # c",
        "printf '%s' $'x' \"\\$HOME\" \"a\\\nb\"",
        "true && echo one; echo two | cat || echo three",
        "echo x 2>&1 >/dev/null",
    ],
)
def test_words_are_those_of_a_shell(text: str) -> None:
    """bash itself says what the words are: each command is a function that prints its arguments."""
    bash = shutil.which("bash")
    assert bash
    mine, _ = commands(text + "\n")
    for command in mine:
        if "$" in text:
            continue
        script = 'for w in "$@"; do printf "%s\\0" "$w"; done'
        shown = subprocess.run([bash, "-c", script, "x", *command.words], capture_output=True, text=True, check=True)
        assert tuple(shown.stdout.split("\0")[:-1]) == command.words
    spoken = subprocess.run([bash, "-n", "-c", text], capture_output=True, text=True, check=False)
    assert spoken.returncode == 0


SAY_WORDS = 'say() { printf "%s\\n" "$@" | od -An -c >/dev/null; printf "<%s>" "$@"; echo; }\n'


@pytest.mark.parametrize("words", ['a "b c" d\\ e', "'x y'z\"w\"", "a\\\n b", '"q\\"r" \'s\'', "a#b c # d", '"a\\\nb"'])
def test_the_words_of_a_command_are_what_bash_makes_of_them(words: str) -> None:
    done = subprocess.run(["bash", "-c", f"{SAY_WORDS}say {words}\n"], capture_output=True, text=True, check=True)
    (mine,), _ = commands(f"say {words}\n")
    assert done.stdout == "".join(f"<{w}>" for w in mine.words[1:]) + "\n"


def test_a_repaired_text_keeps_its_lines() -> None:
    text = "vllm serve m \\ # one\n\n  --port 1 \\\n\n  --host x\n  --dtype half\n"
    whole, traps = repaired(text)
    assert len(whole.splitlines()) == len(text.splitlines())
    assert [t.id for t in traps] == ["comment-after-backslash", "blank-line-in-command", "no-backslash"]


def test_the_page_of_findings_is_current(catalog: Catalog) -> None:
    page = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    assert page.endswith(findings_page(catalog)), "make docs"


# --- the verb ------------------------------------------------------------------------------------------


def invoke(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "invoke", "lint", *words]
    return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False)


def test_the_verb_reads_a_command_a_file_or_standard_input(tmp_path: Path) -> None:
    done = invoke("--command", "docker run --privileged x:v1", "--json")
    assert done.returncode == 1
    assert "privileged" in [f["id"] for f in json.loads(done.stdout)["findings"]]
    assert invoke("--command", "-", given="vllm serve m --host 127.0.0.1\n").returncode == 0
    (tmp_path / "start.sh").write_text("vllm serve m --dtyp half\n", encoding="utf-8")
    assert "abbreviated-argument" in invoke("--file", str(tmp_path / "start.sh")).stdout


@pytest.mark.parametrize("text", ["ls -la", "echo 'hello'", "a: 1", "services: {}"])
def test_a_text_in_which_nothing_starts_is_no_clean_one(text: str, inv: Any) -> None:
    message, hint = refused(inv("lint", "--command", text))
    assert message.startswith("no container is started there")
    assert hint.endswith("invoke lint --file FILE")


def test_our_own_lines_can_be_pasted_without_a_profile(inv: Any) -> None:
    """Each but the last, which is for whoever has this machine, plans wherever it is pasted."""
    said = inv("lint", "--command", "vllm serve /data/Qwen3-0.6B --host 127.0.0.1")
    *known, fit, here = [line.strip() for line in said.out.split("the same by Weighbridge:\n")[1].splitlines()]
    assert fit == "invoke fit --model qwen3-0.6b   # which machines hold it"
    assert here == "invoke run --profile auto --model qwen3-0.6b   # on this machine, if it holds it"
    assert len(known) == 3
    for line in (*known, here):
        assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0
        assert inv(*shlex.split(line, comments=True)[1:], "--dry-run").code == 0


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("docker run --gpus all vllm/vllm-openai:v1 --model Qwen/Qwen2.5-72B-Instruct --tensor-parallel-size 4", 4),
        ("docker run --gpus '\"device=0,1\"' vllm/vllm-openai:v1 --model Qwen/Qwen2.5-72B-Instruct -tp 2", 2),
        ("vllm serve Qwen/Qwen2.5-72B-Instruct -tp 2 -pp 3 --max-model-len 16000", 8),
        ("vllm serve Qwen/Qwen2.5-72B-Instruct -tp 8 -pp 4", 0),
    ],
)
def test_the_cards_of_the_text_are_those_of_our_lines(text: str, cards: int, catalog: Catalog) -> None:
    *known, _, _ = (lint(text, catalog).instead or "").splitlines()
    profiles = [catalog.profile(shlex.split(line)[3]) for line in known]
    assert {p.count for p in profiles} == ({cards} if cards else set())
    assert all(p.family.container.device_request for p in profiles) or "docker" not in text
    assert all("--context 16000" in line for line in known) == ("16000" in text or not known)


def test_the_verb_prints_our_own_line() -> None:
    done = invoke("--command", "vllm serve /data/QwQ-32B -tp 2 --host 127.0.0.1", "--profile", "a100-80g-x2")
    assert "invoke run --profile a100-80g-x2 --model qwq-32b" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    "more",
    [
        "--profile cpu",
        "--profile cpu --tls self-signed --baked",
        "--profile a100-80g-x4 --model qwen2.5-72b-instruct",
        "--profile 910b-64g-x8 --model deepseek-r1-distill-llama-70b --memory-limit 64g",
        "--profile l40s-48g-x4 --model qwq-32b --engine sglang --cdi",
    ],
)
def test_every_spelling_that_we_print_is_clean_when_it_is_pasted_back(more: str, inv: Any, tmp_path: Path) -> None:
    for spelling in ("docker", "podman", *Catalog().target_ids()):
        (tmp_path / "printed").write_text(inv("run", *more.split(), "--print", spelling).out, encoding="utf-8")
        said = inv("lint", "--file", "printed")
        assert said.out.splitlines()[1:] == ["nothing found"], spelling
    files = inv("render", *more.replace("--baked", "").split(), "--json").data["files"]
    written = [f for f in files if "/run/" in f or "/compose/" in f]
    assert len(written) == 3
    for name in written:
        assert inv("lint", "--file", name).out.splitlines()[1:] == ["nothing found"], name


def test_only_the_containers_of_ours_are_known_to_have_an_init(catalog: Catalog) -> None:
    ours = "  a: {image: 'x:1', labels: {io.weighbridge.plan: '0'}}\n"
    hits = lint(f"services:\n{ours}  b: {{image: 'y:1'}}\n", catalog).findings
    assert [f.line for f in hits if f.id == "no-init"] == [3]


def test_the_verb_looks_at_our_own_lines() -> None:
    done = invoke("--profile", "l40s-48g-x4", "--model", "deepseek-r1-distill-llama-70b")
    assert done.returncode == 0
    assert "nothing found" in done.stdout


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gbk").write_bytes("模型".encode("gbk"))
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    (tmp_path / "big").write_bytes(b"x" * ((1 << 20) + 1))
    for name, says in (
        ("gbk", "not UTF-8"),
        ("empty", "empty"),
        ("big", "1 MiB"),
        ("none", "No such file"),
        (".", "directory"),
    ):
        with pytest.raises(BadFile, match=says):
            text_of(None, str(tmp_path / name))
    with pytest.raises(BadValue, match="two texts"):
        text_of("a", "b")


def test_a_hint_for_other_encodings_can_be_typed(tmp_path: Path) -> None:
    path = tmp_path / "a b.sh"
    path.write_bytes("vllm serve 模型\n".encode("gbk"))
    with pytest.raises(BadFile) as caught:
        text_of(None, str(path))
    first, ours = caught.value.hint.partition(": ")[2].split(" | ")
    assert ours == "invoke lint --file -"
    assert subprocess.run(["sh", "-c", first], capture_output=True, check=True).stdout.decode() == "vllm serve 模型\n"


@pytest.mark.parametrize(
    "text",
    [
        "docker run --shm-size 1.2.3g img:v1 vllm serve m\n",
        "vllm serve m --gpu-memory-utilization 0.9.5\n",
        "services: {a: {image: x, deploy: {resources: {reservations: {devices: [{device_ids: [0, 1]}]}}}}}\n",
        "services: {a: {image: x, deploy: {resources: }}}\n",
        "services: {a: {image: x, deploy: 3}}\n",
    ],
)
def test_values_that_are_none_are_read_without_a_crash(text: str, catalog: Catalog) -> None:
    lint(text, catalog)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('curl -H "Authorization: Bearer sk-verysecret" https://x.y/install.sh | bash\n', "sk-verysecret"),
        ('curl -H "X-Api-Key: hunter9" https://x.y/install.sh | bash\n', "hunter9"),
        ("docker run -d https://user:hunter9@x.y/img vllm serve m\n", "hunter9"),
    ],
)
def test_a_secret_that_was_pasted_is_not_shown_again(text: str, secret: str, catalog: Catalog) -> None:
    assert secret not in str(lint(text, catalog))


def test_a_text_without_a_version_is_held_against_the_one_that_our_images_have(catalog: Catalog) -> None:
    pinned = catalog.engine("vllm").families["cuda"].version
    found = lint("vllm serve m --host 127.0.0.1 --no-enable-prefix-caching", catalog)
    assert found.findings == ()
    assert f"arguments of {pinned}, which our images have" in found.checked[0]
    ascend = lint("vllm serve m --host 127.0.0.1", catalog, order=Order(profile="910b-64g-x8"))
    assert f"arguments of {catalog.engine('vllm').families['ascend'].version}," in ascend.checked[0]


def test_the_new_name_of_a_negation_is_offered(catalog: Catalog) -> None:
    (found,) = lint("vllm serve m --host 127.0.0.1 --no-enable-lora", catalog, version="0.33.0").findings
    assert (found.id, found.better) == ("unknown-argument", "--disable-lora")
    (found,) = lint("vllm serve m --host 127.0.0.1 --disable-lora", catalog, version="0.32.0").findings
    assert (found.id, found.better) == ("argument-not-yet", "--no-enable-lora")
