"""A run that tests read."""

from pathlib import Path

import pytest

from snnbook import training

from ..small_runs import small


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: None) -> Path:
    """The folder of a run of three epochs that was never interrupted; not to be written to."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    training.fit(small(), folder, "cpu")
    return folder
