"""Files that are written in one step: a reader sees the old content or the new, never a part."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a path to write to, which takes the place of another if the block succeeds.

    It is in the same folder and of a name of its own: of processes that write the same file at the
    same time the last one wins.  If the block fails, all is as it was.
    """
    temporary = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_left_of(name: str, entry: Path) -> bool:
    """Return whether a file is what a kill left of writing the file ``name``."""
    return entry.name.startswith(f"{name}.") and entry.suffix == ".tmp"


def write_atomically(path: Path, text: str) -> None:
    """Write a text file in one step: a reader sees the old content or the new, never a part."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
