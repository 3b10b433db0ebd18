"""Between real state-space matrices and modes, as plain tensors."""

import math
import warnings

import torch
from torch import Tensor

from hydropress.errors import IllConditionedWarning, InvalidArgumentError
from hydropress.systems.checks import DEADBEAT
from hydropress.systems.eigen import eigen, in_eigenbasis
from hydropress.systems.moments import Time, wrap_phase

LARGEST_CONDITION = 1e12
"""Of the eigenvectors of A: beyond it four digits or fewer are left of the modes."""

NOTED_CONDITION = 1e8
"""Beyond it half the digits of the modes are lost, and a warning says so; so have those of a double
pole, which rounding splits."""

_MOST_SWEEPS = 50
"""Over the states; badly scaled matrices of order 300 need about ten."""


def balance(A: Tensor) -> Tensor:
    """Return scales d of the states, powers of 2, that even out A: A_ij d_j / d_i.

    Rows and columns of one state get norms within about a factor of 2 of each other.  A state in
    other units, or a companion form, then no longer hides how well the modes can be told apart.

    Parameters
    ----------
    A
        Shape ``(..., n, n)``.

    Returns
    -------
    Tensor
        Shape ``(..., n)``; the scaling is exact in floating point and has no gradient.

    References
    ----------
    [parlett1969], with the Euclidean norms of [james2014].
    """
    with torch.no_grad():
        scaled = A.clone()
        scales = A.new_ones(A.shape[:-1])
        for _ in range(_MOST_SWEEPS):
            settled = True
            for state in range(A.shape[-1]):
                column = torch.linalg.vector_norm(scaled[..., :, state], dim=-1)
                row = torch.linalg.vector_norm(scaled[..., state, :], dim=-1)
                factor = torch.exp2(torch.round(torch.log2(row / column) / 2))
                gains = column * factor + row / factor < 0.95 * (column + row)  # not if NaN
                factor = torch.where(gains, factor, torch.ones_like(factor))
                scaled[..., :, state] *= factor[..., None]
                scaled[..., state, :] /= factor[..., None]
                scales[..., state] *= factor
                settled = settled and not bool(gains.any())
            if settled:
                break
        return scales


def diagonalize(A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return all poles and the modal B and C, ``(..., n)``, ``(..., n, M)``, ``(..., P, n)``.

    Raises
    ------
    InvalidArgumentError
        If A is not diagonalisable, or so nearly not that its modes cannot be told apart.

    Warns
    -----
    IllConditionedWarning
        If the eigenvectors have a condition above ``NOTED_CONDITION``.
    """
    scales = balance(A)
    B, C = B / scales[..., None], C * scales[..., None, :]
    poles, vectors = eigen(A * scales[..., None, :] / scales[..., None])
    if A.shape[-1]:
        condition = torch.linalg.cond(vectors).nan_to_num(nan=math.inf).max().item()
        if not condition < LARGEST_CONDITION:
            raise InvalidArgumentError(
                f"A has eigenvectors of condition {condition:.1e}; required: a diagonalisable A "
                f"(below {LARGEST_CONDITION:.0e}), since a sum of modes holds no t a^t; perturb or "
                "block-reduce its repeated poles, or if these are at 0, a chain of delays, delay "
                "the input instead"
            )
        if condition > NOTED_CONDITION:
            warnings.warn(
                f"A has eigenvectors of condition {condition:.1e}: its modes may carry the "
                "rounding of its entries as many times over; look for repeated poles",
                IllConditionedWarning,
                stacklevel=3,
            )
    return poles, in_eigenbasis(poles, vectors, B), C.to(poles.dtype) @ vectors


def exponents_of(poles: Tensor, time: Time, delay: int = 0) -> Tensor:
    """Return the logarithms of discrete poles, or continuous poles as they are.

    A pole at 0 has the response ρ 0^{t-1}, the sample ρ at t = 1, and the exponent ``DEADBEAT``.

    Raises
    ------
    InvalidArgumentError
        If a discrete pole is zero, unless the delay is 1.
    """
    if time == "continuous":
        return poles
    zero = poles == 0
    if delay == 0 and bool(zero.any()):
        raise InvalidArgumentError(
            "a discrete pole is 0 (a pure delay); required: non-zero poles; put a direct term into "
            "the feedthrough, or give the system of x[t+1] = A x[t] + B u[t] with delay=1"
        )
    # The logarithm of a real pole below zero lies at +π, whatever the sign of its imaginary zero.
    exponents = torch.log(torch.where(zero, torch.ones_like(poles), poles))
    exponents = torch.where(zero, torch.full_like(exponents, DEADBEAT), exponents)
    return torch.where(
        poles.imag == 0, torch.complex(exponents.real, exponents.imag.abs()), exponents
    )


def pair_up(exponents: Tensor, time: Time) -> tuple[Tensor, Tensor, Tensor]:
    """Choose one entry per conjugate pair or real pole from all poles of real systems.

    Parameters
    ----------
    exponents
        Of all poles, both members of a pair, complex128, shape ``(..., n)``; conjugate-closed as
        the eigenvalues of a real matrix are: a pole is real if its imaginary part is 0, or in
        discrete time ±π.  (Two almost equal real poles may come as a pair.  Apart, each with half
        the pair's response, they would lose what the residues' imaginary parts say.)

    Returns
    -------
    exponents, states, index
        Shapes ``(..., m)``; the third says which pole an entry was.  Pairs come first, empty
        entries last.

    Raises
    ------
    InvalidArgumentError
        If a complex pole lacks its conjugate.
    """
    real = exponents.imag == 0
    axis = torch.zeros_like(exponents.real)
    if time == "discrete":
        exponents = wrap_phase(exponents)
        alternating = exponents.imag.abs() == math.pi
        real = (exponents.imag == 0) | alternating
        axis = math.pi * alternating.to(axis)
    upper, lower = (exponents.imag > 0) & ~real, (exponents.imag < 0) & ~real
    if bool((upper.sum(-1) != lower.sum(-1)).any()):
        raise InvalidArgumentError("a complex pole lacks its conjugate; required: a real system")
    states = torch.where(real, 1, torch.where(upper, 2, 0))
    index = torch.argsort(-states, dim=-1, stable=True)
    used = max(1, int((states > 0).sum(-1).max())) if states.numel() else 0
    index = index[..., :used]
    exponents = torch.where(real, torch.complex(exponents.real, axis), exponents)
    states, exponents = states.gather(-1, index), exponents.gather(-1, index)
    exponents = torch.where(states == 0, torch.full_like(exponents, -1), exponents)
    return exponents, states, index


def turn_phases(B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same c_i b_iᵀ with b_i turned until its largest entry is real.

    A phase common to c_i and b_i says nothing, and those of eigenvectors are arbitrary.

    Parameters
    ----------
    B, C
        Shapes ``(..., n, M)`` and ``(..., P, n)``.
    """
    largest = B.gather(-1, B.abs().argmax(-1, keepdim=True))
    phase = torch.where(largest != 0, largest / largest.abs(), torch.ones_like(largest))
    return B / phase, C * phase.mT


def realize(poles: Tensor, states: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return real A, B and C of one system given by its entries.

    Parameters
    ----------
    poles, states, B, C
        Shapes ``(n,)``, ``(n,)``, ``(n, M)``, ``(P, n)``; empty entries are left out.

    Returns
    -------
    A, B, C
        float64; A block diagonal, a pair being ``[[Re a, -Im a], [Im a, Re a]]``, with
        B = √2 (Re b, Im b) and C = √2 (Re c, -Im c).
    """
    blocks: list[Tensor] = []
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    for place in torch.nonzero(states > 0)[:, 0].tolist():
        pole, b, c = poles[place], B[place], C[:, place]
        if states[place] == 1:
            blocks.append(pole.real.reshape(1, 1))
            inputs.append(b.real[None])
            outputs.append(c.real[:, None])
        else:
            rows = [torch.stack([pole.real, -pole.imag]), torch.stack([pole.imag, pole.real])]
            blocks.append(torch.stack(rows))
            inputs.append(math.sqrt(2) * torch.stack([b.real, b.imag]))
            outputs.append(math.sqrt(2) * torch.stack([c.real, -c.imag], -1))
    if not blocks:
        empty = poles.real.new_zeros
        return empty(0, 0), empty(0, B.shape[1]), empty(C.shape[0], 0)
    return torch.block_diag(*blocks), torch.cat(inputs), torch.cat(outputs, -1)
