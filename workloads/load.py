"""Finding a model: among those bundled, or in a file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workloads.errors import InputError, nearest, shown
from workloads.files import read_table
from workloads.model import Model, build_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workloads.moment import Program

_BUNDLED = Path(__file__).parent / "models"


def list_models() -> tuple[str, ...]:
    """The names of the bundled models, sorted."""
    return tuple(sorted(path.stem for path in _BUNDLED.glob("*.toml")))


def load_model(name_or_path: str | Path) -> Model:
    """A bundled model by name, or one from a file.

    A path is that of a Hugging Face config.json, of a folder that holds one, or of a .toml with
    the keys of `Model`. A bundled name wins over a file of the same name: write "./name" for
    the file. InputError: unknown name (with the nearest ones), or whatever is wrong in the file.
    """
    text = str(name_or_path)
    if text in list_models():
        return _from_toml(_BUNDLED / f"{text}.toml")
    path = Path(text)
    if not text or not _looks_like_path(name_or_path, path):
        known = ", ".join(list_models())
        hint = nearest(text, list_models())
        raise InputError(
            f"no workload named {shown(text)}{hint}; bundled are {known}; or give the path of a "
            "config.json"
        )
    if path.suffix == ".toml":
        return _from_toml(path)
    from workloads.importers.huggingface import model_from_config

    if path.is_dir():
        path = path / "config.json"
    table = read_table(path)
    name = path.resolve().parent.name if path.name == "config.json" else path.stem
    return model_from_config(table, name=name or "model", where=str(path))


def load_workload(
    name_or_path: str | Path, *, dims: Mapping[str, int] | None = None
) -> Model | Program:
    """A model as `load_model` finds it, or a program: in a file of `moments import`, or an .onnx.

    `dims` are the sizes of an .onnx file's open axes (see workloads.from_onnx); given for anything
    else they are an InputError.
    """
    path = Path(name_or_path)
    if path.suffix == ".onnx":
        from workloads.importers.onnx_graph import from_onnx

        return from_onnx(path, dims=dims).program
    if dims:
        raise InputError(
            f"--dim is for .onnx files; the shapes of {shown(str(name_or_path))} are not open"
        )
    if path.suffix == ".json":
        from workloads.program_file import is_program, program_from_table
        from workloads.program_schema import MAX_BYTES

        table = read_table(path, MAX_BYTES)
        if is_program(table):
            return program_from_table(table, str(path))
    return load_model(name_or_path)


def _looks_like_path(given: str | Path, path: Path) -> bool:
    if isinstance(given, Path) or "/" in given or "\\" in given:
        return True
    if path.suffix in (".json", ".toml"):
        return True
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a NUL: surely no file
        return False


def _from_toml(path: Path) -> Model:
    table = read_table(path)
    table.setdefault("name", path.stem)
    return build_model(table, str(path))
