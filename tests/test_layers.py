"""The layers: a package imports only from those above it; enforced by reading the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "workloads": {"workloads"},
    "hardware_profiles": {"hardware_profiles"},
    "simulator": {"simulator", "workloads", "hardware_profiles"},
}
OURS = set(MAY_IMPORT)

ENGINE = "simulator.engine"
FACADES = {"simulator.run", "simulator.machine"}
"""Modules that put a program on the engine; every other module reads their results."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, only for type checking) of every import in a file, wherever it stands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            yield base, id(node) in typing_only
            for alias in node.names:
                yield f"{base}.{alias.name}", id(node) in typing_only


SOURCES = sorted(p for name in OURS for p in (ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_packages_import_only_from_the_layers_above(path: Path) -> None:
    package = module_name(path).split(".")[0]
    used = {name.split(".")[0] for name, _ in imports(path)} & OURS
    assert used <= MAY_IMPORT[package]


def test_only_the_engine_imports_simpy() -> None:
    users = {module_name(p) for p in SOURCES if any(n.startswith("simpy") for n, _ in imports(p))}
    assert users == {f"{ENGINE}.{part}" for part in ("dataflow", "places", "stream")}


def test_only_the_facades_touch_the_engine() -> None:
    users = {
        module_name(p)
        for p in SOURCES
        if any(n.startswith(ENGINE) and not typing_only for n, typing_only in imports(p))
    }
    users = {name for name in users if not name.startswith(ENGINE)}
    assert users <= FACADES | {"simulator.cli.errors"}


def test_demand_and_engine_know_no_view() -> None:
    views = {"summary", "gantt", "perfetto", "compare", "predict", "cli", "attribution", "run"}
    inner = [p for p in SOURCES if module_name(p).startswith(("simulator.demand", ENGINE))]
    inner += [ROOT / "simulator" / name for name in ("trace.py", "memory.py", "bounds.py")]
    for path in inner:
        used = {name.split(".")[1] for name, _ in imports(path) if name.startswith("simulator.")}
        assert not used & views, path


def test_only_the_command_line_prints() -> None:
    for path in SOURCES:
        if module_name(path).startswith("simulator.cli") or path.name == "probe.py":
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_a_file_says_what_it_is_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith('"""'), "the first line says what the file is for"
    assert text.count("\n") <= 400, "a long file has a seam somewhere"
