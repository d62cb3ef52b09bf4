"""Others that are told how a run goes on, beside the terminal: TensorBoard."""

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
"""Where in a run's folder TensorBoard's files go."""


class Several(Progress):
    """Tells several.

    Args:
        members: who is told, in this order
    """

    def __init__(self, members: Sequence[Progress]) -> None:
        self.members = tuple(members)

    def start(self, experiment: Experiment, folder: Path, epochs_done: int, images: int) -> None:
        """Tell that the run begins."""
        for member in self.members:
            member.start(experiment, folder, epochs_done, images)

    def look(self, images: int, loss: float, accuracy: float) -> None:
        """Tell how far it is."""
        for member in self.members:
            member.look(images, loss, accuracy)

    def epoch(self, figures: EpochFigures, best: bool) -> None:
        """Tell an epoch's figures."""
        for member in self.members:
            member.epoch(figures, best)

    def close(self) -> None:
        """Tell that it is over."""
        for member in self.members:
            member.close()


class TensorBoard(Progress):
    """Every epoch's figures, for `tensorboard --logdir RUN`. A run that goes on goes on in the same curves.

    Raises:
        UserError: if the tensorboard package is missing
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError("--log tensorboard needs its package; install it: pip install tensorboard") from error
        self._open, self._writer = SummaryWriter, None

    def start(self, experiment: Experiment, folder: Path, epochs_done: int, images: int) -> None:
        """Open the files; what a stop left after the epochs done is forgotten."""
        self._writer: Any = self._open(str(folder / FOLDER), purge_step=epochs_done + 1)
        self._writer.add_text("settings", f"```json\n{json.dumps(experiment.to_dict(), indent=2)}\n```", epochs_done)

    def epoch(self, figures: EpochFigures, best: bool) -> None:
        """Add an epoch."""
        values = dataclasses.asdict(figures)
        step = values.pop("epoch")
        rates, thresholds, output = (values.pop(each) for each in ("firing_rates", "thresholds", "output_thresholds"))
        halves = zip(("even", "odd"), values.pop("test_accuracy_halves"), strict=True)
        values |= {f"test_accuracy_halves/{places}": value for places, value in halves}
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
        for number, (steps, spread) in enumerate(zip(rates, thresholds, strict=True), start=1):
            self._writer.add_scalar(f"spikes_per_neuron/layer_{number}", sum(steps), step)
            self._writer.add_scalar(f"mean_threshold/layer_{number}", spread["mean"], step)
        self._writer.add_histogram("output_thresholds", np.array(output), step)
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
