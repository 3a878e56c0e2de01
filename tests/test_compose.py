"""Transforms one after another in any order, over random models: what must hold holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_profiles import load_profile
from simulator import simulate
from simulator.runtime import load_runtime
from tests.random_models import fusions, programs
from workloads import (
    Fusion,
    Model,
    Program,
    Pruning,
    Quantization,
    fuse,
    prune,
    quantize,
    split_heads,
)
from workloads.passes import written_out
from workloads.stored import CHANNEL_FORMATS
from workloads.transforms import copy_caches
from workloads.transforms.quantization import KV_FORMATS
from workloads.transforms.rewrite import distinct_segments

Step = Quantization | Pruning | Fusion | Literal["copy_caches", "split_heads"]


def applied(program: Program, model: Model, step: Step) -> Program:
    if isinstance(step, Quantization):
        return quantize(program, step, model)
    if isinstance(step, Pruning):
        return prune(program, step, model)
    if isinstance(step, Fusion):
        return fuse(program, step)
    return copy_caches(program) if step == "copy_caches" else split_heads(program)


CPU = load_profile("amd-epyc-7763-1s")
GPU = load_profile("nvidia-h100-sxm5-80gb")

WEIGHTS = ("int8", "fp8", "int4", "int4-g64", "q4_0", "q4_k_m", *CHANNEL_FORMATS)


quantizations = st.builds(
    Quantization,
    weights=st.sampled_from(WEIGHTS),
    head=st.sampled_from([None, True, False]),
    activations=st.sampled_from([None, "int8", "fp8"]),
)
prunings = st.one_of(
    st.builds(Pruning, st.floats(0.05, 1), st.sampled_from(["none", "bitmap", "csr"])),
    st.just(Pruning(0.5, "2:4")),
)


@st.composite
def sequences(draw: st.DrawFn) -> list[Step]:
    """Some transforms in any order, each at most once; weights are written out at the end."""
    some: list[Step] = [
        draw(quantizations),
        draw(prunings),
        Quantization(kv=draw(st.sampled_from(KV_FORMATS))),
        draw(fusions),
        "copy_caches",
        "split_heads",
    ]
    wanted = [step for step in some if draw(st.booleans())]
    steps = list(draw(st.permutations(wanted)))
    return [*steps, Quantization(dequantize=True)] if draw(st.booleans()) else steps


def components(program: Program) -> list[int]:
    """For each segment, in how many unconnected pieces its graph is."""
    return [
        nx.number_weakly_connected_components(graph) for graph in map(graph_of, segments(program))
    ]


def segments(program: Program) -> Iterable[tuple[int, tuple[tuple[int, int], ...]]]:
    return [(len(s.moments), s.edges) for s in distinct_segments(program)]


def graph_of(segment: tuple[int, tuple[tuple[int, int], ...]]) -> nx.DiGraph[int]:
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(segment[0]))
    graph.add_edges_from(segment[1])
    return graph


@settings(max_examples=100, deadline=None)
@given(programs(), sequences())
def test_any_sequence_keeps_what_it_must(drawn: tuple[Model, Program], steps: list[Step]) -> None:
    model, program = drawn[0], written_out(drawn[1])
    found = program
    for step in steps:
        found = applied(found, model, step)
    # products are all there, pass by pass; arithmetic beside them only grows
    for before, after in zip(program.passes, found.passes, strict=True):
        assert after.counts.macs == before.counts.macs
        assert after.counts.vector_ops >= before.counts.vector_ops
        assert after.counts.special_ops >= before.counts.special_ops
        assert sum(m.effective_macs for r in after.repeats for m in r.segment.moments) > 0
    # edges go forward (Segment checks it), and nothing that was connected fell apart
    moved = any(isinstance(step, Fusion) and step.residual_norm for step in steps)
    if not moved:
        # one quantization may serve two pieces that read the same rows
        pieces = zip(components(found), components(program), strict=True)
        assert all(after <= before for after, before in pieces)
        assert len(distinct_segments(found)) == len(distinct_segments(program))
    for segment in distinct_segments(found):
        for moment in segment.moments:
            sizes = [t.bytes for t in (*moment.reads, *moment.writes)]
            assert min(sizes) >= 0
            assert min(moment.counts.macs, moment.counts.vector_ops, moment.counts.special_ops) >= 0
    needs = found.footprint
    assert min(needs.weight_bytes, needs.kv_cache_bytes, needs.activation_bytes) >= 0
    # a norm that moves across borders makes of one segment a first, a usual and a last one
    assert len(distinct_segments(found)) <= 3 * len(distinct_segments(program))


@settings(max_examples=25, deadline=None)
@given(programs(), sequences(), st.sampled_from(["pytorch-eager", "ideal"]))
def test_any_sequence_runs(drawn: tuple[Model, Program], steps: list[Step], runtime: str) -> None:
    model, program = drawn
    for step in steps:
        program = applied(program, model, step)
    for profile in (CPU, GPU):
        run = simulate(program, profile, runtime)
        assert run.latency_s > 0
        assert sum(run.attribution.values()) == run.cycles
        for bound in run.bounds_s.values():
            assert bound <= run.latency_s * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(
    programs().filter(lambda drawn: drawn[1].dtype != "int4"),
    st.sampled_from([w for w in WEIGHTS if w not in CHANNEL_FORMATS]),
)
def test_narrow_weights_are_never_slower_where_unpacking_is_free(
    drawn: tuple[Model, Program], name: str
) -> None:
    """In order, on a machine whose runtime neither unpacks at a cost nor writes weights out.

    Block formats only: scales of channels cost a multiplication of each output. Each moment then
    asks for the same arithmetic and no more bytes; a cycle of rounding up is allowed to each.
    """
    model, program = drawn
    narrow = quantize(program, Quantization(weights=name), model)
    assert narrow.footprint.weight_bytes <= program.footprint.weight_bytes
    for runtime in ("ideal", "kernel", "vllm"):
        section = load_runtime(runtime).on("gpu")
        assert section.policy == "stream"
        library = section.library
        assert library is None or not (library.unpack_cycles_per_weight or library.dequantize_rows)
        plain, packed = (simulate(p, GPU, runtime) for p in (program, narrow))
        assert packed.cycles <= plain.cycles + packed.program.moment_count


def test_cost_does_not_grow_with_depth() -> None:
    """The 80 layers of a large model are one segment after all transforms, as 2 layers are."""
    from workloads import compile_forward, load_model

    model = load_model("llama-2-70b")
    shallow = model.model_copy(update={"layers": 2})

    def kinds(of: Model) -> int:
        program = compile_forward(of, prompt=8, generate=2, dtype="fp16")
        program = prune(program, Pruning(0.5, "2:4"), of)
        plan = Quantization("int8-channel", kv="fp8", activations="int8")
        return len(distinct_segments(fuse(quantize(program, plan, of), FUSED)))

    assert kinds(model) == kinds(shallow)


FUSED = Fusion(qkv=True, gate_up=True, attention="fused", cache=True)
