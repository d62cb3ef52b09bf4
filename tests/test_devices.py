"""What a step asks of the machine it runs on."""

import os
import platform
import subprocess
import sys
import weakref

import pytest
import torch

from snnbook import devices, layers, networks, ops

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a matter of glibc's malloc")

FAULTS = """
import resource
import torch
from snnbook import experiments
from snnbook.devices import keep_memory
from snnbook.training import metrics
from snnbook.training.step import TrainingStep

PAGES, BLOCKS = 3000, 4

def fill():
    blocks = [torch.empty(PAGES * 1024).fill_(1) for _ in range(BLOCKS)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del blocks
    blocks = [torch.empty(PAGES * 1024).fill_(1) for _ in range(BLOCKS)]
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (PAGES * BLOCKS)

torch.set_num_threads(1)
torch.empty(2 * PAGES * 1024)  # once freed, blocks of half its size come from the heap
before = fill()
experiment = experiments.get("quick")
TrainingStep(experiment, experiment.build_network(), metrics.Totals(torch.device("cpu")))
fill()
print(before, fill(), keep_memory())
"""


def faults(**environment):
    """The share of freed pages that had to be fetched again before and after a step was set up, and what was told."""
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    told = subprocess.run(
        [sys.executable, "-c", FAULTS], env=clean | environment, capture_output=True, text=True, check=True
    ).stdout.split()
    return float(told[0]), float(told[1]), told[2]


@glibc
def test_a_step_on_a_cpu_has_freed_memory_kept():
    before, after, told = faults()
    assert before > 0.1 > 0.01 > after, (before, after)
    assert told == "True"


@glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_limits_that_the_environment_sets_stay(name):
    value = "glibc.malloc.mmap_threshold=100000" if name == "GLIBC_TUNABLES" else "100000"
    before, after, told = faults(**{name: value})
    assert min(before, after) > 0.1
    assert told == "False"


# ---- two queues of a GPU that is not here ----


class Queue:
    """Notes who waits for it, and what is given to it."""

    def __init__(self, device, told):
        self.device, self._told = device, told

    def wait_stream(self, other):
        self._told.append((self, "waits for", other))


@pytest.fixture
def queues(monkeypatch):
    """The first and the second queue, and what they are told, in order."""
    gpu, told = torch.device("cuda"), []
    first, second = Queue(gpu, told), Queue(gpu, told)
    now = [first]

    class Within:
        def __init__(self, queue):
            self._queue = queue

        def __enter__(self):
            now.append(self._queue)

        def __exit__(self, *_):
            now.pop()

    monkeypatch.setattr(torch.cuda, "current_stream", lambda _=None: now[-1])
    monkeypatch.setattr(torch.cuda, "stream", Within)
    monkeypatch.setattr(devices, "_second", lambda _: second)
    return first, second, told, now


def test_the_second_queue_follows_the_first_and_is_waited_for(queues):
    first, second, told, now = queues
    beside, result = devices.SideStream(torch.device("cuda")), torch.zeros(3)
    assert told == [(second, "waits for", first)]
    with beside.work():
        assert now[-1] is second
    assert now[-1] is first
    beside.join(result)
    assert told[1:] == [(first, "waits for", second)]
    assert any(kept is result for kept in beside._used)


def test_weights_are_made_ready_beside_earlier_layers(queues, monkeypatch):
    """No layer reads weights that are not ready, and they stay as long as the pass: their memory is not given out."""
    first, second, told, now = queues
    monkeypatch.setattr(networks, "SideStream", lambda _: devices.SideStream(torch.device("cuda")))
    net, made = networks.build("2C3-P2-4", (1, 8, 8), 2, engine="reference"), []  # Numba keeps what it compiles for
    honest, engine = layers.spiking_affine, ops.get("reference")
    standardise = engine.standardise

    def layer(x, weight, *rest):
        assert now[-1] is first
        assert told[-1] == (first, "waits for", second)
        made.append(weakref.ref(weight))
        assert all(each() is not None for each in made)
        return honest(x, weight, *rest)

    monkeypatch.setattr(layers, "spiking_affine", layer)
    monkeypatch.setattr(engine, "standardise", lambda *given: told.append(now[-1]) or standardise(*given))
    with torch.no_grad():  # else the way back would keep them
        net(torch.rand(2, 1, 8, 8), labels=torch.tensor([0, 1]))
    waits = (first, "waits for", second)
    assert told == [(second, "waits for", first), *[second, waits] * 3]
    assert len(made) == 3
    assert all(each() is None for each in made)


def test_a_cpu_has_one_queue():
    beside = devices.SideStream(torch.device("cpu"))
    with beside.work():
        result = torch.ones(2)
    beside.join(result)
    assert not beside._used
