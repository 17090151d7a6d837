"""The protocols of the sources: each lists a repository, and says where the bytes of each file are."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from weighbridge.effects.git import GitTree
from weighbridge.effects.web import Web
from weighbridge.errors import BadFile, BadValue, HostError
from weighbridge.sources import (
    Listing,
    RemoteFile,
    check_revision,
    hf_api,
    modelscope_api,
    modelscope_file,
    read_modelscope,
    read_pointer,
    shown,
    wanted,
)
from weighbridge.words import many


@dataclass(frozen=True)
class Place:
    """Where a file's bytes are: an address, a file of this machine, or the bytes themselves."""

    address: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: Path | None = None
    content: bytes | None = None


class Hub(Protocol):
    """A source that can be asked."""

    @property
    def where(self) -> str: ...

    def listing(self) -> Listing: ...

    def locate(self, file: RemoteFile, revision: str | None) -> Place: ...


@dataclass
class HfHub:
    """Hugging Face's protocol: the hub, its mirrors, and what else speaks it."""

    web: Web
    endpoint: str
    repository: str
    revision: str

    @property
    def where(self) -> str:
        return f"{shown(self.endpoint)}/{self.repository}"

    def listing(self) -> Listing:
        from huggingface_hub.hf_api import ModelInfo

        answer = self.web.json(hf_api(self.endpoint, self.repository, self.revision))
        try:
            info: Any = ModelInfo(**answer)  # type: ignore[no-untyped-call]
            files = tuple(_hf_file(s) for s in info.siblings or ())
            commit, card = info.sha, info.card_data
            licence = str(card.get("license_name") or card.get("license") or "") if card else ""
            revision = self.revision if commit is None else check_revision(str(commit))
        except (AttributeError, KeyError, TypeError, ValueError, BadValue) as e:
            hint = "check --endpoint: it does not speak this protocol as it should"
            raise HostError(f"{self.where}: not an answer of a hub: {e!r:.120}", hint) from None
        return Listing(repository=self.repository, revision=revision, licence=licence or None, files=files)

    def locate(self, file: RemoteFile, revision: str | None) -> Place:
        from huggingface_hub import hf_hub_url

        name = revision or self.revision
        return Place(hf_hub_url(self.repository, file.path, revision=name, endpoint=self.endpoint))


def _hf_file(sibling: Any) -> RemoteFile:
    lfs, path = sibling.lfs, sibling.rfilename
    if not isinstance(path, str):
        raise ValueError(f"{path!r} is no name")
    if not isinstance(lfs.size if lfs else sibling.size, int):
        raise ValueError(f"{path[:80]} has no size")
    if lfs:
        return RemoteFile(path=path, size_bytes=lfs.size, sha256=_digest(lfs.sha256, 64))
    return RemoteFile(path=path, size_bytes=sibling.size, git_sha1=_digest(sibling.blob_id, 40))


def _digest(text: Any, length: int) -> str | None:
    """A digest in hexadecimal; it becomes a file's name, so nothing else may."""
    if text is None:
        return None
    if not isinstance(text, str) or len(text) != length or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{str(text)[:80]!r} is no digest")
    return text


@dataclass
class ModelScopeHub:
    """ModelScope's own API, which gives the sha256 of every file."""

    web: Web
    endpoint: str
    repository: str
    revision: str

    @property
    def where(self) -> str:
        return f"{shown(self.endpoint)}/{self.repository}"

    def listing(self) -> Listing:
        answer = self.web.json(modelscope_api(self.endpoint, self.repository, self.revision))
        return read_modelscope(answer, self.repository, self.revision, self.where)

    def locate(self, file: RemoteFile, revision: str | None) -> Place:
        return Place(modelscope_file(self.endpoint, self.repository, revision or self.revision, file.path))


@dataclass
class FolderHub:
    """A folder of this machine: a copy, a mounted disk, or a git clone whose LFS files were pulled."""

    folder: Path

    @property
    def where(self) -> str:
        return str(self.folder)

    def listing(self) -> Listing:
        if not self.folder.is_dir():
            raise BadValue(f"--from {self.folder}: no such folder", "name the folder that holds config.json")
        found = [p for p in sorted(self.folder.rglob("*")) if p.is_file() and not _hidden(p, self.folder)]
        names = {str(p.relative_to(self.folder)): p for p in found}
        kept = [names[n] for n in wanted(names)]
        refuse_pointers(self.folder, kept)
        files = tuple(RemoteFile(path=str(p.relative_to(self.folder)), size_bytes=p.stat().st_size) for p in kept)
        return Listing(repository=self.folder.name, revision=None, files=files)

    def locate(self, file: RemoteFile, revision: str | None) -> Place:
        path = self.folder / file.path
        if path.is_file():
            refuse_pointers(self.folder, [path])
        return Place(path=path)


def refuse_pointers(folder: Path, files: Sequence[Path]) -> None:
    """Raises BadFile for files that stand for contents that git-lfs never brought."""
    pointers = [p for p in files if p.stat().st_size <= 1024 and read_pointer(p.read_bytes())]
    if pointers:
        message = f"{folder}: {pointers[0].name} is an LFS pointer ({len(pointers)} of {many(len(files), 'file')})"
        raise BadFile(message, f"cd {shlex.quote(str(folder))} && git lfs pull")


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


@dataclass
class GitServer:
    """A git server with LFS: small files from git itself, large ones by the LFS batch protocol, resumable."""

    web: Web
    tree: GitTree
    _actions: dict[str, Place] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return shown(self.tree.address)

    def listing(self) -> Listing:
        files = tuple(_git_file(path, content) for path, content in self._contents().items())
        return Listing(repository=self.tree.address, revision=self.tree.commit, files=files)

    def _contents(self) -> dict[str, bytes]:
        names = self.tree.names()
        return self.tree.contents({n: names[n] for n in wanted(names)})

    def locate(self, file: RemoteFile, revision: str | None) -> Place:
        name = self.tree.names().get(file.path)
        if name is None:
            raise HostError(f"{self.where}: has no {file.path} at {self.tree.commit}", "check --from and --revision")
        content = self.tree.contents({file.path: name})[file.path]
        pointer = read_pointer(content)
        if pointer is None:
            return Place(content=content)
        if pointer[0] not in self._actions:
            self._batch([pointer])
        return self._actions[pointer[0]]

    def _batch(self, objects: Sequence[tuple[str, int]]) -> None:
        """Ask where objects are; an action may bring its own headers, which are for its origin alone."""
        address = f"{self.tree.address.removesuffix('/').removesuffix('.git')}.git/info/lfs/objects/batch"
        body = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": oid, "size": size} for oid, size in objects],
        }
        kind = "application/vnd.git-lfs+json"
        answer = self.web.json(address, body, {"Accept": kind, "Content-Type": kind, **basic(self.web.token)})
        try:
            for found in answer["objects"]:
                if "error" in found:
                    said = str(found["error"].get("message"))[:160]
                    raise HostError(f"{self.where}: {str(found['oid'])[:64]}: {said}", "check --from and --revision")
                action = found["actions"]["download"]
                headers = {str(k): str(v) for k, v in (action.get("header") or {}).items()}
                self._actions[str(found["oid"])] = Place(str(action["href"]), headers)
        except (KeyError, TypeError, AttributeError) as e:
            raise HostError(f"{self.where}: not an answer of an LFS server: {e!r:.120}", "check --from") from None
        missing = [oid for oid, _ in objects if oid not in self._actions]
        if missing:
            raise HostError(f"{self.where}: does not say where {missing[0]} is", "check --from")


def basic(token: str | None) -> dict[str, str]:
    """How git servers take a token: as the password of any user."""
    return {"Authorization": "Basic " + base64.b64encode(f"token:{token}".encode()).decode()} if token else {}


def _git_file(path: str, content: bytes) -> RemoteFile:
    import hashlib

    pointer = read_pointer(content)
    if pointer:
        return RemoteFile(path=path, sha256=pointer[0], size_bytes=pointer[1])
    return RemoteFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
