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

from hydropress.reduction.compiled.bridge import bank_of, moments_of_bank, select_rows
from hydropress.reduction.compiled.moments import FullBank
from hydropress.reduction.iterate import Iterate
from hydropress.systems.modal import SISOSystem
from hydropress.systems.moments import (
    Exponentials,
    Time,
    exponential_moments,
    stacked_pair_moments,
)

SYSTEMS_AT_ONCE = 32
"""When all candidates of a bank are tried, so that what they need stays in the cache."""


PAIRS_AT_ONCE = 48_000
"""When an error is evaluated, for the same reason."""


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


def join_evaluations(parts: list[Evaluation]) -> Evaluation:
    """Concatenate along K."""
    names = [field.name for field in fields(Evaluation)]
    return Evaluation(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


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
    def target_moments(self, exponents: Tensor) -> Tensor:
        """Return E_0 of the target alone at candidate exponents, shape ``(K, G)`` in and out."""

    @abstractmethod
    def correlate(self, iterate: Iterate, exponents: Tensor, target: Tensor) -> Tensor:
        """Return the residual moment E_0 at candidate exponents, shape ``(K, G)`` in and out.

        Parameters
        ----------
        target
            What :meth:`target_moments` gives for these exponents.
        """

    @abstractmethod
    def pair_products(self, exponents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ⟨c, c⟩, ⟨c, q⟩ and ⟨q, q⟩ of each candidate, shapes ``(K, G)``."""

    @abstractmethod
    def real_products(self, exponents: Tensor) -> Tensor:
        """Return ⟨c, c'⟩ of every two real candidates, shape ``(K, R)`` to ``(K, R, R)``."""


def _weighted_sums(pairs: Tensor, weights: Tensor) -> Tensor:
    """Sum stacked pair moments ``(K, m, 2, n)`` over the modes of the first and their mirrors."""
    mirrored = torch.stack([weights, weights.conj()], 1)[:, None]
    return (pairs * mirrored).sum((-2, -1))


def atom_products(moments: list[Tensor], scale: Tensor) -> Tensor:
    """Arrange the moments of modes with each other as products of their atoms.

    Parameters
    ----------
    moments
        φ_0, φ_1, φ_2 of s + z and of s̄ + z side by side, complex, shape ``(K, m, 2, m)``, row z.
    scale
        Half the unit that the products come in, shape ``(K,)``.

    Returns
    -------
    Tensor
        Products of (c_0, q_0, c_1, q_1) of every two modes, shape ``(K, m, 4, m, 4)``.
    """
    zeroth, first, second = moments
    # By the index j of the row's and of the column's atom.
    by_index = torch.stack([zeroth, first, first, second], 2) * scale[:, None, None, None, None]
    same, mixed = by_index.unflatten(2, (2, 2)).movedim(3, -1).unbind(3)
    # A pair (c, q) of columns as c + iq: ⟨c, c'⟩ + i ⟨c, q'⟩ = (φ(s̄ + z) + conj φ(s + z)) / 2.
    same = same.conj()
    rows = torch.stack([mixed + same, (mixed - same) * 1j], 3).flatten(2, 3)
    return torch.view_as_real(rows).flatten(-2)


@dataclass(frozen=True)
class ClosedFormObjective(Objective):
    """The H² error of :mod:`hydropress.systems.norms`, infinite or finite horizon.

    Several reduced systems may be compared with one full system: ``rows`` says which each uses.

    Attributes
    ----------
    time
        ``discrete`` or ``continuous``.
    modes
        Exponents of the full systems, ``(S, n)``.
    weights
        m ρ / 2, complex128, shape ``(S, n)``.
    rows
        Index into the first axis of the above, shape ``(K,)``.
    energy
        ‖k‖², shape ``(K,)``.
    horizon
        Samples or time units; ``None`` for infinite.
    fits_feedthrough
        Whether D is an unknown (discrete time).
    bank
        The same for :mod:`hydropress.reduction.compiled`, which knows an infinite horizon and a
        given D only.
    """

    time: Time
    modes: Exponentials
    weights: Tensor
    rows: Tensor
    energy: Tensor
    horizon: float | None = None
    fits_feedthrough: bool = False
    bank: FullBank | None = None

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
        rows = torch.arange(len(energy), device=energy.device)
        bank = None
        if horizon is None and not fits_feedthrough:
            bank = bank_of(modes, weights, energy, full.time)
        return ClosedFormObjective(
            full.time, modes, weights, rows, energy, horizon, fits_feedthrough, bank
        )

    def without_bank(self) -> "ClosedFormObjective":
        """Return the same problem, to be solved by tensor operations."""
        return replace(self, bank=None)

    def select(self, index: Tensor | slice) -> "ClosedFormObjective":
        rows, energy, bank = self.rows[index], self.energy[index], self.bank
        if bank is not None:
            bank = select_rows(bank, rows, energy)
        return replace(self, rows=rows, energy=energy, bank=bank)

    def _pairs(self, first: Exponentials, second: Exponentials, count: int) -> list[Tensor]:
        return stacked_pair_moments(first, second, count, time=self.time, horizon=self.horizon)

    def evaluate(self, iterate: Iterate) -> Evaluation:
        slots = iterate.states.shape[1]
        rows = max(1, PAIRS_AT_ONCE // (slots * (self.weights.shape[1] + slots)))
        if self.num_systems <= rows:
            return self._evaluate(iterate)
        parts: list[Evaluation] = []
        for start in range(0, self.num_systems, rows):
            part = slice(start, start + rows)
            parts.append(self.select(part)._evaluate(iterate.select(part)))
        return join_evaluations(parts)

    def _evaluate(self, iterate: Iterate) -> Evaluation:
        full, own = self.weights.shape[1], Exponentials.of(iterate.exponents)
        modes = self.modes.select(self.rows)
        per, strength = 1 / self.energy, iterate.residues * iterate.states
        # The residual k - k_r is a system of all these modes.
        weights = torch.cat([self.weights[self.rows], -0.5 * strength], 1) * per[:, None]
        pairs = self._pairs(modes.join(own), own, 3)
        zeroth, first, second = (_weighted_sums(phi, weights) for phi in pairs)
        own_pairs = [phi[..., full:] for phi in pairs]
        # ‖k‖² - ‖k - k_r‖² = ⟨k_r, 2 (k - k_r) + k_r⟩.
        against = 2 * zeroth - _weighted_sums(own_pairs[0], weights[:, full:])
        error = 1 - (strength * against).real.sum(-1)
        D_moment = torch.zeros_like(per)
        D_cross = error.new_zeros(*strength.shape, 4)
        if self.fits_feedthrough:
            change = iterate.D * per
            start = 2 * weights.real.sum(-1)
            zeroth = zeroth - change[:, None]
            D_moment = start - change
            D_cross[..., 0] = per[:, None]
            error = error - iterate.D * (start + D_moment)
        return Evaluation(
            error,
            torch.stack([zeroth, first, second], -1),
            atom_products(own_pairs, per / 2),
            D_moment,
            per,
            D_cross,
        )

    def target_moments(self, exponents: Tensor) -> Tensor:
        if self.bank is not None:
            return moments_of_bank(self.bank, exponents) / self.energy[:, None]
        parts: list[Tensor] = []
        # In parts that stay in the cache: the sums run over all modes of all candidates.
        for start in range(0, self.num_systems, SYSTEMS_AT_ONCE):
            part = slice(start, start + SYSTEMS_AT_ONCE)
            rows = self.rows[part]
            own = Exponentials.of(exponents[part])
            (phi,) = self._pairs(self.modes.select(rows), own, 1)
            parts.append(_weighted_sums(phi, self.weights[rows]))
        return torch.cat(parts) / self.energy[:, None]

    def correlate(self, iterate: Iterate, exponents: Tensor, target: Tensor) -> Tensor:
        weights = iterate.residues * iterate.states / 2
        own = Exponentials.of(iterate.exponents)
        if self.bank is not None:
            taken = moments_of_bank(bank_of(own, weights, self.energy, self.time), exponents)
        else:
            (phi,) = self._pairs(own, Exponentials.of(exponents), 1)
            taken = _weighted_sums(phi, weights)
        return target - (taken + iterate.D[:, None]) / self.energy[:, None]

    def pair_products(self, exponents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        options = {"time": self.time, "horizon": self.horizon}
        (same,) = exponential_moments(2 * exponents, 1, **options)  # type: ignore[arg-type]
        doubled = torch.complex(2 * exponents.real, torch.zeros_like(exponents.real))
        (mixed,) = exponential_moments(doubled, 1, **options)  # type: ignore[arg-type]
        scale = 2 * self.energy[:, None]
        same, mixed = same / scale, mixed / scale
        return (same + mixed).real, -same.imag, (mixed - same).real

    def real_products(self, exponents: Tensor) -> Tensor:
        if self.horizon is None:
            return _real_products(exponents, self.time) / self.energy[:, None, None]
        sums = exponents[:, :, None] + exponents[:, None, :]
        (phi,) = exponential_moments(sums, 1, time=self.time, horizon=self.horizon)
        return phi.real / self.energy[:, None, None]


def _real_products(exponents: Tensor, time: Time) -> Tensor:
    """Return φ_0 of the sum of every two real poles, infinite horizon; half the time of complex."""
    decay = -exponents.real
    sums = decay[:, :, None] + decay[:, None, :]
    if time == "continuous":
        return 1 / sums
    alternating = exponents.imag > 0
    opposite = alternating[:, :, None] != alternating[:, None, :]
    return 1 / torch.where(opposite, 1 + torch.exp(-sums), -torch.expm1(-sums))
