"""Files of the benchmark: where they are, how much they hold, what reads them."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from hydropress.errors import DataNotFoundError, MissingLibraryError


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


def extent(paths: Iterable[Path]) -> dict[str, int]:
    """Return the number of files and of bytes in them: other data seldom have the same."""
    sizes = [path.stat().st_size for path in paths]
    return {"files": len(sizes), "bytes": sum(sizes)}


def cache_file(cache: Path | None, name: str) -> Path | None:
    """Return the file of a data set in the folder that keeps them, None if nothing is kept."""
    return None if cache is None else cache / f"{name}.safetensors"


def optional_library(module: str, package: str, purpose: str, extra: str = "training") -> Any:
    """Import a library that only one of the package's extras brings."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingLibraryError(
            f"{package} is not installed ({error}); required {purpose}; run "
            f"'pip install hydropress[{extra}]'"
        ) from error
