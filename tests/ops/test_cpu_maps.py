"""The CPU engine's passes around the neurons: sums of rows, currents spike by spike, standardised weights."""

import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnbook import ops
from snnbook.events import Convolution, FullyConnected, currents
from snnbook.ops import reference

from ..conftest import relative

pytest.importorskip("numba")
from numba import errors, njit

from snnbook.ops.cpu import sparse, tuning  # needs Numba
from snnbook.ops.cpu.llvm_rows import LINE, WORD, add_rows, aligned, raised, trailing_zeros, turn
from snnbook.ops.cpu.llvm_windows import pool, share


@njit
def add_by_rows(total, at, source, shift, offsets, factors, first, last, length):
    add_rows(total, at, source, shift, offsets, factors, first, last, length)


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
    add_by_rows(total, at, source, shift, offsets, factors, 1, number + 1, length)
    np.testing.assert_allclose(total, want, rtol=0, atol=1e-5 if kind == "f" else 1e-13)


@njit
def pool_and_share(pooled, grad, sums, windows, channels, window, wide):
    pool(pooled, sums, windows, channels, window)
    share(grad, sums, windows, channels, window, wide)


@given(st.integers(0, 5), st.integers(1, 40), st.integers(1, 4), st.sampled_from("fd"))
def test_windows_are_pooled_and_shared_and_nothing_beside_them(windows, channels, window, kind):
    rng = np.random.default_rng(windows * 100 + channels)
    length = windows * channels
    sums = rng.integers(0, 3, length * window + 20).astype(kind)
    pooled, wide = np.full(length + 20, -1, kind), np.full(len(sums), -1, kind)
    grad = rng.standard_normal(len(pooled)).astype(kind)
    pool_and_share(pooled, grad, sums, windows, channels, window, wide)
    want = sums[: length * window].reshape(windows, window, channels).sum(1)
    np.testing.assert_array_equal(pooled[:length], want.ravel())
    each = np.where(want > 0, grad[:length].reshape(want.shape) / np.maximum(want, 1), 0).astype(kind)
    np.testing.assert_array_equal(wide[: length * window], np.repeat(each[:, None], window, 1).ravel())
    assert (pooled[length:] == -1).all()
    assert (wide[length * window :] == -1).all()


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


def test_processors_without_masked_loads_add_the_same():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "nothing_beside_them"]
    done = subprocess.run(command, env=os.environ | {"NUMBA_CPU_NAME": "generic"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@njit
def positions(flags, at):
    """Where flags are raised from `at` on, lowest first, as the event-driven backward walks over them."""
    found, word = [], raised(flags, at)
    while word:
        found.append(trailing_zeros(word))
        word &= word - np.uint64(1)
    return found


@given(st.lists(st.sampled_from([0, 1, 255]), min_size=WORD + 9, max_size=WORD + 9), st.integers(0, 9))
def test_flags_are_read_as_the_bits_of_one_word(flags, at):
    flags = np.array(flags, np.uint8)
    assert list(positions(flags, at)) == np.flatnonzero(flags[at : at + WORD]).tolist()


@pytest.mark.parametrize("flags", [np.ones(WORD, np.int64), np.ones(2 * WORD, np.uint8)[::2]], ids=["wide", "strided"])
def test_flags_other_than_contiguous_bytes_are_refused(flags):
    with pytest.raises(errors.TypingError):
        positions(flags, 0)


def few_entries(shape, share, dtype=torch.float32):
    """Quarters and zeros, as pooling leaves them; memory has channels last."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randint(1, 5, shape, generator=generator).to(dtype) / 4
    x = values * (torch.rand(shape, generator=generator) < share)
    return x.movedim(2, -1).contiguous().movedim(-1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("shape", "size", "padding"),
    [
        ((3, 2, 8, 7, 9), (5, 8, 3, 3), 0),
        ((2, 3, 9, 6, 5), (7, 9, 5, 5), 2),
        ((1, 1, 32, 14, 14), (64, 32, 5, 5), 4),
        ((2, 1, 70, 5, 4), (48, 70, 3, 3), 1),  # weights too many for one block, in float64
        ((2, 1, 40, 6, 7), (68, 40, 5, 5), 2),  # in both
        ((2, 2, 8, 3, 3), (4, 8, 3, 3), 0),  # one place
        ((2, 2, 8, 4, 4), (4, 8, 1, 1), 0),
    ],
)
def test_currents_of_few_spikes_equal_the_dense_product(shape, size, padding, dtype, monkeypatch):
    monkeypatch.setattr(tuning, "INPUT_LIMIT", float("inf"))
    x, weight = few_entries(shape, 0.2, dtype), torch.randn(size, dtype=dtype)
    want = currents(x, weight, Convolution(padding), "reference")
    row = size[1] * math.ceil(size[0] * size[2] / 16) * 16 * weight.itemsize
    for together in (0, 2 * row, 2**30):  # one row of the kernel, two (of half the outputs more), all
        monkeypatch.setattr(tuning, "ROWS_BYTES", together)
        got = sparse.currents(x, weight, padding)
        assert relative(got, want) < (2e-6 if dtype == torch.float32 else 1e-14)


def test_currents_are_made_spike_by_spike_where_inputs_are_few():
    weight = torch.randn(16, 8, 3, 3)
    few, many = few_entries((4, 5, 8, 9, 9), 0.1), few_entries((4, 5, 8, 9, 9), 0.6)
    assert sparse.currents(few, weight, 1) is not None
    assert sparse.currents(many, weight, 1) is None
    assert sparse.currents(few, weight, 3) is None  # padding beyond the kernel's reach
    assert sparse.currents(few, weight[:, :, :1], 0) is None  # a kernel that is not square
    assert sparse.currents(few[:, :, :7], weight[:, :7], 1) is None  # narrow
    flat, connected = few_entries((4, 5, 8, 9, 9), 0.3).flatten(2), torch.randn(1280, 8 * 81)
    assert sparse.currents(flat, connected, 0) is not None
    assert sparse.currents(many.flatten(2), connected, 0) is None
    assert sparse.currents(flat, connected[:640], 0) is None  # the fewer outputs, the lower the limit
    assert sparse.currents(few.flatten(2), connected[:640], 0) is not None
    assert sparse.currents(0 * flat, connected[: tuning.FEWEST], 0) is None


def test_a_layer_uses_them(monkeypatch):
    x, weight = few_entries((4, 5, 8, 9, 9), 0.1), torch.randn(16, 8, 3, 3)
    monkeypatch.setattr(Convolution, "current", lambda *_: pytest.fail("went the dense way"))
    assert currents(x, weight, Convolution(1), "cpu").shape == (4, 5, 16, 9, 9)
    monkeypatch.undo()
    repeated = x[:1].expand(x.shape)
    monkeypatch.setattr(sparse, "currents", lambda *_: pytest.fail("repeated input went event by event"))
    assert currents(repeated, weight, Convolution(1), "cpu").stride(0) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 9), (3, 25), (64, 801), (10, 1024)])
def test_standardised_weights_equal_the_reference(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    weight, grad = (torch.randn(shape, generator=generator, dtype=dtype) * 0.1 + 0.3 for _ in range(2))
    gamma, beta = (torch.rand(shape[0], generator=generator, dtype=dtype) + 0.5 for _ in range(2))
    wanted = reference.standardise(weight, gamma, beta)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for ours, theirs in zip(ops.get("cpu").standardise(weight, gamma, beta), wanted, strict=True):
        assert relative(ours, theirs) < tolerance
    for strided in (grad, grad.T.contiguous().T):
        ours = ops.get("cpu").standardise_backward(strided, weight, gamma, *wanted[1:])
        for one, other in zip(ours, reference.standardise_backward(grad, weight, gamma, *wanted[1:]), strict=True):
            assert relative(one, other) < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inputs", [1, 128, 300])
@pytest.mark.parametrize("outputs", [64, 70, 150])
def test_fully_connected_currents_of_few_spikes_equal_the_dense_product(inputs, outputs, dtype, monkeypatch):
    monkeypatch.setattr(tuning, "INPUT_LIMIT", float("inf"))
    monkeypatch.setattr(tuning, "FEWEST", 0)
    x, weight = few_entries((3, 5, inputs), 0.3, dtype), torch.randn(outputs, inputs, dtype=dtype)
    x[1] = 0
    x[2, 4] = 1
    got = sparse.currents(x, weight, 0)
    assert got.shape == (3, 5, outputs)
    assert relative(got, currents(x, weight, FullyConnected(), "reference")) < (
        2e-6 if dtype == torch.float32 else 1e-14
    )


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 9), st.sampled_from("fd"))
def test_a_part_of_a_matrix_is_transposed_and_nothing_beside_it(rows, columns, start, kind):
    stride, width = columns + start, rows + 3
    source = np.random.default_rng(rows * 50 + columns).standard_normal(start + rows * stride).astype(kind)
    total = np.zeros(columns * width, kind)
    turn(source, start, stride, rows, columns, total, width)
    want = np.lib.stride_tricks.as_strided(source[start:], (rows, columns), (stride * source.itemsize, source.itemsize))
    np.testing.assert_array_equal(total.reshape(columns, width)[:, :rows], want.T)
    assert not total.reshape(columns, width)[:, rows:].any()


@pytest.mark.parametrize("kind", "fd")
def test_scratch_begins_on_a_cache_line(kind):
    for length in range(1, 40):
        scratch = aligned(length, np.empty(0, kind))
        assert (len(scratch), scratch.dtype, scratch.ctypes.data % LINE) == (length, np.dtype(kind), 0)
