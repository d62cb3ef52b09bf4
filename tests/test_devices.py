"""Memory of a run on a CPU, and side streams of a GPU that is not here."""

import os
import platform
import subprocess
import sys
import weakref

import pytest
import torch

from snnbook import devices, layers, networks, ops, training
from snnbook.errors import UserError

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a matter of glibc's malloc")

FAULTS = """
import contextlib
import resource
import sys
import torch
from snnbook import training
from snnbook.devices import keep_memory
from snnbook.errors import UserError

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
# A run that ends at once. The memory of a longer one would lie above the blocks, and hide whether limits were set.
with contextlib.suppress(UserError):
    training.resume(sys.argv[1], "cpu")
fill()
print(before, fill(), keep_memory())
"""


def faults(folder, **environment):
    """Return the share of freed pages that were fetched again before and after a run, and whether limits were set."""
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", FAULTS, str(folder / "nowhere")]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    before, after, was_set = done.stdout.split()
    return float(before), float(after), was_set


@glibc
def test_a_run_on_a_cpu_has_freed_memory_kept(tmp_path):
    before, after, was_set = faults(tmp_path)
    assert before > 0.1 > 0.01 > after, (before, after)
    assert was_set == "True"


@glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_limits_that_the_environment_sets_stay(name, tmp_path):
    value = "glibc.malloc.mmap_threshold=100000" if name == "GLIBC_TUNABLES" else "100000"
    before, after, was_set = faults(tmp_path, **{name: value})
    assert min(before, after) > 0.1
    assert was_set == "False"


def test_a_run_sets_the_limits_when_it_begins(tmp_path, monkeypatch):
    """Whether the limits show in the page faults above depends on addresses; this does not."""
    calls = []
    monkeypatch.setattr(devices, "keep_memory", lambda: calls.append(1))
    with pytest.raises(UserError, match="not a run folder"):
        training.resume(tmp_path, "cpu")
    assert len(calls) == 1


# ---- two streams of a GPU that is not here ----


class Stream:
    """Logs which stream waits for which."""

    def __init__(self, device, log):
        self.device = device
        self._log = log

    def wait_stream(self, other):
        self._log.append((self, "waits for", other))


@pytest.fixture
def streams(monkeypatch):
    """The main stream, the side stream, the log of what happens to them, and the stack of current streams."""
    gpu = torch.device("cuda")
    log = []
    main = Stream(gpu, log)
    side = Stream(gpu, log)
    current = [main]

    class Within:
        def __init__(self, stream):
            self._stream = stream

        def __enter__(self):
            current.append(self._stream)

        def __exit__(self, *_):
            current.pop()

    monkeypatch.setattr(torch.cuda, "current_stream", lambda _=None: current[-1])
    monkeypatch.setattr(torch.cuda, "stream", Within)
    monkeypatch.setattr(devices, "_side_stream", lambda _: side)
    return main, side, log, current


def test_the_side_stream_follows_the_main_one_and_is_waited_for(streams):
    main, side, log, current = streams
    side_stream = devices.SideStream(torch.device("cuda"))
    result = torch.zeros(3)
    assert log == [(side, "waits for", main)]
    with side_stream.work():
        assert current[-1] is side
    assert current[-1] is main
    side_stream.join(result)
    assert log[1:] == [(main, "waits for", side)]
    assert any(used is result for used in side_stream._used)


def test_weights_are_made_ready_beside_earlier_layers(streams, monkeypatch):
    """No layer reads weights that are not ready, and they stay as long as the pass: their memory is not given out."""
    main, side, log, current = streams
    monkeypatch.setattr(networks, "SideStream", lambda _: devices.SideStream(torch.device("cuda")))
    net = networks.build("2C3-P2-4", (1, 8, 8), 2, engine="reference")  # Numba keeps what it compiles for
    weights = []
    spiking_affine = layers.spiking_affine
    engine = ops.get("reference")
    standardise = engine.standardise

    def layer(x, weight, *rest):
        assert current[-1] is main
        assert log[-1] == (main, "waits for", side)
        weights.append(weakref.ref(weight))
        assert all(each() is not None for each in weights)
        return spiking_affine(x, weight, *rest)

    def logged_standardise(*given):
        log.append(current[-1])
        return standardise(*given)

    monkeypatch.setattr(layers, "spiking_affine", layer)
    monkeypatch.setattr(engine, "standardise", logged_standardise)
    with torch.no_grad():  # else the backward pass would keep them
        net(torch.rand(2, 1, 8, 8), labels=torch.tensor([0, 1]))
    waits = (main, "waits for", side)
    assert log == [(side, "waits for", main), *[side, waits] * 3]
    assert len(weights) == 3
    assert all(each() is None for each in weights)


def test_a_cpu_has_one_stream():
    side_stream = devices.SideStream(torch.device("cpu"))
    with side_stream.work():
        result = torch.ones(2)
    side_stream.join(result)
    assert not side_stream._used
