"""Records that contradict themselves, are damaged, or hold text that acts: refused by name, or shown as it is."""

import csv
import dataclasses
import io
import json
import random
import shutil
from pathlib import Path

import pytest

from snnbook import experiments, records, results
from snnbook.__main__ import BAD, main
from snnbook.datasets.sources import SOURCES
from snnbook.errors import UserError, exactly, visible
from snnbook.records import files
from snnbook.records.provenance import Provenance
from snnbook.results import plots, render, tables

from ..results.test_results import SESSION, record
from .test_records import SETTINGS, figures, folder_of, run

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "results" / "quick" / "quick-e12-seed0.jsonl"


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def put(path, lines):
    """A record of version 2, which has no checksum that would tell of the change."""
    lines[0]["version"] = 2
    path.write_bytes(b"".join(map(files.to_json, lines)))


SPREAD = {"mean": 1.5, "std": 0.5, "min": 1.0, "max": 2.0}
CONTRADICTIONS = [
    ({"test_accuracy": 0.99, "test_accuracy_halves": [0.1, 0.1]}, "test_accuracy 0.99 contradicts"),
    ({"test_accuracy": 0.5, "test_accuracy_halves": [0.5, 0.6]}, "test_accuracy 0.5 contradicts"),
    ({"test_accuracy": 0.6252}, "test_accuracy 0.6252 contradicts"),
    ({"seconds": -1.0}, "seconds must be a finite number, 0 or more"),
    ({"images_per_second": -0.5}, "images_per_second must be"),
    ({"grad_abs_sum": -5.0}, "grad_abs_sum must be"),
    ({"learning_rate": -5e-4}, "learning_rate must be"),
    ({"learning_rate": 5.1e-4}, "learning_rate 0.00051 is not the one of epoch 2"),
    ({"grad_sum": -5.1}, "grad_sum -5.1 contradicts grad_abs_sum 5.0"),
    ({"grad_sum": 6.0}, "grad_sum 6.0 contradicts grad_abs_sum 5.0"),
    ({"positive_ratio": 0.5}, "positive_ratio 0.5 contradicts grad_sum -2.5"),
    ({"positive_ratio": None}, "positive_ratio None contradicts"),
    ({"grad_sum": 0.0, "grad_abs_sum": 0.0}, "positive_ratio -0.5 contradicts"),
    ({"grad_sum": 0.0, "grad_abs_sum": 0.0, "positive_ratio": None}, "positive_share 0.25 contradicts"),
    ({"positive_share": None}, "positive_share None contradicts"),
    ({"firing_rates": [[0.25] * 5] * 7}, "firing_rates are of 7 layers, thresholds of 4"),
    ({"firing_rates": [[0.25] * 5] * 7, "thresholds": [SPREAD] * 7}, "firing_rates are of 7 layers, but the settings"),
    ({"firing_rates": [[0.25] * 4] * 4}, "firing_rates are of 4 steps, but the settings describe 5"),
    ({"firing_rates": [[0.25] * 5] * 3 + [[0.25] * 4]}, "firing_rates are of 5, 5, 5, 4 steps"),
    ({"firing_rates": [[-0.25] * 5] * 4}, "firing_rates must lie in 0..1"),
    ({"firing_rates": [[1.25] * 5] * 4}, "firing_rates must lie in 0..1"),
    ({"thresholds": [SPREAD | {"min": 3.0}] * 4}, "thresholds contradict each other"),
    ({"thresholds": [SPREAD | {"mean": 2.5}] * 4}, "thresholds contradict each other"),
    ({"thresholds": [SPREAD | {"std": -0.5}] * 4}, "threshold std must be"),
    ({"thresholds": [SPREAD | {"std": 0.7}] * 4}, "std is above half"),
    ({"thresholds": [SPREAD] * 3 + [SPREAD | {"max": 2.5}]}, "output_thresholds have max 2"),
    ({"output_thresholds": [1.0, 2.0, 1.5]}, "output_thresholds are of 3 classes, but the settings describe 10"),
    ({"output_thresholds": [-1.0, 2.0] * 5}, "output_thresholds must be a finite number, above 0"),
    ({"output_thresholds": [1.0] + [2.0] * 9}, "output_thresholds have mean 1.9"),
    ({"epoch": 3}, "epoch 3"),
    ({"exit_time": 1.5}, "exit_time must lie in 0..1"),
]


@pytest.mark.parametrize(("changes", "words"), CONTRADICTIONS)
def test_figures_that_contradict_each_other_or_the_settings(changes, words, tmp_path, monkeypatch, capsys):
    """In a record and in a run's folder, by every command that reads them: one line that names the figure."""
    made = run()
    path = tmp_path / "run.jsonl"
    records.write(made, path)
    lines = lines_of(path)[:-1]
    lines[2] |= changes
    put(path, lines)
    folder = folder_of(dataclasses.replace(made, epochs=made.epochs[:1]), tmp_path / "folder")
    files.append(folder / records.EPOCHS, files.to_json(lines[2]))
    for place, number in ((path, 3), (folder, 2)):
        with pytest.raises(UserError) as caught:
            records.read(place)
        line = str(caught.value)
        assert line.startswith(f"{place if place == path else folder / records.EPOCHS}, line {number}: ")
        assert words in line
    monkeypatch.setattr("sys.stdout.reconfigure", lambda **_: None, raising=False)
    for command in (["record", str(path)], ["plot", str(folder), "--out", str(tmp_path / "curves.svg")]):
        assert main(command) == BAD
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "curves.svg").exists()


@pytest.mark.parametrize(
    ("begun", "words"),
    [
        ([2], "first session must be 0, not 2"),
        ([0, 99], "from_epoch 99 of session 2 cannot be: it must lie in 0..2"),
        ([0, 2, 1], "from_epoch 1 of session 3 cannot be: it must lie in 2..2"),
    ],
)
def test_sessions_that_cannot_have_begun_there(begun, words, tmp_path):
    made = run()
    sessions = tuple(dataclasses.replace(made.provenance.sessions[0], from_epoch=epoch) for epoch in begun)
    made = dataclasses.replace(made, provenance=Provenance(made.provenance.data, sessions))
    records.write(made, tmp_path / "run.jsonl")
    for place in (tmp_path / "run.jsonl", folder_of(made, tmp_path / "folder")):
        with pytest.raises(UserError) as caught:
            records.read(place)
        assert words in str(caught.value)


def test_more_lines_than_the_settings_have_epochs(tmp_path):
    made = run()
    longer = dataclasses.replace(SETTINGS, epochs=3)
    folder = folder_of(made, tmp_path / "folder")
    records.append_epoch(folder, figures(3, longer))
    records.write(made, tmp_path / "run.jsonl")
    lines = lines_of(tmp_path / "run.jsonl")[:-1]
    put(tmp_path / "run.jsonl", [*lines, dataclasses.asdict(figures(3, longer))])
    for place in (tmp_path / "run.jsonl", folder):
        with pytest.raises(UserError, match=r"line \d: epoch 3 cannot be: the settings have 2 epoch"):
            records.read(place)
        with pytest.raises(UserError, match="epoch 3 cannot be"):
            plots.plot([place], tmp_path / "curves.svg")


@pytest.mark.parametrize("images", [1, 2, 3, 7, 30, 31, 999, 1000, 9_999, 10_000, 26_033, 99_999])
def test_accuracies_of_any_number_of_images_agree_with_their_halves(images):
    """Of an odd number the first half has one more; what is rounded to seven digits is not refused for it."""
    rng = random.Random(images)
    even = (images + 1) // 2
    for _ in range(200):
        right = rng.randint(0, even), rng.randint(0, images - even)
        halves = [right[0] / even, right[1] / max(images - even, 1)]
        accuracy = sum(right) / images
        assert figures(test_accuracy=accuracy, test_accuracy_halves=halves).test_accuracy == pytest.approx(accuracy)
        wrong = accuracy + 0.01 * (-1 if accuracy > 0.5 else 1)
        if images > 1000 and abs(halves[0] - halves[1]) > 0.05:
            with pytest.raises(UserError, match="contradicts test_accuracy_halves"):
                figures(test_accuracy=wrong, test_accuracy_halves=halves)


def test_accuracies_on_published_images_are_shares_of_so_many(tmp_path):
    """10,000 test images: 0.62505 is no share of them; of images of one's own it may be one."""
    one = record("fashion_mnist", [0.5], epochs=1)
    for accuracy, halves, words in (
        (0.62505, [0.62505, 0.62505], "test_accuracy 0.62505 is no share of 10,000 images"),
        (0.6251, [0.62515, 0.62505], None),
    ):
        epoch = figures(1, one.experiment, test_accuracy=accuracy, test_accuracy_halves=halves)
        records.write(dataclasses.replace(one, epochs=(epoch,)), tmp_path / "run.jsonl")
        if words is None:
            records.read(tmp_path / "run.jsonl")
        else:
            with pytest.raises(UserError, match=words):
                records.read(tmp_path / "run.jsonl")


def test_all_records_on_file_still_load():
    assert len(results.load(ROOT / "results")) >= 71


# ---- checksums ----


def test_every_damaged_byte_of_a_record_is_noticed(tmp_path):
    path = tmp_path / "run.jsonl"
    records.write(run(), path)
    whole = path.read_bytes()
    rng = random.Random(0)
    for place in [*rng.sample(range(len(whole)), 400), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(UserError) as caught:
            records.read(path)
        assert "\n" not in str(caught.value)
    figure = whole.replace(b'"loss": 12.25', b'"loss": 12.26')
    path.write_bytes(figure)
    with pytest.raises(UserError, match="is damaged: it is not what the checksum"):
        records.read(path)


def test_a_record_without_its_last_line_or_with_more_is_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    records.write(run(), path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for content, words in (
        (b"".join(lines[:-1]), "its last line, the checksum, is missing"),
        (whole + lines[-1], "something follows|is damaged"),
        (whole + lines[1], "something follows the checksum"),
        (b"".join([*lines[:-1], b'{"sha256": 5}\n']), "is damaged"),
        (b"".join([*lines[:-1], b'{"sha256": "a", "b": 1}\n']), "unknown entry 'b'"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=words):
            records.read(path)


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "run.jsonl"
    records.write(run(), path)
    path.write_bytes(path.read_bytes().replace(b'"loss": 12.25', b'"loss": 1.0, "loss": 12.25'))
    with pytest.raises(UserError, match="a name is there twice"):
        records.read(path)


@pytest.fixture
def ours(tmp_path):
    """A copy of our records of quick runs, which are of version 2, and their index."""
    root = tmp_path / "results"
    shutil.copytree(ROOT / "results" / "quick", root / "quick")
    results.write_index(root)
    return root


def test_a_damaged_record_of_version_2_is_noticed_by_the_index(ours):
    path = ours / "quick" / QUICK.name
    whole = path.read_bytes()
    rng = random.Random(1)
    assert b'"version": 2' in whole
    for place in rng.sample(range(len(whole)), 100):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(UserError):
            results.load(ours)
    path.write_bytes(whole.replace(b'"AMD EPYC"', b'"AMD EPYD"'))
    line = r"quick-e12-seed0\.jsonl is damaged or was changed: it is not the file that index\.jsonl lists"
    for call in (results.load, results.check_usable, results.write_index, results.refresh_index):
        with pytest.raises(UserError, match=line):
            call(ours)
    with pytest.raises(UserError, match=line):
        results.read(path)


def test_a_record_that_the_index_does_not_list_is_read_and_listed_from_then_on(ours):
    index = ours / results.INDEX
    whole = index.read_bytes()
    index.write_bytes(b"".join(whole.splitlines(keepends=True)[1:]))
    assert len(results.load(ours)) == 10
    results.write_index(ours)
    assert index.read_bytes() == whole
    index.unlink()
    assert len(results.load(ours)) == 10
    index.write_bytes(b"".join(files.to_json({"file": json.loads(line)["file"]}) for line in whole.splitlines()))
    assert len(results.load(ours)) == 10, "an index of before there were checksums"


@pytest.mark.parametrize("content", [b"{", b"<<<<<<< HEAD\n", b"[]\n", b'{"file": 3}\n', b"\xff\n"])
def test_a_damaged_index_is_named(content, ours):
    (ours / results.INDEX).write_bytes(content)
    with pytest.raises(UserError, match=r"index\.jsonl, line 1: .*or delete it: it is made anew") as caught:
        results.load(ours)
    assert "\n" not in str(caught.value)
    (ours / results.INDEX).unlink()
    results.write_index(ours)
    assert len(results.load(ours)) == 10


def test_part_files_of_a_killed_writer_do_not_stay_in_results(tmp_path):
    root = tmp_path / "results"
    (root / "quick").mkdir(parents=True)
    for folder in (root, root / "quick"):
        files.part(folder / "quick-e1-seed5.jsonl").write_bytes(b"half")
    (root / "quick" / ".notes.part").write_bytes(b"somebody's")
    results.save(record("quick", [0.5], epochs=1), root)
    left = sorted(path.name for path in root.rglob(".*"))
    assert left == [".notes.part"]


def test_a_figure_that_was_added_later_has_a_default(monkeypatch):
    """What a later version adds to EpochFigures is read from older records as its default says."""
    ties = ("ties", float | None, dataclasses.field(default=None))
    bases = (records.EpochFigures,)
    later = dataclasses.make_dataclass("Later", [ties], bases=bases, kw_only=True, frozen=True)
    fields = dataclasses.fields(later)
    assert [field.default for field in fields if field.name == "ties"] == [None]
    values = dataclasses.asdict(figures())
    assert exactly("figure", values, tuple(field.name for field in fields), {"ties": None})["ties"] is None
    with pytest.raises(UserError, match="missing"):
        exactly("figure", values, tuple(field.name for field in fields))


# ---- text that acts ----

NASTY = "Z80\x1b[31m\r\n| x | \x1b]0;owned\x07 \u202eevil\u2066 <b> a|b \\|c"
SHOWN = r"Z80\x1b[31m\r\n| x | \x1b]0;owned\x07 \u202eevil\u2066 <b> a|b \|c"


def test_characters_that_act_are_shown():
    assert visible(NASTY) == SHOWN
    assert visible("Käse, 日本語, é, –, ±") == "Käse, 日本語, é, –, ±"
    for text in ("\x00", "\x7f", "\x9b", "\u2028", "\u200b", "\ufeff", "\ud800", "\U000e0041"):
        assert visible(text).isprintable()


def nasty(text):
    """Results whose record says this wherever it may say anything."""
    one = record("fashion_mnist", [0.5], epochs=1)
    session = dataclasses.replace(
        SESSION, processor=text, commit=text, command=text, engine=text, device=text, versions={"torch": text}
    )
    made = dataclasses.replace(one, provenance=Provenance(SOURCES["fashion_mnist"].hashes, (session,)))
    cpu = dataclasses.replace(session, device="cpu")
    return [
        results.Result("paper/fashion_mnist-e1-seed0.jsonl", made),
        results.Result(
            "paper/fashion_mnist-e1-seed0.jsonl",
            dataclasses.replace(made, provenance=Provenance(made.provenance.data, (cpu,))),
        ),
    ]


@pytest.mark.parametrize("form", render.FORMATS)
def test_tables_show_text_of_records_as_it_is(form):
    table = tables.runs_table(nasty(NASTY))
    text = render.render(table, form)
    assert all(line.isprintable() for line in text.split("\n"))
    plain = render.render(tables.runs_table(nasty("plain")), form)
    assert text.count("\n") == plain.count("\n"), "a row is torn"
    if form == "html":
        assert "<b>" not in text
        assert "&lt;b&gt;" in text
    if form == "markdown":
        rows = [line for line in text.split("\n") if line.startswith("|")]
        assert {columns(row) for row in rows} == {len(table.columns)}
        assert "\\<b>" in text


def columns(row):
    """Cells of a row of a pipe table, as GitHub counts them: a backslash takes away what the next character does."""
    count, place = 0, 0
    while place < len(row):
        if row[place] == "\\":
            place += 1
        elif row[place] == "|":
            count += 1
        place += 1
    return count - 1


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n=", "\uff1d"])
def test_csv_has_no_formulas(begin):
    text = f"{begin}cmd|' /C calc'!A0"
    for row in csv.reader(io.StringIO(render.to_csv(tables.runs_table(nasty(text))))):
        for field in row:
            assert render.NUMBER.fullmatch(field) or not render.FORMULA.match(field)
            assert field.isprintable()
    written = render.to_csv(tables.runs_table(nasty(text)))
    assert "'" + visible(text) in written


def test_numbers_stay_numbers_in_csv():
    cells = [render.Cell("a", value) for value in (-1.5, 3, "-0.25", "+4", "-1e-05", "–", "-", None)]
    (_, row) = csv.reader(io.StringIO(render.to_csv(render.Table("t", tuple("abcdefgh"), (tuple(cells),)))))
    assert row == ["-1.5", "3", "-0.25", "+4", "-1e-05", "–", "'-", "", ""]
    table = tables.build("3", [*nasty("plain")])
    for before, after in zip(table.rows, csv.reader(io.StringIO(render.to_csv(table))), strict=False):
        assert len(after) >= len(before)


def test_names_of_files_in_pictures_are_shown(tmp_path):
    assert plots._name("runs/a\x1b[31m\nb$c") == r"a\x1b[31m\nb\$c"


@pytest.mark.parametrize("name", ["quick\nx", "a\x1b[31m", "\u202eevil", "", "x" * 10_000, 3, None])
def test_names_of_experiments_are_lines_of_text(name):
    right = experiments.get("quick")
    with pytest.raises(UserError, match="name must be a line of text"):
        dataclasses.replace(right, name=name)


def test_provenance_fields_are_bounded_below():
    values = dataclasses.asdict(SESSION)
    for name, least in (("cores", 1), ("threads", 1), ("from_epoch", 0)):
        with pytest.raises(UserError, match=f"{name} of a session must be a whole number, {least} or more"):
            Provenance({"train": "", "test": ""}, [values | {name: least - 1}])
