"""Malformed input in the hundreds: never a traceback, always exit code 2 and one line; nothing lost or left behind."""

import json
import random
import string
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnbook import experiments, records, training
from snnbook.__main__ import BAD, main
from snnbook.records import checkpoints
from snnbook.settings import ADDED
from snnbook.training import trainer

from ..small_runs import StopAfter, small

pytestmark = pytest.mark.usefixtures("data")

WORD = string.ascii_letters + string.digits + "-_./ \t\n\x00\x1b[]{}()*?!$%&'\"\\äß語🎈"


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """call(arguments) -> exit code, standard output, standard error; in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)

    def run(arguments):
        monkeypatch.setattr(sys, "argv", ["snnbook", *arguments])
        code = main()
        return code, *capsys.readouterr()

    return run


def taken(*_, **__):
    raise AssertionError(f"this input was taken: {sys.argv}")


def refused(arguments, code, out, err):
    """Exit code 2, nothing on standard output, one line on standard error."""
    seen = f"{arguments!r}: code {code}, out {out!r}, err {err!r}"
    assert code == BAD, seen
    assert out == "", seen
    assert err.startswith("snnbook: "), seen
    assert err.count("\n") == 1, seen
    assert err.endswith("\n"), seen
    assert err[:-1].isprintable(), seen
    assert len(err) < 2100, seen
    assert "Traceback" not in err, seen


def word(rng, least=1):
    return "".join(rng.choice(WORD) for _ in range(rng.randint(least, 12)))


NOT_WHOLE = ["", "x", "1.5", "1e3", "0x10", "1_000", "nan", "٣", " 3", "--", "9" * 60, "-" + "9" * 25, "1/2", "True"]
NOT_REAL = [
    "",
    "x",
    "nan",
    "inf",
    "-inf",
    "infinity",
    "1e999",
    "1,5",
    "0x1p3",
    "1e",
    "--",
    "None",
    "null",
    "5%",
    "1 2",
    "1_0",
    "١",
]
NETWORKS = [
    "",
    "-",
    "X",
    "32C",
    "C5",
    "P",
    "0C3",
    "8C0",
    "8C3--8",
    "8C3-",
    "-8",
    "99999999999C3",
    "8-8C3",
    "P99",
    "8c3",
]
NETWORKS += ["3.5", "8C3,P2", "40000", "8C99", "8C3-P2-P2-P2-P2-P2", "8C3-P0", "8C3 P2", "8C-3", "🎈"]
OUT_OF_RANGE = {
    "--epochs": ["0", "-1", str(2**32)],
    "--seed": ["-1", str(2**63)],
    "--batch-size": ["0", "-50"],
    "--learning-rate": ["0", "-0.1"],
    "--weight-decay": ["-1e-9"],
    "--norm-weight-decay": ["-1"],
    "--target-label": ["-5"],
    "--target-others": ["-1"],
    "--t-unfired": ["0", "-4"],
    "--kernel-tau-s": ["1", "0", "-3"],
    "--padding": ["-1", "4096"],
    "--steps": ["0", "-5", "100000"],
    "--tau-m": ["1", "0", "-5", "3"],
    "--tau-s": ["1", "-1", "5"],
    "--tau-g": ["1", "0", "-2.5"],
    "--rate": ["0", "-1"],
    "--dropout": ["1", "-0.1", "2"],
}
WHOLE = ("--epochs", "--seed", "--batch-size", "--padding", "--steps")
REAL = tuple(option for option in OUT_OF_RANGE if option not in WHOLE)
CHOICES = ("--loss", "--optimiser", "--engine", "--device", "--log")
COMMANDS = ("train", "evaluate", "record", "plot", "experiments", "data", "version")


def wrong_option(rng):
    """An option of `train` with a value that cannot be."""
    kind = rng.randrange(5)
    if kind == 0:
        return [rng.choice(WHOLE), rng.choice(NOT_WHOLE)]
    if kind == 1:
        return [rng.choice(REAL), rng.choice(NOT_REAL)]
    if kind == 2:
        option = rng.choice(list(OUT_OF_RANGE))
        return [option, rng.choice(OUT_OF_RANGE[option])]
    if kind == 3:
        return ["--network", rng.choice(NETWORKS)]
    return [rng.choice(CHOICES), f"~{word(rng)}"]


def right_option(rng):
    option = rng.choice(["--epochs", "--seed", "--target-label", "--weight-decay"])
    return [option, str(rng.randint(2, 9))]  # a label's target of 1 is the others' own


def malformed(rng):
    """A command line that cannot be right, whatever the machine."""
    kind = rng.randrange(8)
    if kind < 3:
        name = rng.choice(["quick", "mnist", "fashion_mnist", "fashion_mnist_ttfs"])
        parts = [right_option(rng) for _ in range(rng.randrange(3))]
        wrong = wrong_option(rng)
        parts = [part for part in parts if part[0] != wrong[0]]
        parts.insert(rng.randint(0, len(parts)), wrong)
        return ["train", name, *(each for part in parts for each in part)]
    if kind == 3:  # an option that there is not
        return [rng.choice(COMMANDS), *([] if rng.random() < 0.5 else ["quick"]), f"--{word(rng)}~", word(rng)]
    if kind == 4:  # a value is missing
        return ["train", "quick", rng.choice([*WHOLE, *REAL, *CHOICES, "--out", "--resume", "--network"])]
    if kind == 5:  # a command or experiment that there is not
        return [f"~{word(rng)}"] if rng.random() < 0.5 else ["train", f"~{word(rng)}", *right_option(rng)]
    if kind == 6:  # a run that is not there
        where = f"nowhere/{word(rng)}"
        return [*rng.choice([["evaluate"], ["record"], ["plot"], ["train", "--resume"]]), where]
    # too much
    return rng.choice(
        [
            ["evaluate", word(rng), word(rng), word(rng)],
            ["train", "quick", word(rng)],
            ["version", word(rng)],
            ["experiments", word(rng)],
            ["data", f"~{word(rng)}"],
            ["data", "check", word(rng)],
            ["train", "quick", "--resume", word(rng)],
            ["train", "--resume", f"~{word(rng)}", *right_option(rng)],
            ["plot", "nowhere", "--out", f"{word(rng)}.gif"],
            ["train", "quick", "--epochs", "1", "--epochs", "2"],
        ]
    )


@pytest.mark.parametrize("seed", range(5))
def test_malformed_command_lines(seed, call, tmp_path, monkeypatch):
    """120 for each seed: 600 in all."""
    monkeypatch.setattr(trainer.Trainer, "__init__", taken)
    rng = random.Random(seed)
    for _ in range(120):
        arguments = malformed(rng)
        refused(arguments, *call(arguments))
    assert list(tmp_path.iterdir()) == [], "nothing may be left behind"


@settings(max_examples=100)
@given(st.lists(st.text(max_size=20), max_size=5))
def test_any_arguments_at_all(arguments):
    """Right by chance or wrong: an exit code, and no exception."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "__init__", taken)
        patch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)
        assert main(arguments) in (0, BAD)


# ---- files ----


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data):
    """A run that stopped after the first of two epochs; not to be written to."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.raises(KeyboardInterrupt):
        training.fit(small(epochs=2), folder, "cpu", StopAfter(1))
    return folder


def copy(folder, to):
    to.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    return to


READERS = (["train", "--resume"], ["evaluate"], ["record"], ["plot"])
ANYTHING = [None, True, -1, 10**30, 1.5, "", "x", [], [[]], {}, {"a": 1}, [None], "quick", float("nan"), float("inf")]


def wrong_settings(rng):
    """Settings of which one is missing, unknown, or of a kind that it can never have."""
    values = small().to_dict()
    kind = rng.randrange(6)
    key = rng.choice(list(values))
    if kind == 0:
        del values[rng.choice([name for name in values if name not in ADDED])]  # those may be missing in old runs
    elif kind == 1:
        values[f"{word(rng)}~"] = rng.choice(ANYTHING)
    elif kind == 2:
        values["neuron"][rng.choice(list(values["neuron"]))] = rng.choice([None, "", [], {}, -1, float("inf")])
    elif kind == 3:
        return rng.choice([None, 5, "x", [], [values], {}])
    else:
        values[key] = rng.choice([{}, {"a": 1}, [[]], [None], float("nan"), float("inf"), -(10**30), [True]])
    return values


def test_malformed_settings(finished, call, tmp_path):
    """300 of them, each before a command that reads it."""
    rng = random.Random(7)
    folder = copy(finished, tmp_path / "run")
    for _ in range(300):
        values = wrong_settings(rng)
        (folder / records.SETTINGS).write_text(json.dumps(values))
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        arguments = [*rng.choice(READERS), str(folder)]
        code, out, err = call(arguments)
        refused((values, arguments), code, out, err)
        assert records.SETTINGS in err
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", [records.SETTINGS, records.PROVENANCE, checkpoints.LAST])
def test_cut_files(name, finished, call, tmp_path):
    """Cut at 40 places each: always refused, nothing changed."""
    rng = random.Random(name)
    folder = copy(finished, tmp_path / "run")
    whole = (finished / name).read_bytes()
    for length in [0, 1, *sorted(rng.randrange(2, len(whole) - 2) for _ in range(38))]:
        (folder / name).write_bytes(whole[:length])
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        arguments = ["train", "--resume", str(folder)]
        refused((name, length), *call(arguments))
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_bytes_changed_anywhere(finished, call, tmp_path):
    """A changed byte may be a harmless one; it never is a traceback, and never more than one line of complaint."""
    rng = random.Random(3)
    complaints = 0
    for _ in range(150):
        folder = copy(finished, tmp_path / "run")
        name = rng.choice([records.SETTINGS, records.PROVENANCE, records.EPOCHS])
        content = bytearray((folder / name).read_bytes())
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        (folder / name).write_bytes(content)
        arguments = [*rng.choice([["evaluate"], ["record"], ["plot"]]), str(folder)]
        code, out, err = call(arguments)
        if code:
            refused((name, bytes(content)), code, out, err)
            complaints += 1
    assert complaints > 75


def test_in_a_process_of_its_own(tmp_path):
    """A few of the command lines through the real program."""
    rng = random.Random(11)
    for _ in range(3):
        arguments = [part.replace("\x00", "0") for part in malformed(rng)]
        done = subprocess.run(
            [sys.executable, "-m", "snnbook", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        refused(arguments, done.returncode, done.stdout, done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_the_experiments_of_the_fuzz_are_right_without_it():
    """So that what is refused above is refused for what is wrong with it."""
    rng = random.Random(0)
    for _ in range(20):
        option, value = right_option(rng)
        field = option.removeprefix("--").replace("-", "_")
        experiments.get("quick", **{field: int(value) if option in WHOLE else float(value)})
