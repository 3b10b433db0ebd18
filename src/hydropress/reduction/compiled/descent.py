"""The damped Newton descent of :mod:`hydropress.reduction.descent`, one system after the other."""

import math

import numpy as np

from hydropress.reduction.compiled.compilation import compiled
from hydropress.reduction.compiled.moments import (
    Complexes,
    Floats,
    Full,
    FullBank,
    Integers,
    Reduced,
    full_of,
    reduced_of,
)
from hydropress.reduction.compiled.newton import (
    derivatives,
    energies_of,
    energy_of_unit,
    evaluate,
    factorize,
    solve_factorized,
    trace_of_inverse,
)

PATIENCE = 12
"""Steps refused one after the other, after which a descent has ended."""
GENEROSITY = 40.0
"""How many times what a Newton step promises a descent is trusted to gain on the way to its end."""


@compiled
def descend_all(
    full: FullBank,
    reduced: Reduced,
    price: float,
    limits: Floats,
    steps: int,
    tolerance: float,
    bars: Floats,
    results: Floats,
) -> None:
    """Move K reduced systems to their optima.

    Parameters
    ----------
    reduced
        Changed.
    price
        Of the modes' energies.
    limits
        Least and largest log decay, and largest energy of a mode over ‖k‖².
    steps, tolerance
        When to stop.
    bars
        Merit of the best that is known of each full system, ``(S,)``, lowered as better is found: a
        descent that does not promise to end below it is given up.  Infinite: none is.
    results
        Squared relative error, merit, stationarity and steps tried, ``(K, 4)``, written.
    """
    for row in range(reduced.states.shape[0]):
        one = reduced_of(reduced, row)
        place = full.rows[row]
        bar = float(bars[place])
        _descend(full_of(full, row), one, price, limits, steps, tolerance, bar, results[row])
        if bar < np.inf:
            bars[place] = min(bar, results[row, 1])


@compiled
def _descend(
    full: Full,
    reduced: Reduced,
    price: float,
    limits: Floats,
    steps: int,
    tolerance: float,
    bar: float,
    result: Floats,
) -> None:
    """Move one system."""
    slots = reduced.states.shape[0]
    moments = np.empty((2, slots, 3), np.complex128)
    products = np.empty((2, slots, slots, 2, 3), np.complex128)
    matrices, vectors = np.empty((3, 4 * slots, 4 * slots)), np.empty((3, 4 * slots))
    trial = Reduced(
        np.empty(slots), np.empty(slots), np.empty(slots, np.complex128), reduced.states
    )
    gauss_newton, newton, damped = matrices[0], matrices[1], matrices[2]
    gradient, scale, step = vectors[0], vectors[1], vectors[2]
    result[0], result[1], result[2], result[3] = np.inf, np.inf, np.inf, 0.0
    now = 0
    error = evaluate(full, reduced, moments[now], products[now])
    total, largest = energies_of(full, reduced)
    merit = error + price * total
    if not (math.isfinite(merit) and largest <= limits[2]):
        return
    damping, refused, tried, moved = 1e-3, 0, 0, True
    stationarity = 0.0
    while True:
        if moved:
            derivatives(
                full, reduced, price, moments[now], products[now], gradient, gauss_newton, newton
            )
            stationarity = _scale(reduced, limits[0], gradient, gauss_newton, scale)
        if tried == steps or stationarity <= tolerance or refused >= PATIENCE:
            break
        is_newton = _solve(gradient, scale, gauss_newton, newton, damping, damped, step)
        if is_newton and merit > bar:
            promised = 0.0
            for i in range(step.shape[0]):
                promised -= gradient[i] * step[i]
            if merit - GENEROSITY * promised > bar:
                break
        _step(reduced, step, limits, trial)
        other = 1 - now
        trial_error = evaluate(full, trial, moments[other], products[other])
        total, largest = energies_of(full, trial)
        trial_merit = trial_error + price * total
        tried += 1
        moved = trial_merit < merit and largest <= limits[2]
        if moved:
            error, merit, now, refused = trial_error, trial_merit, other, 0
            damping = max(damping / 8.0, 1e-14)
            reduced.log_decay[:] = trial.log_decay
            reduced.frequency[:] = trial.frequency
            reduced.residues[:] = trial.residues
        else:
            refused += 1
            damping = min(damping * 6.0, 1e10)
    result[0], result[1], result[2], result[3] = error, merit, stationarity, tried


@compiled
def _step(reduced: Reduced, step: Floats, limits: Floats, trial: Reduced) -> None:
    """Write the trial that a change of the unknowns leads to."""
    for k in range(reduced.states.shape[0]):
        trial.log_decay[k] = reduced.log_decay[k]
        trial.frequency[k] = reduced.frequency[k]
        trial.residues[k] = reduced.residues[k]
        if reduced.states[k] > 0:
            # One step never changes a decay by more than e²: the model is quadratic.
            slower = min(2.0, max(-2.0, step[4 * k + 2]))
            trial.log_decay[k] = min(limits[1], max(limits[0], reduced.log_decay[k] + slower))
            trial.frequency[k] += step[4 * k + 3]
            trial.residues[k] += complex(step[4 * k], step[4 * k + 1])


@compiled
def _scale(
    reduced: Reduced,
    floor: float,
    gradient: Floats,
    gauss_newton: Floats,
    scale: Floats,
) -> float:
    """Write the scale of every unknown, 0 for idle ones; return the largest scaled derivative."""
    largest = 0.0
    for i in range(gradient.shape[0]):
        k, unknown = i // 4, i % 4
        states = reduced.states[k]
        free = states > 0 and (unknown % 2 == 0 or states == 2) and gauss_newton[i, i] > 0.0
        # A pole that rests on the decay floor and is pushed below it stays there.
        if unknown == 2 and reduced.log_decay[k] <= floor + 1e-12 and gradient[i] > 0.0:
            free = False
        scale[i] = 1.0 / math.sqrt(gauss_newton[i, i]) if free else 0.0
        largest = max(largest, abs(gradient[i] * scale[i]))
    return largest


@compiled
def _solve(
    gradient: Floats,
    scale: Floats,
    gauss_newton: Floats,
    newton: Floats,
    damping: float,
    damped: Floats,
    step: Floats,
) -> bool:
    """Write the damped Newton step, or Gauss-Newton's where Newton's matrix is indefinite.

    Returns
    -------
    bool
        Whether it is Newton's.
    """
    size = gradient.shape[0]
    attempts = 0
    for attempt in range(3):
        attempts += 1
        for i in range(size):
            step[i] = -gradient[i] * scale[i]
            for j in range(i):
                matrix = newton[i, j] if attempt == 0 else gauss_newton[i, j]
                damped[i, j] = matrix * scale[i] * scale[j] if attempt < 2 else 0.0
            if attempt == 0:
                curvature = (newton[i, i] - gauss_newton[i, i]) * scale[i] * scale[i]
                damped[i, i] = 1.0 + damping + curvature
            else:
                # A floor under the damping: the matrix may be singular to rounding.
                damped[i, i] = 1.0 + damping + 1e-12 if attempt == 1 else 1e12
        if factorize(damped):
            break
    solve_factorized(damped, step)
    for i in range(size):
        step[i] *= scale[i]
    return attempts == 1


@compiled
def refit_all(
    full: FullBank, reduced: Reduced, price: float, least: float, sound: Integers
) -> None:
    """Give K reduced systems the best residues for their poles.

    Parameters
    ----------
    reduced
        Residues are changed where the products of the atoms are regular.
    price
        Of the modes' energies.
    least
        Eigenvalue of those products, each of norm one, over the largest, that is told from zero.
    sound
        1 where they are regular, ``(K,)``, written.
    """
    for row in range(reduced.states.shape[0]):
        whole, one = full_of(full, row), reduced_of(reduced, row)
        slots = one.states.shape[0]
        size = 2 * slots
        moments = np.empty((slots, 3), np.complex128)
        products = np.empty((slots, slots, 2, 3), np.complex128)
        matrix, vector, scale = np.empty((size, size)), np.empty(size), np.empty(size)
        error = evaluate(whole, one, moments, products)
        _normal_equations(whole, one, price, moments, products, matrix, vector, scale)
        sound[row] = 0
        # Of p eigenvalues the largest is at most p, and 1 / the smallest at most the trace.
        regular = math.isfinite(error) and factorize(matrix)
        if regular and trace_of_inverse(matrix) * size < 1.0 / least:
            solve_factorized(matrix, vector)
            for k in range(slots):
                first, second = vector[2 * k] * scale[2 * k], vector[2 * k + 1] * scale[2 * k + 1]
                one.residues[k] += complex(first, second)
            sound[row] = 1


@compiled
def _normal_equations(
    full: Full,
    reduced: Reduced,
    price: float,
    moments: Complexes,
    products: Complexes,
    matrix: Floats,
    vector: Floats,
    scale: Floats,
) -> None:
    """Write the products of the atoms, with a diagonal of ones, and those with the residual."""
    states = reduced.states
    for k in range(states.shape[0]):
        ridge = 0.0
        if price > 0.0 and states[k] > 0:
            unit = energy_of_unit(full.discrete, math.exp(reduced.log_decay[k]))
            ridge = price * states[k] * unit / full.energy
        moment, rho = states[k] * moments[k, 0], reduced.residues[k]
        vector[2 * k] = moment.real - ridge * rho.real
        vector[2 * k + 1] = -moment.imag - ridge * rho.imag
        for other in range(k + 1):
            both = 0.5 * states[k] * states[other] / full.energy
            same, mixed = products[k, other, 0, 0], products[k, other, 1, 0]
            matrix[2 * k, 2 * other] = both * (same.real + mixed.real)
            matrix[2 * k, 2 * other + 1] = both * (mixed.imag - same.imag)
            matrix[2 * k + 1, 2 * other] = -both * (same.imag + mixed.imag)
            matrix[2 * k + 1, 2 * other + 1] = both * (mixed.real - same.real)
        for part in range(2):
            i = 2 * k + part
            matrix[i, i] += ridge
            free = (states[k] == 2 or (part == 0 and states[k] == 1)) and matrix[i, i] > 0.0
            scale[i] = 1.0 / math.sqrt(matrix[i, i]) if free else 0.0
    for i in range(vector.shape[0]):
        vector[i] *= scale[i]
        for j in range(i):
            matrix[i, j] *= scale[i] * scale[j]
        matrix[i, i] = 1.0
