"""One total of states spent two ways: the same order for every channel, or where it counts.

The shipped model is compressed to several averages, without training, on calibration sequences
drawn from the training images, once with `allocation="uniform"` and once with `"global"`, which
chooses between its own plan and the uniform one by the outputs on held-out calibration sequences.
Both are measured on the shipped test images, which neither has seen:

    accuracy    share of right decisions
    agreement   share of decisions equal to the original's
    KL          mean divergence of the predicted distributions from the original's, nats

and the last columns are the states per channel, on average, that each layer was given.  The orders
of one allocation share their searches and measurements, so their times are equal shares.

    python benchmarks/allocation.py --threads 2
    python benchmarks/allocation.py --samples 128 --orders 4 2
"""

import argparse
import time
from typing import Any

import torch
from record import make_parser, parse, write_record
from torch import Tensor

from hydropress.calibration.targets import Allocation
from hydropress.compress import Compression, compress_path
from hydropress.data.fashion_mnist import load_slice
from hydropress.data.images import ImageSequences
from hydropress.data.shipped import find_model
from hydropress.data.sources import calibration_sequences
from hydropress.evaluation.metrics import BATCH_SIZE, accuracy, agreement
from hydropress.models.checkpoint import load
from hydropress.models.classifier import SequenceClassifier
from hydropress.training.process import keep_freed_memory

MODEL = "s4d-fashion-mnist"
ALLOCATIONS: tuple[Allocation, ...] = ("uniform", "global")


def log_probabilities(model: torch.nn.Module, images: ImageSequences) -> Tensor:
    """Return what a model thinks of every image, float64, shape ``(n, classes)``."""
    with torch.no_grad():
        logits = [
            model(images[start : start + BATCH_SIZE].sequences())
            for start in range(0, len(images), BATCH_SIZE)
        ]
    return torch.cat(logits).double().log_softmax(-1)


def measure(own: Tensor, reference: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the figures of a model from its log-probabilities and the original's."""
    decisions = own.argmax(-1)
    return {
        "accuracy": accuracy(decisions, labels),
        "agreement": agreement(decisions, reference.argmax(-1)),
        "kl": float((reference.exp() * (reference - own)).sum(-1).mean()),
    }


def row_of(compression: Compression, asked: str) -> dict[str, Any]:
    """Return what was spent and where."""
    plan = compression.plan
    return {
        "asked": asked,
        "taken": plan.allocation,
        "states": plan.budget,
        "average": plan.mean_order,
        "by_layer": [layer.mean_order for layer in plan.layers],
        "without_states": sum(row.count(0) for layer in plan.layers for row in layer.orders),
        "largest": max(max(row) for layer in plan.layers for row in layer.orders),
        "held_out_deviation": dict(plan.deviations),
        "seconds": compression.seconds,
    }


def show(row: dict[str, Any]) -> None:
    """Print one row."""
    layers = " ".join(f"{mean:5.2f}" for mean in row["by_layer"])
    print(
        f"{row['states']:6,d} {row['asked']:8s} {100 * row['accuracy']:8.2f} "
        f"{100 * row['agreement']:9.2f} {row['kl']:7.4f} {row['seconds']:7.0f} s  {layers}",
        flush=True,
    )


def gains(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what global gains over uniform at each total, in points."""
    found: list[dict[str, Any]] = []
    for uniform, spent in zip(rows[::2], rows[1::2], strict=True):
        found.append(
            {
                "states": uniform["states"],
                "accuracy": 100 * (spent["accuracy"] - uniform["accuracy"]),
                "agreement": 100 * (spent["agreement"] - uniform["agreement"]),
            }
        )
    return found


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__, "allocation")
    parser.add_argument("--model", default=MODEL, help="shipped name or directory")
    parser.add_argument("--samples", type=int, default=64, help="calibration sequences")
    parser.add_argument("--orders", type=int, nargs="+", default=[16, 8, 4, 2])
    return parse(parser)


def main() -> None:
    """Run, print and write the record."""
    options = _options()
    keep_freed_memory()
    clock = time.monotonic()
    original = load(find_model(options.model))
    assert isinstance(original, SequenceClassifier)
    calibration = calibration_sequences(load_slice("train"), options.samples, options.seed)
    test = load_slice("test")
    reference = log_probabilities(original, test)
    before = accuracy(reference.argmax(-1), test.labels)
    print(f"{options.model}: {100 * before:.2f} % on {len(test):,} test images")
    print("states asked    accuracy agreement      KL    time    states per channel, by layer")
    rows: list[dict[str, Any]] = []
    paths = [
        compress_path(original, options.orders, calibration=calibration, allocation=allocation)
        for allocation in ALLOCATIONS
    ]
    for pair in zip(*paths, strict=True):
        for allocation, compression in zip(ALLOCATIONS, pair, strict=True):
            own = log_probabilities(compression.model, test)
            rows.append({**row_of(compression, allocation), **measure(own, reference, test.labels)})
            show(rows[-1])
    print("\nglobal minus uniform, points")
    for gain in gains(rows):
        print(
            f"{gain['states']:6,d}  accuracy {gain['accuracy']:+.2f}  agreement "
            f"{gain['agreement']:+.2f}"
        )
    write_record(
        options,
        {
            "original_accuracy": before,
            "test_images": len(test),
            "rows": rows,
            "gains": gains(rows),
            "seconds": time.monotonic() - clock,
        },
    )


if __name__ == "__main__":
    main()
