"""The doctor on this machine and on others' captures: asked for real, judged, mended, checked again."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

import cases
import pytest
from support_doctor import HERE, capture, catalog, ok
from test_here import tool

from weighbridge.catalog import read_yaml
from weighbridge.doctor import Answer, Fix, Found, Question, areas
from weighbridge.effects import doctor_host, doctor_visit
from weighbridge.effects.doctor import ask, captured
from weighbridge.effects.doctor_fix import line_of, mend

MACHINES = sorted(p for p in (HERE / "machines").iterdir() if p.is_dir())


@pytest.fixture
def inv(inv: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`inv(...)` with a store that is not there yet."""
    monkeypatch.setenv("WEIGHBRIDGE_STORE", str(tmp_path / "models"))
    return inv


# --- captures of whole machines -------------------------------------------------------------------------


@pytest.mark.parametrize("folder", MACHINES, ids=lambda p: p.name)
def test_a_captured_machine_is_judged_as_a_person_would(folder: Path, inv: Any) -> None:
    """expected.yaml: the profile that it shows, and every finding."""
    expected = read_yaml(folder / "expected.yaml")
    said = inv("doctor", "--captured", str(folder), "--json")
    assert said.data["profile"] == expected["profile"]
    assert sorted(f["id"] for f in said.data["found"]) == sorted(expected["found"])
    unclear = [why for why in said.data["not_judged"].values() if "form" in why or "cannot read" in why]
    assert unclear == []
    assert said.code == int(any(f["severity"] == "error" for f in said.data["found"]))


def test_a_folder_that_is_no_capture(inv: Any, tmp_path: Path) -> None:
    said = inv("doctor", "--captured", "nowhere")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: --captured nowhere: no such folder")
    said = inv("doctor", "--captured", str(tmp_path))
    assert (said.code, "holds no NAME.out" in said.err) == (2, True)
    said = inv("doctor", "--captured", str(tmp_path), "--fix")
    assert (said.code, "another machine cannot be mended" in said.err) == (2, True)


def test_a_captured_machine_that_fails(inv: Any, tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi.out").write_text(capture("smi-mismatch-550"))
    (tmp_path / "nvidia-smi.rc").write_text("18\n")
    said = inv("doctor", "--captured", str(tmp_path), "--profile", "h100-80g-x8", "--only", "nvidia-driver-mismatch")
    assert said.code == 1
    assert "nvidia-driver-mismatch: the driver was renewed" in said.out
    assert "550.144" in said.out


# --- this machine ---------------------------------------------------------------------------------------


def test_the_doctor_on_this_machine(inv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@127.0.0.1:9")  # nothing listens there: no look-ups abroad
    said = inv("doctor", "--profile", "cpu", "--json")
    assert said.code in (0, 1)
    assert {"docker-missing", "cgroup-v1", "cpu-no-avx2", "store-low", "port-taken"} <= set(said.data["judged"])
    assert "store-missing" in [f["id"] for f in said.data["found"]]
    assert "secret" not in said.out


def test_the_list_of_findings(inv: Any) -> None:
    said = inv("doctor", "--list")
    assert said.code == 0
    assert len(said.out.splitlines()) > 45
    assert "nvidia-driver-old" in said.out


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--only", "docker-mising"], "no finding called 'docker-mising'", "did you mean docker-missing?"),
        (["--profile", "h100-80-x8"], "no profile called 'h100-80-x8'", "did you mean h100-80g-x8?"),
        (["--port", "web"], "--port 'web' is no whole number from 0 to 65535", "--port 8000"),
        (["--only", ","], "--only ',' names no finding", "invoke doctor --list"),
        (["--profile", ""], "--profile is empty", "leave --profile out"),
    ],
)
def test_what_cannot_be_asked_is_refused(words: list[str], message: str, hint: str, inv: Any) -> None:
    said = inv("doctor", *words)
    assert said.code == 2
    assert said.err.splitlines()[0] == f"error: {message}"
    assert hint in said.err


def test_a_port_that_is_taken(inv: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = inv("doctor", "--only", "port-taken", "--port", str(port), "--json")
        assert [f["says"] for f in said.data["found"]] == [f"port {port} on 127.0.0.1 is taken"]
    assert inv("doctor", "--only", "port-taken", "--port", str(port), "--json").data["found"] == []


# --- fixes ----------------------------------------------------------------------------------------------


def test_a_missing_store_is_made_and_looked_at_again(inv: Any, tmp_path: Path) -> None:
    words = ["doctor", "--only", "store-missing", "--fix"]
    dry = inv(*words, "--dry-run", "--json").data
    assert [(m["result"], m["command"]) for m in dry["mended"]] == [("not run", f"mkdir -p {tmp_path / 'models'}")]
    assert not (tmp_path / "models").exists()
    said = inv(*words, "--json")
    assert [m["result"] for m in said.data["mended"]] == ["fixed"]
    assert said.data["found"] == []
    assert "fixing store-missing: mkdir -p" in said.err
    assert (tmp_path / "models").is_dir()
    assert inv(*words, "--json").data["mended"] == []


CDI = "/etc/cdi/nvidia.yaml"
FABRIC = "LoadState=loaded\nActiveState=active\nSubState=running\n"
REGISTRY = "https://registry-1.docker.io/v2/"
# By finding: the tool, the words that it must be given, and what the machine answers afterwards.
FIXED_BY: dict[str, tuple[str, str, dict[str, Answer]]] = {
    "overcommit-strict": ("sysctl", "-w vm.overcommit_memory=0", {"vm": ok("overcommit_memory 0\n")}),
    "time-unsynchronised": ("timedatectl", "set-ntp true", {"time": ok("NTPSynchronized=yes\n")}),
    "time-wrong": ("timedatectl", "set-ntp true", {"registry": cases.reply(REGISTRY, 1)}),
    "nvidia-cdi-missing": ("nvidia-ctk", f"cdi generate --output={CDI}", {"nvidia_cdi": ok("kind: nvidia.com/gpu\n")}),
    "nvidia-persistence-off": ("nvidia-smi", "-pm 1", {"nvidia_query": cases.cards(8)}),
    "nvidia-fabric-down": ("systemctl", "enable --now nvidia-fabricmanager", {"nvidia_fabricmanager": ok(FABRIC)}),
    "nvidia-exclusive": ("nvidia-smi", "-c DEFAULT", {"nvidia_query": cases.cards(8)}),
    "nvidia-uvm-missing": ("nvidia-modprobe", "-u -c=0", {"nvidia_nodes": cases.NODES}),
    "ascend-tls-on": ("hccn_tool", "-i 1 -tls -s enable 0",
                      {"ascend_hccn": ok(capture("hccn-two-tls", ("switch[1]", "switch[0]")))}),
    "rocm-numa-balancing": ("sysctl", "-w kernel.numa_balancing=0", {"rocm_numa": ok("0\n")}),
}  # fmt: skip


def test_every_fix_there_is_is_run_by_a_test() -> None:
    fixes = {i for area in areas(catalog()).values() for i, found in area.findings.items() if found.fix}
    assert fixes == {*FIXED_BY, "store-missing"}


@pytest.mark.parametrize("finding", sorted(FIXED_BY))
@pytest.mark.parametrize("helps", [True, False], ids=["helps", "does-not"])
def test_a_fix_is_run_and_looked_at_again(
    finding: str, helps: bool, inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the tool takes exactly the right words; from then on the machine answers as a mended one."""
    (case,) = [c for c in cases.CASES if c.id == finding]
    name, words, better = FIXED_BY[finding]
    mark = tmp_path / "mended"
    act = f"touch {mark}" if helps else "true"
    script = f"""case "$*" in '{words}') {act};; *) echo "not $*" >&2; exit 2;; esac"""
    monkeypatch.setenv("PATH", f"{tool(tmp_path, name, script)}:{sudo(tmp_path)}:{os.environ['PATH']}")
    monkeypatch.setattr(
        doctor_visit, "ask_all", lambda _: {**case.answers, **better} if mark.exists() else case.answers
    )
    monkeypatch.setattr(doctor_visit, "look_around", lambda *_: case.given or {})
    line = ["doctor", "--profile", case.profile or "h100-80g-x8", "--only", finding, "--json"]
    if finding.startswith("ascend"):
        line[2] = "910b-64g-x8"
    assert [f["id"] for f in inv(*line).data["found"]] == [finding]
    assert not mark.exists(), "looking changes nothing"
    said = inv(*line, "--fix")
    assert [(m["id"], m["result"]) for m in said.data["mended"]] == [(finding, "fixed" if helps else "still there")]
    assert [f["id"] for f in said.data["found"]] == ([] if helps else [finding])


def test_a_fix_changes_what_the_next_question_shows(inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with nothing between: the tool keeps its setting in a file, and the real question reads it."""
    state = tmp_path / "state"
    state.write_text(cases.cards(2, None, persistence_mode="Disabled").text)
    change = f"sed -i 's/Disabled/Enabled/' {state}"
    script = f"case \"$*\" in '-pm 1') {change};; --query-gpu=index,name,uuid*) cat {state};; *) exit 2;; esac"
    monkeypatch.setenv("PATH", f"{tool(tmp_path, 'nvidia-smi', script)}:{sudo(tmp_path)}:{os.environ['PATH']}")
    words = ["doctor", "--profile", "h100-80g-x2", "--only", "nvidia-persistence-off", "--json"]
    assert [f["id"] for f in inv(*words).data["found"]] == ["nvidia-persistence-off"]
    assert [m["result"] for m in inv(*words, "--fix").data["mended"]] == ["fixed"]


def sudo(tmp_path: Path) -> Path:
    """A sudo that asks for nothing, for whoever runs the tests without being root."""
    return tool(tmp_path, "sudo", 'shift; exec "$@"')


def found(fix: Fix) -> Found:
    return Found(id="x-y", area="host", severity="warning", says="", means="", type=("true",), fix=fix)


def test_a_fix_that_fails_or_does_not_help_says_so() -> None:
    fix = Fix(command="echo no room >&2; exit 3")
    said: list[str] = []
    done = mend(found(fix), fix, lambda _: True, said.append)
    assert (done.result, done.detail) == ("failed", "no room")
    assert said == ["fixing x-y: echo no room >&2; exit 3"]
    fix = Fix(command="true")
    assert mend(found(fix), fix, lambda _: False, said.append).result == "still there"


def test_a_fix_for_root_goes_through_sudo_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    fix = Fix(command="nvidia-smi -pm 1 && true", root=True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert line_of(fix) == "sudo -n sh -c 'nvidia-smi -pm 1 && true'"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert line_of(fix) == "nvidia-smi -pm 1 && true"


# --- asking ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        (("echo", "hello"), "ok", "hello\n"),
        (("no-such-tool-here",), "missing", ""),
        (("sh", "-c", "no-such-tool-here"), "missing", "not found"),
        (("sh", "-c", "echo sorry >&2; exit 4"), "failed", "sorry\n"),
        (("sh", "-c", r"printf 'a\377b'"), "ok", "a\ufffdb"),
    ],
)
def test_whatever_goes_wrong_is_an_answer(command: tuple[str, ...], status: str, text: str) -> None:
    answer = ask(Question(command=command))
    assert answer.status == status
    assert text in answer.text


def test_a_tool_that_hangs_is_not_waited_for_and_leaves_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    began = time.monotonic()
    answer = ask(Question(command=("sh", "-c", f"sleep 30 & echo $! > {mark}; wait"), seconds=0.5))
    assert answer.status == "slow"
    assert time.monotonic() - began < 10
    pid = mark.read_text().strip()
    for _ in range(100):  # it was killed; a busy machine takes a moment to let it go
        if not Path(f"/proc/{pid}").exists() or _zombie(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"process {pid} is still there")


def _zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:  # gone between two looks
        return True


def test_an_address_that_answers_and_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    import http.server
    import threading

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    seen: list[dict[str, str]] = []

    class Denies(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            seen.append(dict(self.headers))
            self.send_response(401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Denies) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v2/"
        answer = json.loads(ask(Question(url=url, seconds=5)).text)
        server.shutdown()
    assert (answer["status"], abs(answer["skew_seconds"]) <= 2) == (401, True)
    assert "authorization" not in {name.lower() for name in seen[0]}
    assert ask(Question(url=url, seconds=2)).status == "failed"


def test_a_capture_keeps_how_each_question_went(tmp_path: Path) -> None:
    for name, code in (("a-b", "0"), ("c", "127"), ("d", "124"), ("e", "9")):
        (tmp_path / f"{name}.out").write_text("text")
        (tmp_path / f"{name}.rc").write_text(f"{code}\n")
    statuses = {name: answer.status for name, answer in captured(tmp_path).items()}
    assert statuses == {"a_b": "ok", "c": "missing", "d": "slow", "e": "failed"}


# --- looking around -------------------------------------------------------------------------------------


def test_a_store_with_everything_that_can_be_wrong(tmp_path: Path) -> None:
    store = tmp_path / "models"
    (store / ".parts").mkdir(parents=True)
    (store / ".parts" / "ab.part").write_text("half")
    (store / ".quarantine").mkdir()
    (store / ".quarantine" / "a.safetensors.12").write_text("wrong")
    (store / "broken").mkdir()
    (store / "broken" / "config.json").write_text("{}")
    (store / "other").mkdir()
    seen = doctor_host.look_at_store(store)
    assert (seen["exists"], seen["folder"], seen["writable"]) == (True, True, True)
    assert seen["incomplete"] == [str(store / ".parts" / "ab.part"), str(store / "broken")]
    assert seen["quarantined"] == [str(store / ".quarantine" / "a.safetensors.12")]
    assert seen["free_gib"] > 0
    assert seen["read_mb_s"] is None


def test_the_demo_model_in_a_store_is_whole(tmp_path: Path) -> None:
    folder = catalog().model_folder(catalog().model("weighbridge-demo"))
    assert folder is not None
    (tmp_path / "demo").mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / "demo" / path.name).write_bytes(path.read_bytes())
    assert doctor_host.look_at_store(tmp_path)["incomplete"] == []


def test_the_speed_of_a_disk_is_read_past_the_cache(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(bytes(65 * 2**20))
    speed = doctor_host.read_speed(file)
    assert speed is None or speed > 1  # None where the file system has no direct reading
    assert doctor_host.read_speed(tmp_path / "none") is None
    assert doctor_host.read_speed(None) is None


def test_a_store_that_is_a_file_or_read_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert doctor_host.look_at_store(tmp_path / "file")["folder"] is False
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(stat.S_IRUSR | stat.S_IXUSR)
    writable = doctor_host.look_at_store(tmp_path / "locked")["writable"]
    assert writable is (os.geteuid() == 0)


def test_the_file_system_is_that_of_the_nearest_mount() -> None:
    mounts = "/dev/sda1 / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n/dev/sdb /srv xfs rw 0 0\n"
    assert doctor_host.file_system(Path("/srv/models"), mounts) == "xfs"
    assert doctor_host.file_system(Path("/dev/shm/x"), mounts) == "tmpfs"
    assert doctor_host.file_system(Path("/home"), mounts) == "ext4"
