"""Blocks that two files of one file system share, where it can do that: a copy that writes nothing."""

from __future__ import annotations

import errno
import fcntl
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

from weighbridge.layers import ALIGNMENT

_FICLONERANGE = 0x4020940D  # linux/fs.h: share a range of blocks between two files
_NO_CLONE = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.EPERM, errno.ETXTBSY, errno.ENOSYS}


def clone_range(source: int, begin: int, count: int, target: int, offset: int) -> bool:
    """Share `count` bytes (0: all to the end) of one open file with another; False where that cannot be.

    Raises OSError for a disk that is full or fails.
    """
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("qQQQ", source, begin, count, offset))
    except OSError as e:
        if e.errno in _NO_CLONE:
            return False
        raise
    return True


def shares_blocks(source: Path, place: Path) -> bool:
    """Whether a file of at least one block can share it with files in the folder `place`. Tries, and leaves nothing."""
    with suppress(OSError), source.open("rb") as one, tempfile.TemporaryFile(dir=place) as other:
        return clone_range(one.fileno(), 0, ALIGNMENT, other.fileno(), 0)
    return False
