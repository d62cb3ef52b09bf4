"""Events, layers and networks: golden training steps, the sum that every layer conserves, state, supervision."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from snnbook import NeuronParameters, encoding, events, layers, losses, networks, ops, readout
from snnbook.errors import UserError

from .conftest import golden_file, relative

FASHION = "32C5-P2-64C5-P2-1024"
# Notation, input, padding, and the number of weights, added up by hand.
PAPER_NETWORKS = {
    "mnist": ("15C5-P2-40C5-P2-300", (1, 28, 28), 0, 210_375),
    "fashion_mnist": (FASHION, (1, 28, 28), 2, 3_273_504),
    "nmnist": ("12C5-P2-64C5-P2", (2, 34, 34), (1, 0), 42_840),
    "vgg11": (
        "128C3-128C3-P2-256C3-256C3-256C3-P2-512C3-512C3-512C3-P2-2048-2048",
        (3, 32, 32),
        1,
        28_515_712,
    ),
    "cifarnet": ("128C3-256C3-P2-512C3-P2-1024C3-512C3-1024-512", (3, 32, 32), 1, 44_999_040),
}


def small(engine="auto", steps=5):
    torch.manual_seed(0)
    return networks.build("6C3-P2-8C3-P2-16", (1, 12, 12), 4, steps=steps, padding=1, engine=engine)


def images(n=6, seed=1, shape=(1, 12, 12)):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def initialised(engine):
    """The small network with the reference's thresholds: Triton's interpreter would take seconds to find them."""
    twin = small("reference")
    twin.initialise(images(), 1.0)
    net = small(engine)
    net.load_state_dict(twin.state_dict())
    return net


class Step:
    """The golden training run, one step at a time."""

    golden = staticmethod(lambda key: torch.from_numpy(golden_file("steps.npz")[key].copy()))

    def __init__(self, engine, device="cpu"):
        self.device, g = device, self.golden
        self.net = networks.build(
            "6C5-P2-8C5-P2-32", (1, 28, 28), 10, NeuronParameters(*g("tau").tolist()), 5, 2, engine=engine
        ).to(device)
        for i, layer in enumerate(self.net.spiking):
            layer.weight.data.copy_(g(f"layer{i}/weight_raw"))
        self.net.initialise(g("images")[:8].to(device), rate=g("avg_spike_init").item())
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=5e-4, weight_decay=0.005)
        self.loss = losses.get("enhanced_counting", target_label=5, target_others=1)


def test_golden_training_steps(engine):
    follow_golden_steps(Step(engine))


def follow_golden_steps(run):
    """Three steps and a test, every number of them."""
    g, net = run.golden, run.net
    images, labels = g("images").to(run.device), g("labels").to(run.device)
    for i, layer in enumerate(net.spiking):
        assert relative(layer.threshold, g(f"layer{i}/threshold_init")) < 1e-6
    for k in range(3):
        batch = slice(8 * k, 8 * k + 8)
        run.optimiser.zero_grad()
        spikes, raw = net(images[batch], labels=labels[batch])
        assert torch.equal(spikes.cpu(), g(f"step{k}/spikes"))
        assert torch.equal(raw.cpu(), g(f"step{k}/spikes_raw"))
        value = run.loss(spikes, labels[batch])
        assert value.item() == pytest.approx(g(f"step{k}/loss").item(), rel=1e-6)
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1000)
        for i, layer in enumerate(net.spiking):
            assert relative(layer.threshold, g(f"step{k}/layer{i}/threshold_before")) < 1e-6
            for name in ("weight", "gamma", "beta"):
                assert relative(getattr(layer, name).grad, g(f"step{k}/layer{i}/grad_{name}")) < 1e-4, (k, i, name)
        run.optimiser.step()
        for i, layer in enumerate(net.spiking):
            for name in ("weight", "gamma", "beta"):
                assert relative(getattr(layer, name).data, g(f"step{k}/layer{i}/{name}")) < 1e-4, (k, i, name)
    net.eval()
    assert torch.equal(net(images[:8]).cpu(), g("eval/spikes"))
    net.fold()
    assert torch.equal(net(images[:8]).cpu(), g("eval/spikes"))
    for i, layer in enumerate(net.spiking):
        assert relative(layer.threshold, g(f"eval/layer{i}/threshold")) < 1e-6
        assert relative(layer.beta, g(f"eval/layer{i}/beta")) < 1e-4


@given(st.integers(0, 1000), st.sampled_from(["adjusted", "avg"]))
@hypothesis_settings(max_examples=15)
def test_the_sum_of_gradients_through_a_network(seed, pooling):
    """Eq. (eq-conserved) layer by layer with adjusted pooling; plain average pooling breaks it.

    With the exact kernel, since its slope is above 0 at every spike, so that no gradient is cut.
    """
    torch.manual_seed(seed)
    neuron = NeuronParameters(kernel="exact")
    net = networks.build("4C3-P2-6C3-P2-12", (2, 12, 12), 3, neuron, 6, padding=1, pooling=pooling).double()
    x = (torch.rand(6, 4, 2, 12, 12, dtype=torch.float64) < 0.4).double()
    net.initialise(x, 1.5)
    outputs = [x.requires_grad_()]
    for layer in net.layers:
        outputs.append(layer(outputs[-1]))
        outputs[-1].retain_grad()
    out = outputs[-1]
    losses.from_times(out, torch.randn(out.shape, dtype=torch.float64)).backward()
    total = out.grad.sum().item()
    off = max(abs(output.grad.sum().item() - total) for output in outputs)
    if pooling == "adjusted":
        assert off < 1e-9 * out.grad.abs().sum().item()
    else:
        assert off > 1e-3 * abs(total)


@pytest.mark.parametrize("conserving", [False, True])
def test_dropout_backward(conserving):
    torch.manual_seed(0)
    drop = layers.TimeDropout(0.5, conserving)
    spikes = torch.ones(4, 3, 6, 2, 2, requires_grad=True)
    out = drop(spikes)
    mask = out[0, :, :, 0, 0] > 0
    assert 0 < mask.sum() < mask.numel()
    assert torch.equal(out, (mask[None, :, :, None, None] * 2.0).expand_as(out))
    out.backward(torch.ones_like(out))
    factor = 1.0 if conserving else 2.0
    assert torch.equal(spikes.grad, (mask[None, :, :, None, None] * factor).expand_as(out))
    drop.eval()
    assert drop(spikes) is spikes


def test_layers_agree_between_engines():
    """Fused blocks against the reference: outputs and every gradient, by name."""
    results = {}
    for name in ("reference", "cpu"):
        pytest.importorskip("numba")
        net = small(name)
        net.initialise(images(), 1.0)
        labels = torch.tensor([0, 1, 2, 3, 0, 1])
        spikes, raw = net(images(), labels=labels)
        losses.get("counting")(spikes, labels).backward()
        results[name] = spikes, raw, {n: p.grad for n, p in net.named_parameters()}
    want, got = results["reference"], results["cpu"]
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])
    for name, gradient in want[2].items():
        assert relative(got[2][name], gradient) < 1e-4, name


@pytest.mark.parametrize("affine", ["conv", "linear"])
def test_an_input_that_repeats_is_computed_once_and_equal(affine, engine):
    torch.manual_seed(0)
    if affine == "conv":
        image, weight, map_ = torch.randn(3, 2, 6, 6), torch.randn(4, 2, 3, 3), events.Convolution(1)
    else:
        image, weight, map_ = torch.randn(3, 7), torch.randn(4, 7), events.FullyConnected()
    threshold = torch.full((4,), 0.5)
    grads = []
    for x in (image.expand(5, *image.shape), image.repeat(5, *[1] * image.dim())):
        w = weight.clone().requires_grad_()
        spikes, _ = events.spiking_affine(x, w, threshold, map_, NeuronParameters(), engine=engine)
        losses.from_times(spikes, torch.arange(spikes.numel()).view_as(spikes) / spikes.numel()).backward()
        grads.append((spikes.detach(), w.grad))
    assert torch.equal(grads[0][0], grads[1][0])
    assert relative(grads[0][1], grads[1][1]) < 1e-5


def test_gradient_accumulation_and_scaling(engine):
    net = initialised(engine)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    loss = losses.get("ttfs")
    spikes, _ = net(images(), labels=labels)
    loss(spikes, labels).backward()
    once = {n: p.grad.clone() for n, p in net.named_parameters()}
    spikes, _ = net(images(), labels=labels)
    (3 * loss(spikes, labels)).backward()
    for name, parameter in net.named_parameters():
        assert relative(parameter.grad, 4 * once[name]) < 1e-5, name


def test_state_dict_round_trip(engine):
    net = initialised(engine)
    with torch.no_grad():
        for layer in net.spiking:
            layer.gamma.mul_(1.1)  # not folded yet when saved
    other = small(engine)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(images(seed=5)), net(images(seed=5)))
    assert any("threshold" in key for key in net.state_dict())


def test_folding_leaves_the_output_unchanged_and_refuses_a_dead_gamma():
    net = small().double()
    x = images().double()
    net.initialise(x, 1.0)
    layer = net.spiking[1]
    with torch.no_grad():
        layer.gamma.uniform_(0.5, 2.0)
        layer.beta.uniform_(-0.1, 0.1)
    before = [p.detach().clone() for p in (layer.gamma, layer.threshold, layer.standardised())]
    unfolded, _ = ops.forward(
        layer.affine.current(x[:, :1].expand(-1, 6, -1, -1), before[2])[None], before[1], layer.neuron
    )
    layer.fold()
    folded, _ = ops.forward(
        layer.affine.current(x[:, :1].expand(-1, 6, -1, -1), layer.standardised())[None], layer.threshold, layer.neuron
    )
    assert unfolded.any()
    assert torch.equal(folded, unfolded)
    torch.testing.assert_close(layer.threshold, before[1] / before[0])
    assert (layer.gamma == 1).all()
    for bad, words in (
        (0.0, "fell to 0,"),
        (-0.5, "fell to -0.5,"),
        (math.nan, "is NaN or inf.* finite images"),
    ):
        with torch.no_grad():
            layer.gamma[1] = bad
        state = [value.clone() for value in layer.state_dict().values()]
        with pytest.raises(UserError, match=f"gamma of .* {words}.* lower learning rate"):
            net(x)
        for now, then in zip(layer.state_dict().values(), state, strict=True):
            assert torch.equal(now.nan_to_num(-1), then.nan_to_num(-1)), "nothing may be changed"


def test_standardised_weights():
    layer = layers.SpikingConv2d(3, 4, 3)
    with torch.no_grad():
        layer.gamma.copy_(torch.tensor([0.5, 1, 2, 3]))
        layer.beta.copy_(torch.tensor([0.0, 1, -1, 2]))
    w = layer.standardised().flatten(1)
    torch.testing.assert_close(w.mean(1), layer.beta.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(w.std(1), layer.gamma.detach(), rtol=2e-3, atol=0)


def test_gradients_of_standardised_weights(engine):
    """Against finite differences, and against autograd of the equation as it is written."""
    if engine == "triton":
        pytest.skip("the Triton engine computes in float32; the next test holds it against the reference")
    torch.manual_seed(0)
    inputs = [torch.randn(3, 2, 2, 2), 0.5 + torch.rand(3), torch.randn(3)]
    inputs = [x.double().requires_grad_() for x in inputs]
    chosen = ops.get(engine, dtype=torch.float64)

    def standardised(weight, gamma, beta):
        with torch.no_grad():
            prepared = chosen.standardise(weight.flatten(1), gamma, beta)
        return layers._Standardise.apply(weight, gamma, beta, *prepared, chosen)

    assert torch.autograd.gradcheck(standardised, inputs)
    weight, gamma, beta = inputs
    w = weight.flatten(1)
    mean, var = w.mean(1, keepdim=True), w.var(1, keepdim=True)
    plain = (gamma[:, None] * (w - mean) / (var + 1e-5).sqrt() + beta[:, None]).view_as(weight)
    ours = standardised(*inputs)
    torch.testing.assert_close(ours, plain, rtol=1e-14, atol=1e-14)
    upstream = torch.randn_like(plain)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, upstream), torch.autograd.grad(plain, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("fan", [2, 25, 4096, 5000])
def test_passes_over_weights_agree_between_engines(fan, engine):
    """In float32; also where a row is longer than what a GPU's program takes at once."""
    generator = torch.Generator().manual_seed(fan)
    weight, grad = (torch.randn(3, fan, generator=generator) for _ in range(2))
    gamma, beta = (torch.rand(3, generator=generator) + 0.5 for _ in range(2))
    for one, other in zip(
        ops.get(engine).standardise(weight, gamma, beta),
        ops.get("reference").standardise(weight, gamma, beta),
        strict=True,
    ):
        assert relative(one, other) < 1e-5
    _, mean, std = ops.get("reference").standardise(weight, gamma, beta)
    theirs = ops.get("reference").standardise_backward(grad, weight, gamma, mean, std)
    tolerance = 1e-3 if fan == 2 else 1e-5  # two weights leave next to nothing of a gradient
    for ordered in (weight, weight.T.contiguous().T):  # in the order of its shape, and not
        ours = ops.get(engine).standardise_backward(grad, ordered, gamma, mean, std)
        assert all(relative(one, other) < tolerance for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_first_layer_leaves_channels_last(channels):
    """As the CPU's engine wants its currents; the same numbers as torch's own convolution and its gradient."""
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(4, channels, 9, 8, generator=generator)
    weight = torch.randn(5, channels, 3, 3, generator=generator, requires_grad=True)
    wanted = torch.nn.functional.conv2d(x, weight, padding=1)
    grad = torch.randn(wanted.shape, generator=generator)
    wanted.backward(grad)
    map_ = events.Convolution(padding=1)
    current = map_.current(x, weight.detach())
    assert current.is_contiguous(memory_format=torch.channels_last)
    assert relative(current, wanted.detach()) < 1e-5
    assert relative(map_.grad_weight(grad, x, weight.shape), weight.grad) < 1e-5


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_folding_agrees_between_engines(layout, engine):
    """In place, whatever the order in memory; what is not a number stays none."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(3, 2, 5, 5, generator=generator).to(memory_format=layout)
    weight[1, 0, 2, 2] = float("nan")
    threshold, gamma, beta = (torch.rand(3, generator=generator) + 0.5 for _ in range(3))
    ours, theirs = ([x.clone() for x in (weight, threshold, gamma, beta)] for _ in range(2))
    for state, name in ((ours, engine), (theirs, "reference")):
        ops.get(name).fold(*state, bound=1.0)
    wanted = [weight.clamp(-1, 1), threshold / gamma, torch.ones(3), beta / gamma]
    for state in (ours, theirs):
        for one, other in zip(state, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_weights_are_made_ready_as_by_folding_and_then_standardising(layout, engine):
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(3, 2, 5, 5, generator=generator).to(memory_format=layout)
    threshold, gamma, beta = (torch.rand(3, generator=generator) + 0.5 for _ in range(3))
    ours, theirs = ([x.clone() for x in (weight, threshold, gamma, beta)] for _ in range(2))
    got = ops.get(engine).prepare(*ours, bound=1.0)
    ops.get("reference").fold(*theirs, bound=1.0)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    wanted = ops.get("reference").standardise(theirs[0].flatten(1), theirs[2], theirs[3])
    assert all(relative(one, other) < 1e-5 for one, other in zip(got, wanted, strict=True))


def test_initialise_reaches_the_rate(engine):
    net, batch = small(engine, steps=9), images(8 if engine == "triton" else 32)  # Triton's interpreter is slow
    net.initialise(batch, 2.0)
    x = net.encode(batch)
    for layer in net.layers[:-1]:
        if isinstance(layer, layers.SpikingLayer):
            spikes, _ = ops.forward(layer.current(x), layer.threshold, layer.neuron)
            late = spikes[6:].sum(0).mean().item()
            assert late == pytest.approx(2.0 * 3 / 9, rel=0.15)
        x = layer(x)


def supervised(du, spikes=None, label=0):
    du = torch.tensor(du).reshape(-1, 1, 1)
    spikes = torch.zeros_like(du) if spikes is None else torch.tensor(spikes).reshape(-1, 1, 1)
    saved = ops.Saved(spikes, du, du, NeuronParameters(), "reference")
    return networks.supervise(saved, torch.tensor([label])).flatten().tolist()


def test_supervision_by_hand():
    assert supervised([0.2, 0.3, 0.01]) == [0, 1, 0]  # the last step that rises by more than 0.05
    assert supervised([0.2, 0.3, 0.01], [1.0, 0, 0]) == [1, 1, 0]
    assert supervised([0.01, -0.3, 0.05]) == [1, 0, 0]  # none does: the first step
    assert supervised([-0.2, -0.3, -0.1]) == [1, 0, 0]
    assert supervised([0.0, 0.01, 0.0]) == [0, 0, 0]  # no input at the first step: it stays silent
    assert supervised([0.0, 0.0, 0.0], [0.0, 0, 1]) == [0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_supervision_takes_labels_of_any_integer_type(dtype):
    du = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    saved = ops.Saved(torch.zeros_like(du), du, du, NeuronParameters(), "reference")
    labels = torch.tensor([0, 1, 2] * 4)[::2]  # with a stride
    forced = networks.supervise(saved, labels.to(dtype))
    for n, label in enumerate(labels.tolist()):
        rising = [t for t in range(4) if du[t, n, label] > 0.05]
        assert forced[:, n].nonzero().tolist() == [[max(rising, default=0), label]]


def test_supervision_leaves_the_network_as_it_is():
    net = small()
    net.initialise(images(), 0.5)
    labels = torch.tensor([3, 2, 1, 0, 3, 2])
    spikes, raw = net(images(), labels=labels)
    assert torch.equal(raw, net(images()))
    assert not raw.requires_grad
    changed = (spikes != raw).nonzero()
    assert len(changed) > 0
    assert (changed[:, 2] == labels[changed[:, 1]]).all()


@pytest.mark.parametrize("name", PAPER_NETWORKS)
def test_the_papers_networks(name):
    notation, shape, padding, weights = PAPER_NETWORKS[name]
    with torch.device("meta"):
        net = networks.build(notation, shape, 10, padding=padding, steps=2)
    assert sum(layer.weight.numel() for layer in net.spiking) == weights


def test_pooling_and_dropout_stand_where_the_notation_says():
    net = networks.build("4C3-P2-6", (1, 8, 8), 3, pooling="max", dropout=0.1)
    assert [type(layer).__name__ for layer in net.layers] == [
        "SpikingConv2d",
        "PlainPool2d",
        "TimeDropout",
        "Flatten",
        "SpikingLinear",
        "TimeDropout",
        "SpikingLinear",
    ]
    assert networks.build("4C3-P2-6", (1, 8, 8), 3).layers[0].pool == 2
    assert net(torch.rand(2, 1, 8, 8)).shape == (5, 2, 3)


@pytest.mark.parametrize(
    ("notation", "settings", "words"),
    [
        ("32C5-Q2", {}, "cannot read 'Q2'"),
        ("", {}, "cannot read ''"),
        ("0C3", {}, "cannot read '0C3'"),
        ("8C5-P2-8C5-P2-8C5", {}, "nothing is left"),
        ("4C1-10", {}, r"layer 1 of 3 \(4C1\) of network '4C1-10' has one input per neuron"),
        ("4C5-1", {}, r"layer 3 of 3 \(4\) of network '4C5-1' has one input per neuron"),
        ("10-8C3", {}, "after a fully connected layer"),
        ("8C3-8C3", {"padding": [1]}, "padding lists 1 numbers for 2"),
        ("8C3", {"pooling": "mean"}, "unknown pooling"),
        ("8C3-4", {"dropout": 1.5}, "dropout must be a finite number, 0 or more, below 1"),
    ],
)
def test_bad_notation_gets_one_line(notation, settings, words):
    with pytest.raises(UserError, match=words) as caught:
        networks.build(notation, (1, 12, 12), 4, **settings)
    assert "\n" not in str(caught.value)


def test_bad_input_gets_one_line():
    net = small()
    for words, call in {
        "input must have shape": lambda: net(torch.rand(2, 3, 12, 12)),
        "must be floating point": lambda: net(torch.ones(2, 1, 12, 12, dtype=torch.uint8)),
        "labels must be classes, 0 to": lambda: net(torch.rand(2, 1, 12, 12), labels=torch.tensor([0, -1])),
        "Did you mean 'first'": lambda: readout.predict(torch.zeros(3, 1, 2), "frist"),
        "labels must be 2 integers": lambda: net(torch.rand(2, 1, 12, 12), labels=torch.tensor([1])),
        "rate must be a finite number, above 0": lambda: net.initialise(torch.rand(2, 1, 12, 12), 0),
    }.items():
        with pytest.raises(UserError, match=words):
            call()


def test_encodings():
    image = torch.tensor([0.0, 0.39, 0.4, 0.99, 1.0]).reshape(1, 1, 1, 5)
    spikes = encoding.latency(image, 5)
    assert spikes.flatten(1).argmax(0).tolist() == [0, 1, 2, 4, 4]
    assert (spikes.sum(0) == 1).all()
    assert encoding.latency(image, 5, bright_first=True).flatten(1).argmax(0).tolist() == [4, 3, 3, 0, 0]
    direct = encoding.direct(image, 5)
    assert direct.shape == (5, 1, 1, 1, 5)
    assert direct.stride(0) == 0
    for bad in (image * 2, image - 0.1, image * float("nan")):
        with pytest.raises(UserError, match=r"\[0, 1\]"):
            encoding.latency(bad, 5)


def test_latency_coding_can_do_without_a_look_at_the_device():
    """On a device without values, any look at them fails; so the trainer's way does not wait."""
    meta = torch.rand(2, 1, 3, 3, device="meta")
    assert encoding.latency(meta, 5, check=False).shape == (5, 2, 1, 3, 3)
    with pytest.raises(UserError, match="images are on the meta device"):
        encoding.latency(meta, 5)
    images = torch.rand(2, 1, 3, 3)
    assert torch.equal(encoding.latency(images, 5, check=False), encoding.latency(images, 5))


def test_readout_prefers_early_spikes_on_ties():
    spikes = torch.zeros(5, 1, 3)
    spikes[[1, 4], 0, 0] = 1
    spikes[[0, 4], 0, 2] = 1
    assert readout.score(spikes)[0].tolist() == pytest.approx([1.08 + 1.02, 0, 1.1 + 1.02])
    assert readout.predict(spikes).tolist() == [2]


def test_the_first_spike_weighs_more_than_all_later_ones():
    spikes = torch.zeros(5, 1, 3)
    spikes[1, 0, 0] = 1
    spikes[2:, 0, 1] = 1
    spikes[4, 0, 2] = 1
    assert readout.score(spikes, "first")[0].tolist() == pytest.approx([1 / 2, 1 / 4 + 1 / 8 + 1 / 16, 1 / 16])
    assert (readout.predict(spikes, "first").item(), readout.predict(spikes).item()) == (0, 1)
    exits = [readout.exit_step(spikes, torch.tensor([label]), "first").item() for label in range(3)]
    assert exits == [1, 5, 5]
    assert readout.exit_step(spikes, torch.tensor([0])).item() == 5  # by count, neuron 1 wins


def test_without_supervision_the_loss_sees_the_neurons_own_spikes():
    labels = torch.zeros(len(images()), dtype=torch.long)
    nets = [small() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    nets[1].supervision = False
    for net in nets:
        net.initialise(images(), 0.3)
    (forced, raw), (seen, own) = (net(images(), labels=labels) for net in nets)
    assert torch.equal(seen, raw)
    assert torch.equal(own, raw)
    assert not torch.equal(forced, raw)
    seen.retain_grad()
    losses.from_times(seen, torch.rand_like(seen)).backward()
    assert all(p.grad is not None for p in nets[1].parameters())
    assert not own.requires_grad


def test_exit_step_by_hand():
    spikes = torch.zeros(4, 5, 2)
    spikes[0, 0] = 1  # a tie waits ...
    spikes[2, 0, 1] = 1  # ... until one fires alone
    spikes[1, 1, 0] = 1  # the wrong one
    spikes[1, 3, 0] = 1  # first alone, but the full readout chooses the other
    spikes[2:, 3, 1] = 1
    spikes[0, 4, 1] = 1
    assert readout.exit_step(spikes, torch.tensor([1, 1, 0, 1, 1])).tolist() == [2, 4, 4, 4, 0]


def test_every_layer_passes_on_spikes_or_their_means():
    """Spikes are 0 or 1; means over windows of 2 x 2 are multiples of 1/4."""
    net = small()
    net.initialise(images(), 1.0)
    x = net.encode(images())
    for layer in net.layers:
        x = layer(x)
        parts = 1 if isinstance(layer, layers.SpikingLinear) else 4
        assert torch.equal((x * parts).round(), x * parts)
        assert 0 <= x.min() < x.max() <= 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_initialise_refuses_what_is_not_finite(value):
    images = torch.rand(4, 1, 8, 8)
    images[2, 0, 3, 3] = value
    net = networks.build("2C3-4", (1, 8, 8), 3)
    with pytest.raises(UserError, match="NaN or infinity"):
        net.initialise(images, 0.6)
    assert all(bool((layer.threshold == 1).all()) for layer in net.spiking), "nothing may be changed"


@pytest.mark.parametrize("beyond", [-5.0, 5.0])
@pytest.mark.parametrize("fold", [layers.SpikingLayer.fold, lambda layer: layer(torch.ones(2, 1, 3))])
def test_raw_weights_are_clipped_where_one_lies_beyond_the_bound(beyond, fold):
    layer = layers.SpikingLinear(3, 2)
    before = layer.weight.detach().clone()
    fold(layer)
    assert torch.equal(layer.weight, before)
    with torch.no_grad():
        layer.weight[1, 2] = beyond
    writes = layer.weight._version
    fold(layer)
    assert layer.weight._version == writes  # a pass that waits for its backward stays valid
    assert layer.weight[1, 2] == math.copysign(layers.WEIGHT_BOUND, beyond)
    assert torch.equal(layer.weight.flatten()[:-1], before.flatten()[:-1])
