"""The benchmark of bakes: paired rounds of ours, others' and the floor; JSON, a table and a plot into docs/.

PYTHONPATH=.:tests .venv/bin/python -m bench.bake --gib 1 4 16 --rounds 3 --routes floor layout registry …
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from registries import real_registry

from bench import one
from bench.meter import Measured, measure, pids_of
from bench.page import write_page

GIB = 1024**3
SHARDS = 4
ROUTES = (
    "floor", "sha256", "layout", "layout-known", "layout-again", "xfs", "registry", "registry-again", "docker",
    "docker-again", "podman", "podman-again", "docker-build", "docker-build-push", "buildah-push", "olot",
)  # fmt: skip
DAEMONS = ("dockerd", "containerd", "docker-registry")


class Bench:
    """One size: a model, a folder to work in, a registry."""

    def __init__(self, folder: Path, gib: float, image: str, registry: str) -> None:
        self.folder, self.gib, self.image, self.registry = folder, gib, image, registry
        self.model, self.cache = folder / "model", folder / "cache"
        self.log = folder / "log"
        make_model(self.model, int(gib * GIB))
        self.cache.mkdir()
        self.entries = 0
        self.cache_engine()

    def cache_engine(self) -> None:
        """The engine's image is taken from the Docker engine once; that is not what is measured here."""
        one.engine_of(self.image, "", self.cache)

    def run(self, route: str) -> Measured:
        """The route, measured; what it made is gone afterwards, but for what a route `-again` starts from."""
        command = self.commands()[route]()
        forget(self.model)
        return measure(command, self.folder, pids_of(*DAEMONS), self.log)

    def commands(self) -> dict[str, Callable[[], Sequence[str]]]:
        bake = self.bake
        return {
            "floor": lambda: ["sh", "-c", self.floor()],
            "sha256": lambda: ["sh", "-c", f"openssl dgst -sha256 {self.model}/*.safetensors"],
            "layout": lambda: bake("layout", self.fresh("layout"), forget_digests=True),
            "layout-known": lambda: bake("layout", self.fresh("layout"), forget_layers=True),
            "layout-again": lambda: bake("layout", str(self.folder / "layout")),
            "xfs": self.xfs,
            "registry": lambda: bake("registry", f"{self.registry}/bake{self.next()}:1", forget_digests=True),
            "registry-again": lambda: bake("registry", f"{self.registry}/bake{self.entries}:1"),
            "docker": lambda: bake("docker", "bench-bake:ours", forget_digests=True),
            "docker-again": lambda: bake("docker", "bench-bake:again"),
            "podman": lambda: bake("podman", "bench-bake:ours", forget_digests=True),
            "podman-again": lambda: bake("podman", "bench-bake:again"),
            "docker-build": lambda: ["sh", "-c", self.docker_build()],
            "docker-build-push": lambda: ["sh", "-c", f"{self.docker_build()} && docker push -q {self.theirs}"],
            "buildah-push": lambda: ["sh", "-c", self.buildah()],
            "olot": self.olot,
        }

    def bake(self, to: str, place: str, *, forget_digests: bool = False, forget_layers: bool = False) -> list[str]:
        """Each bake has another entrypoint, as after a build of the engine."""
        base = self.cache / "digests.sqlite"
        if forget_digests:
            base.unlink(missing_ok=True)
        elif forget_layers:
            subprocess.run([sys.executable, "-c", _DELETE, str(base)], check=True)
        entry = f"echo {self.next()}"
        return [sys.executable, str(Path(one.__file__)), to, str(self.model), place, str(self.cache), self.image, entry]

    def next(self) -> int:
        self.entries += 1
        return self.entries

    def fresh(self, name: str) -> str:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return str(self.folder / name)

    def floor(self) -> str:
        """Two direct copies at a time, without a hash: as fast as this disk reads and writes at once."""
        out = self.fresh("floor")
        copy = 'dd if="$f" of="$o/${f##*/}" bs=8M iflag=direct oflag=direct status=none'
        pairs = [" ".join(str(p) for p in sorted(self.model.glob("*.safetensors"))[i::2]) for i in (0, 1)]
        return f"o={out}; mkdir $o; " + " & ".join(f"(for f in {p}; do {copy}; done)" for p in pairs) + "; wait"

    @property
    def theirs(self) -> str:
        return f"{self.registry}/theirs:1"

    def docker_build(self) -> str:
        text = f"FROM {self.image}\\nCOPY . /models/m\\n"
        build = "DOCKER_BUILDKIT=0 docker build --quiet --no-cache --network none"
        return f"printf '{text}' | {build} -t {self.theirs} -f - {self.model}"

    def buildah(self) -> str:
        archive = self.folder / "base.tar"
        subprocess.run(["docker", "save", "-o", str(archive), self.image], check=True)
        pull = ["buildah", "pull", "-q", f"docker-archive:{archive}"]
        name = subprocess.run(pull, check=True, capture_output=True, text=True).stdout.strip()
        archive.unlink()
        text = f"FROM {name}\\nCOPY . /models/m\\n"
        push = f"buildah push -q --tls-verify=false {self.theirs}"
        file = self.folder / "Containerfile"
        build = f"buildah bud -q --isolation chroot -t {self.theirs} -f {file} {self.model}"
        return f"printf '{text}' > {file} && {build} && {push}"

    def xfs(self) -> list[str]:
        """The model and the layout on one XFS image that shares blocks; mounted here, unmounted by `clean`."""
        mount, image = self.folder / "xfs", self.folder / "xfs.img"
        if not mount.is_mount():
            mount.mkdir(exist_ok=True)
            with image.open("wb") as file:
                file.truncate(int(self.gib * 1.3 * GIB) + GIB)
            subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
            subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
            shutil.copytree(self.model, mount / "model")
        shutil.rmtree(mount / "layout", ignore_errors=True)
        forget(mount / "model")
        command = self.bake("layout", str(mount / "layout"), forget_digests=True)
        command[3] = str(mount / "model")
        return command

    def olot(self) -> list[str]:
        """In an environment of its own; its base is a layout of ours with nothing but the image."""
        place, env = self.fresh("olot"), self.folder / "olot-env"
        if not env.is_dir():
            subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
            subprocess.run([str(env / "bin" / "pip"), "install", "-q", "olot"], check=True)
        subprocess.run(["skopeo", "copy", "-q", f"docker-daemon:{self.image}", f"oci:{place}:latest"], check=True)
        files = [str(p) for p in sorted(self.model.iterdir())]
        return [str(env / "bin" / "olot"), place, *files]

    def after(self, route: str) -> None:
        """What a route leaves and no later one starts from."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
        if route.startswith("docker-build"):
            subprocess.run(["docker", "rmi", "-f", self.theirs], **quiet)  # type: ignore[call-overload]
        if route in ("docker-again", "podman-again"):
            home = "" if route == "docker-again" else "localhost/"
            names = [f"{home}bench-bake:{name}" for name in ("ours", "again")]  # the second alone would leave a layer
            subprocess.run([route.split("-")[0], "rmi", "-f", *names], **quiet)  # type: ignore[call-overload]
        if route == "buildah-push":
            subprocess.run(["buildah", "rmi", "-f", self.theirs], **quiet)  # type: ignore[call-overload]
        if route in ("floor", "olot"):
            self.fresh(route)

    def clean(self) -> None:
        if (self.folder / "xfs").is_mount():
            subprocess.run(["umount", str(self.folder / "xfs")], check=True)
        for route in ("docker-again", "podman-again", "docker-build", "buildah-push"):
            if shutil.which(route.split("-")[0]):
                self.after(route)


_DELETE = "import sqlite3, sys; b = sqlite3.connect(sys.argv[1]); b.execute('delete from layers'); b.commit()"


def make_model(folder: Path, size: int) -> None:
    """Random shards with whole safetensors headers, and the small files of a model."""
    folder.mkdir()
    each = size // SHARDS // 4096 * 4096
    for i in range(SHARDS):
        head = json.dumps({"w": {"dtype": "U8", "shape": [each - 4096], "data_offsets": [0, each - 4096]}}).encode()
        with (folder / f"model-{i + 1:05}-of-{SHARDS:05}.safetensors").open("wb") as file:
            file.write((4088).to_bytes(8, "little") + head.ljust(4088))
            left = each - 4096
            while left:
                left -= file.write(os.urandom(min(left, 4 << 20)))
            os.fsync(file.fileno())
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}" * 1000)


def forget(folder: Path) -> None:
    """The page cache holds nothing of these files: each run reads the disk."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def main() -> None:
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("--gib", type=float, nargs="+", default=[1.0])
    read.add_argument("--rounds", type=int, default=3)
    read.add_argument("--routes", nargs="+", default=[r for r in ROUTES if r != "olot"], choices=ROUTES)
    read.add_argument("--image", help="the engine's image (default: a base image of Weighbridge that is here)")
    read.add_argument("--folder", default="build", help="where to work; needs about 6 times the size")
    read.add_argument("--results", default="docs/bake.json")
    given = read.parse_args()
    image = (
        given.image
        or subprocess.run(
            ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "weighbridge-base"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[0]
    )
    rows = []
    Path(given.folder).mkdir(exist_ok=True)
    for gib in given.gib:
        with tempfile.TemporaryDirectory(prefix="bench-bake-", dir=given.folder) as name:
            rows += one_size(Path(name).absolute(), gib, image, given.routes, given.rounds)
    found = {"machine": machine(), "routes": given.routes, "rows": rows}
    Path(given.results).write_text(json.dumps(found, indent=1) + "\n")
    write_page(found, Path("docs/bake.md"), Path("docs/bake.svg"))


def one_size(
    folder: Path, gib: float, image: str, routes: Sequence[str], rounds: int
) -> list[dict[str, float | str | int]]:
    """Each round runs every route once, so that what else the machine does falls on all of them."""
    rows: list[dict[str, float | str | int]] = []
    with real_registry(folder / "registry") as registry:
        bench = Bench(folder, gib, image, registry)
        try:
            for turn in range(rounds):
                for route in routes:
                    load = os.getloadavg()[0]
                    try:
                        found = bench.run(route)
                    except subprocess.CalledProcessError as e:  # what the others took is not lost with it
                        print(f"{gib:g} GiB, {turn}: {route} broke off: {e.output!r}", flush=True)
                        continue
                    finally:
                        bench.after(route)
                    rows.append({"route": route, "gib": gib, "round": turn, "load": round(load, 2), **rounded(found)})
                    print(f"{gib:g} GiB, {turn}: {route}: {found.wall:.2f} s, {found.cpu:.2f} CPU s", flush=True)
                shutil.rmtree(folder / "registry" / "data", ignore_errors=True)
        finally:
            bench.clean()
    return rows


def rounded(found: Measured) -> dict[str, float | int]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in found._asdict().items()}


def base_here() -> str:
    ask = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "weighbridge-base"]
    return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()[0]


def machine() -> str:
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    docker = subprocess.run(
        ["docker", "version", "-f", "{{.Server.Version}}"], capture_output=True, text=True, check=True
    )
    return f"{os.cpu_count()} x {cpu.split(':')[1].strip()}, Linux {platform.release()}, Docker {docker.stdout.strip()}"


if __name__ == "__main__":
    main()
