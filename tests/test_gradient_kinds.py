"""Gradients on spike times against gradients on spike amounts: both kinds are right, and the wrong one is noticed."""

import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnbook import layers, losses, networks, readout
from snnbook.errors import UserError

LABELS = torch.arange(30) % 3
WITH_RATES = ("counting", "enhanced_counting", "kernel", "tet")
TIMES_ALONE = ("timing", "ttfs")
SETTINGS = {name: {"target_label": 8, "target_others": 1} for name in ("counting", "enhanced_counting")}


def images():
    """A bright row tells the class, (30, 1, 8, 8)."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(30, 1, 8, 8, generator=generator) / 4 + torch.eye(8)[2 * LABELS][:, None, :, None]


class Step(torch.autograd.Function):
    """Fires above 0; backward a triangle, as in surrogate-gradient networks."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).float()

    @staticmethod
    def backward(ctx, grad):
        return grad / (1 + 3 * ctx.saved_tensors[0].abs()) ** 2


class Surrogate(nn.Module):
    """Two layers of leaky integrate-and-fire neurons for 10 steps, (N, 1, 8, 8) -> (T, N, C)."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 32), nn.Linear(32, 3)

    def forward(self, x):
        u = v = torch.zeros(())
        out = []
        for _ in range(10):
            u = 0.9 * u + self.first(x.flatten(1))
            spikes = Step.apply(u - 1)
            u = u - spikes.detach()
            v = 0.9 * v + self.second(spikes)
            out.append(Step.apply(v - 1))
            v = v - out[-1].detach()
        return torch.stack(out)


def ours():
    torch.manual_seed(0)
    net = networks.build("8C3-P2-32", (1, 8, 8), 3, padding=1)
    net.initialise(images(), 0.6)
    return net


def caught(run):
    """The warnings of a call, as text."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        run()
    return [str(warning.message) for warning in found]


def rates_by_autograd(name, spikes, label):
    """The derivative of a loss in the amounts, from its equation written with torch's operations."""
    amounts = spikes.clone().requires_grad_()
    steps = len(amounts)
    if name == "tet":
        value = -(amounts.log_softmax(2) * label).sum() / (steps * amounts.shape[1])
    elif name == "kernel":
        wanted = losses.label_train(steps, spikes)[:, None, None] * label
        lag = torch.arange(steps)[:, None] - torch.arange(steps)
        response = torch.where(lag >= 0, (1 - 1 / 3) ** lag.clamp(min=0) / 3, 0.0).to(spikes)
        value = torch.einsum("st,tnc->snc", response, amounts - wanted).square().sum() / 2
    else:
        count = amounts.sum(0)
        target = torch.where(label, 8.0, 1.0).to(spikes)
        bounded = torch.where(label, count.minimum(target), count.maximum(target))
        value = (target - bounded).square().sum() / (2 * steps)
    value.backward()
    return amounts.grad


def random_case(rate=0.4):
    generator = torch.Generator().manual_seed(0)
    spikes = (torch.rand(10, 30, 3, generator=generator, dtype=torch.float64) < rate).double()
    return spikes, LABELS[:, None] == torch.arange(3)


@pytest.mark.parametrize("name", ["counting", "kernel", "tet"])
def test_the_rate_gradient_is_the_derivative_in_the_amounts(name):
    spikes, label = random_case()
    settings = {"label_scaling": False} if name == "counting" else {}
    loss = losses.get(name, gradient="rate", **SETTINGS.get(name, {}) | settings)
    spikes.requires_grad_()
    loss(spikes, LABELS).backward()
    torch.testing.assert_close(spikes.grad, rates_by_autograd(name, spikes.detach(), label))
    assert bool((spikes.grad != 0)[spikes == 0].any()), "silent steps get their gradient, too"


@pytest.mark.parametrize("name", WITH_RATES)
def test_where_there_are_spikes_one_gradient_is_minus_the_other(name):
    spikes, _ = random_case()
    assert bool((spikes.sum(0) > 0).all()), "no neuron is silent in this case"
    grads = {}
    for gradient in losses.GRADIENTS:
        seen = spikes.clone().requires_grad_()
        value = losses.get(name, gradient=gradient, **SETTINGS.get(name, {}))(seen, LABELS)
        value.backward()
        grads[gradient] = value.item(), seen.grad
    assert grads["time"][0] == grads["rate"][0]
    torch.testing.assert_close(grads["time"][1], -grads["rate"][1] * spikes)


@pytest.mark.parametrize("name", ["counting", "enhanced_counting"])
def test_a_silent_neuron_counts_as_one_spike_where_a_count_divides(name):
    """Target 8, T = 10: r = -8/10 for a silent label neuron of either loss at every step; silent others get 0."""
    spikes = torch.zeros(10, 2, 3)
    spikes.requires_grad_()
    losses.get(name, gradient="rate", **SETTINGS[name])(spikes, torch.tensor([0, 2])).backward()
    wanted = torch.zeros(10, 2, 3)
    wanted[:, 0, 0] = wanted[:, 1, 2] = -0.8
    torch.testing.assert_close(spikes.grad, wanted)


def test_one_spike_of_a_label_neuron_by_hand():
    """(8 - 1) / (1 * 10) for enhanced counting, and with m = 4 (8 - 4) / (4 * 10)."""
    for count, wanted in ((1, -0.7), (4, -0.1)):
        spikes = torch.zeros(10, 1, 3)
        spikes[:count, 0, 1] = 1
        spikes.requires_grad_()
        losses.get("enhanced_counting", gradient="rate", **SETTINGS["counting"])(spikes, torch.tensor([1])).backward()
        assert spikes.grad[:, 0, 1].tolist() == pytest.approx([wanted] * 10)


def test_label_scaling_stays_bounded_where_all_labels_are_silent():
    spikes = torch.ones(10, 30, 3)
    spikes[:, range(30), LABELS] = 0
    spikes.requires_grad_()
    losses.get("counting", gradient="rate", target_label=8)(spikes, LABELS).backward()
    # 20 spikes of others for the one spike that a silent label counts as: ratio 20, scaled by 20 / 10
    assert spikes.grad[0, 0, 0].item() == pytest.approx(-0.8 * 2, rel=1e-4)


@pytest.mark.parametrize("name", TIMES_ALONE)
def test_losses_of_times_alone_have_no_rate_gradient(name):
    with pytest.raises(UserError, match=rf"loss '{name}' is defined on spike times .*: enhanced_counting, counting"):
        losses.get(name, gradient="rate")
    assert losses.get(name, gradient="time").gradient == "time"


def test_an_unknown_kind_of_gradient_is_refused():
    with pytest.raises(UserError, match=r"unknown gradient 'rates'\. Did you mean 'rate'"):
        losses.get("counting", gradient="rates")


def train(net, loss, steps=100):
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(net(images()), LABELS).backward()
        optimiser.step()
    return (readout.predict(net(images())) == LABELS).double().mean().item()


@pytest.mark.parametrize("name", WITH_RATES)
def test_a_surrogate_network_learns_from_rates(name):
    torch.manual_seed(0)
    loss = losses.get(name, gradient="rate", **SETTINGS.get(name, {}))
    accuracy = []
    assert caught(lambda: accuracy.append(train(Surrogate(), loss))) == []
    assert accuracy[0] > 0.95


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_surrogate_network_under_a_loss_of_times_is_warned_of_once(name):
    torch.manual_seed(0)
    loss = losses.get(name, **SETTINGS.get(name, {}))
    net = Surrogate()
    (line,) = caught(lambda: train(net, loss, steps=3))
    way_out = name if name in WITH_RATES else "enhanced_counting"
    assert f"losses.get('{way_out}', gradient='rate')" in line
    assert "\n" not in line
    assert len(caught(lambda: train(net, losses.get(name, **SETTINGS.get(name, {})), steps=1))) == 1, "another loss"


@pytest.mark.parametrize("how", ["on top", "below", "a foreign parameter"])
def test_mixed_networks_are_warned_of(how):
    spiking = layers.SpikingLinear(64, 3)
    weight = nn.Parameter(torch.ones(3))
    x = images().flatten(1).expand(5, -1, -1)
    if how == "on top":
        spikes = Step.apply(spiking(x) - 0.5)
    elif how == "below":
        spikes = layers.SpikingLinear(3, 3)(Step.apply(spiking(x) - 0.5))
    else:
        spikes = (spiking(x) * weight).clamp(0, 1).round()
    lines = caught(lambda: losses.get("ttfs")(spikes, LABELS).backward())
    assert [line for line in lines if "spike times" in line and "amounts" in line]


FOREIGN = {
    "cross-entropy of counts": lambda s: F.cross_entropy(s.sum(0), LABELS),
    "squared error of spikes": lambda s: (s - 1).square().mean(),
    "rate loss of ours": lambda s: losses.get("counting", gradient="rate")(s, LABELS),
    "times by hand, unsaid": lambda s: (s * torch.rand_like(s)).sum(),
}


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("supervised", [False, True])
def test_a_foreign_loss_on_our_network_is_warned_of_once(foreign, supervised):
    net = ours()

    def run():
        for _ in range(3):
            spikes = net(images(), labels=LABELS)[0] if supervised else net(images())
            FOREIGN[foreign](spikes).backward()

    (line,) = caught(run)
    assert "no loss of snnbook made" in line
    assert "losses.from_times(spikes, e)" in line


BESIDE = {
    "cross-entropy": lambda s: F.cross_entropy(s.sum(0), LABELS),
    "a penalty on the rate": lambda s: 0.01 * s.mean(),
    "a rate loss of ours": lambda s: losses.get("counting", gradient="rate")(s, LABELS),
    "the other order of axes": lambda s: F.cross_entropy(s.transpose(0, 1).mean(1), LABELS),
}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("trained", [True, False], ids=["both trained", "times only printed"])
def test_a_foreign_loss_beside_one_of_times_is_warned_of_once(beside, trained):
    net = ours()
    loss = losses.get("enhanced_counting")
    loss(net(images()), LABELS).backward()

    def run():
        for _ in range(3):
            spikes = net(images())
            value = loss(spikes, LABELS)
            foreign = BESIDE[beside](spikes)
            (value + foreign if trained else foreign).backward()

    (line,) = caught(run)
    assert "no loss of snnbook made" in line


def hidden_and_output():
    torch.manual_seed(0)
    first, last = layers.SpikingLinear(64, 32), layers.SpikingLinear(32, 3)
    for layer in (first, last):
        layer.threshold.fill_(0.3)
    return first, last, (torch.rand(5, 30, 64) < 0.4).float()


@pytest.mark.parametrize("penalty", [lambda h: h.mean(), lambda h: (h.mean((0, 1)) - 0.123).square().sum()])
def test_a_penalty_on_a_hidden_layers_rate_is_warned_of(penalty):
    first, last, x = hidden_and_output()
    hidden = first(x)
    (line,) = caught(lambda: (losses.get("ttfs")(last(hidden), LABELS) + penalty(hidden)).backward())
    assert "no loss of snnbook made" in line


MADE_BY = {
    "a scale": lambda: nn.Parameter(torch.ones(1)) * images(),
    "a convolution": lambda: nn.Conv2d(1, 1, 3, padding=1)(images()).clamp(0, 1),
    "a step function": lambda: Step.apply(images().requires_grad_() * 1 - 0.5),
}


@pytest.mark.parametrize("made_by", MADE_BY)
def test_what_is_trained_below_our_layers_is_warned_of_once(made_by):
    net = ours()
    loss = losses.get("ttfs")
    lines = caught(lambda: [loss(net(MADE_BY[made_by]()), LABELS).backward() for _ in range(3)])
    words = "a snnbook layer gives gradients on spike times to whatever makes its input"
    assert len([line for line in lines if words in line]) == 1


def test_a_layer_in_evaluation_mode_is_warned_of_once():
    """Where gamma is not folded the threshold of a pass is a tensor of its own."""
    net = ours()
    with torch.no_grad():
        for layer in net.spiking:
            layer.gamma.mul_(1.1)
    net.eval()
    (line,) = caught(lambda: [F.cross_entropy(net(images()).sum(0), LABELS).backward() for _ in range(3)])
    assert "no loss of snnbook made" in line


def test_a_loss_in_a_compiled_function_sees_what_made_the_spikes():
    net = Surrogate()
    loss = losses.get("ttfs")
    step = torch.compile(lambda x: loss(net(x), LABELS), backend="eager")
    assert [line for line in caught(lambda: step(images()).backward()) if "gradient='rate'" in line]


class Own(losses.Loss):
    name = "own"

    def value_and_times(self, spikes, label):
        return spikes.sum(), 1.0 * label.expand_as(spikes)


def checkpointed(net):
    def forward(x):
        spikes = net(x)
        return torch.utils.checkpoint.checkpoint(lambda s: s * 1, spikes, use_reentrant=False)

    return forward


def skipped(loss, join):
    """A loss of a hidden layer's spikes beside those of the next one: e arrives at silent places, too."""
    first, last, x = hidden_and_output()
    middle = layers.SpikingLinear(32, 32)
    middle.threshold.fill_(0.3)
    hidden = first(x)
    loss(last(join(hidden, middle(hidden))), LABELS).backward()


def quiet_cases():
    """Ways to use losses and layers that must not be warned of: each takes a network."""
    loss = losses.get("enhanced_counting")
    return {
        "plain": lambda net: loss(net(images()), LABELS).backward(),
        "supervised": lambda net: loss(net(images(), labels=LABELS)[0], LABELS).backward(),
        "own loss": lambda net: Own()(net(images()), LABELS).backward(),
        "two losses": lambda net: (lambda s: (2 * loss(s, LABELS) + losses.get("ttfs")(s, LABELS) / 3).backward())(
            net(images())
        ),
        "cut up": lambda net: loss(torch.cat(net(images()).chunk(2, 1), 1).flip(1), LABELS.flip(0)).backward(),
        "checkpoint": lambda net: loss(checkpointed(net)(images()), LABELS).backward(),
        "given times": lambda net: losses.from_times(net(images()), torch.ones(5, 30, 3)).backward(),
        "a leaf": lambda net: loss(net(images()).detach().requires_grad_(), LABELS).backward(),
        "a leaf in another order": lambda net: loss(
            net(images()).detach().transpose(0, 1).requires_grad_().transpose(0, 1), LABELS
        ).backward(),
        "leaves of single steps": lambda net: loss(
            torch.stack([step.detach().requires_grad_() for step in net(images())]), LABELS
        ).backward(),
        "a skip": lambda net: skipped(loss, torch.add),
        "beside a weight penalty": lambda net: (
            loss(net(images()), LABELS) + sum(p.square().sum() for p in net.parameters())
        ).backward(),
        "gradient of the images": lambda net: loss(net(images().requires_grad_() * 2 - 0.1), LABELS).backward(),
        "below a frozen encoder": lambda net: loss(
            net(nn.Conv2d(1, 1, 3, padding=1).requires_grad_(False)(images())), LABELS
        ).backward(),
        "no grad": lambda net: loss(net(images()).detach(), LABELS),
        "two passes": lambda net: (
            loss(net(images()[:15]), LABELS[:15]) + loss(net(images()[15:]), LABELS[15:])
        ).backward(),
    }


@pytest.mark.parametrize("case", quiet_cases())
def test_no_false_alarm(case):
    assert caught(lambda: quiet_cases()[case](ours())) == []


def test_given_times_arrive_at_spikes_alone():
    spikes = (torch.rand(4, 5, 3) < 0.5).float().requires_grad_()
    e = torch.randn(4, 5, 3)
    (2 * losses.from_times(spikes, e)).backward()
    assert torch.equal(spikes.grad, 2 * e * spikes)
    with pytest.raises(UserError, match=re.escape("shape (4, 5, 3)")):
        losses.from_times(spikes, e[1:])


def test_a_network_that_never_fires_is_told_at_the_start_and_at_the_loss():
    net = networks.build("8C3-P2-32", (1, 8, 8), 3, padding=1)
    (line,) = caught(lambda: net.initialise(images() * 1e-4, 0.6))
    assert line.startswith("layer 1 of 3 (8C3) fires 0 spikes per neuron where rate=0.6 was asked for")
    loss = losses.get("enhanced_counting")

    def train():
        for _ in range(3):
            loss(net(images() * 1e-4, labels=LABELS)[0], LABELS).backward()

    (line,) = caught(train)
    assert "no output neuron fires" in line


@pytest.mark.parametrize("rate", [1e-9, 4.9])
def test_a_rate_that_cannot_be_reached_is_told(rate):
    net = networks.build("8C3-P2-32", (1, 8, 8), 3, padding=1)
    lines = caught(lambda: net.initialise(images(), rate))
    assert lines
    assert all(f"where rate={rate:g} was asked for" in line for line in lines)


def test_a_rate_that_is_reached_is_not_told():
    net = networks.build("8C3-P2-32", (1, 8, 8), 3, padding=1)
    assert caught(lambda: net.initialise(images(), 0.6)) == []
