"""Global against uniform allocation alone, on more samples or other orders than the benchmark's.

`hydropress bench reduce` runs the same function (`hydropress.bench.allocation`) as one of its
parts; here a model, orders and calibration samples can be chosen, and the table is printed.

    python benchmarks/allocation.py --threads 2
    python benchmarks/allocation.py --samples 64 --orders 4 2
"""

import argparse
import time
from typing import Any

from record import make_parser, parse, write_record

from hydropress.bench.allocation import compare_allocations
from hydropress.bench.banks import TRAINED
from hydropress.bench.config import ReduceConfig
from hydropress.training.process import keep_freed_memory


def show(row: dict[str, Any]) -> None:
    """Print one row."""
    layers = " ".join(f"{mean:5.2f}" for mean in row["by_layer"])
    print(
        f"{row['states']:6,d} {row['asked']:8s} {100 * row['accuracy']:8.2f} "
        f"{100 * row['agreement']:9.2f} {row['kl']:7.4f} {row['seconds']:7.0f} s  {layers}"
    )


def _options() -> argparse.Namespace:
    config = ReduceConfig()
    parser = make_parser(__doc__, "allocation")
    parser.add_argument("--model", default=TRAINED, help="shipped name or directory")
    parser.add_argument(
        "--samples", type=int, default=config.allocation_samples, help="calibration sequences"
    )
    parser.add_argument("--images", type=int, default=config.allocation_images, help="test images")
    parser.add_argument("--orders", type=int, nargs="+", default=config.allocation_orders)
    return parse(parser)


def main() -> None:
    """Run, print and write the record."""
    options = _options()
    keep_freed_memory()
    clock = time.monotonic()
    result = compare_allocations(
        options.samples,
        tuple(options.orders),
        options.images,
        options.seed,
        lambda _: None,
        model=options.model,
    )
    before = 100 * result["original_accuracy"]
    print(f"{options.model}: {before:.2f} % on {result['test_images']:,} test images")
    print("states asked    accuracy agreement      KL    time    states per channel, by layer")
    for row in result["rows"]:
        show(row)
    print("\nglobal minus uniform, points")
    for gain in result["gains"]:
        print(
            f"{gain['states']:6,d}  accuracy {gain['accuracy']:+.2f}  agreement "
            f"{gain['agreement']:+.2f}"
        )
    write_record(options, {**result, "seconds": time.monotonic() - clock})


if __name__ == "__main__":
    main()
