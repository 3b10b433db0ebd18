r"""H∞ norms, by the level sets of the gain.

The gain σ_max(G) crosses a level γ at those points of the stability boundary that are eigenvalues
of a Hamiltonian matrix [boyd1989], and where it lies above γ, it does so between two neighbouring
ones.  Halfway between them a better γ is found, at a quadratic rate, until no crossing is left
[bruinsma1990].

The matrix of one system is formed in a plane w in which the boundary is the imaginary axis and
the point where the sampled gain is least, p_0, is at infinity, where the feedthrough is G(p_0):

    discrete:    z = -p_0 (1 + w) / (1 - w)      continuous:  s = p_0 + 1/w,  or s = w if p_0 = ∞

so I - Dᴴ D / γ² is as far from singular as it can be, and poles next to the boundary keep their
decay, which is formed from their exponents.  Gains are evaluated at the original system.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.systems.assembly import difference, without_silent_modes
from hydropress.systems.eigen import eigenvalues
from hydropress.systems.gramians import all_mimo_modes
from hydropress.systems.modal import MIMOSystem, ModalSystem
from hydropress.systems.moments import Time, expm1, wrap_phase
from hydropress.systems.norms import require_comparable

_TOLERANCE = 1e-12
"""No gain is larger than (1 + 2 · 10⁻¹²) times the norm that is returned, up to rounding."""

_MOST_LEVELS = 60
"""Three to six are usual."""

_NEAR_THE_AXIS = 1e-4
"""Eigenvalues with |Re| below this share of their modulus are taken for crossings: those that are
none cost an evaluation of the gain, one that were missed could cost the maximum."""

_WIDTH, _SHRINKINGS = 0.5, 22
"""How far from a maximum it is looked for, in distances to the nearest pole, and how often the
distance is halved: in the end no gain is missed by more than rounding."""

_OFFSETS = (0.25, 0.5, 1.0, 2.0)
"""Samples of the gain on both sides of a pole, in multiples of its decay."""

_ENTRIES_AT_ONCE = 2**21
"""Of intermediate tensors: 32 MB in complex128."""


@dataclass(frozen=True)
class _Bank:
    """A flat bank with both members of every pair; ``(K, n)``, ``(K, n, M)``, ``(K, P, n)``."""

    exponents: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    time: Time
    delay: int

    def select(self, index: Tensor) -> "_Bank":
        return replace(
            self,
            exponents=self.exponents[index],
            B=self.B[index],
            C=self.C[index],
            D=self.D[index],
        )

    def gains(self, frequency: Tensor) -> Tensor:
        """Return σ_max(G) at so many radians a sample or time unit, ``(K, F)``; ∞ is legal."""
        P, M = self.D.shape[-2:]
        at_once = max(1, _ENTRIES_AT_ONCE // (len(self.D) * (self.exponents.shape[-1] + P * M)))
        parts = [_largest_singular(self.responses(some)) for some in frequency.split(at_once, 1)]
        return torch.cat(parts, -1)

    def responses(self, frequency: Tensor) -> Tensor:
        """Return G, ``(K, F, P, M)``."""
        if self.time == "discrete":
            point = torch.complex(torch.zeros_like(frequency), frequency)
            terms = -1 / expm1(wrap_phase(self.exponents[:, None] - point[..., None]))
            terms = terms * torch.exp(-point)[..., None] if self.delay else terms
        else:
            infinite = torch.isinf(frequency)[..., None]
            finite = torch.where(infinite[..., 0], 0.0, frequency)
            point = torch.complex(torch.zeros_like(finite), finite)
            terms = 1 / (point[..., None] - self.exponents[:, None])
            terms = torch.where(infinite, 0.0, terms)
        return (terms[..., None, :] * self.C[:, None]) @ self.B[:, None] + self.D[:, None]


def _largest_singular(matrices: Tensor) -> Tensor:
    if 1 in matrices.shape[-2:]:
        return torch.linalg.vector_norm(matrices, dim=(-2, -1))
    return torch.linalg.matrix_norm(matrices, ord=2)


@dataclass(frozen=True)
class _Moved:
    """A bank in the plane w, in a unit of its own; A is diagonal, the rest as in :class:`_Bank`."""

    poles: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    unit: Tensor
    away: Tensor
    time: Time

    @staticmethod
    def of(bank: _Bank, away: Tensor) -> "_Moved":
        """Move the points of frequency ``away``, ``(K,)``, to infinity."""
        D = bank.responses(away[:, None])[:, 0]
        infinite = torch.isinf(away)[:, None]
        origin = torch.where(infinite, 0.0, away[:, None])
        origin = torch.complex(torch.zeros_like(origin), origin)
        shifted = bank.exponents - origin
        if bank.time == "discrete":
            # Of a pole a = -a' p_0 and q = 1 + a' it is (a' - 1) / q, its residue times 2 a' / q²,
            # or with a delay times -2 / (p_0 q²).
            shifted = wrap_phase(shifted)
            q, turned = -expm1(shifted), -torch.exp(shifted)
            square = q.real**2 + q.imag**2
            poles = torch.complex(torch.expm1(2 * shifted.real), 2 * turned.imag) / square
            factors = 2 * (-torch.exp(-origin) if bank.delay else turned) / q**2
        else:
            poles = torch.where(infinite, bank.exponents, 1 / shifted)
            factors = torch.where(infinite, torch.ones_like(shifted), -1 / shifted**2)
        unit = poles.abs().log().mean(-1).exp()
        C = bank.C * (factors / unit[:, None])[:, None]
        sizes = torch.linalg.vector_norm(C, dim=-2) / torch.linalg.vector_norm(bank.B, dim=-1)
        balance = torch.where((sizes > 0) & torch.isfinite(sizes), sizes, 1.0).sqrt()
        B, C = bank.B * balance[..., None], C / balance[:, None]
        return _Moved(poles / unit[:, None], B, C, D, unit, away, bank.time)

    def select(self, index: Tensor) -> "_Moved":
        return replace(
            self,
            poles=self.poles[index],
            B=self.B[index],
            C=self.C[index],
            D=self.D[index],
            unit=self.unit[index],
            away=self.away[index],
        )

    def crossings(self, level: Tensor) -> Tensor:
        """Return the angles 2 atan(Im w / unit) at which the gain crosses a level.

        Parameters
        ----------
        level
            Above the gain at infinity, shape ``(K,)``.

        Returns
        -------
        Tensor
            Shape ``(K, 2n)``, ascending; infinite where there are fewer.
        """
        root = level.sqrt()[:, None, None]
        B, C, D = self.B / root, self.C / root, self.D / root**2
        inputs = torch.eye(D.shape[-1], dtype=D.dtype, device=D.device) - D.mH @ D
        outputs = torch.eye(D.shape[-2], dtype=D.dtype, device=D.device) - D @ D.mH
        direct = torch.linalg.solve(inputs, B.mH)
        A = torch.diag_embed(self.poles) + direct.mH @ (D.mH @ C)
        lower = -C.mH @ torch.linalg.solve(outputs, C)
        matrix = torch.cat([torch.cat([A, B @ direct], -1), torch.cat([lower, -A.mH], -1)], -2)
        values = eigenvalues(_graded(matrix, self.poles))
        crossing = values.real.abs() <= _NEAR_THE_AXIS * values.abs()
        return torch.where(crossing, 2 * torch.atan(values.imag), math.inf).sort(-1).values

    def frequency(self, angles: Tensor) -> Tensor:
        """Return the frequencies of points of the plane w."""
        place = torch.tan(angles / 2) * self.unit[:, None]
        if self.time == "discrete":
            return 2 * torch.atan(place) + self.away[:, None] - math.pi
        return torch.where(torch.isinf(self.away)[:, None], place, self.away[:, None] - 1 / place)

    def angles(self, frequency: Tensor) -> Tensor:
        """Undo :meth:`frequency`."""
        if self.time == "discrete":
            place = torch.tan((frequency - self.away[:, None] + math.pi) / 2)
        else:
            infinite = torch.isinf(self.away)[:, None]
            place = torch.where(infinite, frequency, 1 / (self.away[:, None] - frequency))
        return 2 * torch.atan(place / self.unit[:, None])


def _graded(matrix: Tensor, poles: Tensor) -> Tensor:
    """Put states of fast poles first, each beside its adjoint.

    Reduced from large to small the small eigenvalues keep their digits.
    """
    order = torch.argsort(poles.abs(), dim=-1, descending=True)
    place = torch.stack([order, order + poles.shape[-1]], -1).flatten(-2)
    rows = matrix.gather(-2, place[..., :, None].expand(matrix.shape))
    return rows.gather(-1, place[..., None, :].expand(matrix.shape))


def hinf_norm(system: ModalSystem) -> Tensor:
    r"""Return the H∞ norm, the largest gain at any frequency: sup σ_max(G), D included.

    It is the largest ratio of the energies of output and input, ‖y‖₂ / ‖u‖₂.

    Returns
    -------
    Tensor
        float64, shape ``(...)``.  Differentiable: the gain at the frequency of its maximum.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay.

    Notes
    -----
    The iteration of [bruinsma1990] with Hamiltonian matrices of twice the order (see the head of
    this module), whose answer no frequency exceeds up to rounding: by less than 10⁻⁹ of it in
    tests with poles nine decades apart.  A bank of 256 channels with 64 states takes some seconds.
    """
    system.require_stable()
    if 0 in system.batch_shape:
        return system.D.new_zeros(system.batch_shape)
    flat = system.reshape(-1)
    exponents, B, C = all_mimo_modes(without_silent_modes(flat))
    D = flat.D if isinstance(flat, MIMOSystem) else flat.D[:, None, None]
    bank = _Bank(exponents, B, C, D.to(torch.complex128), flat.time, flat.delay)
    at_once = max(1, _ENTRIES_AT_ONCE // max(1, 16 * exponents.shape[-1] ** 2))
    gains: list[Tensor] = []
    for part in torch.arange(len(D), device=D.device).split(at_once):
        some = bank.select(part)
        with torch.no_grad():
            frequency = _peaks(some)
        gains.append(some.gains(frequency[:, None])[:, 0])
    return torch.cat(gains).reshape(system.batch_shape)


def _peaks(bank: _Bank) -> Tensor:
    """Return a frequency of the largest gain, ``(K,)``."""
    samples = _samples(bank)
    gains = bank.gains(samples)
    best, place = gains.max(-1)
    frequency = samples.gather(-1, place[:, None])[:, 0]
    away = samples.gather(-1, gains.argmin(-1)[:, None])[:, 0]
    moved = _Moved.of(bank, away)
    index = torch.nonzero(best > 0)[:, 0]
    for _ in range(_MOST_LEVELS if bank.exponents.shape[-1] else 0):
        if len(index) == 0:
            break
        level = best[index] * (1 + 2 * _TOLERANCE)
        some = moved.select(index)
        # The best point, a hair below the level, divides an interval if the gain is a local
        # minimum there: of the two crossings beside it rounding may leave nothing.
        points = torch.cat([some.crossings(level), some.angles(frequency[index, None])], -1)
        points = points.sort(-1).values
        points = points[:, : int(torch.isfinite(points).sum(-1).max())]
        halfway = (points[:, 1:] + points[:, :-1]) / 2
        if halfway.shape[-1] == 0:
            break
        halfway = torch.where(torch.isfinite(halfway), halfway, points[:, :1])
        candidates = some.frequency(halfway)
        found, place = bank.select(index).gains(candidates).max(-1)
        better = found > level
        chosen = candidates.gather(-1, place[:, None])[:, 0]
        index = index[better]
        best[index], frequency[index] = found[better], chosen[better]
    return _polished(bank, frequency)


def _samples(bank: _Bank) -> Tensor:
    """Return the ends of the frequency axis and frequencies beside every pole, ``(K, F)``."""
    decay, center = -bank.exponents.real, bank.exponents.imag
    last = math.pi if bank.time == "discrete" else math.inf
    ends = bank.D.real.new_tensor([0, last]).expand(len(bank.D), 2)
    beside = [center + side * offset * decay for offset in _OFFSETS for side in (-1, 1)]
    samples = torch.cat([center, bank.exponents.abs(), ends, *beside], -1)
    # Past π the point sent to infinity would leave the others on one side of it.
    return samples.clamp(-last, last)


def _polished(bank: _Bank, frequency: Tensor) -> Tensor:
    """Move frequencies to the local maxima next to them.

    Of poles that lie many decades apart rounding leaves the crossings of a level some 10⁻⁴ of the
    distance from a peak to its pole.
    """
    finite = torch.where(torch.isinf(frequency), 0.0, frequency)
    point = torch.complex(torch.zeros_like(finite), finite)
    distance = bank.exponents - point[:, None]
    distance = wrap_phase(distance) if bank.time == "discrete" else distance
    width = _WIDTH * distance.abs().amin(-1) if distance.shape[-1] else torch.zeros_like(frequency)
    steps = torch.linspace(-1, 1, 9, dtype=torch.float64, device=frequency.device)
    for shrinking in range(_SHRINKINGS):
        tried = frequency[:, None] + width[:, None] * 0.5**shrinking * steps
        place = bank.gains(tried).argmax(-1)
        frequency = tried.gather(-1, place[:, None])[:, 0]
    return frequency


def hinf_error(full: ModalSystem, reduced: ModalSystem) -> Tensor:
    """Return ‖G - G_r‖ in H∞, D included, of systems that :func:`h2_error` compares."""
    require_comparable(full, reduced, None)
    return hinf_norm(difference(full, reduced))
