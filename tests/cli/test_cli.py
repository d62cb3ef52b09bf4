"""The command line: what it prints, and that nothing malformed gets more than one line and exit code 2."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from snnbook import __version__, experiments, records, training
from snnbook.__main__ import BAD, INTERRUPTED
from snnbook.records import checkpoints, files
from snnbook.results import paper
from snnbook.training.trainer import Trainer

from ..small_runs import TEST, TRAIN, small, write_data

pytestmark = pytest.mark.usefixtures("data")

SMALL = [
    "fashion_mnist",
    "--network",
    "2C5-P4-8",
    "--padding",
    "0",
    "--steps",
    "3",
    "--batch-size",
    "20",
    "--engine",
    "reference",
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working folder for every test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    """A finished run; not to be written to."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    training.fit(small(epochs=2), folder, "cpu", command=["train", "fashion_mnist"])
    return folder


def one_line(code, out, err):
    """The complaint, if there is nothing else: one line on standard error, exit code 2."""
    assert code == BAD
    assert out == ""
    assert err.startswith("snnbook: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


# ---- what is malformed ----

MALFORMED = [
    (["trian"], 'Did you mean "train"'),
    (["train"], "name an experiment"),
    (["train", "quik"], "Did you mean 'quick'"),
    (["train", ""], "unknown experiment"),
    (["train", "fashion_mnist", "mnist"], "mnist"),
    (["train", "quick", "--epocs", "3"], "Did you mean --epochs"),
    (["train", "quick", "--lr", "3"], "--lr"),
    (["train", "quick", "--epochs"], "--epochs"),
    (["train", "quick", "--epochs", "0"], "epochs must be"),
    (["train", "quick", "--epochs", "-3"], "epochs must be"),
    (["train", "quick", "--epochs", "1.5"], "not a whole number: '1.5'"),
    (["train", "quick", "--epochs", "1e3"], "not a whole number"),
    (["train", "quick", "--epochs", "0x10"], "not a whole number"),
    (["train", "quick", "--epochs", "1_000"], "not a whole number"),
    (["train", "quick", "--epochs", "three"], "not a whole number"),
    (["train", "quick", "--epochs", ""], "not a whole number"),
    (["train", "quick", "--epochs", "+-3"], "not a whole number"),
    (["train", "quick", "--epochs", "9" * 6000], "--epochs"),
    (["train", "quick", "--epochs", "3", "--epochs", "4"], "--epochs"),
    (["train", "quick", "--seed", "-1"], "seed must be"),
    (["train", "quick", "--seed", "9223372036854775808"], "seed must be"),
    (["train", "quick", "--batch-size", "0"], "batch_size must be"),
    (["train", "quick", "--learning-rate", "0"], "learning_rate must be"),
    (["train", "quick", "--learning-rate", "nan"], "learning_rate must be"),
    (["train", "quick", "--learning-rate", "inf"], "learning_rate must be"),
    (["train", "quick", "--learning-rate", "1e999"], "learning_rate must be"),
    (["train", "quick", "--learning-rate", "fast"], "not a number: 'fast'"),
    (["train", "quick", "--tau-g", "None"], "not a number: 'None'"),
    (["train", "quick", "--tau-g", "3_0"], "not a number: '3_0'"),
    (["evaluate", "a\0b"], "null byte"),
    (["train", "quick", "--weight-decay", "-0.1"], "weight_decay must be"),
    (["train", "quick", "--target-label", "-1"], "target_label must be"),
    (["train", "quick", "--target-others", "nan"], "target_others must be"),
    (["train", "quick", "--t-unfired", "0"], "t_unfired must be"),
    (["train", "quick", "--kernel-tau-s", "0.5"], "kernel_tau_s must be"),
    (["train", "quick", "--rate", "0"], "rate must be"),
    (["train", "quick", "--dropout", "1"], "dropout must be"),
    (["train", "quick", "--tau-m", "3"], "tau_m and tau_s must differ"),
    (["train", "quick", "--tau-g", "1"], "tau_g"),
    (["train", "quick", "--loss", "tfs"], "Did you mean 'ttfs'"),
    (["train", "quick", "--loss", "counting", "--sharpness", "5"], "loss 'counting' has no sharpness"),
    (["train", "quick", "--kernel-tau-s", "9"], "loss 'enhanced_counting' has no kernel_tau_s"),
    (["train", "quick", "--loss", "tet", "--no-label-scaling"], "loss 'tet' has no label_scaling"),
    (["train", "quick", "--gradient-clip", "0"], "gradient_clip must be"),
    (["train", "quick", "--out", ""], "name of the run's folder is empty"),
    (["train", "quick", "--engine", "cpuu"], "Did you mean 'cpu'"),
    (["train", "quick", "--optimiser", "adam"], "Did you mean 'adamw'"),
    (["train", "quick", "--precision", "bf16"], "Did you mean 'bf16_backward'"),
    (["train", "quick", "--network", "32C5-X"], "'X'"),
    (["train", "quick", "--network", ""], "network"),
    (["train", "quick", "--network", "8C3-P99"], "nothing is left"),
    (["train", "quick", "--steps", "0"], "steps must be"),
    (["train", "quick", "--save-every", "-1"], "save_every must be"),
    (["train", "quick", "--save-every", "nan"], "save_every must be"),
    (["train", "quick", "--device", "gpu"], "unknown device"),
    (["train", "quick", "--device", "cuda:999"], "is not here"),
    (["train", "quick", "--device", "meta"], "unknown device"),
    (["train", "nmnist", "--device", "cpu"], "the train files of nmnist were not found"),
    (["train", "cifar10", "--device", "cpu"], "the train files of cifar10 were not found"),
    (["train", "--resume"], "--resume"),
    (["train", "--resume", "nowhere"], "not a run folder"),
    (["train", "quick", "--resume", "nowhere"], "leave out quick"),
    (["train", "--resume", "nowhere", "--epochs", "9", "--out", "x"], "leave out --epochs --out"),
    (["evaluate"], "RUN"),
    (["evaluate", "nowhere"], "not a run folder"),
    (["evaluate", "nowhere", "--checkpoint", "bst"], "bst"),
    (["evaluate", "a", "b"], "b"),
    (["evaluate", "x" * 5000], "File name too long"),
    (["reproduce", "quick", "--device", "cpu", "--runs", "/dev/null/x"], "cannot make the folder /dev/null/x"),
    (["reproduce", "quick", "--device", "cpu", "--runs", ""], "--runs must be the name of a file or folder"),
    (["reproduce", "quick", "--device", "cpu", "--results", ""], "--results must be the name of a file or folder"),
    (["record"], "RUN"),
    (["record", "nowhere"], "cannot read"),
    (["plot"], "name a run's folder"),
    (["plot", "nowhere"], "cannot read"),
    (["plot", "nowhere", "--out", "picture.bmp"], "must be named .png or .svg"),
    (["train", "quick", "--log", "tensorbord"], "tensorbord"),
    (["data", "chekc"], 'Did you mean "check"'),
    (["experiments", "all"], "all"),
    (["--epochs", "3"], "--epochs"),
    (["train", "qu\nick"], "unknown experiment"),
    (["train", "\x1b[31mquick"], "unknown experiment"),
    (["train", "quick", "--ep\nochs", "3"], "Did you mean --epochs"),
    (["train", "quick", "--out", "/dev/null/x", "--epochs", "1"], "/dev/null/x"),
]


@pytest.mark.parametrize(("arguments", "words"), MALFORMED, ids=[" ".join(a)[:50] or "-" for a, _ in MALFORMED])
def test_what_is_malformed_gets_one_line(arguments, words, call, here):
    assert words in one_line(*call(*arguments))
    assert not list(here.iterdir()), "nothing may be left behind"


def test_the_real_command_has_no_traceback_either(here):
    """The same through a process of its own, as `python -m snnbook`."""
    done = subprocess.run(
        [sys.executable, "-m", "snnbook", "train", "quik"], capture_output=True, text=True, cwd=here, check=False
    )
    assert "Did you mean 'quick'" in one_line(done.returncode, done.stdout, done.stderr)


def test_a_bug_keeps_its_traceback(call, monkeypatch):
    def broken(name):
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(experiments, "get", broken)
    with pytest.raises(RuntimeError, match="a defect of ours"):
        call("train", "quick")


def test_full_memory_gets_one_line(call, monkeypatch):
    def full(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:128] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Trainer, "initialise", full)
    code, _, err = call("train", *SMALL)
    assert (code, err) == (BAD, "snnbook: memory is full; try a smaller --batch-size or --network\n")


def test_a_full_disk_gets_one_line_and_the_run_goes_on_later(call, monkeypatch, here):
    straight = training.fit(small(epochs=2, learning_rate=5e-4), here / "straight", "cpu")

    def full(_):
        raise OSError(28, "No space left on device")

    append = files.append
    with monkeypatch.context() as patch:
        patch.setattr(files, "append", lambda *a: (patch.setattr("os.fsync", full), append(*a)))
        code, _, err = call("train", *SMALL, "--epochs", "2", "--out", "run")
    assert code == BAD
    assert re.fullmatch(r"snnbook: cannot write run/epochs\.jsonl: No space left on device\. .*\n", err)
    assert call("train", "--resume", "run")[0] == 0
    assert records.read(here / "run").best.test_accuracy == straight.best.test_accuracy


# ---- what is right ----


def test_train_evaluate_record(call, here):
    code, out, err = call("train", *SMALL, "--epochs", "2", "--loss", "ttfs", "--t-unfired", "20", "--seed", "4")
    assert (code, err) == (0, "")
    folder = Path("runs/fashion_mnist-ttfs-seed4")
    lines = out.splitlines()
    assert lines[0].startswith("fashion_mnist: network 2C5-P4-8-10, T = 3, loss ttfs, 2 epoch(s) of 60 images, seed 4")
    assert sum(line.startswith("epoch ") and "images/s" in line for line in lines) == 2
    assert lines[-1] == f"next: snnbook evaluate {folder}"
    record = records.read(folder)
    assert (record.experiment.loss, record.experiment.t_unfired, record.experiment.seed) == ("ttfs", 20, 4)
    assert record.provenance.sessions[0].command.startswith("snnbook train fashion_mnist --network 2C5-P4-8")
    assert f"{record.best.test_accuracy:.2%}" in out

    code, out, err = call("evaluate", folder, "--checkpoint", "last")
    assert (code, err) == (0, "")
    assert f"{record.last.test_accuracy:.2%}" in out
    assert [line.count("%") for line in out.splitlines()[-3:]] == [0, 5, 5], "ten classes, five in a line"

    code, out, err = call("record", folder)
    assert code == 0
    assert "no table has it" in err
    assert out.strip() == "results/fashion_mnist-ttfs-seed4.jsonl"
    assert records.read(out.strip()) == record
    assert str(here) not in Path(out.strip()).read_text()
    assert "is there already" in one_line(*call("record", folder))


def test_plot(call, finished, here):
    pytest.importorskip("matplotlib")
    assert call("plot", finished, finished) == (0, "curves.png\n", "")
    assert (here / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert call("plot", finished, "--out", "new/two words.svg")[:2] == (0, "new/two words.svg\n")


def test_train_with_tensorboard(call):
    pytest.importorskip("tensorboard")
    code, out, err = call("train", *SMALL, "--epochs", "1", "--log", "tensorboard", "--out", "run")
    assert (code, err) == (0, "")
    assert "epoch 1/1" in out
    assert [path.name.startswith("events.out") for path in Path("run/tensorboard").iterdir()] == [True]


def test_a_layer_that_falls_silent_is_named_once(call, monkeypatch):
    """Thresholds out of reach: every layer is silent, and says so in the epoch when it fell silent."""

    def out_of_reach(trainer):
        trainer.net.spiking[1].threshold.fill_(1e6)

    monkeypatch.setattr(Trainer, "initialise", out_of_reach)
    code, out, _ = call("train", *SMALL, "--epochs", "3", "--out", "run")
    assert code == 0
    warnings = [line for line in out.splitlines() if line.startswith("warning")]
    assert len(warnings) == 2
    assert warnings[0].startswith("warning: layer 2 of 3 (8) is silent: not one spike on all test images.")
    assert "--rate" in warnings[0]
    assert "layer 3 of 3 (10)" in warnings[1]
    assert out.index("epoch 1/3") < out.index("warning") < out.index("epoch 2/3")


def test_a_stopped_run_says_how_to_go_on(call, monkeypatch):
    from snnbook.cli import terminal

    class Stops(terminal.TerminalProgress):
        def epoch(self, figures, best):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(terminal, "TerminalProgress", Stops)
        code, _, err = call("train", *SMALL, "--epochs", "2", "--out", "a run")
    again = "snnbook train --resume 'a run'"
    assert (code, err) == (INTERRUPTED, f"snnbook: stopped; all finished epochs are kept. Go on with: {again}\n")
    code, out, err = call("train", "--resume", "a run")
    assert (code, err) == (0, "")
    assert "going on after epoch 1 of 2" in out
    code, out, err = call("train", "--resume", "a run")
    assert (code, err) == (0, "")
    assert "all 2 epochs are done already" in out


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 0)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_leaves_a_run_that_goes_on(number, code, here):
    """A real process, a real signal: the step is done and saved, the line says how to go on; SIGTERM is no failure."""
    command = [sys.executable, "-m", "snnbook", "train", *SMALL, "--epochs", "400", "--out", "run"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("epoch "):
            break
    time.sleep(0.2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    pattern = r"snnbook: stopped after epoch (\d+) of 400( and \d+ batch\(es\) of the next)?; all is saved\. "
    said = re.fullmatch(pattern + r"Go on with: snnbook train --resume run\n", err)
    checkpoint = checkpoints.read(here / "run" / "last.pt")
    done = records.keep_epochs(here / "run", checkpoint.epoch)
    assert 1 <= len(done) == int(said[1]) < 400
    assert bool(checkpoint.step) == bool(said[2])


def test_a_run_is_not_written_over(call, finished):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    assert "holds a run already" in one_line(*call("train", *SMALL, "--out", finished))
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_damaged_files_are_named(call, finished, here):
    folder = here / "run"
    for name in (checkpoints.LAST, records.SETTINGS, records.PROVENANCE, records.EPOCHS):
        folder.mkdir()
        for path in finished.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 3])
        assert f"{folder / name}" in one_line(*call("train", "--resume", folder))
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_experiments_are_listed(call):
    code, out, _ = call("experiments")
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines[1:]] == experiments.names()
    listed = {line.split()[0]: line.split()[1] for line in lines[1:]}
    for number, rows in paper.TABLES.items():
        assert {name for name, tables in listed.items() if number in tables.split(",")} == {r.experiment for r in rows}
    assert [name for name, tables in listed.items() if tables == "5"] == [paper.TABLE_5]
    (line,) = (line for line in lines if line.startswith("mnist "))
    # weights 15*25 + 40*15*25 + 300*640 + 10*300, and gamma and beta of 15 + 40 + 300 + 10 channels
    assert line.split() == [
        *("mnist", "-", "5", "enhanced_counting"),
        f"{210_375 + 2 * 365:,}",
        *("60,000+10,000", "1x28x28"),
        "15C5-P2-40C5-P2-300-10",
    ]


def test_data_check(call, tmp_path, monkeypatch):
    code, out, _ = call("data", "check")
    assert code == 0
    (line,) = (line for line in out.splitlines() if line.startswith("fashion_mnist ") and " train " in line)
    assert f"{TRAIN} images" in line
    broken = write_data(tmp_path / "data")
    (broken / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b")
    monkeypatch.setenv("SNNBOOK_DATA", str(broken))
    code, out, err = call("data", "check")
    assert (code, err) == (BAD, "snnbook: damaged: fashion_mnist test; see above\n")
    assert "damaged" in out


def test_version(call):
    code, out, _ = call("version")
    assert code == 0
    assert f"snnbook {__version__}" in out
    assert f"torch {torch.__version__}" in out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["train", "--help"], ["data"], ["--version"]])
def test_help(arguments, call):
    code, out, err = call(*arguments)
    assert (code, err) == (0, "")
    assert out


def test_every_change_is_a_setting():
    import dataclasses

    from snnbook.cli.options import Changes

    changes = [field.name for field in dataclasses.fields(Changes)]
    settings = experiments.get("quick").to_dict()
    assert set(changes) <= {*settings, *settings["neuron"]}
    assert all(field.type is not None for field in dataclasses.fields(Changes))


def test_a_reader_who_leaves_is_no_error(here):
    listing = subprocess.Popen(
        [sys.executable, "-m", "snnbook", "experiments"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    listing.stdout.close()
    assert listing.stderr.read() == b""
    listing.wait(timeout=60)


@pytest.mark.skipif(os.name != "posix", reason="asks a shell")
def test_a_closed_output_is_no_error():
    done = subprocess.run(f"{sys.executable} -m snnbook version >&-", shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_gets_a_bar(here):
    """On a terminal a bar moves, with rate, loss, accuracy and the time left; without one it stays away."""
    import fcntl
    import pty
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # rows, columns
    command = [sys.executable, "-m", "snnbook", "train", *SMALL, "--epochs", "2", "--out", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, stderr=child, text=True)
    os.close(child)
    out, _ = process.communicate(timeout=120)
    shown = b""
    while chunk := read_or_end(parent):
        shown += chunk
    os.close(parent)
    assert process.returncode == 0
    assert "images/s" in out
    bars = [bar for bar in shown.decode().split("\r") if "|" in bar]
    assert any(re.search(r"epoch 2/2 +100%\|.*<.*images/s, loss [0-9.]+, train [0-9.]+%", bar) for bar in bars), bars


def read_or_end(descriptor):
    """What a pseudo-terminal still holds; nothing once its other side is closed."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def test_figures_are_plain_json(finished):
    for line in (finished / records.EPOCHS).read_text().splitlines():
        assert json.loads(line)["test_accuracy"] * TEST == pytest.approx(
            round(json.loads(line)["test_accuracy"] * TEST), abs=1e-4
        )


def test_warnings_are_lines_without_our_sources(tmp_path):
    command = [sys.executable, "-m", "snnbook", "train", "quick", "--rate", "1e-9", "--epochs", "1", "--device", "cpu"]
    path = os.pathsep.join([str(Path(training.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    (line,) = [line for line in done.stderr.splitlines() if "layer 2 of 4" in line]
    assert line.startswith("warning: layer 2 of 4 (16C3) fires 0 spikes per neuron where rate=1e-09 was asked for")
    assert "trainer.py" not in done.stderr


# ---- names of one's own folders, narrow terminals ----


def test_names_of_folders_are_shown_on_one_line(call, here):
    """A line break or an escape in a name neither tears a line nor reaches the terminal; the files have the name."""
    run = "a\nb  c\x1b[31m"
    shown = r"a\nb  c\x1b[31m"
    printed = []
    code, out, _ = call("train", *SMALL, "--epochs", "1", "--out", run)
    assert code == 0
    assert f"next: snnbook evaluate '{shown}'" in out
    printed.append(out)
    line = one_line(*call("train", *SMALL, "--out", run))
    assert f"--resume '{shown}'" in line
    for command in (["evaluate", run], ["record", run, "--results", run], ["plot", run, "--out", f"{run}.png"]):
        code, out, err = call(*command)
        assert code == 0
        printed += [out, err]
    code, out, err = call("table", "runs", "--results", run)
    assert code == 0
    printed += [out, err]
    assert (here / f"{run}.png").is_file()
    for text in printed:
        assert all(line.isprintable() for line in text.split("\n"))
        assert "a\nb" not in text


@pytest.mark.parametrize("columns", ["0", "1", "5", "-1", "none", "\u00b2", "9" * 30, "9" * 5000])
def test_help_ends_on_terminals_of_any_width(columns, here):
    environment = os.environ | {"COLUMNS": columns}
    command = [sys.executable, "-m", "snnbook", "train", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "--epochs" in done.stdout


def test_help_that_nobody_reads_ends_as_other_output_does(here):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "snnbook", "train", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (BAD, b"")
