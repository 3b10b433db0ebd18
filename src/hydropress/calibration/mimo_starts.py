"""Where fits of a layer of several inputs and outputs start."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.mimo_signals import BACKWARD, LayerModes, MIMOSignals, batches
from hydropress.reduction.balancing import Balancing
from hydropress.reduction.reduce import reduce_path
from hydropress.reduction.weights import SpectralWeight
from hydropress.systems.gramians import real_gramian_factors
from hydropress.systems.modal import MIMOSystem

WEIGHTED_INPUTS = 16
"""Inputs up to which starts are searched in the metric of the inputs' cross-spectrum.  With 32 the
search took 13 s, for 1 to 2 % of the output error."""

BINS = 64
"""Of the inputs' cross-spectrum.  An S5 layer of 64 states and 16 channels, inputs of 512 samples,
was searched to order 8 in 2 s with them, in 52 s with all 513 lines."""


def mimo_starts(
    full: MIMOSystem,
    orders: tuple[int, ...],
    signals: MIMOSignals,
    settings: CalibratedSettings,
) -> dict[int, list[dict[str, MIMOSystem]]]:
    """Return the starts at every order.

    They are BT's with the states' covariance measured (``observed``, see
    :func:`observed_balancing`), the optima of H² weighted by the inputs' cross-spectrum
    (``weighted``, up to 16 inputs if there are as many sequences) and unweighted, and BT's.

    Parameters
    ----------
    full
        Batch shape ``(K,)``, one system a direction.
    orders
        States per direction, from 1 on.
    signals
        What the layer gets.
    settings
        How it is fitted.

    Returns
    -------
    dict
        From order to the starts of each direction by name, systems of batch shape ``()``.

    Notes
    -----
    Output errors on held-out sequences after least squares and the descent, by the start, on layers
    at initialisation with smooth inputs and with white ones, 64 sequences of 512; in brackets the
    seconds of the search, that of the unweighted ones took 1 to 3 and others next to none:

    ============================== ======== ============ ========== ========
    layer, states → order          observed weighted     unweighted balanced
    ============================== ======== ============ ========== ========
    LRU, H = 8, 32 → 8, smooth     0.253    0.247 (2 s)  0.260      0.288
    LRU, H = 16, 64 → 16, smooth   0.203    0.204 (5 s)  0.213      0.230
    S5, H = 16, 64 → 8, smooth     0.149    0.160 (2 s)  0.233      0.167
    S5, H = 32, 64 → 16, smooth    0.104    0.101 (13 s) 0.187      0.121
    LRU, H = 8, 32 → 8, white      0.315    0.308 (2 s)  0.307      0.328
    S5, H = 16, 64 → 16, white     0.078    0.062 (9 s)  0.055      0.086
    ============================== ======== ============ ========== ========

    Weights by the inputs' covariance alone, for more inputs, were no better than none: layers see
    smooth inputs.
    """
    length = signals.inputs.shape[-1]
    descent = replace(settings.search(length), energy_penalty=0.0)
    found: dict[int, list[dict[str, MIMOSystem]]] = {order: [] for order in orders}
    for row, direction in enumerate(signals.directions):
        system = full[row : row + 1]
        possible = tuple(order for order in orders if order < int(system.order))
        weight = _spectrum(signals, direction)
        names = ("observed", *(("weighted",) if weight else ()), "unweighted", "balanced")
        paths: dict[str, dict[int, MIMOSystem]] = {name: {} for name in names}
        if possible:
            searched = {"unweighted": reduce_path(system, orders=possible, descent=descent)}
            if weight:
                searched["weighted"] = reduce_path(
                    system, orders=possible, descent=descent, weight=weight
                )
            balanced = {
                "observed": observed_balancing(system, signals, direction),
                "balanced": Balancing.of(system),
            }
            for order in possible:
                for name, path in searched.items():
                    paths[name][order] = path[order].system[0]
                for name, balancing in balanced.items():
                    paths[name][order] = balancing.truncate(order)[0]
        for order in orders:
            found[order].append({name: paths[name].get(order, system[0]) for name in names})
    return found


def _spectrum(signals: MIMOSignals, direction: int) -> SpectralWeight | None:
    """Return the inputs' cross-spectrum, means taken out, in bins that widen with frequency."""
    count, channels, _ = signals.inputs.shape
    if channels > min(WEIGHTED_INPUTS, count):
        return None
    inputs = signals.inputs.double()
    inputs = inputs - inputs.mean((0, 2))[:, None]
    if direction == BACKWARD:
        inputs = inputs.flip(-1)
    lines = SpectralWeight.measured_across(inputs.mT)
    if not bool((lines.values.abs() > 0).any()):
        return None
    number = len(lines.frequencies)
    edges = torch.logspace(0, math.log10(number), BINS).round().long().clamp(1, number)
    place = torch.bucketize(torch.arange(number), torch.unique(edges) - 1, right=True) - 1
    place = place.to(lines.frequencies.device)
    sizes = torch.bincount(place)

    def gather(values: Tensor) -> Tensor:
        return values.new_zeros(len(sizes), *values.shape[1:]).index_add(0, place, values)

    return SpectralWeight(gather(lines.frequencies) / sizes, gather(lines.values))


def observed_balancing(
    full: MIMOSystem, signals: MIMOSignals, direction: int
) -> Balancing[MIMOSystem]:
    """Return balanced coordinates in which the states have the covariance that they have on data.

    The controllability Gramian, the states' covariance under white inputs, gives way to the one
    measured on the signals, their means taken out; the observability Gramian stays.  So states are
    kept by what they do on inputs as they are, smooth and correlated.

    Parameters
    ----------
    full
        One system, batch shape ``(1,)``.
    direction
        How it reads.

    Notes
    -----
    Truncations are stable whatever the covariance: the observability Gramian Q of the states kept
    satisfies A₁ᵀ Q₁ A₁ - Q₁ ≤ 0, as with the input weights of [enns1984].
    """
    modes = LayerModes.of(full, (direction,))
    # In the coordinates of the system: not with its phases turned.
    modes = modes.replace(modes.exponents, full.B[full.states > 0], modes.C)
    length = signals.inputs.shape[-1]
    width = 2 * len(modes.states)
    gram = torch.zeros(width, width, dtype=torch.float64, device=signals.inputs.device)
    total = gram.new_zeros(width)
    for part in batches(len(signals.inputs), width + signals.inputs.shape[1], length):
        states = modes.trajectories(signals.inputs[part].transpose(0, 1).contiguous())
        flat = torch.view_as_real(states).permute(0, 3, 1, 2).flatten(0, 1).flatten(1).double()
        gram += flat @ flat.mT
        total += flat.sum(1)
    samples = len(signals.inputs) * length
    covariance = (gram - torch.outer(total, total) / samples) * (2 / samples)
    values, vectors = torch.linalg.eigh(covariance)
    rows = torch.zeros(2 * full.num_poles, width, dtype=torch.float64, device=gram.device)
    used = (full.states[0] > 0).repeat_interleave(2)
    rows[used] = vectors * values.clamp_min(0).sqrt()
    _, observability = real_gramian_factors(full)
    U, sigma, Vh = torch.linalg.svd(observability[0].mT @ rows, full_matrices=False)
    left, right = observability[0] @ U, rows @ Vh.mT
    missing = 2 * full.num_poles - len(sigma)
    left, right, sigma = (
        torch.nn.functional.pad(one, (0, missing)) for one in (left, right, sigma)
    )
    return Balancing(full, left[None], right[None], sigma[None])
