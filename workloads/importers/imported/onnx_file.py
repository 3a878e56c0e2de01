"""Opening an ONNX file: bounded, without its weights, and nothing outside its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from workloads.errors import InputError, shown

if TYPE_CHECKING:
    import onnx
    from onnx import ModelProto

MAX_FILE_BYTES = (1 << 31) - 1
"""Protocol buffers are not larger; bigger models keep their weights in a file of their own."""

MAX_NODES = 200_000

SMALL = 4096
"""Elements of the largest tensor whose values are looked at: shapes, axes, scales."""


def open_model(path: Path) -> onnx.ModelProto:
    """The model in a file, local functions written out, without the values of its weights.

    External data is never read. InputError: no file, too large, not an ONNX model, no operators or
    too many, external data outside of the folder or shorter than it should be.
    """
    onnx = import_onnx()
    data = _bytes(path)
    try:
        model: ModelProto = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises its own kind, which moves between versions
        raise InputError(
            f"{path}: not an ONNX model ({type(error).__name__}); is the file whole?"
        ) from error
    if not model.graph.node or not model.opset_import:
        raise InputError(f"{path}: not an ONNX model: it has no operators")
    if not all(isinstance(name, str) for name in _names(model)):  # protobuf hands out bytes
        raise InputError(f"{path}: not an ONNX model: a name in it is not UTF-8 text")
    if model.functions:
        model = _inlined(path, model)
    if len(model.graph.node) > MAX_NODES:
        raise InputError(f"{path}: {len(model.graph.node)} operators; at most {MAX_NODES} are read")
    for tensor in model.graph.initializer:
        _drop_values(path, tensor)
    return model


def import_onnx() -> Any:
    """The package onnx, or an InputError that says how to get it."""
    try:
        import onnx
        import onnx.inliner
        import onnx.shape_inference
    except ImportError:
        raise InputError(
            "importing .onnx files needs the package onnx: "
            "pip install 'transformer-moments[import]'"
        ) from None
    return onnx


def _bytes(path: Path) -> bytes:
    name = shown(str(path), limit=200)[1:-1]
    try:
        if not path.is_file():
            problem = "is not a file" if path.exists() else "there is no such file"
            raise InputError(f"{name}: {problem}")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(
                f"{name}: {size} bytes; an ONNX file has at most {MAX_FILE_BYTES}, with the "
                "weights of larger models in a file beside it"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: cannot be read ({error})") from None


def _inlined(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx.inliner

    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:
        raise InputError(f"{path}: its functions cannot be written out: {error}") from error


def _names(model: onnx.ModelProto) -> Iterator[object]:
    graph = model.graph
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
    for node in (*graph.node, *(n for f in model.functions for n in f.node)):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        yield from (text for entry in node.metadata_props for text in (entry.key, entry.value))
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (extent.dim_param for extent in value.type.tensor_type.shape.dim)
    yield from (opset.domain for opset in model.opset_import)


def _drop_values(path: Path, tensor: onnx.TensorProto) -> None:
    """Keep sizes only: what is larger than a shape or an axis, and all external data."""
    from onnx import TensorProto

    if tensor.data_location == TensorProto.EXTERNAL:
        _check_external(path, tensor)
        del tensor.external_data[:]
    else:
        elements = 1
        for extent in tensor.dims:
            elements *= max(0, extent)
        if elements <= SMALL:
            return
        for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data",
                      "uint64_data", "string_data"):  # fmt: skip
            tensor.ClearField(field)
    # a tensor without values that is not said to be elsewhere would be malformed
    tensor.data_location = TensorProto.EXTERNAL


def _check_external(path: Path, tensor: onnx.TensorProto) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    where = f"{path}: weight {shown(tensor.name)}"
    parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
    absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
    if not location or absolute or ".." in parts or "\0" in location:
        raise InputError(
            f"{where}: external data at {shown(location)} is not in the folder of the model"
        )
    file = path.parent / location
    try:
        inside = file.resolve().is_relative_to(path.parent.resolve())
        size = file.stat().st_size if inside and file.is_file() else None
    except OSError as error:
        raise InputError(f"{where}: external data cannot be looked at: {error}") from None
    if not inside:
        raise InputError(f"{where}: external data at {shown(location)} leads out of the folder")
    if size is None:
        return  # sizes stand in the model itself: the values are not needed
    try:
        end = int(entries.get("offset", "0")) + int(entries.get("length", "0"))
    except ValueError:
        raise InputError(f"{where}: offset or length of its external data is no number") from None
    if not 0 <= end <= size:
        raise InputError(
            f"{where}: external data up to byte {end}, but {location} has {size} bytes; was the "
            "file copied whole?"
        )
