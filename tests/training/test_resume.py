"""Stopped runs: whatever stopped them, they end with the weights and figures of a run that never stopped."""

import shutil

import pytest

from snnbook import records, training
from snnbook.errors import UserError
from snnbook.records import checkpoints, files

from ..small_runs import StopAfter, content, same_run, small, state, write_data

pytestmark = pytest.mark.usefixtures("data")


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
    folder = tmp_path / "run"
    count = 0

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
    experiment = small(learning_rate=1e-12)
    folder = tmp_path / "run"
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
    before = content(finished)
    with pytest.raises(UserError, match="holds a run already: go on with it by --resume"):
        training.fit(small(), finished, "cpu")
    assert content(finished) == before
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
    folder = shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.setenv("SNNBOOK_DATA", str(write_data(tmp_path / "other", seed=5)))
    for call in (training.resume, training.evaluate):
        with pytest.raises(UserError, match="are not those that"):
            call(folder, device="cpu")
