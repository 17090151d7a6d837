"""Make an installed engine small: drop what serving never reads, drop debug sections, compile the rest.

python slim.py /opt/engine     runs in the build, with the standard library alone
"""

from __future__ import annotations

import compileall
import os
import shutil
import struct
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

# Beneath site-packages.
DROP = (
    "pip",
    "pip-*.dist-info",
    "torch/test",
    "torch/include",
    "torch/share",
    "torch/bin/test_*",
    "torch/bin/*StoreTest",
    "torch/bin/protoc*",
    "torch/bin/*.pt*",
    "torch/bin/upgrader_models",
    "torch/lib/*_test.so",
    "torch/lib/libbackend_with_compiler.so",
    "pycountry/locales",
    "**/*.a",
    "**/*.pxd",
    "**/*.pyi",
)
TEST_FOLDERS = ("numpy", "sympy", "networkx")  # elsewhere "tests" may be imported
# An import makes objects and hardly any garbage: with Python's own thresholds a sixth of each import is spent looking
# for some, and a start has three or four imports of the whole engine.
COLLECT_SELDOM = "import gc; gc.set_threshold(50000, 20, 50)\n"
LOAD = 1
UNCHECKED = PycInvalidationMode.UNCHECKED_HASH


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def drop(site: Path) -> None:
    tests = [f"{name}/**/tests" for name in TEST_FOLDERS]
    for pattern in (*DROP, *tests):
        for path in list(site.glob(pattern)):
            if path.exists():
                remove(path)


def loaded_bytes(head: bytes, read_at: int, size: int, count: int) -> int:
    """Where the last byte lies that the loader maps, from the program headers."""
    rows = (struct.unpack_from("<IIQQQQQQ", head, read_at + i * size) for i in range(count))
    return max((row[2] + row[5] for row in rows if row[0] == LOAD), default=0)


def strip(path: Path) -> int:
    """Cut symbols and debug data off a shared object; bytes saved.

    They come after everything that is loaded, so this needs no binutils in the image. The section
    table goes with them: the loader reads program headers only.
    """
    with path.open("r+b") as file:
        head = file.read(1 << 16)
        if head[:6] != b"\x7fELF\x02\x01":
            return 0
        headers, size, count = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54)
        before, end = path.stat().st_size, loaded_bytes(head, headers, size, count)
        if headers + size * count > len(head) or not 0 < end < before:
            return 0
        file.seek(40)
        file.write(bytes(8))  # e_shoff
        file.seek(58)
        file.write(bytes(6))  # e_shentsize, e_shnum, e_shstrndx
        file.truncate(end)
    return before - end


def open_to_any_user(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(0o755 if mode & 0o100 else 0o644)


def main(root: Path) -> None:
    site = next(root.glob("lib/python3*/site-packages"))
    drop(site)
    saved = sum(strip(path) for path in site.rglob("*.so*") if not path.is_symlink())
    print(f"slim: {saved / 1e6:.0f} MB of symbols cut off")
    (site / "collect_seldom.pth").write_text(COLLECT_SELDOM)  # read by every start of this Python
    # The root is read-only later: what is not compiled now is compiled again at every start.
    compileall.compile_dir(site, quiet=2, workers=0, invalidation_mode=UNCHECKED)
    open_to_any_user(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
