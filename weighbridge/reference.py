"""An image's name at a registry: host, repository, tag."""

from __future__ import annotations

import re
from typing import NamedTuple

from weighbridge.errors import BadValue

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_HOST = re.compile(r"(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?")
_HINT = "write --ref HOST/NAME:TAG, for example: --ref 127.0.0.1:5000/demo:1"


class Reference(NamedTuple):
    """`registry` is a host with a port, as it was written."""

    registry: str
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is this machine itself, where plain http is safe."""
        return bool(_LOOPBACK.fullmatch(self.registry))


def read_reference(text: str) -> Reference:
    """The name in HOST/NAME:TAG. Raises BadValue: there is no default host, and `latest` is never meant by silence."""
    host, slash, rest = text.partition("/")
    if not slash or not _HOST.fullmatch(host) or not ({".", ":"} & set(host) or host == "localhost"):
        raise BadValue(f"--ref {text!r} names no registry", _HINT)
    repository, colon, tag = rest.partition(":")
    if "@" in rest or not _REPOSITORY.fullmatch(repository):
        raise BadValue(f"--ref {text!r}: {repository!r} is no name of a repository", _HINT)
    if not colon or not _TAG.fullmatch(tag):
        raise BadValue(f"--ref {text!r} has no tag", f"add one: --ref {host}/{repository}:1")
    return Reference(host, repository, tag)
