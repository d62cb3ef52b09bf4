"""The CPU engine's inner loops in LLVM's own terms against NumPy, and against their plain twins to the bit."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")
from numba import njit

from snnbook.ops.cpu import llvm_products, llvm_rows, llvm_windows, plain, tuning  # needs Numba
from snnbook.ops.cpu.groups import Extent, Walk
from snnbook.ops.cpu.memory import LANES


@njit
def add_by_rows(total, at, source, shift, offsets, factors, first, last, length):
    llvm_rows.add_rows(total, at, source, shift, offsets, factors, first, last, length)


@given(st.integers(0, 700), st.integers(0, 9), st.integers(0, 40), st.integers(0, 7), st.sampled_from("fd"))
def test_rows_are_added_and_nothing_beside_them(length, number, at, shift, kind):
    rng = np.random.default_rng(length * 10 + number)
    source = rng.standard_normal(1300).astype(kind)
    total = rng.standard_normal(at + length + 40).astype(kind)
    offsets = rng.integers(0, 1300 - length - shift, number + 3) if number else np.zeros(3, np.int64)
    factors = rng.standard_normal(number + 3).astype(kind)
    factors[:1], factors[number + 1 :] = np.nan, np.nan  # before the first and from the last on nothing is read
    want = total.astype(float)
    for offset, factor in zip(offsets[1 : number + 1], factors[1 : number + 1], strict=True):
        want[at : at + length] += float(factor) * source[offset + shift : offset + shift + length]
    twin = total.copy()
    add_by_rows(total, at, source, shift, offsets, factors, 1, number + 1, length)
    plain.add_rows(twin, at, source, shift, offsets, factors, 1, number + 1, length)
    np.testing.assert_allclose(total, want, rtol=0, atol=1e-5 if kind == "f" else 1e-13)
    np.testing.assert_array_equal(total, twin)


@njit
def pool_and_share(pooled, grad, sums, windows, channels, window, wide):
    llvm_windows.pool(pooled, sums, windows, channels, window)
    llvm_windows.share(grad, sums, windows, channels, window, wide)


@given(st.integers(0, 5), st.integers(1, 40), st.integers(1, 4), st.sampled_from("fd"))
def test_windows_are_pooled_and_shared_and_nothing_beside_them(windows, channels, window, kind):
    rng = np.random.default_rng(windows * 100 + channels)
    length = windows * channels
    sums = rng.integers(0, 3, length * window + 20).astype(kind)
    pooled, wide = np.full(length + 20, -1, kind), np.full(len(sums), -1, kind)
    grad = rng.standard_normal(len(pooled)).astype(kind)
    twins = pooled.copy(), wide.copy()
    pool_and_share(pooled, grad, sums, windows, channels, window, wide)
    plain.pool(twins[0], sums, windows, channels, window)
    plain.share(grad, sums, windows, channels, window, twins[1])
    want = sums[: length * window].reshape(windows, window, channels).sum(1)
    np.testing.assert_array_equal(pooled[:length], want.ravel())
    each = np.where(want > 0, grad[:length].reshape(want.shape) / np.maximum(want, 1), 0).astype(kind)
    np.testing.assert_array_equal(wide[: length * window], np.repeat(each[:, None], window, 1).ravel())
    assert (pooled[length:] == -1).all()
    assert (wide[length * window :] == -1).all()
    np.testing.assert_array_equal(pooled, twins[0])
    np.testing.assert_array_equal(wide, twins[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    rows=st.integers(1, 3), entries=st.integers(1, 4), sums=st.integers(1, 2 * tuning.WIDE_SUMS + 1),
    lanes=st.integers(1, LANES), spare=st.integers(0, 2), steps=st.tuples(*[st.integers(0, 5)] * 5),
)  # fmt: skip
def test_products_are_added_and_nothing_beside_them(rows, entries, sums, lanes, spare, steps, dtype):
    step, row, along, line, across = steps
    dice, apart = np.random.default_rng(0), lanes + spare
    reach = 4 * 5 + LANES
    vectors, factors = dice.random(reach + 20).astype(dtype), dice.random(reach + 5 * sums).astype(dtype)
    total = dice.random(apart * sums + 8).astype(dtype)
    want = total.astype(np.float64)
    for p in range(sums):
        for r in range(rows):
            for j in range(entries):
                place = 1 + r * row + j * step
                by = factors[2 + r * line + j * along + p * across]
                want[3 + p * apart : 3 + p * apart + lanes] += vectors[place : place + lanes].astype(np.float64) * by
    got, twin = total.copy(), total.copy()
    for array, add_products in ((got, llvm_products.add_products), (twin, plain.add_products)):
        add_products(
            Walk(array, 3, 0, 0, apart),
            Walk(vectors, 1, step, row, 0),
            Walk(factors, 2, along, line, across),
            Extent(rows, entries, sums, lanes),
        )
    np.testing.assert_allclose(got, want, rtol=1e-6 if dtype == np.float32 else 1e-14)
    np.testing.assert_array_equal(got, twin)
    untouched = np.ones(len(total), bool)
    for p in range(sums):
        untouched[3 + p * apart : 3 + p * apart + lanes] = False
    assert np.array_equal(got[untouched], total[untouched])


def test_functions_of_ours_belong_to_one_module():
    """A common one would be that of whichever module was loaded first, from a cache of older sources for instance."""
    total, source, offsets = np.zeros(4), np.ones(4), np.zeros(2, np.int64)
    add_by_rows(total, 0, source, 0, offsets, np.ones(2), 0, 2, 4)
    pool_and_share(total, total, source, 1, 4, 1, total)
    for function, names in ((add_by_rows, ["add_rows"]), (pool_and_share, ["pool", "share"])):
        code = "".join(function.inspect_llvm().values())
        for name in names:
            found = re.findall(rf"^define (.*)@snnbook_{name}_", code, re.MULTILINE)
            assert found
            assert all("internal" in words for words in found)


def test_processors_without_wide_vectors_and_masked_loads_add_the_same():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "nothing_beside_them"]
    done = subprocess.run(command, env=os.environ | {"NUMBA_CPU_NAME": "generic"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


LAYERS = """
import hashlib

import torch
from snnbook import NeuronParameters, ops
from snnbook.events import Convolution, FullyConnected, spiking_affine
from snnbook.ops.cpu import inner_loops, tuning

tuning.EVENT_LIMIT = tuning.INPUT_LIMIT = float("inf")
tuning.FEWEST = 0
digest = hashlib.sha256()
for shape, size, padding, window in (
    ((1, 2, 1, 11, 9), (15, 1, 5, 5), 1, 2),
    ((1, 2, 3, 8, 7), (33, 3, 3, 3), 1, 3),
    ((5, 2, 9, 10, 7), (17, 9, 3, 3), 2, 2),
    ((5, 2, 8, 5, 5), (64, 8, 3, 3), 0, 1),
    ((5, 3, 301), (70, 301), 0, 1),
):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-4, 5, shape, generator=generator).clamp(min=0) / 4
    weight = torch.randn(size, generator=generator).requires_grad_()
    x = x.expand(5, *shape[1:]) if len(x) == 1 else x.requires_grad_()
    affine = Convolution(padding) if weight.dim() == 4 else FullyConnected()
    threshold = torch.rand(size[0], generator=generator) + 0.2
    spikes, _ = spiking_affine(x, weight, threshold, affine, NeuronParameters(), window, "cpu")
    assert spikes.any()
    (spikes * torch.randn(spikes.shape, generator=generator)).sum().backward()
    for tensor in (spikes, weight.grad, x.grad):
        if tensor is not None:
            assert tensor.any()
            digest.update(tensor.detach().numpy().tobytes())
print(inner_loops.add_rows.__module__, digest.hexdigest())
"""
"""First layers, convolutions and a fully connected map, forward and backward, on sizes that fill no vector."""


def test_the_switch_gives_whole_layers_the_plain_loops_and_the_same_bits():
    found = {}
    for switch in ("0", "1"):
        environment = os.environ | {"SNNBOOK_PLAIN_LOOPS": switch, "OMP_NUM_THREADS": "2"}
        done = subprocess.run([sys.executable, "-c", LAYERS], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found[switch] = done.stdout.split()
    assert [name for name, _ in found.values()] == ["snnbook.ops.cpu.llvm_rows", "snnbook.ops.cpu.plain"]
    assert found["0"][1] == found["1"][1]
