"""Pathfinder and Path-X: whether two marked ends belong to the same dashed path.

Pathfinder has images of 32 x 32 pixels, 1,024 steps, Path-X of 128 x 128, 16,384 steps.  Both are
read from the files of the Long Range Arena (Tay et al., 2021), whose images follow Linsley et al.
(2018), or from a folder of the same layout that
:func:`~hydropress.data.lra.pathfinder_generator.write_pathfinder` wrote.
"""

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hydropress.data.images import ImageSequences
from hydropress.data.lra.files import DOWNLOAD, cached_files, optional_library
from hydropress.data.lra.splits import Split, check_split
from hydropress.errors import (
    DataNotFoundError,
    FileFormatError,
)

MEAN, DEVIATION = 0.5, 0.5
"""As published S4 models are trained with: from -1 to 1, not the statistics of the images."""
HELD_OUT = 0.1
"""Share of the images for validation, and as much again for the test."""
SEED = 42
"""Of the split, which the release leaves open: that of the public S4 code, image for image."""
HARD = 14
"""Dashes of a contour in the images that are the benchmark; the release has easier ones too."""

GENERATOR = "generator.json"
"""What images that were made here were made by; the release has no such file."""

# An empty file in the release, among the easy images; S4's reader leaves it out as well.
_EMPTY_IMAGE = "pathfinder32/curv_baseline/imgs/0/sample_172.png"
_PARENTS = ("", "lra_release", "lra_release/lra_release")
_NPY_MAGIC = b"\x93NUMPY"
_DAMAGED = "unpack lra_release.gz again"


@dataclass(frozen=True)
class _Sample:
    image: Path
    label: int


def subset_folder(contour_length: int) -> str:
    """Return the folder of the images whose contours have so many dashes."""
    return "curv_baseline" if contour_length == 6 else f"curv_contour_length_{contour_length}"


def load_pathfinder(
    split: Split,
    folder: Path,
    *,
    resolution: int = 32,
    contour_length: int = HARD,
    cache: Path | None = None,
    seed: int = SEED,
) -> ImageSequences:
    """Read images, labels 1 if both markers are on one contour and 0 if not.

    Parameters
    ----------
    split
        A tenth of the images each for ``val`` and ``test``, the rest for ``train``; none in two.
    folder
        The release, the folder it was unpacked in, or its ``pathfinder32`` or ``pathfinder128``.
    resolution
        Pixels of a side: 32 for Pathfinder, 128 for Path-X; the release also has 64 and 256.
    contour_length
        Dashes of a contour: 14 for the benchmark, 9 and 6 for easier images.
    cache
        Folder for a file of the decoded images of this split, read instead while lists and images
        are the same, as :func:`~hydropress.data.lra.files.files_digest` tells.  None: nothing is
        kept.
    seed
        Determines the split; by default it is the one of published S4 models.

    Raises
    ------
    DataNotFoundError
        If there are no images; the message says what to download.
    FileFormatError
        If a list or an image is damaged.
    MissingLibraryError
        If Pillow is not installed.
    """
    check_split(split)
    root = _find_images(Path(folder), resolution, contour_length)
    lists = _find_lists(root)
    samples = [sample for path in lists for sample in _read_list(path, root, resolution)]
    chosen = [samples[place] for place in _places(len(samples), split, seed, root)]
    described = [path for path in (root / GENERATOR,) if path.is_file()]
    tensors = cached_files(
        cache,
        f"pathfinder{resolution}_{contour_length}_{split}",
        [*lists, *described, *(sample.image for sample in chosen)],
        {"split": split, "seed": seed, "version": 2},
        lambda: _decode(chosen, resolution),
    )
    return ImageSequences(tensors["images"], tensors["labels"], MEAN, DEVIATION)


def _find_images(folder: Path, resolution: int, contour_length: int) -> Path:
    """Return the folder that holds ``imgs`` and ``metadata``."""
    name = f"pathfinder{resolution}"
    subset = subset_folder(contour_length)
    candidates = [folder / subset, *(folder / parent / name / subset for parent in _PARENTS)]
    for candidate in candidates:
        if (candidate / "metadata").is_dir():
            return candidate
    raise DataNotFoundError(
        f"{folder} holds no {name}/{subset}/metadata; required: "
        f"{source_of(resolution, contour_length)}"
    )


def source_of(resolution: int, contour_length: int = HARD) -> str:
    """Say what to download, and where to put it."""
    return (
        f"the images of Long Range Arena; {DOWNLOAD} and pass the folder lra_release, where "
        f"lra_release/pathfinder{resolution}/{subset_folder(contour_length)} is, or one that "
        "write_pathfinder wrote images of our own to"
    )


def _find_lists(root: Path) -> list[Path]:
    """Return the files that list images, in the order of their numbers."""
    lists = list((root / "metadata").glob("*.npy"))
    if not lists:
        raise DataNotFoundError(
            f"{root / 'metadata'} holds no .npy file; required: lists of images and labels; "
            f"{_DAMAGED}"
        )
    for path in lists:
        if not path.stem.isdecimal():
            raise FileFormatError(
                f"{path}: a name that is no number; required: 0.npy, 1.npy and so on, which give "
                "the order of the images; remove the file"
            )
    return sorted(lists, key=lambda path: int(path.stem))


def _rows(path: Path) -> list[list[str]]:
    """Return the columns of each line; despite their name, the released lists are text."""
    content = path.read_bytes()
    try:
        if content.startswith(_NPY_MAGIC):
            table: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
            if table.ndim != 2 or table.dtype.kind not in "US":
                raise ValueError(f"{table.dtype} of shape {table.shape}")
            return table.astype(str).tolist()
        return [line.split() for line in content.decode("ascii").splitlines()]
    except (ValueError, OSError, EOFError) as error:
        raise FileFormatError(
            f"{path}: not a list of images ({error}); required: lines of text, or an array of "
            f"strings with two axes; {_DAMAGED}"
        ) from error


def _read_list(path: Path, root: Path, resolution: int) -> list[_Sample]:
    samples: list[_Sample] = []
    for number, row in enumerate(_rows(path), 1):
        if len(row) < 4 or row[3] not in ("0", "1"):
            raise FileFormatError(
                f"{path}, line {number}: {' '.join(row)!r}; required: a folder, a file, a number "
                f"and a label of 0 or 1; {_DAMAGED}"
            )
        image = PurePosixPath(row[0]) / row[1]
        if image.is_absolute() or ".." in image.parts:
            raise FileFormatError(
                f"{path}, line {number}: image {str(image)!r}; required: one below {root}; "
                f"{_DAMAGED}"
            )
        if f"pathfinder{resolution}/{root.name}/{image}" != _EMPTY_IMAGE:
            samples.append(_Sample(root / image, int(row[3])))
    return samples


def _places(count: int, split: Split, seed: int, root: Path) -> list[int]:
    """Return which images belong to a split, in their order in it."""
    held_out = int(HELD_OUT * count)
    if held_out == 0:
        raise FileFormatError(
            f"{root}: {count} images; required: 10 or more, of which a tenth can be held out; "
            f"{_DAMAGED}, or write more"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    train = count - 2 * held_out
    parts = {
        "train": (0, train),
        "val": (train, train + held_out),
        "test": (train + held_out, None),
    }
    return order[slice(*parts[split])]


def _decode(samples: list[_Sample], resolution: int) -> dict[str, Tensor]:
    module = optional_library("PIL.Image", "Pillow", "for PNG files")
    images = np.empty((len(samples), resolution, resolution), np.uint8)
    for place, sample in enumerate(samples):
        images[place] = _decode_one(module, sample.image, resolution)
    labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
    return {"images": torch.from_numpy(images), "labels": labels}


def _decode_one(module: Any, path: Path, resolution: int) -> NDArray[np.uint8]:
    try:
        with module.open(path, formats=["PNG"]) as file:
            # Before any pixel is decoded: a header may declare more than there is memory.
            size = tuple(file.size)
            grey = np.asarray(file.convert("L")) if size == (resolution, resolution) else None
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"{path} not found; required: every image that the lists name; {_DAMAGED}"
        ) from error
    except (OSError, ValueError, SyntaxError, module.DecompressionBombError) as error:
        raise FileFormatError(f"{path}: not a PNG image ({error}); {_DAMAGED}") from error
    if grey is None:
        raise FileFormatError(
            f"{path}: {size[0]} x {size[1]} pixels; required: {resolution} x {resolution}; load it "
            "with the resolution of its folder"
        )
    return grey
