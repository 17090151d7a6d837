"""Compiled kernels that travel in the image: taken from a cache folder, and laid into one when they fit this start.

python3 warm.py use CARD                 before the engine starts; says one line, and never ends a start
python3 warm.py pack [--cache FOLDER]    the tar of what a start compiled, on standard output

Standard library only. `warm.json` beside this file says for which plan: its key, its cache, what may travel. A cache is
a program: what is laid has the digest that was noted when it was packed, and nothing that is there is overwritten.
"""

from __future__ import annotations

import fcntl
import fnmatch
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

HOME = Path(__file__).resolve().parent
LAYER = HOME / "warm"
FORMAT = 1
SEEN = ".weighbridge-warm.json"  # in the cache: what the last start was, what it found there, and which layer was laid
ASIDE = ".weighbridge-warm.part"
_LOCK = ".weighbridge-warm.lock"
_LOCK_SECONDS = 60
_CHUNK_BYTES = 1 << 20
# Of config.json: what no compiled kernel follows from.
_COSMETIC = ("_name_or_path", "transformers_version")


class Unfit(Exception):
    """Why a layer is not used, or nothing can be packed."""


def say(line: str) -> None:
    print(f"weighbridge: {line}", file=sys.stderr, flush=True)


def full_key(wanted: dict[str, Any], card: str) -> dict[str, str]:
    """The plan's key, with what only the machine shows: its card, and the model's own shape."""
    return {**wanted["key"], "card": card, "shape": shape_of(Path(wanted["model"]) / "config.json")}


def shape_of(config: Path) -> str:
    """sha256 of a config.json, whatever its order of keys."""
    try:
        found = json.loads(config.read_bytes())
        plain = {k: v for k, v in found.items() if k not in _COSMETIC}
    except (OSError, ValueError, AttributeError) as e:
        raise Unfit(f"{config} cannot be read: {e}") from None
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def travels(path: str, wanted: dict[str, Any]) -> bool:
    """Whether a file of the cache, by its path in it, may be in a layer."""
    inside = any(path.startswith(f"{folder}/") for folder in wanted["keep"])
    return inside and not any(fnmatch.fnmatch(part, p) for part in path.split("/") for p in wanted["drop"])


def files_of(cache: Path, wanted: dict[str, Any]) -> list[str]:
    found = (Path(at, name) for at, _, names in os.walk(cache) for name in names)
    plain = (p.relative_to(cache).as_posix() for p in found if p.is_file() and not p.is_symlink())
    return sorted(p for p in plain if travels(p, wanted))


def times_of(cache: Path, wanted: dict[str, Any]) -> dict[str, int]:
    """When each file was last written, in ns: a start that follows tells its own from what it found."""
    found: dict[str, int] = {}
    for path in files_of(cache, wanted):
        with suppress(FileNotFoundError):  # an engine's own, while it works
            found[path] = (cache / path).stat().st_mtime_ns
    return found


def noted(cache: Path) -> tuple[dict[str, str], dict[str, int], str]:
    """Key, files found and layer laid, as the last start noted them; the key is empty where none did."""
    seen = read_json(cache / SEEN)
    key, found = seen.get("key"), seen.get("found")
    if isinstance(key, dict) and isinstance(found, dict) and all(isinstance(t, int) for t in found.values()):
        return {"card": "", **key}, found, str(seen.get("laid"))
    return {}, {}, ""


def read_json(path: Path) -> dict[str, Any]:
    """An object in a file; an empty one when there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def difference(there: dict[str, Any], here: dict[str, str]) -> str:
    """The first thing in which two keys differ, in words; empty when they are the same."""
    for name in here:
        if there.get(name) != here[name]:
            short = [str(k.get(name))[:12] if name == "shape" else str(k.get(name)) for k in (there, here)]
            return f"{name.replace('_', ' ')} {short[0]!r} there, {short[1]!r} here"
    return ""


# --- use -----------------------------------------------------------------------------------------------


def use(wanted: dict[str, Any], card: str, layer: Path = LAYER) -> str:
    """What kind of start this is, as a line; the layer is in the cache when it fits."""
    cache = Path(wanted["cache"])
    try:
        with alone(cache):
            return _used(wanted, card, layer, cache)
    except Unfit as e:
        line = f"cold start: {e}"
    except OSError as e:
        line = f"cold start: {e.filename or cache}: {e.strerror or e}"
    with suppress(OSError):
        (cache / SEEN).unlink()  # the engine fills the cache now, and nobody noted for what
    return line


def _used(wanted: dict[str, Any], card: str, layer: Path, cache: Path) -> str:
    key, there = full_key(wanted, card), times_of(cache, wanted)
    last, found, before = noted(cache)
    if last != key:
        found, before = there, ""
    before = before if there else ""
    laid, ignored = "", ""
    shutil.rmtree(cache / ASIDE, ignore_errors=True)  # of a start that was killed
    note(cache, {"key": key, "found": found, "laid": before})  # first: what comes from now on is this key's
    try:
        if layer.exists():
            laid = lay(layer, key, wanted, cache, before)
    except Unfit as e:
        ignored = f"the warm layer is ignored: {e}"
    except OSError as e:
        ignored = f"the warm layer is ignored: {e.filename or layer}: {e.strerror or e}"
    except (TypeError, ValueError) as e:
        ignored = f"the warm layer is ignored: its key.json is none: {e}"
    finally:
        shutil.rmtree(cache / ASIDE, ignore_errors=True)
    if laid:
        note(cache, {"key": key, "found": found, "laid": laid.partition(" ")[0]})
        return f"warm start: {laid.partition(' ')[2]}"
    return _without_layer(key, there, found, ignored)


def _without_layer(key: dict[str, str], there: dict[str, int], found: dict[str, int], ignored: str) -> str:
    if key["card"] and there.items() - found.items():
        line = "warm start: compiled before, kept in the cache"
        return f"{line}: {ignored}" if ignored else line
    if ignored:
        return f"cold start: {ignored}"
    if not key["card"]:
        return "cold start: nothing in the container names its card"
    if there:
        return "cold start: nothing that the cache holds is surely of this plan"
    return "cold start: nothing is compiled for this plan yet"


def lay(layer: Path, key: dict[str, str], wanted: dict[str, Any], cache: Path, laid: str) -> str:
    """`<digest> <words>`: the layer's files are in the cache. Raises Unfit or OSError, and nothing was laid then."""
    text = (layer / "key.json").read_bytes() if (layer / "key.json").is_file() else b""
    digest = hashlib.sha256(text).hexdigest()
    manifest = read_json(layer / "key.json")
    if manifest.get("format") != FORMAT or not isinstance(manifest.get("files"), dict):
        raise Unfit("it holds no key.json that can be read")
    if not isinstance(manifest.get("key"), dict):
        raise Unfit("its key.json has no key")
    other = difference(manifest["key"], key)
    if other:
        raise Unfit(f"it was made for another: {other}")
    if not key["card"]:
        raise Unfit("nothing in the container names its card")
    if laid == digest:
        return f"{digest} from the image, laid before"
    for path, (sha256, _) in manifest["files"].items():
        if ".." in path.split("/") or not travels(path, wanted):
            raise Unfit(f"{path} may not be in it")
        copy(layer / "cache" / path, cache / ASIDE / path, sha256)
    for path in manifest["files"]:
        place(cache / ASIDE / path, cache / path)
    size = sum(int(row[1]) for row in manifest["files"].values())
    files = f"{len(manifest['files'])} file{'' if len(manifest['files']) == 1 else 's'}"
    return f"{digest} {files}, {size / 2**20:.1f} MiB, from the image"


def copy(source: Path, target: Path, sha256: str) -> None:
    """A file with its time, for tools that compare times. Raises Unfit for other bytes than were packed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    with source.open("rb") as read, target.open("xb") as write:
        while chunk := read.read(_CHUNK_BYTES):
            found.update(chunk)
            write.write(chunk)
        state = os.fstat(read.fileno())
    if found.hexdigest() != sha256:
        raise Unfit(f"{source.name} is not what was packed")
    target.chmod(0o770 if state.st_mode & 0o100 else 0o660)
    os.utime(target, (state.st_mtime, state.st_mtime))


def place(aside: Path, target: Path) -> None:
    """Into its place, unless something is there: an engine may have it open."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(aside, target)
    except FileExistsError:
        return


def note(cache: Path, seen: dict[str, Any]) -> None:
    aside = cache / f"{SEEN}.part"
    aside.write_text(json.dumps(seen, sort_keys=True), encoding="utf-8")
    aside.replace(cache / SEEN)


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """One start at a time lays into a cache; the lock goes with its process."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / _LOCK).open("a") as lock:
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Unfit(f"another start holds {cache / _LOCK}") from None
                time.sleep(0.1)
        yield


# --- pack ----------------------------------------------------------------------------------------------


def pack(wanted: dict[str, Any], cache: Path, card: str, out: IO[bytes]) -> dict[str, Any]:
    """Writes `warm/cache/…` and then `warm/key.json`: the same folder, the same bytes. Raises Unfit."""
    key = _packed_key(wanted, cache, card)
    paths = files_of(cache, wanted)
    if not paths:
        raise Unfit(f"{cache} holds nothing that an engine compiled")
    files: dict[str, list[Any]] = {}
    newest = 0
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in folders_of(paths):
            add(tar, path, b"", 0o755, 0, tarfile.DIRTYPE)
        for path in paths:
            content, mode, mtime = _read(cache / path)
            files[path] = [hashlib.sha256(content).hexdigest(), len(content)]
            newest = max(newest, mtime)
            add(tar, f"warm/cache/{path}", content, mode, mtime)
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest))
        manifest = {"format": FORMAT, "key": key, "made": made, "files": files}
        add(tar, "warm/key.json", json.dumps(manifest, sort_keys=True, indent=1).encode(), 0o644, newest)
    return manifest


def _packed_key(wanted: dict[str, Any], cache: Path, card: str) -> dict[str, str]:
    """For what all that a cache holds was compiled. Raises Unfit where a part is another's, or nobody knows."""
    key, found, _ = noted(cache)
    made_on = key.get("card") or card
    if not made_on:
        raise Unfit(f'{cache} does not say which card it was made on; give it: --card "NAME, CAPABILITY"')
    here = full_key(wanted, card or made_on)
    other = difference({**key, "card": made_on}, here) if key else ""
    if other:
        raise Unfit(f"{cache} was filled by a start of another plan: {other}")
    left = sorted(found.items() & times_of(cache, wanted).items())
    if left:
        more = f", and {len(left) - 1} more" if len(left) > 1 else ""
        raise Unfit(f"{cache} was filled before this plan used it: {left[0][0]}{more}")
    return here


def _read(path: Path) -> tuple[bytes, int, int]:
    """Bytes, mode and time of one moment."""
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        return file.read(), 0o755 if state.st_mode & 0o100 else 0o644, int(state.st_mtime)


def folders_of(paths: list[str]) -> list[str]:
    """Every folder above these, so that whoever unpacks has no mode to guess."""
    return sorted({str(p) for path in paths for p in PurePosixPath("warm/cache", path).parents} - {"."})


def add(tar: tarfile.TarFile, name: str, content: bytes, mode: int, mtime: int, kind: bytes = tarfile.REGTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime, member.type = len(content), mode, mtime, kind
    tar.addfile(member, io.BytesIO(content))


def main(words: list[str]) -> int:
    wanted = read_json(HOME / "warm.json")
    given = dict(zip(words[1::2], words[2::2]))  # noqa: B905  Python 3.9 knows no strict
    if words[:1] == ["use"]:
        os.umask(0o007)  # group 0 may write, so that the next start may have any uid
        if wanted:  # an engine that keeps nothing has none
            say(use(wanted, words[1] if len(words) > 1 else ""))
        return 0
    try:
        if words[:1] != ["pack"] or not wanted:
            raise Unfit(__doc__ or "")
        pack(wanted, Path(given.get("--cache") or wanted["cache"]), given.get("--card", ""), sys.stdout.buffer)
    except Unfit as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
