"""A machine with cards that are not there: device nodes, driver folders, and the RunSpec as it arrives at Docker.

Host paths lie under a private folder; inside the container every path is the rendered one. Docker's own request for
cards needs a driver that this machine lacks: it is left out, and the variable that the driver would set is set. A limit
that this host may not raise is left out too.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import stat
from pathlib import Path
from typing import Any

import yaml

from weighbridge.catalog import Catalog
from weighbridge.effects.probe import device_gids
from weighbridge.facts import Profile
from weighbridge.runspec import api_body
from weighbridge.types import RunSpec

ROOT = Path(__file__).resolve().parents[2]
STUBS = sorted(p for p in (Path(__file__).parent / "stub").iterdir() if p.is_file())
STUB = f"weighbridge-sim-stub:{hashlib.sha256(b''.join(p.read_bytes() for p in STUBS)).hexdigest()[:12]}"
NAME = "weighbridge-sim"
OWNERS = 4321  # the group that owns the nodes on this host: no image knows it
NULL = os.makedev(1, 3)


class Machine:
    """The nodes and folders of one profile, under `root`. Needs root, for mknod."""

    def __init__(self, root: Path, profile: Profile) -> None:
        self.root, self.profile = root, profile
        access = profile.family.container
        shutil.rmtree(root, ignore_errors=True)
        for path in access.devices:
            self._device(path)
        for mount in access.mounts:
            self._source(mount.source)

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _device(self, path: str) -> None:
        """A node, one for each card, or a folder of render nodes as far apart as real ones."""
        if "{index}" in path:
            for index in range(self.profile.count):
                self._node(path.replace("{index}", str(index)))
        elif path == "/dev/dri":
            for index in range(self.profile.count):
                self._node(f"{path}/renderD{128 + 8 * index}")
        else:
            self._node(path)

    def _node(self, path: str) -> None:
        node = self.at(path)
        node.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(node, 0o660 | stat.S_IFCHR, NULL)
        node.chmod(0o660)  # whatever the umask
        os.chown(node, 0, OWNERS)

    def _source(self, path: str) -> None:
        source = self.at(path)
        if "." in source.name or "smi" in source.name:
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text("#!/bin/sh\necho simulated\n")
            source.chmod(0o755)
        else:
            source.mkdir(parents=True, exist_ok=True)

    @property
    def gids(self) -> tuple[int, ...]:
        """What the verb would find on that host."""
        return device_gids([str(self.at(d)) for d in self.profile.family.container.devices])

    def body(self, spec: RunSpec) -> dict[str, Any]:
        """What Docker is sent: the rendered RunSpec, with this host's paths."""
        body = api_body(spec)
        host = body["HostConfig"]
        for device in host["Devices"]:
            device["PathOnHost"] = str(self.at(device["PathOnHost"]))
        ours = {m.source for m in self.profile.family.container.mounts}
        for mount in host["Mounts"]:
            if mount["Source"] in ours:
                mount["Source"] = str(self.at(mount["Source"]))
        host["Ulimits"] = [u for u in host["Ulimits"] if may_raise(u["Name"], u["Hard"])]
        for request in host.pop("DeviceRequests"):
            body["Env"].append(f"NVIDIA_VISIBLE_DEVICES={','.join(request['DeviceIDs'])}")
        return body


def may_raise(name: str, value: int) -> bool:
    """Whether a container here can have this limit: it may not pass our own without a capability that CI may lack."""
    most = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
    return most == resource.RLIM_INFINITY or 0 <= value <= most


def catalogue(folder: Path) -> Path:
    """Our engines with the stub for the vendors' images: a user's catalogue, read by our own build path."""
    for engine in Catalog().engine_ids():
        found = yaml.safe_load((ROOT / "images" / engine / "engine.yaml").read_text(encoding="utf-8"))
        for family, facts in found["families"].items():
            for base in facts["bases"].values():
                if family != "cpu":
                    base["image"] = STUB
        shutil.copytree(ROOT / "images" / engine, folder / "images" / engine)
        (folder / "images" / engine / "engine.yaml").write_text(yaml.safe_dump(found), encoding="utf-8")
    shutil.copytree(ROOT / "images" / "_shared", folder / "images" / "_shared")
    return folder
