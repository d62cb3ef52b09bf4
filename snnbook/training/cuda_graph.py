"""A training step as a CUDA graph: recorded once, then started as one piece, for batches of the same size.

A step is some dozens of short kernels, which a GPU finishes faster than Python can start them one by one.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .step import TrainingStep

WARM_UPS = 3
"""Steps before the recording, in which kernels are compiled and chosen, and memory is laid out."""

Body = Callable[[], None]

Recorder = Callable[[Body], Body]
"""Runs what it is given for warming up, records it, and returns what plays the record: the same work on the same
memory, whatever that holds by then."""


def record_cuda(body: Body) -> Body:
    """Record on the current GPU. The warm-up runs on a stream of its own, as torch asks for, and so does the recording:
    the stream that torch would take for it is of whichever GPU was current when it first recorded anything."""
    stream, before = torch.cuda.Stream(), torch.cuda.current_stream()
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
        torch.cuda.set_stream(before)  # torch leaves its own current where the end of a recording fails
    return graph.replay


class RecordedStep:
    """A training step that is played from a record where the batch has its full size, and else runs as it is.

    Its arguments are copied to where the record reads them; weights, thresholds, optimiser state, learning rate, totals
    and random generators are read and written where they lie. Recording leaves no trace in them. Where it fails, one
    line of warning says so, and steps run as they are from then on.

    Args:
        step: with a static learning rate, of a process that trains alone
        record: makes the record
    """

    def __init__(self, step: TrainingStep, record: Recorder = record_cuda) -> None:
        self._step, self._record, self._replay = step, record, None
        self._images: Tensor | None = None
        self._labels: Tensor | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step; arguments as in `TrainingStep`."""
        if self._record is not None and self._replay is None and len(labels) == self._step.experiment.batch_size:
            self._images, self._labels = images.clone(), labels.clone()
            self._try()
        if self._replay is None or images.shape != self._images.shape:
            self._step(images, labels)
            return
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._replay()
        self._step.totals.batches += 1

    def _try(self) -> None:
        """Make the record, or give up for good."""
        try:
            with self._no_trace(), _capturable(self._step.optimiser):
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
    def _no_trace(self) -> Iterator[None]:
        """Put back, in place, all that steps change."""
        step, optimiser = self._step, self._step.optimiser
        kept = [(tensor, tensor.clone()) for tensor in (*step.net.state_dict().values(), step.totals.sums)]
        state = {p: {name: value.clone() for name, value in each.items()} for p, each in optimiser.state.items()}
        device = step.totals.sums.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
            try:
                with torch.enable_grad():
                    yield
            finally:
                for tensor, value in kept:
                    tensor.copy_(value)
                for p, each in optimiser.state.items():
                    for name, value in each.items():
                        before = state.get(p, {}).get(name)
                        value.zero_() if before is None else value.copy_(before)  # state is born as zeros


@contextmanager
def _capturable(optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Tell torch that the optimiser may be recorded: fused, and with its rate in a tensor, it looks at nothing.

    Only while it is, since torch warns of every other step that is taken with this mark.
    """
    groups = [group for group in optimiser.param_groups if "capturable" in group]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This instance was constructed with capturable")
        for group in groups:
            group["capturable"] = True
        try:
            yield
        finally:
            for group in groups:
                group["capturable"] = False
