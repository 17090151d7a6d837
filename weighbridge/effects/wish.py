"""What fetch was asked for: which model, from where, against which lock, and with whose token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.catalog import Catalog
from weighbridge.effects.git import GitTree
from weighbridge.effects.hubs import FolderHub, GitServer, HfHub, Hub, ModelScopeHub, basic
from weighbridge.effects.locks import lock_of, read_lock_file
from weighbridge.effects.store import Store, model_folder, store_folder
from weighbridge.effects.web import Patience, Web
from weighbridge.errors import BadFile, BadValue, UnknownName, Unsupported, unknown
from weighbridge.facts import Model
from weighbridge.lock import Lock
from weighbridge.order import read_count
from weighbridge.plan import slug
from weighbridge.sources import Source, check_endpoint, check_repository, check_revision, host_of, is_web, origin
from weighbridge.types import Order
from weighbridge.words import many


@dataclass(frozen=True)
class Wish:
    """Everything that a fetch needs to know. `new_lock` is where a lock is written that does not exist yet."""

    model: str
    title: str
    source_id: str
    hub: Hub
    web: Web
    store: Store
    revision: str | None
    jobs: int
    lock: Lock | None = None
    new_lock: Path | None = None
    licence: str | None = None
    given: Path | None = field(default=None)

    @property
    def name(self) -> str:
        """The model's folder in the store."""
        return slug(self.model)


def read_wish(
    flags: Mapping[str, Any], environment: Mapping[str, str], catalog: Catalog,
    patience: Patience | None = None, say: Callable[[str], None] = lambda _: None,
) -> Wish:  # fmt: skip
    """The wish that flags and environment make. Raises Refused for what cannot be."""
    model = _model(flags, catalog)
    name = model.id if model else flags.get("model") or check_repository(flags["repo"])
    source_id = _source_id(flags, catalog, model)
    source = catalog.sources[source_id]
    store = Store(store_folder(environment))
    lock, new_lock = _lock(flags, catalog, name, store)
    revision = _revision(flags, lock, source_id)
    address = _address(flags, environment, source)
    web = _web(flags, environment, source, address, patience or Patience())
    web.say = say
    folder = _folder(flags, catalog, model) if source.protocol == "folder" else None
    hub = _hub(
        source, web, address, folder, revision or source.revision, lambda: _repository(flags, source, model, name)
    )
    jobs = read_count("--jobs", flags.get("jobs") or "4", "4", least=1)
    return Wish(
        model=name, title=model.title if model else name, source_id=source_id, hub=hub, web=web, store=store,
        revision=revision, jobs=min(jobs, 64), lock=lock, new_lock=new_lock, licence=model.licence if model else None,
        given=folder,
    )  # fmt: skip


def _model(flags: Mapping[str, Any], catalog: Catalog) -> Model | None:
    """The catalogue's model; None for one that only its repository or folder names."""
    asked = flags.get("model") or flags.get("repo") or Order().model
    try:
        return catalog.model(asked)
    except UnknownName as e:
        if flags.get("repo") or flags.get("from_"):
            return None
        hint = f"{e.hint.split(';')[0].split('? ')[0]}{'?' if '?' in e.hint else ''}"
        raise UnknownName(e.message, f"{hint}; or name its repository: --repo OWNER/NAME") from None


def _source_id(flags: Mapping[str, Any], catalog: Catalog, model: Model | None) -> str:
    """--source; else what --from looks like; else what travels along; else the first that has the model."""
    known, asked, given = catalog.sources, flags.get("source"), flags.get("from_")
    if asked and asked not in known:
        raise unknown("source", asked, known, "invoke fetch --help")
    by_protocol = {s.protocol: i for i, s in reversed(known.items())}
    if asked:
        return str(asked)
    if given:
        return by_protocol["git" if "://" in given else "folder"]
    if model and model.bundled and not flags.get("repo"):
        return by_protocol["folder"]
    has = model.repositories if model else {}
    named = [i for i, s in known.items() if s.repositories and (s.repositories in has or flags.get("repo"))]
    if not named:
        raise Unsupported(
            f"{model.id if model else asked}: no source is known that has it", "name one: --repo OWNER/NAME"
        )
    return named[0]


def _lock(flags: Mapping[str, Any], catalog: Catalog, model: str, store: Store) -> tuple[Lock | None, Path | None]:
    """The lock to keep to, and where to write one that is not there yet."""
    named = Path(flags["lock"]) if flags.get("lock") else catalog.model_lock(model)
    if named and named.is_file():
        return read_lock_file(named), None
    if named and named.exists():
        raise BadFile(f"{named}: not a file", "name the file that the lock stands in: --lock FILE")
    mine = None if named or flags.get("from_") else store.lock_of(slug(model))
    same = mine and flags.get("revision") in (None, mine.revision) and flags.get("repo") in (None, mine.repository)
    return (mine if same else None), named


def _revision(flags: Mapping[str, Any], lock: Lock | None, source_id: str) -> str | None:
    """--revision, which a lock of the same source must agree with; else that lock's own; else the source's usual."""
    asked = check_revision(flags["revision"]) if flags.get("revision") else None
    pinned = lock.revision if lock and lock.source == source_id else None
    if asked and pinned and asked != pinned:
        hint = "leave --revision out, or make another lock: --lock NEW_FILE"
        raise BadValue(f"--revision {asked}: the lock is of {pinned}", hint)
    return asked or pinned


def _repository(flags: Mapping[str, Any], source: Source, model: Model | None, name: str) -> str:
    if flags.get("repo"):
        return check_repository(flags["repo"])
    found = model.repositories.get(source.repositories or "") if model else None
    if not found:
        raise Unsupported(f"{name}: its repository at {source.title} is not known", "name it: --repo OWNER/NAME")
    return check_repository(found)


def _address(flags: Mapping[str, Any], environment: Mapping[str, str], source: Source) -> str | None:
    """The hub's address: --endpoint, else the source's variable, else its own; --from for git."""
    if source.protocol == "git":
        return str(flags["from_"]) if flags.get("from_") else None
    if source.protocol == "folder":
        return None
    named = flags.get("endpoint") or environment.get(source.endpoint_variable or "") or source.endpoint
    if not named:
        raise BadValue(f"{source.title}: has no address", "name one: --endpoint URL")
    return check_endpoint(named)


def _folder(flags: Mapping[str, Any], catalog: Catalog, model: Model | None) -> Path:
    idle = next((n for n in ("endpoint", "token_file") if flags.get(n)), None)
    if idle:
        flag = f"--{idle.replace('_', '-')}"
        raise BadValue(f"{flag} is for a hub, and the files come from a folder", f"leave {flag} out")
    if flags.get("from_"):
        found = Path(flags["from_"]).expanduser().absolute()
        if not found.is_dir():
            raise BadValue(f"--from {found}: no such folder", "name the folder that holds config.json: --from FOLDER")
        return found
    bundled = catalog.model_folder(model) if model else None
    if bundled is None:
        raise BadValue("--source of a folder without --from", "name the folder: --from FOLDER")
    return bundled


def _hub(
    source: Source, web: Web, address: str | None, folder: Path | None, revision: str | None, repository: Any
) -> Hub:
    if folder is not None:
        return FolderHub(folder)
    if source.protocol == "git":
        if address is None:
            raise BadValue("--source of a git repository without --from", "name it: --from https://HOST/OWNER/NAME")
        if Path(address).is_dir():
            return FolderHub(Path(address).absolute())
        return GitServer(web, GitTree(address, revision, basic(web.token).get("Authorization")))
    kind = HfHub if source.protocol == "hf" else ModelScopeHub
    return kind(web, str(address), repository(), str(revision or source.revision))


def _web(
    flags: Mapping[str, Any], environment: Mapping[str, str], source: Source, address: str | None, patience: Patience
) -> Web:
    """A client with the token that is for this address, if there is one."""
    if address is None or not is_web(address):  # a git address that is none is refused where it is used
        return Web(patience=patience)
    here, token = origin(address), None
    if flags.get("token_file"):
        token = _read_token(Path(flags["token_file"]))
        if here[0] == "http" and here[1] not in ("127.0.0.1", "::1", "localhost"):
            raise BadValue(f"--token-file: {host_of(address)} is not asked over https", "write it as https://HOST")
    elif source.endpoint and here == origin(source.endpoint):
        token = next((environment[n] for n in source.token_variables if environment.get(n)), None)
        token = _sound(token or _saved_token(source) or "", "the environment's token") or None
    return Web(token=token, token_origin=here if token else None, patience=patience)


def _saved_token(source: Source) -> str | None:
    """The token that the hub's own login command left in its file."""
    if source.protocol != "hf":
        return None
    from huggingface_hub import get_token

    return get_token()


def _read_token(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise BadFile(f"{path}: {getattr(e, 'strerror', None) or 'not text'}", "--token-file FILE, one line") from None
    if not text:
        raise BadFile(f"{path}: holds no token", "--token-file FILE, one line")
    return _sound(text, str(path))


def _sound(token: str, where: str) -> str:
    """A token that can stand in a header. It is never shown. Raises BadValue."""
    if not token.isascii() or not all(33 <= ord(c) < 127 for c in token):
        raise BadValue(
            f"{where}: a token is one word of plain letters, {many(len(token), 'character')} found", "look at the file"
        )
    return token


def stored_model(
    flags: Mapping[str, Any], environment: Mapping[str, str], catalog: Catalog,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[str, Path, Lock | None]:  # fmt: skip
    """A model that should be here: its name, its folder and its lock. Raises Refused."""
    folder = Path(flags["weights"]).absolute() if flags.get("weights") else None
    try:
        model = None if folder and not flags.get("model") else catalog.model(flags.get("model") or Order().model)
    except UnknownName:
        if folder is None and not model_folder(environment, slug(flags["model"])).is_dir():
            raise
        model = None
    name = model.id if model else flags.get("model") or (folder.name if folder else "")
    folder = folder or (catalog.model_folder(model) if model else None) or model_folder(environment, slug(name))
    return name, folder, lock_of(folder, name, catalog, flags.get("lock"), say)
