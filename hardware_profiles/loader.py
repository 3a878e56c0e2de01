"""Finds, reads, checks and writes hardware profiles."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware_profiles.errors import ProfileError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from hardware_profiles.schema import Profile

HOST = "host"
"""The name of the machine that this runs on; detected, not bundled."""

MAX_BYTES = 2**20
MAX_EXTENDS = 8
_BUNDLED = Path(__file__).parent
_FOLDERS = ("cpu", "gpu", "teaching")
_SHOWN = 12
"""Names that the message about an unknown one gives when none is near."""
_NOT_INHERITED = ("name", "title", "extends", "price")
_BARE_KEY = re.compile(r"^[A-Za-z0-9_-]{1,60}$")

Progress = Callable[[str], None]
"""Called with a line of text as the probe of the host advances."""


@dataclass(frozen=True)
class _Layer:
    """One file of a chain of `extends`: where it is and what it says itself."""

    path: Path
    data: dict[str, Any]


def list_profiles() -> tuple[str, ...]:
    """Names of the bundled profiles, sorted; "host" is not among them."""
    return tuple(sorted(name for name in _bundled_files() if not name.startswith("_")))


def load_profile(
    name_or_path: str | Path, *, probe: bool = True, progress: Progress | None = None
) -> Profile:
    """The machine of that bundled name, of that .toml file, or, for "host", the one this runs on.

    `probe`: measure the host for a few seconds unless its cache has the figures; without it they
    are defaults by SIMD class, and `notes` say so. Raises ProfileError with one line that names
    the file, the key, the value and what was expected.
    """
    name = str(name_or_path)
    if name == HOST:
        from hardware_profiles.host import host_profile

        return host_profile(probe=probe, progress=progress)
    if name.endswith(".toml"):
        return _load(Path(name))
    files = _bundled_files()
    if name.startswith("_") or name not in files:
        raise ProfileError(_unknown(name))
    return _load(files[name])


def read_tables(name_or_path: str | Path) -> tuple[list[str], dict[str, Any]]:
    """The names of a profile's files, itself first, and their tables merged; not validated.

    ProfileError for what `load_profile` cannot read either. Not for "host", which has no file.
    """
    name = str(name_or_path)
    files = _bundled_files()
    if not name.endswith(".toml") and name not in files:
        raise ProfileError(_unknown(name))
    try:
        layers = _read_chain(Path(name) if name.endswith(".toml") else files[name])
        return [_shown(layer.path) for layer in layers], _merged(layers)
    except RecursionError:
        raise ProfileError(f"{_shown(Path(name))}: tables are nested too deeply") from None


def _merged(layers: list[_Layer]) -> dict[str, Any]:
    merged = layers[-1].data
    for layer in reversed(layers[:-1]):
        merged = _merge(merged, layer.data, (), layer.path)
    return {k: v for k, v in merged.items() if k != "extends"}


def _bundled_files() -> dict[str, Path]:
    """Bundled files by stem; those starting with `_` exist only to be extended."""
    return {path.stem: path for folder in _FOLDERS for path in (_BUNDLED / folder).glob("*.toml")}


def _unknown(name: str) -> str:
    known = [HOST, *list_profiles()]
    shown, wanted = repr(name[:80]), name[:80].lower()
    near = [other for other in known if len(wanted) > 1 and wanted in other][:3]
    near += [x for x in difflib.get_close_matches(wanted, known, n=3, cutoff=0.5) if x not in near]
    some = f"known: {', '.join(known[:_SHOWN])} and {len(known) - _SHOWN} more"
    guess = f"nearest: {', '.join(near[:3])}" if near else some
    return f"hardware {shown} is not known; {guess} (a file of your own must end in .toml)"


def _load(path: Path) -> Profile:
    try:
        layers = _read_chain(path)
        return _validate(layers, _merged(layers))
    except RecursionError:
        raise ProfileError(f"{_shown(path)}: tables are nested too deeply") from None


def _validate(layers: list[_Layer], data: dict[str, Any]) -> Profile:
    from pydantic import ValidationError

    from hardware_profiles.schema import Profile

    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        raise ProfileError(_explain(layers, error)) from None


def _read_chain(path: Path) -> list[_Layer]:
    """The file and those it extends, the file itself first."""
    layers: list[_Layer] = []
    seen: list[Path] = []
    while True:
        try:
            resolved = path.resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a null character
            raise ProfileError(f"{_shown(path)}: cannot be read: {error}") from None
        if resolved in seen:
            raise ProfileError(f"{_shown(layers[-1].path)}: extends: {_shown(path)} is a cycle")
        if len(layers) >= MAX_EXTENDS:
            raise ProfileError(
                f"{_shown(layers[0].path)}: extends: a chain of more than {MAX_EXTENDS} files"
            )
        seen.append(resolved)
        layers.append(_Layer(path, _read(path)))
        base = layers[-1].data.get("extends")
        if base is None:
            return layers
        path = _base_path(layers[-1].path, base)


def _base_path(path: Path, base: object) -> Path:
    if not isinstance(base, str):
        raise ProfileError(f"{_shown(path)}: extends: a profile's name or a .toml file is expected")
    if base.endswith(".toml"):
        return path.parent / base
    files = _bundled_files()
    if base not in files:
        raise ProfileError(f"{_shown(path)}: extends: {_unknown(base)}")
    return files[base]


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ProfileError(f"{_shown(path)}: larger than 1 MiB; not a hardware profile")
        return tomllib.loads(raw.decode("utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"{_shown(path)}: no such file") from None
    except OSError as error:
        raise ProfileError(f"{_shown(path)}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ProfileError(f"{_shown(path)}: not UTF-8 text, at byte {error.start}") from None
    except ProfileError:
        raise
    except ValueError as error:  # TOMLDecodeError, and numbers of too many digits
        message = str(error).replace("\n", " ")
        raise ProfileError(f"{_shown(path)}: not valid TOML: {message[:200]}") from None


def _merge(
    base: Mapping[str, Any], child: Mapping[str, Any], at: tuple[str, ...], path: Path
) -> dict[str, Any]:
    """`base` with what `child` says instead. A table that changes must say its own source."""
    if "source" in base and "source" not in child:
        raise ProfileError(
            f"{_shown(path)}: {dotted(at)}: overrides numbers without a source of its own"
        )
    merged = {key: value for key, value in base.items() if at or key not in _NOT_INHERITED}
    for key, value in child.items():
        inherited = merged.get(key)
        if isinstance(inherited, dict) and isinstance(value, dict):
            merged[key] = _merge(inherited, value, (*at, key), path)
        else:
            merged[key] = value
    if at == ("memory",) and "dram" in merged:
        merged["dram"] = merged.pop("dram")  # stays last when the child adds a level
    return merged


def _explain(layers: list[_Layer], error: ValidationError) -> str:
    """The first of pydantic's errors as our line, with the count of the others."""
    details = error.errors(include_url=False)
    first = details[0]
    location = tuple(str(part) for part in first["loc"] if part != "[key]")
    message = reason(first["type"], first["msg"], first["input"], location)
    where = f"{dotted(location)}: " if location else ""
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{_shown(_origin(layers, location))}: {where}{message}{more}"


def reason(kind: str, message: str, value: object, location: tuple[str, ...]) -> str:
    """One of pydantic's errors in our words: its type, message, input and place."""
    from hardware_profiles.units import shorten

    if kind == "missing":
        last = location[-1]
        why = "; every table with numbers says where they come from" if last == "source" else ""
        return f"missing{why}"
    if kind == "extra_forbidden":
        return f"not a key of this table{_nearest_key(location)}"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    return f"{shorten(value)}: {message[:1].lower()}{message[1:]}"


def _nearest_key(location: tuple[str, ...]) -> str:
    """The key that was probably meant by the unknown one at `location`."""
    from hardware_profiles.links import Link
    from hardware_profiles.schema import Calibration, KernelClass, MemoryLevel, Profile
    from hardware_profiles.tables import Table

    table: type[Table] = Profile
    options: dict[str, type[Table]] = {
        "memory": MemoryLevel, "efficiency": KernelClass, "links": Link,
        "calibration": Calibration,
    }  # fmt: skip
    for part in location[:-1]:
        field = Profile.model_fields.get(part)
        if part in options:
            table = options[part]
        elif field is not None:
            inner = [x for x in _classes(field.annotation) if issubclass(x, Table)]
            table = inner[0] if inner else table
    keys = [field.alias or name for name, field in table.model_fields.items()]
    near = difflib.get_close_matches(location[-1][:60], keys, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; its keys are {', '.join(keys)}"


def _classes(annotation: Any) -> Iterable[type]:
    """The classes in an annotation such as `Clock | None`."""
    arguments = getattr(annotation, "__args__", (annotation,))
    return [x for x in arguments if isinstance(x, type)]


def _origin(layers: list[_Layer], location: tuple[str, ...]) -> Path:
    """The file of the chain that says the value at `location`; the first where none does."""
    inherited = location and location[0] not in _NOT_INHERITED
    for layer in layers if inherited else ():
        found: Any = layer.data
        for part in location:
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            return layer.path
    return layers[0].path


def dotted(location: Iterable[str]) -> str:
    """A key as TOML writes it: `memory.l2.capacity`."""
    return ".".join(x if _BARE_KEY.match(x) else json.dumps(x[:60]) for x in location)


def _shown(path: Path) -> str:
    """The path on one line; the name alone of a bundled file."""
    text = path.name if path.parent.parent == _BUNDLED else str(path)
    return text if text.isprintable() else repr(text)


def dump_profile(profile: Profile) -> str:
    """`profile` as TOML that loads back equal to it; quantities as text with their units."""
    data = profile.model_dump(by_alias=True, exclude_defaults=True, exclude_none=True)
    return dump_tables(data)


def dump_tables(data: Mapping[str, Any]) -> str:
    """Tables of text, numbers and lists of these as TOML."""
    lines: list[str] = []
    _dump_table(data, (), lines)
    return "\n".join(lines).strip() + "\n"


def _dump_table(table: Mapping[str, Any], at: tuple[str, ...], lines: list[str]) -> None:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if at and plain:
        lines += ["", f"[{dotted(at)}]"]
    lines += [f"{dotted((key,))} = {_dump_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            _dump_table(value, (*at, key), lines)


def _dump_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_dump_value(item) for item in value)}]"
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL, which TOML escapes too
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
