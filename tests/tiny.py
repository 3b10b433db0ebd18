"""Models and data small enough that a test trains them in a second."""

import gzip
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hydropress.bench.config import ReduceConfig
from hydropress.data.images import ImageSequences
from hydropress.models.classifier import ClassifierConfig, SequenceClassifier

CONFIG = ClassifierConfig(channels=4, num_layers=2, state_size=8)
SIDE = 6


def tiny_model(seed: int = 0, **changes: Any) -> SequenceClassifier:
    torch.manual_seed(seed)
    return SequenceClassifier(replace(CONFIG, **changes)).eval()


def tiny_arrays(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images whose brightness tells their class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count)
    noise = generator.integers(0, 40, (count, SIDE, SIDE))
    return (noise + 20 * labels[:, None, None]).astype(np.uint8), labels.astype(np.uint8)


def tiny_images(count: int, seed: int = 0) -> ImageSequences:
    images, labels = tiny_arrays(count, seed)
    return ImageSequences(
        torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), 0.3, 0.35
    )


def write_idx_folder(folder: Path, train: int = 48, test: int = 20) -> Path:
    """Write four files in the format of the original data."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count, seed in (("train", train, 0), ("t10k", test, 1)):
        images, labels = tiny_arrays(count, seed)
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">{1 + values.ndim}I", 0x0800 + values.ndim, *values.shape)
            path = folder / f"{prefix}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(header + values.tobytes()))
    return folder


def write_slice(path: Path, train: int = 48, test: int = 20) -> Path:
    """Write a file in the format of the shipped slice."""
    (train_images, train_labels), (test_images, test_labels) = (
        tiny_arrays(train, 0),
        tiny_arrays(test, 1),
    )
    np.savez_compressed(
        path,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )
    return path


def quick_peak(channels: int, orders: tuple[int, ...], seed: int, threads: int) -> dict[str, Any]:
    """Stand in for a whole process that is measured, which takes seconds to import torch."""
    return {"channels": channels, "orders": list(orders), "peak_bytes": 1_000}


def quick_allocation(
    samples: int,
    orders: tuple[int, ...],
    images: int,
    seed: int,
    step: Any,
    *,
    model: str = "a model",
) -> dict[str, Any]:
    """Stand in for the compression of the shipped model, which takes minutes."""
    step(1.0)
    rows = [
        {
            "asked": asked,
            "taken": asked,
            "states": 256 * order,
            "average": float(order),
            "by_layer": [float(order)] * 4,
            "accuracy": 0.5 + 0.25 * (asked == "global"),
            "agreement": 0.75,
            "seconds": 1.0,
        }
        for order in orders
        for asked in ("uniform", "global")
    ]
    gains = [
        {"order": order, "states": 256 * order, "accuracy": 25.0, "agreement": 0.0}
        for order in orders
    ]
    return {
        "model": model,
        "original_accuracy": 0.75,
        "test_images": images,
        "samples": samples,
        "states_a_channel": 64,
        "rows": rows,
        "gains": gains,
    }


def tiny_benchmark() -> ReduceConfig:
    """Every part of a benchmark, in seconds."""
    return ReduceConfig(
        groups=("mimo",),
        orders=(2,),
        metric_channels=1,
        odd_orders=(0, 1),
        horizon=32,
        mimo_states=(8,),
        mimo_width=2,
        exhaustive_channels=2,
        restart_channels=2,
        restarts=4,
        restart_orders=(4,),
        speed_channels=4,
        irka_channels=1,
        path_channels=2,
        path_order=4,
        growth_channels=(2, 4),
        growth_states=(4, 8),
        growth_bank=2,
        memory_channels=(4, 8),
        allocation_samples=2,
        allocation_orders=(2,),
        allocation_images=2,
        rounds=1,
    )
