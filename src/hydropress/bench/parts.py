"""A long run in parts that are kept: what was finished is not done again."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydropress
from hydropress.errors import FileFormatError
from hydropress.evaluation.records import read_json, write_json

PARTS = "parts"
CODE = (
    *("systems", "reduction", "models", "data", "bench"),
    *("calibration", "evaluation", "compress.py"),
)
"""Folders and files of the package on which a result depends."""

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Part:
    """A piece of a run.

    Attributes
    ----------
    name
        Of its file.
    what
        Shown while it runs.
    weight
        Expected seconds; only their ratios matter.
    run
        Gets a function to be called with the share that is done, and returns what JSON can hold.
    """

    name: str
    what: str
    weight: float
    run: Callable[[Callable[[float], None]], Any]


def code_digest() -> str:
    """Return a digest of the package's code, so that results of other code are not mixed in."""
    root = Path(hydropress.__file__).parent
    digest = hashlib.sha256()
    places = [root / name for name in CODE]
    files = [path for place in places for path in (place, *place.rglob("*.py"))]
    for path in sorted(path for path in files if path.is_file()):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def key_of(settings: dict[str, Any]) -> str:
    """Return a digest of all that must be the same for a finished part to be kept."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def run_parts(
    parts: list[Part], folder: Path, key: str, progress: Progress | None
) -> tuple[dict[str, Any], float]:
    """Run the parts that are not finished yet, each written in one step when it is.

    Parameters
    ----------
    parts
        In order.
    folder
        Receives ``parts/NAME.json``.
    key
        Parts that were written under another one are run again.
    progress
        Called as progress(done, total, what).

    Returns
    -------
    results, seconds
        Results by name, as read back from the files, and the time that all parts took.
    """
    place = folder / PARTS
    place.mkdir(parents=True, exist_ok=True)
    total = sum(part.weight for part in parts)
    results: dict[str, Any] = {}
    done = seconds = 0.0
    waiting = [part for part in parts if _finished(place, part, key) is None]
    for part in parts:
        path = place / f"{part.name}.json"
        if part in waiting:
            before = sum(other.weight for other in parts if other not in waiting) + done

            def step(share: float, part: Part = part, before: float = before) -> None:
                if progress is not None:
                    progress(before + share * part.weight, total, part.what)

            step(0.0)
            began = time.perf_counter()
            result = part.run(step)
            took = time.perf_counter() - began
            write_json(path, {"key": key, "seconds": took, "result": result})
            done += part.weight
        written = read_json(path)
        results[part.name] = written["result"]
        seconds += written["seconds"]
    return results, seconds


def forget_parts(folder: Path) -> None:
    """Delete the parts of a run that is complete."""
    shutil.rmtree(folder / PARTS)


def _finished(place: Path, part: Part, key: str) -> dict[str, Any] | None:
    path = place / f"{part.name}.json"
    if not path.is_file():
        return None
    try:
        written = read_json(path)
    except FileFormatError:
        return None
    return written if written.get("key") == key else None
