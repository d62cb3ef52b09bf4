"""One process's part of a batch that several processes compute together. Losses and layers take it as an argument."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


def _unchanged(values: Tensor) -> Tensor:
    """Return the sums of a batch that is not split."""
    return values


@dataclass(frozen=True)
class Shard:
    """The samples of a joint batch that one process computes.

    A batch with fewer samples than there are processes is not split. Every process computes all of it, and only the
    figures of rank 0 count.

    Args:
        first: index of the shard's first sample in the joint batch
        count: number of samples in the shard, >= 1
        total: number of samples in the joint batch
        is_main: whether this process has rank 0
        all_reduce: adds up a tensor over the shards of the joint batch; any shape, kept
    """

    first: int
    count: int
    total: int
    is_main: bool = True
    all_reduce: Callable[[Tensor], Tensor] = _unchanged

    @property
    def rows(self) -> slice:
        """The shard's samples in the joint batch."""
        return slice(self.first, self.first + self.count)

    @property
    def is_whole(self) -> bool:
        """Whether the shard is the joint batch."""
        return self.count == self.total

    @property
    def contributes(self) -> bool:
        """Whether this process's figures are added to those of the other processes."""
        return self.is_main or not self.is_whole

    def sum(self, values: Tensor) -> Tensor:
        """Add up over the joint batch what was summed over this shard. Any shape, kept."""
        if self.is_whole:
            return values
        return self.all_reduce(values)


def samples_of(spikes: Tensor, shard: Shard | None) -> int:
    """Return the number of samples that a mean is taken over: of spikes (T, N, C, ...), or of the joint batch."""
    if shard is None:
        return spikes.shape[1]
    return shard.total
