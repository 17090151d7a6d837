"""A git repository's files without a checkout: nothing is unpacked, no filter and no hook of it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from weighbridge.errors import BadValue, HostError
from weighbridge.sources import is_web, shown, without_users

_SMALL_BYTES = 64 << 20  # a file in git itself; weights are in LFS
_SILENT_SECONDS = 60  # under 1000 bytes a second for so long is a failure; git's own variables change both


@dataclass
class GitTree:
    """One commit of a repository on a server, fetched into a bare folder that goes with this object.

    `secret` is an Authorization header for this server; it travels in the environment, never in an argument.
    """

    address: str
    revision: str | None = None
    secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not re.match(r"https?://[^@/]+/", self.address) or not is_web(self.address):
            hint = "clone it yourself, run git lfs pull in it, then: --from FOLDER"
            name = shown(self.address) if "://" in self.address else self.address
            raise BadValue(f"--from {name}: not an http or https address without a user", hint)
        self._folder = tempfile.mkdtemp(prefix="weighbridge-git-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    @cached_property
    def commit(self) -> str:
        """The commit at hand, fetched when it is first needed. Raises HostError."""
        self._git("init", "--bare", "--quiet", ".")
        wanted = self.revision or "HEAD"
        done = self._run("fetch", "--quiet", "--depth=1", "--no-tags", self.address, wanted)
        if done.returncode and b"shallow" in done.stderr:  # a server without shallow fetches
            done = self._run("fetch", "--quiet", "--no-tags", self.address, wanted)
        if done.returncode:
            raise HostError(f"{shown(self.address)}: {_last_words(done.stderr)}", "check --from and --revision")
        return self._git("rev-parse", "FETCH_HEAD").decode().strip()

    def names(self) -> dict[str, str]:
        """Path → object of every plain file of the commit; links and submodules are left out."""
        return self._names

    @cached_property
    def _names(self) -> dict[str, str]:
        rows = self._git("ls-tree", "-r", "-z", self.commit).decode("utf-8", "replace").split("\0")
        split = [row.split("\t", 1) for row in rows if "\t" in row]
        return {path: head.split()[2] for head, path in split if head.startswith("100")}

    def contents(self, names: Mapping[str, str]) -> dict[str, bytes]:
        """The contents of files as git has them: pointers, where LFS keeps the rest. Raises HostError."""
        found = {}
        for path, oid in names.items():
            if int(self._git("cat-file", "-s", oid)) > _SMALL_BYTES:
                message = f"{shown(self.address)}: {path} is kept in git itself, not in LFS"
                raise HostError(message, "clone it yourself, then: --source dir --from FOLDER")
            found[path] = self._git("cat-file", "blob", oid)
        return found

    def _git(self, *words: str) -> bytes:
        done = self._run(*words)
        if done.returncode:
            raise HostError(f"git {words[0]}: {_last_words(done.stderr)}", "git --version")
        return done.stdout

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                ["git", *words], cwd=self._folder, env=self._environment(), capture_output=True, check=False
            )
        except FileNotFoundError:
            raise HostError("git is not installed", "apt-get install git") from None

    def _environment(self) -> dict[str, str]:
        """No question at a terminal; no redirect to another host once a secret is sent; no wait for a silent server.

        What git says is read here, so it is said in no language but its own.
        """
        settings = {"http.followRedirects": "false" if self.secret else "initial", "core.hooksPath": "/dev/null"}
        if self.secret:
            settings[f"http.{self.address}.extraHeader"] = f"Authorization: {self.secret}"
        numbered = {f"GIT_CONFIG_KEY_{n}": k for n, k in enumerate(settings)}
        numbered |= {f"GIT_CONFIG_VALUE_{n}": v for n, v in enumerate(settings.values())}
        numbered |= {"GIT_CONFIG_COUNT": str(len(settings)), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        patience = {"GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": str(_SILENT_SECONDS)}
        return {**patience, **os.environ, **numbered}


def _last_words(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines() or ["git said nothing"]
    return without_users(lines[-1])[:200]
