"""Layers found again: the same moments and edges, whether or not they are one segment."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from workloads import op_counts
from workloads.importers.imported.repeats import find_runs
from workloads.importers.imported.steps import Step
from workloads.moment import Footprint, Moment, Pass, Program, Repeat, Segment


def step(name: str, width: int, sources: list[str], target: str) -> Step:
    """A product of `width`, of its first source, which also reads the others."""
    made = op_counts.linear(name, "feed_forward", m=2, n=width, k=4, dtype="fp32", bias=False)
    reads = tuple(
        op_counts.copy("c", "feed_forward", elements=8, dtype="fp32", source=s).reads[0]
        for s in sources
    )
    weight = made.reads[1]
    (write,) = op_counts.copy("c", "feed_forward", elements=8, dtype="fp32", target=target).writes
    moment = Moment(
        name, made.kind, made.stage, made.shape, made.dtype, made.counts, (*reads, weight), (write,)
    )
    return Step("linear", moment, tuple(sources), (), (2, width))


def chain(layers: int, skips: bool = False) -> list[Step]:
    """An opening step, layers of five with a residual each, a closing step.

    With `skips` every layer also reads what the opening step wrote.
    """
    steps = [step("open", 3, ["x"], "h0")]
    for i in range(layers):
        source = f"h{i}"
        for j, width in enumerate((5, 6, 7, 8, 9)):
            last = j == 4
            target = f"h{i + 1}" if last else f"l{i}.{j}"
            more = [f"h{i}"] if last else []
            more += ["h0"] if skips and j == 2 and i else []
            steps.append(step(f"l{i}.{j}", width, [source, *more], target))
            source = target
    return [*steps, step("close", 4, [f"h{layers}"], "y")]


def program(steps: list[Step], runs: list[tuple[int, int, int]]) -> Program:
    repeats, done = [], 0
    for start, length, count in runs:
        if start > done:
            repeats.append(Repeat(segment(steps[done:start])))
        repeats.append(Repeat(segment(steps[start : start + length]), count))
        done = start + length * count
    if done < len(steps):
        repeats.append(Repeat(segment(steps[done:])))
    step = Pass("forward", "prefill", 1, 0, tuple(repeats))
    return Program("p", (step,), 1, "fp32", Footprint(0, 0, 0))


def segment(steps: list[Step]) -> Segment:
    return Segment.from_moments("s", [s.moment for s in steps])


def edges(program: Program) -> list[tuple[int, ...]]:
    from workloads import flatten

    return [tuple(sorted(following)) for following in flatten(program).successors]


@given(st.integers(1, 12))
@settings(max_examples=12, deadline=None)
def test_the_whole_graph_is_the_same_folded_or_not(layers: int) -> None:
    steps = chain(layers)
    folded, runs = find_runs(steps)
    assert edges(program(folded, [(r.start, r.length, r.count) for r in runs])) == edges(
        program(steps, [])
    )
    if layers > 1:
        assert [(r.length, r.count) for r in runs] == [(5, layers)]


def test_a_tensor_from_before_the_layers_may_be_read_by_all() -> None:
    steps = chain(6, skips=True)
    folded, runs = find_runs(steps)
    # the first layer reads it as its residual, so it is not like the others
    assert [(r.length, r.count) for r in runs] == [(5, 5)]
    assert edges(program(folded, [(r.start, r.length, r.count) for r in runs])) == edges(
        program(steps, [])
    )


def test_what_a_later_step_reads_from_a_middle_layer_keeps_them_apart() -> None:
    steps = chain(6)
    steps.append(step("probe", 4, ["h3", "y"], "z"))
    folded, runs = find_runs(steps)
    plain = edges(program(steps, []))
    assert edges(program(folded, [(r.start, r.length, r.count) for r in runs])) == plain
    assert all(r.count <= 3 for r in runs)


def test_two_stacks_are_two_runs() -> None:
    first = chain(4)
    second = [
        step(f"d{i}.{j}", 20 + j, [f"d{i}.{j - 1}" if j else (f"d{i - 1}.3" if i else "y")],
             f"d{i}.{j}")
        for i in range(5)
        for j in range(4)
    ]  # fmt: skip
    steps = [*first, *second]
    folded, runs = find_runs(steps)
    assert [(r.length, r.count) for r in runs] == [(5, 4), (4, 5)]
    assert edges(program(folded, [(r.start, r.length, r.count) for r in runs])) == edges(
        program(steps, [])
    )


def test_steps_that_differ_are_no_layers() -> None:
    steps = [step(f"s{i}", i + 2, [f"t{i - 1}" if i else "x"], f"t{i}") for i in range(30)]
    assert find_runs(steps)[1] == []
