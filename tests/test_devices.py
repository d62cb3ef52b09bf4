"""What a step asks of the machine it runs on."""

import os
import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a matter of glibc's malloc")

FAULTS = """
import resource
import torch
from snnbook import experiments, measure
from snnbook.devices import keep_memory
from snnbook.step import TrainingStep

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
TrainingStep(experiment, experiment.build_network(), measure.Totals(torch.device("cpu")))
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
