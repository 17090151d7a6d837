"""fetch against hubs that speak each protocol over real HTTP: what is wanted, the lock, tokens, resuming, repair."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fetch_bench import QUICK, SECRET, Bench, files_are_right, write
from hub_stub import COMMIT, NEEDED, REPOSITORY, Handler, StubHub, sha256

from weighbridge.catalog import Catalog
from weighbridge.effects import git, store
from weighbridge.effects.fetch import fetch
from weighbridge.effects.hashing import Digests, is_settled, sha256_of, stat_of
from weighbridge.effects.oci.digests import Digests as BakeDigests
from weighbridge.effects.store import Store
from weighbridge.effects.verify import verify
from weighbridge.effects.web import Again, Web
from weighbridge.effects.weights import check_weights
from weighbridge.effects.wish import read_wish, stored_model
from weighbridge.errors import BadFile, BadValue, HostError, UnknownName, Unsupported, WeighbridgeError
from weighbridge.fetching import fetched_text
from weighbridge.lock import LOCK_NAME, lock_text, read_lock
from weighbridge.sources import without_users

# --- each protocol ---------------------------------------------------------------------------------------


def test_the_hubs_own_client_gets_the_same_files_from_the_stub(hub: StubHub, tmp_path: Path) -> None:
    """What keeps the stub honest: huggingface_hub itself takes it for a hub."""
    from huggingface_hub import HfApi, hf_hub_download

    api = HfApi(endpoint=hub.endpoint, token=False)
    info = api.model_info(REPOSITORY, revision="main", files_metadata=True)
    assert info.sha == COMMIT
    assert {s.rfilename for s in info.siblings or ()} == set(hub.files)
    asked = hub.asked[-1].path
    for name in ("config.json", "model-00001-of-00003.safetensors"):
        path = hf_hub_download(REPOSITORY, name, endpoint=hub.endpoint, token=False, local_dir=tmp_path)
        assert Path(path).read_bytes() == hub.files[name]
    Bench(tmp_path, hub).fetch(endpoint=hub.endpoint)
    assert asked.lower() in {a.path.lower() for a in hub.asked[-40:]}


@pytest.mark.parametrize("source", ["hf", "modelscope"])
def test_a_hub_brings_what_serving_needs_and_no_more(bench: Bench, source: str) -> None:
    found = bench.fetch(source=source)
    files_are_right(bench)
    assert found.files == NEEDED
    assert found.network_bytes == sum(len(bench.hub.files[n]) for n in NEEDED) == bench.hub.total_sent
    assert (found.source, found.revision, found.licence, found.licence_file) == (
        source,
        COMMIT,
        "apache-2.0",
        "LICENSE",
    )
    assert "licence: apache-2.0, text in LICENSE" in fetched_text(found)


def test_the_store_holds_real_files_that_any_container_may_read(bench: Bench) -> None:
    previous = os.umask(0o077)
    try:
        bench.fetch()
    finally:
        os.umask(previous)
    for path in [bench.model(), *bench.model().rglob("*")]:
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644 if path.name == LOCK_NAME else 0o444)
    name = NEEDED[5]
    assert (bench.model() / name).samefile(bench.store / ".blobs" / "sha256" / sha256(bench.hub.files[name]))
    assert not list((bench.store / ".blobs" / "parts").iterdir())


def test_again_needs_no_network(bench: Bench) -> None:
    bench.fetch()
    before = len(bench.hub.asked)
    bench.environment["HF_ENDPOINT"] = "http://127.0.0.1:1"
    assert bench.fetch().present
    assert len(bench.hub.asked) == before
    with pytest.raises(HostError, match="Connection refused"):
        bench.fetch(revision="v2")


def test_two_models_share_what_is_the_same(bench: Bench) -> None:
    bench.fetch()
    found = bench.fetch(model="another-name")
    assert found.network_bytes < 200_000  # the tokenizer and other small files: their sha256 is not known beforehand
    assert (bench.store / "another-name" / NEEDED[5]).samefile(bench.model() / NEEDED[5])


def test_a_dry_run_asks_and_writes_nothing(bench: Bench) -> None:
    found = bench.fetch(dry_run=True)
    assert found.needed_bytes == sum(len(bench.hub.files[n]) for n in NEEDED)
    assert found.free_bytes > 0
    assert not bench.store.exists()
    assert bench.hub.total_sent == 0
    assert f"  {NEEDED[5]}" in fetched_text(found)


def test_a_mirror_by_the_environment(bench: Bench, hub: StubHub) -> None:
    bench.environment["HF_ENDPOINT"] = hub.endpoint
    wish = read_wish({"repo": REPOSITORY}, bench.environment, Catalog(), QUICK)
    fetch(wish, bench.said.append)
    files_are_right(bench)


def test_a_folder(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    write(folder, bench.hub.files)
    found = bench.fetch(repo=None, model="some-model", from_=str(folder))
    files_are_right(bench)
    assert (found.source, found.network_bytes) == ("dir", 0)
    assert (folder / "config.json").stat().st_mode & 0o222, "the giver's own files stay as they were"


def test_a_download_cache_of_links_becomes_real_files(bench: Bench, tmp_path: Path) -> None:
    write(tmp_path / "blobs", bench.hub.files)
    for name in bench.hub.files:
        link = tmp_path / "snapshot" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(tmp_path / "blobs" / name)
    bench.fetch(repo=None, model="some-model", from_=str(tmp_path / "snapshot"))
    files_are_right(bench)
    assert not any(p.is_symlink() for p in bench.store.rglob("*"))


def test_pointers_that_were_never_pulled(bench: Bench, tmp_path: Path) -> None:
    files = {n: pointer(c) if n.endswith(".safetensors") else c for n, c in bench.hub.files.items()}
    write(tmp_path / "clone", files)
    with pytest.raises(BadFile, match=r"model-00001-of-00003.safetensors is an LFS pointer") as e:
        bench.fetch(repo=None, model="some-model", from_=str(tmp_path / "clone"))
    assert e.value.hint == f"cd {tmp_path / 'clone'} && git lfs pull"


def test_a_folder_in_the_store_that_nobody_fetched(bench: Bench) -> None:
    write(bench.model(), {n: bench.hub.files[n] for n in NEEDED})
    with pytest.raises(BadValue, match="was not written by fetch") as e:
        bench.fetch()
    assert f"--source dir --from {bench.model()}" in e.value.hint
    bench.fetch(repo=None, model="some-model", source="dir", from_=str(bench.model()))
    files_are_right(bench)


def test_a_git_server_with_lfs(bench: Bench, tmp_path: Path) -> None:
    bench.hub.git = tmp_path / "git"
    commit = git_server(bench.hub, tmp_path)
    address = f"{bench.hub.endpoint}/git/some-model.git"
    found = bench.fetch(repo=None, model="some-model", source="git-lfs", from_=address)
    files_are_right(bench)
    assert found.revision == commit
    assert bench.hub.secrets_at("cdn") == {"RemoteAuth for-storage"}
    assert bench.hub.secrets_at("api") == set()


def pointer(content: bytes) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(content)}\nsize {len(content)}\n".encode()


def git_server(hub: StubHub, tmp_path: Path) -> str:
    """A bare repository that is served as plain files; large contents are pointers in it. Returns its commit."""
    work = tmp_path / "work"
    write(work, {n: pointer(c) if len(c) >= 64 << 10 else c for n, c in hub.files.items()})
    (work / "link.json").symlink_to("/etc/passwd")
    bare = (hub.git or tmp_path) / "some-model.git"

    def git(*words: str, folder: Path = work) -> str:
        own = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "filter.lfs.required=false"]
        done = subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", "--force", ".")
    git("commit", "--quiet", "-m", "x")
    git("clone", "--quiet", "--bare", str(work), str(bare))
    git("update-server-info", folder=bare)
    return git("rev-parse", "HEAD")


# --- the lock --------------------------------------------------------------------------------------------


def test_one_lock_verifies_every_source(bench: Bench, tmp_path: Path) -> None:
    lock = tmp_path / "some.lock.yaml"
    made = bench.fetch(lock=str(lock))
    assert made.lock_file == str(lock)
    write(tmp_path / "folder", bench.hub.files)
    bench.hub.git = tmp_path / "git"
    git_server(bench.hub, tmp_path)
    sources: list[dict[str, Any]] = [
        {"source": "hf"},
        {"source": "modelscope"},
        {"source": "dir", "from_": str(tmp_path / "folder")},
        {"source": "git-lfs", "from_": f"{bench.hub.endpoint}/git/some-model.git"},
    ]
    for flags in sources:
        shutil.rmtree(bench.store)
        assert bench.fetch(lock=str(lock), **flags).lock_digest == made.lock_digest
        files_are_right(bench)


@pytest.mark.parametrize("source", ["hf", "modelscope", "dir"])
def test_another_content_than_the_lock_says(bench: Bench, tmp_path: Path, source: str) -> None:
    lock = tmp_path / "some.lock.yaml"
    bench.fetch(lock=str(lock))
    shutil.rmtree(bench.store)
    name, before = NEEDED[6], bench.hub.files[NEEDED[6]]
    bench.hub.files[name] = before[:-1] + bytes([before[-1] ^ 1])
    write(tmp_path / "folder", bench.hub.files)
    flags: dict[str, Any] = {"from_": str(tmp_path / "folder")} if source == "dir" else {}
    with pytest.raises(HostError) as e:
        bench.fetch(lock=str(lock), source=source, **flags)
    for part in (name, sha256(before), sha256(bench.hub.files[name])):
        assert part in e.value.message
    assert not bench.model().exists()
    kept = list((bench.store / ".quarantine").glob("*")) if source != "dir" else []
    assert [p.read_bytes() for p in kept] == ([bench.hub.files[name]] if source != "dir" else [])


def test_a_lock_and_another_revision(bench: Bench, tmp_path: Path) -> None:
    lock = str(tmp_path / "some.lock.yaml")
    bench.fetch(lock=lock)
    with pytest.raises(BadValue, match=f"--revision v2: the lock is of {COMMIT}"):
        bench.fetch(lock=lock, revision="v2")


def test_the_demo_models_lock_is_true(tmp_path: Path) -> None:
    folder, lock = Catalog().model_folder(Catalog().model("weighbridge-demo")), Catalog().model_lock("weighbridge-demo")
    assert folder
    assert lock
    read = read_lock(lock.read_text(encoding="utf-8"), lock)
    assert verify(folder, read.model, read, Digests(None), print, quick=False).problems == ()
    with pytest.raises(UnknownName):
        Catalog().model("weighbridge-demo.lock")


@pytest.mark.parametrize(
    ("mode", "shares", "copies"), [(0o644, False, "small"), (0o600, False, "all"), (0o600, True, "none")]
)
def test_the_disk_is_asked_for_what_a_folders_files_will_be_copied(
    mode: int, shares: bool, copies: str, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link costs nothing; what is small, or closed to others, is copied, on one disk too."""
    given = tmp_path / "given"
    write(given, {n: bench.hub.files[n] for n in NEEDED})
    for path in given.glob("*.safetensors"):
        path.chmod(mode)
    monkeypatch.setattr(store, "_LINKED_BYTES", 300_000)
    monkeypatch.setattr(Store, "shares", lambda self, source: shares)
    small = sum(len(bench.hub.files[n]) for n in NEEDED if not n.endswith(".safetensors"))
    wanted = {"none": 0, "small": small, "all": sum(len(bench.hub.files[n]) for n in NEEDED)}[copies]
    assert bench.fetch(source="dir", from_=str(given), dry_run=True).needed_bytes == wanted
    with monkeypatch.context() as patched:
        patched.setattr(Store, "free_bytes", lambda _: wanted)
        if wanted:
            with pytest.raises(HostError, match="MiB more"):
                bench.fetch(source="dir", from_=str(given))
            assert not bench.model().exists()
    bench.fetch(source="dir", from_=str(given))
    assert bench.fetch(source="dir", from_=str(given), dry_run=True).needed_bytes == 0, "all is here"


# --- tokens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["hf", "modelscope"])
def test_a_token_goes_to_its_own_host_and_not_to_its_storage(bench: Bench, source: str) -> None:
    bench.hub.needs = SECRET
    bench.environment["HF_TOKEN" if source == "hf" else "MODELSCOPE_API_TOKEN"] = SECRET
    found = bench.fetch(source=source)
    files_are_right(bench)
    assert bench.hub.secrets_at("api") == {f"Bearer {SECRET}"}
    assert bench.hub.secrets_at("cdn") == set()
    assert any(a.host == "cdn" for a in bench.hub.asked)
    assert not held(bench.store, SECRET)
    assert SECRET not in repr(found) + " ".join(bench.said)


def test_a_token_does_not_go_to_a_mirror(bench: Bench) -> None:
    bench.environment["HF_TOKEN"] = SECRET
    with StubHub() as mirror:
        bench.fetch(endpoint=mirror.endpoint)
        assert mirror.secrets_at("api") | mirror.secrets_at("cdn") == set()
        assert mirror.total_sent > 0
    files_are_right(bench)


def test_a_token_goes_to_a_mirror_when_a_file_is_named_for_it(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mirror-secret\n")
    with StubHub(needs="mirror-secret") as mirror:
        bench.fetch(endpoint=mirror.endpoint, token_file=str(tmp_path / "token"))
        assert mirror.secrets_at("cdn") == set()
    files_are_right(bench)


def test_a_git_servers_token_is_no_argument_and_goes_no_further(bench: Bench, tmp_path: Path) -> None:
    bench.hub.git = tmp_path / "git"
    git_server(bench.hub, tmp_path)
    (tmp_path / "token").write_text(SECRET)
    address = f"{bench.hub.endpoint}/git/some-model.git"
    bench.fetch(repo=None, model="some-model", from_=address, token_file=str(tmp_path / "token"))
    sent = bench.hub.secrets_at("api")
    assert len(sent) == 1
    assert next(iter(sent)).startswith("Basic ")
    assert bench.hub.secrets_at("cdn") == {"RemoteAuth for-storage"}


def test_a_redirect_to_another_host_takes_no_token_along(bench: Bench) -> None:
    """The API itself sends us elsewhere, where somebody listens."""
    bench.environment["HF_TOKEN"] = SECRET
    with StubHub() as thief:

        def away(handler: Handler) -> bool:
            handler.plain(302, b"", {"Location": thief.endpoint + handler.path})
            return True

        bench.hub.api_fault = away
        bench.fetch()
        assert thief.secrets_at("api") | thief.secrets_at("cdn") == set()
        assert thief.asked
    assert bench.hub.secrets_at("api") == {f"Bearer {SECRET}"}


def test_no_error_shows_a_token_or_a_signature(bench: Bench) -> None:
    bench.environment["HF_TOKEN"] = SECRET
    bench.hub.fault = lambda handler, *_: handler.plain(500, b"")
    with pytest.raises(HostError) as e:
        bench.fetch()
    words = e.value.message + e.value.hint + " ".join(bench.said)
    assert "answers 500, 3 times" in words
    assert SECRET not in words
    assert "signed-secret" not in words
    bench.hub.needs = "another"
    with pytest.raises(HostError, match=r"access refused \(401\), with the token that was sent") as e:
        bench.fetch()
    assert SECRET not in str(e.value)


def held(folder: Path, secret: str) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]


# --- what was asked is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "kind", "says", "hint"),
    [
        ({"source": "hugging"}, UnknownName, "no source called 'hugging'", "invoke fetch --help"),
        ({"source": "modelscop"}, UnknownName, "no source called", "did you mean modelscope?"),
        (
            {"repo": None, "model": "qwen3-8"},
            UnknownName,
            "no model called",
            "did you mean qwen3-8b?; or name its repo",
        ),
        ({"repo": "../../etc"}, BadValue, "not OWNER/NAME", "invoke fetch --repo OWNER/NAME"),
        ({"repo": "one"}, BadValue, "not OWNER/NAME", "--repo"),
        ({"revision": "../x"}, BadValue, "not a branch", "leave --revision out"),
        ({"revision": "-x"}, BadValue, "not a branch", "leave --revision out"),
        ({"endpoint": "ftp://x"}, BadValue, "not an http or https address", "https://HOST"),
        ({"endpoint": "https://me:pass@x"}, BadValue, "user or password for x", "--token-file"),
        ({"jobs": "0"}, BadValue, "--jobs '0' is not a whole number from 1 to", "--jobs 4"),
        ({"jobs": "-1"}, BadValue, "--jobs '-1' is not a whole number from 1 to", "--jobs 4"),
        ({"source": "dir"}, BadValue, "without --from", "--from FOLDER"),
        ({"source": "dir", "from_": "/no/such"}, BadValue, "no such folder", "config.json"),
        ({"source": "git-lfs"}, BadValue, "without --from", "--from https"),
        ({"source": "git-lfs", "from_": "git@host:a/b"}, BadValue, "not an http", "git lfs pull"),
        ({"source": "git-lfs", "from_": "ext::sh -c id"}, BadValue, "not an http", "git lfs pull"),
        ({"source": "git-lfs", "from_": "https://h:port/a/b"}, BadValue, "not an http", "git lfs pull"),
        ({"endpoint": "https://h:port"}, BadValue, "not an http", "https://HOST"),
        ({"token_file": "/no/such"}, BadFile, "No such file", "--token-file"),
        ({"lock": "/etc"}, BadFile, "not a file", "--lock FILE"),
        ({"repo": None, "model": "weighbridge-demo", "source": "hf"}, Unsupported, "its repository at", "--repo"),
    ],
)
def test_what_cannot_be_asked(
    bench: Bench, flags: dict[str, Any], kind: type[WeighbridgeError], says: str, hint: str
) -> None:
    with pytest.raises(kind) as e:
        bench.fetch(**flags)
    assert says in e.value.message
    assert hint in e.value.hint
    assert not bench.store.exists()


def test_a_token_is_not_sent_in_the_clear(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    with pytest.raises(BadValue, match="not asked over https"):
        bench.fetch(endpoint="http://mirror.example.com", token_file=str(tmp_path / "token"))


@pytest.mark.parametrize(
    "flags",
    [
        {"source": "git-lfs", "from_": f"https://ann:{SECRET}@git.example.com/a/b?token={SECRET}"},
        {"source": "git-lfs", "from_": f"https://{SECRET}@git.example.com:port/a/b"},
        {"endpoint": f"ftp://ann:{SECRET}@hub.example.com"},
        {"endpoint": f"https://ann:{SECRET}@hub.example.com"},
    ],
    ids=lambda flags: next(iter(flags)),
)
def test_a_user_in_an_address_is_never_shown(flags: dict[str, Any], bench: Bench) -> None:
    with pytest.raises(BadValue) as e:
        bench.fetch(**flags)
    assert SECRET not in f"{e.value}{e.value.message}{e.value.hint}"
    assert "example.com" in e.value.message


def test_a_user_in_the_address_of_a_file_is_never_shown(bench: Bench) -> None:
    """Addresses of files come from a hub or an LFS server, which may sign them in any way."""
    web = Web(patience=QUICK, say=bench.said.append)
    web.pause(Again("answers 500"), 1, f"https://ann:{SECRET}@cdn.example.com:8443/x?sig={SECRET}")
    assert bench.said == ["fetch: cdn.example.com:8443: answers 500; again in 0 s"]
    assert without_users(f"fatal: 'https://ann:{SECRET}@h/a/b@v1'") == "fatal: 'https://h/a/b@v1'"


def test_a_git_that_speaks_another_language_is_understood(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of plain files knows no shallow fetch: git says so, in the language of whoever types."""
    bench.hub.git = tmp_path / "git"
    git_server(bench.hub, tmp_path)
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "git"
    script.write_text(
        f'#!/bin/bash\n[ "$LC_ALL" = C ] && exec {shutil.which("git")} "$@"\n'
        f'exec {shutil.which("git")} "$@" 2> >(sed s/shallow/flache/ >&2)\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    bench.fetch(repo=None, model="some-model", source="git-lfs", from_=f"{bench.hub.endpoint}/git/some-model.git")
    files_are_right(bench)


def test_a_git_server_that_says_nothing_is_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "_SILENT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(HostError, match=r"too slow|timed out"):
        bench.fetch(source="git-lfs", from_=f"http://127.0.0.1:{silent.getsockname()[1]}/a/b.git")


# --- verify ----------------------------------------------------------------------------------------------


def check(bench: Bench, quick: bool = False, **flags: Any) -> Any:
    model, folder, lock = stored_model({"model": "some-model", **flags}, bench.environment, Catalog())
    return verify(folder, model, lock, Digests(bench.folder / "digests.sqlite"), bench.said.append, quick=quick)


def test_verify_reads_once_and_remembers_until_a_file_changes(bench: Bench) -> None:
    bench.fetch()
    settled(bench.model())
    first, again = check(bench), check(bench)
    assert first.ok
    assert first.read_bytes == first.size_bytes
    assert (again.ok, again.read_bytes) == (True, 0)
    (bench.folder / "digests.sqlite").write_bytes(b"no database")
    assert check(bench).read_bytes == first.size_bytes


def settled(folder: Path) -> None:
    """Files whose time stamps are old enough for any change to show."""
    while not is_settled(max(p.stat().st_ctime_ns for p in folder.rglob("*")), time.time_ns()):
        time.sleep(0.01)


def test_a_digest_of_a_file_that_changed_just_now_is_not_kept(tmp_path: Path) -> None:
    """Two changes within one tick of the clock have one time stamp: only the first is in what was hashed."""
    path, digests = tmp_path / "a", Digests(tmp_path / "digests.sqlite")
    path.write_bytes(b"x" * 100)
    stamp = path.stat().st_ctime_ns
    digests.remember(path, "0" * 64, stat_of(path), stamp + 1_000_000)
    assert digests.known(path) is None
    digests.remember(path, "0" * 64, stat_of(path), stamp + 60_000_000)
    assert digests.known(path) == "0" * 64
    assert not is_settled(5_000_000_000, 6_900_000_000), "a file system that keeps whole seconds"
    assert is_settled(5_000_000_000, 7_100_000_000)


@pytest.mark.parametrize("at", [0, 2])
def test_a_short_read_is_not_the_end_of_a_file(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(1 << 20) * 33)
    read, turns = os.preadv, iter(range(99))

    def short(handle: int, buffers: Any, offset: int) -> int:
        if next(turns) == at:
            return read(handle, [memoryview(buffers[0])[:12288]], offset)
        return read(handle, buffers, offset)

    monkeypatch.setattr(os, "preadv", short)
    heard: list[int] = []
    assert sha256_of(path, heard.append) == sha256(path.read_bytes())
    assert sum(heard) == path.stat().st_size
    assert next(turns) > at


def test_a_file_that_shrinks_while_it_is_read_has_no_digest(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * (40 << 20))
    with pytest.raises(OSError, match="of 41943040 bytes: it changes"):
        sha256_of(path, lambda _: os.truncate(path, 16 << 20))


def test_what_fetch_hashed_neither_verify_nor_bake_reads_again(bench: Bench) -> None:
    bench.fetch(digests=Digests(bench.folder / "digests.sqlite"))
    found = check(bench)
    assert (found.ok, found.read_bytes) == (True, 0)
    shard = next(bench.model().glob("*.safetensors"))
    with closing(BakeDigests(bench.folder)) as digests:
        assert digests.file(shard.stat()) == hashlib.sha256(shard.read_bytes()).hexdigest()
    flip(shard)
    assert [p.kind for p in check(bench).problems] == ["sha256"]


@pytest.mark.parametrize("source", ["hf", "dir"])
def test_what_lay_in_the_store_is_not_taken_for_hashed(bench: Bench, tmp_path: Path, source: str) -> None:
    """A content is found by its size; that its bytes are right nobody has read."""
    write(tmp_path / "given", bench.hub.files)
    settled(tmp_path / "given")
    flags: dict[str, Any] = {"source": source} | ({"from_": str(tmp_path / "given")} if source == "dir" else {})
    digests = Digests(bench.folder / "digests.sqlite")
    bench.fetch(digests=digests, **flags)
    assert check(bench).read_bytes == 0, "what came was hashed"
    name = NEEDED[6]
    flip(bench.store / ".blobs" / "sha256" / sha256(bench.hub.files[name]))
    shutil.rmtree(bench.model())
    bench.fetch(digests=digests, **flags)
    found = check(bench)
    assert [(p.path, p.kind) for p in found.problems] == [(name, "sha256")]


def test_a_file_that_changes_between_its_hash_and_its_place_is_refused(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "given", bench.hub.files)
    place = store._place

    def late(source: Path, target: Path) -> str:
        if source.name == NEEDED[6]:
            flip(source)
        return place(source, target)

    monkeypatch.setattr(store, "_place", late)
    with pytest.raises(HostError, match=rf"{NEEDED[6]}: changed while it was read"):
        bench.fetch(repo=None, model="some-model", from_=str(tmp_path / "given"))
    assert not (bench.store / ".blobs" / "sha256" / sha256(bench.hub.files[NEEDED[6]])).exists()


def test_verify_finds_a_flipped_bit_moves_it_away_and_fetch_brings_that_file_alone(bench: Bench) -> None:
    bench.fetch()
    name = NEEDED[6]
    flip(bench.model() / name)
    assert check(bench, quick=True).ok, "sizes are right"
    found = check(bench)
    assert [(p.path, p.kind) for p in found.problems] == [(name, "sha256")]
    assert (found.problems[0].expected, Path(found.problems[0].moved_to).parent.name) == (
        sha256(bench.hub.files[name]), ".quarantine"
    )  # fmt: skip
    assert not (bench.model() / LOCK_NAME).exists(), "a folder with a lock is complete, and this one is not"
    before = bench.hub.total_sent
    repaired = bench.fetch()
    assert repaired.network_bytes < 500_000
    assert bench.hub.total_sent - before == repaired.network_bytes
    files_are_right(bench)


def cut(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 1000)


def flip(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 0x10]))


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lambda m: (m / NEEDED[6]).unlink(), "missing"),
        (lambda m: cut(m / NEEDED[6]), "size"),
        (lambda m: (m / "pytorch_model.bin").write_bytes(b"x"), "pickle"),
        (lambda m: (m / "extra.json").write_bytes(b"x"), "not in the lock"),
    ],
)
def test_verify_says_what_is_wrong_without_reading_weights(bench: Bench, harm: Any, kind: str) -> None:
    bench.fetch()
    harm(bench.model())
    found = check(bench, quick=True)
    assert [p.kind for p in found.problems] == [kind]
    assert found.read_bytes == 0


def test_verify_without_a_folder_says_what_to_type(bench: Bench) -> None:
    with pytest.raises(BadFile) as e:
        check(bench, model="qwen3-8b")
    assert e.value.hint == "invoke fetch --model qwen3-8b"


def test_a_folder_without_a_lock_is_checked_by_its_structure(bench: Bench, tmp_path: Path) -> None:
    write(tmp_path / "given", {n: bench.hub.files[n] for n in NEEDED})
    found = check(bench, weights=str(tmp_path / "given"), model=None)
    assert (found.ok, found.hashed, found.lock_digest) == (True, False, None)
    os.truncate(tmp_path / "given" / NEEDED[6], 1000)
    assert [p.kind for p in check(bench, weights=str(tmp_path / "given"), model=None).problems] == ["structure"]


# --- nothing of anybody else's is lost -------------------------------------------------------------------


def test_a_folder_that_was_there_before_stays_beside_the_new_one(bench: Bench) -> None:
    bench.fetch()
    folder = bench.model()
    (folder / LOCK_NAME).unlink()
    (folder / "notes.gguf").write_text("mine")
    bench.fetch(source="dir", from_=str(folder))
    assert (folder.with_name("some-model.before-fetch") / "notes.gguf").read_text() == "mine"
    assert (folder / LOCK_NAME).is_file()


def test_a_folder_between_two_renames_is_put_back(bench: Bench) -> None:
    bench.fetch()
    bench.model().rename(bench.store / ".old-some-model-77")
    Store(bench.store).sweep()
    assert (bench.model() / LOCK_NAME).is_file()


@pytest.mark.parametrize("renames", [1, 2])
def test_a_folder_of_somebody_elses_outlives_a_kill_between_renames(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """Killed when the old folder was moved aside, or when the new one had its place: no byte of the old one goes."""
    bench.fetch()
    folder, here = bench.model(), os.getpid()
    (folder / LOCK_NAME).unlink()
    (folder / "notes.gguf").write_text("mine")
    rename, done = Path.rename, iter(range(9))

    def killed(path: Path, target: Path) -> Path:
        if os.getpid() != here and next(done) == renames:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    aside = bench.store / ".new-some-model-77"
    aside.mkdir()
    (aside / "config.json").write_text("{}")
    if (child := os.fork()) == 0:
        store._swap(aside, folder, keep=True)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    Store(bench.store).sweep()
    kept = folder if renames == 1 else folder.with_name("some-model.before-fetch")
    assert (kept / "notes.gguf").read_text() == "mine"
    assert {p.name for p in bench.store.iterdir()} == {".blobs", folder.name, kept.name}


def test_another_lock_moves_nothing_away(bench: Bench) -> None:
    bench.fetch()
    lock = Store(bench.store).lock_of("some-model")
    assert lock is not None
    files = tuple(msgspec.structs.replace(f, sha256="0" * 64) for f in lock.files)
    other = bench.folder / "other.lock.yaml"
    other.write_text(lock_text(msgspec.structs.replace(lock, files=files)))
    before = bench.names()
    assert not check(bench, lock=str(other)).ok
    assert bench.names() == before
    assert check(bench).ok


def test_what_verify_found_corrupt_is_not_served(bench: Bench) -> None:
    bench.fetch()
    flip(bench.model() / NEEDED[6])
    assert not check(bench).ok
    with pytest.raises(BadFile, match="found corrupt") as e:
        check_weights(bench.model(), "some-model")
    assert "invoke fetch" in e.value.hint


def test_two_models_whose_names_end_alike_are_kept_apart(bench: Bench) -> None:
    bench.fetch()
    with pytest.raises(BadValue, match=r"holds \S+, not other/some-model"):
        Store(bench.store).check_replaceable("some-model", "other/some-model", None)
