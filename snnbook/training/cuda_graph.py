"""A training step as a CUDA graph: recorded once, then replayed as one piece, for batches of the same size.

A step is some dozens of short kernels, which a GPU finishes faster than Python can start them one by one.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .step import TrainingStep

WARM_UPS = 3
"""Steps before the recording, in which kernels are compiled and chosen, and memory is allocated."""

Body = Callable[[], None]

Recorder = Callable[[Body], Body]
"""Runs its argument to warm up, records it, and returns a function that replays the record: the same work on the same
memory, whatever the memory holds by then."""


def record_cuda(body: Body) -> Body:
    """Record on the current GPU.

    torch requires a stream of its own for the warm-up. The recording uses it too, since torch's default stream for
    recordings is of whichever GPU was current when it first recorded anything.
    """
    stream = torch.cuda.Stream()
    before = torch.cuda.current_stream()
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            body()
    before.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream):
            body()
    finally:
        # If the end of a recording fails, torch leaves the recording's stream current.
        torch.cuda.set_stream(before)
    return graph.replay


class RecordedStep:
    """A training step that replays a record for batches of the full size, and runs normally for others.

    A batch is copied to the memory that the record reads. Weights, thresholds, optimiser state, learning rate, totals
    and random generators are read and written in place. Recording changes none of them. If it fails, a warning says so
    in one line, and all steps run normally from then on.

    Args:
        step: with a static learning rate, of a process that trains alone
        record: makes the record
    """

    def __init__(self, step: TrainingStep, record: Recorder = record_cuda) -> None:
        self._step = step
        self._record: Recorder | None = record
        self._replay: Body | None = None
        self._images: Tensor | None = None
        self._labels: Tensor | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Train on a batch; arguments as in `TrainingStep`."""
        if self._record is not None and self._replay is None and len(labels) == self._step.experiment.batch_size:
            self._images = images.clone()
            self._labels = labels.clone()
            self._try_to_record()
        if self._replay is None or images.shape != self._images.shape:
            self._step(images, labels)
            return
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._replay()
        self._step.totals.batches += 1

    def _try_to_record(self) -> None:
        """Record the step, or warn and never try again."""
        try:
            with self._undo_steps(), _capturable(self._step.optimiser):
                self._replay = self._record(lambda: self._step.compute(self._images, self._labels))
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:  # torch raises nothing narrower where a kernel cannot be recorded
            self._record = None
            reason = str(error).strip().split("\n")[0]
            warnings.warn(
                f"the training step could not be recorded as a CUDA graph ({reason}); it runs without, more slowly",
                stacklevel=4,
            )

    @contextmanager
    def _undo_steps(self) -> Iterator[None]:
        """Restore, in place, everything that the steps of the block change."""
        optimiser = self._step.optimiser
        totals = self._step.totals.sums
        values_before = [(tensor, tensor.clone()) for tensor in (*self._step.net.state_dict().values(), totals)]
        states_before = {
            parameter: {name: value.clone() for name, value in state.items()}
            for parameter, state in optimiser.state.items()
        }
        generators = [totals.device] if totals.device.type == "cuda" else []
        with torch.random.fork_rng(generators), torch.no_grad():
            try:
                with torch.enable_grad():
                    yield
            finally:
                for tensor, value in values_before:
                    tensor.copy_(value)
                for parameter, state in optimiser.state.items():
                    _restore_state(state, states_before.get(parameter, {}))


def _restore_state(state: dict[str, Tensor], before: dict[str, Tensor]) -> None:
    """Restore an optimiser's state of one parameter in place. State that did not exist before starts as zeros."""
    for name, value in state.items():
        if name in before:
            value.copy_(before[name])
        else:
            value.zero_()


@contextmanager
def _capturable(optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Mark the optimiser as one that can be recorded: fused, and with its rate in a tensor, it reads no value.

    The mark is taken off again, since torch warns of every other step that is taken with it.
    """
    marked = [options for options in optimiser.param_groups if "capturable" in options]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This instance was constructed with capturable")
        for options in marked:
            options["capturable"] = True
        try:
            yield
        finally:
            for options in marked:
                options["capturable"] = False
