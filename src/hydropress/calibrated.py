"""Reduction of one layer on the data that it sees."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.calibration import (
    LayerSignals,
    WindowStatistics,
    input_spectra,
    predict,
    window_statistics,
)
from hydropress.reduction.balanced import balanced_truncations
from hydropress.reduction.descent import DescentConfig, descend, refit_residues
from hydropress.reduction.h2 import optimize_path
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.reduce import reduce
from hydropress.reduction.sampled import KernelObjective, SpectralObjective
from hydropress.reduction.search import Candidates, ladder_of_exponents
from hydropress.systems.modal import ModalSystem
from hydropress.systems.norms import h2_norm


@dataclass(frozen=True)
class CalibratedSettings:
    """How a layer is fitted to its data.

    Attributes
    ----------
    held_out
        Share of the sequences on which starts are compared.
    energy_penalty
        See :class:`~hydropress.reduction.descent.DescentConfig`; keeps modes from cancelling each
        other, so that fine-tuning can move them.
    half_life
        Longest half-life of a mode, in multiples of the sequence length.
    search_iterations, polish_iterations
        Steps of the descent on spectra and on the window.
    """

    held_out: float = 0.25
    energy_penalty: float = 1e-4
    half_life: float = 2.0
    search_iterations: int = 25
    polish_iterations: int = 25


@dataclass(frozen=True)
class CalibratedResult:
    """Reduced systems of one layer, batch shape ``(K,)``.

    Attributes
    ----------
    system
        D refitted.
    bias
        Constant at the output, float64, shape ``(K,)``.
    output_error
        Root mean square error on held-out sequences over the output's standard deviation, ``(K,)``.
    starts
        How many systems each start won.
    """

    system: ModalSystem
    bias: Tensor
    output_error: Tensor
    starts: dict[str, int]


def _spectral_objective(full: ModalSystem, signals: LayerSignals) -> SpectralObjective:
    """Return the weighted problem: weight S_u', target G S_uu' / S_u'."""
    spectra = input_spectra(signals)
    response = full.transfer_function(torch.exp(1j * spectra.frequencies))
    targets = response * spectra.transfer
    total = (spectra.power * targets.abs() ** 2).sum(-1, keepdim=True)
    weights = spectra.power / total.clamp_min(1e-300)
    energy = h2_norm(full) ** 2
    # D is fitted from scratch: the target includes the full system's own.
    return SpectralObjective(spectra.frequencies, weights, targets, energy, True)


def _window_objective(full: ModalSystem, statistics: WindowStatistics) -> KernelObjective:
    gram = statistics.gram
    length = gram.shape[-1]
    level = gram.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-300)
    jitter = 1e-9 * level[:, None, None] * torch.eye(length, dtype=gram.dtype, device=gram.device)
    lower = torch.linalg.cholesky(gram + jitter)
    targets = torch.linalg.solve_triangular(lower, statistics.cross[..., None], upper=False)[..., 0]
    constants = (statistics.output_energy - (targets**2).sum(-1)).clamp_min(0)
    rows = torch.arange(len(gram), device=gram.device)
    return KernelObjective(
        lower.mT,
        targets,
        constants,
        statistics.output_energy.clamp_min(1e-300),
        rows,
        h2_norm(full) ** 2,
    )


def _held_out_error(system: ModalSystem, bias: Tensor, signals: LayerSignals) -> Tensor:
    length = signals.inputs.shape[-1]
    outputs = predict(signals, system.impulse_response(length), system.D).double()
    wanted = signals.outputs.double()
    error = (wanted - outputs - bias[:, None, None]).square().mean((1, 2)).sqrt()
    return error / wanted.std((1, 2)).clamp_min(1e-300)


def reduce_calibrated(
    full: ModalSystem,
    order: int,
    signals: LayerSignals,
    settings: CalibratedSettings | None = None,
) -> CalibratedResult:
    """Reduce a layer's systems so that their outputs change least on its own inputs.

    The poles are searched for in the metric of the input's spectrum.  That optimum, the unweighted
    one and BT's are then polished on the exact window error with D as an unknown, and for each
    system the one with the smallest error on held-out sequences is kept.

    Parameters
    ----------
    full
        Bank of batch shape ``(K,)``.
    order
        States per system.
    signals
        What the systems get and should return, K rows.
    """
    chosen = CalibratedSettings() if settings is None else settings
    count, length = signals.inputs.shape[1:]
    fit, held_out = signals.split(max(1, round(chosen.held_out * count)))
    floor = math.log(2) / (chosen.half_life * length)
    search = DescentConfig(
        max_iterations=chosen.search_iterations,
        tolerance=1e-6,
        decay_floor=floor,
        energy_penalty=chosen.energy_penalty,
    )
    polish = replace(search, max_iterations=chosen.polish_iterations)
    spectral = _spectral_objective(full, fit)
    candidates = Candidates.of(spectral, *ladder_of_exponents(full))
    path = optimize_path(
        spectral, candidates, (order,), time=full.time, config=search, starts={}
    )
    unweighted = reduce(full, order).system
    (balanced,), _ = balanced_truncations(full, (order,))
    proposals = {
        "weighted": path[order].iterate,
        "unweighted": Iterate.from_system(unweighted),
        "balanced": Iterate.from_system(balanced),
    }
    statistics = window_statistics(fit)
    window = _window_objective(full, statistics)
    systems: dict[str, tuple[ModalSystem, Tensor]] = {}
    for name, start in proposals.items():
        start = replace(start, D=full.D if name != "weighted" else start.D)
        floored = replace(start, log_decay=start.log_decay.clamp_min(math.log(floor)))
        result = descend(window, refit_residues(window, floored), polish, time=full.time)
        system = result.iterate.to_system(torch.zeros_like(full.D), full.time)
        kernel = system.impulse_response(length)
        kernel[:, 0] += system.D
        bias = statistics.output_mean - (kernel * statistics.input_means).sum(-1)
        systems[name] = (system, bias)
    errors = torch.stack(
        [_held_out_error(system, bias, held_out) for system, bias in systems.values()]
    )
    errors = torch.where(torch.isfinite(errors), errors, torch.inf)
    winner = errors.argmin(0)
    best = Iterate.from_system(next(iter(systems.values()))[0])
    D, bias = (torch.zeros_like(full.D) for _ in range(2))
    for index, (system, own_bias) in enumerate(systems.values()):
        mine = winner == index
        best = Iterate.from_system(system).where(mine, best)
        D = torch.where(mine, system.D, D)
        bias = torch.where(mine, own_bias, bias)
    names = list(systems)
    counts = torch.bincount(winner, minlength=len(names)).tolist()
    return CalibratedResult(
        best.to_system(D, full.time),
        bias,
        errors.amin(0),
        {name: int(number) for name, number in zip(names, counts, strict=True)},
    )
