"""What profiles/ and models/ say: cards and models. Frozen; units are in the names."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen value; made from YAML it accepts no unknown key."""


# --- profiles/ -----------------------------------------------------------------------------------------


class Interconnect(Value, frozen=True, kw_only=True):
    """How the cards of one machine reach one another. `multicast`: a switch copies one write to all of them."""

    kind: Literal["nvlink", "pcie", "hccs", "xgmi", "icn", "none"]
    bandwidth_gbs: float | None = None
    peer_to_peer: bool
    multicast: bool = False
    tensor_parallel_cards: int


Level = Literal["rendered", "simulated", "ran"]


class Evidence(Value, frozen=True, kw_only=True):
    """How far a machine with an engine was taken: rendered, simulated, or ran on the hardware."""

    level: Level
    note: str | None = None
    command: str | None = None
    date: str | None = None


class Claim(Evidence, frozen=True, kw_only=True):
    """Evidence of a card: for one machine with `counts` cards, and `others` for other counts; empty: for each."""

    counts: tuple[int, ...] = ()
    others: Level = "rendered"

    def of(self, count: int, nodes: int) -> Evidence:
        """What is proven of machines with `count` cards; nothing was ever taken further over several."""
        if nodes > 1:
            return Evidence(level="rendered")
        if self.counts and count not in self.counts:
            return Evidence(level=self.others)
        return Evidence(level=self.level, note=self.note)

    @property
    def words(self) -> str:
        """The level, and for which counts when not for all."""
        if not self.counts:
            return self.level
        return f"{self.level} x{'/'.join(map(str, self.counts))}, else {self.others}"


class Card(Value, frozen=True, kw_only=True):
    """One kind of accelerator: a file in profiles/. `visible_gib` is what the driver reports; None: not public."""

    title: str
    family: str
    marketed_gb: float | None = None
    visible_gib: float | None
    visible_basis: str
    free_at_start_gib: float | None = None
    memory_bandwidth_gbs: float | None = None
    dense_tflops: dict[str, float] = {}
    compute_capability: float | None = None
    counts: tuple[int, ...]
    interconnect: Interconnect
    precisions: dict[str, Literal["native", "weight-only", "none"]]
    min_driver: dict[str, int] = {}
    probe_match: str | None = None
    aliases: tuple[str, ...] = ()
    evidence: dict[str, Claim] = {}
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...]

    @property
    def memory_gib(self) -> float:
        """What plans are made with; 0 where nothing is known."""
        return self.visible_gib or 0.0


class Mount(Value, frozen=True, kw_only=True):
    """A host path that a container sees."""

    source: str
    target: str
    read_only: bool = True
    because: str


class ContainerAccess(Value, frozen=True, kw_only=True):
    """How a container gets the cards of a family. `{index}` in a device path: one for each card.

    `{indexes}` in a variable: the numbers of the cards, with commas.
    """

    device_request: str | None = None
    cdi: str | None = None
    devices: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    groups: tuple[str, ...] = ()
    environment: dict[str, str] = {}


class Probe(Value, frozen=True, kw_only=True):
    """A command that prints one line for each card it sees; it checks a plan and never makes one.

    `card_line` finds the lines that are cards, for a command that prints others too.
    """

    command: tuple[str, ...]
    hint: str
    card_line: str = "."


class CardNetwork(Value, frozen=True, kw_only=True):
    """Network ports of the cards' own. `read_with`: a line that prints their addresses, up to card `{last}`."""

    read_with: str


class Family(Value, frozen=True, kw_only=True):
    """What the cards of one family share: profiles/_<family>.yaml."""

    title: str
    default_engine: str
    container: ContainerAccess
    probe: Probe | None = None
    card_network: CardNetwork | None = None
    sources: tuple[str, ...] = ()


class Profile(Value, frozen=True, kw_only=True):
    """A kind of machine: `count` cards a node, `nodes` machines."""

    id: str
    card_id: str
    card: Card
    family: Family
    count: int
    nodes: int

    @property
    def cards(self) -> int:
        return self.count * self.nodes


# --- models/ -------------------------------------------------------------------------------------------


class Mla(Value, frozen=True, kw_only=True):
    """Multi-head latent attention: ranks and head sizes, as config.json has them."""

    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int


class Experts(Value, frozen=True, kw_only=True):
    """Mixture of experts: counts and sizes, as config.json has them."""

    count: int
    per_token: int
    intermediate_size: int
    shared_intermediate_size: int = 0
    first_dense_layers: int = 0
    every: int = 1


class Quantization(Value, frozen=True, kw_only=True):
    """How the checkpoint's matrices are stored: `bits` a weight; `block` for block-scaled formats.

    `group_bits`: what each group carries beside its weights; None for a 16-bit scale and a zero point.
    """

    method: str
    bits: float
    floating: bool = False
    block: tuple[int, int] | None = None
    group_size: int | None = None
    group_bits: float | None = None


class Shape(Value, frozen=True, kw_only=True):
    """What config.json says that bears on memory and parallelism."""

    architecture: str
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tied_embeddings: bool
    attention_bias: bool
    attention_norms: bool
    max_context_tokens: int
    dtype: str
    mla: Mla | None = None
    experts: Experts | None = None
    quantization: Quantization | None = None
    no_kv_rate_because: str | None = None


class Parsers(Value, frozen=True, kw_only=True):
    """Names of the engine's parsers, as the engine registers them."""

    reasoning: str | None = None
    tool_call: str | None = None
    chat_template: str | None = None


class Expectation(Value, frozen=True, kw_only=True):
    """One question of the smoke test and what the answer must hold."""

    ask: str
    answer: str
    reasoning: str | None = None
    tool: str | None = None
    arguments: dict[str, Any] = {}


class SmokeFacts(Value, frozen=True, kw_only=True):
    """What this model must answer. Without it the smoke test checks the form of answers only."""

    chat: Expectation | None = None
    reasoning: Expectation | None = None
    tool_call: Expectation | None = None
    completion: Expectation | None = None
    unicode: Expectation | None = None


class Model(Value, frozen=True, kw_only=True):
    """A model that is known by name (models/<id>.yaml) or by its config.json.

    `stored_bytes`: the tensors that an engine loads, by the headers of the files at hand; None without files.
    """

    id: str
    title: str
    shape: Shape
    repositories: dict[str, str] = {}
    licence: str | None = None
    parsers: Parsers = Parsers()
    sampling: dict[str, float] = {}
    bundled: str | None = None
    smoke: SmokeFacts = SmokeFacts()
    stored_bytes: int | None = None
    notes: tuple[str, ...] = ()


class Variant(Value, frozen=True, kw_only=True):
    """The same model in another repository with other keys in its config.json, for example quantized."""

    title: str
    repositories: dict[str, str]
    config: dict[str, Any]
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...]


class ModelFile(Value, frozen=True, kw_only=True):
    """What a file in models/ says; `config` is config.json's own keys, verbatim."""

    title: str
    repositories: dict[str, str] = {}
    aliases: tuple[str, ...] = ()
    licence: str | None = None
    config: dict[str, Any]
    parsers: Parsers = Parsers()
    sampling: dict[str, float] = {}
    bundled: str | None = None
    smoke: SmokeFacts = SmokeFacts()
    checked: dict[str, float] = {}
    variants: dict[str, Variant] = {}
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...]

    def varied(self, variant: Variant) -> ModelFile:
        """The file that a variant stands for: this one, with the variant's own words in place."""
        return msgspec.structs.replace(
            self, title=variant.title, repositories=variant.repositories, config={**self.config, **variant.config},
            notes=(*self.notes, *variant.notes), sources=variant.sources, checked={}, aliases=(), variants={},
            bundled=None,
        )  # fmt: skip

    def to_model(self, model_id: str, shape: Shape) -> Model:
        return Model(
            id=model_id, title=self.title, shape=shape, repositories=self.repositories, licence=self.licence,
            parsers=self.parsers, sampling=self.sampling, bundled=self.bundled, smoke=self.smoke, notes=self.notes,
        )  # fmt: skip
