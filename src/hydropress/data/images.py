"""Labelled images read as sequences of pixels."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.data.sequences import Batch


@dataclass(frozen=True)
class ImageSequences:
    """Images of one grey channel, kept as bytes and turned into sequences batch by batch.

    Attributes
    ----------
    images
        uint8, shape ``(n, height, width)``.
    labels
        int64, shape ``(n,)``.
    mean, deviation
        Grey value statistics of the training images, in units of full scale.
    note
        What has to be said beside any number measured on them; empty if nothing.
    """

    images: Tensor
    labels: Tensor
    mean: float
    deviation: float
    note: str = ""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Tensor) -> "ImageSequences":
        return replace(self, images=self.images[index], labels=self.labels[index])

    def sequences(self) -> Tensor:
        """Return the standardised pixels row by row, float32, shape ``(n, height * width, 1)``."""
        pixels = self.images.flatten(1).to(torch.float32) / 255
        return ((pixels - self.mean) / self.deviation)[..., None]

    @property
    def lengths(self) -> None:
        """All sequences are of one length."""
        return

    def batch(self) -> Batch:
        """Return all images at once, as sequences."""
        return Batch(self.sequences(), None, self.labels)

    def tensors(self) -> list[Tensor]:
        """Return all that the data are made of."""
        return [self.images, self.labels]
