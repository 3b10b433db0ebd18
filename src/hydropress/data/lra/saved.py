"""Folders that the library ``datasets`` of Hugging Face wrote with ``save_to_disk``."""

from pathlib import Path
from typing import Any

from hydropress.data.lra.files import optional_library
from hydropress.errors import FileFormatError

SAVED = "dataset_dict.json"
"""The file that tells such a folder."""
AGAIN = "write it again with save_to_disk"


def saved_files(folder: Path, split: str) -> list[Path]:
    """Return the files of a split."""
    return sorted((folder / split).rglob("*.arrow"))


def saved_columns(folder: Path, split: str, names: tuple[str, ...]) -> list[list[Any]]:
    """Return columns of a split, all of the same number of rows, one or more.

    Raises
    ------
    FileFormatError
        If it has no such columns, or no rows.
    MissingLibraryError
        If ``datasets`` is not installed.
    """
    library = optional_library(
        "datasets", "datasets", f"to read {folder}, written by its save_to_disk", "hub"
    )
    try:
        table = library.load_from_disk(str(folder))[split]
        columns = [list(table[name]) for name in names]
    except (KeyError, ValueError, OSError) as error:
        raise FileFormatError(
            f"{folder}: not a DatasetDict with columns {' and '.join(names)} in its split {split} "
            f"({error!r}); {AGAIN}"
        ) from error
    if not columns[0]:
        raise FileFormatError(f"{folder}: no rows in {split}; required: some; {AGAIN}")
    return columns
