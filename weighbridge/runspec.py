"""Plan -> RunSpec, and its spellings: a docker line, a podman line, the body of the Engine API's create."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import msgspec

from weighbridge.engines import EngineFamily, Tmpfs
from weighbridge.errors import Unsupported
from weighbridge.facts import ContainerAccess, Family, Mount
from weighbridge.memory import GIB
from weighbridge.plan import slug
from weighbridge.reach import bracketed
from weighbridge.types import DeviceRequest, Plan, Reach, RunSpec

LABEL = "io.weighbridge"
CACHE_VOLUME = "weighbridge-cache"
_PIDS = 4096
_USER = "10001:0"
KEYS = "/etc/weighbridge/keys"
TLS = "/etc/weighbridge/tls"
_GATEWAY_GIB = {"gateway": ("/run/weighbridge", 1 / 16), "bodies": ("/run/bodies", 1.0)}
_DEFAULTS = Reach(keys="/keys")
_REASONS = {
    "user": "the engine needs no root; group 0 may write the cache volume, so any uid works",
    "read_only": "nothing in the image changes while it serves",
    "cap_drop": "no capability is needed to listen above 1024 and to compute",
    "no_new_privileges": "no set-uid program may raise what was dropped",
    "publish": "one port, the gateway's, on this address only",
    "shm": "ranks pass tensors through /dev/shm; a size of its own keeps the host's IPC namespace closed",
    "pids": "a bound on runaway processes; torch and its compilers start a few hundred threads",
    "memory": "asked: more memory than this ends the container, not the host",
    "restart": "a crash is answered a few times, not for ever",
    "stop": "new requests are refused and running ones may finish before the engine is killed",
    "device_request": "exactly the cards of the plan",
    "devices": "exactly the device nodes of the plan's cards",
    "weights": "weights are read, never written",
    "keys": "hashes of the keys; a folder, so that a file that is replaced is seen",
    "tls": "certificate and its key, read by the gateway alone; a folder, so that a renewal is seen",
    "gateway": "the engine's socket and the gateway's settings",
    "bodies": "bodies that are being received; apart, so that they cannot take the room of keys and settings",
    "cache": "compiled kernels outlive the container; they are programs, so no two appliances share a volume",
}


def image_tag(plan: Plan, digest: str) -> str:
    """`weighbridge/<engine>:<profile>-<model>-<digest>`; within the 128 characters a tag may have."""
    return f"weighbridge/{slug(plan.engine)}:{slug(plan.profile)}-{slug(plan.model)}-{digest[:12]}"


def container_name(plan: Plan) -> str:
    """A name a person can type; a model whose name had to be changed gets a mark that keeps it apart."""
    name = slug(plan.model)
    if not name.startswith("weighbridge"):
        name = f"weighbridge-{name}"
    if slug(plan.model) == plan.model.lower():
        return name
    return f"{name}-{hashlib.sha256(plan.model.encode()).hexdigest()[:6]}"


def cache_volume(name: str) -> str:
    """The volume of one appliance."""
    return f"{CACHE_VOLUME}-{name}"


def run_spec(
    plan: Plan, family: Family, engine: EngineFamily, *, digest: str, weights: str, name: str, port: int, reach: Reach
) -> RunSpec:
    """How the container of a plan starts. `weights` is the folder on the host; `port` the one published.

    Raises Unsupported for a plan over several machines: one container does not make it.
    """
    if plan.nodes > 1:
        words = ["invoke", "plan", "--profile", plan.profile, "--model", plan.model, "--engine", plan.engine]
        message = f"{plan.profile} is {plan.nodes} machines: planned, and not started from here yet"
        raise Unsupported(message, f"only the plan: {shlex.join(words)}")
    access = family.container
    indexes = tuple(range(plan.cards_per_node))
    request = None
    if access.device_request:
        request = DeviceRequest(
            driver=access.device_request, cdi=access.cdi, indexes=indexes, by_cdi=bool(access.cdi and reach.cdi)
        )
    weights_mount = Mount(source=weights, target=plan.model_path, because=_REASONS["weights"])
    spec = RunSpec(
        name=name,
        image=image_tag(plan, digest),
        user=_USER,
        host_address=reach.address,
        host_port=port,
        container_port=plan.port,
        shm_gib=plan.shm_gib,
        device_request=request,
        devices=tuple(_devices(access.devices, indexes)),
        groups=tuple(dict.fromkeys((*access.groups, *map(str, reach.device_gids), *_tls_group(reach)))),
        mounts=(weights_mount, *_gateway_mounts(reach), *access.mounts),
        volumes={cache_volume(name): engine.cache_path} if engine.cache_path else {},
        tmpfs=(*engine.tmpfs, *_gateway_tmpfs()),
        ulimits=plan.ulimits,
        environment={**_card_environment(access, indexes), **_gateway_environment(reach)},
        labels={
            f"{LABEL}.plan": digest,
            f"{LABEL}.name": name,
            f"{LABEL}.model": plan.model,
            f"{LABEL}.profile": plan.profile,
            f"{LABEL}.address": reach.address,
            f"{LABEL}.port": str(port),
        },
        pids_limit=_PIDS,
        memory_mib=reach.memory_mib,
        restart="on-failure:3",
        stop_seconds=reach.stop_seconds,
        reasons=_reasons(reach, request is not None, bool(access.devices), bool(engine.cache_path)),
    )
    labels = {**spec.labels, f"{LABEL}.spec": _digest(spec)}
    return msgspec.structs.replace(spec, labels=labels)


def _card_environment(access: ContainerAccess, indexes: tuple[int, ...]) -> dict[str, str]:
    numbers = ",".join(map(str, indexes))
    return {name: value.replace("{indexes}", numbers) for name, value in access.environment.items()}


def _tls_group(reach: Reach) -> list[str]:
    return [str(reach.tls_gid)] if reach.tls_gid else []


def baked(spec: RunSpec, image: str, model_path: str, weights: str = "") -> RunSpec:
    """The same container from an image with the weights inside. `weights` is the digest of their lock, when known."""
    mounts = tuple(m for m in spec.mounts if m.target != model_path)
    reasons = {name: why for name, why in spec.reasons.items() if name != "weights"}
    found = msgspec.structs.replace(spec, image=image, mounts=mounts, reasons=reasons)
    more = {f"{LABEL}.weights": weights} if weights else {}
    digest = hashlib.sha256(f"{_digest(found)} {weights}".encode()).hexdigest()
    return msgspec.structs.replace(found, labels={**spec.labels, **more, f"{LABEL}.spec": digest})


def _gateway_mounts(reach: Reach) -> list[Mount]:
    """Folders, never single files: a file that is replaced would stay the old one in the container."""
    found = [Mount(source=str(PurePath(reach.keys).parent), target=KEYS, because=_REASONS["keys"])]
    if reach.tls_cert:
        found.append(Mount(source=str(PurePath(reach.tls_cert).parent), target=TLS, because=_REASONS["tls"]))
    return found


def _gateway_tmpfs() -> list[Tmpfs]:
    return [Tmpfs(path=path, size_gib=gib, because=_REASONS[name]) for name, (path, gib) in _GATEWAY_GIB.items()]


def _gateway_environment(reach: Reach) -> dict[str, str]:
    """What the gateway is told; nothing of it is secret, and a default is not told."""
    said = {
        "WEIGHBRIDGE_KEYS": f"{KEYS}/{PurePath(reach.keys).name}",
        "WEIGHBRIDGE_TLS_CERT": f"{TLS}/{PurePath(reach.tls_cert).name}" if reach.tls_cert else None,
        "WEIGHBRIDGE_TLS_KEY": f"{TLS}/{PurePath(reach.tls_key).name}" if reach.tls_key else None,
        "WEIGHBRIDGE_CORS": reach.cors,
        "WEIGHBRIDGE_CONSOLE": None if reach.console == _DEFAULTS.console else reach.console,
        "WEIGHBRIDGE_KEY_RATE": None if reach.key_rate == _DEFAULTS.key_rate else str(reach.key_rate),
        "WEIGHBRIDGE_KEY_STREAMS": None if reach.key_streams == _DEFAULTS.key_streams else str(reach.key_streams),
        "WEIGHBRIDGE_STOP_SECONDS": None if reach.stop_seconds == _DEFAULTS.stop_seconds else str(reach.stop_seconds),
    }
    return {name: value for name, value in said.items() if value}


def _reasons(reach: Reach, request: bool, devices: bool, cache: bool) -> dict[str, str]:
    """Why the container starts as it does: of the choices that were made, and no others."""
    left_out = {
        "device_request": not request, "devices": not devices, "cache": not cache, "memory": not reach.memory_mib,
        "tls": not reach.tls_cert,
    }  # fmt: skip
    return {name: why for name, why in _REASONS.items() if not left_out.get(name)}


def _digest(spec: RunSpec) -> str:
    """sha256 over all that a container is, but for what it is called and where it listens."""
    paths = {str(i): p for i, p in enumerate(spec.volumes.values())}  # a volume's name is the appliance's
    plain = msgspec.structs.replace(spec, name="", host_port=0, volumes=paths, labels={}, reasons={})
    return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()


def _devices(patterns: tuple[str, ...], indexes: tuple[int, ...]) -> Iterator[str]:
    for pattern in patterns:
        if "{index}" in pattern:
            yield from (pattern.replace("{index}", str(i)) for i in indexes)
        else:
            yield pattern


def tmpfs_options(tmpfs: Tmpfs) -> str:
    return f"{tmpfs.options},size={int(tmpfs.size_gib * 1024)}m"


def _gpus(request: DeviceRequest) -> list[str]:
    """The inner quotes are Docker's own: without them the comma splits the value."""
    return ["--gpus", '"device=' + ",".join(map(str, request.indexes)) + '"']


def _cdi(request: DeviceRequest) -> list[str]:
    return [w for name in request.names for w in ("--device", name)]


def words(spec: RunSpec, runtime: str) -> list[list[str]]:
    """The command line, an option and its value together. `runtime` is docker or podman."""
    request: list[str] = []
    if spec.device_request:
        named = spec.device_request.by_cdi or runtime == "podman"
        request = _cdi(spec.device_request) if named else _gpus(spec.device_request)
    lines = [
        [runtime, "run"],
        ["--detach"],
        ["--name", spec.name],
        ["--user", spec.user],
        ["--read-only"],
        ["--cap-drop", "ALL"],
        ["--security-opt", "no-new-privileges"],
        ["--pids-limit", str(spec.pids_limit)],
        *([["--memory", f"{spec.memory_mib}m"]] if spec.memory_mib else []),
        ["--restart", spec.restart],
        ["--stop-timeout", str(spec.stop_seconds)],
        ["--publish", f"{bracketed(spec.host_address)}:{spec.host_port}:{spec.container_port}"],
        ["--shm-size", f"{int(spec.shm_gib * 1024)}m"],
        *([request] if request else []),
        *(["--device", device] for device in spec.devices),
        *(["--group-add", group] for group in spec.groups),
        *(["--ulimit", f"{u.name}={u.value}"] for u in spec.ulimits),
        *(["--tmpfs", f"{t.path}:{tmpfs_options(t)}"] for t in spec.tmpfs),
        *(["--mount", _mount(m)] for m in spec.mounts),
        *(["--mount", f"type=volume,source={v},target={p}"] for v, p in spec.volumes.items()),
        *(["--env", f"{k}={v}"] for k, v in sorted(spec.environment.items())),
        *(["--label", f"{k}={v}"] for k, v in sorted(spec.labels.items())),
        [spec.image],
    ]
    return [line for line in lines if line]


def _mount(mount: Mount) -> str:
    """CSV, as the runtimes read it: a path with a comma or a quote is quoted."""
    fields = [
        "type=bind",
        f"source={mount.source}",
        f"target={mount.target}",
        *(["readonly"] if mount.read_only else []),
    ]
    return ",".join('"' + f.replace('"', '""') + '"' if set(f) & set(',"') else f for f in fields)


def line(spec: RunSpec, runtime: str) -> str:
    """The exact line to paste, one option a row."""
    rows = [" ".join(shlex.quote(w) for w in row) for row in words(spec, runtime)]
    return " \\\n  ".join(rows) + "\n"


def api_body(spec: RunSpec) -> dict[str, Any]:
    """What the Engine API is sent to create the container: what `docker run` sends for the line above."""
    port = f"{spec.container_port}/tcp"
    return {
        "Image": spec.image,
        "User": spec.user,
        "Env": [f"{k}={v}" for k, v in sorted(spec.environment.items())],
        "Labels": spec.labels,
        "StopTimeout": spec.stop_seconds,
        "ExposedPorts": {port: {}},
        "HostConfig": {
            "NetworkMode": "default",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": spec.pids_limit,
            "Memory": (spec.memory_mib or 0) * 1024**2,
            "RestartPolicy": restart_policy(spec),
            "PortBindings": {port: [{"HostIp": spec.host_address, "HostPort": str(spec.host_port)}]},
            "ShmSize": int(spec.shm_gib * GIB),
            "DeviceRequests": _device_requests(spec.device_request),
            "Devices": [{"PathOnHost": d, "PathInContainer": d, "CgroupPermissions": "rwm"} for d in spec.devices],
            "GroupAdd": list(spec.groups),
            "Ulimits": [{"Name": u.name, "Soft": u.value, "Hard": u.value} for u in spec.ulimits],
            "Tmpfs": {t.path: tmpfs_options(t) for t in spec.tmpfs},
            "Mounts": [
                *({"Type": "bind", "Source": m.source, "Target": m.target, "ReadOnly": m.read_only}
                  for m in spec.mounts),
                *({"Type": "volume", "Source": v, "Target": p} for v, p in spec.volumes.items()),
            ],
        },
    }  # fmt: skip


def restart_policy(spec: RunSpec) -> dict[str, Any]:
    policy, _, most = spec.restart.partition(":")
    return {"Name": policy, "MaximumRetryCount": int(most or 0)}


def _device_requests(request: DeviceRequest | None) -> list[dict[str, Any]]:
    if request is None:
        return []
    if request.by_cdi:
        return [{"Driver": "cdi", "DeviceIDs": list(request.names)}]
    indexes = [str(i) for i in request.indexes]
    return [{"Driver": request.driver, "DeviceIDs": indexes, "Capabilities": [["gpu"]]}]
