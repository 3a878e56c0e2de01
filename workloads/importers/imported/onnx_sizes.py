"""What an ONNX file leaves to its reader: sizes of open axes, an order of operators, names."""

from __future__ import annotations

import heapq
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.errors import InputError, nearest, shown

if TYPE_CHECKING:
    import onnx

_MAX_EXTENT = 1 << 31


def close_axes(
    path: Path, model: onnx.ModelProto, dims: Mapping[str, int], weights: Container[str]
) -> list[onnx.ValueInfoProto]:
    """The inputs of a model (what is in `weights` is none) with every open axis set in place.

    An axis is open when it has a name instead of a size; one without a name is called by its input
    and number ("input_ids.0"). InputError: sizes that are missing, all of them with the options
    that give them; sizes for axes that there are not.
    """
    missing: dict[str, str] = {}
    used: set[str] = set()
    given = [i for i in model.graph.input if i.name not in weights]
    for value in given:
        if not value.type.HasField("tensor_type"):
            raise InputError(f"{path}: input {shown(value.name)} is not a tensor")
        for axis, extent in enumerate(value.type.tensor_type.shape.dim):
            name = extent.dim_param or f"{value.name}.{axis}"
            if extent.HasField("dim_value") and extent.dim_value >= 0:
                continue
            if name in dims:
                used.add(name)
                extent.dim_value = _size(name, dims[name])
            elif isinstance(size := _computed(name, dims), int):
                used |= set(re.findall(r"[A-Za-z_]\w*", name))
                extent.dim_value = size
            else:
                missing.setdefault(name, value.name)
    if missing:
        flags = " ".join(f"--dim {name}=..." for name in missing)
        raise InputError(f"{path}: sizes of open axes are missing; give {flags}")
    unused = sorted(set(dims) - used)
    if unused:
        raise InputError(
            f"{path}: no open axis is called {shown(unused[0])}{nearest(unused[0], used)}; there "
            f"are {', '.join(sorted(used)) or 'none'}"
        )
    return given


def _computed(name: str, dims: Mapping[str, int]) -> int | None:
    """The size of an axis called "past_sequence + 1" or "a*b" when all the names are given."""
    parts = re.split(r"\s*([+*-])\s*", name.strip())
    if len(parts) < 3 or len(parts) > 9:
        return None
    sizes: list[int] = []
    for part in parts[::2]:
        if part.isdecimal() and len(part) < 10:
            sizes.append(int(part))
        elif part in dims:
            sizes.append(_size(part, dims[part]))
        else:
            return None
    total = sizes[0]
    for sign, size in zip(parts[1::2], sizes[1:], strict=True):
        total = total + size if sign == "+" else total - size if sign == "-" else total * size
    return _size(name, total)


def _size(name: str, size: object) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < _MAX_EXTENT:
        raise InputError(f"size of {shown(name)} = {shown(size)}: expected 0 to {_MAX_EXTENT - 1}")
    return size


def ordered(path: Path, model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes so that each follows what it reads; InputError for a cycle or a missing tensor."""
    nodes = list(model.graph.node)
    made = {t.name for t in model.graph.initializer} | {i.name for i in model.graph.input} | {""}
    writer = {name: i for i, node in enumerate(nodes) for name in node.output if name not in made}
    readers: dict[int, list[int]] = {}
    waits = [0] * len(nodes)
    for i, node in enumerate(nodes):
        label = shown(node.name or node.op_type)
        for name in set(node.input) - made:
            if name not in writer:
                raise InputError(f"{path}: node {label} reads {shown(name)}, which nothing writes")
            readers.setdefault(writer[name], []).append(i)
            waits[i] += 1
    ready = [i for i, count in enumerate(waits) if not count]
    found: list[onnx.NodeProto] = []
    while ready:
        i = heapq.heappop(ready)  # ties go by the order in the file
        found.append(nodes[i])
        for reader in readers.get(i, ()):
            waits[reader] -= 1
            if not waits[reader]:
                heapq.heappush(ready, reader)
    if len(found) < len(nodes):
        i = next(i for i, count in enumerate(waits) if count)
        label = shown(nodes[i].name or nodes[i].op_type)
        raise InputError(f"{path}: the graph has a cycle: node {label} waits for itself")
    return found


def names(node: onnx.NodeProto, number: int) -> tuple[str, str]:
    """A name for the moment, and the module that the operator is in, as far as exporters say."""
    properties = {p.key: p.value for p in node.metadata_props}
    scopes = re.findall(r"'([^']*)'", properties.get("pkg.torch.onnx.name_scopes", ""))
    if len(scopes) > 1:
        scope = scopes[-2]
        return f"{scope}.{node.op_type.lower()}".strip("."), scope
    if node.name:
        return node.name.strip("/").replace("/", "."), node.name
    return f"{node.op_type.lower()}_{number}", ""
