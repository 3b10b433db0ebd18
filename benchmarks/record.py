"""What the benchmarks share: banks to work on, and the record that they write."""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hydropress
from hydropress.bench.run import processor
from hydropress.data.shipped import find_model, shipped_models
from hydropress.models.checkpoint import load
from hydropress.models.layer import BankSSM
from hydropress.models.s4d import S4D, Initialization
from hydropress.systems.modal import SISOSystem
from hydropress.training.process import use_threads


def make_parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).with_name("results") / f"{name}.json"
    parser.add_argument("--out", type=Path, default=default, help="where the record goes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="torch's CPU threads (default: torch's own)")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line and set the number of threads."""
    options = parser.parse_args()
    use_threads(options.threads)
    return options


def write_record(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Write results as JSON, with all that is needed to repeat them."""
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "options": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(options).items()
            if name != "out"
        },
        "seed": options.seed,
        "threads": {
            "torch": torch.get_num_threads(),
            **{name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
        },
        "machine": {"system": platform.platform(), "processor": processor()},
        "versions": {
            "hydropress": hydropress.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        **results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {options.out}")


def synthetic_bank(channels: int, seed: int, initialization: Initialization = "lin") -> SISOSystem:
    """Return the bank of a new S4D layer of order 64, batch shape ``(channels,)``."""
    torch.manual_seed(seed)
    return S4D(channels, 64, initialization=initialization).system()[0]


def load_layers(model: str | Path | None) -> list[BankSSM]:
    """Return the SSM layers of a model; of the first shipped model if none is named."""
    if model is None:
        if not shipped_models():
            raise SystemExit("no model is shipped; name one with --model, or make a bank")
        model = shipped_models()[0]
    return [part for part in load(find_model(model)).modules() if isinstance(part, BankSSM)]


def quantiles(values: Iterable[float]) -> dict[str, float]:
    """Return least, median and largest."""
    ordered = sorted(values)
    return {"min": ordered[0], "median": statistics.median(ordered), "max": ordered[-1]}
