"""The output error on the window 0 ≤ t < L as an objective, of measured inputs."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from hydropress.calibration.signals import (
    LayerSignals,
    WindowStatistics,
    output_statistics,
    window_statistics,
)
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import mode_energies
from hydropress.reduction.sampled import KernelObjective
from hydropress.systems.modal import SISOSystem
from hydropress.systems.norms import h2_norm

ENTRIES_AT_ONCE = 2**26
"""Of the matrices of a window, L² each: 512 MB in float64."""


def energy_scale(full: SISOSystem) -> Tensor:
    """Return ‖k‖², or the energy of a mode that has more: what the energies of modes are over."""
    own = mode_energies(Iterate.from_system(full), torch.ones_like(full.D), full.time)
    return torch.maximum(h2_norm(full) ** 2, own.amax(-1))


class Means(NamedTuple):
    """What the bias of a reduced system follows from.

    Attributes
    ----------
    inputs, output
        As in :class:`~hydropress.calibration.signals.WindowStatistics`, ``(K, L)`` and ``(K,)``.
    """

    inputs: Tensor
    output: Tensor


class Pull(NamedTuple):
    """What draws systems towards the original where data tell too little: ε ‖h - h_full‖².

    Attributes
    ----------
    cross, energy
        ε h_full, ``(K, L)``, and ε ‖h_full‖², ``(K,)``; zero for all other systems.
    """

    cross: Tensor
    energy: Tensor


def window_of(
    full: SISOSystem, signals: LayerSignals, fits_feedthrough: bool
) -> tuple[KernelObjective, Means, Pull]:
    """Return the objective on the window, worked out for some systems after the others."""
    length = signals.inputs.shape[-1]
    at_once = max(1, ENTRIES_AT_ONCE // length**2)
    parts: list[KernelObjective] = []
    means: list[Means] = []
    pulls: list[Pull] = []
    for start in range(0, len(full.D), at_once):
        rows = slice(start, start + at_once)
        statistics = window_statistics(signals.systems(rows))
        part, pull = _window_objective(full[rows], statistics, fits_feedthrough)
        parts.append(part)
        means.append(Means(statistics.input_means, statistics.output_mean))
        pulls.append(pull)
    joined = KernelObjective(
        torch.cat([part.factors for part in parts]),
        torch.cat([part.targets for part in parts]),
        torch.cat([part.constants for part in parts]),
        torch.cat([part.output_energies for part in parts]),
        torch.arange(len(full.D), device=full.D.device),
        torch.cat([part.energy for part in parts]),
        fits_feedthrough,
    )
    return (
        joined,
        Means(*(torch.cat(column) for column in zip(*means, strict=True))),
        Pull(*(torch.cat(column) for column in zip(*pulls, strict=True))),
    )


def _window_objective(
    full: SISOSystem, statistics: WindowStatistics, fits_feedthrough: bool
) -> tuple[KernelObjective, Pull]:
    lower, pull = _factor(full, statistics)
    energy = statistics.output_energy + pull.energy
    targets, constants = _targets(lower, statistics.cross + pull.cross, energy)
    rows = torch.arange(len(lower), device=lower.device)
    objective = KernelObjective(
        # Single precision moves the error by 1e-7 of the output, far below what data can tell.
        lower.mT.float().contiguous(),
        targets,
        constants,
        energy.clamp_min(1e-300),
        rows,
        energy_scale(full),
        fits_feedthrough,
    )
    return objective, pull


def _factor(full: SISOSystem, statistics: WindowStatistics) -> tuple[Tensor, Pull]:
    """Factor the inputs' second moments; where rounding has made them indefinite, with a pull."""
    gram = statistics.gram
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    diagonal += 1e-9 * diagonal.mean(-1, keepdim=True).clamp_min(1e-300)
    silent = ~(statistics.input_energy > 0)
    lower, info = torch.linalg.cholesky_ex(gram)
    weights = torch.zeros_like(statistics.input_energy)
    weak = (info > 0) | silent
    for share in (1e-7, 1e-6, 1e-5, 1e-4):
        if not bool(weak.any()):
            break
        # A system that sees nothing is left to its pull alone.
        weights[weak] = torch.where(silent, 1.0, share * statistics.input_energy)[weak]
        lower[weak], info = torch.linalg.cholesky_ex(
            torch.where(silent[weak, None, None], 0.0, gram[weak])
            + torch.diag_embed(weights[weak, None].expand(-1, gram.shape[-1]))
        )
        weak = weak.index_put((weak,), info > 0)
    kernel = full.impulse_response(gram.shape[-1])
    kernel[:, 0] += full.D
    pull = weights[:, None] * kernel
    return lower, Pull(pull, (pull * kernel).sum(-1))


def _targets(lower: Tensor, cross: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
    """Return g and the constant of a window's objective, of the factor F = lowerᵀ."""
    targets = torch.linalg.solve_triangular(lower, cross[..., None], upper=False)[..., 0]
    return targets, (energy - targets.square().sum(-1)).clamp_min(0)


def retarget(
    window: KernelObjective, means: Means, pull: Pull, signals: LayerSignals
) -> tuple[KernelObjective, Means]:
    """Return the same for other outputs wanted of the same inputs."""
    cross, energy, mean = output_statistics(signals.inputs, signals.outputs, means.inputs)
    cross, energy = cross + pull.cross, energy + pull.energy
    factors = window.factors
    # In double precision the copies of a few at a time.
    at_once = max(1, ENTRIES_AT_ONCE // factors.shape[-1] ** 2)
    parts = [
        _targets(lower.mT.double(), *statistics)
        for lower, *statistics in zip(
            *(one.split(at_once) for one in (factors, cross, energy)), strict=True
        )
    ]
    targets, constants = (torch.cat(column) for column in zip(*parts, strict=True))
    energies = energy.clamp_min(1e-300)
    window = replace(window, targets=targets, constants=constants, output_energies=energies)
    return window, means._replace(output=mean)
