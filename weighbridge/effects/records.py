"""What was proven of an image, in files that its recipe names: its last benchmark and its last smoke test."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from weighbridge.bench import BenchReport
from weighbridge.benchtext import brief, short_bench
from weighbridge.effects.bench import recorded
from weighbridge.effects.disk import write_file
from weighbridge.types import SmokeReport


class Proofs(NamedTuple):
    """The last of each; `smoke_digest` is of the report's file, `smoke_date` when it was written."""

    bench: BenchReport | None
    smoke: SmokeReport | None
    smoke_digest: str | None
    smoke_date: str | None

    @property
    def bench_words(self) -> str:
        return short_bench(self.bench)

    @property
    def smoke_words(self) -> str:
        if self.smoke is None:
            return "-"
        marks = [c.ok for c in self.smoke.checks]
        words = f"{marks.count(True)} of {len(marks) - marks.count(None)} passed, {self.smoke.level}"
        return f"{words} ({self.smoke_date}), {str(self.smoke_digest)[:19]}"

    def plain(self) -> dict[str, Any]:
        smoke = None
        if self.smoke:
            smoke = {
                "ok": self.smoke.ok,
                "level": self.smoke.level,
                "date": self.smoke_date,
                "digest": self.smoke_digest,
            }
        return {"bench": brief(self.bench) if self.bench else None, "smoke": smoke}


def proofs(recipe: str, folder: Path) -> Proofs:
    """What is kept of an image; None for what is not, or cannot be read."""
    path = smoke_path(recipe, folder)
    with suppress(OSError, msgspec.MsgspecError):
        content = path.read_bytes()
        report = msgspec.json.decode(content, type=SmokeReport)
        date = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
        return Proofs(recorded(recipe, folder), report, digest_of(content), date)
    return Proofs(recorded(recipe, folder), None, None, None)


def smoke_path(recipe: str, folder: Path) -> Path:
    return folder / "smoke" / f"{recipe[:12]}.json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def smoke_bytes(report: SmokeReport) -> bytes:
    """The report as it is kept and attached; where its key lay and how it was reached is this host's business."""
    kept = msgspec.structs.replace(report, key_file=None, cert=None, url="")
    return (json.dumps(msgspec.to_builtins(kept), indent=1, ensure_ascii=False) + "\n").encode()


def keep_smoke(report: SmokeReport, folder: Path) -> Path | None:
    """The report beside the image that it is about; None for a server at an address, whose image nobody here knows."""
    recipe = report.about.get("recipe")
    if not recipe:
        return None
    path = smoke_path(recipe, folder)
    write_file(path, smoke_bytes(report).decode())
    return path
