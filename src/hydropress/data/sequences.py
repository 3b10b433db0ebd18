"""Labelled sequences, kept compactly and turned into batches when they are needed."""

from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError

PADDING = 0
"""The token after the end of a sequence."""


@dataclass(frozen=True)
class Batch:
    """What a model is given at once.

    Attributes
    ----------
    inputs
        Samples, float32, shape ``(B, L, channels)``, or tokens, int64, ``(B, L)``; of pairs of
        sequences, tokens, ``(B, 2, L)``.
    lengths
        Samples of each sequence that count, int64, ``(B,)`` or ``(B, 2)``; None if all do.
    labels
        int64, shape ``(B,)``.
    """

    inputs: Tensor
    lengths: Tensor | None
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """What a model is called with: the inputs, and the lengths if there are any."""
        return (self.inputs,) if self.lengths is None else (self.inputs, self.lengths)

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on a device."""
        lengths = None if self.lengths is None else self.lengths.to(device)
        return Batch(self.inputs.to(device), lengths, self.labels.to(device))


@runtime_checkable
class LabelledSequences(Protocol):
    """A data set: n sequences and their classes."""

    @property
    def labels(self) -> Tensor:
        """Classes, int64, shape ``(n,)``."""
        ...

    @property
    def lengths(self) -> Tensor | None:
        """Samples of each sequence, of the shorter of a pair, int64, ``(n,)``; None if all are."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice | Tensor) -> Self: ...

    def batch(self) -> Batch:
        """Return all sequences at once."""
        ...

    def tensors(self) -> list[Tensor]:
        """Return all that the data are made of, for a fingerprint."""
        ...


@dataclass(frozen=True)
class TokenSequences:
    """Sequences of tokens, each as long as it is, one after the other in memory.

    Attributes
    ----------
    tokens
        From 1 up, of any integer dtype, shape ``(T,)``; 0 is the padding of a batch.
    starts, lengths
        Place of each sequence in ``tokens`` and its number of tokens, int64, shape ``(n,)``.
    labels
        int64, shape ``(n,)``.
    """

    tokens: Tensor
    starts: Tensor
    lengths: Tensor
    labels: Tensor

    @staticmethod
    def of(sequences: list[Tensor], labels: Tensor) -> "TokenSequences":
        """Put single sequences, none of them empty, one after the other."""
        lengths = torch.tensor([len(one) for one in sequences], dtype=torch.int64)
        if len(lengths) != len(labels) or len(lengths) == 0 or int(lengths.min()) < 1:
            raise InvalidArgumentError(
                f"{len(lengths)} sequences with {len(labels)} labels, the shortest of "
                f"{int(lengths.min()) if len(lengths) else 0} tokens; required: a label for each "
                "of one or more sequences, none of them empty"
            )
        return TokenSequences(torch.cat(sequences), lengths.cumsum(0) - lengths, lengths, labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Tensor) -> "TokenSequences":
        return replace(
            self, starts=self.starts[index], lengths=self.lengths[index], labels=self.labels[index]
        )

    def padded(self) -> Tensor:
        """Return all sequences, int64, shape ``(n, longest)``."""
        place = torch.arange(int(self.lengths.max()))
        inside = place < self.lengths[:, None]
        index = torch.where(inside, self.starts[:, None] + place, 0)
        return torch.where(inside, self.tokens[index].to(torch.int64), PADDING)

    def batch(self) -> Batch:
        """Return all sequences at once, padded to the longest."""
        return Batch(self.padded(), self.lengths, self.labels)

    def tensors(self) -> list[Tensor]:
        """Return all that the data are made of."""
        return [self.tokens, self.starts, self.lengths, self.labels]


@dataclass(frozen=True)
class TokenPairs:
    """Pairs of sequences of tokens, and the class of each pair.

    Attributes
    ----------
    first, second
        n sequences each; their own labels are not used.
    labels
        int64, shape ``(n,)``.
    """

    first: TokenSequences
    second: TokenSequences
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Tensor:
        """Of the shorter of each pair, int64, shape ``(n,)``."""
        return torch.minimum(self.first.lengths, self.second.lengths)

    def __getitem__(self, index: slice | Tensor) -> "TokenPairs":
        return TokenPairs(self.first[index], self.second[index], self.labels[index])

    def batch(self) -> Batch:
        """Return all pairs at once, padded to the longest sequence."""
        parts = [self.first.padded(), self.second.padded()]
        longest = max(part.shape[1] for part in parts)
        parts = [
            torch.nn.functional.pad(part, (0, longest - part.shape[1]), value=PADDING)
            for part in parts
        ]
        lengths = torch.stack([self.first.lengths, self.second.lengths], 1)
        return Batch(torch.stack(parts, 1), lengths, self.labels)

    def tensors(self) -> list[Tensor]:
        """Return all that the data are made of."""
        return [*self.first.tensors(), *self.second.tensors(), self.labels]


@dataclass(frozen=True)
class SampledSequences:
    """Sequences of real samples, of one length or padded to it.

    Attributes
    ----------
    samples
        float32, shape ``(n, L, channels)``.
    lengths
        int64, shape ``(n,)``; None if all samples count.
    labels
        int64, shape ``(n,)``.
    """

    samples: Tensor
    lengths: Tensor | None
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Tensor) -> "SampledSequences":
        lengths = None if self.lengths is None else self.lengths[index]
        return SampledSequences(self.samples[index], lengths, self.labels[index])

    def batch(self) -> Batch:
        """Return all sequences at once, without what is padding in all of them."""
        longest = self.samples.shape[1] if self.lengths is None else int(self.lengths.max())
        return Batch(self.samples[:, :longest], self.lengths, self.labels)

    def tensors(self) -> list[Tensor]:
        """Return all that the data are made of."""
        lengths = [] if self.lengths is None else [self.lengths]
        return [self.samples, *lengths, self.labels]
