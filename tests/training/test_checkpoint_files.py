"""Checkpoints that are cut, damaged, foreign, hostile or of another run are refused in one line."""

import io
import pickle
import random
import re
import shutil
import zipfile

import pytest
import torch

from snnbook import networks, records, training
from snnbook.errors import UserError
from snnbook.records import checkpoints

from ..small_runs import StopAfter, content, same_run, same_state, small, state

pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture
def stopped(tmp_path):
    """A run that was stopped after its first epoch."""
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(), tmp_path / "run", "cpu", StopAfter(1))
    return tmp_path / "run"


# ---- checkpoints ----


def copy(folder, to):
    return shutil.copytree(folder, to / "copy")


def refused(folder):
    """Both ways into last.pt give one line with its name, and write nothing."""
    before = content(folder)
    for call in (lambda: training.resume(folder, "cpu"), lambda: training.evaluate(folder, "last", "cpu")):
        with pytest.raises(UserError) as caught:
            call()
        assert str(folder / "last.pt") in str(caught.value)
        assert "\n" not in str(caught.value)
    assert content(folder) == before
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
    last = folder / "last.pt"
    best = folder / "best.pt"
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
    path = tmp_path / "last.pt"
    wanted = state(finished)
    rng = random.Random(0)
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
        ({"epoch": "3"}, "epoch of the checkpoint must be a whole number, 0 or more"),
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


# ---- nothing in a file is run ----


@pytest.mark.parametrize("field", ["sums", "model", "optimiser", "generators", "experiment", "seconds"])
def test_a_bomb_in_a_checkpoint_does_not_go_off(field, finished, tmp_path):
    """A checkpoint whole and well, but for one field."""
    values = torch.load(finished / checkpoints.LAST, weights_only=True)
    torch.save(values | {field: {"x": Bomb()}}, tmp_path / "last.pt")
    with pytest.raises(SystemExit):
        torch.load(tmp_path / "last.pt", weights_only=False)
    with pytest.raises(UserError, match="not a checkpoint"):
        checkpoints.read(tmp_path / "last.pt")


def test_a_checkpoint_that_would_unpack_to_more_than_its_file_is_not_unpacked(finished, tmp_path):
    path = tmp_path / "last.pt"
    with (
        zipfile.ZipFile(finished / checkpoints.LAST) as found,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in found.namelist():
            packed.writestr(name, found.read(name))
    assert torch.load(path, weights_only=True), "torch itself would unpack it"
    with pytest.raises(UserError, match="not a checkpoint"):
        checkpoints.read(path)


@pytest.mark.parametrize("name", [records.SETTINGS, records.PROVENANCE, records.EPOCHS])
def test_a_bomb_in_a_record_does_not_go_off(name, stopped, tmp_path):
    (stopped / name).write_bytes(pickle.dumps(Bomb()) + b"\n")
    (tmp_path / "record.jsonl").write_bytes(pickle.dumps(Bomb()) + b"\n")
    for path in (stopped, tmp_path / "record.jsonl"):
        with pytest.raises(UserError, match="not JSON"):
            records.read(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step": -1}, "step of the checkpoint must be a whole number, 0 or more, not -1"),
        ({"step": 4}, "3 steps of the optimiser are not those of 1 epoch"),
        ({"step": 1.0}, "step of the checkpoint must be a whole number, 0 or more, not 1.0"),
        ({"sums": torch.zeros(3)}, "does not hold the optimiser"),
        ({"sums": 3}, "sums of the checkpoint must be a Tensor, not int"),
        ({"seconds": 1}, "seconds 1.0 of a checkpoint at step 0 of an epoch cannot be"),
    ],
)
def test_states_within_an_epoch_that_cannot_be(changes, words, stopped):
    values = torch.load(stopped / checkpoints.LAST, weights_only=True)
    torch.save(values | changes, stopped / checkpoints.LAST)
    before = content(stopped)
    with pytest.raises(UserError, match=words):
        training.resume(stopped, "cpu")
    assert content(stopped) == before
