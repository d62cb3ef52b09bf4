"""From records to tables and back: nothing mixed, nothing filled in, every number from the runs it names."""

import contextlib
import csv
import dataclasses
import io
import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from snnbook import datasets, experiments, records, results
from snnbook.datasets.sources import SOURCES
from snnbook.errors import UserError
from snnbook.records import RunRecord, provenance
from snnbook.records.provenance import Provenance
from snnbook.results import estimates, orders, paper, render, tables

from ..records.test_records import figures

ROOT = Path(__file__).parents[2]
SESSION = provenance.session(torch.device("cpu"), "reference", 0, ["reproduce", "table3"])


def record(name, accuracies, seed=0, epochs=None, exits=None, **changes):
    """A run with these test accuracies; the last one holds on to the end."""
    experiment = experiments.get(name, seed=seed, epochs=epochs or paper.EPOCHS, **changes)
    lines = []
    for i in range(experiment.epochs):
        value = accuracies[min(i, len(accuracies) - 1)]
        exit_time = 0.5 if exits is None else exits[min(i, len(exits) - 1)]
        halves = [value - 0.01, value + 0.01] if i % 2 else [value + 0.01, value - 0.01]
        values = {"test_accuracy": value, "test_accuracy_halves": halves, "exit_time": exit_time}
        lines.append(figures(i + 1, experiment, **values))
    return RunRecord(experiment, Provenance(SOURCES[experiment.dataset].hashes, (SESSION,)), tuple(lines))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "results"


def saved(root, *found):
    for each in found:
        results.save(each, root)
    return results.load(root)


def rows(table):
    """By row and experiment: the shown cells by column."""
    return [dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows]


def test_what_is_saved_is_loaded_under_its_name(root):
    one = record("fashion_mnist_tet", [0.5], epochs=2)
    other = record("quick", [0.75], seed=3, epochs=1)
    found = saved(root, one, other)
    assert [r.file for r in found] == ["paper/fashion_mnist_tet-e2-seed0.jsonl", "quick/quick-e1-seed3.jsonl"]
    assert [r.record for r in found] == [one, other]
    with pytest.raises(UserError, match="is there already"):
        results.save(one, root)


def test_run_folders_beside_records_are_no_records(root):
    saved(root, record("quick", [0.5], epochs=1))
    run = root / "quick-e1-seed1"
    run.mkdir()
    (run / records.SETTINGS).write_text("{}")
    (run / records.EPOCHS).write_text("{}\n")
    assert [r.name for r in results.load(root)] == ["quick-e1-seed0"]


def test_nothing_is_saved_beside_a_record_that_cannot_be_read(root):
    saved(root, record("quick", [0.5], epochs=1))
    (root / "quick" / "quick-e1-seed1.jsonl").write_text("damaged")
    for tried in (
        lambda: results.save(record("quick", [0.5], seed=2, epochs=1), root),
        lambda: results.check_usable(root),
    ):
        with pytest.raises(UserError, match="quick-e1-seed1"):
            tried()
    assert not (root / "quick" / "quick-e1-seed2.jsonl").exists()


def test_a_record_that_came_while_another_was_waiting_is_kept(root, monkeypatch):
    one, other = (record("quick", [best], epochs=1) for best in (0.5, 0.75))

    @contextlib.contextmanager
    def late(*_):
        records.write(one, results.path_of(one.experiment, root))
        yield

    monkeypatch.setattr(results.run_folder, "locked", late)
    with pytest.raises(UserError, match="is there already"):
        results.save(other, root)
    assert records.read(results.path_of(one.experiment, root)) == one


def test_no_record_takes_the_place_of_the_index(root, tmp_path):
    path = tmp_path / "index.jsonl"
    records.write(record("quick", [0.5], epochs=1, learning_rate=0.5), path)
    saved(root, record("quick", [0.5], epochs=1))
    with pytest.raises(UserError, match="name of the index"):
        results.add_run(path, root)


def test_a_command_with_a_lone_quotation_mark_is_still_told():
    some = record("quick", [0.5], epochs=1)
    session = replace(SESSION, command="snnbook train quick --out runs/it's --runs x")
    some = replace(some, provenance=replace(some.provenance, sessions=(session,)))
    told = results.Result("quick/quick-e1-seed0.jsonl", some).repeated_by
    assert shlex.split(told) == ["snnbook", "train", "quick", "--out", "runs/it's"]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["reproduce", "quick", "--runs", "my runs", "--seeds", "3"], "reproduce quick --seeds 3 --only {}"),
        (["reproduce", "quick", "--only=quick-e1-seed0"], "reproduce quick --only={}"),
        (["train", "quick", "--results=a b", "--out", "runs/a b"], "train quick --out 'runs/a b'"),
    ],
)
def test_the_command_that_repeats_a_run(words, command):
    some = record("quick", [0.5], epochs=1)
    session = provenance.session(torch.device("cpu"), "reference", 0, words)
    some = replace(some, provenance=replace(some.provenance, sessions=(session,)))
    result = results.Result("quick/quick-e1-seed0.jsonl", some)
    assert result.repeated_by == "snnbook " + command.format(result.name)


def test_the_index_is_made_from_the_records(root):
    saved(root, record("fashion_mnist", [0.5, 0.75, 0.625], epochs=3))
    (line,) = (root / results.INDEX).read_text().splitlines()
    found = json.loads(line)
    assert (found["file"], found["loss"], found["seed"]) == (
        "paper/fashion_mnist-e3-seed0.jsonl",
        "enhanced_counting",
        0,
    )
    assert (found["best_test_accuracy"], found["best_epoch"], found["last_test_accuracy"]) == (0.75, 2, 0.625)
    assert (found["seconds"], found["as_named"], found["sessions"]) == (9.0, True, 1)


def test_an_index_that_was_left_behind_is_brought_up_to_date(root):
    saved(root, record("quick", [0.5], epochs=1), record("quick", [0.5], seed=1, epochs=1))
    index = root / results.INDEX
    whole = index.read_bytes()
    index.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    results.refresh_index(root)
    assert index.read_bytes() == whole
    before = index.stat().st_mtime_ns
    results.refresh_index(root)
    assert index.stat().st_mtime_ns == before, "nothing to do, nothing written"
    results.refresh_index(root / "not there")


def test_an_index_that_contradicts_itself_or_leads_nowhere(root):
    """Without the index records of version 2 have no checksum, so what is wrong with it is said."""
    index = root / results.INDEX
    saved(root, record("quick", [0.5], epochs=1))
    content = index.read_bytes()
    line = json.loads(content.splitlines()[0])
    index.write_bytes(content + content)
    assert results.load(root)
    index.write_bytes(content + json.dumps(line | {"sha256": "0" * 64}).encode())
    with pytest.raises(UserError, match="listed already, with another checksum"):
        results.load(root)
    index.unlink()
    index.symlink_to("nowhere")
    with pytest.raises(UserError, match=r"index\.jsonl: No such file"):
        results.load(root)


def test_runs_that_end_together_are_all_in_the_index(root):
    """Each reads all records and writes the index anew; without a lock the slower one writes an older state."""
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda seed: results.save(record("quick", [0.5], seed=seed, epochs=1), root), range(6)))
    assert (root / results.INDEX).read_bytes() == results.index_text(root)
    assert len(results.load(root)) == 6
    assert not [path.name for path in root.iterdir() if path.name.startswith(".")]


def test_a_record_without_torchs_version_is_still_listed(root):
    (some,) = saved(root, record("quick", [0.5], epochs=1))
    session = replace(some.session, versions={"python": "3"})
    foreign = replace(some.record, provenance=replace(some.record.provenance, sessions=(session,)))
    assert "quick-e1-seed0" in render.text(tables.build("runs", [replace(some, record=foreign)]))


def test_a_record_under_another_name_is_refused(root):
    saved(root, record("fashion_mnist", [0.5], epochs=1))
    (root / "paper" / "fashion_mnist-e1-seed0.jsonl").rename(root / "paper" / "fashion_mnist-e1-seed1.jsonl")
    with pytest.raises(UserError, match="holds the run fashion_mnist-e1-seed0"):
        results.load(root)


def test_an_empty_folder_makes_tables_of_what_is_missing():
    for name in ("3", "4", "5"):
        table = tables.build(name, [])
        assert not table.runs
        assert {row.get("best", row.get("ours %")) for row in rows(table)} == {"missing"}
    assert [row["paper"] for row in rows(tables.build("3", []))] == [
        "94.03",
        "93.72",
        "93.81",
        "80.91",
        "94.03",
        "91.89",
    ]
    assert [row["paper"] for row in rows(tables.build("4", []))] == ["80.85", "91.89", "87.90"]


def test_a_row_by_hand(root):
    """Three seeds whose best are 94.0, 94.1 and 94.2, and whose last are one point lower.

    Where the whole set is best (94.0, epoch 2), the halves stand at 93.0 and 95.0; then (93.0) at 94.0 and 92.0, and
    back. So one half chooses epoch 2, where the other is at 93.0, and the other epoch 3, where the first is at 92.0.
    """
    runs = [record("fashion_mnist", [0.9, best, best - 0.01], seed) for seed, best in enumerate((0.94, 0.941, 0.942))]
    table = tables.build("3", saved(root, *runs))
    line, *others = rows(table)
    assert (line["best"], line["last"], line["n"]) == ("94.10 ± 0.10", "93.10 ± 0.10", "3")
    assert line["crossed"] == "92.60 ± 0.10"
    assert (line["difference"], line["verdict"], line["epochs"]) == ("+0.07", "agrees", "100")
    assert line["within 0.3"] == "not shown"  # 0.07 + 2.92 * 0.1 * the root of 4/3 is 0.41
    assert {other["best"] for other in others} == {"missing"}
    assert table.runs == tuple(f"fashion_mnist-e100-seed{seed}" for seed in range(3))
    (numbers, *_) = csv.DictReader(io.StringIO(render.render(table, "csv")))
    assert float(numbers["best"]) == pytest.approx(94.1)
    assert float(numbers["best std"]) == pytest.approx(0.1)
    assert numbers["runs"] == " ".join(table.runs)


def test_nothing_is_mixed(root):
    """Another schedule, the released settings, an override and a second record of a seed each stay by themselves."""
    name = "fashion_mnist_counting"
    found = saved(
        root,
        record(name, [0.9], epochs=30),
        record(name, [0.91], seed=1, epochs=30),
        record(f"{name}_released", [0.92]),
    )
    strange = record(name, [0.99], label_scaling=False)
    found.append(results.Result(f"paper/{name}-e100-seed0.jsonl", strange))
    assert not found[-1].as_named
    lines = [row for row in rows(tables.build("3", found)) if row["experiment"].startswith(name)]
    assert [(row["experiment"], row["epochs"], row["best"], row["n"], row["verdict"]) for row in lines] == [
        (name, "100", "missing", "0", "missing"),
        (name, "30", "90.50 ± 0.71", "2", "undecided"),
        (f"{name}_released", "100", "92.00", "1", "undecided"),
    ]
    assert [row["within 0.3"] for row in lines] == ["missing", "undecided", "undecided"]


def test_the_order_of_rows_needs_three_seeds(root):
    table = tables.build("4", saved(root, record("fashion_mnist_ttfs", [0.9]), record("fashion_mnist_ttfs_T", [0.8])))
    assert table.notes[-2:] == (
        "Order by crossed after 100 epochs: 3 of 3 pairs undecided.",
        "Order by last after 100 epochs: 3 of 3 pairs undecided.",
    )
    more = [record(name, [value + seed / 1000], seed, epochs=30) for seed in range(3) for name, value in ORDERED]
    table = tables.build("4", saved(root, *more))
    order = "t_unfired = 4T > t_unfired = T and t_unfired = 20T; 1 of 3 pairs undecided."
    assert table.notes[-2:] == (
        f"Order by crossed after 30 epochs: {order}",
        f"Order by last after 30 epochs: {order}",
    )
    assert any("Holm" in note and "5 %" in note for note in table.notes)


def test_orders_are_decided_on_the_last_epoch_not_on_the_best(root):
    """4T is above T at its best, and below it in the end."""
    runs = []
    for seed in range(3):
        runs.append(record("fashion_mnist_ttfs", [0.95 + seed / 1000, 0.7 + seed / 1000], seed, epochs=30))
        runs.append(record("fashion_mnist_ttfs_T", [0.9 + seed / 1000, 0.8 + seed / 1000], seed, epochs=30))
    found = saved(root, *runs)
    higher = {figure: orders.orders("4", found, figure, 30)[0].higher for figure in ("best", "crossed", "last")}
    assert higher == {"best": False, "crossed": False, "last": True}  # is T above 4T?
    notes = tables.build("4", found).notes
    assert "t_unfired = T > t_unfired = 4T" in notes[-1]
    assert any("30 epochs: the last epoch is 25.0 points below the best" in note for note in notes)


ORDERED = (("fashion_mnist_ttfs", 0.9), ("fashion_mnist_ttfs_T", 0.8), ("fashion_mnist_ttfs_20T", 0.8005))


def test_table_5_takes_running_bests_each_on_its_own(root):
    exits = [0.5] * 14 + [0.05] + [0.4]  # fastest at epoch 15
    accuracies = [0.9] * 24 + [0.99] + [0.8]  # best at epoch 25
    found = saved(root, record("mnist_latency", accuracies, exits=exits))
    lines = rows(tables.build("5", found))
    told = [(row["epoch"], row["ours %"], row["ours, steps"], row["ours / T"]) for row in lines[:3]]
    assert told == [
        ("10 of 100", "90.00", "5.000", "0.500"),
        ("20 of 100", "90.00", "0.500", "0.050"),
        ("30 of 100", "99.00", "0.500", "0.050"),
    ]
    assert [row["paper's time"] for row in lines] == [f"{x:.3f}" for x in paper.TABLE_5_TIME]
    assert [row["verdict"] for row in lines] == ["–"] * 9 + ["undecided"]
    assert [row["within 0.3"] for row in lines] == ["–"] * 9 + ["undecided"]


def test_table_5_shows_a_schedule_that_ends_between_the_papers_lines(root):
    found = saved(root, *(record(paper.TABLE_5, [0.5, 0.75], epochs=epochs) for epochs in (5, 15)))
    lines = {line["epoch"]: line for line in rows(tables.build("5", found)) if line["ours %"] != "missing"}
    assert list(lines) == ["10 of 15", "15 of 15", "5 of 5"]
    assert [lines["15 of 15"][column] for column in ("paper %", "ours %", "paper's time", "verdict")] == [
        "–",
        "75.00",
        "–",
        "–",
    ]


def test_curves_are_means_over_seeds(root):
    found = saved(root, record("fashion_mnist", [0.5, 0.7], epochs=3), record("fashion_mnist", [0.6, 0.7], 1, epochs=3))
    group = tables.groups(found, "fashion_mnist")[1]
    assert tables.curve(group, "test accuracy") == [
        (1, pytest.approx(55)),
        (2, pytest.approx(70)),
        (3, pytest.approx(70)),
    ]
    assert tables.curve(group, "output threshold") == [(epoch, 1.5) for epoch in (1, 2, 3)]
    assert tables.curve(tables.groups(found, "fashion_mnist")[0], "sum of e") == []


def test_bands_reach_from_the_lowest_seed_to_the_highest(root):
    runs = [record("fashion_mnist", [best], seed, epochs=1) for seed, best in enumerate((0.6, 0.5, 0.9))]
    (point,) = tables.band(tables.groups(saved(root, *runs), "fashion_mnist")[1], "test accuracy")
    assert point == pytest.approx((1, 50, 200 / 3, 90))


RATIOS = ("positive_ratio", "positive_share")


def test_the_ratio_since_the_start_weighs_every_epoch_by_its_gradients(root):
    one = record("fashion_mnist", [0.5], epochs=3)
    sums = [(0.0, 0.0), (3.0, 4.0), (-1.0, 6.0)]
    epochs = []
    for each, (e, absolute) in zip(one.epochs, sums, strict=True):
        ratios = {"positive_ratio": e / absolute, "positive_share": 0.25} if absolute else dict.fromkeys(RATIOS)
        epochs.append(replace(each, grad_sum=e, grad_abs_sum=absolute, **ratios))
    group = tables.Group("fashion_mnist", 3, (results.Result("", replace(one, epochs=tuple(epochs))),))
    assert tables.curve(group, "ratio since the start") == [(2, 0.75), (3, 0.2)]
    assert tables.curve(group, "positive ratio") == [(2, 0.75), (3, pytest.approx(-1 / 6))]


def test_figures_in_numbers(root):
    table = tables.build("figures", saved(root, record("fashion_mnist_ttfs_T", [0.5], epochs=20)))
    lines = [row for row in rows(table) if row["experiment"] == "fashion_mnist_ttfs_T"]
    assert [row["epoch"] for row in lines] == ["0 of 100", *(f"{epoch} of 20" for epoch in (1, 2, 4, 10, 20))]
    assert lines[1]["sum of e (1/step)"] == "-2.5"
    assert len({len(row) for row in table.rows}) == 1


@pytest.mark.parametrize("name", tables.NAMES)
@pytest.mark.parametrize("form", render.FORMATS)
def test_every_table_in_every_form(name, form, root):
    found = saved(root, record("fashion_mnist", [0.9], epochs=3), record("mnist_latency", [0.9], epochs=30))
    table = tables.build(name, found)
    text = render.render(table, form, lambda run: f"results/{run}.jsonl")
    assert not text.endswith("\n")
    if form == "html":
        assert text.count("<tr>") == len(table.rows) + 1
        assert all(f'href="results/{run}.jsonl"' in text for run in table.runs)
    elif form == "csv":
        assert len(list(csv.reader(io.StringIO(text)))) == len(table.rows) + 1
    else:
        assert all(cell.text.replace("|", "\\|") in text for row in table.rows for cell in row)


def test_html_is_escaped():
    table = render.Table("<b>", ("a&b",), ((render.Cell("1 < 2", 1, ('"x"',)),),))
    text = render.render(table, "html")
    assert "<b>" not in text
    assert "1 &lt; 2" in text
    assert "&quot;x&quot;" in text


def test_long_names_may_go_on_in_the_next_line():
    table = render.Table("t", ("a",), ((render.Cell("one_two_3 = _x", 1, ("a_b",)),),))
    text = render.to_html(table)
    assert "one_<wbr>two_<wbr>3 = _x" in text
    assert f'href="{render.anchor("a_b")}"' in text


def test_rows_to_link_to(root):
    table = tables.build("runs", saved(root, record("fashion_mnist", [0.9], epochs=3)))
    text = render.to_html(table, "results/{}".format, targets=True)
    assert f'id="{render.anchor("fashion_mnist-e3-seed0")[1:]}"' in text
    assert 'href="results/fashion_mnist-e3-seed0"' in text


def test_rows_of_named_values_are_a_table():
    """As benchmarks have them: words to the left, numbers to the right, nothing where a row lacks a column."""
    table = render.from_rows([{"who": "ours", "ms": 1.25}, {"who": "theirs", "MiB": 30}], "{:}".format)
    assert render.text(table) == "who       ms  MiB\n------  ----  ---\nours    1.25\ntheirs         30"


def test_unknown_names():
    with pytest.raises(UserError, match="unknown table '6'"):
        tables.build("6", [])
    with pytest.raises(UserError, match="Did you mean 'html'"):
        render.render(tables.build("3", []), "htm")


# ---- the project's own results ----

OURS = results.load(ROOT / "results")


def test_the_index_is_up_to_date():
    assert results.index_text(ROOT / "results") == (ROOT / "results" / results.INDEX).read_bytes()


def test_quick_is_there_with_three_seeds_and_stands_in_no_table():
    quick = [result for result in OURS if result.file.startswith("quick/")]
    (group,) = [g for g in tables.groups(quick, "quick") if g.epochs == experiments.get("quick").epochs]
    assert len(group.results) >= 3
    for name in ("3", "4", "5", "figures"):
        assert not any(run.startswith("quick") for run in tables.build(name, OURS).runs)


def test_the_papers_numbers_stand_in_one_place_only():
    others = [p for p in (ROOT / "snnbook").rglob("*.py") if p.name != "paper.py"]
    assert others
    for number in ("94.03", "93.72", "93.81", "80.91", "91.89", "80.85", "87.9", "99.09", "0.189"):
        assert not [p.name for p in others if number in p.read_text()], number


def test_records_on_file_are_of_the_published_images():
    assert not [result.name for result in OURS if not result.published]
    known = [name for name, source in SOURCES.items() if source.hashes]
    assert {r.experiment.dataset for r in OURS} <= set(known)
    status = {(s.name, s.split): s.state for s in datasets.check(known)}
    for (name, split), state in status.items():
        if state == "ok":
            assert datasets.load(name, split).sha256 == SOURCES[name].hashes[split]
    assert status["fashion_mnist_subset", "train"] == "ok"


@pytest.mark.parametrize("data", [{"train": "aa"}, {"test": "aa"}, {"train": "aa", "test": "aa"}])
def test_a_run_on_other_images_is_in_no_row(root, tmp_path, data):
    one = record("fashion_mnist", [0.99])
    other = replace(one, provenance=Provenance(one.provenance.data | data, one.provenance.sessions))
    (found,) = saved(root, other)
    assert (found.as_named, found.published, found.counts) == (True, False, False)
    assert rows(tables.build("3", [found]))[0]["best"] == "missing"
    records.write(other, tmp_path / "mine.jsonl")
    assert results.add_run(tmp_path / "mine.jsonl", root) == results.AddedRun(root / "mine.jsonl", counts=False)


def test_a_run_of_several_machines_names_them_all(root):
    one = record("fashion_mnist", [0.5], epochs=5)
    gpu = replace(SESSION, device="NVIDIA H200", engine="triton", commit="abc", versions={"torch": "2.11"})
    here = replace(SESSION, from_epoch=2, commit="def", processor="Z80", threads=2, versions={"torch": "2.13"})
    sessions = (gpu, here, replace(here, from_epoch=4))
    found = results.Result("", replace(one, provenance=Provenance(one.provenance.data, sessions)))
    assert found.hardware == "NVIDIA H200, then Z80, 2 threads"
    assert found.engine == "triton, then reference"
    assert found.commits == ["abc", "def"]
    (shown,) = rows(tables.runs_table([found]))
    assert (shown["hardware"], shown["engine"], shown["commit"]) == (found.hardware, found.engine, "abc, def")
    assert shown["torch"] == "2.11, then 2.13"
    assert results.index_line(found)["commits"] == ["abc", "def"]


@pytest.mark.parametrize(
    ("made_by", "repeated_by"),
    [
        ("reproduce quick --seeds 10", "reproduce quick --seeds 10 --only fashion_mnist-e5-seed0"),
        ("reproduce table3 --only x --device cuda --runs runs", "reproduce table3 --only x --device cuda"),
        ("reproduce table3 --results=a --only x --runs b --epochs 3", "reproduce table3 --only x --epochs 3"),
        ("train quick --seed 1 --out runs/first", "train quick --seed 1 --out runs/first"),
    ],
)
def test_a_run_is_shown_with_the_command_that_repeats_it_alone(made_by, repeated_by):
    one = record("fashion_mnist", [0.5], epochs=5)
    sessions = (replace(SESSION, command=f"snnbook {made_by}"),)
    run = results.Result(
        "a/fashion_mnist-e5-seed0.jsonl", replace(one, provenance=Provenance(one.provenance.data, sessions))
    )
    (shown,) = rows(tables.runs_table([run]))
    assert shown["command"] == f"snnbook {repeated_by}"


def test_an_estimate_goes_by_the_epochs_of_its_own_hardware():
    one = record("fashion_mnist", [0.5], epochs=6, engine="reference")
    seconds = (900.0, 900.0, 2.0, 3.0, 700.0, 4.0)
    epochs = tuple(replace(each, seconds=spent) for each, spent in zip(one.epochs, seconds, strict=True))
    gpu = replace(SESSION, device="NVIDIA H200", engine="triton")
    here = provenance.session(torch.device("cpu"), "reference", 2, None)
    sessions = (gpu, here, replace(gpu, from_epoch=4), replace(here, from_epoch=5))
    run = results.Result("", replace(one, provenance=Provenance({"train": "", "test": ""}, sessions), epochs=epochs))
    assert estimates.from_records(run.experiment, torch.device("cpu"), [run]) == 3.0
    alone = replace(run, record=replace(run.record, provenance=Provenance({"train": "", "test": ""}, (gpu,))))
    assert estimates.from_records(run.experiment, torch.device("cpu"), [alone]) is None


def test_a_run_with_the_settings_of_its_name_is_kept_where_tables_look(root, tmp_path):
    named = record("fashion_mnist", [0.5], epochs=2)
    other = record("fashion_mnist", [0.5], epochs=2, rate=0.7)
    for number, each in enumerate((named, other)):
        records.write(each, tmp_path / f"{number}.jsonl")
    counted = results.AddedRun(root / "paper/fashion_mnist-e2-seed0.jsonl", counts=True)
    assert results.add_run(tmp_path / "0.jsonl", root) == counted
    assert results.add_run(tmp_path / "1.jsonl", root) == results.AddedRun(root / "1.jsonl", counts=False)
    assert [r.name for r in results.load(root)] == ["fashion_mnist-e2-seed0"]
    assert (root / results.INDEX).exists()
    for number in (0, 1):
        with pytest.raises(UserError, match="is there already"):
            results.add_run(tmp_path / f"{number}.jsonl", root)


@pytest.mark.parametrize("result", OURS, ids=lambda result: result.name)
def test_records_on_file_are_whole_and_tell_where_they_come_from(result):
    session = result.session
    assert result.record.finished
    assert result.as_named, "a record of other settings than its name stands for"
    assert session.commit
    assert session.command
    assert dataclasses.asdict(session)["versions"]["torch"]
