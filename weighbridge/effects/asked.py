"""What was typed and what the environment adds, as the values of the road: catalogue, plan, folders, RunSpec."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from weighbridge.calibration import broken_before
from weighbridge.catalog import Catalog, convert, read_yaml
from weighbridge.effects.store import model_folder, store_folder
from weighbridge.effects.weights import stored_bytes
from weighbridge.errors import BadValue, nearest, none_of
from weighbridge.facts import Model
from weighbridge.here import AUTO
from weighbridge.image import baked_tag
from weighbridge.order import read_name, read_order, read_port
from weighbridge.orderfile import OrderFile, strayed
from weighbridge.plan import slug
from weighbridge.reach import SELF_SIGNED, read_reach
from weighbridge.render import spec_of
from weighbridge.road import make_plan, taken_for
from weighbridge.runspec import LABEL, baked, container_name
from weighbridge.types import Order, Plan, Reach, RunSpec

if TYPE_CHECKING:  # a plan is made without the Docker library
    from weighbridge.effects.appliance import Folders
    from weighbridge.effects.keyring import Keyring
    from weighbridge.machines import Machine


_ORDER_FORM = "or write one, which begins order: {profile: PROFILE, model: MODEL}"
_TUNED = Path("build/tune")  # where invoke tune writes what it found


def _near_file(path: str) -> str:
    """What a hint for an order file that is not there begins with: the one that was probably meant, if there is one."""
    here = Path(path).parent
    files = {p.stem: p for folder in (_TUNED, here) if folder.is_dir() for p in sorted(folder.glob("*.y*ml"))}
    near = nearest(Path(path).stem, files)
    return f"did you mean --order {shlex.quote(str(files[near]))}? else make one: " if near else "make one: "


class Asked:
    """One command's flags and environment; everything is made when it is asked for. Raises Refused."""

    def __init__(self, flags: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.flags, self.environment = flags, environment

    @cached_property
    def catalog(self) -> Catalog:
        """The built-in catalogue and, above it, the folder of --catalog or WEIGHBRIDGE_CATALOG."""
        folder = self.flags.get("catalog") or self.environment.get("WEIGHBRIDGE_CATALOG")
        if folder and not any((Path(folder) / kind).is_dir() for kind in ("profiles", "models", "images")):
            what = "nothing of a catalogue in it" if Path(folder).is_dir() else "no such folder"
            raise BadValue(f"--catalog {folder}: {what}", "name one with profiles/, models/ or images/ in it")
        return Catalog(*[Path(folder)] if folder else [])

    @cached_property
    def order(self) -> Order:
        base = self.order_file.order if self.order_file else None
        return read_order({**self.flags, "profile": self.profile_name}, base)

    @cached_property
    def order_file(self) -> OrderFile | None:
        """The file of --order."""
        path = self.flags.get("order")
        if not path:
            return None
        if not Path(path).is_file():
            raise BadValue(f"--order {path}: no such file", f"{_near_file(path)}{self._tune_line(path)}; {_ORDER_FORM}")
        return convert(read_yaml(Path(path)), OrderFile, Path(path))

    def _tune_line(self, path: str) -> str:
        """The line that writes an order file there: for this machine and MODEL, where the flags do not say."""
        given = {name: self.flags.get(name) for name in Order.__struct_fields__}
        model = given["model"] or (None if self.flags.get("model_config") else "MODEL")
        given = {**given, "profile": given["profile"] or AUTO, "model": model}
        said = [(f"--{n.replace('_', '-')}", v) for n, v in given.items() if v]
        words = [w for flag, v in said for w in (flag, *([] if v is True else [str(v)]))]
        return shlex.join(["invoke", "tune", *words, "--goal", "throughput", "--output", path])

    @property
    def config(self) -> str | None:
        """--model-config, else that of the order file, whose model it is the shape of."""
        file = self.order_file
        same = file and self.flags.get("model") in (None, file.order.model)
        return self.flags.get("model_config") or (file.model_config if file and same else None)

    @cached_property
    def profile_name(self) -> str:
        """--profile, else the order file's; `auto` is the one that this machine shows. Raises Unsupported for none."""
        from weighbridge.effects.probe import profile_here

        wanted = str(self.flags.get("profile") or (self.order_file or OrderFile()).order.profile)
        return profile_here(self.catalog) if wanted == AUTO else wanted

    @property
    def store(self) -> Path:
        """Where models lie."""
        return store_folder(self.environment)

    @cached_property
    def model(self) -> Model | None:
        """The model of --model-config; None when the catalogue knows it."""
        config = self.config
        if not config:
            return None
        found = self.catalog.model_from_config(self.order.model, Path(config))
        if not Path(config).is_dir():
            return found
        return msgspec.structs.replace(found, stored_bytes=stored_bytes(Path(config), found.shape))

    @cached_property
    def plan(self) -> Plan:
        return make_plan(self.order, self.catalog, self.model, self.frame)

    @property
    def own_runs(self) -> tuple[str, ...]:
        """What runs of one's own say against this plan, and a name's other meaning. They warn; they change no plan."""
        from weighbridge.effects.calibration import folder_of, kept_or_none

        folder, engine = folder_of(self.environment), f"{self.plan.engine} {self.plan.engine_version}"
        guess = strayed(self.order_file, self.order, engine)
        said = (*taken_for(self.order.profile, self.catalog), *([guess] if guess else []))
        if not folder.is_dir():
            return said
        files, wrong = kept_or_none(folder)
        model = self.model or self.catalog.model(self.plan.model)
        card = self.catalog.profile(self.plan.profile).card_id
        found = broken_before(self.plan, card, model.shape.architecture, files)
        return (*said, *found, *([wrong] if wrong else []))

    @property
    def frame(self) -> list[str]:
        """The flags beside the order, which a line to paste must repeat."""
        given = {"model_config": self.config, "catalog": self.flags.get("catalog")}
        return [word for n, v in given.items() if v for word in (f"--{n.replace('_', '-')}", v)]

    @property
    def folders(self) -> Folders:
        from weighbridge.effects.appliance import Folders

        cache = Path(self.environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weighbridge"
        mirror = self.environment.get("WEIGHBRIDGE_DEBIAN_MIRROR")
        return Folders(Path("build"), Path(self.environment.get("WEIGHBRIDGE_CACHE") or cache), mirror)

    @cached_property
    def weights(self) -> Path:
        """--weights, else the folder of --model-config, else what travels along, else the store's."""
        config = self.config
        if self.flags.get("weights"):
            return Path(self.flags["weights"]).absolute()
        if config and Path(config).is_dir():
            return Path(config).absolute()
        bundled = None if config else self.catalog.model_folder(self.catalog.model(self.plan.model))
        return bundled or model_folder(self.environment, slug(self.plan.model))

    def home(self, name: str) -> Path:
        """The folder of an appliance's keys and certificate."""
        config = self.environment.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(config).absolute() / "weighbridge" / name

    @cached_property
    def name(self) -> str:
        return read_name(self.flags["name"]) if self.flags["name"] else container_name(self.plan)

    @cached_property
    def keyring(self) -> Keyring:
        """--keys, else the appliance's own."""
        from weighbridge.effects.keyring import Keyring, check_alone

        file = Path(self.flags["keys"]).absolute() if self.flags.get("keys") else None
        if file:
            check_alone(file)
        return Keyring(self.home(self.name), file)

    @property
    def signs_itself(self) -> bool:
        return self.flags.get("tls") is not None

    @cached_property
    def reach(self) -> Reach:
        from weighbridge.effects.probe import device_gids

        access = self.catalog.profile(self.plan.profile).family.container
        gids = device_gids(access.devices)
        return read_reach(self.flags, keys=str(self.keyring.file), tls=self._tls(), gids=gids)

    def _tls(self) -> tuple[str, str, int | None] | None:
        from weighbridge.effects.tls import check_pair

        how, cert, key = (self.flags.get(name) for name in ("tls", "tls_cert", "tls_key"))
        if how not in (None, SELF_SIGNED):
            raise none_of("--tls", how, [SELF_SIGNED])
        if how and (cert or key):
            raise BadValue("--tls and --tls-cert are two certificates", "leave one of them out")
        if bool(cert) != bool(key):
            raise BadValue("a certificate and its key come together", "give both: --tls-cert FILE --tls-key FILE")
        if how:
            folder = self.home(self.name) / "tls"
            return str(folder / "cert.pem"), str(folder / "key.pem"), os.getgid() or None
        return check_pair(Path(cert), Path(key)) if cert and key else None

    @cached_property
    def machines(self) -> tuple[Machine, ...]:
        """The machines of a plan whose engine needs to know them all; none for other plans, which take no addresses."""
        from weighbridge.machines import read_machines, refuse_machines

        profile = self.catalog.profile(self.plan.profile)
        if self.plan.nodes > 1 and self.catalog.engine(self.plan.engine).families[self.plan.family].machine_files:
            return read_machines(self.flags, self.plan, profile)
        refuse_machines(self.flags, profile)
        return ()

    @cached_property
    def spec(self) -> RunSpec:
        from weighbridge.effects.probe import free_port
        from weighbridge.machines import must_be_one

        must_be_one(self.order, self.plan, self.catalog, self.model, self.frame)
        port = read_port(self.flags["port"]) or free_port(self.reach.address)
        found = spec_of(self.plan, self.catalog, weights=self.weights, name=self.name, port=port, reach=self.reach)
        return self._baked(found) if self.flags.get("baked") else found

    def _baked(self, found: RunSpec) -> RunSpec:
        """The same from the image with the weights inside, which must be here for more than a line to print."""
        tag = baked_tag(self.plan, found.labels[f"{LABEL}.plan"])
        if self.flags.get("print") or self.flags.get("dry_run"):
            return baked(found, tag, self.plan.model_path)
        from weighbridge.effects.oci.begin import weights_label

        return baked(found, tag, self.plan.model_path, weights_label(tag, self.plan))
