"""Data-parallel training in several processes that torchrun starts: shards of a batch, and sums over all ranks.

The batch size of the settings is that of the joint batch. Each process computes a shard of it. Gradients, the sums of
batch-wide label scaling and the monitored figures are added up over all ranks, so results equal those of one process
up to the order of sums. A single process exchanges nothing.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from ..errors import UserError
from ..shards import Shard

T = TypeVar("T")

STORE_SECONDS = 5
"""Timeout for reaching the job's store before an error is printed."""


def sum_gradients(parameters: Iterable[Tensor], shard: Shard) -> None:
    """Replace the gradients of a shard by those of the joint batch, in one message.

    Args:
        parameters: whose `grad` is set
        shard: the samples that the gradients come from
    """
    if shard.is_whole:
        return
    grads = [parameter.grad for parameter in parameters]
    sums = shard.sum(torch.cat([grad.flatten() for grad in grads]))
    for grad, part in zip(grads, sums.split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(part.view_as(grad))


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from one of them.

    Args:
        rank: number of this process, from 0
        size: number of processes
        local_rank: number of this process on its machine, and of the GPU that it takes
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process has rank 0, which alone writes files and prints."""
        return self.rank == 0

    def shard(self, samples: int) -> Shard:
        """Return this process's shard of a joint batch: contiguous samples, shards of equal size or nearly so."""
        if samples < self.size:
            return Shard(0, samples, samples, self.is_main)
        first = samples * self.rank // self.size
        end = samples * (self.rank + 1) // self.size
        return Shard(first, end - first, samples, self.is_main, self.sum)

    def sum(self, values: Tensor) -> Tensor:
        """Add up a tensor over all ranks. Any shape, kept."""
        if self.size == 1:
            return values
        sums = values.clone()
        with _one_line_errors():
            distributed.all_reduce(sums)
        return sums

    def maximum(self, *numbers: int) -> tuple[int, ...]:
        """Return the largest value that any rank gives for each number. All ranks wait for each other."""
        if self.size == 1:
            return numbers
        largest = torch.tensor(numbers)
        with _one_line_errors():
            distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return tuple(largest.tolist())

    def barrier(self) -> None:
        """Wait for all ranks. If one of them has failed, this raises."""
        self.maximum(0)

    def broadcast(self, make: Callable[[], T]) -> T:
        """Call `make` on rank 0 and broadcast its result."""
        values = [None]
        if self.is_main:
            values = [make()]
        if self.size > 1:
            with _one_line_errors():
                distributed.broadcast_object_list(values)
        return values[0]

    def one_per_machine_first(self, make: Callable[[], T]) -> T:
        """Call `make` on every rank, first on one per machine, so that the others find what it downloaded."""
        if self.local_rank == 0:
            made = make()
        self.barrier()
        if self.local_rank > 0:
            made = make()
        # Without this barrier, ranks would train alone where another one failed.
        self.barrier()
        return made

    def broadcast_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of rank 0."""
        if self.size > 1:
            with torch.no_grad(), _one_line_errors():
                for tensor in tensors:
                    distributed.broadcast(tensor, 0)


ALONE = ProcessGroup()
"""A single process."""


def process_group() -> ProcessGroup:
    """Return the processes that torchrun started, or ALONE. The first call connects them; call `leave` at the end.

    Raises:
        UserError: if they cannot be reached, or the launcher's variables are wrong
    """
    group = _from_environment()
    if group.size > 1 and not distributed.is_initialized():
        backend = "gloo"
        if torch.cuda.is_available():
            backend = "cpu:gloo,cuda:nccl"
        try:
            with _one_line_errors():
                distributed.init_process_group(backend)
        except ValueError as error:  # MASTER_ADDR or MASTER_PORT is missing or malformed
            raise UserError(f"the processes of this job cannot find each other ({error}); start by torchrun") from error
    return group


def refuse_several(what: str, instead: str) -> None:
    """Refuse a command that only one process can run.

    Args:
        what: the command
        instead: what to do instead
    Raises:
        UserError: if a launcher started several processes
    """
    if _from_environment().size > 1:
        raise UserError(f"{what} is for one process, and torchrun started several; {instead}")


def leave() -> None:
    """Disconnect from the other processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def is_first_to_report() -> bool:
    """Return True in the first process of the job that calls this, so that an error is printed once."""
    try:
        if _from_environment().size == 1:
            return True
        store = distributed.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=timedelta(seconds=STORE_SECONDS),
        )
        restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return store.add(f"snnbook/complaints/{restarts}", 1) == 1
    except (RuntimeError, ValueError, KeyError):
        # Where no store can be reached, printing an error twice is better than not at all.
        return True


def _from_environment() -> ProcessGroup:
    """Read the launcher's environment variables."""
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return ALONE
    try:
        rank, size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"RANK is set, but WORLD_SIZE or LOCAL_RANK is not right ({error}); start by torchrun"
        ) from error
    if not 0 <= rank < size or not 0 <= local_rank < size:
        raise UserError(
            f"RANK {rank}, LOCAL_RANK {local_rank} and WORLD_SIZE {size} do not go together; start by torchrun"
        )
    if not distributed.is_available():
        raise UserError("this build of torch cannot work in several processes; start one, without torchrun")
    return ProcessGroup(rank, size, local_rank)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn the failure of a message, mostly because another process has ended, into an error of one line."""
    try:
        yield
    except RuntimeError as error:
        first_line = str(error).strip().split("\n")[0]
        reason = re.sub(r"^\[[^]]*\] ", "", first_line).split(". ")[0]
        raise UserError(f"another process of this job has ended or cannot be reached ({reason})") from error
