"""The six losses against the golden numbers, and the identities that the book is about, in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnbook import losses
from snnbook.errors import UserError

from .conftest import Golden, golden_cases, relative

LOSS_CASES = [(f, c) for f in ("losses.npz", "extra.npz") for c in golden_cases(f, "labels")]
GOLDEN_NAMES = ("counting", "enhanced_counting", "kernel", "tet", "timing", "ttfs_4T", "ttfs_21T")


def times(loss, spikes, labels):
    """(value, e) of a loss."""
    spikes = spikes.detach().clone().requires_grad_()
    value = loss(spikes, labels)
    value.backward()
    return value.detach(), spikes.grad


@st.composite
def batches(draw, min_steps=1):
    """Random trains in float64, (T, N, C), with silent and saturated neurons, and labels."""
    steps, samples, classes = draw(st.integers(min_steps, 12)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    density = torch.rand(samples, classes, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    spikes = (torch.rand(steps, samples, classes, generator=generator, dtype=torch.float64) < density).double()
    return spikes, torch.randint(classes, (samples,), generator=generator)


@pytest.mark.parametrize("name", GOLDEN_NAMES)
@pytest.mark.parametrize(("file", "case"), LOSS_CASES)
def test_golden_loss(file, case, name):
    golden = Golden(file, case)
    target_label, target_others = golden("targets").tolist()
    settings = {
        "counting": {"target_label": target_label, "target_others": target_others},
        "kernel": {"tau_s": golden("tau_s").item()},
        "ttfs_4T": {"t_unfired": 4},
        "ttfs_21T": {"t_unfired": 21},
    }
    loss = losses.get(name.split("_")[0] if "ttfs" in name else name, **settings.get(name.replace("enhanced_", ""), {}))
    value, e = times(loss, golden("spikes"), golden("labels"))
    assert relative(e, golden(f"{name}/grad")) < 1e-6
    assert value.item() == pytest.approx(golden(f"{name}/loss").item(), rel=1e-6)


@pytest.mark.parametrize(("file", "case"), LOSS_CASES)
def test_golden_target_train(file, case):
    wanted = Golden(file, case)("target_train_label")
    assert torch.equal(losses.label_train(len(wanted)), wanted)


@given(batches(), st.integers(0, 8), st.integers(0, 3))
def test_totals_per_neuron(batch, target_label, target_others):
    """App. Eq. 6: m (target - m) / T; App. 4: (target - m) / T, 0 where silent."""
    spikes, labels = batch
    count, steps = spikes.sum(0), len(spikes)
    label = torch.nn.functional.one_hot(labels, spikes.shape[2]).bool()
    target = torch.where(label, float(target_label), float(target_others)).double()
    settings = {"target_label": target_label, "target_others": target_others, "clip": False, "label_scaling": False}
    _, counting = times(losses.get("counting", **settings), spikes, labels)
    _, enhanced = times(losses.get("enhanced_counting", **settings), spikes, labels)
    torch.testing.assert_close(counting.sum(0), count * (target - count) / steps)
    torch.testing.assert_close(enhanced.sum(0), torch.where(count > 0, (target - count) / steps, 0.0))


@given(batches(), st.sampled_from(["counting", "enhanced_counting"]))
def test_clipping_cuts_what_is_past_its_target(batch, name):
    spikes, labels = batch
    label = torch.nn.functional.one_hot(labels, spikes.shape[2]).bool()
    _, e = times(losses.get(name, target_label=3, target_others=1), spikes, labels)
    count = spikes.sum(0)
    past = torch.where(label, count >= 3, count <= 1)
    assert not e[:, past].any()
    assert (e.sum(0)[label & (count > 0) & ~past] > 0).all()
    assert (e.sum(0)[~label & ~past] < 0).all()


def test_label_scaling_by_hand():
    """Two samples, three classes: clipped counts of the others 4 + 1 + 40 + 1, of the labels 1 + 2."""
    spikes = torch.zeros(40, 2, 3, dtype=torch.float64)
    spikes[0, 0, 0] = 1
    spikes[:4, 0, 1] = 1
    spikes[:2, 1, 1] = 1
    spikes[:, 1, 0] = 1
    labels = torch.tensor([0, 1])
    rho = (4 + 1 + 40 + 1 + 1e-5) / (3 + 1e-5)
    for name in ("counting", "enhanced_counting"):
        _, scaled = times(losses.get(name), spikes, labels)
        _, plain = times(losses.get(name, label_scaling=False), spikes, labels)
        torch.testing.assert_close(scaled[0, 0, 0], plain[0, 0, 0] * rho / 10)
        torch.testing.assert_close(scaled[:, 0, 1:], plain[:, 0, 1:])
    few_others = losses.get("counting").label_scale(
        torch.ones(1, 2, dtype=torch.float64), torch.tensor([[True, False]])
    )
    assert few_others == 1


@given(batches(), st.sampled_from([1, 4, 20, 1000]))
def test_sum_of_first_spike_gradients(batch, t_unfired):
    """Eq. 13-15 with the premise f_label = 1 dropped: T/N sum over samples of silent mass - 1 (if the label is)."""
    spikes, labels = batch
    steps, samples, _ = spikes.shape
    _, e = times(losses.get("ttfs", t_unfired=t_unfired), spikes, labels)
    fired = spikes.sum(0) > 0
    first = torch.where(fired, spikes.argmax(0) + 1.0, float(t_unfired * steps) + 0.0)
    share = torch.where(fired, 1 - (first - 1) / steps, 1.0 - t_unfired).softmax(1)
    silent_mass = (share * ~fired).sum(1)
    wanted = steps / samples * (silent_mass - (~fired[torch.arange(samples), labels]).double())
    torch.testing.assert_close(e.sum((0, 2)), wanted)
    if fired.all():
        assert abs(e.sum()) < 1e-12 * steps
    assert ((e != 0).sum(0) <= 1).all()


@given(batches(), st.sampled_from(["counting", "enhanced_counting", "kernel", "tet"]))
def test_time_based_twin(batch, name):
    """Theorem 4.1: the twin -sum r t_k, with its coefficients held fixed, has the same gradient on every time."""
    spikes, labels = batch
    _, e = times(losses.get(name), spikes, labels)
    t = torch.arange(1, len(spikes) + 1, dtype=torch.float64)[:, None, None].expand_as(spikes).clone().requires_grad_()
    (e.detach() * spikes * t).sum().backward()
    torch.testing.assert_close(t.grad, e, rtol=0, atol=1e-10)


@given(batches())
def test_kernel_and_tet_are_minus_the_gradient_of_their_value(batch):
    """Where the printed value is smooth in s, autograd of the value itself must give -e at the spikes."""
    spikes, labels = batch
    label = torch.nn.functional.one_hot(labels, spikes.shape[2]).bool()
    for loss in (losses.get("kernel", tau_s=2.5), losses.get("tet"), losses.get("tet", sharpness=2.5)):
        free = spikes.clone().requires_grad_()
        value, _ = loss.value_and_times(free, label)
        (rate_gradient,) = torch.autograd.grad(value, free)
        _, e = times(loss, spikes, labels)
        torch.testing.assert_close(e, -rate_gradient * spikes)


@pytest.mark.parametrize("classes", [3, 10, 100])
def test_a_balanced_tet_pulls_as_hard_as_it_pushes(classes):
    """One neuron fires alone: the label or another. Eq. (eq-balanced-tet)."""
    spikes = torch.eye(classes, dtype=torch.float64)[None, :2]
    for sharpness, ratio in ((math.log(classes - 1), -1), (1, (1 - classes) / math.e)):
        _, e = times(losses.get("tet", sharpness=sharpness), spikes, torch.tensor([0, 0]))
        assert e[0, 0, 0] / e[0, 1, 1] == pytest.approx(ratio)
    assert e[0, 0, 0] > 0


def test_timing_by_hand():
    """T = 4, C = 4: target spikes at 2, 3, 4. The label fires at 1 (early: 0), 3 (on time: 0.5/4), 4 (late is not)."""
    spikes = torch.zeros(4, 1, 4, dtype=torch.float64)
    spikes[[0, 3], 0, 2] = 1
    spikes[1, 0, 0] = 1
    value, e = times(losses.get("timing"), spikes, torch.tensor([2]))
    assert e[0, 0, 2] == 0
    assert e[3, 0, 2] == pytest.approx((4 - 3 + 0.5) / 4)
    assert e[1, 0, 0] == -0.5
    # Slots: 1 against 2 -> 0; 4 against 3 -> 1.5/4; missing (5) against 4 -> 1.5/4; missing against missing -> 0.5/4.
    assert value.item() == pytest.approx(0.5 * (2 * 0.375**2 + 0.125**2 + 0.25))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_backward_uses_its_incoming_gradient(name):
    generator = torch.Generator().manual_seed(0)
    spikes = (torch.rand(6, 4, 5, generator=generator) < 0.4).float()
    labels = torch.tensor([0, 1, 2, 3])
    _, e = times(losses.get(name), spikes, labels)
    assert e.abs().sum() > 0
    assert not e[spikes == 0].any()
    tripled = spikes.clone().requires_grad_()
    (3 * losses.get(name)(tripled, labels)).backward()
    assert torch.equal(tripled.grad, 3 * e)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_gradcheck_fails_by_design(name):
    """The backward is a gradient on spike times, not the derivative of the value in the spikes."""
    generator = torch.Generator().manual_seed(0)
    spikes = (torch.rand(4, 2, 3, generator=generator, dtype=torch.float64) < 0.5).double()
    label = torch.tensor([[True, False, False], [False, True, False]])
    loss = losses.get(name)

    def value(s):
        number, e = loss.value_and_times(s.detach(), label)
        return losses._GivenGradient.apply(s, number, e)

    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(value, (spikes.requires_grad_(),))


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("enhanced_count", {}, "Did you mean 'enhanced_counting'"),
        ("counting", {"target_lable": 5}, "Did you mean 'target_label'"),
        ("counting", {"target_label": -1}, "0 or more"),
        ("counting", {"target_others": float("nan")}, "finite"),
        ("counting", {"clip": 1}, "True or False"),
        ("kernel", {"tau_s": 1}, "above 1"),
        ("ttfs", {"t_unfired": 0}, "above 0"),
        ("ttfs", {"t_unfired": "4T"}, "finite number"),
        ("tet", {"sharpness": 0}, "above 0"),
        ("tet", {"tau_s": 3}, "Choose from: sharpness"),
        ("timing", {"tau_s": 3}, "Choose from: none"),
    ],
)
def test_bad_settings_get_one_line(name, settings, words):
    with pytest.raises(UserError, match=words) as caught:
        losses.get(name, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spikes", "labels", "words"),
    [
        (torch.ones(5, 2), torch.tensor([0, 1]), r"shape \(T, N, C\)"),
        (torch.ones(0, 2, 3), torch.tensor([0, 1]), "no empty axis"),
        (torch.ones(5, 2, 3), torch.tensor([0]), "one per sample"),
        (torch.ones(5, 2, 3), torch.tensor([0.0, 1.0]), "integers"),
        (torch.ones(5, 2, 3), torch.tensor([0, 3]), r"0\.\.2"),
        (torch.ones(5, 2, 3), torch.tensor([-1, 0]), r"0\.\.2"),
        (torch.ones(5, 2, 3).long(), torch.tensor([0, 1]), "floating"),
        (torch.full((5, 2, 3), float("nan")), torch.tensor([0, 1]), "NaN"),
        (torch.full((5, 2, 3), 0.5), torch.tensor([0, 1]), "0 or 1"),
    ],
)
def test_bad_batches_get_one_line(spikes, labels, words):
    with pytest.raises(UserError, match=words) as caught:
        losses.get("tet")(spikes, labels)
    assert "\n" not in str(caught.value)
