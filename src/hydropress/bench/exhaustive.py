r"""An exhaustive search for the H²-optimal system of order 2, apart from the library's own.

Discrete time, one channel k[t] = Σ_n r_n a_n^t over all poles.  For given reduced poles p_1, p_2 (a
conjugate pair or two real ones) with their best residues, everything follows from the Blaschke
product B(z) = Π_j (z - p̄_j) / (1 - p_j z):

    ‖k‖² - ‖k - k_r‖² = Σ_j |Σ_n r_n φ_j(a_n)|²     φ_j: the Takenaka-Malmquist basis of p_1, p_2
    k - k_r  has the norm of  Σ_n r_n B(a_n) a_n^t   (nothing is subtracted from anything large)

Both are smooth where two poles meet, so that one search passes from a pair to two real poles.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hydropress.systems.modal import SISOSystem

Real = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

NUM_REAL = 160
"""Decays of the grid of real poles, for each sign."""
MAX_CANDIDATES = {"pair": 40, "both near 1": 10, "both near -1": 10, "one near each": 10}
"""Local optima of the grid that are polished, for each kind of pole set."""
SHARPEST, SLOWEST_SHARE = 8.0, 0.2
"""The grid's decays go from this share of the channel's slowest to e^{-8} per sample."""
OFFSETS = 0.25 * 2.0 ** np.arange(7)
"""Grid frequencies lie at these multiples of a pole's decay to both sides of its frequency: a
fixed share of the distance to the nearest pole, the scale on which the captured energy varies."""


@dataclass(frozen=True)
class Bank:
    """All poles of K channels, both members of a pair: z = log a and r, complex ``(K, n)``."""

    exponents: Tensor
    residues: Tensor

    @staticmethod
    def of(system: SISOSystem) -> "Bank":
        """Write out the conjugates; a real pole stands twice with half its residue."""
        half = system.residues * system.states / 2
        phase = torch.remainder(system.exponents.imag + math.pi, 2 * math.pi) - math.pi
        upper = torch.complex(system.exponents.real, phase)
        return Bank(torch.cat([upper, upper.conj()], -1), torch.cat([half, half.conj()], -1))

    def select(self, rows: Tensor) -> "Bank":
        return Bank(self.exponents[rows], self.residues[rows])

    def energy(self, weights: Tensor | None = None) -> Tensor:
        """Return ‖Σ_n w_n r_n a_n^t‖², ``(K,)``."""
        residues = self.residues if weights is None else self.residues * weights
        gram = -1 / torch.expm1(self.exponents.conj()[:, :, None] + self.exponents[:, None, :])
        return torch.einsum("kn,knm,km->k", residues.conj(), gram, residues).real


def _basis(bank: Bank, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return φ_1, φ_2 and B at a bank's poles, up to phases, ``(K, n)``, for poles e^s ``(K,)``."""

    def blaschke(s: Tensor) -> tuple[Tensor, Tensor]:
        denominator = -torch.expm1(bank.exponents + s[:, None])
        factor = torch.expm1(bank.exponents - s.conj()[:, None]) / denominator
        return s.real.exp()[:, None] * factor, denominator

    factor_1, denominator_1 = blaschke(first)
    factor_2, denominator_2 = blaschke(second)
    norm_1 = torch.sqrt(-torch.expm1(2 * first.real))[:, None]
    norm_2 = torch.sqrt(-torch.expm1(2 * second.real))[:, None]
    return norm_1 / denominator_1, factor_1 * norm_2 / denominator_2, factor_1 * factor_2


def captured_energy(bank: Bank, first: Tensor, second: Tensor) -> Tensor:
    """Return ‖k‖² - ‖k - k_r‖² for reduced exponents ``(K,)`` and their best residues."""
    phi_1, phi_2, _ = _basis(bank, first, second)
    return sum((bank.residues * phi).sum(-1).abs() ** 2 for phi in (phi_1, phi_2))  # type: ignore[return-value]


def relative_error(bank: Bank, first: Tensor, second: Tensor) -> Tensor:
    """Return ‖k - k_r‖ / ‖k‖ for reduced exponents ``(K,)`` and their best residues."""
    _, _, product = _basis(bank, first, second)
    return torch.sqrt(bank.energy(product).clamp_min(0) / bank.energy())


# Charts of the pole sets: two real coordinates to two exponents, and each coordinate's scale.


def _pair(point: Tensor) -> tuple[Tensor, Tensor]:
    s = torch.complex(-point[:, 0].exp(), point[:, 1])
    return s, s.conj()


def _same_sign(point: Tensor) -> tuple[Tensor, Tensor]:
    """Solve log(-s) = x ± √w: two real poles where w > 0, a pair where w < 0; smooth between."""
    root = torch.sqrt(torch.complex(point[:, 1], torch.zeros_like(point[:, 1])))
    return -torch.exp(point[:, 0] + root), -torch.exp(point[:, 0] - root)


def _opposite_signs(point: Tensor) -> tuple[Tensor, Tensor]:
    zero = torch.zeros_like(point[:, 0])
    return torch.complex(-point[:, 0].exp(), zero), torch.complex(
        -point[:, 1].exp(), zero + math.pi
    )


Chart = Callable[[Tensor], tuple[Tensor, Tensor]]


LOG_DECAY_LIMITS = (-25.0, 3.5)
"""Beyond e^{3.5} per sample a pole is zero to ten digits in its first power."""


def _inside(point: Tensor, chart: Chart) -> Tensor:
    """Clamp coordinates to the chart."""
    first, second = point.unbind(-1)
    if chart is _opposite_signs:
        second = second.clamp(*LOG_DECAY_LIMITS)
    elif chart is _same_sign:
        second = second.clamp(-((math.pi / 2 - 0.02) ** 2), 200.0)
    return torch.stack([first.clamp(*LOG_DECAY_LIMITS), second], -1)


def _newton_step(slope: Tensor, curvature: Tensor) -> Tensor:
    """Return the step along each eigenvector of the Hessian, downhill on all of them."""
    values, vectors = torch.linalg.eigh(curvature)
    along = (vectors.mT @ slope[..., None])[..., 0] / values.abs().clamp_min(1e-14)
    return -(vectors @ along[..., None])[..., 0]


def polish(bank: Bank, chart: Chart, start: Tensor, *, max_iterations: int = 80) -> Tensor:
    """Return the local optima reached from coordinates ``(K, 2)`` by Newton in a trust region.

    Derivatives are automatic; a pair's frequency is measured in units of its decay.
    """
    point = start.clone()
    energy = bank.energy()
    radius = torch.full_like(energy, 0.3)
    alive = torch.arange(len(point))
    for _ in range(max_iterations):
        part, scale_of_error = bank.select(alive), energy[alive]

        def error(at: Tensor, part: Bank = part, scale: Tensor = scale_of_error) -> Tensor:
            value = 1 - captured_energy(part, *chart(at)) / scale
            return torch.where(torch.isfinite(value), value, torch.inf)

        here = point[alive].requires_grad_()
        value = error(here)
        (slope,) = torch.autograd.grad(value.sum(), here, create_graph=True)
        rows = [torch.autograd.grad(slope[:, i].sum(), here, retain_graph=True)[0] for i in (0, 1)]
        here = here.detach()
        scale = torch.ones_like(here)
        if chart is _pair:
            scale[:, 1] = here[:, 0].exp()
        slope = torch.nan_to_num(slope.detach() * scale)
        curvature = torch.nan_to_num(torch.stack(rows, 1) * scale[:, :, None] * scale[:, None, :])
        step = _newton_step(slope, (curvature + curvature.mT) / 2)
        length = torch.linalg.vector_norm(step, dim=-1).clamp_min(1e-300)
        shortened = (radius[alive] / length).clamp(max=1)[:, None]
        trial = _inside(here + shortened * step * scale, chart)
        with torch.no_grad():
            better = error(trial) < value
        point[alive[better]] = trial[better]
        radius[alive] = torch.where(better, (2 * radius[alive]).clamp(max=1.0), radius[alive] / 4)
        alive = alive[(slope.abs().amax(-1) > 1e-12) & (radius[alive] > 1e-9)]
        if len(alive) == 0:
            break
    return point


# The grids, one channel at a time, in NumPy.


def _moments(exponents: Complex, residues: Complex, at: Complex) -> Complex:
    """Return Σ_t k[t] a^t at points a of any shape."""
    poles, total = np.exp(exponents), np.zeros(at.shape, complex)
    for block in np.array_split(np.arange(at.size), max(1, at.size // 4096)):
        points = at.ravel()[block]
        total.ravel()[block] = (1 / (1 - points[:, None] * poles)) @ residues
    return total


def _local_maxima(score: Real, count: int) -> tuple[npt.NDArray[np.intp], ...]:
    """Return the indices of the highest local maxima of a matrix, best first."""
    padded = np.pad(score, 1, constant_values=-np.inf)
    rows, columns = score.shape
    peak = score > 0
    for i in (0, 1, 2):
        for j in (0, 1, 2):
            peak &= score >= padded[i : i + rows, j : j + columns]
    where = np.nonzero(peak)
    best = np.argsort(-score[where])[:count]
    return tuple(index[best] for index in where)


def pair_grid(exponents: Complex, residues: Complex) -> Real:
    """Return (log decay, frequency) of the grid's best conjugate pairs, ``(G, 2)``, best first."""
    decay, frequency = -exponents.real, np.abs(exponents.imag)
    decays = np.exp(np.arange(math.log(SLOWEST_SHARE * decay.min()), math.log(SHARPEST), 0.14))
    offsets = np.concatenate([-OFFSETS[::-1], [0.0], OFFSETS])
    near = (frequency[:, None] + decay[:, None] * offsets).ravel()
    near = np.concatenate([near, decays / 2, math.pi - decays / 2, np.linspace(0, math.pi, 129)])
    frequencies = np.unique(near[(near > 0) & (near < math.pi)])
    # Neighbours closer than a hundredth of the smallest decay are the same point twice.
    apart = np.diff(frequencies, prepend=-1.0) > 0.01 * decay.min()
    frequencies = frequencies[apart]
    points: Complex = np.exp(-decays[:, None] + 1j * frequencies)
    g = _moments(exponents, residues, points)
    p, q = 1 / (1 - np.abs(points) ** 2), 1 / (1 - points**2)
    determinant = (2 * p * np.abs(q) * points.imag) ** 2
    score = 2 * (p * np.abs(g) ** 2 - (q.conj() * g * g).real) / determinant
    # Close to the real axis the formula cancels; two real poles cover it.
    score[np.abs(points.imag) < 1e-3 * np.minimum(decays, 1.0)[:, None] * np.abs(points)] = 0
    i, j = _local_maxima(score, MAX_CANDIDATES["pair"])
    return np.stack([np.log(decays[i]), frequencies[j]], 1)


def _two_real(first: Real, second: Real, moments: tuple[Real, Real]) -> Real:
    """Return the energy captured by every two real poles (0 where they are equal)."""
    a, b = first[:, None], second[None, :]
    g_a, g_b = moments[0][:, None], moments[1][None, :]
    p_a, p_b, q = 1 / (1 - a * a), 1 / (1 - b * b), 1 / (1 - a * b)
    numerator = p_b * g_a**2 - 2 * q * g_a * g_b + p_a * g_b**2
    determinant = p_a * p_b * (q * (a - b)) ** 2
    return np.divide(numerator, determinant, out=np.zeros_like(numerator), where=a != b)


def real_grids(exponents: Complex, residues: Complex) -> dict[str, Real]:
    """Return coordinates of the grid's best two real poles, by kind, each ``(G, 2)``."""
    low, high = math.log(SLOWEST_SHARE * -exponents.real.max()), math.log(SHARPEST)
    log_decays = np.linspace(low, high, NUM_REAL)
    poles = {sign: sign * np.exp(-np.exp(log_decays)) for sign in (1, -1)}
    moments = {sign: _moments(exponents, residues, poles[sign]).real for sign in (1, -1)}
    grids: dict[str, Real] = {}
    for kind, sign in (("both near 1", 1), ("both near -1", -1)):
        score = _two_real(poles[sign], poles[sign], (moments[sign], moments[sign]))
        # Equal poles, where the formula is 0/0, take the value of their neighbours.
        diagonal = np.arange(NUM_REAL - 1)
        score[diagonal, diagonal] = score[diagonal, diagonal + 1]
        score[~np.tri(NUM_REAL, dtype=bool)] = -np.inf
        i, j = _local_maxima(score, MAX_CANDIDATES[kind])
        half = np.maximum((log_decays[i] - log_decays[j]) / 2, 0.02)
        grids[kind] = np.stack([(log_decays[i] + log_decays[j]) / 2, half**2], 1)
    score = _two_real(poles[1], poles[-1], (moments[1], moments[-1]))
    i, j = _local_maxima(score, MAX_CANDIDATES["one near each"])
    grids["one near each"] = np.stack([log_decays[i], log_decays[j]], 1)
    return grids


@dataclass(frozen=True)
class Optima:
    """Every local optimum that the search polished.

    Attributes
    ----------
    channel, rank
        Whose, and its place among the grid's candidates of its kind, int64 ``(S,)``.
    kind
        Kind of the start, ``(S,)``; a search that starts at two real poles may end at a pair.
    exponents
        Of the two poles, complex ``(S, 2)``.
    error
        Relative H² error, ``(S,)``.
    """

    channel: Tensor
    rank: Tensor
    kind: list[str]
    exponents: Tensor
    error: Tensor

    @staticmethod
    def join(parts: list["Optima"]) -> "Optima":
        return Optima(
            torch.cat([part.channel for part in parts]),
            torch.cat([part.rank for part in parts]),
            [kind for part in parts for kind in part.kind],
            torch.cat([part.exponents for part in parts]),
            torch.cat([part.error for part in parts]),
        )

    def best(self, channel: int) -> int:
        """Return the index of a channel's best optimum."""
        own = torch.nonzero(self.channel == channel)[:, 0]
        return int(own[self.error[own].nan_to_num(torch.inf).argmin()])


def _polish_kind(
    bank: Bank, kind: str, points: Tensor, channel: Tensor, rank: Tensor
) -> tuple[Optima, Tensor]:
    """Polish the candidates of one kind; also return where they ended in their chart."""
    chart = {"pair": _pair, "one near each": _opposite_signs}.get(kind, _same_sign)
    turn = 1j * math.pi if kind == "both near -1" else 0
    turned = Bank(bank.exponents + turn, bank.residues)
    ends: list[Tensor] = []
    exponents: list[Tensor] = []
    errors: list[Tensor] = []
    for block in torch.arange(len(points)).split(2048):
        own = turned.select(channel[block])
        ends.append(polish(own, chart, points[block]))
        first, second = chart(ends[-1])
        exponents.append(torch.stack([first, second], -1) + turn)
        errors.append(relative_error(own, first, second))
    optima = Optima(channel, rank, [kind] * len(rank), torch.cat(exponents), torch.cat(errors))
    return optima, torch.cat(ends)


def search(bank: Bank) -> Optima:
    """Search every channel of a bank for its best systems of order 2."""
    starts: dict[str, list[Tensor]] = {kind: [] for kind in MAX_CANDIDATES}
    for exponents, residues in zip(bank.exponents.numpy(), bank.residues.numpy(), strict=True):
        used = residues != 0
        grids = real_grids(exponents[used], residues[used])
        grids["pair"] = pair_grid(exponents[used], residues[used])
        for kind, points in grids.items():
            starts[kind].append(torch.from_numpy(points))
    found: list[Optima] = []
    for kind, points in starts.items():
        counts = torch.tensor([len(part) for part in points])
        channel = torch.repeat_interleave(torch.arange(len(points)), counts)
        rank = torch.cat([torch.arange(len(part)) for part in points])
        optima, ends = _polish_kind(bank, kind, torch.cat(points), channel, rank)
        found.append(optima)
        if kind != "pair":
            continue
        # A pair that ended near the real axis may have been on its way to two real poles.
        frequency = torch.remainder(ends[:, 1] + math.pi, 2 * math.pi) - math.pi
        for name, distance in (
            ("both near 1", frequency.abs()),
            ("both near -1", math.pi - frequency.abs()),
        ):
            angle = torch.atan2(distance, ends[:, 0].exp())
            near = angle < 0.3
            log_modulus = ends[:, 0] - torch.log(torch.cos(angle))
            split = torch.stack([log_modulus, torch.full_like(angle, 1e-3)], -1)[near]
            found.append(_polish_kind(bank, name, split, channel[near], rank[near])[0])
    return Optima.join(found)
