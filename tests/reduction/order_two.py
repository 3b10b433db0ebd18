r"""The H²-optimal model of order 2 by brute force: a dense grid of poles, the best ones polished.

For poles p_1, p_2 (a pair or two real ones) the best model captures the energy K^T M^{-1} K of the
kernel, with K_i = Σ_t k[t] p_i^t and M_ij = 1 / (1 - p_i p_j).  Discrete time, in NumPy.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

import oracles
from hydropress.systems.modal import SISOSystem

Array = NDArray[Any]

DECAYS, FREQUENCIES, POLISHED = 40, 200, 12


def _all_modes(system: SISOSystem) -> tuple[Array, Array]:
    rows = oracles.entries(system)
    exponents = np.array([row[0] for row in rows])
    weights = np.array([row[1] * row[2] / 2 for row in rows])
    return np.append(exponents, exponents.conj()), np.append(weights, weights.conj())


@dataclass(frozen=True)
class Best:
    """Largest energy that two states capture, and the error that remains, relative to ‖k‖."""

    energy: float
    relative_error: float


class ExhaustiveSearch:
    """Everything that order 2 can do for one system."""

    def __init__(self, system: SISOSystem) -> None:
        self.exponents, self.weights = _all_modes(system)
        sums = self.exponents[:, None] + self.exponents
        self.total = float(
            (self.weights[:, None] * self.weights / -np.expm1(sums)).sum().real  # ‖k‖²
        )

    def captured(self, first: Array, second: Array) -> Array:
        """Return the energy captured by poles e^first and e^second, arrays of one shape."""
        flat = np.stack([first.ravel(), second.ravel()])
        sums = flat[..., None] + self.exponents
        K = (self.weights / -np.expm1(sums)).sum(-1)
        aa, bb = (-1 / np.expm1(2 * s) for s in flat)
        ab = -1 / np.expm1(flat.sum(0))
        determinant = aa * bb - ab**2
        energy = (bb * K[0] ** 2 - 2 * ab * K[0] * K[1] + aa * K[1] ** 2) / determinant
        # Poles that almost coincide are reached by the polish, from either side.
        safe = np.abs(determinant) > 1e-8 * np.abs(aa * bb)
        return np.where(safe, energy.real, 0.0).reshape(first.shape)

    def pair(self, unknowns: Array) -> float:
        s = np.array([complex(-math.exp(unknowns[0]), unknowns[1])])
        return -float(self.captured(s, s.conj())[0]) / self.total

    def reals(self, unknowns: Array, signs: tuple[int, int]) -> float:
        s = [complex(-math.exp(x), math.pi * (n < 0)) for x, n in zip(unknowns, signs, strict=True)]
        return -float(self.captured(np.array(s[:1]), np.array(s[1:]))[0]) / self.total

    def _polish(self, target: Any, starts: list[Array]) -> float:
        """Return the least value that Nelder and Mead reach from any of the starts."""
        tight = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 400}
        return min(
            float(optimize.minimize(target, start, method="Nelder-Mead", options=tight).fun)
            for start in starts
        )

    def run(self) -> Best:
        """Search pairs and real poles of all signs."""
        slowest = -self.exponents.real.max()
        decays = np.geomspace(slowest / 4, 5.0, DECAYS)
        near = (
            self.exponents.imag + np.outer([-4, -2, -1, -0.5, 0, 0.5, 1, 2, 4], decays)[..., None]
        )
        near = near.reshape(-1, DECAYS, len(self.exponents)).transpose(1, 0, 2).reshape(DECAYS, -1)
        even = np.linspace(0, math.pi, FREQUENCIES + 2)[1:-1]
        frequencies = np.concatenate([np.abs(near), np.broadcast_to(even, (DECAYS, len(even)))], 1)
        s = -decays[:, None] + 1j * frequencies
        scores = self.captured(s, s.conj())
        pairs = [np.array([math.log(-s[i].real), s[i].imag]) for i in _peaks(scores)]
        best = self._polish(self.pair, pairs)
        for signs in ((1, 1), (1, -1), (-1, -1)):
            shift = [1j * math.pi * (sign < 0) for sign in signs]
            first, second = np.meshgrid(-decays, -decays, indexing="ij")
            scores = self.captured(first + shift[0], second + shift[1])
            starts = [np.log(decays[list(index)]) for index in _peaks(scores)[: POLISHED // 3]]
            best = min(best, self._polish(lambda x, n=signs: self.reals(x, n), starts))
        return Best(-best * self.total, math.sqrt(max(0.0, 1 + best)))


def _peaks(scores: Array) -> list[tuple[int, int]]:
    """Return the places of the largest scores, no two of them in neighbouring rows and columns."""
    left = scores.copy()
    found: list[tuple[int, int]] = []
    for _ in range(POLISHED):
        i, j = np.unravel_index(int(left.argmax()), left.shape)
        found.append((int(i), int(j)))
        left[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2] = -1
    return found
