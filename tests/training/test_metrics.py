"""Figures of training and of tests, compared with direct computation."""

import dataclasses
import math
import shutil

import pytest
import torch

from snnbook import datasets, networks, readout, records, training
from snnbook.datasets import loader
from snnbook.errors import UserError
from snnbook.records import checkpoints
from snnbook.records.figures import TRAIN_SUMS
from snnbook.training import metrics, trainer
from snnbook.training.trainer import Trainer, batches

from ..small_runs import BATCH, TEST, TRAIN, StopAfter, small, state

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("data")


# ---- figures ----


def test_figures_of_an_epoch(tmp_path):
    """One batch an epoch, so that an epoch's figures can be computed beside it."""
    experiment = small(batch_size=TRAIN, epochs=1, augmentation=(), network="4C5-P4-16")
    record = training.fit(experiment, tmp_path / "run", "cpu")
    with torch.random.fork_rng(devices=[]):
        trainer = Trainer(experiment, CPU)
        trainer.initialise()
    images, labels = next(trainer._training.epoch(0))
    spikes, raw = trainer.net(images, labels=labels)
    spikes.retain_grad()
    value = experiment.build_loss()(spikes, labels)
    value.backward()
    e = spikes.grad[spikes > 0].double()
    found = record.last
    wanted = {
        "loss": value.item(),
        "grad_sum": e.sum().item(),
        "grad_abs_sum": e.abs().sum().item(),
        "positive_ratio": (e.sum() / e.abs().sum()).item(),
        "positive_share": (e > 0).double().mean().item(),
        "train_accuracy": (readout.predict(raw) == labels).double().mean().item(),
        "learning_rate": 0.01,
    }
    assert not torch.equal(raw, spikes), "the case must tell the forced spikes from the neurons' own"
    assert {name: getattr(found, name) for name in wanted} == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("pooling", ["adjusted", "max"])
def test_figures_of_a_test(pooling, tmp_path):
    """Firing rates, accuracy and exit time, with the layers run one by one on all test images at once."""
    experiment = small(epochs=1, pooling=pooling, network="4C5-P4-16")
    found = training.fit(experiment, tmp_path / "run", "cpu").last
    net = experiment.build_network().eval()
    checkpoints.fit_into(net, state(tmp_path / "run").model, tmp_path)
    test = datasets.load("fashion_mnist", "test")
    x = ((test.images / 255 - 0.1307) / 0.3081).expand(3, -1, -1, -1, -1)
    rates = []
    with torch.no_grad():
        for layer in net.layers:
            x = layer(x)
            if layer in net.spiking:
                rates.append([step.mean().item() for step in x])
    assert found.firing_rates == [pytest.approx(each, rel=1e-5) for each in rates]
    assert any(rate > 0 for rate in rates[-1])
    accuracy = (readout.predict(x) == test.labels).double().mean().item()
    assert found.test_accuracy == pytest.approx(accuracy, rel=1e-6)
    assert found.exit_time == pytest.approx(readout.exit_step(x, test.labels).double().mean().item() / 3, rel=1e-6)
    for layer, spread in zip(net.spiking, found.thresholds, strict=True):
        theta = layer.threshold.double()
        wanted = (theta.mean(), theta.std(correction=0), theta.min(), theta.max())
        assert [spread[name] for name in records.SPREAD] == pytest.approx([each.item() for each in wanted], rel=1e-6)
    assert found.output_thresholds == pytest.approx(net.spiking[-1].threshold.tolist(), rel=1e-6)


def test_totals_of_silence():
    """No spike, no gradient: the two shares are unknown, not 0."""
    experiment = small(epochs=1)
    trainer = Trainer(experiment, CPU)
    for layer in trainer.net.spiking:
        layer.threshold.fill_(1e6)
    trainer.net.layers[0].register_forward_pre_hook(lambda layer, x: (x[0] * 0,))
    found = trainer.epoch(1, lambda *_: None)
    assert (found.positive_ratio, found.positive_share, found.grad_abs_sum) == (None, None, 0)
    assert found.exit_time == 1


def test_the_groups_of_sums_have_the_places_of_their_names():
    totals = metrics.Totals(CPU)
    totals._health += torch.tensor([1.0, 2.0])
    totals._outputs += torch.arange(3.0, 9.0)
    wanted = dict(zip((*metrics.HEALTH_SUMS, *metrics.OUTPUT_SUMS), range(1, 9), strict=True))
    assert dict(zip(TRAIN_SUMS, totals.sums.tolist(), strict=True)) == wanted


def test_every_epoch_has_an_order_of_its_own(tmp_path, monkeypatch):
    epoch = loader.Batches.epoch
    drawn = []

    def logged(self, index):
        drawn.append((self.shuffle, self.seed, index))
        return epoch(self, index)

    monkeypatch.setattr(loader.Batches, "epoch", logged)
    training.fit(small(seed=6), tmp_path / "run", "cpu")
    assert [index for shuffle, _, index in drawn if shuffle] == [0, 1, 2]
    assert {seed for shuffle, seed, _ in drawn if shuffle} == {6}


def test_augmentation_is_for_training_alone():
    data = {split: datasets.load("fashion_mnist", split) for split in datasets.SPLITS}
    found = {split: batches(small(), data[split], CPU) for split in datasets.SPLITS}
    seen = [(found[split].augmentation, found[split].shuffle) for split in ("train", "test")]
    assert seen == [(("flip",), True), ((), False)]
    assert batches(small(augmentation=()), data["train"], CPU).augmentation == ()


@pytest.mark.parametrize(
    ("shape", "device", "images"),
    [((1, 28, 28), "cpu", 100), ((1, 28, 28), "cuda", 500), ((2, 34, 34), "cuda", 200), ((3, 32, 32), "cuda", 100)],
)
def test_a_gpu_takes_more_test_images_at_once(shape, device, images):
    """In hundreds: so the images at even places of a batch are the same everywhere."""
    data = datasets.Dataset("x", "test", torch.empty(0, *shape, dtype=torch.uint8), torch.empty(0), 10, None, "")
    assert trainer._test_batch(data, torch.device(device)) == images


def test_dropout_is_for_training_alone(tmp_path):
    """A network with dropout tests as the same weights without it do, also right after training steps."""
    with_dropout = small(dropout=0.5, epochs=1)
    folder = tmp_path / "run"
    found = training.fit(with_dropout, folder, "cpu").last
    net = small(epochs=1, network="2C5-P4-8").build_network()
    names = dict(zip((each for each in state(folder).model), net.state_dict(), strict=True))
    net.load_state_dict({names[name]: value for name, value in state(folder).model.items()})
    test = batches(with_dropout, datasets.load("fashion_mnist", "test"), CPU)
    plain = metrics.evaluate(net, test.epoch(0), lambda images: images)
    assert [pytest.approx(rates, rel=1e-5) for rates in plain.firing_rates] == found.firing_rates


def test_reports_add_up(tmp_path):
    seen = []

    class Listen(training.Progress):
        def report(self, images, loss, accuracy):
            seen.append(images)

    training.fit(small(), tmp_path / "run", "cpu", Listen())
    assert sum(seen) == 3 * TRAIN


def test_epochs_trained_by_hand_are_whole():
    """Without tests between them, as an estimate of the time does it."""
    trainer = Trainer(small(), CPU)
    trainer.initialise()
    seen = []
    for epoch in (1, 2):
        assert trainer.train_epoch(epoch, lambda images, *_: seen.append(images))["samples"] == TRAIN
    assert seen == [BATCH, BATCH, BATCH, 0] * 2, "a report at every step, and at the end"


def test_learning_rate_is_a_cosine_from_its_start():
    experiment = small(epochs=4, learning_rate=0.01)
    rates = [experiment.learning_rate_of(epoch) for epoch in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.01, 0.005 * (1 + math.sqrt(0.5)), 0.005, 0.005 * (1 - math.sqrt(0.5))])
    torch_rates = []
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=4)
    for _ in range(4):
        torch_rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx(torch_rates)


def test_weights_and_norms_decay_on_their_own():
    trainer = Trainer(small(weight_decay=0.3, norm_weight_decay=0.2), CPU)
    weights, norms = trainer.optimiser.param_groups
    assert (weights["weight_decay"], norms["weight_decay"]) == (0.3, 0.2)
    assert {id(p) for p in weights["params"]} == {id(layer.weight) for layer in trainer.net.spiking}
    assert {id(p) for p in norms["params"]} == {id(p) for each in trainer.net.spiking for p in (each.gamma, each.beta)}
    assert Trainer(small(weight_decay=0.3), CPU).optimiser.param_groups[1]["weight_decay"] == 0.3


def test_gradients_are_clipped():
    trainer = Trainer(small(optimiser="sgd", learning_rate=1.0, weight_decay=0.0, gradient_clip=1e-3), CPU)
    trainer.initialise()
    before = [p.detach().clone() for p in trainer.net.parameters()]
    images, labels = next(trainer._training.epoch(0))
    trainer.net.train()
    trainer._run_step(images, labels)
    moved = torch.stack([(p - q).norm() for p, q in zip(trainer.net.parameters(), before, strict=True)]).norm()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def test_initialised_on_the_first_images_in_order():
    trainer = Trainer(small(), CPU)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = small().build_network()
    train = datasets.load("fashion_mnist", "train")
    net.initialise((train.images[:BATCH] / 255 - 0.1307) / 0.3081, rate=0.6)
    trainer.initialise()
    for ours, theirs in zip(trainer.net.spiking, net.spiking, strict=True):
        assert torch.allclose(ours.threshold, theirs.threshold, rtol=1e-5)


# ---- evaluate ----


def test_halves_are_the_even_and_the_odd_places():
    net = networks.build("2C5-P4-8", (1, 28, 28), 10, steps=3)
    net.initialise(torch.rand(7, 1, 28, 28), rate=0.6)
    images = torch.rand(7, 1, 28, 28)
    right = readout.predict(net.eval()(images))
    labels = torch.where(torch.arange(7) % 2 == 0, right, (right + 1) % 10)
    labels[6] = (right[6] + 1) % 10
    found = metrics.evaluate(net, [(images, labels)], lambda images: images)
    assert found.halves == (3 / 4, 0.0)
    assert found.accuracy == pytest.approx(3 / 7)


def test_classes_and_ties_are_counted(monkeypatch):
    """Class 2 loses an image to class 0 by a tie, and one outright; class 1 has two right; others have no image."""
    net = networks.build("2C5-P4-8", (1, 28, 28), 10, steps=3)
    spikes = torch.zeros(3, 5, 10)
    for image, firing in enumerate([(1,), (1,), (0, 2), (2,), (0,)]):
        spikes[:, image, list(firing)] = 1
    monkeypatch.setattr(net, "forward", lambda images: spikes[:, images.long()])
    batches = [(torch.tensor([0.0, 1, 2]), torch.tensor([1, 1, 2])), (torch.tensor([3.0, 4]), torch.tensor([2, 2]))]
    found = metrics.evaluate(net, batches, lambda images: images)
    assert found.by_class[:3] == [pytest.approx(math.nan, nan_ok=True), 1.0, pytest.approx(1 / 3)]
    assert all(math.isnan(share) for share in found.by_class[3:])
    assert (found.accuracy, found.tied, found.among) == (3 / 5, 1 / 5, 4 / 5)


def test_evaluate_repeats_the_recorded_figures(finished):
    record = records.read(finished)
    for which, figures in (("best", record.best), ("last", record.last)):
        found = training.evaluate(finished, which, "cpu")
        assert found.accuracy == pytest.approx(figures.test_accuracy, rel=1e-6)
        assert found.exit_time == pytest.approx(figures.exit_time, rel=1e-6)
        assert list(found.halves) == pytest.approx(figures.test_accuracy_halves, rel=1e-6)
        assert found.accuracy * TEST == pytest.approx(round(found.accuracy * TEST))
        assert found.accuracy <= found.among <= 1


def test_evaluate_says_what_is_missing_or_does_not_fit(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "best.pt").unlink()
    with pytest.raises(UserError, match=r"best\.pt is missing; .* --checkpoint last"):
        training.evaluate(run, device="cpu")
    records.write_settings(run, dataclasses.replace(records.read_settings(run), steps=5))
    with pytest.raises(UserError, match=r"last\.pt is of other settings than .*settings\.json"):
        training.evaluate(run, "last", "cpu")


def test_a_folder_needs_a_name():
    with pytest.raises(UserError, match="name of the run's folder is empty"):
        training.fit(small(), "", "cpu")


def test_evaluate_needs_an_epoch(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(), tmp_path / "run", "cpu", StopAfter(1, mid_epoch=True))
    with pytest.raises(UserError, match="no epoch is done yet"):
        training.evaluate(tmp_path / "run", device="cpu")
    with pytest.raises(UserError, match="not a run folder"):
        training.evaluate(tmp_path, device="cpu")
    with pytest.raises(UserError, match="Did you mean 'best'"):
        training.evaluate(tmp_path / "run", "bst", "cpu")
