"""Progress callbacks beside the terminal's: TensorBoard, and several at once."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..records import EpochFigures, run_folder
from ..settings import Experiment
from .loop import Progress

FOLDER = run_folder.TENSORBOARD
"""Name of the folder, inside a run's folder, of TensorBoard's files."""


class Several(Progress):
    """Call several progress callbacks.

    Args:
        members: to call, in this order
    """

    def __init__(self, members: Sequence[Progress]) -> None:
        self.members = tuple(members)

    def start(self, experiment: Experiment, folder: Path, epochs_done: int, images: int) -> None:
        """Pass on that the run begins."""
        for member in self.members:
            member.start(experiment, folder, epochs_done, images)

    def report(self, images: int, loss: float, accuracy: float) -> None:
        """Pass on a progress report."""
        for member in self.members:
            member.report(images, loss, accuracy)

    def epoch(self, figures: EpochFigures, best: bool) -> None:
        """Pass on an epoch's figures."""
        for member in self.members:
            member.epoch(figures, best)

    def close(self) -> None:
        """Pass on that the run is over."""
        for member in self.members:
            member.close()


class TensorBoard(Progress):
    """Write every epoch's figures for `tensorboard --logdir RUN`. A resumed run continues the same curves.

    Raises:
        UserError: if the tensorboard package is missing
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError("--log tensorboard needs its package; install it: pip install tensorboard") from error
        self._writer_class = SummaryWriter
        self._writer: Any = None

    def start(self, experiment: Experiment, folder: Path, epochs_done: int, images: int) -> None:
        """Open the files, and discard what an interrupted run wrote after the epochs done."""
        self._writer = self._writer_class(str(folder / FOLDER), purge_step=epochs_done + 1)
        settings = json.dumps(experiment.to_dict(), indent=2)
        self._writer.add_text("settings", f"```json\n{settings}\n```", epochs_done)

    def epoch(self, figures: EpochFigures, best: bool) -> None:
        """Write an epoch."""
        values = dataclasses.asdict(figures)
        step = values.pop("epoch")
        rates = values.pop("firing_rates")
        spreads = values.pop("thresholds")
        output_thresholds = values.pop("output_thresholds")
        even, odd = values.pop("test_accuracy_halves")
        values["test_accuracy_halves/even"] = even
        values["test_accuracy_halves/odd"] = odd
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
        for number, (steps, spread) in enumerate(zip(rates, spreads, strict=True), start=1):
            self._writer.add_scalar(f"spikes_per_neuron/layer_{number}", sum(steps), step)
            self._writer.add_scalar(f"mean_threshold/layer_{number}", spread["mean"], step)
        self._writer.add_histogram("output_thresholds", np.array(output_thresholds), step)
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
