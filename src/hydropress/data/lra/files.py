"""Files of the benchmark: where they are, what they are told by, what reads them."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache as remembered
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from hydropress.data.cache import cached_tensors
from hydropress.errors import DataNotFoundError, MissingLibraryError

DOWNLOAD = (
    "download https://storage.googleapis.com/long-range-arena/lra_release.gz, the release of "
    "https://github.com/google-research/long-range-arena, unpack it with 'tar -xf lra_release.gz'"
)
"""How to get the files of the benchmark itself."""
FEW = 32
"""So many files are told by their contents, more by what can be known without reading them."""


def find_folder(folder: Path, below: Iterable[str], inside: Iterable[str]) -> Path | None:
    """Return the folder that holds any of some entries: the one given, or one below it."""
    names = list(inside)
    for candidate in (folder, *(folder / name for name in below)):
        if any((candidate / name).exists() for name in names):
            return candidate
    return None


def require_files(paths: Iterable[Path], source: str) -> list[Path]:
    """Return paths, all of which are files; ``source`` says where to get those that are not."""
    wanted = list(paths)
    missing = [path for path in wanted if not path.is_file()]
    if missing:
        names = ", ".join(path.name for path in missing)
        raise DataNotFoundError(f"{missing[0].parent} lacks {names}; required: {source}")
    return wanted


def files_digest(paths: Iterable[Path]) -> str:
    """Return a SHA-256 that is another one for other data.

    Of a few files it is that of their names and contents.  Of many it is that of their places,
    sizes and times of modification: to read 50,000 takes as long as it takes to decode them.
    """
    files = list(paths)
    few = len(files) <= FEW
    resolved = remembered(Path.resolve)
    digest = hashlib.sha256()
    for path in files:
        folder = path.parent.name if few else resolved(path.parent)
        try:
            told = _content(path) if few else _extent(path)
        except FileNotFoundError:
            told = "missing"  # which its reader reports
        digest.update(f"{folder}/{path.name} {told}\n".encode())
    return digest.hexdigest()


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extent(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def cached_files(
    cache: Path | None,
    name: str,
    files: Iterable[Path],
    settings: Mapping[str, Any],
    read: Callable[[], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Return the tensors that files hold, from the cache if they are there.

    Parameters
    ----------
    cache
        The folder that keeps them; None: nothing is kept.
    name
        Of the file there, without its ending.
    files
        All that are read.
    settings
        What else determines the tensors, ready for JSON.
    read
        Called unless the tensors of these files and settings are kept.
    """
    if cache is None:
        return read()
    description = {**settings, "files": files_digest(files)}
    return cached_tensors(cache / f"{name}.safetensors", description, read)


def optional_library(module: str, package: str, purpose: str, extra: str = "training") -> Any:
    """Import a library that only one of the package's extras brings."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingLibraryError(
            f"{package} is not installed ({error}); required {purpose}; run "
            f"'pip install hydropress[{extra}]'"
        ) from error
