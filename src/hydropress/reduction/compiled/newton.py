"""The merit of one reduced system, its derivatives, and the linear systems of a step."""

import math

import numpy as np

from hydropress.reduction.compiled.compilation import compiled
from hydropress.reduction.compiled.moments import (
    Complexes,
    Floats,
    Full,
    Reduced,
    kernel_moments,
    own_moments,
    parts_of,
)


@compiled
def energy_of_unit(discrete: bool, decay: float) -> float:
    """Return φ_0(-2 decay)."""
    return -1.0 / math.expm1(-2.0 * decay) if discrete else 0.5 / decay


@compiled
def evaluate(full: Full, reduced: Reduced, moments: Complexes, products: Complexes) -> float:
    """Return the squared relative error of a reduced system of m slots.

    Parameters
    ----------
    moments
        Residual moments E_j over ‖k‖², ``(m, 3)``, written.
    products
        φ_j of every two own modes, ``(m, m, 2, 3)``, written.
    """
    residues, states = reduced.residues, reduced.states
    slots = states.shape[0]
    parts = np.empty((slots, 3))
    for k in range(slots):
        parts_of(full.discrete, math.exp(reduced.log_decay[k]), reduced.frequency[k], parts[k])
        if states[k] > 0:
            kernel_moments(full, parts[k], moments[k])
        else:
            moments[k] = 0.0
    own_moments(full.discrete, parts, products)
    # ‖k‖² - ‖k - k_r‖² = ⟨k_r, 2 (k - k_r) + k_r⟩.
    captured = 0.0
    for k in range(slots):
        if states[k] == 0:
            continue
        own_0 = own_1 = own_2 = 0.0 + 0.0j
        for i in range(slots):
            if states[i] > 0:
                weight = 0.5 * states[i] * residues[i]
                mirrored = weight.conjugate()
                own_0 += weight * products[k, i, 0, 0] + mirrored * products[k, i, 1, 0]
                own_1 += weight * products[k, i, 0, 1] + mirrored * products[k, i, 1, 1]
                own_2 += weight * products[k, i, 0, 2] + mirrored * products[k, i, 1, 2]
        moments[k, 0] -= own_0
        moments[k, 1] -= own_1
        moments[k, 2] -= own_2
        captured += (states[k] * residues[k] * (2.0 * moments[k, 0] + own_0)).real
    for k in range(slots):
        for j in range(3):
            moments[k, j] /= full.energy
    return 1.0 - captured / full.energy


@compiled
def energies_of(full: Full, reduced: Reduced) -> tuple[float, float]:
    """Return the sum of the modes' energies over ‖k‖², and the largest."""
    total = largest = 0.0
    for k in range(reduced.states.shape[0]):
        if reduced.states[k] > 0:
            rho = reduced.residues[k]
            unit = energy_of_unit(full.discrete, math.exp(reduced.log_decay[k]))
            own = reduced.states[k] * (rho.real**2 + rho.imag**2) * unit / full.energy
            total += own
            largest = max(largest, own)
    return total, largest


@compiled
def derivatives(
    full: Full,
    reduced: Reduced,
    price: float,
    moments: Complexes,
    products: Complexes,
    gradient: Floats,
    gauss_newton: Floats,
    newton: Floats,
) -> None:
    """Write gradient ``(4m,)``, Gauss-Newton's and Newton's matrix ``(4m, 4m)``, lower halves.

    Half the merit is differentiated by (Re ρ, Im ρ, log decay, frequency) of each mode; see
    :mod:`hydropress.reduction.derivatives`.
    """
    states = reduced.states
    slots = states.shape[0]
    # Every tangent of k_r is Re(factor t^j e^{zt}), j = 0 for the first two of a mode.
    factors = np.empty((slots, 4), np.complex128)
    for k in range(slots):
        decay, rho = math.exp(reduced.log_decay[k]), states[k] * reduced.residues[k]
        factors[k, 0], factors[k, 1] = complex(states[k], 0.0), complex(0.0, states[k])
        factors[k, 2], factors[k, 3] = -decay * rho, 1j * rho
        for i in range(4):
            gradient[4 * k + i] = -(factors[k, i] * moments[k, i // 2]).real
        for other in range(k + 1):
            for i in range(4):
                for j in range(4):
                    power = i // 2 + j // 2
                    inner = (
                        factors[other, j] * products[k, other, 0, power]
                        + factors[other, j].conjugate() * products[k, other, 1, power]
                    )
                    product = 0.5 * (factors[k, i] * inner).real / full.energy
                    gauss_newton[4 * k + i, 4 * other + j] = product
                    newton[4 * k + i, 4 * other + j] = product
        # -⟨e, ∂²k_r⟩, which only the unknowns of one mode have.
        place = 4 * k
        mixed, by_exponent = states[k] * moments[k, 1], rho * moments[k, 2]
        newton[place + 2, place] += decay * mixed.real
        newton[place + 3, place] += mixed.imag
        newton[place + 2, place + 1] -= decay * mixed.imag
        newton[place + 3, place + 1] += mixed.real
        squeeze = (rho * moments[k, 1]).real - decay * by_exponent.real
        newton[place + 2, place + 2] += decay * squeeze
        newton[place + 3, place + 2] -= decay * by_exponent.imag
        newton[place + 3, place + 3] += by_exponent.real
        if price > 0.0 and states[k] > 0:
            _add_price(full, reduced, price, k, gradient, gauss_newton, newton)


@compiled
def _add_price(
    full: Full,
    reduced: Reduced,
    price: float,
    mode: int,
    gradient: Floats,
    gauss_newton: Floats,
    newton: Floats,
) -> None:
    """Add the price of one mode's energy, as the least-squares term √(μ φ_0) (Re ρ, Im ρ)."""
    decay, rho, place = math.exp(reduced.log_decay[mode]), reduced.residues[mode], 4 * mode
    unit = energy_of_unit(full.discrete, decay)
    scale = price * reduced.states[mode] * unit / full.energy
    half = -decay * (unit - (1.0 if full.discrete else 0.0))
    square = (rho.real**2 + rho.imag**2) * half
    gradient[place] += scale * rho.real
    gradient[place + 1] += scale * rho.imag
    gradient[place + 2] += scale * square
    for matrix in (gauss_newton, newton):
        matrix[place, place] += scale
        matrix[place + 1, place + 1] += scale
        matrix[place + 2, place] += scale * rho.real * half
        matrix[place + 2, place + 1] += scale * rho.imag * half
        matrix[place + 2, place + 2] += scale * square * half


@compiled
def factorize(matrix: Floats) -> bool:
    """Replace the lower half of a matrix by its Cholesky factor; whether it has one."""
    for j in range(matrix.shape[0]):
        pivot = matrix[j, j]
        for k in range(j):
            pivot -= matrix[j, k] * matrix[j, k]
        if not pivot > 0.0:
            return False
        root = math.sqrt(pivot)
        inverse = 1.0 / root
        matrix[j, j] = root
        for i in range(j + 1, matrix.shape[0]):
            entry = matrix[i, j]
            for k in range(j):
                entry -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = entry * inverse
    return True


@compiled
def solve_factorized(factor: Floats, vector: Floats) -> None:
    """Replace a vector by the solution of the system of a Cholesky factor."""
    size = vector.shape[0]
    for i in range(size):
        entry = vector[i]
        for k in range(i):
            entry -= factor[i, k] * vector[k]
        vector[i] = entry / factor[i, i]
    for i in range(size - 1, -1, -1):
        entry = vector[i]
        for k in range(i + 1, size):
            entry -= factor[k, i] * vector[k]
        vector[i] = entry / factor[i, i]


@compiled
def trace_of_inverse(factor: Floats) -> float:
    """Return the trace of the inverse of the matrix with this Cholesky factor."""
    size, total = factor.shape[0], 0.0
    column = np.empty(size)
    for j in range(size):
        for i in range(j, size):
            entry = 1.0 if i == j else 0.0
            for k in range(j, i):
                entry -= factor[i, k] * column[k]
            column[i] = entry / factor[i, i]
            total += column[i] * column[i]
    return total
