"""Who we are at a registry: what `docker login` wrote, and the tokens that registries give for it.

A password goes to the registry it was written for, and to the token service that this registry names, over https or to
this machine alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from weighbridge.errors import BadFile, HostError
from weighbridge.reference import Reference
from weighbridge.sources import shown

_HELPER_SECONDS = 30
_FIELD = re.compile(r'(\w+)="([^"]*)"')
_HUB = "https://index.docker.io/v1/"  # the name under which `docker login` keeps its own hub


class Login(NamedTuple):
    """A user and a password, or an identity token in its place; both empty for nobody."""

    user: str = ""
    password: str = ""
    identity: str = ""


def read_login(reference: Reference, environment: Mapping[str, str]) -> Login:
    """The login for a registry from $DOCKER_CONFIG/config.json or ~/.docker/config.json. Raises BadFile, HostError."""
    folder = environment.get("DOCKER_CONFIG") or str(Path(environment.get("HOME") or "~").expanduser() / ".docker")
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_bytes()) if path.is_file() else {}
        names = _names(reference.registry)
        helper = next((h for n in names if (h := (config.get("credHelpers") or {}).get(n))), config.get("credsStore"))
        if helper:
            return _ask(str(helper), names[0])
        return _login(next((a for n in names if (a := (config.get("auths") or {}).get(n))), {}))
    except (ValueError, AttributeError, OSError) as e:
        raise BadFile(f"{path}: {e}", f"docker login {reference.registry}") from None


def _names(registry: str) -> list[str]:
    """The names under which a registry's login may stand."""
    names = [
        registry,
        f"https://{registry}",
        f"http://{registry}",
        f"https://{registry}/v1/",
        f"https://{registry}/v2/",
    ]
    return [_HUB, *names] if registry.endswith("docker.io") else names


def _login(kept: Mapping[str, Any]) -> Login:
    try:
        user, _, password = base64.b64decode(kept.get("auth") or "").decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError("an auth that is no base64") from None
    return Login(user or kept.get("username", ""), password or kept.get("password", ""), kept.get("identitytoken", ""))


def _ask(helper: str, name: str) -> Login:
    """What a credential helper knows; nobody when it knows nothing."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", helper):
        raise ValueError(f"a credential helper called {helper!r}")
    command = [f"docker-credential-{helper}", "get"]
    try:
        done = subprocess.run(command, input=name, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise HostError(f"{command[0]}: {e}", f"docker login {name}") from None
    if done.returncode:
        return Login()
    found = json.loads(done.stdout)
    user, secret = str(found.get("Username", "")), str(found.get("Secret", ""))
    return Login(identity=secret) if user == "<token>" else Login(user, secret)


class Authority:
    """The Authorization header for a registry, found when the registry first asks for one."""

    def __init__(self, login: Login, client: httpx.Client, reference: Reference, *, insecure: bool) -> None:
        self.login, self.client, self.reference, self.insecure = login, client, reference, insecure
        self.header: str | None = None

    def answer(self, challenge: str, others: tuple[str, ...] = ()) -> None:
        """Make a header for a WWW-Authenticate; `others` are repositories to read from. Raises HostError."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self.login.user:
            pair = f"{self.login.user}:{self.login.password}".encode()
            self.header = f"Basic {base64.b64encode(pair).decode()}"
        elif scheme.lower() == "bearer":
            asked = dict(_FIELD.findall(rest))
            try:
                self.header = f"Bearer {self._token(asked, others)}"
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError) as e:
                raise self.refused(f"gives no token to push: {type(e).__name__}") from None
        else:
            raise self.refused("asks for a login")

    def refused(self, why: str) -> HostError:
        return HostError(f"{self.reference.registry} {why}", f"docker login {self.reference.registry}")

    def _token(self, challenge: Mapping[str, str], others: tuple[str, ...]) -> str:
        realm = httpx.URL(challenge.get("realm", ""))
        self._check_realm(realm)
        scopes = [f"repository:{self.reference.repository}:pull,push", *(f"repository:{o}:pull" for o in others)]
        answer = self._asked(realm, challenge.get("service", ""), scopes)
        if answer.status_code != 200:
            raise self.refused(f"gives no token to push: {answer.status_code}")
        found = answer.json()
        token = found.get("token") or found.get("access_token")
        if not token:
            raise self.refused("gives an empty token")
        return str(token)

    def _asked(self, realm: httpx.URL, service: str, scopes: list[str]) -> httpx.Response:
        if self.login.identity:
            form = {"grant_type": "refresh_token", "refresh_token": self.login.identity, "service": service,
                    "client_id": "weighbridge", "scope": " ".join(scopes)}  # fmt: skip
            return self.client.post(realm, data=form)
        who = (self.login.user, self.login.password) if self.login.user else None
        asked = realm.copy_merge_params({"service": service, "scope": scopes})
        return self.client.get(asked, auth=who) if who else self.client.get(asked)

    def _check_realm(self, realm: httpx.URL) -> None:
        here = Reference(realm.netloc.decode(), "", "").is_loopback
        if realm.scheme != "https" and not (here or self.insecure):
            raise self.refused(f"sends passwords to {shown(str(realm))}, which is not https")
