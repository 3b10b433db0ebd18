"""Images in the style of Pathfinder and Path-X, made here: no download, any number, by a seed.

The rules are those of the images of Linsley et al. (2018) with the lengths that the Long Range
Arena chose; the method, random walks of capsules in the plane instead of masks on the pixels, is
our own, and so is each image: an accuracy on these is not one on the released images.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hydropress.atomic import replacing
from hydropress.data.images import ImageSequences
from hydropress.data.lra.files import optional_library
from hydropress.data.lra.pathfinder import DEVIATION, GENERATOR, MEAN, subset_folder
from hydropress.data.lra.pathfinder_geometry import (
    PATHFINDER,
    PathfinderConfig,
    PathfinderGeometry,
    draw_geometry,
)
from hydropress.errors import InvalidArgumentError

Floats = NDArray[np.float64]

_PER_FOLDER = 1000
"""Images of a folder, and lines of a list, as in the release."""


def render(
    geometry: PathfinderGeometry, config: PathfinderConfig = PATHFINDER
) -> NDArray[np.uint8]:
    """Return the image of a geometry, shape ``(resolution, resolution)``."""
    radius = config.dash_width / 2
    contours = config.contrast * _coverage(geometry.contours, radius, radius, config)
    distractors = config.distractor_contrast * _coverage(
        geometry.distractors, radius, radius, config
    )
    disks = np.stack([geometry.markers, geometry.markers], -2)
    markers = _coverage(disks, config.marker_radius, 0.0, config)
    grey = np.maximum(np.maximum(contours, distractors), markers).clip(0, 1)
    return np.rint(255 * grey).astype(np.uint8)


def generate_pathfinder(
    count: int, config: PathfinderConfig = PATHFINDER, seed: int = 0, *, first: int = 0
) -> ImageSequences:
    """Make images, half of them positive.

    Parameters
    ----------
    count
        How many.
    config
        What they look like: :data:`PATHFINDER`, :data:`PATH_X` or another.
    seed
        From 0 up; image i of a seed is the same however many are made.
    first
        Number of the first: processes may share the work, and an interrupted one go on.

    Raises
    ------
    InvalidArgumentError
        If the contours do not fit into the image.
    """
    for name, value, least in (("count", count, 1), ("seed", seed, 0), ("first", first, 0)):
        if value < least:
            raise InvalidArgumentError(f"{name}={value}; required: at least {least}")
    images = np.empty((count, config.resolution, config.resolution), np.uint8)
    labels = np.empty(count, np.int64)
    for place in range(count):
        geometry = draw_geometry(first + place, config, seed)
        images[place] = render(geometry, config)
        labels[place] = geometry.label
    return ImageSequences(torch.from_numpy(images), torch.from_numpy(labels), MEAN, DEVIATION)


def write_pathfinder(
    folder: Path,
    count: int,
    config: PathfinderConfig = PATHFINDER,
    seed: int = 0,
    *,
    part: tuple[int, int] = (0, 1),
) -> Path:
    """Write images as the release has them; what is there already is not made again.

    Parameters
    ----------
    folder
        Takes ``pathfinder<resolution>/curv_contour_length_<dashes>``, with images and lists; give
        it to :func:`~hydropress.data.lra.pathfinder.load_pathfinder`.
    count, config, seed
        As of :func:`generate_pathfinder`.
    part
        Which share of the work to do: (k, n) is every nth thousand from the kth on, so that n
        processes make all of it.

    Returns
    -------
    Path
        The folder of images and lists.

    Raises
    ------
    InvalidArgumentError
        If the folder holds images of another seed or configuration.
    MissingLibraryError
        If Pillow is not installed.
    """
    if not 0 <= part[0] < part[1] or count < 1 or seed < 0:
        raise InvalidArgumentError(
            f"part={part}, count={count}, seed={seed}; required: (k, n) with 0 <= k < n, at least "
            "one image, and a seed from 0 up"
        )
    root = Path(folder) / f"pathfinder{config.resolution}" / subset_folder(config.contour_length)
    (root / "metadata").mkdir(parents=True, exist_ok=True)
    _claim(root, {"seed": seed, **asdict(config)})
    for number in range(part[0], math.ceil(count / _PER_FOLDER), part[1]):
        first = number * _PER_FOLDER
        _write_folder(root, number, first, min(_PER_FOLDER, count - first), config, seed)
    return root


def _claim(root: Path, description: dict[str, Any]) -> None:
    """Note what a folder holds, or check that it is the same."""
    path = root / GENERATOR
    wanted = json.dumps(description, indent=2) + "\n"
    if path.is_file():
        if path.read_text(encoding="utf-8") != wanted:
            raise InvalidArgumentError(
                f"{root} holds images of another seed or configuration, see {GENERATOR} there; "
                "required: the same, so that the rest fits; choose another folder"
            )
    elif any((root / "metadata").iterdir()):
        raise InvalidArgumentError(
            f"{root} holds lists of other images, without {GENERATOR}; required: an empty "
            "folder, or one that was written here; choose another folder"
        )
    else:
        _replace(path, wanted)


def _write_folder(
    root: Path, number: int, first: int, count: int, config: PathfinderConfig, seed: int
) -> None:
    """Write images and, when all are there, their list."""
    path = root / "metadata" / f"{number}.npy"
    if path.is_file() and len(path.read_text(encoding="ascii").splitlines()) == count:
        return
    module = optional_library("PIL.Image", "Pillow", "for PNG files")
    images = root / "imgs" / str(number)
    images.mkdir(parents=True, exist_ok=True)
    data = generate_pathfinder(count, config, seed, first=first)
    lines: list[str] = []
    for place, (image, label) in enumerate(zip(data.images, data.labels.tolist(), strict=True)):
        name = f"sample_{place}.png"
        module.fromarray(image.numpy()).save(images / name)
        lines.append(
            f"imgs/{number} {name} {place} {label} {config.max_turn} {config.contour_length} "
            f"{config.distractor_length} {config.dash_length} {config.dash_width} "
            f"{config.margin} 1\n"
        )
    _replace(path, "".join(lines))


def _replace(path: Path, content: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def _coverage(
    segments: Floats, radius: float, inset: float, config: PathfinderConfig
) -> NDArray[Any]:
    """Return the share of each pixel that capsules cover.

    Parameters
    ----------
    segments
        Shape ``(..., 2, 2)``, of any number.
    radius
        Around the segments.
    inset
        By what a segment is shortened at both ends, so that with its caps it is as long as before.
    """
    scale = config.supersampling
    side = config.resolution * scale
    canvas = np.zeros((side, side), bool)
    ends = segments.reshape(-1, 2, 2) * scale
    if len(ends):
        span = ends[:, 1] - ends[:, 0]
        length = np.hypot(span[:, 0], span[:, 1])[:, None]
        unit = span / np.maximum(length, 1e-12)
        start = ends[:, 0] + unit * np.minimum(inset * scale, length / 2)
        reach = np.maximum(length - 2 * inset * scale, 0)[:, :, None]

        # A window around each segment, of one size for all.
        corner = np.floor(ends.min(1) - radius * scale).astype(np.int64)
        window = np.arange(math.ceil(length.max() + 2 * radius * scale) + 2)
        columns, rows = corner[:, :1] + window, corner[:, 1:] + window
        x = (columns + 0.5 - start[:, :1])[:, None, :]
        y = (rows + 0.5 - start[:, 1:])[:, :, None]
        along = (x * unit[:, :1, None] + y * unit[:, 1:, None]).clip(0, reach)
        across = (x - along * unit[:, :1, None]) ** 2 + (y - along * unit[:, 1:, None]) ** 2
        which, row, column = np.nonzero(across <= (radius * scale) ** 2)
        canvas[rows[which, row], columns[which, column]] = True
    # In two steps: NumPy adds whole rows fast, four neighbours within a row slowly.
    by_row = canvas.reshape(config.resolution, scale, side).sum(1, dtype=np.uint16)
    lit = np.zeros((config.resolution, config.resolution))
    for shift in range(scale):
        lit += by_row[:, shift::scale]
    return lit / scale**2
