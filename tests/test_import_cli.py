"""moments import, and moments run on what it wrote: what is shown, written and refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simulator import Scenario
from simulator.cli import app
from tests.onnx_graphs import Graph, encoder
from workloads import InputError, load_program

DIMS = ("--dim", "batch=2", "--dim", "sequence=8")
ON = ("--on", "amd-epyc-7763-1s")


def moments(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    g, rows = encoder(3)
    return str(g.save(tmp_path_factory.mktemp("cli") / "encoder.onnx", rows))


@pytest.fixture
def program(model: str, tmp_path: Path) -> str:
    file = tmp_path / "out" / "encoder.json"
    assert moments("import", model, *DIMS, "--out", str(file)).exit_code == 0
    return str(file)


def test_the_summary_says_what_is_in_it(model: str) -> None:
    result = moments("import", model, *DIMS)
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    assert "segment layer: 3 x 14 moments" in words
    assert "without formula none" in words
    assert "encoder, fp32, batch 2" in words


def test_what_it_writes_runs_as_the_file_itself_does(model: str, program: str) -> None:
    assert load_program(program).moment_count == 2 + 3 * 14
    written = moments("run", program, *ON, "--json", "-")
    direct = moments("run", model, *ON, *DIMS, "--json", "-")
    assert written.exit_code == direct.exit_code == 0
    assert json.loads(written.stdout)["latency_s"] == json.loads(direct.stdout)["latency_s"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--prompt", "4"), "--prompt"),
        (("--batch", "2", "--dtype", "fp16"), "--batch, --dtype"),
        (("--generate", "3"), "--generate"),
        (("--context", "3", "--weight-dtype", "int8"), "--context, --weight-dtype"),
    ],
)
def test_its_shapes_are_fixed(program: str, options: tuple[str, ...], named: str) -> None:
    result = moments("run", program, *ON, *options)
    assert result.exit_code == 2
    assert f"{named}: the shapes and types of 'encoder' are fixed" in result.stderr
    assert "import it again with other sizes" in result.stderr


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((), "give --dim batch=... --dim sequence=..."),
        (("--dim", "batch"), "--dim 'batch': expected NAME=SIZE, such as --dim batch=1"),
        (("--dim", "batch=x"), "--dim 'batch=x': expected NAME=SIZE"),
        (("--dim", "batch=1", "--dim", "batch=2"), "--dim 'batch': given twice"),
    ],
)
def test_sizes_that_are_missing_or_none(model: str, dims: tuple[str, ...], message: str) -> None:
    for result in (moments("import", model, *dims), moments("run", model, *ON, *dims)):
        assert result.exit_code == 2
        assert message in result.stderr
        assert "Traceback" not in result.stderr


def test_unknown_operators_stop_it_or_are_copies(tmp_path: Path) -> None:
    g = Graph()
    file = g.save(tmp_path / "m.onnx", g.add("Foo", g.input("x", (4, 4)), domain="acme"))
    out = tmp_path / "m.json"
    refused = moments("import", str(file), "--out", str(out))
    assert refused.exit_code == 2
    assert "acme.Foo (1 x, such as 'Foo_1')" in refused.stderr
    assert not out.exists()
    taken = moments("import", str(file), "--unknown", "as-copy", "--out", str(out))
    assert taken.exit_code == 0
    assert "note: counted as copies of their bytes" in taken.stderr
    assert "acme.Foo" in moments("run", str(out), *ON).stderr


@pytest.mark.parametrize(
    ("name", "out", "message"),
    [
        ("model.txt", "p.json", "expected an .onnx file"),
        ("model.onnx", "p.txt", "expected a name that ends in .json"),
        ("model.onnx", "p.json", "there is no such file"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, name: str, out: str, message: str) -> None:
    result = moments("import", str(tmp_path / name), "--out", str(tmp_path / out))
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_study_of_lengths_needs_a_model(program: str) -> None:
    with pytest.raises(InputError, match="is an imported graph, whose shapes are fixed"):
        Scenario(program, "amd-epyc-7763-1s").model()


def test_without_the_package_it_says_how_to_get_it(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workloads import from_onnx

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'transformer-moments\[import\]'"):
        from_onnx(model)
