"""Peak memory of a piece of work, and of a whole process that reduces one bank.

    python -m hydropress.bench.memory '{"channels": 3072, "orders": [2], "seed": 0, "threads": 1}'

prints one JSON object on stdout.
"""

import ctypes
import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydropress.errors import InvalidArgumentError

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What to write to ``clear_refs`` to have the peak start anew (proc(5))."""
KIBIBYTE = 1024


@dataclass
class Growth:
    """What a block needed beyond what the process held before; None where it cannot be told."""

    bytes: int | None = None


def read_status(name: str) -> int | None:
    """Return an entry of Linux's status file in bytes: ``VmRSS`` now, ``VmHWM`` at the peak."""
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(found[0]) * KIBIBYTE if found else None


@contextmanager
def peak_growth() -> Generator[Growth]:
    """Measure by how much the resident memory grows at its peak within a block."""
    growth = Growth()
    _give_back()
    try:
        CLEAR.write_text(RESET_PEAK, encoding="ascii")
        before = read_status("VmRSS")
    except OSError:
        before = None
    yield growth
    peak = read_status("VmHWM")
    if before is not None and peak is not None:
        growth.bytes = max(0, peak - before)


def _give_back() -> None:
    """Ask glibc to return freed memory, which would be used again without being counted."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)


def peak_of_process(
    channels: int, orders: tuple[int, ...], seed: int, threads: int
) -> dict[str, Any]:
    """Reduce an S4D-Lin bank in a new process and return its peak, libraries included."""
    task = {"channels": channels, "orders": list(orders), "seed": seed, "threads": threads}
    finished = subprocess.run(
        [sys.executable, "-m", "hydropress.bench.memory", json.dumps(task)],
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise InvalidArgumentError(
            f"a process that reduces {channels} channels ended with status "
            f"{finished.returncode} ({last}); required: memory enough for it; use --quick"
        )
    return {**task, **json.loads(finished.stdout)}


def _main() -> None:
    import torch

    from hydropress.bench.banks import bank, new_layer
    from hydropress.reduction.reduce import reduce_path
    from hydropress.training.process import keep_freed_memory

    # As in the program whose memory this is.
    keep_freed_memory()
    task = json.loads(sys.argv[1])
    torch.set_num_threads(task["threads"])
    full = bank(new_layer(task["channels"], task["seed"]))
    before = read_status("VmHWM")
    reduce_path(full, orders=tuple(task["orders"]))
    peak = read_status("VmHWM")
    sys.stdout.write(json.dumps({"before_bytes": before, "peak_bytes": peak}) + "\n")


if __name__ == "__main__":
    _main()
