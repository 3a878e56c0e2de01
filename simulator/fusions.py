"""A runtime with other fusions than its own, as a user asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, nearest, shown

if TYPE_CHECKING:
    from simulator.runtime import Runtime

FUSIONS = ("qkv", "gate_up", "attention", "epilogue", "residual_norm", "cache", "copies")
"""What may be fused; see workloads.transforms.Fusion."""


def with_fusions(
    runtime: Runtime, kind: str, fuse: str | None, no_fuse: str | None
) -> tuple[Runtime, list[str]]:
    """The runtime that on this kind of machine fuses `fuse` too, and does not fuse `no_fuse`.

    Both are names of FUSIONS with commas. Second: a note on what is other than the runtime does
    by itself. Fused attention is then taken for any type and length; not fused, it is two batched
    products with a softmax. Kernels keep the efficiencies of the runtime, whether or not it has
    ever had such a kernel. InputError: an unknown name, one in both lists.
    """
    wanted, unwanted = _names("fuse", fuse), _names("no_fuse", no_fuse)
    for name in wanted:
        if name in unwanted:
            raise InputError(f"{name}: both in fuse and in no_fuse; leave it out of one")
    section = runtime.on(kind)
    old = section.fusion.model_dump()
    update: dict[str, Any] = dict.fromkeys(wanted, True) | dict.fromkeys(unwanted, False)
    if "attention" in wanted:
        update |= {"attention": "fused", "fused_dtypes": (), "fused_keys": None}
    if "attention" in unwanted:
        fused = section.fusion.attention == "fused"
        update["attention"] = "batched" if fused else section.fusion.attention
    changed = [name for name in FUSIONS if name in update and update[name] != old[name]]
    if all(update[name] == old[name] for name in update):
        return runtime, []
    new = section.model_copy(update={"fusion": section.fusion.model_copy(update=update)})
    said = ", ".join(f"{'fuses' if n in wanted else 'does not fuse'} {n}" for n in changed)
    note = f"{runtime.name} {said or 'fuses attention of every type and length'} here, as asked"
    return runtime.model_copy(update={kind: new}), [note]


def _names(key: str, text: str | None) -> tuple[str, ...]:
    names = (
        () if text is None else tuple(part.strip().replace("-", "_") for part in text.split(","))
    )
    for name in names:
        if name not in FUSIONS:
            raise InputError(
                f"{key} = {shown(text)}: expected names of {', '.join(FUSIONS)} with commas between"
                f"{nearest(name, FUSIONS)}"
            )
    return names
