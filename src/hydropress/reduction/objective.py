r"""What the optimiser minimises: a squared error that is quadratic in the reduced kernel.

Whatever the metric, everything the optimiser needs is made of *atoms*: for a mode with exponent s,

    c_j = Re(t^j e^{st}),   q_j = Re(i t^j e^{st}),   j = 0, 1,

their inner products with each other, and the residual moments E_j, for which
⟨e, Re(α t^j e^{st})⟩ = Re(α E_j) for every complex α, with e = k - k_r.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.reduction.iterate import Iterate
from hydropress.systems.modal import SISOSystem
from hydropress.systems.moments import exponential_moments

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
    full
        The systems k, batch shape ``(K,)``.
    energy
        ‖k‖², shape ``(K,)``.
    horizon
        Samples or time units; ``None`` for infinite.
    fits_feedthrough
        Whether D is an unknown (discrete time).
    """

    full: SISOSystem
    energy: Tensor
    horizon: float | None = None
    fits_feedthrough: bool = False

    def select(self, index: Tensor) -> "ClosedFormObjective":
        return replace(self, full=self.full[index], energy=self.energy[index])

    def _moments_of(
        self, exponents: Tensor, residues: Tensor, states: Tensor, at: Tensor, count: int
    ) -> Tensor:
        """Return Σ_t t^j k[t] e^{zt} of a bank at z = ``at`` ``(K, G)``: ``(K, G, count)``."""
        weighted = (residues * states)[:, None, :] / 2
        total = torch.zeros(*at.shape, count, dtype=at.dtype, device=at.device)
        for s, weight in (
            (exponents, weighted),
            (exponents.conj(), weighted.conj()),
        ):
            moments = exponential_moments(
                at[:, :, None] + s[:, None, :], count, time=self.full.time, horizon=self.horizon
            )
            total = total + torch.stack([(weight * phi).sum(-1) for phi in moments], dim=-1)
        return total

    def _target_moments(self, at: Tensor, count: int) -> Tensor:
        full = self.full
        return self._moments_of(full.exponents, full.residues, full.states, at, count)

    def evaluate(self, iterate: Iterate) -> Evaluation:
        s = iterate.exponents
        residues, states = iterate.residues, iterate.states
        scale = self.energy
        target = self._target_moments(s, 3)
        first, second = s[:, :, None], s[:, None, :]
        options = {"time": self.full.time, "horizon": self.horizon}
        same = exponential_moments(first + second, 3, **options)  # type: ignore[arg-type]
        mixed = exponential_moments(first + second.conj(), 3, **options)  # type: ignore[arg-type]
        # Moments of the reduced kernel come from the same functions of the same sums.
        weight = (residues * states)[:, None, :] / 2
        reduced = torch.stack(
            [(weight * p + weight.conj() * q).sum(-1) for p, q in zip(same, mixed, strict=True)],
            dim=-1,
        )
        blocks = [interleave_products(p, q) for p, q in zip(same, mixed, strict=True)]
        upper = torch.cat([blocks[0], blocks[1]], dim=-1)
        lower = torch.cat([blocks[1], blocks[2]], dim=-1)
        gram = torch.cat([upper, lower], dim=-2).permute(0, 1, 3, 2, 4)
        moments = target - reduced
        D_cross = torch.zeros(*s.shape, 4, dtype=torch.float64, device=s.device)
        D_moment = torch.zeros_like(scale)
        cross_terms = (states * residues * (2 * target - reduced)[..., 0]).real.sum(-1)
        error = scale - cross_terms
        if self.fits_feedthrough:
            D_cross[..., 0] = 1
            start = (self.full.residues * self.full.states).real.sum(-1)
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
        parts = torch.arange(self.num_systems, device=exponents.device).split(SYSTEMS_AT_ONCE)
        target = torch.cat(
            [self.select(part)._target_moments(exponents[part], 1)[..., 0] for part in parts]
        )
        reduced = self._moments_of(
            iterate.exponents, iterate.residues, iterate.states, exponents, 1
        )[..., 0]
        return (target - reduced - iterate.D[:, None]) / self.energy[:, None]

    def _products(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ_0(s + z) and φ_0(s + z̄), halved and per ‖k‖²."""
        options = {"time": self.full.time, "horizon": self.horizon}
        (same,) = exponential_moments(first + second, 1, **options)  # type: ignore[arg-type]
        (mixed,) = exponential_moments(first + second.conj(), 1, **options)  # type: ignore[arg-type]
        scale = 2 * self.energy.reshape(-1, *(1,) * (same.ndim - 1))
        return same / scale, mixed / scale

    def pair_products(self, exponents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        same, mixed = self._products(exponents, exponents)
        return (same + mixed).real, (mixed - same).imag, (mixed - same).real

    def real_products(self, exponents: Tensor) -> Tensor:
        same, mixed = self._products(exponents[:, :, None], exponents[:, None, :])
        return (same + mixed).real
