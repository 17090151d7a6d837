"""Keys, addresses and certificates: what is refused, what is written, and what never stands anywhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import msgspec
import pytest
from test_cli import refused

from weighbridge.catalog import Catalog
from weighbridge.effects.keyring import Keyring, Made, read_secret
from weighbridge.effects.tls import by_hand, check_pair, self_signed
from weighbridge.errors import BadFile, BadValue, HostError, Refused, UnknownName
from weighbridge.keys import digest, keys_text, read_keys, with_key, without_key
from weighbridge.reach import asked_at, bracketed, is_open, read_reach
from weighbridge.report import curl_line
from weighbridge.types import Reach, SmokeReport

# --- the file of hashes


def test_a_file_is_read_as_it_was_written() -> None:
    keys = with_key(with_key([], "alice", "api", "wb-1"), "prometheus", "metrics", "wb-2")
    text = keys_text(keys)
    assert read_keys(text, "keys") == keys
    assert "wb-1" not in text
    assert digest("wb-1") in text
    assert [k.name for k in without_key(keys, "alice")] == ["prometheus"]


@pytest.mark.parametrize(
    "line",
    ["alice wb-secret", "alice api wb-secret", "wb-secret", "alice api sha256:ABC", f"alice all sha256:{'a' * 64}",
     f"a b api sha256:{'a' * 64}", f"-a api sha256:{'a' * 64}"],
)  # fmt: skip
def test_a_line_that_is_none_is_named_by_its_number_and_not_shown(line: str) -> None:
    with pytest.raises(BadFile) as caught:
        read_keys(f"# head\n\n{line}\n", "keys")
    assert caught.value.message == "keys: line 3 is not: name scope sha256:HASH"
    assert "secret" not in str(caught.value)


def test_names_are_checked() -> None:
    keys = with_key([], "alice", "api", "x")
    with pytest.raises(BadValue, match="is there already"):
        with_key(keys, "alice", "api", "y")
    with pytest.raises(BadValue, match="is no name"):
        with_key(keys, 'a" b', "api", "y")
    with pytest.raises(UnknownName, match="no scope called 'apis'"):
        with_key(keys, "bob", "apis", "y")
    with pytest.raises(UnknownName) as caught:
        without_key(keys, "alcie")
    assert caught.value.hint == "did you mean --key-name alice?"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_first_run_makes_two_keys_and_the_second_none(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "home")
    made = ring.ensure()
    assert [(m.key.name, m.key.scope) for m in made] == [("owner", "api"), ("metrics", "metrics")]
    assert all(re.fullmatch(r"wb-[\w-]{43}", m.value) for m in made), "256 bits in base64"
    assert len({m.value for m in made}) == 2
    assert ring.own is not None
    assert ring.own_metrics is not None
    assert [p.read_text() for p in (ring.own, ring.own_metrics)] == [f"{m.value}\n" for m in made]
    assert [mode(p) for p in (ring.home, ring.own, ring.own_metrics, ring.file.parent, ring.file)] == [
        0o700, 0o600, 0o600, 0o755, 0o644,
    ]  # fmt: skip
    assert not any(m.value in ring.file.read_text() for m in made)
    assert ring.ensure() == []
    assert read_secret(ring.own) == made[0].value


def test_starts_at_one_instant_make_one_pair_of_keys(tmp_path: Path) -> None:
    for turn in range(20):
        home, together = tmp_path / str(turn), Barrier(4)

        def start(home: Path = home, together: Barrier = together) -> list[Made]:
            together.wait()
            return Keyring(home).ensure()

        with ThreadPoolExecutor(4) as pool:
            made = [made for future in [pool.submit(start) for _ in range(4)] for made in future.result()]
        assert [m.key.name for m in made] == ["owner", "metrics"]
        ring = Keyring(home)
        assert ring.read() == [m.key for m in made]
        assert ring.own is not None
        assert read_secret(ring.own) == made[0].value


def test_a_file_that_was_named_is_not_made_up(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="no key file"):
        Keyring(tmp_path, tmp_path / "mine").ensure()
    assert list(tmp_path.iterdir()) == []


def test_a_broken_key_file_is_said_before_anything_starts(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    ring.ensure()
    ring.file.write_text("nonsense\n")
    with pytest.raises(BadFile, match="line 1"):
        ring.ensure()
    with pytest.raises(BadFile):
        ring.add("alice", "api")
    assert ring.file.read_text() == "nonsense\n"


@pytest.mark.parametrize(("text", "bits"), [("", 0o600), ("two words", 0o600), ("é", 0o600), ("wb-x", 0o644)])
def test_a_key_file_for_asking_holds_one_key_for_one_reader(text: str, bits: int, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(text, encoding="utf-8")
    path.chmod(bits)
    with pytest.raises((BadValue, HostError)) as caught:
        read_secret(path)
    assert "wb-x" not in str(caught.value)
    with pytest.raises(BadValue):
        read_secret(tmp_path / "none")


# --- the verb


def test_keys_are_added_listed_and_revoked(inv: Any, tmp_path: Path) -> None:
    file = ("--keys", "house/keys")
    said = inv("keys", "add", *file, "--key-name", "alice")
    value = said.out.strip()
    assert (said.code, bool(re.fullmatch(r"wb-[\w-]{43}", value))) == (0, True)
    added = inv("keys", "add", *file, "--key-name", "bob", "--scope", "metrics", "--key-file", "bob.key", "--json")
    assert added.data["key_file"] == "bob.key"
    secret = (tmp_path / "bob.key").read_text().strip()
    assert mode(tmp_path / "bob.key") == 0o600
    listed = inv("keys", "list", *file, "--json")
    assert [(k["name"], k["scope"]) for k in listed.data["keys"]] == [("alice", "api"), ("bob", "metrics")]
    table = inv("keys", "list", *file)
    assert digest(value)[:12] in table.out
    assert inv("keys", "revoke", *file, "--key-name", "alice", "--json").data["revoked"] == "alice"
    everything = added.out + listed.out + table.out + (tmp_path / "house/keys").read_text()
    assert [s for s in (value, secret) if s in everything] == []


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["ad"], "no action called 'ad'", "did you mean add?"),
        (["add"], "which key?", "invoke keys add --key-name alice"),
        (["revoke"], "which key?", "invoke keys revoke --key-name alice"),
        (["list"], "no key file", "invoke run"),
        (["add", "--key-name", "a b"], "is no name", "--key-name alice"),
        (["add", "--key-name", "a", "--scope", "metric"], "no scope called", "did you mean metrics?"),
        (["add", "--key-name", "a", "--key-file", "."], "is there already", "name a new file"),
        (["add", "--key-name", "a", "--key-file", "new/"], "is a folder", "--key-file new/NAME"),
    ],
)
def test_what_cannot_be_is_two_lines(words: list[str], message: str, hint: str, inv: Any) -> None:
    first, second = refused(inv("keys", *words, "--keys", "house/keys"))
    assert message in first
    assert hint in second


def test_a_key_that_can_be_kept_nowhere_is_not_made(inv: Any, tmp_path: Path) -> None:
    (tmp_path / "notadir").touch()
    file = ("--keys", "house/keys")
    assert inv("keys", "add", *file, "--key-name", "bob").code == 0
    before = (tmp_path / "house/keys").read_text()
    for place in ("notadir/f", "/proc/nope/f"):
        said = inv("keys", "add", *file, "--key-name", "a", "--key-file", place)
        assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 2)
        assert place in said.err
        assert (tmp_path / "house/keys").read_text() == before


def test_a_new_key_is_never_json(inv: Any) -> None:
    said = inv("keys", "add", "--keys", "house/keys", "--key-name", "a", "--json")
    assert (said.code, said.data["error"]) == (2, "a new key is shown once, and never in JSON")
    assert not Path("house").exists()


# --- where it answers


def test_what_is_not_asked_for_stays_closed() -> None:
    found = read_reach({}, keys="/k", tls=None)
    assert found == Reach(keys="/k")
    assert (found.address, found.cors, found.console) == ("127.0.0.1", None, "key")
    assert not is_open(found)
    wide = read_reach({"listen": "0.0.0.0", "memory_limit": "1.5g", "key_rate": "2k"}, keys="/k", tls=None)
    assert is_open(wide)
    assert (wide.memory_mib, wide.key_rate) == (1536, 2000)
    assert not is_open(msgspec.structs.replace(wide, tls_cert="/c"))


@pytest.mark.parametrize(
    ("flag", "value"),
    [("listen", "localhost"), ("listen", "0.0.0.0:80"), ("listen", "[::1"), ("listen", "::1]:8000"), ("listen", "[]"),
     ("listen", "fe80::1%eth0"), ("listen", "ff02::1"), ("listen", "224.0.0.1"), ("key_streams", "4097"),
     ("cors", "*"), ("cors", "https://a;"), ("cors", "chat.example"),
     ("cors", "https://a/b"), ("console", "opn"), ("key_rate", "0"), ("key_streams", "-1"), ("memory_limit", "12"),
     ("cors", "null"), ("memory_limit", "1m"), ("stop_seconds", "5"), ("stop_seconds", "86401"), ("stop_seconds", "x")],
)  # fmt: skip
def test_what_cannot_be_an_answer_is_refused(flag: str, value: str) -> None:
    with pytest.raises(Refused) as caught:
        read_reach({flag: value}, keys="/k", tls=None)
    assert value in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("value", ["0", "-1", "4097"])
def test_a_limit_is_told_its_bounds(value: str) -> None:
    with pytest.raises(Refused, match=f"--key-streams '{value}' is not a whole number from 1 to 4096"):
        read_reach({"key_streams": value}, keys="/k", tls=None)


@pytest.mark.parametrize(
    ("address", "url"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("10.0.0.7", "10.0.0.7"), ("::", "[::1]"), ("::1", "[::1]")],
)
def test_this_machine_asks_where_it_listens(address: str, url: str) -> None:
    assert asked_at(address) == url


@pytest.mark.parametrize(
    ("typed", "address", "written"),
    [("::1", "::1", "[::1]"), ("[::1]", "::1", "[::1]"), ("::", "::", "[::]"), ("[::]", "::", "[::]"),
     ("FD00:0::7", "fd00::7", "[fd00::7]"), ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1"),
     ("10.0.0.7", "10.0.0.7", "10.0.0.7")],
)  # fmt: skip
def test_an_address_has_its_brackets_before_a_port_and_nowhere_else(typed: str, address: str, written: str) -> None:
    found = read_reach({"listen": typed}, keys="/k", tls=None)
    assert (found.address, bracketed(found.address)) == (address, written)
    assert is_open(found) == (address not in ("::1", "127.0.0.1"))


def test_origins_are_kept_each_once() -> None:
    both = read_reach({"cors": "https://a.example, http://b:8080,https://a.example"}, keys="/k", tls=None)
    assert both.cors == "https://a.example,http://b:8080"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tls", "yes"], "no --tls called 'yes'"),
        (["--tls-cert", "a.pem"], "come together"),
        (["--tls", "self-signed", "--tls-cert", "a", "--tls-key", "b"], "two certificates"),
        (["--tls-cert", "a.pem", "--tls-key", "b.pem"], "no such file"),
        (["--listen", "here"], "is no IP address"),
        (["--console", "of"], "no console called 'of'"),
    ],
)
def test_a_run_is_refused_before_anything_starts(words: list[str], message: str, inv: Any) -> None:
    first, _ = refused(inv("run", "--print", "docker", *words))
    assert message in first


def test_the_line_carries_what_was_asked_and_makes_nothing(
    inv: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    said = inv("run", "--print", "docker", "--tls", "self-signed", "--listen", "0.0.0.0", "--cors", "https://a.example",
               "--console", "open", "--memory-limit", "8g", "--key-streams", "9", "--stop-seconds", "60")  # fmt: skip
    for part in (
        "--publish 0.0.0.0:8000:8000", "--memory 8192m", "--stop-timeout 60", "WEIGHBRIDGE_CORS=https://a.example",
        "WEIGHBRIDGE_CONSOLE=open", "WEIGHBRIDGE_KEY_STREAMS=9", "WEIGHBRIDGE_TLS_KEY=/etc/weighbridge/tls/key.pem",
        f"source={tmp_path}/config/weighbridge/weighbridge-demo/keys,target=/etc/weighbridge/keys,readonly",
    ):  # fmt: skip
        assert part in said.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spelling", ["docker", "podman", "compose"])
def test_a_printed_line_says_what_is_to_be_typed_first(
    spelling: str, inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As comments: the output is a script, or a compose file, all the same."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "my config"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    words = ("run", "--print", spelling, "--name", "mine", "--tls", "self-signed", "--listen", "::1")
    said = inv(*words)
    steps = [line.removeprefix("#   ") for line in said.out.splitlines() if line.startswith("#   ")]
    build = ["invoke build --profile cpu --model weighbridge-demo"]
    loaded = re.search(r"weighbridge/[\w.-]+:\w[\w.-]*", inv(*words, "--json").data["text"])
    assert loaded
    image = [*build, f"docker save {loaded[0]} | podman load"] if spelling == "podman" else build
    assert [s.split()[:3] for s in steps[:3]] == [["invoke", "keys", "add"]] * 2 + [["mkdir", "-p", "-m"]]
    assert steps[3:] == image, "no Docker engine answers: nobody knows whether the image is here"
    assert inv(*words, "--json").data["first"] == steps
    assert not inv(*words, "--json").data["text"].startswith("# Not all")
    for step in steps[:2]:
        assert inv(*shlex.split(step)[1:]).code == 0
    subprocess.run(["sh", "-c", steps[2]], check=True, capture_output=True)
    home = tmp_path / "my config" / "weighbridge" / "mine"
    assert [(k.name, k.scope) for k in Keyring(home).read()] == [("owner", "api"), ("metrics", "metrics")]
    check_pair(home / "tls" / "cert.pem", home / "tls" / "key.pem")
    after = inv(*words)
    assert inv(*words, "--json").data["first"] == image
    bare = after.out.partition(image[-1])[2].lstrip("\n")
    assert "Type first" not in bare
    assert said.out.endswith(bare), "nothing else is changed by it"


def test_the_line_of_a_baked_image_says_how_it_is_baked(inv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    words = ("run", "--print", "podman", "--baked", "--weights", "/srv/my weights", "--context", "512", "--json")
    last = "invoke bake --profile cpu --model weighbridge-demo --context 512 --weights '/srv/my weights' --to podman"
    assert inv(*words).data["first"][-1] == last


def test_a_key_file_that_was_named_is_named_in_what_is_to_be_typed(inv: Any) -> None:
    said = inv("run", "--print", "docker", "--keys", "my keys/keys")
    step = next(line for line in said.out.splitlines() if "keys add" in line)
    assert shlex.split(step.removeprefix("#   "))[3:5] == ["--keys", str(Path("my keys/keys").absolute())]


def test_weights_of_a_catalogue_of_ones_own_are_fetched_with_it(
    inv: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_STORE", str(tmp_path / "store"))
    (tmp_path / "my own" / "models").mkdir(parents=True)
    words = ("run", "--print", "docker", "--profile", "h100-80g-x1", "--model", "qwen3-8b")
    for more in ((), ("--catalog", "my own")):
        said = inv(*words, *more)
        step = next(line for line in said.out.splitlines() if "invoke fetch" in line)
        assert shlex.split(step.removeprefix("#   "))[4:] == list(more)


def test_a_stop_takes_as_long_as_can_be_held(inv: Any) -> None:
    for seconds in ("-5", "0", "5", "86401", "1e9", "6.5", "soon", " "):
        first, second = refused(inv("stop", "--seconds", seconds))
        assert first == f"--seconds {seconds!r} is no whole number of seconds from 6 to 86400"
        assert second == "for example: --seconds 30, or leave --seconds out"


# --- certificates


def test_a_certificate_of_its_own_is_made_once(tmp_path: Path) -> None:
    cert, key, _ = self_signed(tmp_path / "tls", "10.1.2.3")
    assert mode(Path(key)) == 0o640
    text = subprocess.run(
        ["openssl", "x509", "-in", cert, "-noout", "-text"], capture_output=True, text=True, check=True
    )
    assert "IP Address:10.1.2.3" in text.stdout
    assert "DNS:localhost" in text.stdout
    before = Path(cert).read_bytes()
    self_signed(tmp_path / "tls", "10.1.2.3")
    assert Path(cert).read_bytes() == before
    assert sorted(p.name for p in (tmp_path / "tls").iterdir()) == ["cert.pem", "key.pem"]


def test_a_certificate_made_by_hand_can_be_read_whatever_the_umask(tmp_path: Path) -> None:
    line = f"umask 077; {by_hand(tmp_path / 'my tls', '127.0.0.1')}"
    subprocess.run(["bash", "-c", line], check=True, capture_output=True)
    assert [mode(tmp_path / "my tls" / name) for name in ("", "cert.pem", "key.pem")] == [0o755, 0o644, 0o640]


def test_a_pair_that_cannot_be_served_from_is_refused(tmp_path: Path) -> None:
    cert, key = (Path(p) for p in self_signed(tmp_path / "tls", "127.0.0.1")[:2])
    for bits, message in ((0o644, "by everybody"), (0o600, "by the container")):
        key.chmod(bits)
        with pytest.raises(BadValue, match=message) as caught:
            check_pair(cert, key)
        assert caught.value.hint == f"chmod 640 {key}"
    key.chmod(0o640)
    elsewhere = tmp_path / "live" / "key.pem"
    elsewhere.parent.mkdir()
    elsewhere.symlink_to(key)
    with pytest.raises(BadValue, match="link to another folder"):
        check_pair(cert, elsewhere)
    other = self_signed(tmp_path / "other", "127.0.0.1")[1]
    (tmp_path / "tls" / "other.pem").write_bytes(Path(other).read_bytes())
    (tmp_path / "tls" / "other.pem").chmod(0o640)
    with pytest.raises(BadValue, match="are no pair"):
        check_pair(cert, tmp_path / "tls" / "other.pem")


# --- the line to paste


def test_the_line_to_paste_reads_the_key_and_puts_it_in_no_argument(tmp_path: Path) -> None:
    """Run in a shell, with a curl that tells what it was given."""
    key = tmp_path / "a key"
    key.write_text("wb-canary\n")
    (tmp_path / "curl").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$0.arguments"\ncat >"$0.input"\n')
    (tmp_path / "curl").chmod(0o755)
    report = SmokeReport(url="https://x", model="m'", checks=(), seconds=0, key_file=str(key), cert="/c")
    line = curl_line(report)
    assert "wb-canary" not in line
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", line], env={"PATH": path}, check=True)
    arguments = (tmp_path / "curl.arguments").read_text().splitlines()
    assert arguments[:5] == ["-s", "-K", "-", "--cacert", "/c"]
    assert json.loads(arguments[-1])["model"] == "m'"
    assert "wb-canary" not in arguments
    assert (tmp_path / "curl.input").read_text() == 'header = "Authorization: Bearer wb-canary"'


# --- what an engine lets through


@pytest.mark.parametrize("name", Catalog().engine_ids())
def test_the_paths_of_an_engine_are_plain_and_keyed(name: str, catalog: Catalog) -> None:
    gateway = catalog.engine(name).gateway
    assert bool(gateway.socket) != bool(gateway.port), "one place to listen"
    words = [gateway.health_path, gateway.metrics_path, *(p.path for p in gateway.paths)]
    assert all(re.fullmatch(r"(/[a-z0-9_-]+)+", word) for word in words)
    assert re.fullmatch(r"unix:(/[a-z0-9._-]+)+|127\.0\.0\.1:\d+", gateway.address)
    assert {p.who for p in gateway.paths} <= {"key", "metrics"}, "nothing of the engine is open but its health"
    assert len(words) == len(set(words)) + 1, "the metrics stand twice, nothing else"
