"""What fetch and verify found, as values and as text; and the line that says how far a fetch is."""

from __future__ import annotations

from weighbridge.facts import Value
from weighbridge.memory import GIB
from weighbridge.words import many


class Fetched(Value, frozen=True, kw_only=True):
    """A fetch that ended, or, with `dry_run`, one that would begin. `network_bytes` came from elsewhere."""

    model: str
    folder: str
    source: str
    repository: str | None
    revision: str | None
    files: tuple[str, ...]
    size_bytes: int
    needed_bytes: int
    free_bytes: int
    network_bytes: int = 0
    seconds: float = 0.0
    lock_digest: str | None = None
    lock_file: str | None = None
    licence: str | None = None
    licence_file: str | None = None
    present: bool = False
    dry_run: bool = False


class Problem(Value, frozen=True, kw_only=True):
    """What is wrong with one file: missing, size, sha256, pickle, structure or not in the lock."""

    path: str
    kind: str
    expected: str | None = None
    found: str | None = None
    moved_to: str | None = None


class Checked(Value, frozen=True, kw_only=True):
    """A model's folder beside its lock. `read_bytes` were hashed now; the rest was remembered by its stat."""

    folder: str
    model: str
    files: int
    size_bytes: int
    hashed: bool
    read_bytes: int
    seconds: float
    lock_digest: str | None
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def size_text(size: float) -> str:
    """Bytes for people: GiB from 1 GiB, MiB below."""
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / 2**20:.1f} MiB"


def time_text(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def progress_line(here: int, total: int, bytes_per_second: float) -> str:
    """How far a fetch is: bytes here, rate, and the time that is left at this rate."""
    done = f"{100 * here // total if total else 100} %"
    left = f", {time_text((total - here) / bytes_per_second)} left" if bytes_per_second > 0 else ""
    return f"fetch: {size_text(here)} of {size_text(total)} ({done}), {bytes_per_second / 1e6:.1f} MB/s{left}"


def fetched_text(found: Fetched) -> str:
    where = f"{found.source}{f' {found.repository}' if found.repository else ''}"
    rev = f" at {found.revision}" if found.revision else ""
    size = f"{many(len(found.files), 'file')}, {size_text(found.size_bytes)}"
    if found.dry_run:
        rows = [f"would fetch {found.model} from {where}{rev}: {size}", *(f"  {f}" for f in found.files)]
        rows.append(
            f"needs {size_text(found.needed_bytes)} more in {found.folder}; {size_text(found.free_bytes)} are free"
        )
        return "\n".join(rows)
    rate = f" at {found.network_bytes / found.seconds / 1e6:.0f} MB/s" if found.network_bytes and found.seconds else ""
    came = f"{size_text(found.network_bytes)} over the network in {time_text(found.seconds)}{rate}"
    came = came if found.network_bytes else "nothing came over the network"
    head = "nothing to do: it is there" if found.present else f"fetched from {where}{rev}: {came}"
    rows = [f"{found.model}: {head}", f"  {found.folder}: {size}, lock {(found.lock_digest or '')[:12]}"]
    if found.lock_file:
        rows.append(f"  lock written: {found.lock_file}")
    paper = f", text in {found.licence_file}" if found.licence_file else ", no licence file in the repository"
    return "\n".join([*rows, f"  licence: {found.licence or 'not said'}{paper}"])


def checked_text(found: Checked) -> str:
    size = f"{many(found.files, 'file')}, {size_text(found.size_bytes)}"
    rate = f" ({found.read_bytes / found.seconds / 1e9:.2f} GB/s)" if found.read_bytes and found.seconds > 0.05 else ""
    read = f"read {size_text(found.read_bytes)} in {found.seconds:.2f} s{rate}"
    if found.read_bytes < found.size_bytes:
        read += f", {size_text(found.size_bytes - found.read_bytes)} did not change since they were read (--no-cache)"
    how = f"sha256 of every file, {read}" if found.hashed else f"sizes only, {found.seconds * 1000:.0f} ms"
    if found.lock_digest is None:
        how = "structure only: there is no lock to compare contents with"
    rows = [f"{found.folder}: {'whole' if found.ok else many(len(found.problems), 'problem')}: {size}; {how}"]
    for p in found.problems:
        said = f": expected {p.expected}, found {p.found}" if p.expected else f": {p.found}" if p.found else ""
        rows.append(f"  {p.path}: {p.kind}{said}" + (f"; moved to {p.moved_to}" if p.moved_to else ""))
    return "\n".join(rows)
