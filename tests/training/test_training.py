"""The trainer: figures held against direct computation, going on after any stop, damage, guards."""

import dataclasses
import io
import math
import pickle
import random
import re
import shutil
import zipfile

import pytest
import torch

from snnbook import datasets, experiments, networks, readout, records, training
from snnbook.datasets import loader
from snnbook.errors import UserError
from snnbook.records import checkpoints, files
from snnbook.training import metrics, trainer
from snnbook.training.step import TrainingStep
from snnbook.training.trainer import Trainer, batches

from ..small_runs import (
    BATCH,
    TEST,
    TRAIN,
    StopAfter,
    same_run,
    same_state,
    small,
    state,
    write_cifar,
    write_data,
    write_nmnist,
)

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    """A run of three epochs that nothing disturbed; not to be written to."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    training.fit(small(), folder, "cpu")
    return folder


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


def test_every_epoch_has_an_order_of_its_own(tmp_path, monkeypatch):
    drawn, epoch = [], loader.Batches.epoch

    def listen(self, index):
        drawn.append((self.shuffle, self.seed, index))
        return epoch(self, index)

    monkeypatch.setattr(loader.Batches, "epoch", listen)
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
    with_dropout, folder = small(dropout=0.5, epochs=1), tmp_path / "run"
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
    seen, trainer = [], Trainer(small(), CPU)
    trainer.initialise()
    for epoch in (1, 2):
        assert trainer.train_epoch(epoch, lambda images, *_: seen.append(images))["samples"] == TRAIN
    assert seen == [BATCH, BATCH, BATCH, 0] * 2, "a report at every step, and at the end"


def test_learning_rate_is_a_cosine_from_its_start():
    experiment = small(epochs=4, learning_rate=0.01)
    rates = [experiment.learning_rate_of(epoch) for epoch in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.01, 0.005 * (1 + math.sqrt(0.5)), 0.005, 0.005 * (1 - math.sqrt(0.5))])
    torch_rates, optimiser = [], torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
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


# ---- going on ----


@pytest.mark.parametrize("mid_epoch", [False, True], ids=["between epochs", "within an epoch"])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_stopped_run_goes_on_to_the_same_end(epoch, mid_epoch, finished, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(), folder, "cpu", StopAfter(epoch, mid_epoch))
    assert len(records.read(folder).epochs) == epoch - mid_epoch
    record = training.resume(folder, "cpu")
    same_run(finished, folder)
    sessions = record.provenance.sessions
    if epoch == 3 and not mid_epoch:
        assert len(sessions) == 1, "nothing was left to do"
    else:
        assert [each.from_epoch for each in sessions] == [0, epoch - mid_epoch]


@pytest.mark.parametrize("write", range(1, 9))
def test_a_run_that_dies_at_any_write_goes_on_to_the_same_end(write, finished, tmp_path, monkeypatch):
    """The process ends right before the n-th file is put in its place, appended lines included."""
    folder, count = tmp_path / "run", 0

    class Killed(BaseException):
        pass

    def dying(original):
        def call(*arguments):
            nonlocal count
            count += 1
            if count == write:
                raise Killed
            return original(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomic", dying(files.write_atomic))
        patch.setattr(files, "append", dying(files.append))
        with pytest.raises(Killed):
            training.fit(small(), folder, "cpu")
    if write <= 2:  # no settings yet: not a run
        with pytest.raises(UserError, match="not a run folder"):
            training.resume(folder, "cpu")
        return
    training.resume(folder, "cpu")
    same_run(finished, folder)


def test_a_best_checkpoint_that_was_not_written_is_made_up_for(tmp_path, monkeypatch):
    """The process ends between last.pt and best.pt of the epoch that stays the best: the first of equal ones."""
    experiment, folder = small(learning_rate=1e-12), tmp_path / "run"
    write = checkpoints.write

    def dying(checkpoint, path):
        if path.name == checkpoints.BEST:
            raise KeyboardInterrupt
        write(checkpoint, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            training.fit(experiment, folder, "cpu")
    assert not (folder / checkpoints.BEST).exists()
    assert training.resume(folder, "cpu").best.epoch == 1
    assert state(folder, checkpoints.BEST).epoch == 1
    training.fit(experiment, tmp_path / "straight", "cpu")
    same_run(tmp_path / "straight", folder)


def test_half_a_line_and_part_files_do_no_harm(finished, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(), folder, "cpu", StopAfter(2))
    with (folder / records.EPOCHS).open("ab") as file:
        file.write(b'{"epoch": 3, "lo')
    (folder / ".last.pt.part").write_bytes(b"half")
    training.resume(folder, "cpu")
    same_run(finished, folder)
    assert not (folder / ".last.pt.part").exists()


def test_a_run_in_the_way_is_left_alone(finished, tmp_path):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    with pytest.raises(UserError, match="holds a run already: go on with it by --resume"):
        training.fit(small(), finished, "cpu")
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("dear")
    (tmp_path / "file").write_text("")
    for taken in ("full", "file"):
        with pytest.raises(UserError, match="is there already and is not an empty folder"):
            training.fit(small(), tmp_path / taken, "cpu")
    with pytest.raises(UserError, match="cannot make the folder"):
        training.fit(small(), tmp_path / "file" / "run", "cpu")
    (tmp_path / "empty").mkdir()
    training.fit(small(epochs=1), tmp_path / "empty", "cpu")


def test_no_folder_is_made_for_settings_that_cannot_run(tmp_path):
    with pytest.raises(UserError, match="unknown engine"):
        training.fit(small(engine="fpga"), tmp_path / "run", "cpu")
    with pytest.raises(UserError, match="not finite"):
        training.fit(small(std=(1e-300,)), tmp_path / "run", "cpu")
    with pytest.raises(UserError, match="unknown device"):
        training.fit(small(), tmp_path / "run", "gpu")
    assert not list(tmp_path.iterdir())


def test_other_data_are_refused(finished, tmp_path, monkeypatch):
    folder = copy(finished, tmp_path)
    monkeypatch.setenv("SNNBOOK_DATA", str(write_data(tmp_path / "other", seed=5)))
    for call in (training.resume, training.evaluate):
        with pytest.raises(UserError, match="are not those that"):
            call(folder, device="cpu")


# ---- checkpoints ----


def copy(folder, to):
    target = to / "copy"
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def refused(folder):
    """Both ways into last.pt give one line with its name, and write nothing."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for call in (lambda: training.resume(folder, "cpu"), lambda: training.evaluate(folder, "last", "cpu")):
        with pytest.raises(UserError) as caught:
            call()
        assert str(folder / "last.pt") in str(caught.value)
        assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return str(caught.value)


@pytest.mark.parametrize("share", [0, 1e-4, 0.01, 0.3, 0.6, 0.9, 0.99, 1])
def test_a_cut_checkpoint_is_refused(share, finished, tmp_path):
    folder = copy(finished, tmp_path)
    whole = (folder / "last.pt").read_bytes()
    (folder / "last.pt").write_bytes(whole[: min(int(share * len(whole)), len(whole) - 1)])
    assert "cut short, damaged" in refused(folder)


def test_the_best_checkpoint_can_stand_in_for_a_damaged_last_one(finished, tmp_path):
    """The line says how, and the run ends as it would have; where the best one is damaged too, nothing is promised."""
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(), tmp_path / "stopped", "cpu", StopAfter(1))
    folder = copy(finished, tmp_path)
    last, best = folder / "last.pt", folder / "best.pt"
    best.write_bytes((tmp_path / "stopped" / "best.pt").read_bytes())
    last.write_bytes(b"half")
    with pytest.raises(UserError, match=rf"To go on after epoch 1: cp {best} {last}$"):
        training.resume(folder, "cpu")
    last.write_bytes(best.read_bytes())
    training.resume(folder, "cpu")
    same_run(finished, folder)
    for path in (last, best):
        path.write_bytes(b"half")
    with pytest.raises(UserError, match=r"or use another one$"):
        training.resume(folder, "cpu")


def test_a_checkpoint_is_refused_wherever_it_is_cut(finished, tmp_path):
    path = tmp_path / "last.pt"
    whole = (finished / "last.pt").read_bytes()
    for length in range(0, len(whole), len(whole) // 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut short, damaged"):
            checkpoints.read(path)


def test_a_flipped_bit_is_found_or_does_no_harm(finished, tmp_path):
    """Anywhere in the file; and in the byte of every entry's header by which torch would take it for a folder."""
    path, wanted, rng = tmp_path / "last.pt", state(finished), random.Random(0)
    whole = (finished / "last.pt").read_bytes()
    attributes = [match.start() + 38 for match in re.finditer(b"PK\x01\x02", whole)]
    assert len(attributes) > 20
    places = [(8 * place + 4) for place in attributes] + [rng.randrange(8 * len(whole)) for _ in range(200)]
    refused = 0
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = checkpoints.read(path)
        except UserError:
            refused += 1
        else:
            same_state(wanted, found)
    assert refused > 100


def test_a_flipped_bit_is_found_in_weights(finished, tmp_path):
    path = tmp_path / "last.pt"
    whole = bytearray((finished / "last.pt").read_bytes())
    with zipfile.ZipFile(finished / "last.pt") as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    whole[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(UserError, match="damaged"):
        checkpoints.read(path)


def foreign(values):
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the checkpoint ran code')",))


def archive_of(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a checkpoint", "not a checkpoint"),
        (pickle.dumps(Bomb()), "not a checkpoint"),
        (foreign(Bomb()), "not a checkpoint"),
        (archive_of("archive/data.pkl", pickle.dumps(Bomb())), "not a checkpoint"),
        (archive_of("letter.txt", b"dear"), "not a checkpoint"),
        (foreign({"weight": torch.zeros(3)}), "not a checkpoint of snnbook"),
        (foreign([1, 2]), "not a checkpoint of snnbook"),
        (foreign({"format": checkpoints.FORMAT, "version": 1}), "version 1"),
        (foreign({"format": checkpoints.FORMAT, "version": checkpoints.VERSION}), "missing"),
    ],
)
def test_foreign_files_are_refused_and_not_run(content, words, finished, tmp_path):
    folder = copy(finished, tmp_path)
    (folder / "last.pt").write_bytes(content)
    assert words in refused(folder)


def rewritten(folder, **changes):
    """Put other values into a folder's last.pt."""
    values = torch.load(folder / "last.pt", weights_only=True)
    (folder / "last.pt").write_bytes(foreign(values | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch": 7}, "cannot be"),
        ({"epoch": "3"}, "epoch of the checkpoint must be int"),
        ({"model": {}}, "does not hold the network"),
        ({"model": {"layers.0.weight": torch.zeros(3)}}, "does not hold the network"),
        ({"model": {3: 4}}, "does not hold the network"),
        ({"experiment": {}}, "missing"),
        ({"more": 1}, "unknown entry 'more'"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(changes, words, finished, tmp_path):
    folder = copy(finished, tmp_path)
    rewritten(folder, **changes)
    assert words in refused(folder)


@pytest.mark.parametrize("changes", [{"optimiser": {}}, {"generators": {}}, {"generators": {"cpu": torch.zeros(3)}}])
def test_states_that_do_not_fit_are_refused(changes, finished, tmp_path):
    folder = copy(finished, tmp_path)
    rewritten(folder, **changes)
    with pytest.raises(UserError, match=r"last\.pt does not hold the optimiser and generators"):
        training.resume(folder, "cpu")


def test_a_checkpoint_of_another_run_is_refused(finished, tmp_path):
    folder = copy(finished, tmp_path)
    records.write_settings(folder, small(seed=3))
    with pytest.raises(UserError, match="of other settings than"):
        training.resume(folder, "cpu")


def test_a_lost_checkpoint_is_named(finished, tmp_path):
    folder = copy(finished, tmp_path)
    (folder / "last.pt").unlink()
    with pytest.raises(UserError, match=r"last\.pt is missing"):
        training.resume(folder, "cpu")


def test_checkpoints_hold_the_thresholds(finished):
    model = state(finished).model
    net = small().build_network()
    assert model.keys() == net.state_dict().keys()
    assert {f"layers.{index}.threshold" for index in (0, 2, 3)} <= model.keys()
    assert not any(torch.equal(model[key], torch.ones_like(model[key])) for key in model if "threshold" in key)


def test_checkpoints_load_by_torch_alone(finished):
    values = torch.load(finished / "best.pt", weights_only=True)
    net = networks.build("2C5-P4-8", (1, 28, 28), 10, steps=3)
    net.load_state_dict(values["model"])


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
