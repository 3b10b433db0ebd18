"""Between scalar transfer functions as ratios of polynomials and their modes, in NumPy.

Both ways in the variable of the textbooks, z or s, for G(z) = D + C (zI - A)⁻¹ B.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hydropress.errors import InvalidArgumentError
from hydropress.systems.checks import REAL_TOLERANCE, finite_numbers, finite_reals, is_real
from hydropress.systems.state_space import balance

Array = NDArray[Any]

_CANCELLED = 1e-12
"""A leading coefficient is rounding if its terms cancel to this share of their sizes."""

_UNSEEN = 1e-14
"""It counts as zero as well if its share of G stays below this part of the largest gain."""

_FACTORED = 1e-6
"""Share of the largest gain up to which the product of zeros and poles may differ from G."""


class ZerosPolesGain(NamedTuple):
    """G(z) = k Π (z - z_j) / Π (z - p_i): zeros and poles complex128, both members of a pair."""

    zeros: Array
    poles: Array
    gain: float

    def at(self, points: Array) -> Array:
        """Return G at points ``(K,)``, factor by factor, so that neither product overflows."""
        factors = np.ones((len(points), max(len(self.zeros), len(self.poles))), dtype=complex)
        factors[:, : len(self.zeros)] = points[:, None] - self.zeros
        factors[:, : len(self.poles)] /= points[:, None] - self.poles
        return self.gain * np.prod(factors, axis=1)


def factorize(numerator: Any, denominator: Any) -> ZerosPolesGain:
    """Return zeros, poles and gain of a ratio of real polynomials, highest power first.

    Raises
    ------
    InvalidArgumentError
        If the denominator is zero.
    """
    above = np.trim_zeros(finite_reals("numerator", numerator).reshape(-1).numpy(), "f")
    below = np.trim_zeros(finite_reals("denominator", denominator).reshape(-1).numpy(), "f")
    if not below.size:
        raise InvalidArgumentError("a denominator is 0; required: a non-zero polynomial")
    if not above.size:
        return ZerosPolesGain(np.zeros(0, complex), np.roots(below) + 0j, 0.0)
    gain = float(above[0] / below[0])
    return ZerosPolesGain(np.roots(above) + 0j, np.roots(below) + 0j, gain)


def expand(function: ZerosPolesGain) -> tuple[Array, Array, float]:
    """Return poles p, residues R and direct term d, with G(z) = d + Σ R_i / (z - p_i).

        R_i = k Π_j (p_i - z_j) / Π_{j≠i} (p_i - p_j)

    Raises
    ------
    InvalidArgumentError
        If there are more zeros than poles, a complex one lacks its conjugate, or two poles are
        equal.
    """
    zeros, poles = _in_pairs("zero", function.zeros), _in_pairs("pole", function.poles)
    gain = function.gain
    if len(zeros) > len(poles):
        raise InvalidArgumentError(
            f"a transfer function of {len(zeros)} zeros and {len(poles)} poles; required: at least "
            "as many poles, or no state can hold it; add poles, or take differences of its input"
        )
    above = np.ones((len(poles), len(poles)), dtype=complex)
    above[:, : len(zeros)] = poles[:, None] - zeros[None, :]
    below = poles[:, None] - poles[None, :] + np.eye(len(poles))
    if (below == 0).any():
        row = np.argwhere(below == 0)[0, 0]
        raise repeated_pole(complex(poles[row]))
    # Factor by factor, so that neither product overflows.
    residues = gain * np.prod(above / below, axis=1)
    return poles, residues, gain if len(zeros) == len(poles) else 0.0


def _in_pairs(name: str, values: Any) -> Array:
    """Return real numbers and exact conjugate pairs; raise if a complex one has no partner."""
    given = finite_numbers(f"{name}s", values).reshape(-1)
    real = is_real(given)
    upper, lower = given[~real & (given.imag > 0)], given[~real & (given.imag < 0)]
    for one, others in ((upper, lower), (lower, upper)):
        far = (one.conj()[:, None] - others).abs() > REAL_TOLERANCE * one.abs()[:, None]
        if len(upper) != len(lower) or bool(far.all(1).any()):
            raise InvalidArgumentError(
                f"a complex {name} lacks its conjugate; required: a real system, with both members "
                "of every pair"
            )
    return torch.cat([upper, upper.conj(), given.real[real]]).resolve_conj().numpy()


def repeated_pole(
    pole: complex, condition: float = math.inf, largest: float | None = None
) -> InvalidArgumentError:
    """Return the error that names a pole that does not stand alone.

    Parameters
    ----------
    condition, largest
        Norm of the largest mode over that of their sum, infinite for equal poles, and the largest
        that is taken.
    """
    limit = "" if largest is None else f" (below {largest:.0e})"
    remedy = (
        "delay the input instead of the system"
        if pole == 0
        else "move them apart by a small part of their distance to the boundary"
    )
    return InvalidArgumentError(
        f"pole {pole:.6g} is repeated, or nearly: its modes have condition {condition:.1e}; "
        f"required: poles that stand apart{limit}, since a sum of modes holds no t a^t; {remedy}"
    )


def find_zeros(
    A: Array, B: Array, C: Array, D: float, poles: Array, points: Array, responses: Array
) -> ZerosPolesGain:
    r"""Return zeros, poles and gain of a scalar state-space system of known poles.

    With r the first index at which the Markov parameter k = D, CB, CAB, … is not zero, the zeros
    are the finite generalized eigenvalues of

        [ ZᵀAZ   ZᵀB ]       [ I  0 ]
        [ CA^rZ   k  ] - λ   [ 0  0 ],     Z an orthonormal basis of ker (C; CA; …; CA^{r-1}).

    All this is done for A minus the mean pole, in units of the farthest one's distance: poles close
    together near 1, as a narrow filter has them, would make the powers of A hard to tell apart.
    That filter's D is some 10⁻²² of its largest gain, the work of zeros so far away that they do
    nothing: a Markov parameter counts as zero if G changes by rounding without it.  The gain is
    read off where G is largest.

    Parameters
    ----------
    A, B, C, D
        Shapes ``(n, n)``, ``(n, 1)``, ``(1, n)`` and a number.
    poles
        The n eigenvalues of A, handed through.
    points, responses
        Points close to the poles and G there, shape ``(K,)``: what counts is judged by these.

    Raises
    ------
    InvalidArgumentError
        If the product of zeros and poles is not G at the points.

    References
    ----------
    [emaminaeini1982], whose reduction this is for one input and output.
    """
    center = poles.mean().real if len(poles) else 0.0
    unit = float(abs(poles - center).max(initial=0.0)) or 1.0
    A, B, peak = (A - center * np.eye(len(A))) / unit, B / unit, abs(responses).max()
    # The first Markov parameter k_r that is not zero adds k_r w^{n-r} / Π (w - p_i) to G.
    places = (points - center) / unit
    share = np.prod(places[:, None] / (places[:, None] - (poles - center) / unit), axis=1)
    outputs, sizes, leading, size = C, abs(C), D, abs(D)
    rows: list[Array] = []
    while abs(leading) <= _CANCELLED * size or (abs(leading) * abs(share).max() <= _UNSEEN * peak):
        if len(rows) == len(A):
            return ZerosPolesGain(np.zeros(0, complex), poles, 0.0)
        leading, size = (outputs @ B).item(), (sizes @ abs(B)).item()
        rows.append(outputs[0] / (np.linalg.norm(outputs) or 1.0))
        outputs, sizes = outputs @ A, sizes @ abs(A)
        share = share / places
    zeros = center + unit * _finite_zeros(A, B, outputs, leading, rows)
    found = ZerosPolesGain(zeros, poles, 1.0)
    best = abs(responses).argmax()
    gain = (responses[best] / found.at(points[best : best + 1])[0]).real
    found = found._replace(gain=float(gain))
    off = abs(found.at(points) - responses).max()
    if not off <= _FACTORED * peak:
        raise InvalidArgumentError(
            f"a system whose zeros are lost in rounding: with them the response is off by "
            f"{off / peak:.1e} of its largest gain; required: below {_FACTORED:.0e}; convert to a "
            "state space, which has no such loss"
        )
    return found


def _finite_zeros(A: Array, B: Array, C: Array, D: float, rows: list[Array]) -> Array:
    """Return the generalized eigenvalues of :func:`find_zeros`, pairs first, exactly conjugate."""
    from scipy import linalg

    kernel = np.eye(len(A))
    if rows:
        kernel = np.linalg.qr(np.array(rows).T, mode="complete")[0][:, len(rows) :]
    upper = np.hstack([kernel.T @ A @ kernel, kernel.T @ B])
    pencil = np.vstack([upper, np.append(C @ kernel, D)])
    scales = balance(torch.from_numpy(pencil)).numpy()
    pencil = pencil * scales / scales[:, None]
    states = np.diag([1.0] * (len(pencil) - 1) + [0.0])
    ratios: Array = np.asarray(
        linalg.eigvals(pencil, states, homogeneous_eigvals=True), dtype=complex
    )
    above, below = ratios
    finite = np.argsort(abs(below) / np.hypot(abs(above), abs(below)))[1:]
    finite = finite[below[finite] != 0]
    zeros = above[finite] / below[finite]
    pairs = zeros[zeros.imag > 0]
    real = zeros[zeros.imag == 0].real + 0j
    return np.concatenate([pairs, pairs.conj(), real])
