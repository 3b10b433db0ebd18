r"""What the optimiser minimises: a squared error that is quadratic in the reduced kernel.

Whatever the metric, everything the optimiser needs is made of *atoms*: for a mode with exponent s,

    c_j = Re(t^j e^{st}),   q_j = Re(i t^j e^{st}),   j = 0, 1,

their inner products with each other, and the residual moments E_j, for which
⟨e, Re(α t^j e^{st})⟩ = Re(α E_j) for every complex α, with e = k - k_r.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from hydropress.reduction.iterate import Iterate
from hydropress.systems.modal import SISOSystem
from hydropress.systems.moments import Exponentials, Time, exponential_moments, pair_moments

SYSTEMS_AT_ONCE = 32
"""When all candidates of a bank are tried, so that what they need stays in the cache."""


@dataclass(frozen=True)
class Evaluation:
    """An objective at an iterate.

    Attributes
    ----------
    error
        ‖k - k_r‖² / ‖k‖² in the objective's metric, shape ``(K,)``.
    moments
        E_0, E_1, E_2 at the iterate's modes, complex128, shape ``(K, m, 3)``, per ‖k‖².
    gram
        Inner products of the atoms (c_0, q_0, c_1, q_1) of every mode, per ‖k‖², shape
        ``(K, m, 4, m, 4)``.
    D_moment, D_gram, D_cross
        Inner products of the feedthrough's atom δ[t] with the residual ``(K,)``, itself ``(K,)``
        and the modes' atoms ``(K, m, 4)``.
    """

    error: Tensor
    moments: Tensor
    gram: Tensor
    D_moment: Tensor
    D_gram: Tensor
    D_cross: Tensor

    def select(self, index: Tensor) -> "Evaluation":
        """Return those of an index or a mask."""
        return Evaluation(*(getattr(self, field.name)[index] for field in fields(self)))

    def where(self, condition: Tensor, other: "Evaluation") -> "Evaluation":
        """Return ``self`` where the condition of shape ``(K,)`` holds, else ``other``."""

        def pick(first: Tensor, second: Tensor) -> Tensor:
            return torch.where(condition.reshape(-1, *(1,) * (first.ndim - 1)), first, second)

        names = [field.name for field in fields(self)]
        return Evaluation(*(pick(getattr(self, name), getattr(other, name)) for name in names))


class Objective(ABC):
    """A metric and a target, for K systems at once."""

    energy: Tensor
    """‖k‖² in the unweighted H² norm, the scale of the energy penalty, shape ``(K,)``."""
    horizon: float | None = None
    """Samples or time units over which the energies of modes count; ``None`` for infinite."""
    fits_feedthrough: bool

    @property
    def num_systems(self) -> int:
        return len(self.energy)

    @abstractmethod
    def select(self, index: Tensor) -> "Objective":
        """Return the objective of the systems of an index (repetitions allowed) or a mask."""

    @abstractmethod
    def evaluate(self, iterate: Iterate) -> Evaluation:
        """Return error, moments and Gram matrix at an iterate of the same K."""

    @abstractmethod
    def correlate(self, iterate: Iterate, exponents: Tensor) -> Tensor:
        """Return the residual moment E_0 at candidate exponents, shape ``(K, G)`` in and out."""

    @abstractmethod
    def pair_products(self, exponents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ⟨c, c⟩, ⟨c, q⟩ and ⟨q, q⟩ of each candidate, shapes ``(K, G)``."""

    @abstractmethod
    def real_products(self, exponents: Tensor) -> Tensor:
        """Return ⟨c, c'⟩ of every two real candidates, shape ``(K, R)`` to ``(K, R, R)``."""


def interleave_products(same: Tensor, mixed: Tensor) -> Tensor:
    """Arrange φ(s + z), φ(s + z̄) as the 2 x 2 products of (c, q) with (c', q')."""
    cc = (same + mixed).real
    cq = (mixed - same).imag
    qc = -(same + mixed).imag
    qq = (mixed - same).real
    rows = [torch.stack([cc, cq], -1), torch.stack([qc, qq], -1)]
    return torch.stack(rows, -2) / 2


@dataclass(frozen=True)
class ClosedFormObjective(Objective):
    """The H² error of :mod:`hydropress.systems.norms`, infinite or finite horizon.

    Attributes
    ----------
    time
        ``discrete`` or ``continuous``.
    modes
        Exponents of the full systems, ``(K, n)``.
    weights
        m ρ / 2, complex128, shape ``(K, n)``.
    energy
        ‖k‖², shape ``(K,)``.
    horizon
        Samples or time units; ``None`` for infinite.
    fits_feedthrough
        Whether D is an unknown (discrete time).
    """

    time: Time
    modes: Exponentials
    weights: Tensor
    energy: Tensor
    horizon: float | None = None
    fits_feedthrough: bool = False

    @staticmethod
    def of(
        full: SISOSystem,
        energy: Tensor,
        horizon: float | None = None,
        *,
        fits_feedthrough: bool = False,
    ) -> "ClosedFormObjective":
        """Pose the problem of a bank."""
        modes = Exponentials.of(full.exponents)
        weights = full.residues * full.states / 2
        return ClosedFormObjective(full.time, modes, weights, energy, horizon, fits_feedthrough)

    def select(self, index: Tensor) -> "ClosedFormObjective":
        return replace(
            self,
            modes=self.modes.select(index),
            weights=self.weights[index],
            energy=self.energy[index],
        )

    def _pairs(
        self, first: Exponentials, second: Exponentials, count: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        return pair_moments(first, second, count, time=self.time, horizon=self.horizon)

    def _moments_of(
        self, modes: Exponentials, weights: Tensor, at: Exponentials, count: int
    ) -> Tensor:
        """Return Σ_t t^j k[t] e^{zt} of ``(K, n)`` modes at ``(K, G)`` z: ``(K, G, count)``."""
        same, mixed = self._pairs(modes, at, count)
        row, mirrored = weights[:, None, :], weights.conj()[:, None, :]
        return torch.cat(
            [row @ p + mirrored @ q for p, q in zip(same, mixed, strict=True)], dim=1
        ).mT

    def evaluate(self, iterate: Iterate) -> Evaluation:
        residues, states = iterate.residues, iterate.states
        scale = self.energy
        own = Exponentials.of(iterate.exponents)
        target = self._moments_of(self.modes, self.weights, own, 3)
        same, mixed = self._pairs(own, own, 3)
        # Moments of the reduced kernel come from the same functions of the same sums.
        weight = (residues * states / 2)[:, None, :]
        reduced = torch.cat(
            [weight @ p + weight.conj() @ q for p, q in zip(same, mixed, strict=True)], dim=1
        ).mT
        blocks = [interleave_products(p, q.mT) for p, q in zip(same, mixed, strict=True)]
        upper = torch.cat([blocks[0], blocks[1]], dim=-1)
        lower = torch.cat([blocks[1], blocks[2]], dim=-1)
        gram = torch.cat([upper, lower], dim=-2).permute(0, 1, 3, 2, 4)
        moments = target - reduced
        D_cross = torch.zeros(*states.shape, 4, dtype=torch.float64, device=states.device)
        D_moment = torch.zeros_like(scale)
        cross_terms = (states * residues * (2 * target - reduced)[..., 0]).real.sum(-1)
        error = scale - cross_terms
        if self.fits_feedthrough:
            D_cross[..., 0] = 1
            start = 2 * self.weights.real.sum(-1)
            start_reduced = (residues * states).real.sum(-1)
            moments = moments.clone()
            moments[..., 0] = moments[..., 0] - iterate.D[:, None]
            D_moment = start - start_reduced - iterate.D
            error = error - 2 * iterate.D * (start - start_reduced) + iterate.D**2
        per = 1 / scale
        return Evaluation(
            error * per,
            moments * per[:, None, None],
            gram * per[:, None, None, None, None],
            D_moment * per,
            per,
            D_cross * per[:, None, None],
        )

    def correlate(self, iterate: Iterate, exponents: Tensor) -> Tensor:
        # In parts that stay in the cache: the sums run over all poles of all candidates.
        parts: list[Tensor] = []
        own = Exponentials.of(iterate.exponents)
        weights = iterate.residues * iterate.states / 2
        for start in range(0, self.num_systems, SYSTEMS_AT_ONCE):
            part = slice(start, start + SYSTEMS_AT_ONCE)
            at = Exponentials.of(exponents[part])
            target = self._moments_of(self.modes.select(part), self.weights[part], at, 1)
            reduced = self._moments_of(own.select(part), weights[part], at, 1)
            parts.append((target - reduced)[..., 0])
        return (torch.cat(parts) - iterate.D[:, None]) / self.energy[:, None]

    def pair_products(self, exponents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        options = {"time": self.time, "horizon": self.horizon}
        (same,) = exponential_moments(2 * exponents, 1, **options)  # type: ignore[arg-type]
        doubled = torch.complex(2 * exponents.real, torch.zeros_like(exponents.real))
        (mixed,) = exponential_moments(doubled, 1, **options)  # type: ignore[arg-type]
        scale = 2 * self.energy[:, None]
        same, mixed = same / scale, mixed / scale
        return (same + mixed).real, -same.imag, (mixed - same).real

    def real_products(self, exponents: Tensor) -> Tensor:
        modes = Exponentials.of(exponents)
        (same,), (mixed,) = self._pairs(modes, modes, 1)
        return (same + mixed).real / (2 * self.energy[:, None, None])
