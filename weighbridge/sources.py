"""Where weights come from: sources as data, what a hub's answer says, and which files serving needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from weighbridge.errors import BadValue, HostError
from weighbridge.facts import Value
from weighbridge.lock import LOCK_NAME, is_plain_path
from weighbridge.words import are, many

_WANTED = (".safetensors", ".json", ".jinja", ".model", ".tiktoken", ".txt")
_PAPERS = re.compile(r"(licen[cs]e|notice|copying|readme|use_policy)([._-].*)?", re.IGNORECASE)
_NO_PAPER = (".py", ".bin", ".pdf", ".png", ".svg", ".jpg")
_UNWANTED = re.compile(
    r"(.*\.bin\.index\.json|.*\.h5\.index\.json|training_args\.json|requirements\.txt)", re.IGNORECASE
)
_FOLDERS = re.compile(
    r"(additional_chat_templates|\d+_[A-Za-z]+)/[^/]+"
)  # extra templates; modules of embedding models
_TWIN = re.compile(r"consolidated[^/]*\.safetensors(\.index\.json)?")  # the same weights again, in their maker's layout
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_REVISION = re.compile(r"[\w][\w./+-]{0,199}")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_POINTER = re.compile(
    r"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n"
)


class Source(Value, frozen=True, kw_only=True):
    """An entry of models/_sources.yaml. `repositories` is the key under which models/<id>.yaml name theirs."""

    title: str
    protocol: Literal["hf", "modelscope", "folder", "git"]
    repositories: str | None = None
    endpoint: str | None = None
    endpoint_variable: str | None = None
    token_variables: tuple[str, ...] = ()
    revision: str | None = None


class RemoteFile(Value, frozen=True, kw_only=True):
    """A file as a source lists it. At least one of the digests makes a broken transfer resumable."""

    path: str
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None  # of "blob <size>\\0" and the content, as git names a file

    @property
    def key(self) -> str | None:
        """What its bytes are called before they are here; None when the source does not say."""
        return self.sha256 or (f"git-{self.git_sha1}" if self.git_sha1 else None)


class Listing(Value, frozen=True, kw_only=True):
    """A repository at one revision: the exact one, where the source says it."""

    repository: str
    revision: str | None
    licence: str | None = None
    files: tuple[RemoteFile, ...]


def wanted(paths: Iterable[str]) -> list[str]:
    """Those files that serving needs: safetensors, tokenizer, configs, chat templates, licence and card."""
    kept = [p for p in paths if _is_wanted(p)]
    if any(p.endswith(".safetensors") and not _TWIN.fullmatch(p) for p in kept):
        kept = [p for p in kept if not _TWIN.fullmatch(p)]
    return sorted(kept)


def is_pickle(path: str) -> bool:
    """Whether a file may run code when it is loaded."""
    return path.lower().endswith(_PICKLES)


def _is_wanted(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    if name.startswith(".") or path == LOCK_NAME or _UNWANTED.fullmatch(name):
        return False
    if "/" in path and not _FOLDERS.fullmatch(path):
        return False
    return name.lower().endswith(_WANTED) or bool(_PAPERS.fullmatch(name) and not name.lower().endswith(_NO_PAPER))


def checked(listing: Listing, where: str) -> Listing:
    """The listing with the files that serving needs. Raises HostError for one that leads out of its folder or lies."""
    for file in listing.files:
        if not is_plain_path(file.path):
            hint = "choose another source: --source or --endpoint; nothing was written"
            raise HostError(f"{where}: lists a file {file.path[:80]!r}, which leads out of its folder", hint)
    by_path = {f.path: f for f in listing.files}
    names = wanted(by_path)
    if len(by_path) != len(listing.files):
        raise HostError(f"{where}: lists a file twice", "choose another source: --source or --endpoint")
    if not any(n.endswith(".safetensors") for n in names):
        pickles = sum(is_pickle(p) for p in by_path)
        also = f", and {many(pickles, 'pickle file')}, which {are(pickles)} never loaded" if pickles else ""
        message = f"{where}: no .safetensors among {many(len(by_path), 'file')}{also}"
        raise HostError(message, "choose a repository in safetensors format: --repo OWNER/NAME")
    kept = tuple(by_path[n] for n in names)
    if any(f.size_bytes < 0 for f in kept):
        raise HostError(f"{where}: lists a file of less than no bytes", "choose another source")
    return Listing(repository=listing.repository, revision=listing.revision, licence=listing.licence, files=kept)


def check_repository(name: str) -> str:
    """`owner/name`, and nothing that could lead elsewhere in an address. Raises BadValue."""
    if not _REPOSITORY.fullmatch(name) or ".." in name:
        raise BadValue(f"--repo {name}: not OWNER/NAME", "invoke fetch --repo OWNER/NAME")
    return name


def check_revision(name: str) -> str:
    """A branch, tag or commit. Raises BadValue."""
    if not _REVISION.fullmatch(name) or ".." in name:
        raise BadValue(f"--revision {name}: not a branch, tag or commit", "leave --revision out for the newest")
    return name


def check_endpoint(address: str) -> str:
    """The address of a hub, without its last slash; https where no scheme is given. Raises BadValue."""
    full = address if "://" in address else f"https://{address}"
    parts = urlsplit(full)
    if not is_web(full) or parts.query or parts.fragment:
        raise BadValue(f"--endpoint {shown(full)}: not an http or https address", "write it as https://HOST")
    if parts.username or parts.password:
        raise BadValue(
            f"--endpoint names a user or password for {parts.hostname}", "put a token into a file: --token-file FILE"
        )
    return full.rstrip("/")


def is_web(address: str) -> bool:
    """Whether an address has http or https, a host, and a port that is a number, if it has one."""
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def origin(address: str) -> tuple[str, str, int]:
    """Scheme, host and port: what a token is for."""
    parts = urlsplit(address)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def shown(address: str) -> str:
    """An address for people: without user, password and query, which may hold secrets."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{host_of(address)}{parts.path}"


def host_of(address: str) -> str:
    """Host and port alone."""
    return urlsplit(address).netloc.rpartition("@")[2]


def without_users(text: str) -> str:
    """What a program said, its addresses without users and passwords."""
    return re.sub(r"//[^/\s]*@", "//", text)


def hf_api(endpoint: str, repository: str, revision: str) -> str:
    """The address at which a hub that speaks Hugging Face's protocol lists a repository with sizes and digests."""
    return f"{endpoint}/api/models/{repository}/revision/{quote(revision, safe='')}?blobs=true"


def modelscope_api(endpoint: str, repository: str, revision: str) -> str:
    """The address at which ModelScope lists a repository."""
    query = urlencode({"Revision": revision, "Recursive": "true"})
    return f"{endpoint}/api/v1/models/{repository}/repo/files?{query}"


def modelscope_file(endpoint: str, repository: str, revision: str, path: str) -> str:
    """The address of one file on ModelScope."""
    return f"{endpoint}/api/v1/models/{repository}/repo?{urlencode({'Revision': revision, 'FilePath': path})}"


def read_modelscope(answer: Any, repository: str, asked: str, where: str) -> Listing:
    """ModelScope's answer as a listing. It gives the sha256 of every file. Raises HostError."""
    try:
        if not answer["Success"] or answer["Code"] != 200:
            raise HostError(f"{where}: {str(answer.get('Message'))[:200]}", "check --repo and --revision")
        rows = [r for r in answer["Data"]["Files"] if r["Type"] == "blob"]
        files = tuple(_modelscope_row(r) for r in rows)
        short = str((answer["Data"].get("LatestCommitter") or {}).get("ShortId") or "")
        commits = {str(r.get("Revision") or "") for r in rows}
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise HostError(f"{where}: not an answer of ModelScope: {e!r:.120}", "check --endpoint") from None
    exact = [c for c in commits if short and c.startswith(short)]
    return Listing(repository=repository, revision=exact[0] if len(exact) == 1 else asked, files=files)


def _modelscope_row(row: dict[str, Any]) -> RemoteFile:
    sha256 = str(row.get("Sha256") or "").lower()
    return RemoteFile(
        path=str(row["Path"]), size_bytes=int(row["Size"]), sha256=sha256 if _HEX64.fullmatch(sha256) else None
    )


def read_pointer(content: bytes) -> tuple[str, int] | None:
    """sha256 and size that an LFS pointer stands for; None for any other content."""
    if len(content) > 1024 or not content.startswith(b"version https://git-lfs"):
        return None
    found = _POINTER.fullmatch(content.decode("utf-8", "replace"))
    return (found[1], int(found[2])) if found else None


def card_licence(card: str) -> str | None:
    """The licence that a model card's head names."""
    head = card.split("\n---", 1)[0] if card.startswith("---") else ""
    found = {k: v.strip(" '\"") for k, v in re.findall(r"^(license(?:_name)?):[ \t]*(\S.*)$", head, re.MULTILINE)}
    plain = found.get("license")
    return found.get("license_name", plain) if plain == "other" else plain


def licence_file(paths: Iterable[str]) -> str | None:
    """The file that holds the licence's text."""
    return next((p for p in sorted(paths) if re.match(r"(licen[cs]e|copying)", p, re.IGNORECASE)), None)
