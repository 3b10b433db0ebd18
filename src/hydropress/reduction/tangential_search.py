"""Where the next states of a MIMO reduction go: modes of rank one that take most energy."""

import math

import torch
from torch import Tensor

from hydropress.reduction.search import ladder_of_exponents
from hydropress.reduction.tangential_descent import Directions
from hydropress.systems.gramians import all_mimo_modes
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.moments import Time, exponential_moments

CONTENDERS, POWER_STEPS = 12, 4
"""Candidates of which the best rank-one residue is worked out, by estimates of what it explains."""


class TangentialSearch:
    """Where the residual of one system has most energy that a mode of rank one could take."""

    def __init__(self, full: MIMOSystem, horizon: float | None) -> None:
        self._full, self._horizon = full, horizon
        pairs, reals = ladder_of_exponents(full.reshape(1), horizon)
        self._pairs, self._reals = pairs[0], reals[0]

    def _moments(self, residual: tuple[Tensor, Tensor, Tensor], at: Tensor) -> Tensor:
        """Return φ_0(z̄ + s) per root of a mode's own energy, ``(G, modes)``."""
        time, horizon = self._full.time, self._horizon
        (phi,) = exponential_moments(
            at.conj()[:, None] + residual[0], 1, time=time, horizon=horizon
        )
        own = torch.complex(2 * at.real, torch.zeros_like(at.real))
        (norm,) = exponential_moments(own, 1, time=time, horizon=horizon)
        return phi * norm.real.rsqrt()[:, None]

    def _ranked(
        self, residual: tuple[Tensor, Tensor, Tensor], candidates: Tensor, count: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the best candidates with their b, the best first, no two of them neighbours.

        A pair counts as one mode: what its two members share makes no difference here.
        """
        _, B, C = residual
        phi = self._moments(residual, candidates)
        score = _largest_singular_values(phi, B, C)
        places: list[int] = []
        log_decay = torch.log(-candidates.real)
        for _ in range(min(CONTENDERS, len(score))):
            place = int(score.argmax())
            if float(score[place]) < 0:
                break
            places.append(place)
            width = torch.maximum(-candidates.real, -candidates.real[place])
            near = (candidates.imag - candidates.imag[place]).abs() < width
            near &= (log_decay - log_decay[place]).abs() < 1.0
            score = score.masked_fill(near, -1.0)
        found: list[tuple[float, Tensor, Tensor]] = []
        for place in places:
            matrix = (C * phi[place]) @ B
            if bool(candidates[place].imag == 0) or bool(candidates[place].imag == math.pi):
                matrix = matrix.real.to(matrix.dtype)
            # R b̄ is largest for b the conjugate of the first right singular vector.
            _, sigma, Vh = torch.linalg.svd(matrix, full_matrices=False)
            found.append((float(sigma[0]), candidates[place], Vh[0]))
        found.sort(key=lambda entry: -entry[0])
        return [(pole, b) for _, pole, b in found[:count]]

    def proposals(self, base: Directions | None, outputs: Tensor | None) -> list[Directions]:
        """Return the base with two more states: pairs, and the best couple of real poles."""
        residual = self._residual(base, outputs)
        pairs = self._ranked(residual, self._pairs, CONTENDERS)
        reals = self._ranked(residual, self._reals, 2)
        found = [_extended(base, [pair], 1) for pair in pairs]
        return found + ([_extended(base, reals, 0)] if len(reals) == 2 else [])

    def odd_proposals(self, base: Directions | None, outputs: Tensor | None) -> list[Directions]:
        """Return the base with one more real pole."""
        residual = self._residual(base, outputs)
        return [_extended(base, [real], 0) for real in self._ranked(residual, self._reals, 2)]

    def _residual(
        self, base: Directions | None, outputs: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        exponents, B, C = all_mimo_modes(self._full)
        if base is None or outputs is None:
            return exponents, B, C
        z, e = base.all_modes()
        taken = -outputs[:, : len(z)]
        return torch.cat([exponents, z]), torch.cat([B, e]), torch.cat([C, taken], -1)


def _largest_singular_values(phi: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Estimate those of C diag(φ_g) B for every g from below, by power iteration, ``(G,)``.

    The sum of all squared singular values is no substitute: a mode of rank one takes but one.
    """
    sizes = torch.linalg.vector_norm(B, dim=1) * torch.linalg.vector_norm(C, dim=0)
    inputs = B[(phi.abs() * sizes).argmax(1)].conj()
    value = phi.new_zeros(len(phi)).real
    for _ in range(POWER_STEPS):
        inputs = inputs / torch.linalg.vector_norm(inputs, dim=1, keepdim=True).clamp_min(1e-300)
        outputs = (inputs @ B.mT * phi) @ C.mT
        value = torch.linalg.vector_norm(outputs, dim=1)
        inputs = (outputs @ C.conj() * phi.conj()) @ B.conj()
    return value


def _extended(
    base: Directions | None, modes: list[tuple[Tensor, Tensor]], pairs: int
) -> Directions:
    """Add modes (z, e), ``pairs`` pairs or else real poles, to a reduced system."""
    z, e = (torch.stack(parts) for parts in zip(*modes, strict=True))
    new = Directions(torch.log(-z.real), z.imag, e, pairs)
    if base is None:
        return new
    parts = (base, new) if pairs == 0 else (new, base)
    return Directions(
        torch.cat([part.log_decay for part in parts]),
        torch.cat([part.frequency for part in parts]),
        torch.cat([part.B for part in parts]),
        base.num_pairs + pairs,
    )


def split_near_axis(directions: Directions, time: Time) -> Directions | None:
    """Replace the pair nearest the real axis by two real poles, if it is nearer than its decay."""
    pairs = directions.num_pairs
    if pairs == 0:
        return None
    decay = directions.log_decay.exp()
    frequency = directions.frequency.abs()
    axis = torch.zeros_like(frequency)
    if time == "discrete":
        frequency = torch.remainder(frequency, 2 * math.pi)
        frequency = torch.minimum(frequency, 2 * math.pi - frequency)
        axis = torch.where(frequency > math.pi / 2, math.pi, axis)
        frequency = torch.where(axis > 0, math.pi - frequency, frequency)
    ratio = (frequency[:pairs] / decay[:pairs]).tolist()
    nearest = min(range(pairs), key=ratio.__getitem__)
    if ratio[nearest] >= 1:
        return None
    kept = [place for place in range(len(decay)) if place != nearest]
    log_decay, b = directions.log_decay[nearest], directions.B[nearest]
    first = b.real.to(b.dtype)
    second = b.imag.to(b.dtype) if float(b.imag.abs().max()) > 0 else first
    return Directions(
        torch.cat([directions.log_decay[kept], torch.stack([log_decay - 0.5, log_decay + 0.5])]),
        torch.cat([directions.frequency[kept], axis[nearest].expand(2)]),
        torch.cat([directions.B[kept], torch.stack([first, second])]),
        pairs - 1,
    )
