"""Make the hashed lock beside a .in file: python lock.py cpu-0.32.0-cp311.in

pip resolves the whole closure with the machine's own configuration and reports names, versions and
hashes; what the .in file leaves out ("#- NAME…: REASON") is dropped. Nothing is installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from weighbridge.effects.wheels import target_flags


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def left_out(text: str) -> set[str]:
    lines = re.findall(r"^#- ([^:\n]+):", text, flags=re.MULTILINE)
    return {canonical(name) for line in lines for name in line.split()}


def resolve(source: Path, python: str) -> list[dict[str, Any]]:
    """pip's report on `source` for that Python, without installing."""
    with tempfile.TemporaryDirectory() as aside:
        report = Path(aside, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--report", str(report), "--target", aside, "-r", str(source), *target_flags(python)]
        subprocess.run(command, check=True)
        return list(json.loads(report.read_text(encoding="utf-8"))["install"])


def pin(item: dict[str, Any]) -> tuple[str, str]:
    meta, hashes = item["metadata"], item["download_info"]["archive_info"]["hashes"]
    return canonical(meta["name"]), f"{meta['version']} --hash=sha256:{hashes['sha256']}"


def main(source: Path) -> None:
    python = re.sub(r".*-cp3(\d+)$", r"3.\1", source.stem)
    drop = left_out(source.read_text(encoding="utf-8"))
    pins = dict(sorted(pin(item) for item in resolve(source, python)))
    if unknown := sorted(drop - pins.keys()):
        sys.exit(f"{source}: leaves out what is not in the closure: {' '.join(unknown)}")
    kept = [f"{name}=={rest}" for name, rest in pins.items() if name not in drop]
    head = f"# Made from {source.name} by lock.py; edit that one. {len(kept)} of {len(pins)} packages.\n"
    source.with_suffix(".txt").write_text(head + "\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
