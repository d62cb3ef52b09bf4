"""The example scripts run as they are given."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_the_loop_in_one_file_learns(capsys):
    found = runpy.run_path(str(EXAMPLES / "train.py"))["main"]("enhanced_counting", epochs=1)
    assert found > 0.5, "chance is 0.1"
    assert capsys.readouterr().out == f"epoch 1: test accuracy {found:.1%}\n"


def test_the_loop_in_one_file_is_short():
    """It needs the heart and the data alone, and is read in a few minutes."""
    source = (EXAMPLES / "train.py").read_text(encoding="utf-8")
    code = [line for line in source.split('"""', 2)[2].splitlines() if line.strip()]
    assert len(code) <= 65
    (imported,) = re.findall(r"^from snnbook import (.*)$", source, flags=re.MULTILINE)
    assert imported == "NeuronParameters, datasets, losses, networks, readout"
