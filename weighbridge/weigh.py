"""A model on a machine: what each rank holds, and how many tokens of KV cache a replica has."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from weighbridge import memory
from weighbridge.engines import EngineFamily, Overhead
from weighbridge.facts import Model, Profile
from weighbridge.memory import GIB, Load, Split
from weighbridge.precision import Precision
from weighbridge.types import Memory, RankMemory, Span


class Weighing(NamedTuple):
    """What the memory sums need to know, gathered once."""

    profile: Profile
    family: EngineFamily
    model: Model
    precision: Precision
    load: Load
    utilization: float
    overhead: Overhead

    def rank(self, split: Split, rank: int) -> RankMemory:
        """One rank's memory, GiB: budget = utilization x visible; KV cache = budget - weights - overhead."""
        stage = rank // split.tensor_parallel
        shape, precision = self.model.shape, self.precision
        weights = memory.weights_bytes(shape, split, stage, precision.dtype, precision.online) / GIB
        weights *= self.files_share
        low, high = memory.overhead_gib(shape, split, stage, self.load, self.overhead)
        visible = self.profile.card.memory_gib
        budget = self.utilization * visible
        return RankMemory(
            rank=rank,
            stage=stage,
            weights_gib=round(weights, 3),
            kv_gib_low=round(max(0.0, budget - weights - high), 3),
            kv_gib_high=round(max(0.0, budget - weights - low), 3),
            overhead_gib_low=round(low, 3),
            overhead_gib_high=round(high, 3),
            budget_gib=round(budget, 3),
            visible_gib=visible,
        )

    @property
    def files_share(self) -> float:
        """The weights by the files' own headers over those by the shape; 1 without files, or in another type."""
        shape, dtype = self.model.shape, self.precision.dtype
        if self.model.stored_bytes is None or self.precision.online or dtype != shape.dtype:
            return 1.0
        return self.model.stored_bytes / memory.weights_bytes(shape, Split(1, 1), 0, dtype, None)

    def memory(self, split: Split) -> Memory:
        ranks = tuple(self.rank(split, r) for r in range(split.ranks))
        if self.family.kv_cache == "stated":
            space = float(self.kv_space_gib(split))
            ranks = tuple(msgspec.structs.replace(r, kv_gib_low=space, kv_gib_high=space) for r in ranks)
        promised = self.model.shape.no_kv_rate_because is None
        return Memory(
            per_rank=ranks,
            kv_bytes_per_token=math.ceil(max(self.rates(split))) if promised else None,
            weights_total_gib=round(sum(r.weights_gib for r in ranks), 3),
        )

    def stages(self, split: Split) -> list[RankMemory]:
        """The first rank of each pipeline stage; its tensor parallel peers hold the same."""
        return [self.rank(split, s * split.tensor_parallel) for s in range(split.pipeline_parallel)]

    def tightest(self, split: Split) -> RankMemory:
        """The stage with the least left for KV cache."""
        return min(self.stages(split), key=lambda s: s.budget_gib - s.weights_gib - s.overhead_gib_high)

    def rates(self, split: Split) -> list[float]:
        """Bytes of KV cache a token, on a rank of each stage."""
        kv_bytes, stages = self.precision.kv_bytes, range(split.pipeline_parallel)
        return [memory.kv_bytes_per_token(self.model.shape, split, s, kv_bytes) for s in stages]

    def tokens(self, split: Split) -> Span:
        """Tokens of KV cache of one replica; the stage that holds least decides."""
        rates = self.rates(split)
        if self.family.kv_cache == "stated":
            exact = self._whole_blocks(self.kv_space_gib(split) * GIB / max(rates))
            return Span(low=exact, high=exact)
        stages = self.stages(split)
        low = min(s.kv_gib_low * GIB / r for s, r in zip(stages, rates, strict=True))
        high = min(s.kv_gib_high * GIB / r for s, r in zip(stages, rates, strict=True))
        return Span(low=self._whole_blocks(low), high=self._whole_blocks(high))

    def _whole_blocks(self, tokens: float) -> int:
        """The engine allots whole blocks and keeps one for itself."""
        block = self.family.kv_block_tokens
        return max(0, int(tokens // block) - 1) * block

    def kv_space_gib(self, split: Split) -> int:
        """Whole GiB of KV cache to state: enough for every sequence at full context, no more than is left."""
        left = int(min(s.kv_gib_low for s in self.stages(split)))
        need = math.ceil(self.load.sequences * self.model.shape.max_context_tokens * max(self.rates(split)) / GIB)
        return max(0, min(left, max(1, need)))
