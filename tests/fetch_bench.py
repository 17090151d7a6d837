"""A store and a catalogue beside a stub hub: what the tests of fetch share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_stub import NEEDED, REPOSITORY, StubHub, sha256

from weighbridge.catalog import Catalog
from weighbridge.effects.fetch import fetch
from weighbridge.effects.hashing import Digests
from weighbridge.effects.web import Patience
from weighbridge.effects.wish import read_wish
from weighbridge.fetching import Fetched
from weighbridge.lock import LOCK_NAME, read_lock

QUICK = Patience(connect_seconds=2, read_seconds=2, attempts=3, pause_seconds=0.01, longest_pause_seconds=1)
SECRET = "hf_secret_of_the_user"


class Bench:
    """A store, a catalogue whose hub is the stub, and what was said."""

    def __init__(self, folder: Path, hub: StubHub) -> None:
        self.hub, self.folder, self.store = hub, folder, folder / "store"
        self.environment = {"WEIGHBRIDGE_STORE": str(self.store)}
        self.said: list[str] = []

    def catalog(self) -> Catalog:
        """The built-in one, with the stub as the hubs' own host."""
        models = self.folder / "catalog" / "models"
        models.mkdir(parents=True, exist_ok=True)
        text = (Path(__file__).parent.parent / "models" / "_sources.yaml").read_text(encoding="utf-8")
        for address in ("https://huggingface.co", "https://www.modelscope.cn"):
            assert address in text
            text = text.replace(address, self.hub.endpoint)
        (models / "_sources.yaml").write_text(text, encoding="utf-8")
        return Catalog(models.parent)

    def fetch(
        self, dry_run: bool = False, patience: Patience = QUICK, digests: Digests | None = None, **flags: Any
    ) -> Fetched:
        flags.setdefault("repo", REPOSITORY)
        wish = read_wish(flags, self.environment, self.catalog(), patience, self.said.append)
        return fetch(wish, self.said.append, dry_run=dry_run, digests=digests)

    def model(self) -> Path:
        return self.store / "some-model"

    def names(self) -> list[str]:
        found = (p for p in self.model().rglob("*") if p.is_file() and p.name != LOCK_NAME)
        return sorted(str(p.relative_to(self.model())) for p in found)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StubHub]:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with StubHub() as found:
        yield found


@pytest.fixture
def bench(hub: StubHub, tmp_path: Path) -> Bench:
    return Bench(tmp_path, hub)


def files_are_right(bench: Bench) -> None:
    assert bench.names() == list(NEEDED)
    for name in NEEDED:
        assert (bench.model() / name).read_bytes() == bench.hub.files[name], name
    lock = read_lock((bench.model() / LOCK_NAME).read_text(), bench.model() / LOCK_NAME)
    assert {f.path: f.sha256 for f in lock.files} == {n: sha256(bench.hub.files[n]) for n in NEEDED}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
