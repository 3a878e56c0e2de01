"""What every formula shares: the check of its sizes and the making of its tensors."""

from __future__ import annotations

from workloads.moment import Role, Tensor, storage_bytes


def check_positive(**sizes: int) -> None:
    """Raise ValueError for the first size below 1: no formula counts 0 work for a bad shape."""
    for name, size in sizes.items():
        if size <= 0:
            raise ValueError(f"{name} = {size}: every size of an operation is at least 1")


def tensor(name: str, elements: int, dtype: str, role: Role = "activation") -> Tensor:
    """`elements` values of a dtype or weight format as a tensor."""
    return Tensor(name, storage_bytes(elements, dtype), role, elements)
