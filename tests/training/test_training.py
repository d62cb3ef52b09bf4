"""Runs: their folders, what they learn, all data sets, and errors where training breaks down."""

import dataclasses

import pytest
import torch

from snnbook import datasets, experiments, records, training
from snnbook.errors import UserError
from snnbook.records import checkpoints
from snnbook.training import metrics
from snnbook.training.step import TrainingStep

from ..small_runs import TRAIN, StopAfter, same_run, small, state, write_cifar, write_nmnist

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("data")


# ---- a run ----


def test_a_run_leaves_its_folder(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {"settings.json", "provenance.json", "epochs.jsonl", "last.pt", "best.pt"}
    record = records.read(finished)
    assert record.finished
    assert record.experiment == small()
    assert [each.epoch for each in record.epochs] == [1, 2, 3]
    assert record.provenance.data == {split: datasets.load("fashion_mnist", split).sha256 for split in datasets.SPLITS}
    assert state(finished).epoch == 3
    assert state(finished, checkpoints.BEST).epoch == record.best.epoch


def test_the_small_network_learns(tmp_path):
    record = training.fit(small(epochs=12, network="4C5-P4-16"), tmp_path / "run", "cpu")
    assert record.best.test_accuracy > 0.5  # chance is 0.1
    assert record.last.loss < record.epochs[0].loss


def test_same_seed_same_run_other_seed_other_run(finished, tmp_path):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    training.fit(small(), tmp_path / "a", "cpu")
    same_run(finished, tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), before), "fit must leave torch's generator as it was"
    training.fit(small(seed=1), tmp_path / "b", "cpu")
    assert not torch.equal(state(tmp_path / "b").model["layers.0.weight"], state(finished).model["layers.0.weight"])


@pytest.mark.parametrize("loss", ["counting", "kernel", "tet", "timing", "ttfs"])
def test_every_loss_trains(loss, tmp_path):
    record = training.fit(small(loss=loss, epochs=1), tmp_path / "run", "cpu")
    assert record.last.grad_abs_sum > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "sgd", "learning_rate": 1e-3},
        {"encoding": "latency", "mean": (0.0,), "std": (1.0,)},
        {"encoding": "latency_bright_first", "mean": (0.0,), "std": (1.0,)},
        {"dropout": 0.2},
        {"pooling": "max"},
        {"engine": "auto"},
        {"batch_size": 7},
        {"batch_size": 1000},
        {"norm_weight_decay": 0.1},
        {"augmentation": ("crop", "flip")},
    ],
    ids=str,
)
def test_other_settings_train_and_go_on(changes, tmp_path):
    experiment = small(epochs=2, **changes)
    training.fit(experiment, tmp_path / "straight", "cpu")
    with pytest.raises(KeyboardInterrupt):
        training.fit(experiment, tmp_path / "stopped", "cpu", StopAfter(1))
    training.resume(tmp_path / "stopped", "cpu")
    same_run(tmp_path / "straight", tmp_path / "stopped")


def test_folders_are_named_after_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        training.fit(small(epochs=1, loss="ttfs", seed=7), device="cpu")
    found = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert found == ["fashion_mnist-ttfs-seed7", "fashion_mnist-ttfs-seed7-2"]


# ---- the five data sets ----


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("nmnist", "4C5-P4-8"),
        ("nmnist_released", "4C5-P4-8"),
        ("cifar10", "4C3-P4-8"),
        ("cifar10_released", "4C3-P4-8"),
        ("cifar10_cifarnet", "4C3-P4-8"),
        ("cifar100", "4C3-P4-8"),
    ],
)
def test_every_data_set_trains_and_goes_on(name, network, tmp_path, monkeypatch):
    """Files in the true formats, by name with the settings of Table 1 but for a narrow network and few steps."""
    root = tmp_path / "data"
    write_nmnist(root)
    for classes in (10, 100):
        write_cifar(root, classes)
    monkeypatch.setenv("SNNBOOK_DATA", str(root))
    padding = 0 if name.startswith("nmnist") else 1
    changes = {"network": network, "padding": padding, "steps": 4, "epochs": 2, "batch_size": 10, "rate": 0.6}
    experiment = experiments.get(name, **changes, engine="reference")
    record = training.fit(experiment, tmp_path / "straight", "cpu")
    assert record.last.grad_abs_sum > 0
    assert [len(rates) for rates in record.last.firing_rates] == [4, 4, 4]
    assert all(max(rates) > 0 for rates in record.last.firing_rates)
    with pytest.raises(KeyboardInterrupt):
        training.fit(experiment, tmp_path / "stopped", "cpu", StopAfter(1))
    training.resume(tmp_path / "stopped", "cpu")
    same_run(tmp_path / "straight", tmp_path / "stopped")


def test_nmnist_is_learnt(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNBOOK_DATA", str(write_nmnist(tmp_path / "data", train=100, test=50)))
    changes = {"network": "8C5-P4-16", "padding": 0, "steps": 5, "epochs": 8, "batch_size": 10, "rate": 1.0}
    changes |= {"target_label": 5, "target_others": 1, "learning_rate": 0.01, "engine": "reference"}
    assert training.fit(experiments.get("nmnist", **changes), tmp_path / "run", "cpu").best.test_accuracy > 0.5


# ---- guards ----


def test_gamma_at_zero_stops_with_advice(tmp_path):
    with pytest.raises(UserError, match=r"gamma of layer 1 of 3 \(2C5\) fell to -.*; try a lower learning rate"):
        training.fit(small(learning_rate=1e3), tmp_path / "run", "cpu")


@pytest.mark.parametrize(
    ("value", "place", "layer"), [("nan", 2, r"layer 3 of 3 \(10\)"), ("inf", 0, r"layer 1 of 3 \(2C5\)")]
)
def test_broken_gradients_stop_with_advice(value, place, layer, tmp_path, monkeypatch):
    """A gradient that is not finite ends the epoch, and no checkpoint holds what came of it."""
    compute = TrainingStep.compute

    def poisoned(self, images, labels):
        self.net.spiking[place].weight.register_hook(lambda grad: grad * float(value))
        compute(self, images, labels)

    monkeypatch.setattr(TrainingStep, "compute", poisoned)
    with pytest.raises(UserError, match=rf"broke down: gradient norm is (nan|inf), from {layer} down; try a lower"):
        training.fit(small(batch_size=TRAIN), tmp_path / "run", "cpu")
    assert state(tmp_path / "run").epoch == 0


def test_broken_thresholds_are_named_by_layer():
    net = small().build_network()
    net.spiking[1].threshold[3] = -0.5
    with pytest.raises(UserError, match=r"layer 2 of 3 \(8\) has a threshold of -0\.5"):
        metrics.thresholds(net)


def test_encode_gives_what_the_network_takes():
    frames = torch.rand(2, 30, 2, 34, 34)
    assert torch.equal(experiments.get("nmnist").encode(frames), frames.transpose(0, 1))
    images = torch.rand(2, 1, 28, 28)
    plain = dataclasses.replace(small(), encoding="latency", mean=(0.0,), std=(1.0,))
    assert plain.encode(images).shape == (3, 2, 1, 28, 28)
    assert torch.equal(small().encode(images), images.expand(small().steps, *images.shape))
    bright = plain.override(encoding="latency_bright_first").encode(images)
    assert torch.equal(bright, plain.encode(1 - images))


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "mps", "cpu:1", "meta", ""])
def test_devices_that_are_not_there(name):
    with pytest.raises(UserError):
        training.choose_device(name)
    assert training.choose_device("cpu") == CPU
