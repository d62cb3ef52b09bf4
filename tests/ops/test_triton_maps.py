"""The GPU engine's products, in Triton's interpreter: of float32 accuracy, whatever the inputs, in odd shapes too."""

import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from snnbook import NeuronParameters, ops
from snnbook.events import Convolution, FullyConnected, currents, spiking_affine

from ..conftest import relative

pytest.importorskip("triton", reason="the triton engine needs Triton")

from snnbook.ops.triton import maps

ACCURACY = 1e-6
"""Of a float32 sum of a thousand terms, relative to the largest."""

LAYERS = [
    ((3, 2, 32, 7, 7), (64, 32, 5, 5), 2),
    ((1, 5, 64, 8, 6), (96, 64, 3, 3), 0),
    ((2, 3, 96, 3, 9), (32, 96, 3, 3), 2),
    ((2, 2, 288, 3, 3), (32, 288, 1, 1), 0),
    ((2, 2, 32, 3, 3), (32, 32, 3, 3), 0),  # to one place
    ((2, 2, 32, 1, 1), (64, 32, 3, 3), 1),  # from one place
    ((5, 3, 320), (64, 320), 0),
    ((1, 1, 1056), (32, 1056), 0),
]
"""Input (T, N, C_in, ...), weight, padding. With 96 and 288 channels, 64 products end within a tap."""


def drawn(shape, size, kind):
    """Inputs and weights: pooled spikes, which are halves; means over windows of 3 x 3 under dropout; any numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 5, shape, generator=generator) / 4
    x = x / 9 * 10 if kind == "ninths" else torch.randn(shape, generator=generator) if kind == "any" else x
    return x, torch.randn(size, generator=generator), generator


def exact(x, weight, padding, grad):
    """Currents and both gradients in float64."""
    x, weight, grad = x.flatten(0, 1).double(), weight.double(), grad.flatten(0, 1).double()
    if weight.dim() == 2:
        return x @ weight.T, grad @ weight * x, grad.T @ x
    return (
        F.conv2d(x, weight, padding=padding),
        conv2d_input(x.shape, weight, grad, padding=padding) * x,
        conv2d_weight(x, weight.shape, grad, padding=padding),
    )


def products(x, weight, padding, grad):
    """The same by the engine's way."""
    inputs, weights = maps.of_layer(x, weight, padding)
    grad = grad.flatten(0, 1)
    around = weight.shape[-1] - 1 - padding if weight.dim() == 4 else 0
    return (
        maps.current(inputs, weights, grad.shape),
        maps.grad_input(maps.split(grad, True, around), weights, x.flatten(0, 1)),
        maps.grad_weight(maps.split(grad, True), inputs, weight.shape, maps.sides(grad.shape)),
    )


def a_gradient(x, weight, padding, generator, scale=1.0):
    """Of the size given, in the shape of the currents."""
    sides = [side + 2 * padding - weight.shape[2] + 1 for side in x.shape[3:]]
    return torch.randn((*x.shape[:2], len(weight), *sides), generator=generator) * scale


@pytest.mark.parametrize("kind", ["pooled", "ninths", "any"])
@pytest.mark.parametrize(("shape", "size", "padding"), LAYERS)
def test_products_are_as_exact_as_float32(shape, size, padding, kind):
    x, weight, generator = drawn(shape, size, kind)
    grad = a_gradient(x, weight, padding, generator)
    assert maps.fits(x, weight, padding)
    for got, want in zip(products(x, weight, padding, grad), exact(x, weight, padding, grad), strict=True):
        assert got.shape == want.shape
        assert relative(got.double(), want) < ACCURACY


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e-3, 1e4, 1e30])
def test_gradients_and_weights_of_any_size(scale):
    x, weight, generator = drawn((2, 2, 32, 5, 5), (32, 32, 3, 3), "pooled")
    grad = a_gradient(x, weight, 1, generator, scale)
    for got, want in zip(products(x, weight, 1, grad), exact(x, weight, 1, grad), strict=True):
        assert relative(got.double(), want) < ACCURACY
    got, want = products(x, weight * scale, 1, grad / scale)[0], exact(x, weight * scale, 1, grad)[0]
    assert relative(got.double(), want) < ACCURACY


def test_many_shares_are_one_sum(monkeypatch):
    x, weight, generator = drawn((5, 4, 32, 9, 9), (32, 32, 3, 3), "any")
    grad = a_gradient(x, weight, 1, generator)
    monkeypatch.setattr(maps, "SHARE", 1)
    monkeypatch.setattr(maps, "_processors", lambda _: 100)
    assert relative(products(x, weight, 1, grad)[2].double(), exact(x, weight, 1, grad)[2]) < ACCURACY


def test_large_layers_are_cut_up_otherwise(monkeypatch):
    """Where the GPU has the memory for it; with the same results."""
    x, weight, generator = drawn((1, 2, 256, 12, 12), (128, 256, 1, 1), "any")
    grad = a_gradient(x, weight, 0, generator)
    monkeypatch.setattr(maps, "SHARE", 128)
    monkeypatch.setattr(maps, "_processors", lambda _: 1)
    chosen, honest = [], maps._for_size
    monkeypatch.setattr(maps, "_for_size", lambda *a: chosen.append(honest(*a)) or chosen[-1])
    results = []
    for memory in (maps.LARGE_MEMORY, maps.LARGE_MEMORY - 1):
        monkeypatch.setattr(maps, "_shared_memory", lambda _, memory=memory: memory)
        results.append(products(x, weight, 0, grad))
    large, small = [maps.LARGE_CONVOLVE, maps.LARGE_CORRELATE], [maps.CONVOLVE, maps.CORRELATE]
    assert chosen == [large[0], large[0], large[1], small[0], small[0], small[1]]
    for one, other, want in zip(*results, exact(x, weight, 0, grad), strict=True):
        assert relative(one.double(), want) < ACCURACY
        assert relative(other.double(), want) < ACCURACY


def test_nothing_and_what_is_no_number():
    x, weight, generator = drawn((2, 2, 32, 5, 5), (32, 32, 3, 3), "pooled")
    grad = a_gradient(x, weight, 1, generator)
    assert all(not each.any() for each in products(x, weight, 1, torch.zeros_like(grad))[1:])
    assert not products(torch.zeros_like(x), weight, 1, grad)[0].any()
    for broken in (float("nan"), float("inf")):
        grad[0, 0, 0, 0, 0] = broken
        assert all(not each.isfinite().all() for each in products(x, weight, 1, grad)[1:])


@pytest.mark.parametrize("fan", [32, 64, 96, 128, 160, 288, 3136])
def test_no_sum_is_done_in_one_round(fan):
    """Triton 3.6 makes no loop of one round, and then sums of float16 accuracy (on a GPU; its interpreter does not)."""
    for options in (maps.CONVOLVE, maps.CONNECT):
        deep = maps.fitted(options, 32, fan)["DEEP"]
        assert deep in (16, 32, 64)
        assert 2 * deep <= fan


def test_what_fits_and_what_does_not():
    x, weight = torch.zeros(2, 3, 32, 6, 6), torch.zeros(64, 32, 3, 3)
    assert maps.fits(x, weight, 1)
    assert not maps.fits(x, weight, 3)  # padding beyond the kernel's reach
    assert not maps.fits(x, weight[:, :, :2], 1)  # a kernel that is not square
    assert not maps.fits(x, weight[:40], 1)  # channels that blocks do not divide
    assert not maps.fits(x[:, :, :16], weight[:, :16], 1)
    assert not maps.fits(x, weight[:, :, :1, :1], 0)  # few products in a sum
    assert not maps.fits(x[..., :2, :2], weight, 0)  # no output
    assert not maps.fits(torch.zeros(1).expand(2**12, 2**9, 32, 6, 6), weight, 1)  # beyond 32 bits


@pytest.mark.parametrize(("shape", "size", "affine"), [
    ((3, 2, 32, 8, 8), (32, 32, 5, 5), Convolution(2)), ((4, 3, 320), (64, 320), FullyConnected()),
])  # fmt: skip
def test_a_layer_goes_this_way(shape, size, affine, monkeypatch):
    """Forward and backward through a layer are the reference's; what is split once is kept."""
    x, weight, generator = drawn(shape, size, "pooled")
    threshold, neuron = torch.rand(size[0], generator=generator) * 20 + 10, NeuronParameters()
    window = 2 if len(shape) == 5 else 1
    splits, honest = [], maps.split

    def watched(x, *rest):
        splits.append(tuple(x.shape))
        return honest(x, *rest)

    monkeypatch.setattr(maps, "split", watched)
    results = []
    for engine in ("reference", "triton"):
        leaves = [each.clone().requires_grad_() for each in (x, weight)]
        out, _ = spiking_affine(leaves[0], leaves[1], threshold, affine, neuron, window, engine)
        grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        results.append((out.detach(), *torch.autograd.grad(out, leaves, grad)))
    assert len(splits) == 4
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][0].any()
    for want, got in zip(*results, strict=True):
        assert relative(got, want) < 1e-5
    current = currents(x, weight, affine, "triton")
    engine = ops.get("triton")
    _, saved = engine.pooled_forward(current, threshold, neuron, window)
    grads = engine.layer_backward(grad, saved, x, weight, ops.Layer(affine, neuron, window), True, True)  # nothing kept
    for want, got in zip(results[0][1:], grads, strict=True):
        assert relative(got, want) < 1e-5


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from snnbook.ops.triton import halves as kernels, maps

HALF, FLOAT, BITS = "*fp16", "*fp32", "*i32"
POINTERS = {"halves": HALF, "weight": HALF, "grad": HALF, "factor": FLOAT, "parts": FLOAT, "x": FLOAT, "out": FLOAT,
            "scale_x": BITS, "scale_w": BITS, "scale": BITS, "more": BITS, "largest": BITS}
EVEN = {"pixels", "rows", "channels", "share"}  # those that Triton finds to be multiples of 16 when it is called
MAP, FLAT = {"SIDE": 5, "HEIGHT": 14, "WIDTH": 14}, {"SIDE": 1, "HEIGHT": 1, "WIDTH": 1}
LARGE = {"SIDE": 3, "HEIGHT": 16, "WIDTH": 16, "CHANNELS": 256}
CASES = [
    ("convolve", MAP | {"BACK": False, "CHANNELS": 32}, maps.fitted(maps.CONVOLVE, 64)),
    ("convolve", MAP | {"BACK": True, "CHANNELS": 64}, maps.fitted(maps.CONVOLVE, 32)),
    ("convolve", FLAT | {"BACK": False, "CHANNELS": 3136}, maps.fitted(maps.CONNECT, 1024)),
    ("convolve", FLAT | {"BACK": True, "CHANNELS": 1024}, maps.fitted(maps.CONNECT, 3136)),
    ("correlate", MAP | {"CHANNELS": 32}, maps.fitted(maps.CORRELATE, 64)),
    ("correlate", FLAT | {"CHANNELS": 3136}, maps.fitted(maps.CORRELATE, 1024)),
    ("convolve", LARGE | {"BACK": False}, maps.fitted(maps.LARGE_CONVOLVE, 256)),
    ("convolve", LARGE | {"BACK": True}, maps.fitted(maps.LARGE_CONVOLVE, 256)),
    ("correlate", LARGE, maps.fitted(maps.LARGE_CORRELATE, 256)),
    ("split", {"SCALED": True, "ROWS": 32, "WIDE": 32}, {}),
    ("split", {"SCALED": True, "ROWS": 32, "WIDE": 128}, {"num_warps": 8}),
    ("split", {"SCALED": False, "ROWS": 1, "WIDE": 4096}, {}),
    ("largest", {"WIDE": 4096}, {}),
    ("collect", {"WIDE": 1024}, {}),
]
for name, settings, cut in CASES:
    kernel, signature, constants, multiples = getattr(kernels, name), {}, {}, {}
    launch = {key: value for key, value in cut.items() if key.startswith("num_")}
    settings = settings | {key: value for key, value in cut.items() if key not in launch}
    for place, argument in enumerate(kernel.arg_names):
        if argument in settings:
            signature[argument], constants[(place,)] = "constexpr", settings[argument]
            continue
        signature[argument] = POINTERS.get(argument, "i32") if (name, argument) != ("largest", "out") else BITS
        if argument in POINTERS or argument in EVEN:
            multiples[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, multiples)
    made = triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32), options=launch)
    text = made.asm["ptx"]
    most = maps.LARGE_MEMORY if settings.items() >= LARGE.items() else 99 * 1024
    assert made.asm["cubin"] and made.metadata.shared <= most, (name, made.metadata.shared)
    if name in ("convolve", "correlate"):
        unit = "wgmma.mma_async" if sys.argv[1] == "90" else "mma.sync"
        assert unit in text, f"{name} does not use the matrix units"
        assert ", 0x10, " in text and "cp.async" in text, f"{name} does not load 16 bytes at a time, ahead"
    print(name, made.metadata.shared)
"""


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 86, 90], ids=["A100", "A10", "H100"])
def test_compiles_ahead_of_time(capability):
    """Every kernel, as the layers of Fashion-MNIST and large ones call it, to machine code of a GPU that is not here.

    Each fits into 99 KiB of shared memory, which is what the smaller GPUs have, or where it is chosen for large layers
    into what is asked for then.
    """
    environment = os.environ | {"TRITON_INTERPRET": "0"}  # in a process of its own: this one interprets
    command = [sys.executable, "-c", COMPILE, str(capability)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 14
