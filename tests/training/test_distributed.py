"""Several processes train as one does, and fail as one does."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnbook import losses, records, training
from snnbook.cli import terminal
from snnbook.errors import UserError
from snnbook.layers import TimeDropout
from snnbook.records import checkpoints, figures
from snnbook.shards import Shard
from snnbook.training import distributed
from snnbook.training.distributed import ALONE, ProcessGroup

from ..cli.test_cli import SMALL
from ..small_runs import StopAfter, small, state, write_data
from . import joint_run

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Of a process: the small data, this package, one thread."""
    data = write_data(tmp_path_factory.mktemp("data"))
    return os.environ | {"SNNBOOK_DATA": str(data), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory, environment):
    """Folders with the runs of joint_run.py: of one process, of two."""
    alone = tmp_path_factory.mktemp("alone")
    both = tmp_path_factory.mktemp("both")
    for command, folder in (([sys.executable, "-m"], alone), (TORCHRUN, both)):
        done = subprocess.run(
            [*command, "tests.training.joint_run", str(folder)],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return alone, both


@given(st.integers(1, 9), st.integers(1, 40))
def test_shards_make_up_the_batch(size, samples):
    shards = [ProcessGroup(rank, size).shard(samples) for rank in range(size)]
    if samples < size:
        assert {(shard.first, shard.count, shard.total) for shard in shards} == {(0, samples, samples)}
        assert all(shard.is_whole for shard in shards)
        assert [shard.contributes for shard in shards] == [True] + [False] * (size - 1)
    else:
        rows = [row for shard in shards for row in range(samples)[shard.rows]]
        assert rows == list(range(samples))
        assert max(shard.count for shard in shards) - min(shard.count for shard in shards) <= 1
        assert {shard.total for shard in shards} == {samples}
        assert all(shard.contributes for shard in shards)


def test_alone_nothing_is_exchanged():
    values = torch.rand(3)
    assert ALONE.sum(values) is values
    assert ALONE.shard(3).sum(values) is values
    assert (ALONE.maximum(5, 6), ALONE.broadcast(lambda: 7), ALONE.one_per_machine_first(lambda: 8)) == ((5, 6), 7, 8)
    assert ALONE.is_main


@pytest.mark.parametrize("rank", range(3))
def test_masks_are_those_of_the_joint_batch(rank):
    """Dropout on a shard takes the rows of the mask that one process draws for the whole batch."""
    whole = TimeDropout(0.5)
    part = TimeDropout(0.5)
    x = torch.ones(2, 7, 4, 3, 3)
    shard = ProcessGroup(rank, 3).shard(7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        wanted = whole(x)[:, shard.rows]
        after = torch.get_rng_state()
        torch.manual_seed(1)
        assert torch.equal(part(x[:, shard.rows], shard), wanted)
        assert torch.equal(torch.get_rng_state(), after), "all processes draw the same, and stay in step"


def halves_of(samples):
    """Two shards of a batch."""
    first = samples // 2
    return Shard(0, first, samples), Shard(first, samples - first, samples, is_main=False)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_losses_of_shards_add_up_to_that_of_the_batch(name):
    """Values add up, gradients are the batch's rows; the sums of label scaling are exchanged."""
    generator = torch.Generator().manual_seed(3)
    spikes = (torch.rand(6, 5, 12, generator=generator, dtype=torch.float64) < 0.9).double()
    labels = torch.tensor([0, 3, 1, 1, 2])
    spikes[1:, torch.arange(5), labels] = 0  # so few that label scaling is at work
    loss = losses.get(name, **({"target_others": 0.0} if "count" in name else {}))
    whole = spikes.clone().requires_grad_()
    value = loss(whole, labels)
    value.backward()
    if "count" in name:  # what both shards hand in, and get back
        one_hot = torch.nn.functional.one_hot(labels, 12).bool()
        count = spikes.sum(0)
        count = torch.where(one_hot, count.clamp(max=5), count)
        joint = torch.stack([(count * one_hot).sum(), (count * ~one_hot).sum()])
    parts = []
    for shard in halves_of(5):
        shard = dataclasses.replace(shard, all_reduce=lambda sums: joint)
        part = spikes[:, shard.rows].clone().requires_grad_()
        parts.append(loss(part, labels[shard.rows], shard))
        parts[-1].backward()
        torch.testing.assert_close(part.grad, whole.grad[:, shard.rows])
    torch.testing.assert_close(sum(parts), value)


# ---- the same result ----


@pytest.mark.parametrize("name", joint_run.RUNS)
def test_two_processes_train_as_one(name, pair):
    """Weights, optimiser and figures of joint batches, but for the order of sums; generators to the bit."""
    torch.set_default_dtype(torch.float64)  # a checkpoint is checked against the network that is built here
    try:
        ours, theirs = (state(folder / name) for folder in pair)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(ours.generators["cpu"], theirs.generators["cpu"])
    for key, value in ours.model.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(
            theirs.model[key], value, rtol=1e-9, atol=1e-12, msg=lambda text, k=key: f"{k}: {text}"
        )
    for key, entry in ours.optimiser["state"].items():
        for moment, value in entry.items():
            torch.testing.assert_close(theirs.optimiser["state"][key][moment], value, rtol=1e-7, atol=1e-12)
    ours, theirs = (records.read(folder / name) for folder in pair)
    assert [run.provenance.sessions[0].device for run in (ours, theirs)] == ["cpu", "2 x cpu"]
    ours, theirs = ours.epochs, theirs.epochs
    for one, other in zip(ours, theirs, strict=True):
        for figure in figures.NAMES:
            if figure not in records.TIMES:
                assert flat(getattr(other, figure)) == pytest.approx(flat(getattr(one, figure)), rel=1e-6), figure
        assert one.test_accuracy == other.test_accuracy
        assert one.train_accuracy == other.train_accuracy


def flat(figure):
    """The numbers in a figure."""
    if isinstance(figure, dict):
        figure = list(figure.values())
    return [number for each in figure for number in flat(each)] if isinstance(figure, list) else [figure]


def test_label_scaling_is_at_work(tmp_path, environment, monkeypatch):
    """Otherwise the runs above would not distinguish the joint batch's ratio from a shard's."""
    label_scale = losses.Counting.label_scale
    scales = []

    def logged(self, count, label, shard=None):
        scale = label_scale(self, count, label, shard)
        scales.append(scale.item())
        return scale

    monkeypatch.setattr(losses.Counting, "label_scale", logged)
    monkeypatch.setenv("SNNBOOK_DATA", environment["SNNBOOK_DATA"])
    training.fit(joint_run.RUNS["counting"], tmp_path / "run", "cpu")
    assert sum(scale > 1 for scale in scales) > len(scales) / 2


# ---- the command line ----


def train(environment, folder, *arguments):
    """Start a job of two processes that trains by the command line."""
    command = [*TORCHRUN, "snnbook", "train", *SMALL, "--dropout", "0.2", "--out", "run", *arguments]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def our_lines(err):
    """The lines that snnbook prints; torchrun prints many more where a process fails."""
    return [line for line in err.splitlines() if line.startswith("snnbook:")]


def test_a_job_stops_on_sigterm_and_one_process_resumes_it(environment, tmp_path, monkeypatch):
    """SIGTERM for one process stops both after the same step; a single process resumes the run."""
    job = train(environment, tmp_path, "--epochs", "60")
    for line in job.stdout:
        if line.startswith("epoch  2/"):
            break
    with open(f"/proc/{job.pid}/task/{job.pid}/children") as file:
        second = max(map(int, file.read().split()))
    os.kill(second, signal.SIGTERM)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    (line,) = our_lines(err)
    words = re.fullmatch(
        r"snnbook: stopped after epoch (\d+) of 60.*; all is saved\. Go on with: .* --resume run", line
    )
    assert not out or out.splitlines()[-1].startswith("epoch ")
    monkeypatch.setenv("SNNBOOK_DATA", environment["SNNBOOK_DATA"])
    upto = StopAfter(int(words[1]) + 2)
    with pytest.raises(KeyboardInterrupt):
        training.resume(tmp_path / "run", "cpu", upto)
    with pytest.raises(KeyboardInterrupt):
        training.fit(records.read_settings(tmp_path / "run"), tmp_path / "straight", "cpu", upto)
    found, wanted = ([each.loss for each in records.read(tmp_path / name).epochs] for name in ("run", "straight"))
    assert found == pytest.approx(wanted, rel=1e-3)  # float32; later on, one spike more or less makes two runs of it


def test_an_evaluation_is_shared_and_printed_once(environment, tmp_path, monkeypatch):
    """Ten batches of test images: each process tests its own, every image counts once, and rank 0 prints."""
    training.fit(small(dataset="fashion_mnist_subset", batch_size=500, epochs=1), tmp_path / "run", "cpu")
    words = ["snnbook", "evaluate", "run", "--device", "cpu"]
    both = subprocess.run(
        [*TORCHRUN, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    whole = training.evaluate(tmp_path / "run", device="cpu")
    assert both.stdout == f"{terminal.evaluation(whole, 'run', 'best')}\n"

    class Disconnected(ProcessGroup):
        """A process that gets nothing from the others."""

        def sum(self, values):
            return values

        def broadcast(self, make):
            return make()

        one_per_machine_first = broadcast

    accuracies = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "process_group", lambda rank=rank: Disconnected(rank, 3))
        accuracies.append(training.evaluate(tmp_path / "run", device="cpu").accuracy)
    assert len(set(accuracies)) > 1
    of_all = sum(batches * each for batches, each in zip((4, 3, 3), accuracies, strict=True)) / 10
    assert of_all == pytest.approx(whole.accuracy)


def test_an_error_ends_all_with_one_line(environment, tmp_path):
    job = train(environment, tmp_path, "--loss", "tfs")
    _, err = job.communicate(timeout=60)
    assert job.returncode != 0
    (line,) = our_lines(err)
    assert "Did you mean 'ttfs'" in line
    assert not list(tmp_path.iterdir())


def test_a_killed_process_ends_the_others_with_one_line(environment, tmp_path):
    job = train(environment, tmp_path, "--epochs", "400")
    for line in job.stdout:
        if line.startswith("epoch "):
            break
    with open(f"/proc/{job.pid}/task/{job.pid}/children") as file:
        os.kill(max(map(int, file.read().split())), signal.SIGKILL)
    _, err = job.communicate(timeout=60)
    assert job.returncode != 0
    (line,) = our_lines(err)
    assert "another process of this job has ended" in line
    assert checkpoints.read(tmp_path / "run" / "last.pt").epoch >= 1


@pytest.mark.parametrize(
    "variables", [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "LOCAL_RANK": "x"}, {"WORLD_SIZE": "1.5", "LOCAL_RANK": "0"}]
)
def test_wrong_variables_of_a_launcher(variables, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    for name in ("WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="start by torchrun"):
        distributed.process_group()


@pytest.mark.parametrize("place", [{}, {"MASTER_ADDR": "localhost"}, {"MASTER_ADDR": "localhost", "MASTER_PORT": "x"}])
def test_processes_without_a_meeting_point(place, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"} | place).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"cannot find each other .*; start by torchrun"):
        distributed.process_group()


def test_reproduce_is_not_for_several_processes(environment, tmp_path):
    """Each would take another row, and the rows' gradients would be added up."""
    command = [*TORCHRUN, "snnbook", "reproduce", "quick", "--seeds", "2", "--epochs", "1"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    (line,) = our_lines(done.stderr)
    assert "snnbook reproduce is for one process" in line
    assert not list(tmp_path.iterdir())


def test_processes_with_different_settings_train_nothing(environment, tmp_path):
    """As where two nodes were started by hand with different words."""
    code = """if True:
    import os, sys
    from snnbook.__main__ import main
    sys.exit(main([*sys.argv[1:], "--seed", os.environ["RANK"]]))
    """
    (tmp_path / "start.py").write_text(code)
    command = [*TORCHRUN[:-1], str(tmp_path / "start.py"), "train", *SMALL, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "given different settings" in done.stderr or "another process of this job has ended" in done.stderr
    assert len(our_lines(done.stderr)) == 1
    assert not (tmp_path / "run" / "epochs.jsonl").exists()


def test_one_gpu_is_not_for_two():
    with pytest.raises(UserError, match="one GPU for 2 processes"):
        training.choose_device("cuda:1", ProcessGroup(0, 2))


# ---- several nodes ----


@pytest.mark.parametrize("begun", [False, True])
def test_the_slurm_script(begun, tmp_path):
    """Run with stand-ins for Slurm's commands: it starts the run, and submitted again it goes on with it."""
    for name, text in (("scontrol", "echo node7; echo node8"), ("srun", 'printf "%s|" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    if begun:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "settings.json").touch()
    slurm = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "5"}
    environment = os.environ | slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [ROOT / "examples" / "slurm.sh", "cifar10", "run", "--seed", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    what = ["--resume", "run"] if begun else ["cifar10", "--out", "run", "--seed", "1"]
    words = done.stdout.split("|")[:-1]
    assert words[0] == "torchrun"
    assert {"--nnodes=2", "--nproc-per-node=gpu", "--rdzv-endpoint=node7:29500"} <= set(words)
    assert words[words.index("-m") :] == ["-m", "snnbook", "train", *what]
