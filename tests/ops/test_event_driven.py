"""The event-driven backward of the CPU engine against the dense one of the reference, and when it is chosen."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnbook import NeuronParameters, ops
from snnbook.events import Convolution, FullyConnected, currents, spiking_affine

from ..conftest import relative

pytest.importorskip("numba")
from snnbook.ops.cpu import sparse, tuning  # needs Numba

LAYERS = {
    "pooled": ((5, 3, 9, 10, 12), (6, 9, 5, 5), 2, 2),
    "ragged windows": ((7, 2, 8, 7, 9), (5, 8, 3, 3), 1, 2),
    "a kernel of one row": ((6, 2, 8, 5, 9), (4, 8, 1, 3), 0, 1),
    "no padding": ((9, 1, 8, 5, 6), (3, 8, 3, 3), 0, 1),
    "one step": ((1, 4, 8, 6, 6), (16, 8, 3, 3), 1, 3),
    "one channel": ((10, 3, 1, 12, 12), (5, 1, 5, 5), 0, 2),
    "two channels": ((6, 2, 2, 9, 8), (4, 2, 3, 3), 1, 1),
    "steps in three groups": ((7, 5, 8, 24, 24), (3, 8, 3, 3), 1, 2),
    "each step alone": ((3, 5, 32, 24, 24), (3, 32, 3, 3), 1, 2),
    "connected": ((6, 4, 300), (20, 300), 0, 1),
    "one word of neurons": ((5, 2, 30), (64, 30), 0, 1),
    "a neuron more": ((5, 2, 30), (65, 30), 0, 1),
    "two words": ((5, 2, 30), (128, 30), 0, 1),
    "one image, one neuron": ((17, 1, 8), (1, 8), 0, 1),
}
"""Shapes of input and weight, padding, pooling window."""

NEURONS = {"default": NeuronParameters(), "slow": NeuronParameters(9, 4, 6), "nonleaky": NeuronParameters(leaky=False)}


def layer(name, dtype=torch.float32, seed=0):
    """Input (multiples of a quarter, as pooling leaves them), weight, thresholds, affine map, window."""
    shape, size, padding, window = LAYERS[name]
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-4, 5, shape, generator=generator).clamp(min=0).to(dtype) / 4
    weight = torch.randn(size, generator=generator, dtype=dtype)
    affine = Convolution(padding) if weight.dim() == 4 else FullyConnected()
    return x, weight, torch.rand(size[0], generator=generator, dtype=dtype) * 2 + 0.2, affine, window


@pytest.fixture
def always(monkeypatch):
    """Whatever the rate; and on two threads at most, so that each has several images."""
    monkeypatch.setattr(tuning, "EVENT_LIMIT", float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, 2))
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_dense_reference(name, neuron, dtype, always, poisoned_memory):
    x, weight, threshold, affine, window = layer(name, dtype)
    current = currents(x, weight, affine)
    want, dense = ops.get("reference").pooled_forward(current, threshold, neuron, window)
    assert (want > 0).any()
    e = torch.randn(want.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    timing, by_weight = ops.get("reference").pooled_backward(e, dense)
    flat = x.flatten(0, 1)
    want_x = affine.grad_input(timing.flatten(0, 1), weight, flat.shape).view_as(x) * x
    want_w = affine.grad_weight(by_weight.flatten(0, 1), flat, weight.shape)
    _, saved = ops.get("cpu").pooled_forward(current, threshold, neuron, window)
    e = torch.where(want > 0, e, float("nan"))  # what is not at a spike must never be read
    grad_x, grad_w = sparse.backward(e, saved, x, weight, affine.padding, True)
    assert grad_x.shape == x.shape
    assert grad_w.shape == weight.shape
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert relative(grad_x, want_x) < tolerance
    assert relative(grad_w, want_w) < tolerance
    none, alone = sparse.backward(e, saved, x, weight, affine.padding, False)
    assert none is None
    assert torch.equal(alone, grad_w)


def test_the_layers_compared_hold_neurons_that_fire_more_than_once():
    for name in ("pooled", "ragged windows", "connected"):
        x, weight, threshold, affine, _ = layer(name)
        spikes, _ = ops.forward(currents(x, weight, affine), threshold, NeuronParameters(), "reference")
        assert (spikes.sum(0) > 1).float().mean() > 0.05


@given(st.integers(0, 10_000))
def test_conserves_the_sum(seed):
    """The sum over the input spikes is that over the output spikes whose slope rises. Eq. (eq-conserved)."""
    x, weight, threshold, affine, window = layer("connected", torch.float64, seed)
    current = currents(x, weight, affine)
    spikes, plain = ops.forward(current, threshold, NeuronParameters(), "reference")
    e = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    _, saved = ops.get("cpu").pooled_forward(current, threshold, NeuronParameters(), window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "EVENT_LIMIT", float("inf"))
        grad_x, _ = sparse.backward(e, saved, x, weight, 0, True)
    size = max(1.0, e.abs().sum().item(), grad_x.abs().sum().item())
    assert abs(grad_x.sum() - e[(spikes > 0) & (plain.dg > 0)].sum()) < 1e-8 * size


@pytest.mark.parametrize("name", ["connected", "pooled"])
def test_chosen_where_spikes_are_few_and_the_kernel_allows(name, monkeypatch):
    x, weight, threshold, affine, window = layer(name)

    def way(neuron=None):
        current = currents(x, weight, affine)
        out, saved = ops.get("cpu").pooled_forward(current, threshold, neuron or NeuronParameters(), window)
        return out.mean(), sparse.backward(torch.ones_like(out), saved, x, weight, affine.padding, True)

    share = 1 if name == "pooled" else tuning.FAR_SHARE  # a fully connected layer's limit is the lower one
    monkeypatch.setattr(tuning, "EVENT_LIMIT", (float(way()[0]) + 1e-4) / share)
    assert way()[1] is not None
    assert way(NeuronParameters(kernel="exact"))[1] is None
    monkeypatch.setattr(tuning, "EVENT_LIMIT", (float(way()[0]) - 1e-4) / share)
    assert way()[1] is None
    monkeypatch.setattr(tuning, "NEAR_BYTES", 0)  # and so is that of a convolution whose weights are far away
    monkeypatch.setattr(tuning, "EVENT_LIMIT", (float(way()[0]) + 1e-4) / tuning.FAR_SHARE)
    assert way()[1] is not None
    monkeypatch.setattr(tuning, "EVENT_LIMIT", (float(way()[0]) - 1e-4) / tuning.FAR_SHARE)
    assert way()[1] is None


@pytest.mark.parametrize("name", ["pooled", "connected"])
def test_a_layer_goes_through_it_and_agrees_with_the_reference(name, always, monkeypatch):
    x, weight, threshold, affine, window = layer(name)
    taken = []
    honest = sparse.backward

    def watched(*arguments):
        taken.append(honest(*arguments))
        return taken[-1]

    monkeypatch.setattr(sparse, "backward", watched)
    grads = {}
    for engine in ("reference", "cpu"):
        inputs = x.clone().requires_grad_(), weight.clone().requires_grad_()
        spikes, _ = spiking_affine(*inputs, threshold, affine, NeuronParameters(), window, engine)
        e = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(2))
        grads[engine] = torch.autograd.grad(spikes, inputs, e)
    assert [way is None for way in taken] == [False]
    for ours, theirs in zip(grads["cpu"], grads["reference"], strict=True):
        assert relative(ours, theirs) < 1e-5


def test_an_input_that_repeats_keeps_its_one_dense_product(always, monkeypatch):
    x, weight, threshold, affine, window = layer("connected")
    monkeypatch.setattr(sparse, "backward", lambda *_: pytest.fail("repeated input went event by event"))
    repeated = x[:1].expand(x.shape)
    weight.requires_grad_()
    spikes, _ = spiking_affine(repeated, weight, threshold, affine, NeuronParameters(), window, "cpu")
    spikes.sum().backward()
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["pooled", "connected"])
def test_a_silent_layer_has_zero_gradients(name):
    x, weight, threshold, affine, window = layer(name)
    out, saved = ops.get("cpu").pooled_forward(currents(x, weight, affine), threshold + 1e6, NeuronParameters(), window)
    for grad in sparse.backward(torch.full_like(out, float("nan")), saved, x, weight, affine.padding, True):
        assert torch.equal(grad, torch.zeros_like(grad))
