"""What all tests share: golden numbers, engines, and a bound on threads so that runs repeat."""

import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from snnbook import NeuronParameters
from snnbook.__main__ import main
from snnbook.datasets.sources import SOURCES
from snnbook.errors import UserError

from .small_runs import write_data

# A job in the background of a shell ignores Ctrl-C, and so would the processes that tests signal.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported: kernels run on a processor

GOLDEN = Path(__file__).parent / "golden"
ENGINES = ("reference", "cpu", "triton")

CLOSED = "http://127.0.0.1:9/"  # nothing listens on the discard port

RANDOM = os.environ.get("SNNBOOK_RANDOM") == "1"
"""Whether property-based tests look for new cases (make kills). Else they repeat, and judge the change alone."""

settings.register_profile("snnbook", deadline=None, derandomize=not RANDOM, max_examples=60)
settings.load_profile("snnbook")


@pytest.fixture(autouse=True, scope="session")
def closed_mirrors() -> None:
    """No test downloads from the web."""
    for name, source in SOURCES.items():
        if source.mirrors:
            SOURCES[name] = dataclasses.replace(source, mirrors=(CLOSED,))


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """torch fills new memory with NaN, so that an entry that nobody writes is seen."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@lru_cache
def golden_file(name: str) -> dict[str, np.ndarray]:
    """All arrays of one golden file."""
    with np.load(GOLDEN / name) as archive:
        return {key: archive[key] for key in archive.files}


def golden_cases(name: str, quantity: str) -> list[str]:
    """The cases of a golden file that hold a quantity."""
    return sorted(key.split("/")[0] for key in golden_file(name) if key.endswith(f"/{quantity}"))


class Golden:
    """The arrays of one case, as tensors."""

    def __init__(self, file: str, case: str) -> None:
        self.file, self.case = file, case

    def __call__(self, quantity: str) -> torch.Tensor:
        return torch.from_numpy(golden_file(self.file)[f"{self.case}/{quantity}"].copy())

    @property
    def neuron(self) -> NeuronParameters:
        tau_m, tau_s, tau_g = (float(tau) for tau in self("tau"))
        kernel = "exact" if self.case.startswith("orig") else "exponential"
        return NeuronParameters(tau_m, tau_s, tau_g, kernel, leaky=not self.case.startswith("nonleaky"))


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference as a share of the largest entry; shapes must be equal, NaN never agrees."""
    assert ours.shape == theirs.shape
    ours, theirs = ours.double().cpu(), theirs.double().cpu()
    difference = (ours - theirs).abs().max().item() / max(theirs.abs().max().item(), 1e-30)
    return difference if difference == difference else float("inf")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine that runs on a processor."""
    for name, package in (("cpu", "numba"), ("triton", "triton")):
        if request.param == name:
            pytest.importorskip(package, reason=f"the {name} engine needs {package}")
    return request.param


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The small data set of small_runs.py, where `datasets.load` looks first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNNBOOK_DATA", str(write_data(tmp_path_factory.mktemp("data"))))
        yield


def fails(call: Callable[[], object], *words: object) -> str:
    """Check that the call raises a UserError of one line with all these words; return the line."""
    with pytest.raises(UserError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert str(word) in line
    return line


@pytest.fixture
def call(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """call(arguments) runs the command line -> exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["snnbook", *map(str, arguments)])
        monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)
        code = main()
        return code, *capsys.readouterr()

    return run
