"""The benchmarks' kit: turns, medians, refusals, records, peaks, and peers that are not there. No speed is tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from snnbook import experiments, ops
from snnbook.book.measured import Measured
from snnbook.errors import UserError
from snnbook.events import Convolution, FullyConnected
from snnbook.training.trainer import batches

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu  # noqa: E402
from kit import contenders, floor, measuring, peak, peers  # noqa: E402

SMALL = {"network": "4C5-P2-8C5-P2-16", "batch_size": 4}


@pytest.fixture
def arguments(monkeypatch, tmp_path):
    """Sets the command line; records go to a folder of the test's own."""
    monkeypatch.setattr(measuring, "RESULTS", tmp_path / "results" / "benchmarks")
    return lambda *given: monkeypatch.setattr(sys, "argv", ["some.py", *given])


def test_tasks_take_turns_and_warm_ups_are_not_counted():
    called = []
    tasks = {name: lambda name=name: called.append(name) for name in "abc"}
    seconds = measuring.take_turns(tasks, rounds=3, warm_ups=2)
    assert "".join(called) == "abc" * 5
    assert {name: len(found) for name, found in seconds.items()} == dict.fromkeys("abc", 3)


def test_of_two_calls_in_a_row_the_second_counts(monkeypatch):
    now = [0.0]
    took = iter([5.0, 1.0] * 2 + [7.0, 2.0] * 2)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    tasks = {"only": lambda: now.__setitem__(0, now[0] + next(took))}
    assert measuring.take_turns(tasks, rounds=2, warm_ups=2, again=True) == {"only": [2.0] * 2}


def test_each_task_gets_its_own_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])

    def takes(seconds):
        return lambda: now.__setitem__(0, now[0] + seconds)

    assert measuring.take_turns({"one": takes(1.0), "four": takes(4.0)}, 2, 1) == {"one": [1.0] * 2, "four": [4.0] * 2}


def test_the_median_is_told_and_one_outlier_does_not_move_it():
    row = measuring.timing([0.002, 0.9, 0.001, 0.003, 0.002], images=50)
    assert row == {"ms": 2.0, "from": 1.0, "to": 900.0, "images_per_second": 25000}
    assert "images_per_second" not in measuring.timing([0.001])


def test_a_record_comes_back_and_the_book_shows_it(arguments, tmp_path, capsys):
    arguments("--record")
    benchmark = measuring.Benchmark("somewhere/some.py", "How fast?", {"batch": 50})
    assert benchmark.answer([{"who": "ours", "ms": 1.25}, {"who": "theirs", "MiB": 3}], ["a remark"]) == 0
    record = json.loads((tmp_path / "results" / "benchmarks" / "some.json").read_text())
    assert record["rows"] == [{"who": "ours", "ms": 1.25}, {"who": "theirs", "MiB": 3}]
    assert (record["question"], record["settings"], record["remarks"]) == ("How fast?", {"batch": 50}, ["a remark"])
    assert record["hardware"]["versions"]["torch"] == torch.__version__
    assert record["hardware"]["threads"] == torch.get_num_threads()
    shown = Measured(tmp_path).html()
    assert '<td class="snn-number">1.25</td>' in shown
    assert "a remark" in shown
    assert "a remark" in capsys.readouterr().out


def test_nothing_is_written_unasked(arguments, tmp_path):
    arguments()
    assert measuring.Benchmark("some.py", "How fast?", {}).answer([{"ms": 1.0}]) == 0
    assert not (tmp_path / "results").exists()


def test_engines_agree_and_a_perturbed_gradient_is_seen(monkeypatch, arguments, capsys):
    pytest.importorskip("numba")
    assert contenders.compare("fashion_mnist", **SMALL) == ""
    backward = contenders.Step.train

    def perturbed(step):
        spikes = backward(step)
        if step.net.spiking[0].engine == "cpu":
            step.net.spiking[0].weight.grad[0, 0, 0, 0] += step.net.spiking[0].weight.grad.abs().max() / 1000
        return spikes

    monkeypatch.setattr(contenders.Step, "train", perturbed)
    assert "gradients of layers.0.weight differ by 1.0e-03" in contenders.compare("fashion_mnist", **SMALL)

    import scaling

    arguments("--record")
    monkeypatch.setattr(scaling, "FASHION_NETWORK", SMALL["network"])
    monkeypatch.setattr(scaling, "CHECKED", SMALL["batch_size"])
    assert scaling.main() == 1
    told = capsys.readouterr()
    assert told.err.startswith("no speed is reported: T = 1: gradients of layers.0.weight differ")
    assert "ms" not in told.out
    assert not measuring.RESULTS.exists()


def test_a_missing_gradient_or_nan_is_no_agreement(monkeypatch):
    pytest.importorskip("numba")
    backward = contenders.Step.train

    def broken(step):
        spikes = backward(step)
        if step.net.spiking[0].engine == "cpu":
            step.net.spiking[0].weight.grad.fill_(torch.nan)
        return spikes

    monkeypatch.setattr(contenders.Step, "train", broken)
    assert "differ by nan" in contenders.compare("fashion_mnist", **SMALL)


def test_where_engines_disagree_no_speed_is_told_and_no_record_written(arguments, tmp_path, monkeypatch, capsys):
    import losses
    import memory
    import neuron_pass
    import scaling
    import training_step

    arguments("--record")
    monkeypatch.setattr(training_step, "Step", lambda *_, **__: None)
    monkeypatch.setattr(peak, "obstacle", lambda: "")
    monkeypatch.setattr(neuron_pass, "LAYERS", {"4": ((4,), 1)})
    monkeypatch.setattr(neuron_pass, "disagreement", lambda *_: "3 spikes differ")
    monkeypatch.setattr(training_step, "disagreement", lambda *_: "3 spikes differ")
    for script in (losses, memory, scaling):
        monkeypatch.setattr(script, "compare", lambda *_, **__: "3 spikes differ")
    for script in (training_step, memory, neuron_pass, losses, scaling):
        assert script.main() == 1, script.__name__
        told = capsys.readouterr()
        assert told.err.startswith("no speed is reported")
        assert "3 spikes differ" in told.err
        assert " ms" not in told.out
        assert "who" not in told.out
    assert not (tmp_path / "results").exists()


def test_the_two_ways_of_a_layer_are_compared_before_they_are_timed():
    import crossover

    calls = []

    def task():
        calls.append(crossover.tuning.EVENT_LIMIT)
        return [torch.tensor([1.0, 2.0 if crossover.tuning.EVENT_LIMIT > 0 else 2.001])]

    kept = crossover.tuning.EVENT_LIMIT
    assert crossover.compare("EVENT_LIMIT", task).startswith("results differ by 5.0e-04")
    assert calls == [crossover.ALWAYS, crossover.NEVER]
    assert kept == crossover.tuning.EVENT_LIMIT


def test_a_tuned_peer_is_the_peer_at_another_precision():
    precisions = []

    class Fake:
        train = staticmethod(lambda: precisions.append(torch.get_float32_matmul_precision()))
        infer = staticmethod(lambda: torch.get_float32_matmul_precision())

    kept = torch.get_float32_matmul_precision()
    tuned = peers.Tuned(Fake)
    tuned.train()
    assert precisions == [tuned.infer()] == ["medium"]
    assert torch.get_float32_matmul_precision() == kept != "medium"


def test_the_crossover_has_a_row_for_every_layer_length_and_rate(arguments, monkeypatch, tmp_path):
    pytest.importorskip("numba")
    import crossover

    arguments("--record")
    layers = {
        crossover.CONVOLUTION: ((8, 6, 6), (16, 8, 3, 3), Convolution(1), 2),
        crossover.CONNECTED: ((40,), (330, 40), FullyConnected(), 1),
    }
    monkeypatch.setattr(crossover, "LAYERS", layers)
    for setting, value in {"STEPS": (3, 4), "BATCH": 6, "RATES": (0.1, 0.3), "DENSITIES": (0.2,), "ROUNDS": 1}.items():
        monkeypatch.setattr(crossover, setting, value)
    assert crossover.main() == 0
    record = json.loads((tmp_path / "results" / "benchmarks" / "crossover.json").read_text())
    rows = [(row["way"], row["layer"], row["steps"], row["spikes_per_neuron_and_step"]) for row in record["rows"]]
    backward = [("backward", name, steps) for name in layers for steps in (3, 3, 4, 4)]
    assert [row[:3] for row in rows] == [*backward, *[("forward", name, 3) for name in layers]]
    assert [rate for *_, rate in rows[:8]] == pytest.approx([0.1, 0.3, 0.1, 0.3] * 2, abs=0.02)


def test_the_record_of_the_crossover_is_of_the_limits_in_use():
    pytest.importorskip("numba")
    import crossover

    record = json.loads((BENCHMARKS.parent / "results" / "benchmarks" / "crossover.json").read_text())
    assert {name: record["settings"][name] for name in crossover.LIMITS} == {
        name: getattr(crossover.tuning, name) for name in crossover.LIMITS
    }


def test_the_neurons_of_both_engines_agree_and_a_difference_is_seen():
    pytest.importorskip("numba")
    import neuron_pass

    inputs = neuron_pass.layer((3, 4, 4), 2, 5, "cpu")
    reference, fused = (neuron_pass.Pass(engine, *inputs) for engine in ("reference", "cpu"))
    assert neuron_pass.disagreement(reference, fused) == ""
    fused.grad = fused.grad * 1.001
    assert "of the largest" in neuron_pass.disagreement(reference, fused)


def test_widths_are_of_channels_and_neurons_alone():
    import scaling

    assert scaling.widened(1.0) == scaling.FASHION_NETWORK
    assert scaling.widened(0.5) == "16C5-P2-32C5-P2-512"


def test_a_peer_that_is_missing_is_reported_and_left_out(monkeypatch):
    class Absent(peers.Peer):
        package = "absent"

        def make(self):
            import a_library_that_is_not_there  # noqa: F401

    monkeypatch.setattr(peers, "PEERS", (Absent,))
    told = []
    assert peers.available(torch.zeros(2, 1, 28, 28), torch.zeros(2).long(), 1e-3, told.append) == {}
    assert told == ["absent is left out: No module named 'a_library_that_is_not_there' (pip install absent)"]


def test_a_peer_that_is_there_trains():
    pytest.importorskip("snntorch")
    peer = peers.SnnTorch(*contenders.images_of("fashion_mnist", 2), 1e-3)
    before = peer.net[0].weight.detach().clone()
    peer.train()
    assert not torch.equal(before, peer.net[0].weight)
    assert peer.infer().shape == (peers.STEPS, 2, 10)
    peer.rest()
    assert all(parameter.grad is None for parameter in peer.net.parameters())


def test_the_floor_runs_the_products_of_every_layer():
    net = contenders.Step("reference", **SMALL).net
    dense = floor.DenseFloor(net, 4)
    assert [tuple(x.shape) for _, x, _ in dense._layers] == [(4, 1, 28, 28), (20, 4, 14, 14), (20, 392), (20, 16)]
    dense.train()


PROBE = """
from kit import peak
import torch
kept = []
held = lambda: torch.ones(8 << 18)
print(peak.beyond(held, lambda: None), peak.beyond(lambda: torch.ones(32 << 18), lambda: None))
"""


@pytest.mark.skipif(bool(peak.obstacle()), reason=peak.obstacle())
def test_a_peak_is_what_a_task_needs_for_a_moment():
    """8 MiB of floats, then 32, each freed at once."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=BENCHMARKS, capture_output=True, text=True, check=True,
        env={**peak.os.environ, "MALLOC_MMAP_THRESHOLD_": str(peak.THRESHOLD)},
    )  # fmt: skip
    small, large = map(float, done.stdout.split())
    assert small == pytest.approx(8, abs=1.5)
    assert large == pytest.approx(32, abs=1.5)


def test_a_system_that_tells_no_peak_is_named(monkeypatch, arguments, capsys, tmp_path):
    import memory

    arguments()
    monkeypatch.setattr(peak, "_RESET", tmp_path / "missing" / "clear_refs")
    assert memory.main() == 1
    assert "does not report or reset a process's peak memory" in capsys.readouterr().err


def test_a_child_that_fails_is_told_in_one_line():
    with pytest.raises(UserError, match=r"the memory of nobody could not be measured: .*unknown engine 'nobody'"):
        peak.peaks("nobody", ["train"], **SMALL)


def test_a_script_that_cannot_run_here_ends_with_one_line(capsys):
    def main():
        raise UserError("Numba is not installed")

    assert measuring.run(main) == 2
    assert capsys.readouterr().err == "Numba is not installed\n"
    assert measuring.run(lambda: 1) == 1


# ---- a GPU ----


def test_without_a_gpu_its_benchmark_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_the_gpu_benchmark_on_a_cpu(monkeypatch):
    """Its agreement, which sees a wrong engine, and its stretches over more than one epoch."""
    monkeypatch.setattr(gpu, "ENGINES", ("reference", "cpu"))
    experiment = experiments.get("fashion_mnist", **SMALL)
    cpu = torch.device("cpu")
    data = batches(experiment, gpu.drawn(experiment, 10), cpu)
    assert gpu.disagreement(experiment, data, cpu) == ""
    trained = gpu.Trained(experiment, data, cpu, graph=False)
    trained.stretch(5)
    assert trained.step.totals.read()["samples"] == 4 + 4 + 2 + 4 + 4
    engine = ops.get("cpu")
    forward = engine.pooled_forward

    def wrong(*given):
        spikes, pass_ = forward(*given)
        return 1 - spikes, pass_

    monkeypatch.setattr(engine, "pooled_forward", wrong)
    difference = gpu.disagreement(experiment, data, cpu)
    assert difference.startswith("layer 0: ")
    assert difference.endswith(" outputs differ")
