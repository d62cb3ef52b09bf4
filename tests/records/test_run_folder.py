"""Run folders that somebody else reaches into: links, pipes, locks and folders that are replaced."""

import contextlib
import os
import resource
import shutil
import signal
from functools import partial

import pytest

from snnbook import records, results, training
from snnbook.errors import UserError
from snnbook.records import checkpoints, files, run_folder
from snnbook.results import reproduce
from snnbook.training import tensorboard

from ..small_runs import StopAfter, same_run, small

pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture(scope="module")
def kept(tmp_path_factory, data):
    """A run that stopped after its first epoch; not to be written to."""
    folder = tmp_path_factory.mktemp("kept") / "run"
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(), folder, "cpu", StopAfter(1))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("finished") / "run"
    training.fit(small(), folder, "cpu")
    return folder


@pytest.fixture
def stopped(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "run")
    return tmp_path / "run"


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@contextlib.contextmanager
def soon(seconds=20):
    """Fail where something is waited for."""

    def late(*_):
        raise AssertionError("this waits for something")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# ---- links ----


@pytest.mark.parametrize("name", run_folder.OWN)
@pytest.mark.parametrize("whole", [True, False], ids=["a file", "nothing"])
def test_a_link_where_a_run_writes(name, whole, stopped, tmp_path):
    """One line with its name; what it leads to, if there is anything, is not touched."""
    outside = tmp_path / "outside"
    inside = stopped / name
    old = inside.read_bytes() if inside.exists() else b"dear"
    inside.unlink(missing_ok=True)
    if whole:
        outside.write_bytes(old)
    inside.symlink_to(outside)
    lost = name == records.SETTINGS and not whole
    words = "not a run folder" if lost else f"{name} is a symbolic link, .* remove"
    with pytest.raises(UserError, match=words):
        training.resume(stopped, "cpu", progress=None)
    assert outside.exists() == whole
    assert not whole or outside.read_bytes() == old
    assert inside.is_symlink()


def test_names_of_part_files_that_somebody_guessed(finished, stopped, tmp_path):
    """The part files of older versions had fixed names."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"dear")
    for name in run_folder.WRITTEN:
        (stopped / f".{name}.part").symlink_to(outside)
    training.resume(stopped, "cpu")
    same_run(finished, stopped)
    assert outside.read_bytes() == b"dear"
    assert not [path.name for path in stopped.iterdir() if path.name.startswith(".")]


def test_a_part_file_in_the_way_is_not_written_through(tmp_path, monkeypatch):
    """Even a name that was guessed right: a new file is made, or none."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"dear")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0" * 16)
    files.part(tmp_path / "file").symlink_to(outside)
    with pytest.raises(UserError, match=r"cannot write .*file: File exists"):
        files.write_atomic(tmp_path / "file", b"new")
    assert outside.read_bytes() == b"dear"


def test_a_second_name_of_a_file_keeps_what_it_was(finished, stopped, tmp_path):
    """Backups are made by hard links: the copy must not grow with the run."""
    copy = tmp_path / "backup"
    copy.mkdir()
    for path in stopped.iterdir():
        os.link(path, copy / path.name)
    before = content(copy)
    training.resume(stopped, "cpu")
    same_run(finished, stopped)
    assert content(copy) == before
    (stopped / run_folder.LOCK).write_text("of the backup")
    os.link(stopped / run_folder.LOCK, copy / run_folder.LOCK)
    with pytest.raises(UserError, match="second name of another file"):
        training.resume(stopped, "cpu")
    assert (copy / run_folder.LOCK).read_text() == "of the backup"


def test_logs_of_jobs_are_not_written_through_links(tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"dear")
    (planned,) = reproduce.plan("quick", 1, 1, tmp_path / "results", tmp_path / "runs")
    planned.folder.parent.mkdir()
    planned.folder.with_suffix(".log").symlink_to(outside)
    with pytest.raises(UserError, match="is a symbolic link"):
        reproduce.train_in_processes([planned], 1, 1, lambda run: ["version"], lambda line: None)
    assert outside.read_bytes() == b"dear"


def test_a_folder_that_is_a_link_is_a_folder(finished, stopped, tmp_path):
    """Runs are often kept on another disk."""
    (tmp_path / "link").symlink_to(stopped)
    training.resume(tmp_path / "link", "cpu")
    same_run(finished, stopped)


# ---- what is no file ----


def occupy(path, kind):
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path.parent / "nowhere")


@pytest.mark.parametrize("name", [*run_folder.WRITTEN, run_folder.LOCK])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_not_read(kind, name, stopped):
    occupy(stopped / name, kind)
    calls = [lambda: training.resume(stopped, "cpu")]
    if name != run_folder.LOCK:
        which = "best" if name == checkpoints.BEST else "last"
        calls.append(lambda: training.evaluate(stopped, which, "cpu"))
    if name in (records.SETTINGS, records.PROVENANCE, records.EPOCHS):
        calls[1:] = [lambda: records.read(stopped)]
    for call in calls:
        if call is calls[0] and name == checkpoints.BEST and kind == "folder":
            continue  # read only where it is written anew
        with soon(), pytest.raises(UserError):
            call()


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "nothing"])
def test_a_results_folder_with_something_that_is_no_file(kind, tmp_path):
    (tmp_path / "quick").mkdir()
    occupy(tmp_path / "quick" / "quick-e1-seed0.jsonl", kind)
    with soon(), pytest.raises(UserError, match=r"cannot read .*seed0\.jsonl"):
        results.load(tmp_path)
    shutil.rmtree(tmp_path / "quick")
    occupy(tmp_path / results.INDEX, kind)
    if kind != "nothing":
        with soon(), pytest.raises(UserError, match=r"cannot read .*index\.jsonl"):
            results.load(tmp_path)


# ---- what is taken away ----


class Meddle(training.Progress):
    """Do something to the folder after the first epoch."""

    def __init__(self, deed):
        self.deed = deed

    def epoch(self, figures, best):
        if figures.epoch == 1:
            self.deed()


def another_lock(folder):
    (folder / run_folder.LOCK).unlink()
    (folder / run_folder.LOCK).write_text("somebody else's")


def renamed_lock(folder):
    (folder / "other").write_text("somebody else's")
    (folder / "other").rename(folder / run_folder.LOCK)


def no_lock(folder):
    (folder / run_folder.LOCK).unlink()


def folder_as_lock(folder):
    (folder / run_folder.LOCK).unlink()
    (folder / run_folder.LOCK).mkdir()


def link_as_lock(folder):
    (folder / run_folder.LOCK).unlink()
    (folder / run_folder.LOCK).symlink_to("/dev/null")


def dangling_lock(folder):
    (folder / run_folder.LOCK).unlink()
    (folder / run_folder.LOCK).symlink_to(folder / "nowhere")


def another_run(folder):
    folder.rename(folder.with_name("moved"))
    shutil.copytree(folder.with_name("other"), folder)


def moved(folder):
    folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize(
    "deed",
    [another_lock, renamed_lock, no_lock, folder_as_lock, link_as_lock, dangling_lock, another_run, moved],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_whose_lock_or_folder_is_taken_away_stops(deed, resumed, tmp_path, kept, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(kept, folder.with_name("other"))
    before = content(folder.with_name("other"))
    if resumed:
        shutil.copytree(kept, folder)
        repair = training.repair
        monkeypatch.setattr(training, "repair", lambda *a: (repair(*a), deed(folder))[0])
        train = partial(training.resume, folder, "cpu")
    else:
        train = partial(training.fit, small(), folder, "cpu", Meddle(lambda: deed(folder)))
    with pytest.raises(UserError, match=r"is no longer held: .*Nothing more is written") as caught:
        train()
    assert "\n" not in str(caught.value)
    place = folder.with_name("moved") if deed in (another_run, moved) else folder
    assert len(records.read(place).epochs) == 1
    if deed is another_run:
        assert content(folder) == before, "the other run was written to"
    if deed is another_lock:
        assert (folder / run_folder.LOCK).read_text() == "somebody else's"


def test_sessions_whose_work_was_put_back_are_left_out(kept, stopped):
    """Somebody went back to the checkpoint of epoch 1, as the program itself advises where the last one is damaged."""
    best = (kept / checkpoints.BEST).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        training.resume(stopped, "cpu", StopAfter(2))
    with pytest.raises(KeyboardInterrupt):
        training.resume(stopped, "cpu", StopAfter(1, mid_epoch=True))
    (stopped / checkpoints.LAST).write_bytes(best)
    record = training.resume(stopped, "cpu")
    assert record.finished
    assert [session.from_epoch for session in record.provenance.sessions] == [0, 1, 1]


# ---- hints ----


def test_hints_can_be_typed(tmp_path):
    folder = tmp_path / "my run; rm -r x"
    folder.mkdir()
    records.write_settings(folder, small())
    with pytest.raises(UserError, match=r"--resume '/.*/my run; rm -r x', or"):
        run_folder.refuse_full(folder)


def test_the_owner_of_a_lock_is_shown_without_escapes(stopped):
    with run_folder.locked(stopped):
        (stopped / run_folder.LOCK).write_bytes(b"process 1\x1b]0;owned\x07\n on \xe2\x80\xaex")
        with pytest.raises(run_folder.InUse) as caught, run_folder.locked(stopped, patience=0):
            pass
    assert str(caught.value).isprintable()
    assert r"process 1\x1b]0;owned\x07\n on \u202ex" in str(caught.value)


def test_tensorboard_has_its_folder_in_the_run(tmp_path):
    assert tensorboard.FOLDER in run_folder.OWN


@pytest.mark.parametrize("name", [*run_folder.WRITTEN, "record.jsonl", results.INDEX])
def test_files_with_a_hole_are_not_read_whole(name, stopped, tmp_path):
    """Eight gigabytes that take no room on the disk; memory would not hold them."""
    place = stopped if name in run_folder.WRITTEN else tmp_path
    with (place / name).open("ab") as file:
        file.truncate(2**33)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    calls = {
        checkpoints.BEST: lambda: training.evaluate(stopped, "best", "cpu"),
        "record.jsonl": lambda: records.read(tmp_path / name),
        results.INDEX: lambda: results.load(tmp_path),
        records.EPOCHS: lambda: records.read(stopped),
    }
    with soon(), pytest.raises(UserError, match=name):
        calls.get(name, lambda: training.resume(stopped, "cpu"))()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300_000, "kB"
