"""Text: whether a film review is favourable, read byte by byte.

The reviews are the Large Movie Review Dataset, IMDb (Maas et al., 2011): 25,000 for training and
25,000 for testing, half of them favourable.  Some texts occur in both, as in the original.  The
benchmark has no validation split; here a fixed part of the training reviews is held out.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from hydropress.data.lra.byte_tokens import NUM_TOKENS, ByteTexts
from hydropress.data.lra.files import cached_files, find_folder
from hydropress.data.lra.saved import AGAIN, SAVED, saved_columns, saved_files
from hydropress.data.lra.splits import Split, part, stored_split
from hydropress.data.sequences import TokenSequences
from hydropress.errors import DataNotFoundError, FileFormatError

__all__ = ["MAX_LENGTH", "NUM_TOKENS", "VALIDATION", "load_text"]

MAX_LENGTH = 4096
"""Longer reviews are cut to their first bytes."""
VALIDATION = 2500
"""How many training reviews are held out."""

_LABELS = {"neg": 0, "pos": 1}
_REVIEW = re.compile(r"(\d+)_\d+\.txt")
SOURCE = (
    "the Large Movie Review Dataset; download aclImdb_v1.tar.gz from "
    "https://ai.stanford.edu/~amaas/data/sentiment/, unpack it and pass the folder that holds "
    "aclImdb/{train,test}/{pos,neg}/<id>_<rating>.txt, or one that the library datasets wrote with "
    "save_to_disk of its data set imdb"
)
"""What to download, and where to put it."""


def load_text(
    split: Split,
    folder: Path,
    *,
    cache: Path | None = None,
    max_length: int = MAX_LENGTH,
    validation: int = VALIDATION,
    seed: int = 0,
) -> TokenSequences:
    """Read reviews as bytes: tokens from 1 to 256, labels 0 (unfavourable) and 1 (favourable).

    Parameters
    ----------
    split
        ``val`` is held out of the training reviews, ``train`` is the rest.
    folder
        ``aclImdb`` or the folder that holds it, or a ``DatasetDict`` of columns ``text`` and
        ``label`` that the library ``datasets`` wrote with ``save_to_disk``.  The two have their
        reviews in different order, so that other ones are held out.
    cache
        Folder for a file of the tokens, read instead while the files are the same, as
        :func:`~hydropress.data.lra.files.files_digest` tells.  None: nothing is kept.
    max_length
        Longer reviews are cut to so many bytes.
    validation
        How many training reviews to hold out, as many of each class; with 0 all are for training.
    seed
        Determines which are held out.

    Raises
    ------
    DataNotFoundError
        If there are no reviews; the message says what to download.
    FileFormatError
        If a file is none of a review, or is empty.
    MissingLibraryError
        If the data were written by ``datasets`` and it is not installed.
    """
    source = stored_split(split)
    texts = ByteTexts(max_length)
    if (folder / SAVED).is_file():
        files, reviews = saved_files(folder, source), _saved(folder, source)
        layout = "datasets"
    else:
        files = _review_files(folder, source)
        reviews, layout = _read(files), "aclImdb"
    tensors = cached_files(
        cache,
        f"text_{source}",
        files,
        {"max_length": max_length, "layout": layout, "version": 2},
        lambda: _tensors(texts, reviews),
    )
    data = TokenSequences(**tensors)
    return data[part(split, data.labels, validation, seed)]


def _tensors(texts: ByteTexts, reviews: Iterable[tuple[bytes, int]]) -> dict[str, Tensor]:
    rows = torch.tensor([(*texts.add(text), label) for text, label in reviews], dtype=torch.int64)
    starts, lengths, labels = rows.unbind(1)
    return {"tokens": texts.tokens(), "starts": starts, "lengths": lengths, "labels": labels}


def _review_files(folder: Path, source: Literal["train", "test"]) -> list[Path]:
    """Return the files of all reviews, the unfavourable ones first, each class by number."""
    places = [f"{source}/{label}" for label in _LABELS]
    found = find_folder(folder, ["aclImdb"], places)
    if found is None:
        raise DataNotFoundError(f"{folder} holds no reviews; required: {SOURCE}")
    files: list[Path] = []
    for place in places:
        reviews = sorted((found / place).glob("*.txt"), key=_number)
        if not reviews:
            raise DataNotFoundError(f"{found / place} holds no reviews; required: {SOURCE}")
        files += reviews
    return files


def _number(path: Path) -> tuple[int, str]:
    """Return what the files of a class are ordered by."""
    match = _REVIEW.fullmatch(path.name)
    if match is None:
        raise FileFormatError(
            f"{path}: not a review by its name; required: <id>_<rating>.txt; remove the file"
        )
    return int(match[1]), path.name


def _read(files: list[Path]) -> Iterator[tuple[bytes, int]]:
    for path in files:
        text = path.read_bytes()
        if not text:
            raise FileFormatError(
                f"{path}: an empty file; required: the text of a review; unpack the archive again"
            )
        yield text, _LABELS[path.parent.name]


def _saved(folder: Path, source: Literal["train", "test"]) -> Iterator[tuple[bytes, int]]:
    """Read what the library ``datasets`` wrote."""
    rows = zip(*saved_columns(folder, source, ("text", "label")), strict=True)
    for row, (text, label) in enumerate(rows):
        if not isinstance(text, str) or not text or label not in (0, 1):
            raise FileFormatError(
                f"{folder}: in row {row} of {source} a {type(text).__name__} of label {label!r}; "
                f"required: a text that is not empty, labelled 0 or 1; {AGAIN}"
            )
        yield text.encode(), label
