"""One total of states spent two ways: the same order for every channel, or where it counts."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hydropress.bench.banks import TRAINED
from hydropress.calibration.targets import Allocation
from hydropress.compression.model import compress_path
from hydropress.compression.result import Compression
from hydropress.data.fashion_mnist import load_slice
from hydropress.data.images import ImageSequences
from hydropress.data.shipped import find_model
from hydropress.data.sources import calibration_sequences
from hydropress.evaluation.metrics import BATCH_SIZE, accuracy, agreement
from hydropress.models.checkpoint import load
from hydropress.models.classifier import ClassifierConfig, SequenceClassifier

UNTRAINED = "untrained"
"""Instead of a shipped model's name: a small one at initialisation, to go through the motions."""
SMALL = ClassifierConfig(channels=4, num_layers=2, state_size=16)

ALLOCATIONS: tuple[Allocation, ...] = ("uniform", "global")
Row = dict[str, Any]


def compare_allocations(
    samples: int,
    orders: tuple[int, ...],
    images: int,
    seed: int,
    step: Callable[[float], None],
    *,
    model: str = TRAINED,
) -> Row:
    """Compress a model to average orders, uniformly and globally, and measure both.

    Nothing is trained.  ``global`` chooses between its own plan and the uniform one by the outputs
    on held-out calibration sequences; the test images neither has seen.

    Parameters
    ----------
    samples
        Calibration sequences, drawn from the shipped training images.
    orders
        States per channel, on average.
    images
        The first so many of the shipped test images.
    seed
        Of the draw.
    step
        Called with the share that is done.
    model
        Shipped name or directory, or ``UNTRAINED``.

    Returns
    -------
    dict
        ``model``, ``original_accuracy``, ``test_images``, ``samples``, ``states_a_channel`` of the
        original, ``rows`` (accuracy, agreement with the original's decisions, KL divergence of the
        predicted distributions from the original's in nats, states per channel by layer, seconds;
        the orders of one allocation share their searches, so their times are equal shares) and
        ``gains``, global minus uniform, in points.
    """
    original = _opened(model, seed)
    calibration = calibration_sequences(load_slice("train"), samples, seed)
    test = load_slice("test")[:images]
    reference = log_probabilities(original, test)
    paths: list[list[Compression]] = []
    for number, allocation in enumerate(ALLOCATIONS):
        path = compress_path(original, orders, calibration=calibration, allocation=allocation)
        paths.append(path)
        step((0.2, 0.9)[number])
    rows: list[Row] = []
    for pair in zip(*paths, strict=True):
        for allocation, compression in zip(ALLOCATIONS, pair, strict=True):
            own = log_probabilities(compression.model, test)
            row = _spent(compression, allocation) | _measured(own, reference, test.labels)
            rows.append(row)
    step(1.0)
    return {
        "model": model,
        "original_accuracy": accuracy(reference.argmax(-1), test.labels),
        "test_images": len(test),
        "samples": samples,
        "states_a_channel": int(paths[0][0].layers[0].full.order.max()),
        "rows": rows,
        "gains": _gains(rows, orders),
    }


def _opened(model: str, seed: int) -> SequenceClassifier:
    if model == UNTRAINED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SequenceClassifier(SMALL).eval()
    original = load(find_model(model)).eval()
    assert isinstance(original, SequenceClassifier)
    return original


def log_probabilities(model: torch.nn.Module, images: ImageSequences) -> Tensor:
    """Return what a model thinks of every image, float64, shape ``(n, classes)``."""
    with torch.no_grad():
        logits = [
            model(images[start : start + BATCH_SIZE].sequences())
            for start in range(0, len(images), BATCH_SIZE)
        ]
    return torch.cat(logits).double().log_softmax(-1)


def _measured(own: Tensor, reference: Tensor, labels: Tensor) -> dict[str, float]:
    decisions = own.argmax(-1)
    return {
        "accuracy": accuracy(decisions, labels),
        "agreement": agreement(decisions, reference.argmax(-1)),
        "kl": float((reference.exp() * (reference - own)).sum(-1).mean()),
    }


def _spent(compression: Compression, asked: str) -> Row:
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


def _gains(rows: list[Row], orders: tuple[int, ...]) -> list[Row]:
    """Return what global gains over uniform at each total, in points."""
    return [
        {
            "order": order,
            "states": uniform["states"],
            "accuracy": 100 * (spent["accuracy"] - uniform["accuracy"]),
            "agreement": 100 * (spent["agreement"] - uniform["agreement"]),
        }
        for order, uniform, spent in zip(orders, rows[::2], rows[1::2], strict=True)
    ]
