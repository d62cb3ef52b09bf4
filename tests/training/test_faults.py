"""Signals, kills, full disks, read-only folders, two processes in one folder: one line, and nothing lost."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from snnbook import records, signals, training
from snnbook.__main__ import BAD
from snnbook.errors import UserError
from snnbook.records import checkpoints, files, run_folder
from snnbook.training import loop
from snnbook.training.step import TrainingStep
from snnbook.training.trainer import Trainer

from ..small_runs import StopAfter, content, same_run, small, state

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture(scope="module")
def experiment():
    """Dropout draws from torch's generator at every step, so that a step too many or too few would show."""
    return small(dropout=0.2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data, experiment):
    """A run that nothing disturbed; not to be written to."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    training.fit(experiment, folder, "cpu")
    return folder


@pytest.fixture
def stopped(tmp_path, experiment):
    """A run that was stopped after its first epoch."""
    with pytest.raises(KeyboardInterrupt):
        training.fit(experiment, tmp_path / "run", "cpu", StopAfter(1))
    return tmp_path / "run"


# ---- signals ----


def signal_at(monkeypatch, owner, name, call, number):
    """Send this process a signal when a method of a class is called for the call-th time."""
    original = getattr(owner, name)
    calls = count(1)

    def method(self, *arguments):
        if next(calls) == call:
            signal.raise_signal(number)
        return original(self, *arguments)

    monkeypatch.setattr(owner, name, method)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 8, 9])
def test_sigterm_in_any_step(step, finished, experiment, tmp_path, monkeypatch):
    """Three steps an epoch: the step is done, the state saved, and the run goes on to the same end."""
    with monkeypatch.context() as patch:
        signal_at(patch, TrainingStep, "compute", step, signal.SIGTERM)
        with pytest.raises(signals.Stopped, match=r"all is saved\. Go on with: snnbook train") as caught:
            training.fit(experiment, tmp_path / "run", "cpu")
    assert caught.value.by_sigterm
    last = state(tmp_path / "run")
    assert (last.epoch, last.step) == ((step - 1) // 3, (step - 1) % 3 + 1)
    training.resume(tmp_path / "run", "cpu")
    same_run(finished, tmp_path / "run")


@pytest.mark.parametrize("epoch", [1, 3])
def test_ctrl_c_in_a_test(epoch, finished, experiment, tmp_path, monkeypatch):
    """All steps of the epoch are done, its test is not: the test is made up for."""
    with monkeypatch.context() as patch:
        signal_at(patch, Trainer, "_tests", epoch, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt) as caught:
            training.fit(experiment, tmp_path / "run", "cpu")
    assert not caught.value.by_sigterm
    assert (state(tmp_path / "run").epoch, state(tmp_path / "run").step) == (epoch - 1, 3)
    training.resume(tmp_path / "run", "cpu")
    same_run(finished, tmp_path / "run")


def test_a_signal_while_an_epoch_is_written(finished, experiment, tmp_path, monkeypatch):
    """It stops the run once all of the epoch's files are there; after the last epoch, the run is finished."""
    for epoch, words in ((1, "stopped after epoch 1 of 3; all is saved"), (3, "the run in .* is finished")):
        with monkeypatch.context() as patch:
            append = records.append_epoch
            calls = count(1)

            def late(*arguments, append=append, calls=calls, epoch=epoch):
                append(*arguments)
                if next(calls) == epoch:
                    signal.raise_signal(signal.SIGTERM)

            patch.setattr(records, "append_epoch", late)
            with pytest.raises(signals.Stopped, match=words):
                training.fit(experiment, tmp_path / f"run-{epoch}", "cpu")
        training.resume(tmp_path / f"run-{epoch}", "cpu")
        same_run(finished, tmp_path / f"run-{epoch}")


def test_handlers_are_put_back_and_a_second_ctrl_c_breaks_off():
    before = [signal.getsignal(number) for number in signals.SIGNALS]
    with signals.defer_signals() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGINT
        signal.raise_signal(signal.SIGTERM)
        assert request.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with signals.defer_signals(patient=True):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in signals.SIGNALS] == before
    try:
        with pytest.raises(UserError), signals.defer_signals(patient=True):
            raise UserError("another process has ended")
        signal.raise_signal(signal.SIGTERM)  # noted, and that is all
    finally:
        for number, handler in zip(signals.SIGNALS, before, strict=True):
            signal.signal(number, handler)


@pytest.fixture
def in_foreground():
    """Handle Ctrl-C as a foreground process does. A process that a shell started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("in_foreground")
@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_before_the_first_step(number, finished, experiment, tmp_path, monkeypatch):
    """While first thresholds are searched: nothing needs to be finished, and the run goes on from its beginning."""
    with monkeypatch.context() as patch:
        signal_at(patch, Trainer, "initialise", 1, number)
        with pytest.raises(signals.Stopped, match=r"^stopped before the first step\. Go on with: .*run$") as caught:
            training.fit(experiment, tmp_path / "run", "cpu")
    assert caught.value.by_sigterm == (number == signal.SIGTERM)
    training.resume(tmp_path / "run", "cpu")
    same_run(finished, tmp_path / "run")


def test_a_signal_before_there_is_a_folder(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "create", lambda *_: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(signals.Stopped, match="the same command begins again"):
        training.fit(experiment, tmp_path / "run", "cpu")
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_sigterm_does_not_disturb_the_first():
    @signals.raise_on_sigterm()
    def stopped_twice():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            done.append("cleared up")

    done = []
    with pytest.raises(signals.Stopped) as caught:
        stopped_twice()
    assert caught.value.by_sigterm
    assert done


def test_saves_within_epochs_change_nothing(finished, experiment, tmp_path, monkeypatch):
    write = checkpoints.write
    saves = []

    def logged(checkpoint, path):
        saves.append((checkpoint.epoch, checkpoint.step))
        write(checkpoint, path)

    monkeypatch.setattr(checkpoints, "write", logged)
    training.fit(experiment, tmp_path / "run", "cpu", save_every=0)
    same_run(finished, tmp_path / "run")
    assert {(0, 1), (0, 2), (0, 3), (1, 0), (2, 2)} <= set(saves)


def test_a_broken_state_is_not_saved_within_an_epoch(experiment, tmp_path, monkeypatch):
    compute = TrainingStep.compute

    def poisoned(self, *arguments):
        compute(self, *arguments)
        self.net.spiking[0].threshold[0] = -1.0

    monkeypatch.setattr(TrainingStep, "compute", poisoned)
    with pytest.raises(UserError, match="has a threshold of -1"):
        training.fit(experiment, tmp_path / "run", "cpu", save_every=0)
    assert (state(tmp_path / "run").epoch, state(tmp_path / "run").step) == (0, 0)


# ---- kills ----


def test_killed_runs_end_as_one_left_alone():
    """A few of the kills of `make kills`, with each engine."""
    command = [sys.executable, "-m", "tests.kills", "6", "11"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("runs, all equal to the one left alone") == 2


def test_a_run_killed_before_it_began_can_be_started_again(finished, experiment, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    left = [files.part(folder / name).name for name in run_folder.FIRST_FILES] + [f".{run_folder.FIRST_FILES[0]}.part"]
    for name in (*run_folder.LEFTOVERS, *left):
        (folder / name).write_bytes(b"half")
    training.fit(experiment, folder, "cpu")
    same_run(finished, folder)


# ---- a folder for one ----


def test_two_processes_do_not_write_to_one_folder(stopped):
    """The lock is the first process's until it ends, by SIGKILL too."""
    code = "import sys; from snnbook.records import run_folder; import pathlib, time\n"
    code += "with run_folder.locked(pathlib.Path(sys.argv[1])): print('in', flush=True); time.sleep(100)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    other = subprocess.Popen([sys.executable, "-c", code, stopped], stdout=subprocess.PIPE, env=environment)
    try:
        assert other.stdout.readline() == b"in\n"
        before = content(stopped)
        with pytest.raises(UserError, match=rf"run is in use by process {other.pid} on .*; wait until it ends"):
            training.resume(stopped, "cpu")
        assert content(stopped) == before
        assert training.evaluate(stopped, device="cpu").accuracy >= 0, "reading is free"
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert (stopped / run_folder.LOCK).exists()
    training.resume(stopped, "cpu")
    assert not (stopped / run_folder.LOCK).exists()


def test_two_new_runs_do_not_share_a_folder(experiment, tmp_path, monkeypatch):
    """Both found it empty; one was faster."""
    create = run_folder.create

    def late(*arguments):
        folder = create(*arguments)
        records.write_settings(folder, experiment)
        return folder

    monkeypatch.setattr(run_folder, "create", late)
    with pytest.raises(UserError, match="holds a run already"):
        training.fit(small(seed=5), tmp_path / "run", "cpu")
    assert records.read_settings(tmp_path / "run") == experiment


def test_file_systems_without_locks_get_a_warning(stopped, monkeypatch):
    def flock(*_):
        raise OSError(run_folder.NO_LOCKS[0], "Function not implemented")

    monkeypatch.setattr(run_folder.fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="has no locks"):
        training.resume(stopped, "cpu")


# ---- disks ----


@pytest.mark.parametrize("named", [True, False])
def test_a_link_to_a_disk_that_is_not_there(named, experiment, tmp_path, monkeypatch):
    """A folder of runs on a disk that is not mounted: one line, not a search for a free name without end."""
    monkeypatch.chdir(tmp_path)
    Path("runs").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="cannot make the folder runs"):
        run_folder.create("runs" if named else None, experiment)


def test_output_that_finds_no_room(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is always full")
    command = [sys.executable, "-m", "snnbook", "experiments"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == BAD
    assert done.stderr == "snnbook: cannot write the output: No space left on device. What was saved is kept\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("name", [checkpoints.LAST, checkpoints.BEST])
def test_a_full_disk_at_a_checkpoint(name, finished, stopped, monkeypatch):
    """No room left, by the kernel itself: one line with the file, the checkpoints before it intact."""
    before = content(stopped)
    (stopped / checkpoints.BEST).unlink()  # so that it is written again
    write = files._to_disk

    def full(file, data):
        if files.part_of(Path(str(file.name)).name) == name:
            with open("/dev/full", "wb", buffering=0) as device:
                device.write(data)
        write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_to_disk", full)
        with pytest.raises(UserError, match=rf"cannot write .*{name}: No space left on device"):
            training.resume(stopped, "cpu")
    assert (stopped / checkpoints.LAST).read_bytes() == before[checkpoints.LAST]
    training.resume(stopped, "cpu")
    same_run(finished, stopped)


def resume_by_command(folder, prepare):
    """Go on in a process of its own, prepared just before it starts."""
    command = [sys.executable, "-m", "snnbook", "train", "--resume", folder.name]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder.parent, env=environment, capture_output=True, text=True, preexec_fn=prepare, timeout=120
    )
    assert done.returncode == BAD
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("snnbook: cannot write ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_write_that_breaks_off_half_way(share, finished, stopped):
    """The kernel stops the writing of a checkpoint in its middle (a limit on the size of files)."""
    before = content(stopped)
    size = int(share * len(before[checkpoints.LAST]))
    assert size > len(before[records.PROVENANCE]) + 2000, "the smaller files must fit"
    line = resume_by_command(stopped, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    assert "File too large" in line
    after = content(stopped)
    assert after[checkpoints.LAST] == before[checkpoints.LAST]
    assert after[checkpoints.BEST] == before[checkpoints.BEST]
    assert not any(name.endswith(".part") for name in after)
    training.resume(stopped, "cpu")
    same_run(finished, stopped)


def bound_by_permissions():
    """Let the superuser be refused like everyone else."""
    drop, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    if os.getuid() == 0:
        ctypes.CDLL(None).prctl(drop, override, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="drops a capability of the superuser")
def test_a_read_only_folder(finished, stopped):
    before = content(stopped)
    stopped.chmod(0o555)
    try:
        assert resume_by_command(stopped, bound_by_permissions) == (
            "snnbook: cannot write into run: Permission denied. Nothing is lost\n"
        )
    finally:
        stopped.chmod(0o755)
    assert content(stopped) == before
    training.resume(stopped, "cpu")
    same_run(finished, stopped)


def test_a_folder_that_turns_read_only(stopped, monkeypatch):
    """From the outside, while the run is on its way: the next write says so, and nothing is half-written."""
    before = content(stopped)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    with pytest.raises(UserError, match="Read-only file system"):
        training.resume(stopped, "cpu")
    assert content(stopped) == before


# ---- the same again ----


def test_two_processes_of_their_own_train_the_same(tmp_path):
    """Same seed, same machine, same number of threads: same weights, in processes that share nothing.

    A first one compiles the CPU engine, where nobody has yet: it may add up in another order than those that load it.
    """
    cases = [{}, {"engine": "auto"}, {"engine": "auto", "loss": "ttfs", "network": "8C5-P2-32"}]
    code = f"""
import sys
from pathlib import Path
from snnbook import training
from tests.small_runs import small
for number, changes in enumerate({cases!r}):
    training.fit(small(dropout=0.2, epochs=2, **changes), Path(sys.argv[1]) / str(number), "cpu")
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    for name in ("compiles", "a", "b"):
        subprocess.run([sys.executable, "-c", code, tmp_path / name], env=environment, check=True, timeout=300)
    for number in range(len(cases)):
        same_run(tmp_path / "a" / str(number), tmp_path / "b" / str(number))


def test_the_constants_go_together():
    assert loop.Action.NOTHING < loop.Action.REPORT < loop.Action.SAVE < loop.Action.STOP
    one, other = (files.part(Path("a/b.pt")) for _ in range(2))
    assert one.parent == other.parent == Path("a")
    assert one != other
    assert {files.part_of(path.name) for path in (one, other, Path(".b.pt.part"))} == {"b.pt"}
    assert files.part_of("b.pt") is None
