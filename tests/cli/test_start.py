"""The command line while it starts, and without its streams: signals that come early, streams closed or full."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snnbook import errors, signals
from snnbook.__main__ import BAD, INTERRUPTED, main
from snnbook.cli import terminal
from snnbook.records import checkpoints

from ..small_runs import write_data
from .test_cli import SMALL

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals, closes descriptors")

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "snnbook"]
ENTRY = "import sys; from snnbook.__main__ import main; print('ready', flush=True); sys.exit(main(sys.argv[1:]))"
MOMENTS = {"train": (0.005, 0.1, 0.4, 1.0, 2.0), "version": (0.005, 0.1, 0.3)}
"""Seconds after a command's entry: the first line of `main` is yet to run, modules are imported, the command works."""
TRAIN = ["train", *SMALL, "--epochs", "2", "--device", "cpu", "--out", "run"]


def environment_of(data):
    """Variables of a process: the small data, this package, one thread."""
    return os.environ | {"SNNBOOK_DATA": str(data), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def environment(tmp_path):
    return environment_of(write_data(tmp_path / "data"))


def wanted_code(number, command):
    if number == signal.SIGINT:
        return INTERRUPTED
    return 0 if command in ("train", "reproduce") else signals.TERMINATED


# ---- signals while it starts ----


def test_the_package_imports_nothing_heavy_and_leaves_signals_alone():
    """Neither does the command line's module, before it is called."""
    code = """if True:
    import signal, sys
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    import snnbook, snnbook.__main__
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    print(sorted({"torch", "numpy", "numba", "cyclopts", "importlib.metadata"} & set(sys.modules)))
    assert snnbook.losses.get("ttfs") and snnbook.NeuronParameters() and snnbook.__version__
    from snnbook import NeuronParameters, experiments, losses, networks, ops
    assert {"losses", "NeuronParameters", "__version__"} <= set(dir(snnbook)) and not hasattr(snnbook, "nothing")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["train", "reproduce", "evaluate", "version"])
@pytest.mark.parametrize("module", ["torch", "cyclopts"])
def test_a_signal_while_a_module_is_imported(module, command, number, tmp_path, environment):
    """A module that sends the signal when it is imported: quiet, the code of the signal, at once."""
    (tmp_path / f"{module}.py").write_text(f"import os, time\nos.kill(os.getpid(), {number:d})\ntime.sleep(60)\n")
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{ROOT}"
    arguments = [command] if command == "version" else [command, "quick"]
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == wanted_code(number, command)
    saving = number == signal.SIGTERM and command in ("train", "reproduce")
    assert done.stderr == f"snnbook: {signals.NOTHING_YET if saving else 'stopped'}\n"
    assert done.stdout == ""


def test_a_signal_that_is_ignored_stays_so(tmp_path, environment):
    """As by nohup, or for a job in the background of a script."""
    (tmp_path / "cyclopts.py").write_text("import os\nos.kill(os.getpid(), 2)\nraise SystemExit(7)\n")
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{ROOT}"
    script = f"trap '' INT; exec {sys.executable} -m snnbook version"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")


def stop_at(moment, command, number, folder, environment):
    """Send a signal to a new process, so many seconds after its entry, and see that it ends as it should.

    What Python does before the entry, while it starts itself, is its own.
    """
    words = [command]
    if command == "train":
        words = ["train", *SMALL, "--epochs", "500", "--out", str(folder / f"run-{moment}")]
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(moment)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    ended = process.returncode == 0 and command == "version"  # it was faster
    assert ended or process.returncode == wanted_code(number, command), (moment, err)
    assert err.count("\n") <= 1, (moment, err)
    assert not err or err.startswith("snnbook: stopped"), (moment, err)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", MOMENTS)
def test_signals_at_some_moments(command, number, tmp_path, environment):
    """A few of the moments of `make kills`, which tries many more."""
    for moment in MOMENTS[command]:
        stop_at(moment, command, number, tmp_path, environment)


def test_main_puts_handlers_and_streams_back(capsys):
    before = [signal.getsignal(number) for number in signals.SIGNALS], sys.stdout, sys.stderr
    assert main(["nonsense"]) == BAD
    assert ([signal.getsignal(number) for number in signals.SIGNALS], sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_command_works(number, monkeypatch, capsys):
    """Handlers are put back here, too; what SIGTERM stops has failed, unless it is a training."""
    from snnbook import datasets

    before = [signal.getsignal(each) for each in signals.SIGNALS]
    monkeypatch.setattr(datasets, "check", lambda: signal.raise_signal(number))
    assert main(["data", "check"]) == wanted_code(number, "data")
    assert capsys.readouterr().err.startswith("snnbook: stopped")
    assert [signal.getsignal(each) for each in signals.SIGNALS] == before


# ---- streams ----


@pytest.mark.parametrize(
    "redirected",
    ["2>&-", ">&- 2>&- <&-", "2>/dev/full", ">/dev/full", ">/dev/full 2>/dev/full", "| true"],
)
def test_a_run_goes_on_without_its_streams(redirected, tmp_path, environment):
    if "full" in redirected and not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is always full")
    script = f"set -o pipefail; {sys.executable} -m snnbook {' '.join(TRAIN)} {redirected}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert checkpoints.read(tmp_path / "run" / checkpoints.LAST).epoch == 2


@pytest.mark.parametrize("redirected", ["2>&-", ">&- 2>&- <&-", "2>/dev/full", ">/dev/full 2>/dev/full"])
def test_an_error_keeps_its_exit_code_without_streams(redirected, tmp_path, environment):
    script = f"{sys.executable} -m snnbook train quik {redirected}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (BAD, "", "")


def test_a_file_never_takes_the_place_of_a_closed_stream(tmp_path):
    """What libraries write to standard error would go into a checkpoint."""
    (tmp_path / "code.py").write_text(f"""if True:
    import os, sys
    sys.path.insert(0, {str(ROOT)!r})
    from snnbook.cli import streams
    with streams.opened(), open("file", "w") as file:
        os.write(2, b"message")
        print("message")
        print("message", file=sys.stderr)
        inherited = os.system("echo message >&2") == 0
        number = file.fileno() if inherited else 0
    os._exit(number)
    """)
    done = subprocess.run(["sh", "-c", f"exec {sys.executable} code.py <&- >&- 2>&-"], cwd=tmp_path)
    assert done.returncode > 2
    assert (tmp_path / "file").read_text() == ""


def test_lines_of_others_are_shown_without_their_control_characters():
    assert errors.one_line("a\x1b[31m\n  b\u202ec é") == r"a\x1b[31m b\u202ec é"


def test_hints_are_quoted(finished_record):
    assert terminal.summary(finished_record, Path("my run"))[-30:].endswith("snnbook evaluate 'my run'")


@pytest.fixture
def finished_record(tmp_path, monkeypatch):
    from snnbook import training

    from ..small_runs import small

    monkeypatch.setenv("SNNBOOK_DATA", str(write_data(tmp_path / "data")))
    return training.fit(small(epochs=1), tmp_path / "run", "cpu")


# ---- reproduce ----


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_reproduce_stopped_twice_leaves_no_process(pause, tmp_path, environment):
    """Ctrl-C, and once more before the first is through: the processes that it started end before it does."""
    words = ["reproduce", "quick", "--epochs", "500", "--seeds", "2", "--jobs", "2", "--device", "cpu"]
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = tmp_path / "runs" / "reproduce"
    while not all((folder / f"quick-e500-seed{seed}" / checkpoints.LAST).exists() for seed in (0, 1)):
        assert process.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    numbers = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGINT)
    time.sleep(pause)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert err == f"snnbook: stopped; what is done is kept. Go on with: snnbook {' '.join(words)}\n"
    assert not [number for number in numbers if Path("/proc", number).exists()]
