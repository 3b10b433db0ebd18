"""Randomised orthogonal matching pursuit over a dictionary of modes, one system after the other."""

import math

import numpy as np

from hydropress.reduction.compiled.compilation import compiled
from hydropress.reduction.compiled.moments import (
    Complexes,
    Floats,
    Integers,
    parts_of,
    zeroth_moment,
)

DEPENDENT = 1e-9
"""Share of two atoms' norms below which what the chosen ones leave of them is nothing."""


@compiled
def pursue_all(
    discrete: bool,
    exponents: Complexes,
    moments: Complexes,
    first: Integers,
    second: Integers,
    draws: Floats,
    sharpness: Integers,
    chosen: Integers,
) -> None:
    """Choose blocks of two atoms for R starts of each of K systems.

    Every start takes one block after the other; a block is drawn with a probability that grows with
    the energy that it would capture beside those that have been taken.

    Parameters
    ----------
    exponents
        E of the dictionary, ``(K, E)``; atom 2e is Re(e^{st}), atom 2e + 1 Re(i e^{st}).
    moments
        E_0 of the systems at these, times ‖k‖², ``(K, E)``.
    first, second
        Atoms of each block, ``(G,)``.
    draws
        Uniform in [0, 1), ``(R, p)``.
    sharpness
        Squarings of the energies that the probabilities go with, ``(R,)``.
    chosen
        Blocks of each start, ``(K, R, p)``, written.
    """
    count = exponents.shape[1]
    products, correlations = np.empty((2 * count, 2 * count)), np.empty(2 * count)
    for row in range(exponents.shape[0]):
        _atom_products(discrete, exponents[row], products)
        for place in range(count):
            correlations[2 * place] = moments[row, place].real
            correlations[2 * place + 1] = -moments[row, place].imag
        for start in range(draws.shape[0]):
            _pursue(
                products, correlations, first, second, draws[start], sharpness[start],
                chosen[row, start],
            )  # fmt: skip


@compiled
def _atom_products(discrete: bool, exponents: Complexes, products: Floats) -> None:
    """Write the inner products of all atoms, ``(2E, 2E)``."""
    parts = np.empty((exponents.shape[0], 3))
    for k in range(exponents.shape[0]):
        parts_of(discrete, -exponents[k].real, exponents[k].imag, parts[k])
    for k in range(exponents.shape[0]):
        e_2, c_2, s_2 = parts[k, 0], parts[k, 1], parts[k, 2]
        for i in range(k + 1):
            e, c, s = parts[i, 0], parts[i, 1], parts[i, 2]
            x, y = zeroth_moment(discrete, e, c, s, e_2, c_2, s_2)
            x_2, y_2 = zeroth_moment(discrete, e, c, -s, e_2, c_2, s_2)
            products[2 * k, 2 * i] = 0.5 * (x + x_2)
            products[2 * k, 2 * i + 1] = 0.5 * (y_2 - y)
            products[2 * k + 1, 2 * i] = -0.5 * (y + y_2)
            products[2 * k + 1, 2 * i + 1] = 0.5 * (x_2 - x)
    for k in range(products.shape[0]):
        for i in range(k):
            products[i, k] = products[k, i]


@compiled
def _pursue(
    products: Floats,
    correlations: Floats,
    first: Integers,
    second: Integers,
    draws: Floats,
    sharpness: int,
    chosen: Integers,
) -> None:
    """Choose the blocks of one start, ``(p,)``."""
    blocks = first.shape[0]
    directions = np.empty((2 * draws.shape[0], products.shape[0]))
    left = correlations.copy()
    own = np.empty((3, blocks))
    energies = np.empty(blocks)
    for g in range(blocks):
        a, b = first[g], second[g]
        own[0, g], own[1, g], own[2, g] = products[a, a], products[a, b], products[b, b]
    taken = 0
    for place in range(draws.shape[0]):
        most = 0.0
        for g in range(blocks):
            a, b = first[g], second[g]
            determinant = own[0, g] * own[2, g] - own[1, g] * own[1, g]
            energies[g] = 0.0
            if determinant > DEPENDENT * products[a, a] * products[b, b]:
                captured = own[2, g] * left[a] ** 2 - 2.0 * own[1, g] * left[a] * left[b]
                energies[g] = (captured + own[0, g] * left[b] ** 2) / determinant
                most = max(most, energies[g])
        g = _draw(energies, most, sharpness, draws[place])
        chosen[place] = g
        if place == draws.shape[0] - 1:
            break
        for atom in (first[g], second[g]):
            direction = directions[taken]
            direction[:] = products[atom]
            for k in range(taken):
                direction -= directions[k, atom] * directions[k]
            if direction[atom] <= 1e-12 * products[atom, atom]:
                continue
            direction /= math.sqrt(direction[atom])
            along = left[atom] / direction[atom]
            left -= along * direction
            for k in range(blocks):
                a, b = direction[first[k]], direction[second[k]]
                own[0, k] -= a * a
                own[1, k] -= a * b
                own[2, k] -= b * b
            taken += 1


@compiled
def _draw(energies: Floats, most: float, sharpness: int, draw: float) -> int:
    """Return a block, drawn with the given power of its energy; ``energies`` is used up."""
    total = 0.0
    for g in range(energies.shape[0]):
        weight = energies[g] / most if most > 0.0 else 1.0
        for _ in range(sharpness):
            weight *= weight
        energies[g] = weight
        total += weight
    rest, g = draw * total, 0
    while g < energies.shape[0] - 1:
        rest -= energies[g]
        if rest < 0.0:
            break
        g += 1
    return g
