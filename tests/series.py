"""A stand-in for the library that loads series of the UCR and UEA archives."""

import sys
from types import ModuleType
from typing import Any

import numpy as np

from hydropress.data.ucr import SERIES


def provide_series(monkeypatch: Any, name: str, train: Any, test: Any) -> None:
    """Let ``aeon.datasets`` offer one loader, as the real one calls it and returns its data."""
    parts = {"train": train, "test": test}
    datasets = ModuleType("aeon.datasets")
    setattr(datasets, SERIES[name].loader, lambda split="both": parts[split])
    monkeypatch.setitem(sys.modules, "aeon", ModuleType("aeon"))
    monkeypatch.setitem(sys.modules, "aeon.datasets", datasets)


def vowels(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return series as JapaneseVowels has them: nine classes, 12 channels, 7 to 29 samples."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 9
    series = [rng.normal(label, 1, (12, rng.integers(7, 30))) for label in labels]
    return series, np.array([str(label + 1) for label in labels])
