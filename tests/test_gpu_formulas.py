"""Formulas of GPU kernels: by hand, the same for numbers and for arrays, and never below bounds."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.schema import KernelClass
from simulator.demand.broadcast import filled, in_waves, never, where, whole
from simulator.demand.flash import Attention, decode_times, prefill_times
from simulator.demand.gemm import Product, product_times
from simulator.demand.rows import Rows, missed, row_times


def kernel(**more: object) -> KernelClass:
    table = {
        "latency": "0 s", "arithmetic": 1.0, "bandwidth": 1.0, "vector": 1.0, "special": 1.0,
        "overlap_exponent": 1000.0, "operands": 10.0, "source": "made up for a test",
    }  # fmt: skip
    return KernelClass.model_validate(table | more)


PRODUCT = Product(
    batch=1, m=128, n=256, k=64, operand_bytes=2, cores=1, core_rate=1e12, core_bytes=1e15,
    dram_s=0.0, cached_s=0.0, write_s=0.0, epilogue_s=0.0,
)  # fmt: skip
ATTENTION = Attention(
    batch=1, heads=4, kv_heads=2, head_dim=64, queries=128, keys=128, causal=False, earlier=0,
    span=0, kv_bytes=2, cores=4, core_rate=1e12, core_exponentials=1e18, core_bytes=1e12,
    dram_s=0.0, cached_s=0.0, token_s=0.0, packed=0, divided=False, prefill=True,
)  # fmt: skip
ROWS = Rows(
    vector_s=1e-6, special_s=1e-6, dram_s=4e-6, cached_s=0.0, read_s=2e-6, rereads=2.0,
    row_bytes=1024, rows_per_core=2.0, core_cache_bytes=2048,
)  # fmt: skip


def test_waves_are_whole_or_even() -> None:
    assert in_waves(10, 4, 1.0) == 3  # 2.5 rounds, the third as long as a full one
    assert in_waves(10, 4, 0.0) == 2.5
    assert in_waves(10, 4, 0.5) == 2.75
    assert in_waves(1, 4, 0.0) == 1  # one unit on one core takes one round


def test_a_pipeline_fills_once() -> None:
    assert filled(5.0, 0.0) == 5.0
    assert filled(0.0, 2.0) == 0.0
    assert filled(1000.0, 2.0) == 1002.0


def test_numbers_and_conditions() -> None:
    assert (whole(1.2), where(True, 1.0, 2.0), never(False)) == (2, 1.0, True)
    assert not never(np.array([False, True]))  # type: ignore[arg-type]


def test_a_product_of_one_tile() -> None:
    # 128 x 256 x 64 MACs at 1e12 a second on one core
    assert product_times(PRODUCT, kernel(), matrix=True).body_s == pytest.approx(128 * 256 * 64e-12)
    # K = 65 is padded to 96
    odd = product_times(replace(PRODUCT, k=65), kernel(), matrix=True)
    assert odd.body_s == pytest.approx(128 * 256 * 96e-12)


def test_small_tiles_fill_more_cores_and_lose_some_efficiency() -> None:
    many = replace(PRODUCT, m=64, n=64, cores=4)
    # four tiles of 32 x 32 at once
    assert product_times(many, kernel(), matrix=True).body_s == pytest.approx(32 * 32 * 64e-12)
    # (1,024 / 16,384)^-1/2 = 4 times slower: as one tile of 64 x 64, at half of its efficiency
    slow = product_times(many, kernel(tile=0.5), matrix=True).body_s
    assert slow == pytest.approx(4 * 32 * 32 * 64e-12)
    assert product_times(replace(many, batch=1), kernel(batched=0.5), matrix=True).body_s < slow


def test_k_is_split_where_that_is_faster() -> None:
    deep = replace(PRODUCT, m=16, n=64, k=64 * 64, cores=64)
    whole_k = 16 * 64 * 64 * 64e-12
    found = product_times(deep, kernel(reduction="1 ns"), matrix=True).body_s
    assert found == pytest.approx(whole_k / 64 + 1e-9, rel=0.01)
    held = product_times(deep, kernel(reduction="1 s"), matrix=True).body_s
    assert held == pytest.approx(whole_k / 1, rel=0.01)


def test_a_long_product_meets_the_power_limit() -> None:
    short = product_times(PRODUCT, kernel(sustained=0.5), matrix=True).body_s
    assert short == pytest.approx(128 * 256 * 64e-12, rel=0.01)
    large = replace(PRODUCT, m=128_000, n=128_000)
    full = product_times(large, kernel(), matrix=True).body_s
    assert product_times(large, kernel(sustained=0.5), matrix=True).body_s == pytest.approx(
        2 * full, rel=0.01
    )


def test_what_is_written_overlaps_in_part() -> None:
    work = replace(PRODUCT, write_s=1e-7)
    plain = product_times(work, kernel(), matrix=True).body_s
    assert product_times(work, kernel(write=0.5), matrix=True).body_s == pytest.approx(plain + 5e-8)


def test_one_row_is_streamed() -> None:
    # 100 columns of 64 elements of 2 bytes on one core at 10 times 1e10 bytes a second
    work = replace(PRODUCT, m=1, n=100, core_bytes=1e10)
    found = product_times(work, kernel(), matrix=True)
    assert found.body_s == pytest.approx(100 * 64 * 2 / 1e11)


def test_prefill_takes_the_longer_of_products_and_exponentials() -> None:
    # 4 heads of 128 queries on 4 cores: 128 keys x 2 x 128 x 64 MACs each
    assert prefill_times(ATTENTION, kernel()).body_s == pytest.approx(128 * 2 * 128 * 64e-12)
    slow = replace(ATTENTION, core_exponentials=1e9)
    softmax = 128 * 128 / 1e9
    assert prefill_times(slow, kernel()).body_s == pytest.approx(softmax)
    both = prefill_times(slow, kernel(serial=0.5)).body_s
    assert both == pytest.approx(softmax + 0.5 * 128 * 2 * 128 * 64e-12)


def test_causal_attention_takes_the_keys_that_are_seen() -> None:
    long = replace(ATTENTION, queries=1024, keys=1024, cores=1)
    full = prefill_times(long, kernel()).body_s
    causal = prefill_times(replace(long, causal=True), kernel()).body_s
    assert causal == pytest.approx(full * 17 / 32)  # tiles of 64: (16 + 1) / 2 of 16 tiles
    window = prefill_times(replace(long, causal=True, span=64), kernel()).body_s
    assert window == pytest.approx(full * 128 / 1024)


def test_a_head_of_a_sequence_may_be_one_block() -> None:
    tiled = prefill_times(replace(ATTENTION, heads=1, core_exponentials=1e12), kernel())
    # 2 blocks of 64 queries on 2 of 4 cores: 128 keys x 64 x (2 x 64 products, longer than 1 exp)
    assert tiled.body_s == pytest.approx(128 * 64 * 2 * 64 / 1e12)
    one = replace(ATTENTION, heads=1, core_exponentials=1e12, rows=128)
    # one block of 128, whose exponentials follow its products
    assert prefill_times(one, kernel()).body_s == pytest.approx(128 * 128 * (2 * 64 + 1) / 1e12)


def test_rows_may_take_a_block_each() -> None:
    assert row_times(replace(ROWS, blocks_s=9e-6), kernel()).body_s == pytest.approx(9e-6)
    assert (
        row_times(replace(ROWS, blocks_s=1e-9), kernel()).body_s == row_times(ROWS, kernel()).body_s
    )


def test_decode_divides_keys_and_pays_for_starts() -> None:
    # 2 heads of keys and values of 128 x 64 x 2 x 2 bytes, at 1e12 bytes a second and core
    work = replace(ATTENTION, queries=1, core_rate=1e18)
    read = 2 * 128 * 64 * 2 / 1e12
    one = decode_times(work, kernel(operands=1.0, reduction="1 s")).body_s
    assert one == pytest.approx(read)
    two = decode_times(work, kernel(operands=1.0, reduction="1 ns")).body_s
    assert two == pytest.approx(read / 2 + 1e-9)
    shared = decode_times(work, kernel(operands=1.0, reduction="1 s", unit="3 us", group="1 us"))
    assert shared.body_s == pytest.approx(read + 4e-6)


def test_a_block_alone_waits_for_its_operands() -> None:
    # 4 blocks of 64 queries past 128 keys on as many cores: 1 ns a key more
    work = replace(ATTENTION, queries=64)
    alone = prefill_times(work, kernel(depth="1 ns")).body_s
    assert alone == pytest.approx(128 * (2 * 64 * 64e-12 + 1e-9))
    # eight blocks a core fill each other's waits
    full = prefill_times(replace(work, batch=8), kernel(depth="1 ns")).body_s
    assert full == pytest.approx(8 * 128 * 2 * 64 * 64e-12)


def test_earlier_keys_are_divided_among_the_blocks_that_fit() -> None:
    # 4 blocks on 16 cores, two side by side: 8 parts of 136 keys each; the parts are summed
    work = replace(ATTENTION, queries=64, cores=16, keys=1088, earlier=1024, divided=True)
    whole_keys = 1088 * 2 * 64 * 64e-12
    sums = 8 * 2 * 4 * 4 * 64 * 64 / (1e12 * 16)
    parts = prefill_times(work, kernel(wave=1.0, reduction="1 us")).body_s
    assert parts == pytest.approx(2 * whole_keys / 8 + sums + 1e-6)
    whole = prefill_times(replace(work, divided=False), kernel(wave=1.0)).body_s
    assert whole == pytest.approx(whole_keys)


def test_heads_that_share_keys_go_past_them_together_or_each_by_itself() -> None:
    # 64 heads share one head of keys on one core: one reading, or 64
    work = replace(ATTENTION, queries=1, heads=64, kv_heads=1, cores=1, core_rate=1e18)
    read = 2 * 128 * 64 * 2 / 1e12
    times = kernel(operands=1.0, reduction="1 s", unit="3 us", group="1 us", single=0.5)
    assert decode_times(work, times).body_s == pytest.approx(read + 9e-6)  # 3 + log2(64)
    apart = decode_times(replace(work, packed=32), times).body_s
    assert apart == pytest.approx(64 * (read + 1.5e-6))
    assert decode_times(replace(work, packed=64), times).body_s == pytest.approx(read + 9e-6)


def test_decode_takes_the_longer_of_arithmetic_and_reading() -> None:
    # 20 heads are padded to 32 rows: 128 keys x 2 x 32 x 64 MACs
    work = replace(ATTENTION, queries=1, heads=20, kv_heads=1, cores=1, core_bytes=1e18)
    found = decode_times(work, kernel(reduction="1 s")).body_s
    assert found == pytest.approx(128 * 2 * 32 * 64e-12)


def test_rows_that_do_not_fit_are_read_again() -> None:
    assert missed(ROWS, kernel()) == pytest.approx(0.5)  # two rows fill the cache exactly
    assert missed(replace(ROWS, row_bytes=64), kernel()) < 0.01
    assert row_times(ROWS, kernel()).body_s == pytest.approx(4e-6 + 2 * 2e-6 * 0.5)


def test_no_kernel_is_faster_than_its_bytes() -> None:
    work = replace(PRODUCT, dram_s=1e-3)
    assert product_times(work, kernel(), matrix=True).body_s >= 1e-3
    assert decode_times(replace(ATTENTION, dram_s=1e-3), kernel()).body_s >= 1e-3


SIZES = st.integers(1, 5000)


@given(st.lists(st.tuples(SIZES, SIZES, SIZES, st.integers(1, 20)), min_size=1, max_size=5))
def test_arrays_give_what_numbers_give(shapes: list[tuple[int, int, int, int]]) -> None:
    params = kernel(
        arithmetic=0.8, operands=1.0, overlap_exponent=2.0, wave=0.4, start="300 ns", tile=0.2,
        depth="2 ns", reduction="2 us", write=0.4, sustained=0.9, batched=0.3, ramp="1 us",
    )  # fmt: skip
    base = replace(PRODUCT, cores=100, core_bytes=1e11, dram_s=3e-6, cached_s=1e-6, write_s=1e-6)
    works = [replace(base, m=m, n=n, k=k, batch=b) for m, n, k, b in shapes]
    columns: dict[str, Any] = {
        f.name: np.array([getattr(w, f.name) for w in works]) for f in fields(Product)
    }
    for matrix in (True, False):
        together = product_times(Product(**columns), params, matrix=matrix).body_s
        alone = [product_times(w, params, matrix=matrix).body_s for w in works]
        np.testing.assert_allclose(together, alone, rtol=1e-12)


@given(st.lists(st.tuples(SIZES, SIZES, st.integers(1, 64)), min_size=1, max_size=5))
def test_attention_of_arrays_is_that_of_numbers(shapes: list[tuple[int, int, int]]) -> None:
    params = kernel(
        operands=1.0, overlap_exponent=2.0, wave=0.4, unit="2 us", group="1 us", single=0.5,
        depth="2 ns", reduction="2 us", write=0.4, serial=0.5, ramp="1 us",
    )  # fmt: skip
    base = replace(ATTENTION, causal=True, divided=True, packed=8, cores=100, core_bytes=1e11)
    works = [
        replace(base, queries=q, keys=q + e, earlier=e, heads=4 * h, kv_heads=4)
        for q, e, h in shapes
    ]
    columns: dict[str, Any] = {
        f.name: np.array([getattr(w, f.name) for w in works]) for f in fields(Attention)
    }
    for times in (prefill_times, decode_times):
        together = times(Attention(**columns), params).body_s
        alone = [times(w, params).body_s for w in works]
        np.testing.assert_allclose(together, alone, rtol=1e-12)


@given(SIZES, SIZES, SIZES)
def test_a_product_is_no_faster_than_its_operations(m: int, n: int, k: int) -> None:
    work = replace(PRODUCT, m=m, n=n, k=k, cores=10)
    assert product_times(work, kernel(), matrix=True).body_s >= m * n * k / 1e13 * (1 - 1e-12)
