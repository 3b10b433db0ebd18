"""What a set of Pathfinder images has in common: to compare our own with the released ones."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from hydropress.data.images import ImageSequences
from hydropress.errors import InvalidArgumentError

LIT = 64
"""Grey value from which on a pixel counts as lit: a quarter of white."""
_PIXELS_AT_ONCE = 2**21


@dataclass(frozen=True)
class PathfinderStatistics:
    """Statistics of a set of images.

    Attributes
    ----------
    count
        Number of images.
    positive_share
        Share of those with label 1.
    lit_share
        Share of the pixels that are lit, a quarter of white or more.
    grey_mean, grey_deviation
        Of all pixels, in units of full scale.
    components
        Number of images with 0, 1, 2, ... connected components of lit pixels, diagonal
        neighbours counted as connected.
    """

    count: int
    positive_share: float
    lit_share: float
    grey_mean: float
    grey_deviation: float
    components: tuple[int, ...]

    @property
    def mean_components(self) -> float:
        """Mean number of connected components."""
        return sum(number * images for number, images in enumerate(self.components)) / self.count

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return {**asdict(self), "mean_components": self.mean_components}


def pathfinder_statistics(images: ImageSequences) -> PathfinderStatistics:
    """Return statistics of a set of images: the released ones, or those made here."""
    if len(images) == 0:
        raise InvalidArgumentError("no images; required: one or more; load another split")
    lit, total, square = 0, 0.0, 0.0
    counts: list[Tensor] = []
    for part in _parts(images.images):
        grey = part.double() / 255
        total += float(grey.sum())
        square += float((grey**2).sum())
        lit += int((part >= LIT).sum())
        counts.append(count_components(part >= LIT))
    pixels = images.images.numel()
    mean = total / pixels
    return PathfinderStatistics(
        len(images),
        float((images.labels == 1).double().mean()),
        lit / pixels,
        mean,
        max(0.0, square / pixels - mean**2) ** 0.5,
        tuple(torch.cat(counts).bincount().tolist()),
    )


def count_components(lit: Tensor) -> Tensor:
    """Return the numbers of connected components of images.

    Parameters
    ----------
    lit
        bool, shape ``(n, height, width)``.

    Returns
    -------
    Tensor
        int64, shape ``(n,)``; pixels that touch at a corner are connected.
    """
    numbers = torch.arange(1, lit[0].numel() + 1, dtype=torch.float64).reshape(lit.shape[1:])
    own = torch.where(lit, numbers, 0)
    highest = own
    # The highest number spreads through its component, a pixel at a time, and names it.
    while True:
        spread = torch.nn.functional.max_pool2d(highest[:, None], 3, stride=1, padding=1)[:, 0]
        spread = torch.where(lit, spread, 0)
        if torch.equal(spread, highest):
            return (lit & (highest == own)).flatten(1).sum(1)
        highest = spread


def _parts(images: Tensor) -> Iterator[Tensor]:
    yield from images.split(max(1, _PIXELS_AT_ONCE // images[0].numel()))
