"""One job over several processes, as torchrun starts them: who computes which samples, and sums over all of them.

The batch of the settings is that of all processes together, the joint batch: each computes its shard of the samples,
and gradients, the sums of batch-wide label scaling and the monitored figures are added up over all of them, so that
results are those of one process up to the order of sums. Alone, nothing is exchanged.
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

ASK_SECONDS = 5
"""Time that a process which has something to complain of waits for the job's store."""


def sum_gradients(parameters: Iterable[Tensor], shard: Shard) -> None:
    """Replace the gradients of this shard by those of the joint batch, in one message.

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
class Team:
    """The processes of one job.

    Args:
        rank: this one's number, from 0
        size: how many there are
        local: this one's number on its machine: the GPU that it takes
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes, and that talks."""
        return self.rank == 0

    def shard(self, samples: int) -> Shard:
        """Return this process's shard of a joint batch: contiguous samples, shards of equal size or nearly so."""
        if samples < self.size:
            return Shard(0, samples, samples, self.leads)
        first = samples * self.rank // self.size
        end = samples * (self.rank + 1) // self.size
        return Shard(first, end - first, samples, self.leads, self.sum)

    def sum(self, values: Tensor) -> Tensor:
        """Sums over all processes; any shape, kept."""
        if self.size > 1:
            with _exchange():
                distributed.all_reduce(values := values.clone())
        return values

    def highest(self, number: int) -> int:
        """The largest number that a process gives; all wait for each other."""
        if self.size == 1:
            return number
        with _exchange():
            distributed.all_reduce(numbers := torch.tensor(number), distributed.ReduceOp.MAX)
        return int(numbers)

    def told(self, make: Callable[[], T]) -> T:
        """What the first process makes, on all of them."""
        values = [make() if self.leads else None]
        if self.size > 1:
            with _exchange():
                distributed.broadcast_object_list(values)
        return values[0]

    def in_turns(self, make: Callable[[], T]) -> T:
        """What each process makes; on every machine one goes first, so that the others find what it fetched."""
        made = make() if self.local == 0 else None
        self.highest(0)
        made = make() if made is None else made
        self.highest(0)  # nobody goes on alone where another one fails
        return made

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the first one's values, in place."""
        if self.size > 1:
            with torch.no_grad(), _exchange():
                for tensor in tensors:
                    distributed.broadcast(tensor, 0)


ALONE = Team()


def team() -> Team:
    """The processes that this one works with: those that torchrun started, else none.

    The first call joins them; `leave` at the end.

    Raises:
        UserError: if they cannot be reached, or the launcher's variables are wrong
    """
    found = _as_launched()
    if found.size > 1 and not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            with _exchange():
                distributed.init_process_group(backend)
        except ValueError as error:  # MASTER_ADDR or MASTER_PORT is missing, or is none
            raise UserError(f"the processes of this job cannot find each other ({error}); start by torchrun") from error
    return found


def refuse_several(what: str, instead: str) -> None:
    """For what is the work of one process.

    Args:
        what: the command
        instead: what to do instead
    Raises:
        UserError: if a launcher started several processes
    """
    if _as_launched().size > 1:
        raise UserError(f"{what} is for one process, and torchrun started several; {instead}")


def leave() -> None:
    """Part from the other processes, at the end of the work."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def first_to_speak() -> bool:
    """Whether this process is the first of its job that asks; one line of complaint is enough for all of them."""
    try:
        if _as_launched().size == 1:
            return True
        place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = distributed.TCPStore(*place, is_master=False, timeout=timedelta(seconds=ASK_SECONDS))
        return store.add(f"snnbook/complaints/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1) == 1
    except (RuntimeError, ValueError, KeyError):  # no store to ask: better two lines than none
        return True


def _as_launched() -> Team:
    """The team that the launcher's environment variables describe."""
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return ALONE
    try:
        rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"RANK is set, but WORLD_SIZE or LOCAL_RANK is not right ({error}); start by torchrun"
        ) from error
    if not 0 <= rank < size or not 0 <= local < size:
        raise UserError(f"RANK {rank}, LOCAL_RANK {local} and WORLD_SIZE {size} do not go together; start by torchrun")
    if not distributed.is_available():
        raise UserError("this build of torch cannot work in several processes; start one, without torchrun")
    return Team(rank, size, local)


@contextlib.contextmanager
def _exchange() -> Iterator[None]:
    """What fails in an exchange is mostly that another process has ended: one line, whose cause stays attached."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\] ", "", str(error).strip()).split("\n")[0].split(". ")[0]
        raise UserError(f"another process of this job has ended or cannot be reached ({reason})") from error
