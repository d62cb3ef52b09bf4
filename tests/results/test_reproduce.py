"""snnbook reproduce and snnbook table: plans, reuse, going on after a kill, jobs. Real rows on sixty drawn images."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from snnbook import experiments, records, results, training
from snnbook.__main__ import BAD, INTERRUPTED
from snnbook.cli import reproduce as commands
from snnbook.cli.options import Reproduction
from snnbook.errors import UserError
from snnbook.records import checkpoints, run_folder
from snnbook.results import estimates, reproduce

from ..small_runs import StopAfter

pytestmark = pytest.mark.usefixtures("data")

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(estimates, "WATCHED", 0.1)
    return tmp_path


@pytest.fixture
def tiny(monkeypatch):
    """Replace Table 4 by a plan of two rows with a network of a few neurons."""
    get = experiments.get
    few = {"network": "2C5-P4-8", "padding": 0, "steps": 3, "batch_size": 20, "engine": "reference"}
    monkeypatch.setattr(experiments, "get", lambda name, **changes: get(name, **(few | changes)))
    monkeypatch.setitem(reproduce.TARGETS, "table4", ("fashion_mnist_ttfs", "fashion_mnist_ttfs_T"))


def plan(target, seeds=1, epochs=None, **more):
    return reproduce.plan(target, seeds, epochs, Path("results"), Path("runs"), **more)


def test_what_each_target_stands_for():
    assert {target: len(names) for target, names in reproduce.TARGETS.items()} == {
        **{"table3": 6, "table4": 3, "table5": 1, "figures": 8, "variants": 7, "quick": 1}
    }
    for names in reproduce.TARGETS.values():
        assert set(names) <= set(experiments.names())


def test_a_row_of_two_tables_is_one_run():
    shared = {run.record for run in plan("table3")} & {run.record for run in plan("table4")}
    assert {path.name for path in shared} == {"fashion_mnist_ttfs-e100-seed0.jsonl"}
    assert {run.record for run in plan("figures")} == {run.record for t in ("table3", "table4") for run in plan(t)}


def test_schedules_and_variants_are_other_runs():
    names = [{run.name for run in plan("table4", **more)} for more in ({}, {"epochs": 30}, {"released": True})]
    assert not names[0] & names[1]
    assert not names[0] & names[2]
    assert [run.experiment.seed for run in plan("table5", seeds=3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reproduce", "table33"], "Did you mean 'table3'"),
        (["reproduce", "table3", "--seeds", "0"], "seeds must be"),
        (["reproduce", "table3", "--epochs", "0"], "epochs must be"),
        (["reproduce", "table3", "--jobs", "0"], "jobs must be"),
        (["reproduce", "table3", "--jobs", "1.5"], "not a whole number"),
        (["reproduce", "table3", "--only", "fashion_mnist-e100-sed0"], "Did you mean 'fashion_mnist-e100-seed0'"),
        (["reproduce", "table3", "--only", "fashion_mnist-e100-seed1"], "it is with --seeds 2\n"),
        (["reproduce", "table3", "--only", "fashion_mnist-e30-seed0"], "it is with --epochs 30\n"),
        (["reproduce", "table3", "--only", "fashion_mnist-e100-seed00"], "Did you mean 'fashion_mnist-e100-seed0'"),
        (["reproduce", "table3", "--only", "fashion_mnist_tet-e30-seed2"], "it is with --seeds 3 --epochs 30\n"),
        (["reproduce", "table3", "--only", "fashion_mnist_tet_released-e100-seed0"], "it is with --released\n"),
        (["reproduce", "table3", "--device", "gpu"], "unknown device"),
        (["reproduce", "quick", "--released"], "leave out --released"),
        (["reproduce"], "TARGET"),
        (["table", "6"], "6"),
        (["table", "3"], "there is no folder results"),
        (["table", "3", "--format", "pdf"], "pdf"),
    ],
)
def test_what_is_malformed_gets_one_line(arguments, words, call, here):
    code, out, err = call(*arguments)
    assert (code, out, err.count("\n")) == (BAD, "", 1)
    assert words in err
    assert not list(here.iterdir())


def test_a_list_of_commands_that_each_do_one_run(call, tiny):
    code, out, _ = call("reproduce", "table4", "--list", "--epochs", "2", "--seeds", "2", "--device", "cpu")
    commands = [shlex.split(line) for line in out.splitlines()]
    assert code == 0
    assert len(commands) == 4
    assert not Path("results").exists()
    assert call(*commands[3][1:])[0] == 0
    assert [path.name for path in Path("results/paper").iterdir()] == ["fashion_mnist_ttfs_T-e2-seed1.jsonl"]
    _, again, _ = call("reproduce", "table4", "--list", "--epochs", "2", "--seeds", "2", "--device", "cpu")
    assert again.splitlines() == out.splitlines()[:3]


def test_commands_for_a_device_that_is_elsewhere_can_be_listed(call):
    """On a cluster's first machine, which has no GPU."""
    _, plain, _ = call("reproduce", "table5", "--list")
    code, out, err = call("reproduce", "table5", "--list", "--device", "cuda:999")
    assert (code, out, err) == (0, plain.replace("\n", " --device cuda:999\n"), "")
    assert call("reproduce", "table5", "--device", "cuda:999")[0] == BAD
    assert "unknown device" in call("reproduce", "table5", "--list", "--device", "gpu")[2]


def test_a_stopped_run_goes_on_and_a_finished_one_is_kept(call, tiny):
    first, second = plan("table4", epochs=3)
    folder = Path("runs/reproduce") / first.name
    with pytest.raises(KeyboardInterrupt):
        training.fit(first.experiment, folder, "cpu", StopAfter(2))
    code, out, err = call("reproduce", "table4", "--epochs", "3", "--device", "cpu")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == [first.name, "2", "of", "3", "epochs", "done"]
    assert lines[1].split() == [second.name, "missing"]
    assert lines[2].startswith("2 of 2 runs to do: about ")
    assert lines[2].endswith("a measurement of about 0.1 s")
    assert lines[3].startswith("warning: fashion_mnist in ")
    assert "going on after epoch 2 of 3" in out
    assert "t_unfired = 4T" in out
    straight = training.fit(first.experiment, "straight", "cpu")
    kept = results.load("results")
    assert [r.name for r in kept] == [first.name, second.name]
    assert [e.test_accuracy for e in kept[0].record.epochs] == [e.test_accuracy for e in straight.epochs]

    code, out, err = call("reproduce", "table4", "--epochs", "3", "--device", "cpu", "--only", first.name)
    assert (code, out) == (0, "")
    images, done = err.splitlines()
    assert images == f"{first.record} is done, {reproduce.UNPUBLISHED}; move it away to run anew"
    assert done.startswith(f"1 of 1 runs done: {first.record} has it. To run anew: --results again")
    code, out, err = call("reproduce", "table4", "--epochs", "3", "--list")
    assert (code, out) == (0, "")
    assert err.splitlines()[2].startswith("2 of 2 runs done: all have their records")

    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")}
    code, out, _ = call("reproduce", "table4", "--epochs", "3", "--device", "cpu")
    assert code == 0
    assert "to do" not in out
    assert out.count(f"done, {reproduce.UNPUBLISHED}") == 2
    assert out.count("missing") == 9  # the best and both verdicts of three rows: these are not the published images
    assert {path: path.stat().st_mtime_ns for path in Path("results").rglob("*")} == before

    _, out, _ = call("reproduce", "table4", "--epochs", "4", "--device", "cpu")
    assert "by records of this hardware" in out
    assert len(results.load("results")) == 4


def test_one_row_that_breaks_down_does_not_stop_the_others(call, tiny, monkeypatch):
    fit = training.fit

    def breaks(experiment, *rest):
        if experiment.t_unfired == 4:
            raise UserError("training broke down")
        return fit(experiment, *rest)

    monkeypatch.setattr(training, "fit", breaks)
    code, out, err = call("reproduce", "table4", "--epochs", "1", "--device", "cpu")
    assert code == BAD
    assert "fashion_mnist_ttfs-e1-seed0 failed: training broke down" in out
    assert err == "snnbook: 1 of 2 runs failed, see above: fashion_mnist_ttfs-e1-seed0\n"
    assert [r.name for r in results.load("results")] == ["fashion_mnist_ttfs_T-e1-seed0"]


def test_ctrl_c_says_how_to_go_on(call, tiny, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", stop)
    code, _, err = call("reproduce", "table4", "--epochs", "1", "--device", "cpu")
    again = "snnbook reproduce table4 --epochs 1 --device cpu"
    assert (code, err) == (INTERRUPTED, f"snnbook: stopped; what is done is kept. Go on with: {again}\n")


def test_a_run_that_another_process_holds_is_left_to_it(call, tiny):
    run = plan("table4", epochs=1)[0]
    held = reproduce.Run(run.experiment, Path("runs/reproduce") / run.name, run.record)
    with reproduce.lock_run(held):
        _, out, _ = call("reproduce", "table4", "--epochs", "1", "--device", "cpu")
    assert re.search(rf"^process {os.getpid()} on .* is at work on {run.name}; left to it$", out, re.MULTILINE)
    assert [r.name for r in results.load("results")] == ["fashion_mnist_ttfs_T-e1-seed0"]
    assert not list(held.folder.parent.glob(".*")), "no lock stays behind"


def test_a_damaged_folder_stops_its_own_row_alone(call, tiny):
    damaged = plan("table4", epochs=1)[0]
    folder = Path("runs/reproduce") / damaged.name
    training.fit(damaged.experiment, folder, "cpu")
    (folder / records.EPOCHS).write_text("damaged\n")
    code, out, _ = call("reproduce", "table4", "--epochs", "1", "--device", "cpu")
    assert code == BAD
    assert f"{damaged.name} failed: {folder}" in out
    assert [r.name for r in results.load("results")] == ["fashion_mnist_ttfs_T-e1-seed0"]


def test_a_results_folder_that_cannot_be_used_is_told_before_training(call, tiny, monkeypatch):
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trained"))
    damaged = Path("results/paper/fashion_mnist-e1-seed0.jsonl")
    damaged.parent.mkdir(parents=True)
    damaged.write_text("damaged")
    only = ("--only", "fashion_mnist_ttfs-e1-seed0")
    for more in ((), only):
        code, _, err = call("reproduce", "table4", "--epochs", "1", "--device", "cpu", *more)
        assert (code, str(damaged) in err) == (BAD, True)


@pytest.mark.parametrize("arguments", [(), ("--list",), ("--only", "fashion_mnist_ttfs-e1-seed0")])
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rate": 0.7}, "a run of other settings than its name stands for; move it away"),
        ({"seed": 1}, "the run fashion_mnist_ttfs-e1-seed1; put it where its name belongs"),
        ({"epochs": 2}, "1 of 2 epochs; it is no result"),
    ],
)
def test_a_record_of_another_run_is_not_taken_for_the_run(call, tiny, monkeypatch, arguments, settings, words):
    """No table would count it."""
    (first, _) = plan("table4", epochs=1)
    record = training.fit(first.experiment.override(**settings), "other", "cpu")
    first.record.parent.mkdir(parents=True)
    records.write(record, first.record)
    if "epochs" in settings:
        content = first.record.read_bytes().replace(b'"version": 3', b'"version": 2')  # of before there were checksums
        first.record.write_bytes(b"".join(content.splitlines(keepends=True)[:-2]))
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trained"))
    code, out, err = call("reproduce", "table4", "--epochs", "1", "--device", "cpu", *arguments)
    assert (code, out) == (BAD, "")
    assert err == f"snnbook: {first.record} holds {words}\n"


def test_a_run_whose_record_cannot_be_filed_has_failed(call, tiny, monkeypatch):
    def busy(*_):
        raise run_folder.InUse(Path("results"), "process 7")

    monkeypatch.setattr(results, "save", busy)
    code, out, _ = call("reproduce", "table4", "--epochs", "1", "--only", "fashion_mnist_ttfs-e1-seed0")
    assert code == BAD
    assert re.search("failed: .* is done, but .*; the same command files its record", out)


def test_links_of_a_table_lead_into_folders_of_any_name(call, tiny):
    call("reproduce", "table4", "--epochs", "1", "--device", "cpu", "--results", "a#b 1")
    _, out, _ = call("table", "runs", "--format", "html", "--results", "a#b 1")
    assert 'href="a%23b%201/paper/fashion_mnist_ttfs-e1-seed0.jsonl"' in out


def test_no_more_processes_than_runs(call, tiny, monkeypatch):
    given = []

    def fake(missing, jobs, threads, *_):
        given.append((jobs, threads))
        return []

    monkeypatch.setattr(reproduce, "train_in_processes", fake)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    _, out, _ = call("reproduce", "table4", "--epochs", "1", "--jobs", "100")
    assert given == [(2, 4)]
    assert "2 at a time" in out


def test_a_folder_without_settings_is_begun_again(tiny):
    run = plan("table4", epochs=1)[0]
    run.folder.mkdir(parents=True)
    for name in run_folder.LEFTOVERS:
        (run.folder / name).write_text("{")
    reproduce.train(run, Path("results"), "cpu", training.Progress(), [])
    assert run.record.exists()


def test_a_folder_of_other_settings_is_left_alone(tiny):
    run = plan("table4", epochs=1)[0]
    training.fit(run.experiment.override(learning_rate=0.1), run.folder, "cpu")
    with pytest.raises(UserError, match="holds a run of other settings"):
        reproduce.train(run, Path("results"), "cpu", training.Progress(), [])


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_killed_reproduce_goes_on_where_it_stopped():
    """The real command on a real row, killed in its second epoch; then again."""
    words = ["reproduce", "table4", "--only", "fashion_mnist_ttfs_T-e2-seed0", "--epochs", "2", "--device", "cpu"]
    process = subprocess.Popen([sys.executable, "-m", "snnbook", *words], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch 1/2"):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder = Path("runs/reproduce/fashion_mnist_ttfs_T-e2-seed0")
    assert len(records.read(folder).epochs) in (1, 2)
    again = subprocess.run([sys.executable, "-m", "snnbook", *words, "--jobs", "2"], capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (0, "")
    assert "going on after epoch" in again.stdout
    assert not folder.with_suffix(".log").exists(), "one run needs no process of its own"
    (found,) = results.load("results")
    assert [s.from_epoch > 0 for s in found.record.provenance.sessions] == [False, True]
    assert found.session.command == " ".join(["snnbook", *words])
    assert found.record.provenance.sessions[1].threads == 1


@pytest.mark.skipif(os.name != "posix", reason="sends SIGTERM")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_terminated_reproduce_saves_and_says_how_to_go_on(jobs, here):
    """A scheduler's SIGTERM is no failure, and no process lives on; the run is saved where it was, within an epoch."""
    which = ("--seeds", "2", "--jobs", "2") if jobs == 2 else ("--only", "quick-e500-seed0")
    words = ["reproduce", "quick", "--epochs", "500", *which]
    process = subprocess.Popen(
        [sys.executable, "-m", "snnbook", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = Path("runs/reproduce/quick-e500-seed0")
    while not (folder / checkpoints.LAST).exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (
        0,
        f"snnbook: stopped; what is done is kept. Go on with: snnbook {' '.join(words)}\n",
    )
    last = checkpoints.read(folder / checkpoints.LAST)
    assert last.epoch + last.step > 0
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == set(), "nobody holds it any more"


def test_processes_side_by_side(tiny):
    """Three runs, two at a time: the third begins when one of the first two is over."""
    runs = [run for seeds in (1, 2) for run in plan("table4", seeds=seeds, epochs=1)][:3]
    said = []
    assert reproduce.train_in_processes(runs, 2, 1, lambda run: ["version"], said.append) == []
    assert [line.split()[0] for line in said][:3] == ["started", "started", "left"]  # that command leaves no record
    assert sorted(line.split()[0] for line in said) == ["left"] * 3 + ["started"] * 3
    assert all("torch" in run.folder.with_suffix(".log").read_text() for run in runs)


def test_a_process_that_fails_is_told(here, monkeypatch):
    runs = plan("table4", epochs=1)[:1]
    said = []
    failed = reproduce.train_in_processes(runs, 2, 1, lambda run: ["reproduce", "nonsense"], said.append)
    assert failed == [runs[0].name]
    assert said[1].startswith(f"failed {runs[0].name}: exit 2. snnbook: unknown target 'nonsense'")


def test_jobs_take_turns_on_devices(tiny):
    """Three runs, two devices: each is used by the first two, and one of them by the third."""
    runs = [run for seeds in (1, 2) for run in plan("table4", seeds=seeds, epochs=1)][:3]
    reproduce.train_in_processes(
        runs, 2, 1, lambda run: ["reproduce", "nonsense"], lambda line: None, ["cuda:7", "gpu:8"]
    )
    logs = [run.folder.with_suffix(".log").read_text() for run in runs]
    assert "nonsense" in logs[0]
    assert "gpu:8" in logs[1], "its own device is refused first"


def test_threads_are_divided(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [reproduce.threads_each(jobs) for jobs in (1, 2, 3, 16)] == [8, 4, 2, 1]


def test_threads_are_divided_once(tiny, monkeypatch):
    """What is measured beforehand and what runs have the same number: all threads over the jobs."""
    counts = [8]
    started = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: counts[-1])
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    monkeypatch.setattr(
        reproduce, "train_in_processes", lambda missing, jobs, threads, *_: started.append(threads) or []
    )
    commands.reproduce("quick", Reproduction(seeds=5, epochs=1, jobs=4, device="cpu"))
    assert started == [2]
    assert set(counts[1:]) <= {2}


def test_a_measurement_is_near_the_truth():
    experiment = experiments.get("fashion_mnist", epochs=1)
    took = training.fit(experiment, "run", "cpu").last.seconds
    assert estimates.measure(experiment, CPU) == pytest.approx(took, rel=4)
    assert estimates.from_records(experiment, CPU, []) is None


def test_a_measurement_leaves_compilation_out(monkeypatch):
    class SlowAtFirst:
        images = 10_000

        def __init__(self, *arguments):
            pass

        def initialise(self):
            pass

        def epoch(self, epoch, report):
            for pause in (0.4, 0.01, 0.01, 0.3, 0.01, 0.01, 0.01):
                time.sleep(pause)
                report(50, 0.0, 0.0)

    taken = []
    monkeypatch.setattr(estimates.devices, "current", lambda device: taken.append(device) or contextlib.nullcontext())
    monkeypatch.setattr(estimates, "Trainer", SlowAtFirst)
    experiment = experiments.get("quick")
    assert estimates.measure(experiment, CPU, seconds=5) == pytest.approx(10_000 * 0.01 / 50, rel=0.5)
    assert taken == [CPU], "recordings go to the GPU that is current, so the measured one must be"
