"""How much memory a program needs, and over how many devices it is spread."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Footprint:
    """Bytes that must be resident at once: weights, the largest KV cache, live activations."""

    weight_bytes: int
    kv_cache_bytes: int
    activation_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.kv_cache_bytes + self.activation_bytes


@dataclass(frozen=True)
class Parallel:
    """Over how many devices a program is spread, in each way; their product is all of them.

    `tensor`: ranks that share each product. `pipeline`: stages that have the layers one after
    another, with the batch in `micro_batches`. `data`: replicas that share the batch. Experts are
    spread over the `expert` ranks of these. Ranks that do the same at the same time are simulated
    once: a program holds one rank of each stage.
    """

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert: int = 1
    micro_batches: int = 1

    @property
    def devices(self) -> int:
        return self.tensor * self.pipeline * self.data


ONE_DEVICE = Parallel()
