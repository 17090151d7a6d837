"""Calibration rows of one's own: files in a folder of the user, written aside and renamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import yaml

from weighbridge.calibration import CalibrationFile
from weighbridge.catalog import convert, read_yaml
from weighbridge.effects.disk import write_file
from weighbridge.errors import BadFile, HostError


def folder_of(environment: Mapping[str, str]) -> Path:
    """WEIGHBRIDGE_CALIBRATION, else weighbridge/calibration in the user's configuration folder."""
    named = environment.get("WEIGHBRIDGE_CALIBRATION")
    if named:
        return Path(named)
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "weighbridge" / "calibration"


def read_files(folder: Path) -> Iterator[CalibrationFile]:
    """Every file of rows, by name. Raises BadFile for one that is none, HostError for one that cannot be read."""
    for path in sorted(folder.glob("*.yaml")):
        try:
            yield convert(read_yaml(path), CalibrationFile, path)
        except OSError as e:
            raise HostError(f"{path}: {e.strerror or e}", f"ls -l {path.parent}") from None


def keep(file: CalibrationFile, folder: Path) -> Path:
    """The file in the folder, in place of an earlier run of the same plan."""
    path = folder / f"{file.rows[0].id}.yaml"
    plain = msgspec.to_builtins(file)
    about, row = ({k: v for k, v in found.items() if v is not None} for found in (plain["about"], plain["rows"][0]))
    text = yaml.safe_dump({"about": about, "rows": [row]}, sort_keys=False, allow_unicode=True, width=118)
    write_file(path, text)
    return path


def kept_or_none(folder: Path) -> tuple[list[CalibrationFile], str | None]:
    """The files as far as they can be read, and what is wrong with the rest: planning goes on without them."""
    found: list[CalibrationFile] = []
    try:
        found.extend(read_files(folder))
    except (BadFile, HostError) as e:
        return found, e.message
    return found, None
