"""Verbs of a model's weights: fetch, verify."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from weighbridge.cli import CATALOG, DRY, JSON, ORDER, Flags, say, show, verb
from weighbridge.verbs import asked

MODEL: Flags = {"model": ORDER["model"]}
LOCK: Flags = {"lock": (None, "the lock to keep to (default: models/<id>.lock.yaml, else the folder's own)")}
FETCH: Flags = {
    "source": (
        None,
        "hf, modelscope, dir or git-lfs; see models/_sources.yaml (default: the first that has the model)",
    ),
    "endpoint": (
        None,
        "address of a mirror that speaks the source's protocol (default: HF_ENDPOINT, else the source's own)",
    ),
    "revision": (None, "branch, tag or commit (default: the lock's, else the source's newest)"),
    "repo": (None, "OWNER/NAME at the source (default: the catalogue's)"),
    "from_": (None, "a folder for dir, an https address or a folder for git-lfs"),
    "lock": (None, "the lock to keep to; written when the file is not there (default: models/<id>.lock.yaml)"),
    "token_file": (None, "a file with the token for this very host (default: the source's own token at its own host)"),
    "jobs": ("4", "files at a time (default 4)"),
}


@verb(MODEL, FETCH, CATALOG, DRY, JSON)
def fetch(json: bool, dry_run: bool, **values: Any) -> None:
    """Fetch a model's weights into the store, checked by their lock; goes on where it was interrupted."""
    from weighbridge.effects.fetch import fetch as bring
    from weighbridge.effects.hashing import DIGESTS, Digests
    from weighbridge.effects.wish import read_wish
    from weighbridge.fetching import fetched_text

    it = asked(values)
    wish = read_wish(values, os.environ, it.catalog, say=say)
    found = bring(wish, say, dry_run=dry_run, digests=Digests(it.folders.cache / DIGESTS))
    show(found, lambda: fetched_text(found), json)


CHECK: Flags = {
    "weights": (None, "folder to check (default: the model's in the store)"),
    "quick": (False, "names, sizes and headers only; reads no weights"),
    "no_cache": (False, "read every file again, also those that did not change since they were last read"),
}


@verb(MODEL, CHECK, LOCK, CATALOG, JSON)
def verify(json: bool, quick: bool, no_cache: bool, **values: Any) -> int:
    """Compare a model's files with their lock: sizes, sha256, headers, no pickle; exit 1 when something is wrong."""
    from weighbridge.effects.hashing import DIGESTS, Digests
    from weighbridge.effects.verify import verify as check
    from weighbridge.effects.wish import stored_model
    from weighbridge.fetching import checked_text

    it = asked(values)
    model, folder, lock = stored_model(values, os.environ, it.catalog, say)
    cache = it.folders.cache / DIGESTS
    found = check(Path(folder), model, lock, Digests(cache, read=not no_cache), say, quick=quick)
    show(found, lambda: checked_text(found), json)
    return 0 if found.ok else 1
