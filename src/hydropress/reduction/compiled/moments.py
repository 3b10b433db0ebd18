"""Moments of exponents with each other; see :mod:`hydropress.systems.moments`.

An exponent comes as three parts: in discrete time those of
:class:`~hydropress.systems.moments.Exponentials`, in continuous time its real part, 0 and its
imaginary part.  In both the conjugate has the third part with the other sign.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hydropress.reduction.compiled.compilation import compiled

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Integers = NDArray[np.int64]

FOURTH_ROOT = 2.0**0.25


class Full(NamedTuple):
    """A full system.

    Attributes
    ----------
    discrete
        Discrete or continuous time.
    modes
        Parts of its exponents, ``(3, n)``.
    weights
        Re and Im of m ρ / 2, ``(2, n)``.
    energy
        ‖k‖².
    """

    discrete: bool
    modes: Floats
    weights: Floats
    energy: float


class FullBank(NamedTuple):
    """Full systems of K reduced ones.

    Attributes
    ----------
    discrete
        As in :class:`Full`.
    rows
        Which of the S full systems, ``(K,)``.
    modes, weights
        ``(S, 3, n)`` and ``(S, 2, n)``.
    energy
        ``(K,)``.
    """

    discrete: bool
    rows: Integers
    modes: Floats
    weights: Floats
    energy: Floats


class Reduced(NamedTuple):
    """A reduced system of m slots, ``(m,)`` each, or K of them, ``(K, m)``.

    The fields are those of :class:`~hydropress.reduction.iterate.Iterate`.
    """

    log_decay: Floats
    frequency: Floats
    residues: Complexes
    states: Integers


@compiled
def full_of(bank: FullBank, row: int) -> Full:
    """Return the full system of a row."""
    place = bank.rows[row]
    return Full(bank.discrete, bank.modes[place], bank.weights[place], bank.energy[row])


@compiled
def reduced_of(bank: Reduced, row: int) -> Reduced:
    """Return the reduced system of a row up to its last mode; it shares the memory."""
    used = bank.states.shape[1]
    while used > 1 and bank.states[row, used - 1] == 0:
        used -= 1
    return Reduced(
        bank.log_decay[row, :used],
        bank.frequency[row, :used],
        bank.residues[row, :used],
        bank.states[row, :used],
    )


@compiled
def parts_of(discrete: bool, decay: float, frequency: float, parts: Floats) -> None:
    """Write the parts of an exponent into ``(3,)``."""
    if discrete:
        root = math.exp(-decay / 2) * FOURTH_ROOT
        parts[0] = math.expm1(-decay)
        parts[1] = root * math.cos(frequency / 2)
        parts[2] = root * math.sin(frequency / 2)
    else:
        parts[0], parts[1], parts[2] = -decay, 0.0, frequency


@compiled
def zeroth_moment(
    discrete: bool, e: float, c: float, s: float, e_2: float, c_2: float, s_2: float
) -> tuple[float, float]:
    """Return Re and Im of φ_0 of the sum of two exponents."""
    if discrete:
        sine = s * c_2 + c * s_2
        real = sine * sine - (e_2 + e * (1.0 + e_2))
        imaginary = sine * (c * c_2 - s * s_2)
    else:
        real, imaginary = -(e + e_2), s + s_2
    inverse = 1.0 / (real * real + imaginary * imaginary)
    return real * inverse, imaginary * inverse


@compiled
def higher_moments(discrete: bool, real: float, imaginary: float) -> tuple[float, ...]:
    """Return Re and Im of φ_1 and of φ_2 from those of φ_0."""
    unit = 1.0 if discrete else 0.0
    less = real - unit
    first = real * less - imaginary * imaginary
    first_imaginary = imaginary * (real + less)
    twice, twice_imaginary = real + less, 2.0 * imaginary
    second = first * twice - first_imaginary * twice_imaginary
    second_imaginary = first * twice_imaginary + first_imaginary * twice
    return first, first_imaginary, second, second_imaginary


@compiled
def kernel_moments(full: Full, own: Floats, moments: Complexes) -> None:
    """Write Σ w φ_j(s + z) + w̄ φ_j(s̄ + z), j = 0, 1, 2, of one exponent z with all modes s.

    Parameters
    ----------
    own
        Parts of z, ``(3,)``.
    moments
        ``(3,)``, written.
    """
    discrete, modes, weights = full.discrete, full.modes, full.weights
    e_2, c_2, s_2 = own[0], own[1], own[2]
    real_0 = real_1 = real_2 = imag_0 = imag_1 = imag_2 = 0.0
    for i in range(modes.shape[1]):
        e, c, s = modes[0, i], modes[1, i], modes[2, i]
        a, b = weights[0, i], weights[1, i]
        x, y = zeroth_moment(discrete, e, c, s, e_2, c_2, s_2)
        p, q, u, v = higher_moments(discrete, x, y)
        x_2, y_2 = zeroth_moment(discrete, e, c, -s, e_2, c_2, s_2)
        p_2, q_2, u_2, v_2 = higher_moments(discrete, x_2, y_2)
        real_0 += a * (x + x_2) - b * (y - y_2)
        imag_0 += a * (y + y_2) + b * (x - x_2)
        real_1 += a * (p + p_2) - b * (q - q_2)
        imag_1 += a * (q + q_2) + b * (p - p_2)
        real_2 += a * (u + u_2) - b * (v - v_2)
        imag_2 += a * (v + v_2) + b * (u - u_2)
    moments[0] = complex(real_0, imag_0)
    moments[1] = complex(real_1, imag_1)
    moments[2] = complex(real_2, imag_2)


@compiled
def own_moments(discrete: bool, parts: Floats, moments: Complexes) -> None:
    """Write φ_j(z' + z) and φ_j(z̄' + z) of every two of m exponents.

    Parameters
    ----------
    parts
        ``(m, 3)``.
    moments
        ``(m, m, 2, 3)``, by z, z', whether z' is conjugate, and j; written.
    """
    for k in range(parts.shape[0]):
        for i in range(k, parts.shape[0]):
            for mirrored in range(2):
                s = -parts[i, 2] if mirrored else parts[i, 2]
                x, y = zeroth_moment(
                    discrete, parts[i, 0], parts[i, 1], s, parts[k, 0], parts[k, 1], parts[k, 2]
                )
                p, q, u, v = higher_moments(discrete, x, y)
                here, there = moments[k, i, mirrored], moments[i, k, mirrored]
                here[0], here[1], here[2] = complex(x, y), complex(p, q), complex(u, v)
                if mirrored:
                    y, q, v = -y, -q, -v
                there[0], there[1], there[2] = complex(x, y), complex(p, q), complex(u, v)


@compiled
def moments_at(bank: FullBank, candidates: Complexes, moments: Complexes) -> None:
    """Write Σ w φ_0(s + z) + w̄ φ_0(s̄ + z) at many candidates z, ``(K, G)`` in and out."""
    own = np.empty(3)
    for row in range(candidates.shape[0]):
        full = full_of(bank, row)
        discrete, modes, weights = full.discrete, full.modes, full.weights
        for g in range(candidates.shape[1]):
            z = candidates[row, g]
            parts_of(discrete, -z.real, z.imag, own)
            e_2, c_2, s_2 = own[0], own[1], own[2]
            real = imaginary = 0.0
            for i in range(modes.shape[1]):
                e, c, s = modes[0, i], modes[1, i], modes[2, i]
                a, b = weights[0, i], weights[1, i]
                x, y = zeroth_moment(discrete, e, c, s, e_2, c_2, s_2)
                x_2, y_2 = zeroth_moment(discrete, e, c, -s, e_2, c_2, s_2)
                real += a * (x + x_2) - b * (y - y_2)
                imaginary += a * (y + y_2) + b * (x - x_2)
            moments[row, g] = complex(real, imaginary)
