"""profiles/, models/ and images/ as values. The listing of a folder is the registry; unknown keys are errors."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path, PurePath
from typing import Any, TypeVar

import msgspec
import yaml

from weighbridge.engines import Engine, OverheadFile
from weighbridge.errors import BadFile, UnknownName, Unsupported, nearest, unknown
from weighbridge.facts import Card, Family, Model, ModelFile, Profile, Value
from weighbridge.flags import Flags, version_key
from weighbridge.lock import SUFFIX as LOCK_SUFFIX
from weighbridge.models import read_config
from weighbridge.sources import Source

T = TypeVar("T", bound=Value)


class _Unsaid(Value, frozen=True, kw_only=True):
    """An entry of models/_architectures.yaml."""

    attention_bias: bool = False
    attention_norms: bool = False


PACKAGE = Path(__file__).resolve().parent
DATA = PACKAGE / "_data" if (PACKAGE / "_data").is_dir() else PACKAGE.parent
_PROFILE = re.compile(r"(?P<card>.*?)(?:-x(?P<count>\d{1,4}))?(?:-n(?P<nodes>\d{1,4}))?", re.DOTALL)
MOST_NODES = 9999  # machines of a profile, by the digits above
_ID = re.compile(r"[a-zA-Z0-9][\w.+-]{0,99}")  # what a file may be asked for by: no path, nothing hidden


class _Loader(yaml.CSafeLoader):
    """YAML in which the same key twice is an error, as it is for a reader."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k, deep=True) for k, _ in node.value]
        twice = {str(k) for k in keys if keys.count(k) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {', '.join(sorted(twice))} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; BadFile when it is none."""
    try:
        found = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506  a subclass of the safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise BadFile(f"{path}: not YAML: {' '.join(str(e).split())}", f"edit {path}") from None
    if not isinstance(found, dict):
        holds = "is empty" if found is None else f"holds {type(found).__name__}, not a mapping"
        raise BadFile(f"{path}: {holds}", f"edit {path}")
    return found


def convert(found: dict[str, Any], kind: type[T], path: Path) -> T:
    """`found` as a value of `kind`; BadFile names the file, the key and the near miss."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as e:
        message = str(e)
    match = re.match(r"Object contains unknown field `(.*?)`(?: - at `\$(.*)`)?$", message)
    if not match:
        raise BadFile(f"{path}: {message}", f"edit {path}")
    keys = _keys_at(kind, match[2] or "")
    near = nearest(match[1], keys)
    where = f"{(match[2] or '').lstrip('.')}: " if match[2] else ""
    hint = f"did you mean {near}?" if near else f"the keys are: {', '.join(sorted(keys))}"
    raise BadFile(f"{path}: {where}unknown key {match[1]!r}", hint)


def _keys_at(kind: Any, path: str) -> list[str]:
    """The keys that may stand at a path such as `.container.mounts[0]`."""
    for name in re.findall(r"\.(\w+)|\[", path):
        kind = _struct_in(typing.get_type_hints(kind)[name] if name else kind)
    return list(kind.__struct_fields__)


def _struct_in(kind: Any) -> Any:
    """The Value inside a type such as `tuple[Mount, ...]`, `dict[str, Base]` or `Probe | None`."""
    if isinstance(kind, type) and issubclass(kind, Value):
        return kind
    inner = (_struct_in(k) for k in typing.get_args(kind))
    return next((k for k in inner if k is not None), None)


def profile_name(card_id: str, card: Card, count: int) -> str:
    """The name of `count` cards in one machine; a card that is only ever alone needs no count."""
    return card_id if card.counts == (1,) else f"{card_id}-x{count}"


class Catalog:
    """What is known, read when it is asked for. Folders named later win, so a user's own can add or replace."""

    def __init__(self, *folders: Path) -> None:
        self.folders = (DATA, *folders)

    def _file(self, kind: str, name: str) -> Path | None:
        found = [f / kind / name for f in self.folders if (f / kind / name).is_file()]
        return found[-1] if found else None

    def _named(self, kind: str, name: str, rest: str) -> Path | None:
        """The file of something a person named."""
        return self._file(kind, f"{name}{rest}") if _ID.fullmatch(name) else None

    def _names(self, kind: str, pattern: str) -> Iterator[str]:
        for folder in self.folders:
            for path in sorted((folder / kind).glob(pattern)):
                if not path.relative_to(folder / kind).parts[0].startswith("_"):
                    yield str(path.relative_to(folder / kind))

    def card_ids(self) -> list[str]:
        return sorted({n.removesuffix(".yaml") for n in self._names("profiles", "*.yaml")})

    def model_ids(self) -> list[str]:
        return sorted({n.removesuffix(".yaml") for n in self._names("models", "*.yaml") if not n.endswith(LOCK_SUFFIX)})

    def engine_ids(self) -> list[str]:
        return sorted({n.split("/")[0] for n in self._names("images", "*/engine.yaml")})

    @cache  # noqa: B019  a catalogue lives as long as the command
    def card(self, name: str) -> Card:
        path = self._named("profiles", name, ".yaml")
        if path is None:
            raise unknown("profile", name, self.card_ids(), "invoke profiles")
        return convert(read_yaml(path), Card, path)

    @cache  # noqa: B019
    def family(self, name: str) -> Family:
        path = self._file("profiles", f"_{name}.yaml")
        if path is None:
            raise BadFile(f"profiles/_{name}.yaml: no such family", "write it, or correct the card's family")
        return convert(read_yaml(path), Family, path)

    @cache  # noqa: B019
    def engine(self, name: str) -> Engine:
        path = self._named("images", name, "/engine.yaml")
        if path is None:
            raise unknown("engine", name, self.engine_ids(), "invoke engines")
        found = read_yaml(path)
        self._add_overheads(found, self._file("images", f"{name}/overhead.yaml"))
        return convert({"id": name, **found}, Engine, path)

    def _add_overheads(self, found: dict[str, Any], path: Path | None) -> None:
        """Beside engine.yaml stands overhead.yaml: for each family, the band by the version it holds from."""
        if path is None:
            return
        bands = read_yaml(path)
        families = found.get("families") or {}
        for family, by_version in bands.items():
            if family not in families:
                near = nearest(family, families)
                hint = f"did you mean {near}?" if near else f"the families are: {', '.join(sorted(families))}"
                raise BadFile(f"{path}: unknown key {family!r}", hint)
            checked = convert({"bands": by_version}, OverheadFile, path)
            families[family]["overheads"] = msgspec.to_builtins(checked.bands)

    def target_ids(self) -> list[str]:
        return sorted({n.split("/")[0] for n in self._names("templates", "*/*.j2")})

    def target_folder(self, target: str) -> Path:
        found = [f / "templates" / target for f in self.folders]
        return next(f for f in reversed(found) if f.is_dir())

    def engine_file(self, engine: str, name: str) -> Path:
        """A file of an engine's folder, for example a wheel lock."""
        path = self._file("images", f"{engine}/{name}")
        if path is None:
            raise BadFile(f"images/{engine}/{name}: no such file", f"correct images/{engine}/engine.yaml")
        return path

    def shared_folder(self, name: str) -> Path:
        """A folder of images/_shared, which goes into images of every engine."""
        found = [f / "images" / "_shared" / name for f in self.folders]
        return next(f for f in reversed(found) if f.is_dir())

    def data_file(self, kind: str, name: str) -> Path:
        """A file of the catalogue that is neither card, model nor engine."""
        path = self._file(kind, name)
        if path is None:
            raise BadFile(f"{kind}/{name}: no such file", "install Weighbridge again")
        return path

    def linted_engine_ids(self) -> list[str]:
        """Engines whose command lines are known: those with a lint.yaml, served here or not."""
        return sorted({n.split("/")[0] for n in self._names("images", "*/lint.yaml")})

    def flag_versions(self, engine: str) -> list[str]:
        """The versions of an engine whose arguments are known, oldest first."""
        found = {PurePath(n).stem for n in self._names("images", f"{engine}/flags/*.json")}
        return sorted(found, key=version_key)

    @cache  # noqa: B019
    def flags_at(self, engine: str, version: str) -> Flags | None:
        """The arguments of one version; None when nobody has read its parser yet."""
        path = self._file("images", f"{engine}/flags/{version}.json")
        if path is None:
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=Flags)
        except msgspec.MsgspecError as e:
            raise BadFile(f"{path}: {e}", f"make it anew: make flags ENGINE={engine} VERSION={version}") from None

    def flags(self, engine: str) -> list[Flags]:
        found = (self.flags_at(engine, v) for v in self.flag_versions(engine))
        return [f for f in found if f]

    def profile(self, name: str) -> Profile:
        """`<card>[-x<count>][-n<nodes>]`, for example `a100-80g-x4` or `h20-96g-x8-n2`."""
        match = _PROFILE.fullmatch(name)
        assert match is not None  # the pattern takes any text
        card_id = self._card_id(match["card"], name)
        card = self.card(card_id)
        count = int(match["count"] or 1)
        nodes = int(match["nodes"] or 1)
        self._check_count(name, card_id, card, count, nodes)
        family = self.family(card.family)
        profile_id = profile_name(card_id, card, count) + (f"-n{nodes}" if nodes > 1 else "")
        return Profile(id=profile_id, card_id=card_id, card=card, family=family, count=count, nodes=nodes)

    def _card_id(self, wanted: str, name: str) -> str:
        if self._named("profiles", wanted, ".yaml"):
            return wanted
        aliases = {a: i for i in self.card_ids() for a in self.card(i).aliases}
        if wanted in aliases:
            return aliases[wanted]
        rest = name[len(wanted) :]
        near = nearest(wanted, [*self.card_ids(), *aliases])
        raise unknown("profile", name, [f"{near}{rest}"] if near else [], "invoke profiles")

    def _check_count(self, name: str, card_id: str, card: Card, count: int, nodes: int) -> None:
        if count not in card.counts:
            sold = ", ".join(str(c) for c in card.counts)
            near = min(card.counts, key=lambda c: abs(c - count))
            raise Unsupported(
                f"{name}: {card.title} comes with {sold} a machine, not {count}", f"try --profile {card_id}-x{near}"
            )
        plain = profile_name(card_id, card, count)
        if nodes < 1:
            raise Unsupported(f"{name}: {nodes} machines", f"try --profile {plain}")
        if nodes > 1 and card.interconnect.kind == "none":
            raise Unsupported(f"{name}: {card.title} does not work over {nodes} machines", f"try --profile {plain}")

    def profiles(self) -> list[Profile]:
        """Every card at every count that is sold, one machine each."""
        found = []
        for card_id in self.card_ids():
            card = self.card(card_id)
            found += [self.profile(profile_name(card_id, card, count)) for count in card.counts]
        return found

    def model(self, name: str) -> Model:
        """A known model by id, alias or repository name; or a variant that a model's file names."""
        path = None if name.endswith(".lock") else self._named("models", name, ".yaml")
        model_id = path.stem if path else self._model_id(name)
        file = self._model_file(path.stem) if path else self._known_models[model_id]
        return file.to_model(model_id, read_config(file.config, str(path or model_id), self.unsaid))

    @cache  # noqa: B019
    def _model_file(self, model_id: str) -> ModelFile:
        path = self._file("models", f"{model_id}.yaml")
        assert path is not None
        return convert(read_yaml(path), ModelFile, path)

    @cached_property
    def _known_models(self) -> dict[str, ModelFile]:
        """Every model and every variant, by id."""
        found: dict[str, ModelFile] = {}
        for model_id in self.model_ids():
            file = self._model_file(model_id)
            found |= {model_id: file, **{name: file.varied(variant) for name, variant in file.variants.items()}}
        return found

    def variants_of(self, name: str) -> tuple[str, ...]:
        """The ids of a known model's variants; none for a model that is not known."""
        try:
            path = None if name.endswith(".lock") else self._named("models", name, ".yaml")
            return tuple((self._model_file(path.stem) if path else self._known_models[self._model_id(name)]).variants)
        except UnknownName:
            return ()

    def model_lock(self, model_id: str) -> Path | None:
        """models/<id>.lock.yaml, which says what the model's files must be; None for a model without one."""
        return self._named("models", model_id, LOCK_SUFFIX)

    @cached_property
    def sources(self) -> dict[str, Source]:
        """models/_sources.yaml; an entry of a later folder replaces the one of the same name."""
        paths = [f / "models" / "_sources.yaml" for f in self.folders]
        found = [(path, read_yaml(path)) for path in paths if path.is_file()]
        return {name: convert(facts, Source, path) for path, entries in found for name, facts in entries.items()}

    @cached_property
    def unsaid(self) -> dict[str, dict[str, bool]]:
        """models/_architectures.yaml: what config.json leaves unsaid."""
        path = self._file("models", "_architectures.yaml")
        found = read_yaml(path) if path else {}
        return {name: msgspec.to_builtins(convert(facts, _Unsaid, path)) for name, facts in found.items() if path}

    def _model_id(self, name: str) -> str:
        known: dict[str, str] = {}
        for model_id, file in self._known_models.items():
            for alias in (model_id, *file.aliases, *file.repositories.values()):
                known[alias.lower()] = model_id
        if name.lower() not in known:
            other = "invoke models; or give its shape: --model-config FILE_OR_FOLDER"
            raise unknown("model", name, known, other)
        return known[name.lower()]

    def model_from_config(self, name: str, path: Path) -> Model:
        """A model that nobody has written down, by its config.json or the folder that holds one."""
        return Model(id=name, title=name, shape=read_config(read_json(path), str(path), self.unsaid))

    def models(self, *, variants: bool = False) -> list[Model]:
        return [self.model(i) for i in (self._known_models if variants else self.model_ids())]

    def model_folder(self, model: Model) -> Path | None:
        """The weights that travel with Weighbridge itself, for the model that has them."""
        found = [f / "models" / (model.bundled or "") for f in self.folders if model.bundled]
        return next((f for f in reversed(found) if f.is_dir()), None)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a config.json, or in the folder that holds one. BadFile says what is wrong."""
    file = path
    try:
        file = path / "config.json" if path.is_dir() else path
        found = json.loads(file.read_bytes())
    except OSError as e:
        raise BadFile(f"{file}: {e.strerror}", "give a config.json or a folder that holds one") from None
    except (ValueError, RecursionError) as e:
        raise BadFile(f"{file}: not JSON: {e}", "download config.json again") from None
    if not isinstance(found, dict):
        raise BadFile(f"{file}: holds {type(found).__name__}, not an object", "download config.json again")
    return found
