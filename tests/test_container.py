"""The programs that run in the container, on this machine: checks, settings, and the gateway's configuration."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import GOLDEN, ROOT

from weighbridge.runspec import _REASONS
from weighbridge.types import Reach

SHARED = ROOT / "images" / "_shared" / "gateway"
MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")


def program(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SHARED))
    for other in ("checks", "gateway"):
        monkeypatch.delitem(sys.modules, other, raising=False)
    spec = importlib.util.spec_from_file_location(f"container_{name}", SHARED / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Any:
    return program("checks", monkeypatch)


@pytest.fixture
def supervise(monkeypatch: pytest.MonkeyPatch) -> Any:
    return program("supervise", monkeypatch)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Any:
    return program("gateway", monkeypatch)


# --- checks


def locked(folder: Path, sizes: dict[str, int]) -> None:
    rows = [{"path": path, "size_bytes": size, "sha256": "0" * 64} for path, size in sizes.items()]
    (folder / "weighbridge.lock.json").write_text(json.dumps({"files": rows}))


def test_weights_are_as_large_as_their_lock_says(checks: Any, tmp_path: Path) -> None:
    assert checks.weights(tmp_path) == 0, "without a lock there is nothing to compare"
    sizes = {f"model-{i:05}.safetensors": i for i in range(30)}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b"x" * size)
    locked(tmp_path, sizes)
    assert checks.weights(tmp_path) == 30
    (tmp_path / "model-00007.safetensors").write_bytes(b"x")
    with pytest.raises(checks.Wrong, match=r"model-00007\.safetensors has 1 bytes, the lock says 7"):
        checks.weights(tmp_path)
    (tmp_path / "model-00007.safetensors").unlink()
    with pytest.raises(checks.Wrong, match="No such file"):
        checks.weights(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1}', '{"files": [{}]}', '{"files": [1]}'])
def test_a_lock_that_is_none_is_a_failed_check(text: str, checks: Any, tmp_path: Path) -> None:
    (tmp_path / "weighbridge.lock.json").write_text(text)
    done = subprocess.run(
        [sys.executable, str(SHARED / "checks.py"), "weights", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert done.stderr.startswith("weighbridge: check weights failed: ")
    assert len(done.stderr.splitlines()) == 2


def test_the_container_reads_what_the_host_writes(checks: Any, tmp_path: Path) -> None:
    from weighbridge.effects.keyring import Keyring

    ring = Keyring(tmp_path)
    made = ring.ensure()
    assert checks.read_keys(ring.file) == {
        "api": {made[0].key.sha256: "owner"}, "metrics": {made[1].key.sha256: "metrics"},
    }  # fmt: skip
    ring.file.write_text(ring.file.read_text() + "alice api wb-plain\n")
    with pytest.raises(checks.Wrong, match="line 4") as caught:
        checks.read_keys(ring.file)
    assert "wb-plain" not in str(caught.value)
    with pytest.raises(checks.Wrong, match="No such file"):
        checks.read_keys(tmp_path / "none")


# --- settings


@pytest.mark.parametrize(
    "given",
    [{"WEIGHBRIDGE_CORS": "*"}, {"WEIGHBRIDGE_CORS": 'https://a" "b'}, {"WEIGHBRIDGE_CORS": "https://a,null"},
     {"WEIGHBRIDGE_CORS": f"https://{'a' * 254}"}, {"WEIGHBRIDGE_CONSOLE": "on"},
     {"WEIGHBRIDGE_KEY_RATE": "0"}, {"WEIGHBRIDGE_KEY_STREAMS": "1;"}, {"WEIGHBRIDGE_STOP_SECONDS": "x"},
     {"WEIGHBRIDGE_KEY_STREAMS": "65536"}, {"WEIGHBRIDGE_KEY_RATE": "100001"}],
)  # fmt: skip
def test_a_setting_that_is_none_is_a_failed_check(given: dict[str, str], gateway: Any) -> None:
    with pytest.raises(Exception, match="check settings failed: WEIGHBRIDGE_"):
        gateway.Settings(given)


def test_the_container_means_by_no_setting_what_the_host_means(gateway: Any) -> None:
    """A default is not told to the container, so it must be the same one."""
    here, there = Reach(keys="/etc/weighbridge/keys/keys"), gateway.Settings({})
    assert (str(there.keys), there.console, there.cors, there.cert) == (here.keys, here.console, [], here.tls_cert)
    assert (there.rate, there.streams, there.stop_seconds) == (here.key_rate, here.key_streams, here.stop_seconds)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('[error] 1#1: request: "GET /v1/models?key=wb-x HTTP/1.1", host: "x"', 'request: "GET /v1/models?… HTTP/1.1"'),
        ('request: "GET /a/?wb-x HTTP/1.1", referrer: "https://a/b?wb-x"', 'referrer: "https://a/b?…"'),
        ("[notice] signal 1 (SIGHUP) received", "[notice] signal 1 (SIGHUP) received"),
    ],
)
def test_a_message_loses_its_queries(line: str, kept: str, gateway: Any) -> None:
    found = gateway._QUERY.sub("?…", line)
    assert kept in found
    assert "wb-x" not in found


def test_a_death_has_the_code_that_a_shell_gives_it(supervise: Any) -> None:
    assert [supervise._code(status) for status in (0, 78, -9, -15)] == [0, 78, 137, 143]


class Ends:
    """A supervisor of real processes: a gateway that takes its time, and an engine."""

    def __init__(self, supervise: Any, gateway: str, engine: str) -> None:
        settings = supervise.Settings({})
        self.found = supervise.Supervisor({"gateway": {}}, settings, [])
        self.found.gateway.process = self.started(gateway)
        self.found.engine = self.started(engine)

    @staticmethod
    def started(code: str) -> subprocess.Popen[bytes]:
        began = subprocess.Popen([sys.executable, "-c", code + "\nprint(flush=True)\ntime.sleep(5)"],
                                 stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip
        assert began.stdout is not None
        with began.stdout as ready:
            ready.readline()
        return began

    def over(self, after: float | None) -> int | None:
        """The exit code, when the end is asked for after so many seconds."""
        before = signal.signal(signal.SIGALRM, self.found._end)
        signal.setitimer(signal.ITIMER_REAL, after or 0)
        try:
            code = self.found._over()
            assert code is None or isinstance(code, int)
            return code
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            self.found.engine.kill()
            self.found.engine.wait()
            self.found.gateway.process.wait()


SLOW = "import signal, time\nsignal.signal(signal.SIGQUIT, lambda *_: None)"
SIMPLE = "import time"


@pytest.mark.parametrize(
    ("dies", "asked", "code"), [(True, 0.3, 0), (True, None, 137), (False, 0.3, 0), (False, None, 70)]
)
def test_an_end_that_is_asked_for_while_it_comes_by_itself(
    dies: bool, asked: float | None, code: int, supervise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine died, or never proved itself; a gateway that still answers somebody is not waited for any longer."""
    monkeypatch.setattr(supervise, "_LAST_ANSWERS_SECONDS", 60 if asked else 0.2)
    ends = Ends(supervise, SLOW, SIMPLE)
    if dies:
        ends.found.engine.kill()
        ends.found.engine.wait()
    else:
        ends.found.unproven.set()
    assert ends.over(asked) == code
    assert ends.found.gateway.process.returncode == -signal.SIGTERM, "told to end, before it ended by itself"


# --- nginx


def prepared(folder: Path, gateway: Any, **given: str) -> Any:
    """The gateway's files for the CPU appliance, in `folder` instead of the container's own."""
    from weighbridge.effects.keyring import Keyring

    ring = Keyring(folder / "home")
    ring.ensure()
    plan = json.loads((GOLDEN / "vllm-cpu-demo" / "image" / "plan.json").read_text())
    plan["gateway"]["socket"] = str(folder / "engine" / "engine.sock")
    settings = gateway.Settings({"WEIGHBRIDGE_KEYS": str(ring.file), **given})
    (folder / "bodies").mkdir()
    found = gateway.Gateway(plan, settings, run=folder, bodies=folder / "bodies")
    found.prepare()
    return found


def test_the_files_hold_hashes_and_no_key(gateway: Any, tmp_path: Path) -> None:
    found = prepared(tmp_path, gateway, WEIGHBRIDGE_CORS="https://a.example", WEIGHBRIDGE_KEY_RATE="7")
    written = "".join(p.read_text() for p in tmp_path.iterdir() if p.is_file())
    assert (tmp_path / "home" / "key").read_text().strip() not in written
    assert '"https://a.example" "https://a.example";' in written
    assert "rate=7r/s" in written
    assert list(opened(tmp_path).values()) == ["owner", "metrics"]
    found.settings.keys.write_text("")
    found.follow()
    assert opened(tmp_path) == {}, "the last key can be revoked too"


def opened(folder: Path) -> dict[str, str]:
    """scope/hash -> name, of all that njs would find."""
    return {f"{p.parent.name}/{p.name}": p.read_text() for s in ("api", "metrics") for p in (folder / s).iterdir()}


def key_lines(*rows: str) -> str:
    """A key file of `name scope digit`, where the digit stands for a hash."""
    return "".join(f"{name} {scope} sha256:{digit * 64}\n" for name, scope, digit in map(str.split, rows))


def test_a_key_is_a_file_that_only_the_container_reads_and_one_that_stays_is_not_touched(
    gateway: Any, tmp_path: Path
) -> None:
    for scope in ("api", "metrics"):  # a container that is started again without a tmpfs
        (tmp_path / scope).mkdir()
        (tmp_path / scope).chmod(0o755)
        (tmp_path / scope / ("f" * 64)).write_text("mallory")
    found = prepared(tmp_path, gateway)
    assert list(opened(tmp_path).values()) == ["owner", "metrics"], "what an earlier start left is gone"
    for scope in ("api", "metrics"):
        assert (tmp_path / scope).stat().st_mode & 0o777 == 0o700
        assert {p.stat().st_mode & 0o777 for p in (tmp_path / scope).iterdir()} == {0o600}
    found.settings.keys.write_text(key_lines("a api 1", "b api 2", "c metrics 3"))
    found.follow()
    inode = (tmp_path / "api" / ("1" * 64)).stat().st_ino
    found.settings.keys.write_text(key_lines("a api 1", "bee api 2", "c api 3", "d metrics 4"))
    found.follow()
    wanted = {"api/" + "1" * 64: "a", "api/" + "2" * 64: "bee", "api/" + "3" * 64: "c", "metrics/" + "4" * 64: "d"}
    assert opened(tmp_path) == wanted
    assert (tmp_path / "api" / ("1" * 64)).stat().st_ino == inode


def test_what_is_revoked_is_gone_before_anything_is_written(gateway: Any, tmp_path: Path) -> None:
    """In both scopes: a key that changes its scope is never open in the two."""
    found, steps = prepared(tmp_path, gateway), list[dict[str, str]]()
    found.settings.keys.write_text(key_lines("a api 1", "b metrics 2"))
    found.follow()
    write = found._write

    def watched(name: str, text: str) -> None:
        steps.append(opened(tmp_path))
        write(name, text)

    found._write = watched
    found.settings.keys.write_text(key_lines("a metrics 1", "b api 2"))
    found.follow()
    assert steps[0] == {}
    assert len(opened(tmp_path)) == len(steps) == 2


def pair(folder: Path) -> tuple[bytes, bytes]:
    """A certificate and its key."""
    from weighbridge.effects.tls import self_signed

    cert, key, _ = self_signed(folder, "127.0.0.1")
    return Path(cert).read_bytes(), Path(key).read_bytes()


def test_a_pair_that_is_none_stands_in_the_way_of_no_other_change(
    gateway: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """nginx refuses a whole reload over it, and a key that was revoked would go on opening."""
    one, other = pair(tmp_path / "one"), pair(tmp_path / "other")
    cert, key = tmp_path / "one" / "cert.pem", tmp_path / "one" / "key.pem"
    found = prepared(tmp_path, gateway, WEIGHBRIDGE_TLS_CERT=str(cert), WEIGHBRIDGE_TLS_KEY=str(key))
    served = tmp_path / "tls.pem"
    assert served.read_bytes() == one[0] + b"\n" + one[1]
    assert served.stat().st_mode & 0o777 == 0o600
    cert.write_bytes(other[0])
    found.settings.keys.write_text("")
    found.follow()
    assert served.read_bytes() == one[0] + b"\n" + one[1]
    assert opened(tmp_path) == {}
    said = capsys.readouterr().err
    assert "check tls failed" in said
    assert "the certificate and its key stay as they were" in said
    assert "PRIVATE" not in said
    found.follow()
    assert capsys.readouterr().err == "", "said once"
    key.write_bytes(other[1])
    found.follow()
    assert served.read_bytes() == other[0] + b"\n" + other[1]
    cert.unlink()
    found.follow()
    assert served.read_bytes() == other[0] + b"\n" + other[1]
    assert sorted(p.name for p in tmp_path.glob(".*")) == []


def test_a_pair_that_could_not_be_tried_is_not_served(
    gateway: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No process was left for `nginx -t`: the old pair is back at once, and each look tries again."""
    one, other = pair(tmp_path / "one"), pair(tmp_path / "other")
    cert, key = tmp_path / "one" / "cert.pem", tmp_path / "one" / "key.pem"
    found = prepared(tmp_path, gateway, WEIGHBRIDGE_TLS_CERT=str(cert), WEIGHBRIDGE_TLS_KEY=str(key))
    found.process = subprocess.Popen([sys.executable, "-c", "pass"])
    found.process.wait()
    found._words = lambda: [str(tmp_path / "no-such-program")]
    cert.write_bytes(other[0])
    key.write_bytes(other[1])
    for _ in range(2):
        found.follow()
        assert (tmp_path / "tls.pem").read_bytes() == one[0] + b"\n" + one[1]
        assert sorted(p.name for p in tmp_path.glob(".*")) == []
    assert capsys.readouterr().err.count("cannot be taken over yet") == 1
    found._words = lambda: ["false"]
    found.follow()
    assert (tmp_path / "tls.pem").read_bytes() == one[0] + b"\n" + one[1]
    found.seen = found.seen._replace(cert=None)
    found._words = lambda: ["true"]
    found.follow()
    assert (tmp_path / "tls.pem").read_bytes() == other[0] + b"\n" + other[1]


@pytest.mark.parametrize("wrong", ["other", "nothing", "encrypted"])
def test_a_pair_that_is_none_ends_the_start(wrong: str, gateway: Any, tmp_path: Path) -> None:
    one, key = pair(tmp_path / "one"), tmp_path / "one" / "key.pem"
    assert one[1] == key.read_bytes()
    if wrong == "encrypted":
        words = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(tmp_path / "locked")]
        subprocess.run(words, check=True, capture_output=True)
    texts = {"other": pair(tmp_path / "other")[1], "nothing": b"", "encrypted": b""}
    key.write_bytes((tmp_path / "locked").read_bytes() if wrong == "encrypted" else texts[wrong])
    files = {"WEIGHBRIDGE_TLS_CERT": str(key.with_name("cert.pem")), "WEIGHBRIDGE_TLS_KEY": str(key)}
    with pytest.raises(Exception, match=r"check tls failed: .* are no pair to serve from"):
        prepared(tmp_path, gateway, **files)
    assert not (tmp_path / "tls.pem").exists()


@contextmanager
def no_room() -> Iterator[None]:
    """This process can write no file of more than a byte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_ends_nothing_and_is_tried_again(
    gateway: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = prepared(tmp_path, gateway)
    found.settings.keys.write_text(key_lines("a api 1", "b api 2"))
    found.follow()
    one, two = "api/" + "1" * 64, "api/" + "2" * 64
    found.settings.keys.write_text(key_lines("a api 1", "longer api 3"))
    with no_room():
        found.follow()
        found.follow()
    assert capsys.readouterr().err.count("cannot be taken over yet") == 1, "said once"
    assert opened(tmp_path) == {one: "a"}, "what was revoked is gone, what stays is open"
    found.settings.keys.write_text(key_lines("a api 1", "b api 2"))
    found.follow()
    assert opened(tmp_path) == {one: "a", two: "b"}, "back to what it was, and that is not what stands there"
    assert sorted(p.name for p in tmp_path.rglob(".*")) == []


def test_a_look_that_fails_is_said_once_a_second(
    gateway: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = prepared(tmp_path, gateway)
    text = "echo '[error] 1#1: *1 js: keys: api: EACCES' >&2;"
    found._words = lambda: ["sh", "-c", text * 50 + "echo '[emerg] another' >&2"]
    capsys.readouterr()
    found.start()
    found.process.wait()
    found.relay.join(10)
    found.process.stderr.close()
    said = capsys.readouterr().err.splitlines()
    assert said.count("[error] 1#1: *1 js: keys: api: EACCES") < 5
    assert said[0] == "[error] 1#1: *1 js: keys: api: EACCES"
    assert said[-1] == "[emerg] another"


def test_a_drain_needs_no_room_and_takes_the_time_it_is_told(gateway: Any, tmp_path: Path) -> None:
    found = prepared(tmp_path, gateway, WEIGHBRIDGE_STOP_SECONDS="40")
    found.process = subprocess.Popen([sys.executable, "-c", "pass"])
    found.process.wait()
    assert found.stop_seconds() == 40
    (tmp_path / "stop-seconds").write_text("120\n")
    assert found.stop_seconds() == 120
    for wrong in ("", "x", "-1", "0"):
        (tmp_path / "stop-seconds").write_text(wrong)
        assert found.stop_seconds() == 40
    inode = (tmp_path / "draining.conf").stat().st_ino
    found.drain(0)
    assert (tmp_path / "drain.conf").read_text() == "return 503;\n"
    assert (tmp_path / "drain.conf").stat().st_ino == inode, "renamed, not written"


def nginx_test(folder: Path, case: str) -> None:
    """nginx -t on a case's configuration, with the files that were prepared in `folder`."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        if os.environ.get("CI") == "true":
            pytest.fail("nginx is missing, and CI must have it")
        pytest.skip("nginx is missing")
    text = (GOLDEN / case / "image" / "nginx.conf").read_text().replace("/run/weighbridge", str(folder))
    text = text.replace("/run/bodies", str(folder / "bodies")).replace("/opt/weighbridge", str(SHARED))
    if not MODULE.is_file():  # the image has it; here nobody holds a key
        (folder / "modules.conf").write_text("")
        text = re.sub(r"js_set (\$\w+) .*;", r'map $http_authorization \1 { default ""; }', text)
        text = "".join(f"{line}\n" for line in text.splitlines() if not line.lstrip().startswith("js_"))
    (folder / "nginx.conf").write_text(text)
    words = [nginx, "-t", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr.replace('the "user" directive', ""), done.stderr


@pytest.mark.parametrize("case", sorted(p.parent.parent.name for p in GOLDEN.glob("*/image/nginx.conf")))
def test_every_configuration_is_one_that_nginx_takes(case: str, gateway: Any, tmp_path: Path) -> None:
    prepared(tmp_path, gateway)
    nginx_test(tmp_path, case)


def test_so_is_one_with_all_that_may_be_asked(gateway: Any, tmp_path: Path) -> None:
    pair(tmp_path / "tls")
    longest = f"https://{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 9}:65535"
    prepared(
        tmp_path, gateway, WEIGHBRIDGE_CORS=f"https://a.example,{longest}", WEIGHBRIDGE_CONSOLE="open",
        WEIGHBRIDGE_TLS_CERT=str(tmp_path / "tls" / "cert.pem"), WEIGHBRIDGE_TLS_KEY=str(tmp_path / "tls" / "key.pem"),
        WEIGHBRIDGE_KEY_RATE="100000", WEIGHBRIDGE_KEY_STREAMS="4096",
    )  # fmt: skip
    nginx_test(tmp_path, "vllm-cpu-demo")


# --- what is written about it


def test_the_page_on_security_gives_the_reasons_of_the_run_itself() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert [why for why in _REASONS.values() if f"| {why} |" not in text] == []


CHECKS = {
    ".py": re.compile(r"""(?:Wrong\(\s*"|readable\("|writable\("|say\(f?"check )([a-z-]+)"""),
    ".j2": re.compile(r"(?:^ *|\|\| )refuse ([a-z-]+) ", re.MULTILINE),
}


def test_the_page_on_security_lists_every_check_by_its_id() -> None:
    files = [(p, CHECKS[p.suffix]) for p in (ROOT / "images").rglob("*") if p.suffix in CHECKS]
    named = {name for path, pattern in files for name in pattern.findall(path.read_text(encoding="utf-8"))}
    assert {"run", "tls", "mig", "first-token"} <= named, "the pattern finds those of Python and of shell"
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").partition("| check |")[2]
    listed = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(named)
