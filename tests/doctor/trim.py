"""Makes a capture fit to be committed: only what the doctor asks, without names of the machine.

PYTHONPATH=. python tests/doctor/trim.py FOLDER     # a folder that capture.sh wrote; changed in place
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from weighbridge.catalog import Catalog
from weighbridge.doctor import areas

NAMES = [
    (r"^(Linux) \S+ ", r"\1 host "),
    (r"^( *(?:Name|ID|Username)): .*$", r"\1: -"),
    (r"(?<=<serial>)\w+(?=</serial>)", "-"),
    (r"GPU-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-([0-9a-f]{12})", r"GPU-00000000-0000-0000-0000-\1"),
]


def trim(folder: Path) -> int:
    """Removes every file that no question reads; returns how many are left."""
    asked = {name.replace("_", "-") for area in areas(Catalog()).values() for name in area.questions}
    for path in sorted(folder.iterdir()):
        if path.name == "expected.yaml":
            continue
        kept = path.stem in asked and path.suffix in (".out", ".rc")
        if not kept or (path.suffix == ".rc" and path.read_text().strip() == "0"):
            path.unlink()
        elif path.suffix == ".out":
            text = path.read_text(encoding="utf-8", errors="replace")
            for pattern, instead in NAMES:
                text = re.sub(pattern, instead, text, flags=re.MULTILINE)
            path.write_text(text, encoding="utf-8")
    return len(list(folder.glob("*.out")))


if __name__ == "__main__":
    print(trim(Path(sys.argv[1])), "answers are left")
