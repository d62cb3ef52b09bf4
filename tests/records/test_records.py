"""Records: what is written is read back, damage is named with its file and line, nothing personal is kept."""

import dataclasses
import json
import subprocess

import pytest
import torch

from snnbook import experiments, records
from snnbook.errors import UserError
from snnbook.records import EpochFigures, RunRecord, files, provenance
from snnbook.records.figures import Wanted
from snnbook.records.provenance import Provenance

CPU = torch.device("cpu")


SETTINGS = experiments.get("fashion_mnist", epochs=2)


def figures(epoch=1, experiment=SETTINGS, **changes):
    """Figures of an epoch that agree with each other and with the settings."""
    layers = Wanted.of(experiment).layers
    values = {
        "epoch": epoch,
        "loss": 12.25,
        "train_accuracy": 0.5,
        "test_accuracy": 0.625,
        "test_accuracy_halves": [0.75, 0.5],
        "exit_time": 0.375,
        "grad_sum": -2.5,
        "grad_abs_sum": 5.0,
        "positive_ratio": -0.5,
        "positive_share": 0.25,
        "firing_rates": [[0.25] * experiment.steps] * layers,
        "thresholds": [{"mean": 1.5, "std": 0.5, "min": 1.0, "max": 2.0}] * layers,
        "output_thresholds": [1.0, 2.0] * (experiment.classes // 2),
        "learning_rate": experiment.learning_rate_of(epoch),
        "seconds": 3.0,
        "images_per_second": 1000.0,
    }
    return EpochFigures(**{**values, **changes})


def run(epochs=2):
    session = provenance.session(CPU, "reference", 0, ["train", "fashion_mnist", "--epochs", "2"])
    origin = Provenance({"train": "aa", "test": "bb"}, (session,))
    return RunRecord(SETTINGS, origin, tuple(figures(epoch) for epoch in range(1, epochs + 1)))


def folder_of(record, folder):
    folder.mkdir(exist_ok=True)
    records.write_provenance(folder, record.provenance)
    records.write_settings(folder, record.experiment)
    for each in record.epochs:
        records.append_epoch(folder, each)
    return folder


def test_a_folder_is_read_back(tmp_path):
    assert records.read(folder_of(run(), tmp_path)) == run_like(records.read(tmp_path), run())


def run_like(found, made):
    """`made` with the time of `found`, the only thing that two calls of `run` differ in."""
    session = dataclasses.replace(made.provenance.sessions[0], started=found.provenance.sessions[0].started)
    return dataclasses.replace(made, provenance=Provenance(made.provenance.data, (session,)))


def test_a_record_is_read_back(tmp_path):
    made = run()
    records.write(made, tmp_path / "run.jsonl")
    assert records.read(tmp_path / "run.jsonl") == made
    lines = (tmp_path / "run.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert json.loads(lines[2])["epoch"] == 2
    assert json.loads(lines[3]).keys() == {"sha256"}


def accurate(epoch, halves):
    """Figures with these halves, whatever the settings."""
    longer = dataclasses.replace(SETTINGS, epochs=3)
    return figures(epoch, longer, test_accuracy=sum(halves) / 2, test_accuracy_halves=halves)


def test_best_is_the_first_of_the_highest():
    made = dataclasses.replace(run(), epochs=tuple(accurate(n, [a, a]) for n, a in ((1, 0.1), (2, 0.9), (3, 0.9))))
    assert (made.best.epoch, made.last.epoch) == (2, 3)


def test_the_epoch_is_chosen_on_one_half_and_judged_on_the_other():
    halves = ((0.5, 0.75), (1.0, 0.5), (0.25, 1.0))
    made = dataclasses.replace(run(), epochs=tuple(accurate(n, list(pair)) for n, pair in enumerate(halves, start=1)))
    # the first half is best in epoch 2, the second in epoch 3
    assert made.cross_selected == (0.5 + 0.25) / 2


def test_an_unfinished_run_is_not_recorded(tmp_path):
    with pytest.raises(UserError, match="1 of 2 epochs"):
        records.write(run(epochs=1), tmp_path / "run.jsonl")
    assert not list(tmp_path.iterdir())


def test_figures_keep_seven_digits():
    kept = figures(loss=1.23456789, firing_rates=[[1 / 3]] * 4)
    assert kept.loss == 1.234568
    assert kept.firing_rates == [[0.3333333]] * 4
    assert figures(epoch=12345678).epoch == 12345678


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": float("nan")}, "loss"),
        ({"loss": float("inf")}, "loss"),
        ({"loss": "1"}, "loss"),
        ({"loss": None}, "loss"),
        ({"loss": 10**400}, "loss"),
        ({"epoch": 0}, "epoch"),
        ({"epoch": 1.0}, "epoch"),
        ({"epoch": True}, "epoch"),
        ({"train_accuracy": 1.5}, "train_accuracy"),
        ({"test_accuracy": -0.1}, "test_accuracy"),
        ({"test_accuracy_halves": [0.5]}, "two numbers in 0..1"),
        ({"test_accuracy_halves": [0.5, 1.5]}, "two numbers in 0..1"),
        ({"exit_time": 2}, "exit_time"),
        ({"firing_rates": [0.5]}, "firing_rates"),
        ({"firing_rates": [[None]]}, "firing_rates"),
        ({"firing_rates": []}, "firing_rates"),
        ({"firing_rates": [[]]}, "firing_rates"),
        ({"output_thresholds": []}, "output_thresholds"),
        ({"seconds": 1e308}, "seconds"),
        ({"thresholds": [{"mean": 1.0}]}, "std"),
        ({"thresholds": [1.0]}, "threshold"),
        ({"output_thresholds": 1.0}, "output_thresholds"),
        ({"seconds": False}, "seconds"),
    ],
)
def test_wrong_figures(changes, words):
    with pytest.raises(UserError, match=words):
        figures(**changes)


def test_ratios_may_be_unknown(tmp_path):
    silent = figures(grad_sum=0.0, grad_abs_sum=0.0, positive_ratio=None, positive_share=None)
    records.write_settings(tmp_path, SETTINGS)
    records.append_epoch(tmp_path, silent)
    assert records.keep_epochs(tmp_path, 1) == (silent,)


def damage(line, text):
    """Put `text` in place of a line of a record, counted from 1."""

    def change(content):
        lines = content.split(b"\n")
        lines[line - 1] = text
        return b"\n".join(lines)

    return change


EPOCH = files.to_json(dataclasses.asdict(figures(1)))[:-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (damage(2, b"{"), "line 2"),
        (damage(2, b"\xff\xfe"), "line 2"),
        (damage(2, b"[" * 100_000), "line 2"),
        (damage(2, b"1" * 5000), "line 2"),
        (damage(3, EPOCH), "line 3: epoch 1 stands where epoch 2 must be"),
        (damage(2, EPOCH.replace(b"12.25", b"NaN")), "line 2"),
        (damage(2, EPOCH.replace(b"12.25", b"1e999")), "line 2: loss"),
        (damage(2, EPOCH.replace(b'"loss"', b'"los"')), "line 2: unknown figure 'los'. Did you mean 'loss'"),
        (damage(2, EPOCH.replace(b'"loss": 12.25, ', b"")), "line 2: figure missing: loss"),
        (damage(1, b"{}"), "line 1"),
        (damage(1, b"3"), "line 1"),
        (lambda content: content.replace(b"snnbook run", b"other"), "line 1"),
        (lambda content: content.replace(b'"version": 3', b'"version": 4'), "version 4"),
        (lambda content: content.replace(b'"enhanced_counting"', b'"enhanced"'), "line 1: unknown loss"),
        (lambda content: content.replace(b'"threads"', b'"thread"'), "line 1: unknown session entry"),
        (lambda content: content.replace(b'"from_epoch": 0', b'"from_epoch": "0"'), "from_epoch"),
        (lambda content: content.replace(b'"aa"', b"7"), "hashes"),
        (lambda content: content.replace(b'"python": "', b'"python": 3, "else": "'), "versions of a session"),
        (lambda content: content[:-5], "cut short"),
        (lambda content: b"", "cut short"),
        (lambda content: b"\n", "line 1"),
    ],
)
def test_damage_is_named(tmp_path, change, words):
    path = tmp_path / "run.jsonl"
    records.write(run(), path)
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    with pytest.raises(UserError) as caught:
        records.read(path)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*nothing\.jsonl"):
        records.read(tmp_path / "nothing.jsonl")
    with pytest.raises(UserError, match=r"not a run folder: it holds no settings\.json"):
        records.read(tmp_path)
    folder_of(run(), tmp_path)
    (tmp_path / records.PROVENANCE).unlink()
    with pytest.raises(UserError, match=r"cannot read .*provenance\.json"):
        records.read(tmp_path)


def test_half_a_line_at_the_end_is_left_out_and_mended(tmp_path):
    folder_of(run(), tmp_path)
    path = tmp_path / records.EPOCHS
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in (first, first + 1, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert [each.epoch for each in records.read(tmp_path).epochs] == [1]
        assert [each.epoch for each in records.keep_epochs(tmp_path, 1)] == [1]
        assert path.read_bytes() == whole[:first]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_lost_lines_are_not_made_up(tmp_path):
    folder_of(run(), tmp_path)
    with pytest.raises(UserError, match="holds 2 lines, but the checkpoint beside it is of epoch 3"):
        records.keep_epochs(tmp_path, 3)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(step, tmp_path, monkeypatch):
    """Neither a full disk while the bytes go out nor trouble as the file takes its place harms the one before."""
    path = tmp_path / "file"
    files.write_atomic(path, b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"os.{step}", full)
    with pytest.raises(UserError, match=f"cannot write {path}: No space left on device"):
        files.write_atomic(path, b"after")
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_provenance_names_no_folder_and_no_person(tmp_path, monkeypatch):
    home = tmp_path / "home" / "somebody"
    command = ["train", "mnist", "--out", str(home / "runs" / "x"), f"--out={home}/y", "--resume", "../../z", "runs/w"]
    session = provenance.session(CPU, "reference", 0, command)
    assert session.command == "snnbook train mnist --out x --out=y --resume z runs/w"
    text = json.dumps(dataclasses.asdict(session))
    assert "somebody" not in text
    assert str(tmp_path) not in text


def test_provenance_says_what_ran():
    session = provenance.session(CPU, "reference", 3, None)
    assert session.versions["torch"] == torch.__version__
    assert set(session.versions) == {"python", "snnbook", "torch", "numpy", "numba"}
    assert (session.from_epoch, session.command, session.device, session.engine) == (3, None, "cpu", "reference")
    assert session.threads == torch.get_num_threads()
    assert session.started.endswith("+00:00")
    assert session.processor


def test_commit_of_a_tree(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(["git", "-C", tmp_path, *who, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert provenance._commit(tmp_path) is None
    git("init", "-q")
    assert provenance._commit(tmp_path) is None
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("1")
    git("add", ".")
    git("commit", "-qm", "one")
    assert provenance._commit(tmp_path) == git("rev-parse", "HEAD")
    assert provenance._commit(tmp_path / "inner") is None
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "record").write_text("of the run before")
    assert provenance._commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "inner" / "file").write_text("2")
    assert provenance._commit(tmp_path) == git("rev-parse", "HEAD") + "+dirty"
