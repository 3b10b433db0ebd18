"""The problems of the contract suite for MIMO systems, their reductions, and independent errors."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import mimo_oracles as oracles
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.reduce import reduce
from hydropress.reduction.result import Reduction
from hydropress.reduction.weights import InputCovariance, SpectralWeight, Weight
from hydropress.systems.modal import MIMOSystem
from reduction.problems import half_circle
from strategies import seeded_mimo

QUICK = DescentConfig(max_iterations=40)
"""The contract holds wherever an iteration stops."""


@dataclass(frozen=True)
class MimoProblem:
    """A bank, an order to reduce it to, and the metric."""

    system: MIMOSystem
    order: int
    horizon: float | None = None
    weight: Weight | None = None
    fit_feedthrough: bool = False

    @property
    def options(self) -> dict[str, Any]:
        return {
            "horizon": self.horizon,
            "weight": self.weight,
            "fit_feedthrough": self.fit_feedthrough,
            "descent": QUICK,
        }


def _with_exponents(
    exponents: list[complex], states: list[int], inputs: int, outputs: int, seed: int
) -> MIMOSystem:
    """Give poles normal input and output directions."""
    generator = torch.Generator().manual_seed(seed)
    real = torch.tensor(states)[:, None] == 1

    def directions(count: int) -> torch.Tensor:
        drawn = torch.randn(len(states), count, dtype=torch.complex128, generator=generator)
        return torch.where(real, drawn.real.to(drawn.dtype), drawn)

    B, C = directions(inputs), directions(outputs).mT
    D = torch.randn(outputs, inputs, dtype=torch.float64, generator=generator)
    poles = torch.tensor(exponents, dtype=torch.complex128)
    return MIMOSystem(poles, B, C, torch.tensor(states), D, "discrete").reshape(1)


def hermitian(count: int, inputs: int, seed: int) -> torch.Tensor:
    """Draw cross-spectra of full rank, ``(count, inputs, inputs)``."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(count, inputs, inputs, dtype=torch.complex128, generator=generator)
    return root @ root.mH


@lru_cache
def mimo_problem(name: str) -> MimoProblem:
    near = complex(0, math.pi)
    match name:
        case "square":
            return MimoProblem(seeded_mimo((2,), 2, 2, 3, 1, seed=1), 2)
        case "wide":
            return MimoProblem(seeded_mimo((1,), 3, 2, 3, 1, seed=2), 3)
        case "tall":
            return MimoProblem(seeded_mimo((1, 1), 1, 4, 3, 1, seed=3), 4)
        case "many":
            return MimoProblem(seeded_mimo((1,), 10, 9, 4, 1, seed=4), 4)
        case "real":
            decays = [-0.02 + 0j, -0.09 + 0j, -0.3 + 0j, -0.8 + near, -2.0 + 0j]
            return MimoProblem(_with_exponents(decays, [1] * 5, 2, 2, 5), 3)
        case "cluster":
            poles = [-0.1 + 0.5j, -0.1001 + 0.5j, -0.1 + 0.5003j, -0.05 + 2.5j, -0.0501 + 2.5j]
            return MimoProblem(_with_exponents(poles, [2] * 5, 2, 3, 6), 4)
        case "repeated":
            poles = [-0.1 + 0.5j, -0.1 + 0.5j, -0.3 + 0j, -0.3 + 0j]
            return MimoProblem(_with_exponents(poles, [2, 2, 1, 1], 2, 2, 7), 3)
        case "boundary":
            poles = [-1e-9 + 0.3j, -1e-4 + 0j, -1e-6 + near, -0.01 + 2j]
            return MimoProblem(_with_exponents(poles, [2, 1, 1, 2], 2, 2, 8), 3)
        case "continuous":
            return MimoProblem(seeded_mimo((2,), 2, 3, 3, 1, time="continuous", seed=9), 4)
        case "horizon":
            return MimoProblem(seeded_mimo((1,), 2, 3, 3, 1, seed=10), 2, horizon=15)
        case "duration":
            full = seeded_mimo((1,), 2, 2, 3, time="continuous", seed=11)
            return MimoProblem(full, 2, horizon=5.5)
        case "spectrum":
            weight = SpectralWeight(half_circle(64), hermitian(64, 2, 12))
            return MimoProblem(seeded_mimo((2,), 2, 2, 3, 1, seed=12), 4, weight=weight)
        case "covariance":
            weight = InputCovariance(hermitian(1, 3, 13)[0].real)
            return MimoProblem(seeded_mimo((1,), 3, 2, 3, 1, seed=13), 2, weight=weight)
        case "feedthrough":
            full = seeded_mimo((1,), 2, 3, 3, 1, seed=14)
            return MimoProblem(full, 3, fit_feedthrough=True)
        case _:
            raise KeyError(name)


MIMO_PROBLEMS = (
    "square",
    "wide",
    "tall",
    "many",
    "real",
    "cluster",
    "repeated",
    "boundary",
    "continuous",
    "horizon",
    "duration",
    "spectrum",
    "covariance",
    "feedthrough",
)


@lru_cache
def mimo_reduced(method: str, name: str) -> Reduction[MIMOSystem]:
    """Reduce a problem of the suite, once for all tests."""
    posed = mimo_problem(name)
    return reduce(posed.system, posed.order, method, **posed.options)


def each(
    posed: MimoProblem, result: Reduction[MIMOSystem]
) -> list[tuple[int, MIMOSystem, MIMOSystem]]:
    """Return (row, full, reduced) of every system of a bank, empty entries left out."""
    full, small = posed.system.reshape(-1), result.system.reshape(-1)
    return [(row, full[row], small[row]) for row in range(len(full.D))]


def independent_error(posed: MimoProblem, full: MIMOSystem, small: MIMOSystem) -> float:
    """Return the relative error in the problem's metric: in 50 digits, or by explicit sums."""
    if isinstance(posed.weight, SpectralWeight):
        return spectral_error(posed.weight, full, small)
    if isinstance(posed.weight, InputCovariance):
        root = np.linalg.cholesky(posed.weight.values.numpy())
        full, small = mixed(full, root), mixed(small, root)
    return response_error(full, small, posed.horizon) / oracles.h2_norm(full, posed.horizon)


def response_error(full: MIMOSystem, small: MIMOSystem, horizon: float | None) -> float:
    """Return ‖h - h_r‖, D included."""
    error, change = oracles.h2_error(full, small, horizon), (full.D - small.D).numpy()
    if not change.any():
        return error
    if full.time == "continuous":
        return math.inf
    first = (oracles.kernel(full, 1) - oracles.kernel(small, 1))[0]
    return math.sqrt(error**2 + 2 * np.sum(first * change) + np.sum(change**2))


def mixed(system: MIMOSystem, root: NDArray[Any]) -> MIMOSystem:
    """Return the system with its inputs mixed, u = L v."""
    factor = torch.from_numpy(root)
    return replace(system, B=system.B @ factor.to(system.B), D=system.D @ factor)


def spectral_error(weight: SpectralWeight, full: MIMOSystem, small: MIMOSystem) -> float:
    """Return the root of Σ tr E W Eᴴ / Σ tr (G - D) W (G - D)ᴴ, point by point."""
    points = np.exp(1j * weight.frequencies.numpy())
    response = oracles.transfer_function(full, points)
    error = response - oracles.transfer_function(small, points)
    without = response - full.D.numpy()
    sums = [
        sum(
            np.trace(e @ w @ e.conj().T).real for e, w in zip(E, weight.values.numpy(), strict=True)
        )
        for E in (error, without)
    ]
    return float(np.sqrt(sums[0] / sums[1]))
