"""Layers behave as torch's own: reading writes nothing, passes may overlap, and threads may share a network."""

import copy
import math
import threading
import warnings

import pytest
import torch
from torch import nn

from snnbook import layers, losses, networks
from snnbook.errors import UserError

from .test_gradient_kinds import LABELS, images

LOSS = losses.get("enhanced_counting")


@pytest.fixture(params=["reference", "cpu"])
def engine(request):
    """Those of a processor: in the interpreter the GPU's engine would take minutes for these tests."""
    if request.param == "cpu":
        pytest.importorskip("numba")
    return request.param


def trained(engine="auto", seed=0):
    """A network after one step of its optimiser, so that gamma is not 1 and some raw weights lie beyond the bound."""
    torch.manual_seed(seed)
    net = networks.build("8C3-P2-32", (1, 8, 8), 3, padding=1, engine=engine)
    net.initialise(images(), 0.6)
    LOSS(net(images(), labels=LABELS)[0], LABELS).backward()
    torch.optim.Adam(net.parameters(), lr=0.05).step()
    with torch.no_grad():
        net.spiking[1].weight[0, 0] = 5.0
    assert not bool((net.spiking[0].gamma == 1).all())
    net.zero_grad()
    return net


def state(net):
    return {name: (value.clone(), value._version) for name, value in (*net.named_parameters(), *net.named_buffers())}


def same_state(net, before):
    """Values to the bit, and nothing was written."""
    after = state(net)
    return all(torch.equal(after[name][0], value) and after[name][1] == v for name, (value, v) in before.items())


def gradients(net):
    return {name: parameter.grad.clone() for name, parameter in net.named_parameters()}


@pytest.mark.parametrize("mode", ["eval", "no_grad", "eval and no_grad", "inference"])
def test_reading_writes_nothing(mode, engine):
    net = trained(engine)
    folded = copy.deepcopy(net)
    folded.fold()
    before = state(net)
    if "eval" in mode:
        net.eval()
    if mode == "inference":
        with torch.inference_mode():
            spikes = net(images()).clone()
    else:
        with torch.set_grad_enabled(mode == "eval"):
            spikes = net(images())
    assert same_state(net, before)
    assert spikes.any()
    with torch.no_grad():
        assert torch.equal(spikes, folded(images())), "as after folding, to the bit"


def test_training_folds():
    net = trained()
    net(images(), labels=LABELS)
    assert all(bool((layer.gamma == 1).all()) for layer in net.spiking)
    assert net.spiking[1].weight.max() <= layers.WEIGHT_BOUND


def test_gradients_in_evaluation_mode_are_those_of_gamma_as_it_is(engine):
    """Where no slope is bounded: those of the folded layer over gamma."""
    net = trained(engine)
    gammas = [layer.gamma.detach().clone() for layer in net.spiking]
    net.eval()
    LOSS(net(images()), LABELS).backward()
    unfolded = gradients(net)
    net.zero_grad()
    net.fold()
    LOSS(net(images()), LABELS).backward()
    folded = gradients(net)
    for number, layer in enumerate(net.spiking):
        name = next(name for name, parameter in net.named_parameters() if parameter is layer.gamma)
        torch.testing.assert_close(unfolded[name], folded[name] / gammas[number], rtol=1e-4, atol=1e-6)


def overlapping(net, between):
    """The gradients of two passes with one backward, and something in between."""
    first = net(images()[:15], labels=LABELS[:15])[0]
    between(net)
    second = net(images()[15:], labels=LABELS[15:])[0]
    between(net)
    (LOSS(first, LABELS[:15]) + LOSS(second, LABELS[15:])).backward()
    return gradients(net)


def validate(net):
    net.eval()
    with torch.no_grad():
        net(images())
    net.train()


@pytest.mark.parametrize("between", [lambda net: None, validate, lambda net: net(images())])
@pytest.mark.parametrize("fresh", [True, False])
def test_two_passes_before_one_backward(between, fresh, engine):
    net = trained(engine)
    if fresh:
        net.fold()
    other = copy.deepcopy(net)
    wanted = {name: torch.zeros_like(parameter) for name, parameter in other.named_parameters()}
    for rows in (slice(0, 15), slice(15, 30)):
        other.zero_grad()
        LOSS(other(images()[rows], labels=LABELS[rows])[0], LABELS[rows]).backward()
        for name, grad in gradients(other).items():
            wanted[name] += grad
    for name, grad in overlapping(net, between).items():
        torch.testing.assert_close(grad, wanted[name], rtol=1e-5, atol=1e-6)


def test_a_layer_that_is_used_twice(engine):
    torch.manual_seed(0)
    shared = layers.SpikingLinear(64, 8, engine=engine)
    top = layers.SpikingLinear(16, 3, engine=engine)
    with torch.no_grad():
        shared.threshold.fill_(0.3)
        shared.gamma.uniform_(0.5, 2)
        top.threshold.fill_(0.3)
    x = images().flatten(1).expand(5, -1, -1)
    spikes = top(torch.cat([shared(x), shared(x.flip(1))], 2))
    LOSS(spikes, LABELS).backward()
    assert shared.weight.grad.abs().sum() > 0


def test_a_stale_graph_is_still_noticed():
    net = trained()
    spikes = net(images(), labels=LABELS)[0]
    LOSS(net(images(), labels=LABELS)[0], LABELS).backward()
    torch.optim.Adam(net.parameters(), lr=0.05).step()
    net(images(), labels=LABELS)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        LOSS(spikes, LABELS).backward()


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_threads_share_a_network(name, grad):
    """The first requests to a network whose gamma is not folded yet, as after load_state_dict."""
    net = trained(name)
    wanted_state = copy.deepcopy(net)
    wanted_state.fold()
    with torch.no_grad():
        wanted = wanted_state(images())
    for _ in range(10):
        other = copy.deepcopy(net)
        start, found = threading.Barrier(4), []

        def ask(other=other, start=start, found=found):
            start.wait()
            with torch.set_grad_enabled(grad):
                found.append(other(images()).detach())

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert all(torch.equal(spikes, wanted) for spikes in found)
        other.fold()
        assert all(
            torch.equal(a, b)
            for a, b in zip(other.state_dict().values(), wanted_state.state_dict().values(), strict=True)
        )


def test_no_supervision_in_evaluation_mode():
    net = trained().eval()
    with torch.no_grad():
        spikes, raw = net(images(), labels=LABELS)
        assert torch.equal(spikes, raw)
        assert torch.equal(raw, net(images()))
    net.train()
    spikes, raw = net(images(), labels=LABELS)
    assert not torch.equal(spikes, raw)


def frames(steps=10, batch=12):
    torch.manual_seed(0)
    return (torch.rand(steps, batch, 2, 6, 6) < 0.3).float()


def event_net():
    return networks.build("4C3-16", (2, 6, 6), 3, steps=10)


def test_a_batch_that_comes_first_is_told_with_both_readings():
    net = event_net()
    y = torch.arange(12) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserError, match=r"axis 1 is 10: is the batch first\? Then pass x\.transpose\(0, 1\)"):
            net(frames().transpose(0, 1), labels=y)
    for call in (lambda net: net(frames().transpose(0, 1)), lambda net: net.initialise(frames().transpose(0, 1), 0.6)):
        with pytest.warns(UserWarning, match=r"T = 12 steps of 10 samples, .* built for 10 steps: is the batch first"):
            call(event_net())


def test_the_order_of_axes_is_told_once_and_not_where_it_is_right():
    net = event_net()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net(frames(), labels=torch.arange(12) % 3)
        net(frames(7))  # other steps than it is built for are the caller's wish
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(3):
            net(frames().transpose(0, 1))
    assert len(found) == 1


def test_losses_name_both_readings():
    with pytest.raises(UserError, match=r"is the batch first\? Then pass spikes\.transpose\(0, 1\)"):
        LOSS(torch.zeros(12, 10, 3), torch.zeros(12, dtype=torch.long))


def test_own_modules_of_torch_between_layers_keep_working():
    net = nn.Sequential(layers.SpikingLinear(64, 16), nn.Identity(), layers.SpikingLinear(16, 3))
    LOSS(net(images().flatten(1).expand(5, -1, -1)), LABELS).backward()


class Exponential(nn.Module):
    """A parametrization by the logarithm."""

    def forward(self, x):
        return x.exp()

    def right_inverse(self, x):
        return x.log()


def test_a_pass_with_the_callers_own_parameters_leaves_the_layers_as_they_are(engine):
    """As in meta-learning, in training mode: fast weights would else be folded into the network's own thresholds."""
    net = trained(engine)
    fast = {name: p.detach() * 1.05 for name, p in net.named_parameters()}
    given = {name: p.clone() for name, p in fast.items()}
    before = state(net)
    other = copy.deepcopy(net)
    other.load_state_dict(fast, strict=False)
    spikes = torch.func.functional_call(net, fast, (images(),))
    assert torch.equal(spikes, other(images()))
    assert all(torch.equal(given[name], fast[name]) for name in fast)
    assert same_state(net, before)


def test_a_gamma_that_is_computed_is_not_folded(engine):
    net = trained(engine)
    for layer in net.spiking:
        nn.utils.parametrize.register_parametrization(layer, "gamma", Exponential())
    wanted = net.eval()(images())
    net.train()
    before = state(net)
    net.fold()
    assert all(torch.equal(net(images()), wanted) for _ in range(2))
    assert same_state(net, before)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    ("what", "value"),
    [(what, value) for what in ("gamma", "beta", "threshold") for value in (math.nan, math.inf)]
    + [("weight", math.nan)],
)
def test_a_layer_that_holds_nan_says_so(what, value, mode, engine):
    net = trained(engine)
    with torch.no_grad():
        getattr(net.layers[0], what)[1] = value
    with pytest.raises(UserError, match=rf"{what} of layer 1 of 3 \(8C3\) is NaN or infinite"):
        getattr(net, mode)()(images())


def test_a_layer_alone_looks_at_its_input():
    x = torch.rand(5, 2, 64)
    x[1, 1, 3] = math.nan
    with pytest.raises(UserError, match="x holds NaN or infinity"):
        layers.SpikingLinear(64, 3)(x)


def test_a_layer_that_does_not_fit_into_memory():
    for make in (lambda: layers.SpikingLinear(2, 2**60), lambda: layers.SpikingConv2d(1, 1, 2**40)):
        with pytest.raises(UserError, match=r"a weight of shape \(.*\) does not fit into memory"):
            make()
