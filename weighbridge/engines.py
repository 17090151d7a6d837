"""What images/ says: serving engines and the containers they need. Frozen; units are in the names."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from weighbridge.facts import Value


class Argument(Value, frozen=True, kw_only=True):
    """One engine argument: the plan's field that feeds it. A false or empty field leaves it out.

    A switch stands alone; other flags are followed by `value`, or else by the field's. With `equals` it stands only
    where the field says just that.
    """

    flag: str
    field: str | None = None
    value: str | None = None
    equals: str | None = None
    switch: bool = False
    families: tuple[str, ...] = ()


class Batching(Value, frozen=True, kw_only=True):
    """Batch limits for cards with at least `from_visible_gib` GiB."""

    from_visible_gib: float
    max_num_batched_tokens: int
    max_num_seqs: int
    because: str


class OwnBatching(Value, frozen=True, kw_only=True):
    """What the engine itself takes where no limits are given; the last row that a card meets counts."""

    from_visible_gib: float = 0.0
    from_compute_capability: float = 0.0
    max_num_batched_tokens: int
    max_num_seqs: int
    because: str


class InfoMetric(Value, frozen=True, kw_only=True):
    """A metric whose labels are figures: `labels` are sets of names, the first whole set is multiplied."""

    metric: str
    labels: tuple[tuple[str, ...], ...]


class Ulimit(Value, frozen=True, kw_only=True):
    """A resource limit (-1: none), set when more than one card works together, or always."""

    name: str
    value: int
    several_cards_only: bool = True
    because: str


class Tmpfs(Value, frozen=True, kw_only=True):
    """Memory-backed scratch space in the container."""

    path: str
    size_gib: float
    options: str = "rw,nosuid,nodev"
    because: str


class Base(Value, frozen=True, kw_only=True):
    """What a Dockerfile starts FROM: a published image, or ours, made of Debian packages and locked wheels.

    `min_driver`: the oldest major version of the cards' driver that the image's libraries work with.
    """

    image: str
    suite: str | None = None
    packages: tuple[str, ...] = ()
    lock: str | None = None
    python: str | None = None
    min_driver: int | None = None
    note: str | None = None
    sources: tuple[str, ...] = ()


class Overhead(Value, frozen=True, kw_only=True):
    """The band beside weights and KV cache, on one rank; memory.overhead_gib() says what each term multiplies."""

    fixed_low_gib: float
    fixed_high_gib: float
    tensor_parallel_low_gib: float = 0.0
    tensor_parallel_high_gib: float = 0.0
    fused_all_reduce_high_gib: float = 0.0
    fused_all_reduce_from_capability: float = 0.0
    hidden_rows_low: float
    hidden_rows_high: float
    experts_low: float = 1.0
    experts_high: float = 2.0
    logits_bytes_low: float
    logits_bytes_high: float
    compile_tables_high: float = 0.0
    compile_hidden_rows_high: float = 0.0
    graphs_high_gib: float = 0.0
    graphs_experts_high_gib: float = 0.0
    measured_on: tuple[str, ...] = ()
    because: str


class OverheadFile(Value, frozen=True, kw_only=True):
    """One family in images/<engine>/overhead.yaml."""

    bands: dict[str, Overhead]


class EngineFamily(Value, frozen=True, kw_only=True):
    """An engine on one family of cards.

    `config_files`: name -> template, for an engine that reads a file; `machine_files`: those that several machines
    need, a name with {machine} once for each. `whole_prompts`: a prompt is one batch, so the longest prompt is the
    batch limit. `compiles`: whether its image can compile kernels and capture graphs, which then is the default.
    `fuses_all_reduce_on`: compute capabilities on which it fuses the all-reduce of tensor parallel by itself with what
    follows, which wants multicast between the cards. `replicas`: whether one container can serve several; `stages`:
    whether it cuts a model into pipeline stages, without which tensor parallel reaches from machine to machine.
    """

    version: str
    bases: dict[str, Base]
    dockerfile: str
    context_files: tuple[str, ...] = ()
    command: tuple[str, ...]
    utilization: float
    kv_cache: Literal["remainder", "stated"]
    kv_block_tokens: int
    compiles: bool
    batching: tuple[Batching, ...]
    own_batching: tuple[OwnBatching, ...] = ()
    overheads: dict[str, Overhead]
    environment: dict[str, str]
    tmpfs: tuple[Tmpfs, ...]
    ulimits: tuple[Ulimit, ...]
    shm_one_card_gib: float
    shm_per_card_gib: float
    dtypes: tuple[str, ...]
    checkpoint_quantizations: tuple[str, ...]
    online_quantizations: tuple[str, ...]
    kv_dtypes: dict[str, Literal["none", "weight-only", "native"]]
    config_files: dict[str, str] = msgspec.field(default_factory=dict)
    machine_files: dict[str, str] = msgspec.field(default_factory=dict)
    whole_prompts: bool = False
    replicas: bool = True
    stages: bool = True
    environment_without_peer_to_peer: dict[str, str] = msgspec.field(default_factory=dict)
    fuses_all_reduce_on: tuple[float, ...] = ()
    cache_path: str | None = None
    gateway_base: Base | None = None
    because: str


class Phase(Value, frozen=True, kw_only=True):
    """One phase of an engine's start, which ends with a line of its log that matches `until`."""

    name: str
    until: str


class Warm(Value, frozen=True, kw_only=True):
    """What of an engine's cache may travel in an image: folders of it, less files and folders of these names."""

    keep: tuple[str, ...]
    drop: tuple[str, ...] = ()


class BenchScript(Value, frozen=True, kw_only=True):
    """A script of the engine's folder that drives its own benchmark in the container, given to `command` as a word."""

    command: tuple[str, ...]
    script: str


class LabelProduct(Value, frozen=True, kw_only=True):
    """A figure that a metric carries in its labels: their product."""

    metric: str
    labels: tuple[str, ...]


class ConsoleMetrics(Value, frozen=True, kw_only=True):
    """Names in the engine's Prometheus text of what the console page shows; an engine without one leaves it out."""

    running: str | None = None
    waiting: str | None = None
    kv_usage: str | None = None
    generated: str | None = None
    kv_tokens: LabelProduct | None = None


class GatewayPath(Value, frozen=True, kw_only=True):
    """A path of the engine that clients may ask, and who may: anybody, holders of a key, or of a metrics key."""

    path: str
    methods: tuple[Literal["GET", "HEAD", "POST"], ...]
    who: Literal["open", "key", "metrics"] = "key"


class FirstToken(Value, frozen=True, kw_only=True):
    """The request that proves an engine after its start; the model's name is added to the body."""

    path: str
    body: dict[str, Any]
    seconds: int = 600


class Gateway(Value, frozen=True, kw_only=True):
    """What the gateway in front of an engine lets through. The engine listens on `socket`, or on `port` of loopback."""

    socket: str | None = None
    port: int | None = None
    health_path: str
    metrics_path: str
    first_token: FirstToken
    body_mib: int
    answer_seconds: int
    paths: tuple[GatewayPath, ...]

    @property
    def address(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"127.0.0.1:{self.port}"


class Engine(Value, frozen=True, kw_only=True):
    """A serving engine: images/<id>/engine.yaml. Never means Docker.

    `open`: arguments that may be added to a plan's: none that the plan decides, and none that opens a port, loads code
    or other weights, or writes down what is asked.
    """

    id: str
    title: str
    port: int
    ready_seconds: int
    gateway: Gateway
    families: dict[str, EngineFamily]
    arguments: tuple[Argument, ...]
    open: tuple[str, ...] = ()
    parser_names: dict[str, str] | None = None
    progress: dict[str, str]
    reported: dict[str, str]
    metrics: dict[str, InfoMetric] = msgspec.field(default_factory=dict)
    startup: tuple[Phase, ...] = ()
    warm: Warm | None = None
    bench: BenchScript | None = None
    console: ConsoleMetrics | None = None
    sources: tuple[str, ...] = ()
