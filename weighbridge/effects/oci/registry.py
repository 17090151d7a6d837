"""A registry: layers streamed into it as they are read, nothing written here, and nothing sent that it has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from weighbridge.effects.oci.blocks import Stopped
from weighbridge.effects.oci.digests import Digests
from weighbridge.effects.oci.login import Authority, read_login
from weighbridge.effects.oci.pour import Pour
from weighbridge.effects.oci.sink import Source, small
from weighbridge.effects.oci.uploads import Upload, come, sweep
from weighbridge.errors import HostError
from weighbridge.image import MANIFEST, Image, Sealed
from weighbridge.layers import Inside, Layer, cut
from weighbridge.reference import Reference

_TIMES = httpx.Timeout(connect=20, read=900, write=300, pool=60)  # a registry may hash 9 GiB before it answers
_TRIES = 4
PAUSE_SECONDS = 1.0  # after the first failure; then twice as long each time
_ELSEWHERE = {301, 302, 303, 307, 308}  # kept in an object store: asked for by HEAD, it is there
_BUSY = {429, 500, 502, 503, 504}
_NO_STREAM = {400, 405, 411, 413, 416, 501}
_MOVED_ON = {404, 416}  # the registry had more of an upload than it said, or forgot it
Pieces = Callable[[], Generator[memoryview, None, None]]
_BYTES = {"Content-Type": "application/octet-stream"}


class _Request(NamedTuple):
    """One with a large body. `resumed`: the registry has the bytes before it."""

    method: str
    url: str
    pieces: Pieces | None
    headers: Mapping[str, str]
    resumed: bool = False


class RegistrySink:
    """Pushes to `reference`. A blob whose digest is not known yet is streamed and named afterwards; where a registry
    refuses that, or with `digest_first`, it is hashed first and sent by its name. What breaks off goes on where the
    registry says that it stopped, the next time too when `uploads` is a folder."""

    kind = "registry"

    def __init__(
        self, reference: Reference, digests: Digests, environment: Mapping[str, str], *, insecure: bool = False,
        digest_first: bool = False, uploads: Path | None = None,
    ) -> None:  # fmt: skip
        self.reference, self.digests, self.written, self.uploads = reference, digests, 0, uploads
        if uploads:
            sweep(uploads)
        self.digest_first = digest_first
        scheme = "http" if reference.is_loopback or insecure else "https"
        self.client = httpx.Client(
            base_url=f"{scheme}://{_address(reference.registry)}", timeout=_TIMES, verify=not insecure,
            trust_env=not reference.is_loopback, headers={"User-Agent": "weighbridge"},
        )  # fmt: skip
        self.authority = Authority(read_login(reference, environment), self.client, reference, insecure=insecure)
        self.stop = threading.Event()
        self._there: set[str] = set()
        try:
            self._hello()
        except BaseException:
            self.client.close()
            raise

    def _hello(self) -> None:
        answer = self._ask("GET", "/v2/")
        if answer.status_code != 200:
            raise self._refused("speaks no registry protocol", answer)

    def cut(self, files: Sequence[Inside], most_gib: float) -> tuple[Layer, ...]:
        return cut(files, most_gib)

    def check_room(self, new_bytes: int) -> None:
        """A registry does not say what room it has."""

    def has(self, sealed: Sealed) -> bool:
        if sealed.digest in self._there:
            return True
        answer = self._ask("HEAD", self._path(f"blobs/sha256:{sealed.digest}"))
        there = answer.status_code == 200 and int(answer.headers.get("Content-Length", -1)) in (-1, sealed.size_bytes)
        there = there or answer.status_code in _ELSEWHERE
        if there or self._mounted(sealed):
            self._keep(sealed.digest)
            return True
        return False

    def _mounted(self, sealed: Sealed) -> bool:
        """Whether the registry took it over from another of its repositories."""
        other = self.digests.place(sealed.digest, self.reference.registry)
        if not other or other == self.reference.repository:
            return False
        query = {"mount": f"sha256:{sealed.digest}", "from": other}
        answer = self._ask("POST", self._path("blobs/uploads/"), params=query, others=(other,))
        if answer.status_code == 202:  # it opened an upload instead
            self._ask("DELETE", self._location(answer))
        return answer.status_code == 201

    def put(self, pour: Pour) -> None:
        if not self.digest_first:
            answer = self._streamed(pour)
            if answer is None:
                return
            self.digest_first = True  # this registry wants a digest first; the next layers begin with it
        known = self.digests.layer(pour.layer)
        if known is None:
            first = Pour(pour.layer, pour.folder, pour.digests, passed=lambda _: None, stop=pour.stop)
            first.drain()
            assert first.sealed
            self.digests.keep_layer(first.layer, first.sealed)
            known = first.sealed
            pour.layer, pour.files = first.layer, {**pour.files, **first.files}
        if self.has(known):
            pour.sealed = known
            return
        self._by_name(known, lambda: _counted(pour))

    def _streamed(self, pour: Pour) -> httpx.Response | None:
        """The answer of a registry that takes no bytes without their digest; None when all went well."""
        name = f"{self.reference.registry}/{self.reference.repository} {pour.identity}"
        with closing(Upload(self.uploads, name)) as upload:
            if self._has_ended(pour, upload):
                return None
            answer = self._send(lambda: self._rest(pour, upload))
            if answer.status_code in _NO_STREAM:
                upload.end()
                return answer
            if answer.status_code not in (202, 201, 204):
                raise self._refused(f"refused {pour.layer.title}", answer)
            assert pour.sealed
            self._finish(self._location(answer), pour.sealed, upload)
            self.digests.keep_layer(pour.layer, pour.sealed)
            upload.end()
            return None

    def _has_ended(self, pour: Pour, upload: Upload) -> bool:
        """Whether a bake was killed when its upload was whole: the registry knows it no more, but has the blob."""
        if not upload.place or self._ask("GET", upload.place).status_code != 404:
            return False
        pour.drain()
        assert pour.sealed
        upload.end()
        return self.has(pour.sealed)

    def _rest(self, pour: Pour, upload: Upload) -> _Request:
        """What the registry does not have of a layer: all of it, when it does not say."""
        asked = self._ask("GET", upload.place) if upload.place else None
        have = come(asked.headers.get("Range", "")) if asked and asked.status_code == 204 else 0
        if asked is None or not 0 < have <= pour.size_bytes:
            have, asked = 0, self._open()
        upload.keep(self._location(asked))
        if have == pour.size_bytes:
            pour.drain()
            return _Request("GET", upload.place, None, {}, resumed=True)
        headers = {**_BYTES, "Content-Length": str(pour.size_bytes - have)}
        if have:
            headers["Content-Range"] = f"{have}-{pour.size_bytes - 1}"
        return _Request("PATCH", upload.place, lambda: _counted(pour, have), headers, resumed=have > 0)

    def _finish(self, place: str, sealed: Sealed, upload: Upload) -> None:
        answer = self._ask("PUT", _with_digest(place, sealed))
        lost = answer.status_code == 404 and self.has(sealed)  # only the answer to an earlier attempt was
        if answer.status_code not in (201, 204) and not lost:
            upload.end()
            raise self._refused(f"did not keep {sealed.title}", answer)
        self._keep(sealed.digest)

    def put_file(self, sealed: Sealed, path: Path) -> None:
        source = Source(sealed, path)
        self._by_name(sealed, lambda: source.pieces(self.stop))

    def _by_name(self, sealed: Sealed, pieces: Pieces) -> None:
        """One request with the whole blob, which every registry takes."""

        def whole() -> _Request:
            place = _with_digest(self._location(self._open()), sealed)
            return _Request("PUT", place, pieces, {**_BYTES, "Content-Length": str(sealed.size_bytes)})

        answer = self._send(whole)
        if answer.status_code not in (201, 204):
            raise self._refused(f"did not take {sealed.title}", answer)
        self._keep(sealed.digest)

    def _keep(self, digest: str) -> None:
        self._there.add(digest)
        self.digests.keep_place(digest, self.reference.registry, self.reference.repository)

    def commit(self, image: Image, sources: Sequence[Source]) -> str:
        config = image.config_blob
        if not self.has(config):
            self._by_name(config, lambda: small(memoryview(image.config)))
        answer = self._ask(
            "PUT", self._path(f"manifests/{self.reference.tag}"), content=image.manifest,
            headers={"Content-Type": MANIFEST},
        )  # fmt: skip
        if answer.status_code not in (200, 201):
            raise self._refused("did not take the manifest", answer)
        return f"docker pull {self.reference.registry}/{self.reference.repository}@sha256:{image.manifest_blob.digest}"

    def put_small(self, blob: Sealed, content: bytes) -> None:
        if not self.has(blob):
            self._by_name(blob, lambda: small(memoryview(content)))

    def manifest(self, name: str, accept: Mapping[str, str]) -> tuple[bytes, str] | None:
        """A manifest's bytes and media type, by tag or digest; None when it is not there."""
        answer = self._ask("GET", self._path(f"manifests/{name}"), headers=accept)
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise self._refused("did not give the manifest", answer)
        return answer.content, answer.headers.get("Content-Type", MANIFEST)

    def put_manifest(self, name: str, content: bytes, kind: str) -> bool:
        """Whether the registry said that it lists what refers to the manifest's subject."""
        url, headers = self._path(f"manifests/{name}"), {"Content-Type": kind}
        answer = self._ask("PUT", url, content=content, headers=headers)
        if answer.status_code not in (200, 201):
            raise self._refused("did not take the manifest", answer)
        return "OCI-Subject" in answer.headers

    def close(self) -> None:
        self.client.close()

    # --- requests

    def _path(self, rest: str) -> str:
        return f"/v2/{self.reference.repository}/{rest}"

    def _open(self) -> httpx.Response:
        answer = self._ask("POST", self._path("blobs/uploads/"))
        if answer.status_code != 202:
            raise self._refused("opens no upload", answer)
        return answer

    def _location(self, answer: httpx.Response) -> str:
        """Where an upload goes on: relative, or whole; never to another host with our header."""
        return str(answer.request.url.join(answer.headers.get("Location", "")))

    def _ask(self, method: str, url: str, *, others: tuple[str, ...] = (), **more: Any) -> httpx.Response:
        """A small request, tried again while the registry is busy or asks who we are."""
        headers = more.pop("headers", {})
        for attempt in range(_TRIES):
            answer = self._once(method, url, headers, attempt, **more)
            if answer is None:
                continue
            if answer.status_code == 401 and attempt < 2:
                self.authority.answer(answer.headers.get("WWW-Authenticate", ""), others)
                continue
            if answer.status_code in _BUSY and attempt + 1 < _TRIES:
                time.sleep(_patience(answer, attempt))
                continue
            return answer
        return answer or self._silent("gives no answer")

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], attempt: int, **more: Any
    ) -> httpx.Response | None:
        try:
            return self.client.request(method, url, headers={**headers, **self._who(url)}, **more)
        except httpx.HTTPError as e:
            if attempt + 1 == _TRIES:
                raise self._trouble(e) from None
            time.sleep(PAUSE_SECONDS * 2**attempt)
            return None

    def _send(self, begin: Callable[[], _Request]) -> httpx.Response:
        """A large request, begun again when the line breaks or the registry is busy."""
        for attempt in range(_TRIES):
            request = begin()
            try:
                answer = self._sent(request)
            except httpx.HTTPError as e:
                if attempt + 1 == _TRIES:
                    raise self._trouble(e) from None
                time.sleep(PAUSE_SECONDS * 2**attempt)
                continue
            again = _BUSY | (_MOVED_ON if request.resumed else set())
            if answer.status_code == 401 and attempt < 2:
                self.authority.answer(answer.headers.get("WWW-Authenticate", ""))
            elif answer.status_code not in again or attempt + 1 == _TRIES:
                return answer
            else:
                time.sleep(_patience(answer, attempt))
        raise self._silent("gives no answer")

    def _sent(self, request: _Request) -> httpx.Response:
        headers = {**request.headers, **self._who(request.url)}
        if request.pieces is None:
            return self.client.request(request.method, request.url, headers=headers)
        with closing(request.pieces()) as stream:
            first = next(stream, None)  # before anybody waits for it: what is there already is hashed first
            content: Any = chain(() if first is None else (first,), stream)
            return self.client.request(request.method, request.url, content=content, headers=headers)

    def _who(self, url: str) -> dict[str, str]:
        """Our header, for the registry's own host alone."""
        ours = self.client.base_url
        there = ours.join(url)
        same = (there.scheme, there.netloc) == (ours.scheme, ours.netloc)
        return {"Authorization": self.authority.header} if same and self.authority.header else {}

    def _refused(self, what: str, answer: httpx.Response) -> HostError:
        said = " ".join(answer.text.split())[:200]
        if answer.status_code in (401, 403):
            return self.authority.refused(f"{what}: {answer.status_code} {said}")
        return HostError(f"{self.reference.registry} {what}: {answer.status_code} {said}", "type it again: it goes on")

    def _silent(self, what: str) -> Any:
        raise HostError(f"{self.reference.registry} {what}", "type it again: it goes on where it stopped")

    def _trouble(self, error: Exception) -> HostError:
        hint = "type it again: it goes on where it stopped; plain http is for --insecure"
        return HostError(f"{self.reference.registry}: {error or type(error).__name__}", hint)


def _with_digest(place: str, sealed: Sealed) -> str:
    """The registry's own query is kept: it holds the state of the upload."""
    return str(httpx.URL(place).copy_merge_params({"digest": f"sha256:{sealed.digest}"}))


def _address(registry: str) -> str:
    return "registry-1.docker.io" if registry == "docker.io" else registry


def _counted(pour: Pour, skip: int = 0) -> Generator[memoryview, None, None]:
    """The layer's bytes but for the first `skip`, which are read and hashed too."""
    with closing(iter(pour)) as views:
        for view in views:
            if pour.stop.is_set():
                raise Stopped
            yield from small(view[min(skip, len(view)) :])
            skip -= min(skip, len(view))


def _patience(answer: httpx.Response, attempt: int) -> float:
    """What Retry-After says, within a minute; else longer each time."""
    asked = answer.headers.get("Retry-After", "")
    return min(60.0, float(asked)) if asked.isdigit() else PAUSE_SECONDS * 2**attempt
