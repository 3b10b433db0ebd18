"""The problems of the contract suite, their reductions (made once), and independent errors."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import oracles
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.reduce import reduce
from hydropress.reduction.result import Reduction
from hydropress.reduction.weights import SpectralWeight
from hydropress.systems.modal import SISOSystem
from strategies import bank, build, s4d_bank, seeded_bank

METHODS = ("h2", "balanced", "modal", "gradient", "irka", "last", "aire", "singular-perturbation")
"""A new method joins the contract by standing here."""

OWN_FEEDTHROUGH = ("singular-perturbation",)
"""Those that change D whether or not it is free, and refuse a horizon."""

KEEPING = tuple(name for name in METHODS if name not in OWN_FEEDTHROUGH)
"""Those that keep D unless it is free."""

ITERATIVE = ("h2", "gradient")
"""Those that take their settings from a DescentConfig."""

QUICK = DescentConfig(max_iterations=60)
"""The contract holds wherever an iteration stops."""

LONGEST_KERNEL = 200_000


@dataclass(frozen=True)
class Problem:
    """A bank, an order to reduce it to, and the metric."""

    system: SISOSystem
    order: int
    horizon: float | None = None
    weight: SpectralWeight | None = None

    @property
    def options(self) -> dict[str, Any]:
        return {"horizon": self.horizon, "weight": self.weight, "descent": QUICK}


def half_circle(count: int) -> torch.Tensor:
    """Return the upper half of 2 count equidistant points: by symmetry they stand for all."""
    return math.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count


def _mixed() -> SISOSystem:
    ragged = build(
        [-0.1 + 0.9j, -0.3 + 0j, -0.2 + math.pi * 1j], [1 - 1j, 2.0, -0.5], [2, 1, 1], 0.5
    )
    return bank(
        [
            ragged,
            build([-0.05 + 2j, -0.4 + 0.5j], [1j, 0.3], [2, 2], -2.0),
            build([-0.7 + 1j], [1.0], [2]),
        ]
    )


def _real() -> SISOSystem:
    decays = [-0.02, -0.09, -0.3, -0.8, -2.0]
    return bank([build(decays, [1.0, -2.0, 1.5, 3.0, 1.0], [1] * 5)])


def _alternating() -> SISOSystem:
    exponents = [complex(-decay, math.pi) for decay in (0.05, 0.2, 0.6)]
    return bank([build([*exponents, -0.1 + 3j], [1.0, 2.0, -1.0, 1j], [1, 1, 1, 2])])


def _boundary() -> SISOSystem:
    exponents = [-1e-6 + 0.3j, -3e-5 + 0.31j, -1e-4 + 0j, -0.01 + 2j]
    return bank([build(exponents, [1e-3, 1e-2j, 1e-2, 1.0], [2, 2, 1, 2], 1.0)])


def _cluster() -> SISOSystem:
    first = [-0.1 + 0.5j, -0.1001 + 0.5j, -0.1 + 0.5003j]
    second = [-0.05 + 2.5j, -0.0501 + 2.5j]
    return bank([build(first + second, [1.0, -0.8, 0.5j, 1j, 0.6], [2] * 5)])


def _slow() -> SISOSystem:
    """Slow poles, of which hardly anything has decayed within the horizon."""
    return bank([build([-1e-3 + 0.2j, -0.01 + 0j, -0.1 + 1.5j], [1.0, -1.0, 1j], [2, 1, 2], 1.0)])


@lru_cache
def problem(name: str) -> Problem:
    frequencies = half_circle(64)
    match name:
        case "s4d":
            return Problem(s4d_bank(2, 8, seed=1), 2)
        case "mixed":
            return Problem(_mixed(), 2)
        case "real":
            return Problem(_real(), 3)
        case "alternating":
            return Problem(_alternating(), 3)
        case "boundary":
            return Problem(_boundary(), 4)
        case "cluster":
            return Problem(_cluster(), 4)
        case "grid":
            return Problem(seeded_bank((2, 1), 3, 1, seed=2), 4)
        case "continuous":
            return Problem(seeded_bank((2,), 3, 2, time="continuous", seed=3), 4)
        case "horizon":
            return Problem(_slow(), 2, horizon=40)
        case "duration":
            return Problem(seeded_bank((1,), 3, time="continuous", seed=4), 2, horizon=5.5)
        case "weighted":
            weight = SpectralWeight(frequencies, 1 / (0.1 + frequencies) ** 2)
            return Problem(seeded_bank((2,), 4, 1, seed=5), 4, weight=weight)
        case _:
            raise KeyError(name)


PROBLEMS = (
    "s4d",
    "mixed",
    "real",
    "alternating",
    "boundary",
    "cluster",
    "grid",
    "continuous",
    "horizon",
    "duration",
    "weighted",
)


@lru_cache
def reduced(method: str, name: str) -> Reduction:
    """Reduce a problem of the suite, once for all tests."""
    posed = problem(name)
    return reduce(posed.system, posed.order, method, **posed.options)


def each(posed: Problem, result: Reduction) -> list[tuple[int, SISOSystem, SISOSystem]]:
    """Return (row, full, reduced) of every system of a bank."""
    full, small = posed.system.reshape(-1), result.system.reshape(-1)
    return [(row, full[row], small[row]) for row in range(len(full.D))]


def error_kernel(full: SISOSystem, small: SISOSystem, length: int) -> NDArray[Any]:
    times = np.arange(length)
    return oracles.kernel(full, times) - oracles.kernel(small, times)


def response_error(full: SISOSystem, small: SISOSystem, length: int) -> NDArray[Any]:
    """Return h - h_r, D included (discrete time)."""
    error = error_kernel(full, small, length)
    error[0] += float(full.D - small.D)
    return error


def enough_samples(*systems: SISOSystem) -> int:
    """Return after how many samples kernels have fallen to 1e-11."""
    slowest = min(float(system.decay.min()) for system in systems)
    return math.ceil(25 / slowest)


def independent_error(posed: Problem, row: int, full: SISOSystem, small: SISOSystem) -> float:
    """Return ‖h - h_r‖ / ‖k‖ in the problem's metric: by samples, or in 50 digits."""
    if posed.weight is not None:
        values = posed.weight.values.expand(*posed.system.batch_shape, -1)
        flat = values.flatten(0, -2)[row].numpy()
        return weighted_error(posed.weight.frequencies, flat, full, small)
    change = float(full.D - small.D)
    if full.time == "discrete":
        length = enough_samples(full, small) if posed.horizon is None else int(posed.horizon)
        if length <= LONGEST_KERNEL:
            error = np.linalg.norm(response_error(full, small, length))
            return float(error / oracles.h2_norm_by_kernel(full, length))
        first = float(error_kernel(full, small, 1)[0])
        squared = oracles.h2_error(full, small) ** 2 + 2 * first * change + change**2
        return math.sqrt(squared) / oracles.h2_norm(full)
    return math.inf if change else oracles.relative_h2_error(full, small, posed.horizon)


def weighted_error(
    frequencies: torch.Tensor, values: NDArray[Any], full: SISOSystem, small: SISOSystem
) -> float:
    """Return the root of Σ W |G - G_r|² / Σ W |G - D|²."""
    points = np.exp(1j * frequencies.double().numpy())
    response = oracles.transfer_function(full, points)
    error = response - oracles.transfer_function(small, points)
    total = values @ np.abs(response - float(full.D)) ** 2
    return float(np.sqrt(values @ np.abs(error) ** 2 / total))


def assert_close_errors(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Assert that two searches ended in the same optimum: errors equal to six digits."""
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)
