"""Which sequences each step of a training sees: the same whatever has stopped it in between."""

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from hydropress.data.sequences import Batch, LabelledSequences
from hydropress.errors import InvalidArgumentError
from hydropress.training.config import TrainingConfig

ROUND = 64
"""Batches of sequences of different lengths last a multiple of it, so memory comes in blocks of
few sizes.  Hundreds of sizes left 11 GB of holes between them (ListOps and Text, batches of 32)."""


@dataclass(frozen=True)
class Shares:
    """How the sequences of a batch are shared out.

    Attributes
    ----------
    processes, rank
        All that train together, and which of them this is.
    local
        Sequences of a batch for each process.
    micro
        Sequences per forward and backward pass, at most.
    """

    processes: int
    rank: int
    local: int
    micro: int

    @staticmethod
    def of(config: TrainingConfig, processes: int = 1, rank: int = 0) -> "Shares":
        """Share out evenly, or raise."""
        if config.batch_size % processes:
            raise InvalidArgumentError(
                f"batch_size={config.batch_size} on {processes} processes; required: a multiple of "
                "their number, so that each sequence counts the same; change one of them"
            )
        local = config.batch_size // processes
        return Shares(processes, rank, local, min(config.micro_batch, local))

    @property
    def passes(self) -> int:
        """Forward and backward passes per step."""
        return math.ceil(self.local / self.micro)


class Order(Sampler[Tensor]):
    """Indices of all passes of a training from some step on.

    Parameters
    ----------
    count
        Sequences in the data.
    config
        Its seed decides the order within each epoch; what does not fill a batch is left out.
    start, shares
        The step that comes first, and this process's part of each batch.
    lengths
        Of the sequences, ``(count,)``, for ``config.pool``; None if they are all of one length.
    """

    def __init__(
        self,
        count: int,
        config: TrainingConfig,
        start: int,
        shares: Shares,
        lengths: Tensor | None = None,
    ) -> None:
        self._count, self._config, self._start, self._shares = count, config, start, shares
        self._lengths = lengths

    def __len__(self) -> int:
        return (self._config.total_steps(self._count) - self._start) * self._shares.passes

    def __iter__(self) -> Generator[Tensor]:
        config, shares = self._config, self._shares
        per_epoch = self._count // config.batch_size
        drawn, permutation = -1, torch.empty(0)
        for step in range(self._start, config.total_steps(self._count)):
            epoch, position = divmod(step, per_epoch)
            if epoch != drawn:
                permutation, drawn = self._permutation(epoch), epoch
            chosen = permutation[position * config.batch_size :][: config.batch_size]
            yield from chosen[shares.rank * shares.local :][: shares.local].split(shares.micro)

    def _permutation(self, epoch: int) -> Tensor:
        """Return the order of the sequences in an epoch."""
        size, pool = self._config.batch_size, self._config.pool
        generator = torch.Generator().manual_seed(self._config.seed * 100_003 + epoch)
        permutation = torch.randperm(self._count, generator=generator)
        if self._lengths is None or pool == 1:
            return permutation
        parts: list[Tensor] = []
        for part in permutation[: self._count // size * size].split(pool * size):
            batches = part[self._lengths[part].argsort(stable=True)].view(-1, size)
            parts.append(batches[torch.randperm(len(batches), generator=generator)].flatten())
        return torch.cat(parts)


class _Batches(Dataset[Batch]):
    """Data that are indexed by many numbers at once."""

    def __init__(self, data: LabelledSequences) -> None:
        self._data = data

    def __getitem__(self, index: Tensor | list[int]) -> Batch:
        return _of_a_round_length(self._data[torch.as_tensor(index)].batch())


def _of_a_round_length(batch: Batch) -> Batch:
    """Return a batch whose length is one of few, padded, if its sequences end before."""
    if batch.lengths is None:
        return batch
    axis = batch.lengths.ndim  # that of the samples, beyond those of the sequences
    after = (0, 0) * (batch.inputs.ndim - 1 - axis)
    missing = -batch.inputs.shape[axis] % ROUND
    return replace(batch, inputs=functional.pad(batch.inputs, (*after, 0, missing)))


def unchanged(batch: Any) -> Any:
    """Return a batch, which has been put together already."""
    return batch


def batch_dataset(data: LabelledSequences) -> Dataset[Batch]:
    """Return data for a loader whose indices are those of whole batches."""
    return _Batches(data)


def make_loader(data: LabelledSequences, order: Order, workers: int = 0) -> DataLoader[Batch]:
    """Return a loader of the batches of an order.

    Parameters
    ----------
    workers
        Processes that make batches ahead of time.
    """
    # Of its own, so that the loader takes nothing from the random numbers of the dropout.
    generator = torch.Generator().manual_seed(0)
    return DataLoader(
        batch_dataset(data),
        sampler=order,
        batch_size=None,
        collate_fn=unchanged,
        num_workers=workers,
        generator=generator,
    )
