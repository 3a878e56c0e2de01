"""Views of a comparison: worst cases explained, another tool beside, the picture, the command."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.compare import Comparison, Predicted, compare_file
from simulator.compare_against import against, against_table, read_predictions
from simulator.compare_views import comparison_figure, draw_comparison
from simulator.compare_worst import Explanation, worst_cases, worst_table
from tests.test_cases import FORWARD_HEADER, MATMUL, OPERATOR_HEADER, PREFILL, written
from workloads import InputError

MEASURED = (3.5, 7.0, 0.35, 35.0)
"""ms of four cases with the same prediction."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = []
    for i, ms in enumerate(MEASURED):
        row = PREFILL.replace(PREFILL.split(",")[0], f"case{i}", 1)
        assert "3.5" in row
        rows.append(row.replace("3.5", str(ms)))
    return written(tmp_path_factory.mktemp("cases"), FORWARD_HEADER + "".join(rows))


@pytest.fixture(scope="module")
def comparison(cases: Path) -> Comparison:
    return compare_file(cases)


def test_the_worst_are_those_off_by_the_largest_factor(comparison: Comparison) -> None:
    explained = worst_cases(comparison, 2)
    ratios = {p.case.case_id: p.predicted_us / p.case.measured_us for p in comparison.cases}
    order = sorted(ratios, key=lambda i: -max(ratios[i], 1 / ratios[i]))
    assert [e.predicted.case.case_id for e in explained] == order[:2]


def test_causes_add_up_to_the_prediction(comparison: Comparison) -> None:
    for explanation in worst_cases(comparison, 4):
        total = sum(explanation.causes_us.values())
        assert total == pytest.approx(explanation.predicted.predicted_us)
        shares = list(explanation.causes_us.values())
        assert shares == sorted(shares, reverse=True)
        assert explanation.roofline_us is not None
        assert 0 < explanation.roofline_us <= explanation.predicted.predicted_us


def test_what_would_have_to_be_true(comparison: Comparison) -> None:
    predicted = comparison.cases[0]
    measured = predicted.case.measured_us
    slow = Explanation(
        Predicted(predicted.case, 2 * measured),
        {"memory": 1.5 * measured, "latency": 0.5 * measured},
        measured / 4,
    )
    # a third of 1.5 measured, and the 0.5 beside it: measured
    assert slow.factor == pytest.approx(1 / 3)
    assert slow.sentences() == [
        "predicted: memory 75.0 %, latency 25.0 %",
        "right if memory took 0.33 times as long",
        "measured is 4 x the roofline",
    ]
    split = {"memory": 1.2 * measured, "latency": 1.1 * measured}
    hopeless = Explanation(Predicted(predicted.case, 2.3 * measured), split, measured * 2)
    assert hopeless.sentences()[1:] == [
        "too long even without any memory",
        "measured is 0.5 x the roofline: the machine, the type or the measurement is not as "
        "described",
    ]


def test_an_operator_and_a_generation_are_explained(tmp_path: Path) -> None:
    found = worst_cases(compare_file(written(tmp_path, OPERATOR_HEADER + MATMUL)), 5)
    assert len(found) == 1
    assert found[0].causes_us
    row = "g1,nvidia-t4,1,1,1,pytorch-eager,gpt2,generate,1,100,,50,fp16,fp16,3.5,somebody,\n"
    compared = compare_file(written(tmp_path, FORWARD_HEADER + row))
    (explanation,) = worst_cases(compared, 1)
    predicted = compared.cases[0].predicted_us
    assert sum(explanation.causes_us.values()) == pytest.approx(predicted)


def test_the_worst_table_says_why(comparison: Comparison) -> None:
    import io

    from rich.console import Console

    console = Console(width=120, record=True, file=io.StringIO())
    console.print(worst_table(worst_cases(comparison, 1)))
    text = console.export_text()
    for part in ("case3: prefill bert-base", "nvidia-t4", "predicted: ", "x the roofline"):
        assert part in text


def other(folder: Path, text: str, name: str = "other.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_another_tool_beside(tmp_path: Path, comparison: Comparison) -> None:
    # nearer than we are to case1 (exactly right), farther for case0 (10 times), none for the rest
    path = other(tmp_path, "case_id,predicted_us,x\ncase1,7000,1\ncase0,35000,2\nz9,1,3\n")
    found = against(comparison, read_predictions(path), "other.csv")
    duel = dict(found.groups())["*"]
    assert (duel.ours.n, duel.wins, duel.losses) == (2, 1, 1)
    assert duel.theirs.mape == pytest.approx((9 + 0) / 2)
    ours = [p.error for p in comparison.cases[:2]]
    assert duel.ours.bias == pytest.approx(sum(ours) / 2)
    assert found.missing == ["case2", "case3"]
    assert found.unknown == ["z9"]
    assert found.remarks() == [
        "2 cases predicted here, not in other.csv: case2, case3",
        "1 cases in other.csv, not among the tested cases here: z9",
    ]
    assert against_table(found).row_count == 2


def test_a_tie_is_nobodys(tmp_path: Path, comparison: Comparison) -> None:
    same = {p.case.case_id: p.predicted_us for p in comparison.cases}
    duel = dict(against(comparison, same, "x").groups())["*"]
    assert (duel.wins, duel.losses) == (0, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: column 'case_id' is missing"),
        ("case_id,predicted\n", "line 1: column 'predicted_us' is missing"),
        ("case_id,predicted_us\na,1\na,2\n", "line 3: case_id 'a' is given twice"),
        ("case_id,predicted_us\na,fast\n", "line 2: predicted_us = 'fast': expected a time above"),
        ("case_id,predicted_us\na,-1\n", "line 2: predicted_us = '-1': expected a time above 0"),
        ("case_id,predicted_us\na,nan\n", "predicted_us = 'nan': expected a time above 0"),
        ("case_id,predicted_us\na\n", "predicted_us = None: expected a time above 0"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = other(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path, comparison: Comparison) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_predictions(tmp_path / "none.csv")
    (tmp_path / "bad.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match="cannot be read as CSV text"):
        read_predictions(tmp_path / "bad.csv.gz")
    packed = tmp_path / "fine.csv.gz"
    packed.write_bytes(gzip.compress(b"case_id,predicted_us\nq,1\n"))
    assert read_predictions(packed) == {"q": 1.0}
    with pytest.raises(InputError, match="none of its 1 case_ids is among the 4 cases"):
        against(comparison, read_predictions(packed), "fine.csv.gz")


def test_the_picture(tmp_path: Path, comparison: Comparison) -> None:
    drawn = comparison_figure(comparison)
    cloud, by_size, by_machine = drawn.axes
    assert (cloud.get_xscale(), cloud.get_yscale()) == ("log", "log")
    labels = [text.get_text() for text in cloud.get_legend().get_texts()]  # type: ignore[union-attr]
    assert labels == ["within 25%", "within 10%", "prefill (4)"]
    assert [t.get_text() for t in by_machine.get_yticklabels()] == ["nvidia-t4 (4)"]
    assert by_size.get_ylabel() == "error %"
    assert draw_comparison(comparison, tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="nothing to draw"):
        comparison_figure(Comparison([], []))
    with pytest.raises(InputError, match="not a known format"):
        draw_comparison(comparison, tmp_path / "a.bmp")


def test_the_command_writes_all_of_it(tmp_path: Path, cases: Path) -> None:
    theirs = other(tmp_path, "case_id,predicted_us\ncase1,7000\n")
    out, plot = tmp_path / "out.json", tmp_path / "plot.png"
    arguments = ["compare", str(cases), "--worst", "1", "--against", str(theirs)]
    done = CliRunner().invoke(app, [*arguments, "--json", str(out), "--plot", str(plot)])
    assert done.exit_code == 0, done.output
    figures = json.loads(out.read_text())
    assert [entry["case_id"] for entry in figures["worst"]] == ["case3"]
    assert figures["against"]["missing"] == ["case0", "case2", "case3"]
    assert plot.stat().st_size > 10_000
    assert "Here against other.csv" in done.stdout
    assert "Predicted worst" in done.stdout


def test_bad_options_end_the_command_before_it_predicts(tmp_path: Path, cases: Path) -> None:
    theirs = other(tmp_path, "case,predicted_us\n")
    for option in (["--against", str(theirs)], ["--plot", str(tmp_path / "x.gif")]):
        done = CliRunner().invoke(app, ["compare", str(cases), *option])
        assert done.exit_code == 2
        assert "Traceback" not in done.output
        assert done.stdout == ""
