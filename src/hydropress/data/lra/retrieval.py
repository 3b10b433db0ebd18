r"""Retrieval: whether one of two papers cites the other, both read byte by byte.

The pairs are those of the benchmark's release, from the ACL Anthology Network (AAN; Radev,
Muthukrishnan and Qazvinian, 2009).  Texts are taken as the files have them, which is what the
benchmark's models are fed: there a text is a literal of bytes, b'...', with its line ends as \n.
"""

from pathlib import Path

import torch
from torch import Tensor

from hydropress.data.lra.byte_tokens import NUM_TOKENS, ByteTexts
from hydropress.data.lra.files import DOWNLOAD, cached_files, find_folder, require_files
from hydropress.data.lra.splits import Split, check_split
from hydropress.data.sequences import TokenPairs, TokenSequences
from hydropress.errors import DataNotFoundError, FileFormatError

__all__ = ["MAX_LENGTH", "NUM_TOKENS", "load_retrieval"]

MAX_LENGTH = 4000
"""Longer texts are cut to their first bytes."""

_STORED: dict[Split, str] = {"train": "train", "val": "eval", "test": "test"}
_BELOW = ["tsv_data", "lra_release/tsv_data", "lra_release/lra_release/tsv_data"]
SOURCE = (
    f"the pairs of Long Range Arena; {DOWNLOAD} and pass the folder lra_release, where "
    "lra_release/tsv_data/new_aan_pairs.{train,eval,test}.tsv is"
)
"""What to download, and where to put it."""
_FIELDS = ("label", "id1", "id2", "text1", "text2")


def load_retrieval(
    split: Split, folder: Path, *, cache: Path | None = None, max_length: int = MAX_LENGTH
) -> TokenPairs:
    """Read pairs of papers as bytes: tokens from 1 to 256, label 1 if one cites the other.

    Parameters
    ----------
    split
        ``val`` is the file that the benchmark calls ``eval``.
    folder
        The three files' own, ``lra_release``, or the folder that holds it.
    cache
        Folder for a file of the tokens, read instead while the pairs' file has the same contents.
        None: nothing is kept.
    max_length
        Longer texts are cut to so many bytes.

    Raises
    ------
    DataNotFoundError
        If there is no such file; the message says what to download.
    FileFormatError
        If a line is none of five fields, with its number.

    Notes
    -----
    A paper occurs in many pairs and is kept once.
    """
    check_split(split)
    texts = ByteTexts(max_length)
    names = [f"new_aan_pairs.{stored}.tsv" for stored in _STORED.values()]
    found = find_folder(folder, _BELOW, names)
    if found is None:
        raise DataNotFoundError(f"{folder} holds no pairs of papers; required: {SOURCE}")
    [path] = require_files([found / f"new_aan_pairs.{_STORED[split]}.tsv"], SOURCE)
    tensors = cached_files(
        cache,
        f"retrieval_{split}",
        [path],
        {"max_length": max_length, "version": 2},
        lambda: _read(path, texts),
    )
    tokens, labels, starts, lengths = (
        tensors[name] for name in ("tokens", "labels", "starts", "lengths")
    )
    first, second = (
        TokenSequences(tokens, start, length, labels)
        for start, length in zip(starts, lengths, strict=True)
    )
    return TokenPairs(first, second, labels)


def _read(path: Path, texts: ByteTexts) -> dict[str, Tensor]:
    labels: list[int] = []
    places: list[list[tuple[int, int]]] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            label, pair = _fields(line, f"{path}, line {number}")
            labels.append(label)
            places.append([texts.add(text) for text in pair])
    if not labels:
        raise FileFormatError(f"{path}: an empty file; required: {SOURCE}")
    starts, lengths = torch.tensor(places, dtype=torch.int64).permute(2, 1, 0)
    return {
        "tokens": texts.tokens(),
        "labels": torch.tensor(labels),
        "starts": starts,
        "lengths": lengths,
    }


def _fields(line: bytes, place: str) -> tuple[int, list[bytes]]:
    """Return the label and the two texts of a line; quotes in it mean nothing."""
    remedy = "unpack the archive again"
    fields = line.removesuffix(b"\n").removesuffix(b"\r").split(b"\t")
    if len(fields) != len(_FIELDS):
        raise FileFormatError(
            f"{place}: {len(fields)} fields; required: {len(_FIELDS)} between tabs, "
            f"{', '.join(_FIELDS)}; {remedy}"
        )
    try:
        label = float(fields[0])
    except ValueError:
        label = None
    if label not in (0, 1):
        raise FileFormatError(
            f"{place}: label {fields[0][:20]!r}; required: 0 or 1, also as 0.0 or 1.0; {remedy}"
        )
    if not all(fields[3:]):
        raise FileFormatError(f"{place}: an empty text; required: two with contents; {remedy}")
    return int(label), fields[3:]
