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
