"""The CPU engine's first layers against torch's dense products in double precision."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from snnbook import NeuronParameters, events, experiments, ops
from snnbook.errors import UserError
from snnbook.events import Convolution, spiking_affine
from snnbook.layers import SpikingConv2d

from ..conftest import relative

pytest.importorskip("numba")
from numba import njit

from snnbook.ops import affine
from snnbook.ops.cpu import images  # needs Numba
from snnbook.ops.cpu.images import add_products
from snnbook.ops.cpu.llvm_rows import LANES
from snnbook.ops.cpu.tuning import WIDE_SUMS

ACCURACY = {torch.float32: 2e-6, torch.float64: 1e-14}

LAYERS = {
    "mnist": ((4, 1, 28, 28), (15, 1, 5, 5), 0, 2),
    "fashion_mnist": ((3, 1, 28, 28), (32, 1, 5, 5), 2, 2),
    "two colours, ragged windows": ((2, 2, 11, 9), (12, 2, 5, 5), 1, 2),
    "three colours, 64 outputs": ((2, 3, 8, 7), (64, 3, 3, 3), 1, 1),
    "seven channels": ((3, 7, 6, 6), (17, 7, 3, 3), 2, 3),
    "one entry": ((2, 1, 5, 40), (1, 1, 1, 1), 0, 1),
    "one place": ((2, 1, 3, 3), (16, 1, 3, 3), 0, 1),
}
"""Shapes of image (N, C, H, W) and weight, padding, pooling window."""


def layer(name, dtype):
    shape, size, padding, window = LAYERS[name]
    generator = torch.Generator().manual_seed(0)
    image, weight = (torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in (shape, size))
    return image, weight, padding, window, generator


@pytest.mark.parametrize("dtype", ACCURACY)
@pytest.mark.parametrize("name", LAYERS)
def test_currents_are_those_of_the_dense_product(name, dtype, poisoned_memory):
    image, weight, padding, *_ = layer(name, dtype)
    for x in (image[None], image.expand(3, *image.shape) * torch.arange(1, 4).view(3, 1, 1, 1, 1)):
        got = images.currents(x, weight, padding)
        want = F.conv2d(x.flatten(0, 1).double(), weight.double(), padding=padding).unflatten(0, x.shape[:2])
        assert got.dtype == dtype
        assert relative(got.double(), want) < ACCURACY[dtype]


@pytest.mark.parametrize("neuron", [NeuronParameters(), NeuronParameters(leaky=False)], ids=["leaky", "nonleaky"])
@pytest.mark.parametrize("dtype", ACCURACY)
@pytest.mark.parametrize("name", LAYERS)
def test_the_weights_gradient_is_the_dense_one(name, dtype, neuron, poisoned_memory):
    image, weight, padding, window, generator = layer(name, dtype)
    current = images.currents(image[None], weight, padding).expand(5, -1, -1, -1, -1)
    threshold = torch.rand(len(weight), generator=generator, dtype=dtype) + 0.2
    spikes, saved = ops.get("cpu").pooled_forward(current, threshold, neuron, window)
    e = torch.randn(spikes.shape, generator=generator, dtype=dtype)
    _, got = images.backward(e, saved, image[None], weight, padding)
    _, dense = ops.get("cpu").pooled_backward(e, saved, sum_weight=True)
    want = conv2d_weight(image.double(), weight.shape, dense[0].double(), padding=padding)
    assert got.dtype == dtype
    assert want.abs().max() > 0
    assert relative(got.double(), want) < ACCURACY[dtype]


def test_layers_go_this_way_and_agree_with_the_reference(monkeypatch):
    """From one image for all steps: forward, and back to the weight alone."""
    image, weight, padding, window, generator = layer("fashion_mnist", torch.float64)
    threshold = torch.rand(len(weight), generator=generator, dtype=torch.float64) + 0.2
    results = {}
    for engine in ("reference", "cpu"):
        w = weight.clone().requires_grad_()
        x = image.expand(5, -1, -1, -1, -1)
        spikes, _ = spiking_affine(x, w, threshold, Convolution(padding), NeuronParameters(), window, engine)
        if engine == "cpu":  # neither product is torch's
            monkeypatch.setattr(affine, "conv2d_weight", None)
        (spikes * torch.linspace(-1, 1, spikes.numel(), dtype=torch.float64).view_as(spikes)).sum().backward()
        results[engine] = spikes.detach(), w.grad
        monkeypatch.setattr(affine.F, "conv2d", None)
    assert torch.equal(results["cpu"][0], results["reference"][0])
    assert relative(results["cpu"][1], results["reference"][1]) < 1e-12


@pytest.mark.parametrize(
    ("weight", "padding"),
    [((128, 3, 3, 3), 1), ((16, 8, 3, 3), 1), ((16, 1, 3, 5), 1), ((16, 1, 3, 3), 3), ((10, 5), 0)],
    ids=["many outputs", "many inputs", "not square", "more padding than reaches", "no map"],
)
def test_other_layers_are_left_to_others(weight, padding):
    x = torch.zeros(1, 2, weight[1], 6, 6) if len(weight) == 4 else torch.zeros(1, 2, weight[1])
    assert images.currents(x, torch.zeros(weight), padding) is None


def test_an_image_smaller_than_the_kernel_is_refused():
    x, weight = torch.zeros(5, 2, 1, 3, 3), torch.zeros(4, 1, 5, 5)
    assert images.currents(x[:1], weight, 0) is None
    with pytest.raises(UserError, match="is smaller than the kernel"):
        events.currents(x, weight, Convolution(0))


@pytest.mark.parametrize("channels", [(1, 3), (2, 1), (16, 8), (8, 9)])
def test_channels_that_do_not_fit_are_refused(channels):
    given, wanted = channels
    layer = SpikingConv2d(wanted, 4, 3)
    for x in (torch.rand(5, 2, given, 6, 6), torch.rand(2, given, 6, 6).expand(5, -1, -1, -1, -1)):
        with pytest.raises(UserError, match="axis 1 is channels"):
            layer(x)
    for flat in (torch.rand(5, 2, wanted, 6), torch.rand(5, 2, wanted)):
        with pytest.raises(UserError, match="axis 1 is channels"):
            layer(flat)


@pytest.mark.parametrize("channels", [1, 9])
def test_currents_alone_carry_a_gradient(channels):
    layer = SpikingConv2d(channels, 4, 3)
    for x in (torch.rand(5, 2, channels, 6, 6), torch.rand(2, channels, 6, 6).expand(5, -1, -1, -1, -1)):
        layer.current(x).sum().backward()
        assert layer.weight.grad.isfinite().all()
        with torch.no_grad():
            torch.testing.assert_close(layer.current(x), layer.current(x).clone())
            assert not layer.current(x).requires_grad


def test_a_gradient_of_other_steps_or_wanted_for_the_image_goes_the_dense_way():
    x, weight = torch.rand(5, 2, 1, 6, 6), torch.randn(4, 1, 3, 3, requires_grad=True)
    with torch.no_grad():
        _, saved = ops.get("cpu").pooled_forward(images.currents(x, weight, 0), torch.ones(4), NeuronParameters(), 1)
        assert images.backward(torch.ones(5, 2, 4, 4, 4), saved, x[:1], weight, 0) is None
    image = x[:1].clone().requires_grad_()
    one = spiking_affine(image.expand(5, -1, -1, -1, -1), weight, torch.ones(4) / 4, Convolution(0), NeuronParameters())
    one[0].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0


@njit
def summed(
    total, at, apart, vectors, first, step, row, factors, start, along, line, across, rows, count, number, lanes
):
    """`add_products`, compiled."""
    add_products(
        total, at, apart, vectors, first, step, row, factors, start, along, line, across, rows, count, number, lanes
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    rows=st.integers(1, 3), count=st.integers(1, 4), number=st.integers(1, 2 * WIDE_SUMS + 1),
    lanes=st.integers(1, LANES), spare=st.integers(0, 2), steps=st.tuples(*[st.integers(0, 5)] * 5),
)  # fmt: skip
def test_products_are_added_and_nothing_beside_them(rows, count, number, lanes, spare, steps, dtype):
    step, row, along, line, across = steps
    dice, apart = np.random.default_rng(0), lanes + spare
    reach = 4 * 5 + LANES
    vectors, factors = dice.random(reach + 20).astype(dtype), dice.random(reach + 5 * number).astype(dtype)
    total = dice.random(apart * number + 8).astype(dtype)
    want = total.astype(np.float64)
    for p in range(number):
        for r in range(rows):
            for j in range(count):
                place = 1 + r * row + j * step
                by = factors[2 + r * line + j * along + p * across]
                want[3 + p * apart : 3 + p * apart + lanes] += vectors[place : place + lanes].astype(np.float64) * by
    got = total.copy()
    summed(got, 3, apart, vectors, 1, step, row, factors, 2, along, line, across, rows, count, number, lanes)
    np.testing.assert_allclose(got, want, rtol=1e-6 if dtype == np.float32 else 1e-14)
    untouched = np.ones(len(total), bool)
    for p in range(number):
        untouched[3 + p * apart : 3 + p * apart + lanes] = False
    assert np.array_equal(got[untouched], total[untouched])


def test_processors_without_wide_vectors_add_the_same():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "nothing_beside_them"]
    done = subprocess.run(command, env=os.environ | {"NUMBA_CPU_NAME": "generic"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_first_layers_of_our_networks_with_few_outputs_go_this_way():
    for name in ("quick", "mnist", "fashion_mnist", "nmnist"):
        first = experiments.get(name).build_network().spiking[0]
        image = torch.zeros(1, 1, first.weight.shape[1], 34, 34)
        assert images._of_images(image, first.weight, first.affine.padding), name
