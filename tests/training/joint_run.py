"""What test_distributed.py runs, alone and by torchrun: every loss, in float64, into folders of their own."""

import sys
from pathlib import Path

import torch

from snnbook import training
from snnbook.training import distributed

from ..small_runs import TRAIN, small

RUNS = {
    # 60 = 8 * 7 + 4 images; others far above their labels, so that label scaling is at work; dropout and flips drawn
    "enhanced_counting": small(batch_size=7, target_others=2.9, dropout=0.3),
    "counting": small(batch_size=7, target_others=2.9, loss="counting", optimiser="sgd", learning_rate=1e-3),
    "kernel": small(batch_size=20, loss="kernel", epochs=2),
    "tet": small(batch_size=7, loss="tet", epochs=2),
    "timing": small(batch_size=20, loss="timing", epochs=2),
    "ttfs": small(batch_size=7, loss="ttfs", epochs=2),
    # the last batch has one image: fewer than processes
    "one left": small(batch_size=TRAIN - 1, epochs=2, dropout=0.3),
}


def main() -> None:
    """Train all of them into the folder that the first argument names; a second names one run to train alone."""
    torch.set_default_dtype(torch.float64)
    for name in sys.argv[2:] or RUNS:
        training.fit(RUNS[name], Path(sys.argv[1]) / name, "cpu")
    distributed.leave()


if __name__ == "__main__":
    main()
