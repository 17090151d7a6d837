"""The lock of a model's files: written, read back, and refused when it is not whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from weighbridge.errors import BadFile
from weighbridge.lock import Lock, LockedFile, is_plain_path, lock_text, read_lock

SHA = "ab" * 32
LOCK = Lock(
    model="m",
    repository="org/m",
    revision="1" * 40,
    files=(
        LockedFile(path="b/model.safetensors", size_bytes=5, sha256=SHA),
        LockedFile(path="a.json", size_bytes=0, sha256=SHA),
    ),
)


def test_a_lock_survives_its_file() -> None:
    again = read_lock(lock_text(LOCK), Path("m.lock.yaml"))
    assert again.digest == LOCK.digest
    assert [f.path for f in again.files] == ["a.json", "b/model.safetensors"]
    assert again.size_bytes == 5
    assert lock_text(again) == lock_text(LOCK)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("a.json", "../a.json", "'../a.json'"),
        ("a.json", "/etc/passwd", "'/etc/passwd'"),
        ("a.json", "b/model.safetensors", "stands twice"),
        (SHA, "xyz", "sha256"),
        ("size_bytes: 5", "size_bytes: -5", "size"),
        ("revision", "revison", "revison"),
        ("model: m", "model: [", "no lock"),
    ],
)
def test_what_is_no_sound_lock_is_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(BadFile, match=r"m\.lock\.yaml") as e:
        read_lock(lock_text(LOCK).replace(old, new), Path("m.lock.yaml"))
    assert says in e.value.message


@pytest.mark.parametrize("path", ["", "..", "a/../b", "/a", "a//b", "a\\b", "a/", "./a", "a\nb", "x" * 600])
def test_paths_that_lead_elsewhere(path: str) -> None:
    assert not is_plain_path(path)
