"""Every value on the road, frozen, in the order in which the road meets them. Units are in the names."""

from __future__ import annotations

from typing import Literal

import msgspec

from weighbridge.engines import Base, Gateway, Tmpfs, Ulimit
from weighbridge.facts import Evidence, Mount, Value

# --- what was asked ------------------------------------------------------------------------------------


class Order(Value, frozen=True, kw_only=True):
    """What somebody asked for. None: the planner decides. Flags of the verbs are these fields."""

    profile: str = "cpu"
    model: str = "weighbridge-demo"
    engine: str | None = None
    engine_version: str | None = None
    utilization: float | None = None
    visible_gib: float | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    data_parallel: int | None = None
    dtype: str | None = None
    kv_dtype: str | None = None
    quantization: str | None = None
    context: int | None = None
    sequences: int | None = None
    batched_tokens: int | None = None
    batching: str | None = None
    eager: bool | None = None
    graph_size: int | None = None
    scheduling: str | None = None
    without: str | None = None
    extra_args: str | None = None


PLANNED_AS = {  # fields of an order whose planned value has another name
    "context": "max_model_len", "sequences": "max_num_seqs", "batched_tokens": "max_num_batched_tokens",
}  # fmt: skip


# --- the plan ------------------------------------------------------------------------------------------


class RankMemory(Value, frozen=True, kw_only=True):
    """One rank's memory, GiB. low and high bound what the engine will report."""

    rank: int
    stage: int
    weights_gib: float
    kv_gib_low: float
    kv_gib_high: float
    overhead_gib_low: float
    overhead_gib_high: float
    budget_gib: float
    visible_gib: float


class Memory(Value, frozen=True, kw_only=True):
    """Memory of one replica's ranks."""

    per_rank: tuple[RankMemory, ...]
    kv_bytes_per_token: int | None
    weights_total_gib: float


class Span(Value, frozen=True, kw_only=True):
    """low is promised, high is hoped."""

    low: int
    high: int


class Plan(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Every decision, made once; templates and run flags only read it. What has a default here is the engine's own
    choice, and stands in plan.json only when it was asked for."""

    profile: str
    model: str
    engine: str
    engine_version: str
    family: str
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    cards: int
    cards_per_node: int
    card_indexes: tuple[int, ...]
    nodes: int
    precision: str
    dtype: str
    quantization: str | None
    kv_dtype: str
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    max_input_tokens: int | None
    utilization: float
    eager: bool
    memory: Memory
    kv_cache_tokens: Span | None
    kv_space_bytes: int | None
    shm_gib: float
    shm_mib: int
    ulimits: tuple[Ulimit, ...]
    reasoning_parser: str | None
    tool_call_parser: str | None
    chat_template: str | None
    model_path: str
    port: int
    ready_seconds: int
    gateway: Gateway
    base_image: str
    gateway_image: str | None
    min_driver: int | None
    budget_mib: int
    command: tuple[str, ...]
    engine_args: tuple[str, ...]
    config_files: tuple[str, ...]
    groups: tuple[str, ...]
    environment: dict[str, str]
    evidence: Evidence
    warnings: tuple[str, ...]
    because: tuple[str, ...]
    graph_size: int | None = None
    scheduling: str | None = None
    without: str | None = None
    all_reduce: str | None = None
    extra_args: str | None = None


class File(Value, frozen=True, kw_only=True):
    """One file of a build context or a rendered folder. `private`: others may not read it, mode 640."""

    text: str
    executable: bool = False
    private: bool = False


class Recipe(Value, frozen=True, kw_only=True):
    """The whole build context but the wheels: path -> File. `digest` names it: same digest, nothing to build."""

    files: dict[str, File]
    lock: str | None
    python: str | None
    base: Base
    gateway_base: Base | None
    digest: str


# --- how it runs ---------------------------------------------------------------------------------------


class DeviceRequest(Value, frozen=True, kw_only=True):
    """Cards by index through the runtime's own request (Docker --gpus), or by CDI names (Podman, `by_cdi`)."""

    driver: str
    cdi: str | None
    indexes: tuple[int, ...]
    by_cdi: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The cards' CDI names."""
        return tuple(f"{self.cdi}={i}" for i in self.indexes)


class Reach(Value, frozen=True, kw_only=True):
    """How clients reach an appliance, and what only its host knows.

    `keys` and `tls_*` are files of the host; their folders are mounted read-only. `device_gids`: the groups that
    own the cards' nodes there. `cdi`: cards by their CDI names, for a Docker that has no driver of their vendor.
    `cors`: origins, with commas between them.
    """

    address: str = "127.0.0.1"
    keys: str
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_gid: int | None = None
    device_gids: tuple[int, ...] = ()
    cdi: bool = False
    cors: str | None = None
    console: Literal["open", "key", "off"] = "key"
    key_rate: int = 1000
    key_streams: int = 1024
    memory_mib: int | None = None
    stop_seconds: int = 30


class RunSpec(Value, frozen=True, kw_only=True):
    """How the container starts. One value, several spellings: SDK, docker line, podman line, compose."""

    name: str
    image: str
    user: str
    host_address: str
    host_port: int
    container_port: int
    shm_gib: float
    device_request: DeviceRequest | None
    devices: tuple[str, ...]
    groups: tuple[str, ...]
    mounts: tuple[Mount, ...]
    volumes: dict[str, str]
    tmpfs: tuple[Tmpfs, ...]
    ulimits: tuple[Ulimit, ...]
    environment: dict[str, str]
    labels: dict[str, str]
    pids_limit: int
    memory_mib: int | None
    restart: str
    stop_seconds: int
    reasons: dict[str, str]


# --- what came of it -----------------------------------------------------------------------------------


class Check(Value, frozen=True, kw_only=True):
    """One question put to a running appliance. `ok` is None when it does not apply, and `detail` says why."""

    id: str
    ok: bool | None
    seconds: float
    detail: str


class Line(Value, frozen=True, kw_only=True):
    """One figure: planned from low to high, and reported."""

    name: str
    low: float
    high: float
    reported: float

    @property
    def short(self) -> float:
        """The share of the low end that is missing; 0 when nothing is."""
        return max(0.0, 1 - self.reported / self.low) if self.low > 0 else 0.0


class Reconciliation(Value, frozen=True, kw_only=True):
    """Every figure that both sides have. A promise is about tokens: `missing_share` of the promised ones is short."""

    lines: tuple[Line, ...]
    missing_share: float = 0.0


class SmokeReport(Value, frozen=True, kw_only=True):
    """What a running appliance answered; `about` says which: engine, version, profile, image."""

    url: str
    model: str
    checks: tuple[Check, ...]
    seconds: float
    memory: Reconciliation | None = None
    key_file: str | None = None
    cert: str | None = None
    level: str = "quick"
    rounds: int = 1
    about: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Something was right and nothing was wrong."""
        return any(c.ok for c in self.checks) and not any(c.ok is False for c in self.checks)
