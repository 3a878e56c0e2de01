"""Demand: the formulas on machines small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

import pytest

from hardware_profiles import load_profile
from hardware_profiles.schema import KernelClass, Profile
from hardware_profiles.variants import with_cores
from simulator.demand import Context, demand_of
from simulator.demand.context import kernel_class
from simulator.demand.work import (
    attended_share,
    dot_product_core_cycles,
    smooth_maximum,
    unpacking_core_cycles,
    unpacking_of,
)
from simulator.memory import Traffic, hierarchy
from simulator.runtime import FusionTable, HostTable, LibraryTable, OnDevice, load_runtime
from workloads.moment import AttentionShape, Dtype, MatmulShape, Moment
from workloads.op_counts import activation, add, attention, linear, matmul, softmax


def kernel(**more: object) -> KernelClass:
    table = {
        "latency": "0 s", "arithmetic": 1.0, "bandwidth": 1.0, "vector": 1.0, "special": 1.0,
        "overlap_exponent": 1000.0, "operands": 10.0, "source": "made up for a test",
    }  # fmt: skip
    return KernelClass.model_validate(table | more)


def context(profile: Profile, kernels: KernelClass, **runtime: object) -> Context:
    names = ("matmul", "matmul_vector", "attention", "decode_attention", "row", "element")
    profile = profile.model_copy(update={"efficiency": dict.fromkeys(names, kernels)})
    section = OnDevice.model_validate({"source": "made up for a test", **runtime})
    return Context(profile, section, hierarchy(profile))


GPU = load_profile("nvidia-a100-sxm4-80gb")
TEACHING = load_profile("teaching")


def gpu(**more: object) -> Context:
    return context(GPU, kernel(**more))


def product(m: int, n: int, k: int, dtype: str = "fp16") -> Moment:
    return linear("p", "feed_forward", m=m, n=n, k=k, dtype=dtype, bias=False)  # type: ignore[arg-type]


def test_a_gpu_product_takes_its_macs_at_the_peak() -> None:
    # 1024^3 MACs on 108 SMs x 1024 MACs = 1024^2 / 108 = 9709.04 cycles
    demand = demand_of(product(1024, 1024, 1024), Traffic((0, 0)), gpu())
    assert demand.arithmetic_cycles(108) == ceil(1024**3 / 1024 / 108)
    assert demand.serial == ()


def test_efficiency_divides() -> None:
    half = demand_of(product(1024, 1024, 1024), Traffic((0, 0)), gpu(arithmetic=0.5))
    assert half.arithmetic_cycles(108) == ceil(2 * 1024**3 / 1024 / 108)


def test_kernel_latency_is_serial_and_scales_with_the_runtime() -> None:
    # 2 us at 1.41 GHz are 2820 cycles
    demand = demand_of(product(1, 1, 1), Traffic((0, 0)), gpu(latency="2 us"))
    assert dict(demand.serial)["latency"] == 2820
    scaled = context(GPU, kernel(latency="2 us"), latency_scale=0.5)
    assert dict(demand_of(product(1, 1, 1), Traffic((0, 0)), scaled).serial)["latency"] == 1410


def test_memory_is_a_flow_with_a_cap() -> None:
    demand = demand_of(product(1, 1, 1), Traffic((0, 1000)), gpu(bandwidth=0.5))
    assert demand.memory_bytes == 1000
    # half of 2.039 TB/s at 1.41 GHz: 723.05 bytes per cycle
    assert demand.memory_cap / 2**20 == pytest.approx(2.039e12 / 1.41e9 / 2)


def test_depth_is_waited_for_until_k_is_split() -> None:
    # one row and column, K = 1000 is padded to 1,024 steps of 10 ns: 10.24 us = 14,438 cycles
    vast = {"depth": "10 ns", "reduction": "1 s"}
    deep = demand_of(product(2, 1, 1000), Traffic((0, 0)), gpu(**vast))
    assert deep.arithmetic_cycles(108) + deep.serial_cycles == pytest.approx(14438, abs=1)
    # 15 blocks of 64 and one of 40 elements: 640 ns = 902 cycles, and little traffic of the sums
    split = demand_of(product(2, 1, 1000), Traffic((0, 0)), gpu(depth="10 ns"))
    cycles = split.arithmetic_cycles(108) + split.serial_cycles
    assert cycles == pytest.approx(128 * 10e-9 * 1.41e9, rel=0.01)


def test_overlap_is_what_a_smooth_maximum_adds() -> None:
    assert smooth_maximum(3, 4, 2) == 5
    assert smooth_maximum(3, 4, 1) == 7
    assert smooth_maximum(3, 4, 1000) == pytest.approx(4)
    assert smooth_maximum(0, 0, 2) == 0
    demand = demand_of(product(1024, 1024, 1024), Traffic((0, 10**7)), gpu(overlap_exponent=1.0))
    arithmetic = demand.arithmetic_cycles(108)
    moved = 10**7 / (2.039e12 / 1.41e9)
    assert dict(demand.serial)["overlap"] == pytest.approx(min(arithmetic, moved), abs=2)


@pytest.mark.parametrize(
    ("shape", "share"),
    [
        (AttentionShape(1, 1, 1, 64, 1, 512, True), 1.0),
        (AttentionShape(1, 1, 1, 64, 512, 512, False), 1.0),
        # (512 + 128) / 2 of 512 keys
        (AttentionShape(1, 1, 1, 64, 512, 512, True), 0.625),
        # 512 earlier keys are seen whole: (512 + 320) / 1024
        (AttentionShape(1, 1, 1, 64, 512, 1024, True), 0.8125),
        # a window of 128 and the block: 256 of 4096
        (AttentionShape(1, 1, 1, 64, 4096, 4096, True, 128), 0.0625),
    ],
)
def test_attended_share(shape: AttentionShape, share: float) -> None:
    assert attended_share(shape, 128) == pytest.approx(share)


def test_attention_prefill_is_padded_to_tiles() -> None:
    # 20 queries and 64 keys cost one tile of 64 x 64: 2 x 64 x 64 MACs a key at 1,024 a cycle, on
    # 108 SMs one tile each: 8 cycles a key
    shape = AttentionShape(9, 12, 12, 64, 20, 64, False)
    demand = demand_of(attention("a", shape, "fp16"), Traffic((0, 0)), gpu())
    assert demand.arithmetic_cycles(108) == 64 * 8


def test_wider_types_stand_in_for_missing_ones() -> None:
    fp8 = demand_of(product(64, 64, 64, "fp8"), Traffic((0, 0)), gpu())  # A100 has no fp8
    fp16 = demand_of(product(64, 64, 64, "fp16"), Traffic((0, 0)), gpu())
    assert fp8.unit_cycles == fp16.unit_cycles


def test_kernel_classes() -> None:
    shape = AttentionShape(1, 1, 1, 64, 1, 8, True)
    assert kernel_class(attention("a", shape, "fp16"), GPU) == "decode_attention"
    assert kernel_class(product(1, 1, 1, "fp32"), GPU) == "matmul_vector"
    assert kernel_class(product(1, 1, 1, "fp16"), GPU) == "matmul"
    assert kernel_class(softmax("s", "attention", rows=1, columns=1, dtype="fp16"), GPU) == "row"
    assert kernel_class(add("s", "attention", elements=1, dtype="fp16"), GPU) == "element"


def cpu(library: Mapping[str, object], **more: object) -> Context:
    table = LibraryTable.model_validate({"source": "made up for a test"} | dict(library))
    return context(TEACHING, kernel(**more), library=table)


def test_a_cpu_product_is_packed_then_computed() -> None:
    # 8 x 4 x 5 = 160 MACs on 2 cores: 80 cycles; 20 weights x 2 cycles, and 80 bytes written at
    # 1 byte per cycle: 120, shared by two threads as 2^(1/4)
    library = {"pack_cycles_per_weight": 2.0}
    demand = demand_of(product(8, 4, 5, "fp32"), Traffic((0,)), cpu(library))
    assert demand.arithmetic_cycles(2) == 80
    assert dict(demand.serial)["packing"] == ceil(120 / 2**0.25)


def test_a_vector_times_a_matrix_goes_row_by_row() -> None:
    # 4 rows lose 7 ns each; the 80 bytes are read once for each of the 2 vectors, on one thread
    library = {"gemv_rows": 3, "gemv_row": "7 ns", "gemv_threads": 1, "pack_cycles_per_weight": 1.0}
    demand = demand_of(product(2, 4, 5, "fp32"), Traffic((80,)), cpu(library))
    assert demand.cores == 1
    assert demand.memory_bytes == 160
    assert dict(demand.serial)["memory"] == 2 * 4 * 7
    assert "packing" not in dict(demand.serial)


def test_few_rows_are_packed_and_multiplied_on_one_thread() -> None:
    # 160 MACs on one core; 120 cycles as above and 3 ns for each of 4 rows, shared by nobody
    library = {"pack_cycles_per_weight": 2.0, "pack_row": "3 ns", "single_thread_rows": 8}
    demand = demand_of(product(8, 4, 5, "fp32"), Traffic((0,)), cpu(library))
    assert (demand.cores, demand.arithmetic_cycles(1)) == (1, 160)
    assert dict(demand.serial)["packing"] == 120 + 4 * 3
    assert demand_of(product(9, 4, 5, "fp32"), Traffic((0,)), cpu(library)).cores == 2


def test_attention_packs_keys_and_values_for_each_block_of_queries() -> None:
    def cycles(queries: int, **library: object) -> int:
        shape = AttentionShape(1, 2, 2, 4, queries, 8, False)
        on = cpu({"pack_cycles_per_weight": 3.0, **library})
        return demand_of(attention("a", shape, "fp32"), Traffic((0,)), on).arithmetic_cycles(2)

    # 2 heads x 2 blocks of 4 queries, each packs 8 keys x (4 + 4) columns in 3 cycles and calls 2
    # products that take 5 ns more: 4 (192 + 10) = 808 core-cycles on 2 cores
    blocks = {"attention_blocks": [[2, 4]], "nested_call": "5 ns"}
    assert cycles(8, **blocks) - cycles(8) == 404
    # the 3 queries of one block: 2 (192 + 10) / 2; a single query is multiplied as a vector
    assert cycles(3, **blocks) - cycles(3) == 202
    assert cycles(1, **blocks) == cycles(1)


def test_a_stream_as_large_as_the_last_cache_is_kept_in_half() -> None:
    machine = load_profile("intel-core-i5-8500")
    capacity = hierarchy(machine).capacities[-1]

    def again_bytes(size: int) -> int:
        table = LibraryTable(source="made up for a test", gemv_rows=3)
        on = context(machine, kernel(), library=table)
        nowhere = Traffic((0,) * (len(hierarchy(machine).capacities) + 1))
        return demand_of(product(2, size // 4096, 1024, "fp32"), nowhere, on).memory_bytes

    matrix = capacity // 4096 * 4096
    assert again_bytes(matrix) == pytest.approx(matrix / 2, rel=1e-2)
    # twice as large: all but 1 / (1 + 2^4) comes from memory again
    assert again_bytes(2 * matrix) == pytest.approx(2 * matrix * 16 / 17, rel=1e-2)
    assert again_bytes(matrix // 16) == 0  # an inner cache has it


def test_steps_of_a_row_wise_kind_are_elementwise_kernels() -> None:
    slow_rows = kernel(vector=0.1)
    on = context(
        TEACHING,
        kernel(vector=1.0),
        library=LibraryTable(source="made up for a test", steps={"softmax": 3}),
    )
    efficiency = {**on.profile.efficiency, "row": slow_rows}
    on = replace(on, profile=on.profile.model_copy(update={"efficiency": efficiency}))
    whole = replace(on, runtime=on.runtime.model_copy(update={"library": None}))
    moment = softmax("s", "attention", rows=4, columns=8, dtype="fp32")
    in_steps = demand_of(moment, Traffic((0,)), on).arithmetic_cycles(1)
    assert demand_of(moment, Traffic((0,)), whole).arithmetic_cycles(1) > in_steps


def test_the_clock_falls_towards_the_sustained_one() -> None:
    epyc = load_profile("amd-epyc-7763-1s")
    clock = epyc.clock.model_copy(update={"burst_hz": 4_000_000_000, "sustained_hz": 3_000_000_000})
    machine = epyc.model_copy(update={"clock": clock})
    on = context(machine, kernel())
    assert on.clock_share(1) == 1.0
    assert on.clock_share(64) == pytest.approx(0.75)
    # 21 of 63 further cores: a third of the way down
    assert on.clock_share(22) == pytest.approx(1 - 0.25 / 3)
    assert with_cores(machine, 22).clock.sustained_hz == pytest.approx(4e9 - 1e9 / 3, abs=1)
    assert context(with_cores(machine, 22), kernel()).clock_share(22) == pytest.approx(
        on.clock_share(22)
    )


def test_small_loops_stay_on_one_thread_and_large_ones_fork() -> None:
    library = {"parallel_elements": 100, "fork_join": "9 ns"}
    small = demand_of(add("s", "attention", elements=99, dtype="fp32"), Traffic((0,)), cpu(library))
    assert (small.cores, small.serial) == (1, ())
    large = demand_of(
        add("s", "attention", elements=100, dtype="fp32"), Traffic((0,)), cpu(library)
    )
    assert (large.cores, large.unit_cycles, dict(large.serial)) == (2, 50, {"fork_join": 9})


@pytest.mark.parametrize(
    ("threads", "page_fault", "cycles"),
    [
        (1, "20 us", 40_000),  # 8192 bytes are two pages of 20,000 cycles of 1 GHz
        (2, "20 us", 20_000),  # each thread takes the fault of the page that it writes
        (2, "6 us", 8_192),  # 12,000 / 2, but 8192 bytes are cleared at 1 byte a cycle
        (2, "5 ns", 10),  # clearing is part of the fault: no more than one thread takes
    ],
)
def test_fresh_outputs_fault_their_pages_in(threads: int, page_fault: str, cycles: int) -> None:
    parallel = 1 if threads > 1 else 10_000
    library = {
        "fresh_output": "8 KiB", "page_fault": page_fault, "parallel_elements": parallel
    }  # fmt: skip
    demand = demand_of(
        add("s", "attention", elements=2048, dtype="fp32"), Traffic((0,)), cpu(library)
    )
    assert demand.cores == threads
    assert dict(demand.serial)["page_faults"] == cycles


def test_a_matrix_read_again_comes_from_the_cache_that_keeps_it() -> None:
    # 3 vectors: 80 bytes from memory for the first, 2 x 80 from a cache of 2 bytes per cycle and
    # core (one thread: 80 cycles); the 4 rows lose 7 ns each, but once
    library = {"gemv_rows": 3, "gemv_row": "7 ns", "gemv_threads": 1}
    on = cpu(library)
    cache = on.profile.memory["dram"].model_copy(
        update={
            "capacity_bytes": 4096,
            "bandwidth_bytes_per_s": 4 * on.clock_hz,
            "bandwidth_per_core_bytes_per_s": 2 * on.clock_hz,
        }
    )
    machine = on.profile.model_copy(update={"memory": {"l2": cache, **on.profile.memory}})
    with_cache = Context(machine, on.runtime, hierarchy(machine))
    demand = demand_of(product(3, 4, 5, "fp32"), Traffic((0, 80)), with_cache)
    assert demand.memory_bytes == 80
    # the smooth maximum of 40 cycles of arithmetic and 160 of memory, p = 4, is 160.2
    waited = max(demand.unit_cycles, 80) + demand.serial_cycles
    assert demand.unit_cycles < 80
    assert waited == pytest.approx(160 + 4 * 7, abs=3)


def test_special_functions_and_steps_of_a_library() -> None:
    moment = activation("g", "feed_forward", function="gelu_tanh", elements=10, dtype="fp32")
    plain = demand_of(moment, Traffic((40,)), cpu({"parallel_elements": 100}))
    # 8 vector and 1 special operation an element, one each per cycle
    assert plain.unit_cycles == 90
    costly = cpu(
        {"parallel_elements": 100, "special": {"gelu_tanh": 6.0}, "steps": {"gelu_tanh": 8}}
    )
    demand = demand_of(moment, Traffic((40,)), costly)
    assert demand.unit_cycles == 80 + 60
    assert demand.memory_bytes == 8 * 40


def test_the_host_pays_for_each_kind() -> None:
    host = HostTable.model_validate(
        {"mode": "asynchronous", "moment": "3 ns", "by_kind": {"add": "5 ns"}, "source": "x" * 8}
    )
    on = context(TEACHING, kernel(), host=host)
    assert demand_of(product(1, 1, 1, "fp32"), Traffic((0,)), on).dispatch_cycles == 3
    added = demand_of(add("s", "attention", elements=1, dtype="fp32"), Traffic((0,)), on)
    assert added.dispatch_cycles == 5


def test_the_ideal_machine_counts_operations_and_bytes() -> None:
    ideal = load_runtime("ideal").on("cpu")
    on = Context(TEACHING, ideal, hierarchy(TEACHING))
    demand = demand_of(
        matmul("m", "attention", batch=1, m=2, n=3, k=4, dtype="fp32"), Traffic((104,)), on
    )
    assert (demand.units, demand.unit_cycles, demand.memory_bytes) == (1, 24, 104)
    assert demand.serial == ()


def test_fusion_tables_are_plain_by_default() -> None:
    assert FusionTable().attention == "batched"


def quantized(m: int, n: int, k: int, weight_dtype: str, dtype: Dtype = "int8") -> Moment:
    return linear(
        "p", "feed_forward", m=m, n=n, k=k, dtype=dtype, weight_dtype=weight_dtype, bias=False
    )


def test_weights_are_unpacked_again_for_each_block_of_rows() -> None:
    # 20 weights at 0.5 cycles; 9 rows in blocks of 4 are three unpackings
    cycles = unpacking_core_cycles(20, 9, cycles_per_weight=0.5, rows_per_unpacking=4)
    assert cycles == 30
    assert unpacking_core_cycles(20, 9, cycles_per_weight=0.5, rows_per_unpacking=1) == 90


def test_unpacking_goes_by_format() -> None:
    library = LibraryTable(
        unpack_cycles_per_weight={"*": 1.0, "q4_0": 0.25, "bf16": 2.0},
        unpack_rows={"*": 2, "q4_0": 8},
        source="made up for a test",
    )
    cases = (("q5_0", 8 * 1.0 * 4), ("q4_0", 8 * 0.25), ("int8", 0.0))
    for stored, cycles in cases:
        moment = quantized(8, 4, 2, stored)
        assert unpacking_of(moment, MatmulShape(1, 8, 4, 2), library) == cycles
    plain = quantized(8, 4, 2, "bf16", "bf16")  # named itself, though it is not quantized
    assert unpacking_of(plain, MatmulShape(1, 8, 4, 2), library) == 8 * 2.0 * 8


def test_dot_products_run_on_the_vector_unit() -> None:
    zen4 = load_profile("amd-ryzen-9-7950x")
    library = LibraryTable(
        dot_share=0.5, unpack_cycles_per_weight={"q4_0": 0.25}, source="made up for a test"
    )
    on = context(zen4, kernel(), library=library)
    moment = quantized(2, 64, 64, "q4_0")
    # 16 lanes take 64 int8 products a cycle, half of them: 8192 MACs / 32 = 256 core-cycles
    assert dot_product_core_cycles(moment, on, 0.5) == 256
    # and 4096 weights x 0.25 for each of two rows: 2304 core-cycles on 16 cores, which hold
    # 5.0 of the 5.7 GHz that cycles are counted in
    unit_cycles = demand_of(moment, Traffic((0, 0, 0)), on).unit_cycles
    assert unit_cycles == ceil((256 + 2048) // 16 * 5.7 / 5.0)


def test_matrix_share_slows_the_products_of_its_types() -> None:
    library = LibraryTable(matrix_share={"fp16": 0.5, "*": 0.8}, source="made up for a test")
    assert [library.share_of(d) for d in ("fp16", "int8")] == [0.5, 0.8]
    half = demand_of(
        product(1024, 1024, 1024), Traffic((0, 0)), context(GPU, kernel(), library=library)
    )
    assert half.arithmetic_cycles(108) == ceil(2 * 1024**3 / 1024 / 108)


def test_sums_in_fp16_are_faster_on_geforce_only() -> None:
    library = LibraryTable(fp16_accumulation=True, source="made up for a test")
    for name, gain in (("nvidia-rtx-3090", 2), ("nvidia-a100-sxm4-80gb", 1)):
        profile = load_profile(name)
        plain = demand_of(product(1024, 1024, 1024), Traffic((0, 0)), context(profile, kernel()))
        fast = demand_of(
            product(1024, 1024, 1024), Traffic((0, 0)), context(profile, kernel(), library=library)
        )
        assert plain.unit_cycles == pytest.approx(gain * fast.unit_cycles, rel=1e-4)


def test_many_rows_write_a_quantized_weight_out_first() -> None:
    library = LibraryTable(dequantize_rows=4, source="made up for a test")
    on = context(GPU, kernel(latency="2 us"), library=library)
    few = demand_of(quantized(3, 10, 10, "q4_0", "fp16"), Traffic((0, 100)), on)
    many = demand_of(quantized(4, 10, 10, "q4_0", "fp16"), Traffic((0, 100)), on)
    assert few.memory_bytes == 100
    # 100 weights of two bytes are written and read again, by a kernel of their own
    assert many.memory_bytes == 100 + 2 * 200
    assert dict(many.serial)["latency"] == 2 * dict(few.serial)["latency"]
    plain = demand_of(quantized(4, 10, 10, "fp16", "fp16"), Traffic((0, 100)), on)
    assert plain.memory_bytes == 100


def test_steps_on_a_gpu_are_kernels_and_passes() -> None:
    library = LibraryTable(steps={"softmax": 3}, source="made up for a test")
    on = context(GPU, kernel(latency="2 us"), library=library)
    moment = softmax("s", "attention", rows=4, columns=8, dtype="fp16")
    demand = demand_of(moment, Traffic((0, 128)), on)
    assert demand.memory_bytes == 3 * 128
    assert dict(demand.serial)["latency"] >= 3 * 2820
