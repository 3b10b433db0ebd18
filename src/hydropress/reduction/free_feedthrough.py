"""The best D for given poles and residues; without a weight, the kernel from its second sample on.

D adds to the first sample alone, so that the best one leaves nothing of it: what remains of
‖k - k_r‖² is the error of k[t + 1], whose poles are the same and whose residues are ρa.
"""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from hydropress.reduction.metric import delayed, first_sample
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.weights import SpectralWeight
from hydropress.systems.modal import MIMOSystem, SISOSystem


def with_best_feedthrough(problem: Problem[S], system: S) -> S:
    """Return the systems with the best D for their poles and residues, if D is free.

    Linear least squares: without a weight D takes what is left of the first sample; under a
    spectrum S it is the mean of the residual, D Σ Re S = Σ Re (E S), E = G - G_r without D_r.

    Parameters
    ----------
    system
        Bank of the problem's batch shape ``(K,)``; of its D nothing is used if D is free.
    """
    if not problem.fits_feedthrough:
        return system
    full, weight = problem.full, problem.weight
    if weight is None:
        D = system.D + (first_sample(full) - first_sample(system))
        return cast(S, replace(system, D=D))  # type: ignore[type-var]
    assert isinstance(weight, SpectralWeight)
    points = torch.exp(1j * weight.frequencies.to(torch.float64))
    residual = full.transfer_function(points) - system.transfer_function(points)
    if isinstance(full, MIMOSystem):
        spectra = weight.values.to(torch.complex128)
        right = (residual @ spectra).real.sum(-3)
        # Directions in which there is no input have the D of least norm.
        change = right @ torch.linalg.pinv(spectra.real.sum(0), hermitian=True)
    else:
        values = weight.values.to(torch.float64)
        change = (values * residual.real).sum(-1) / values.sum(-1)
    return cast(S, replace(system, D=system.D + change))  # type: ignore[type-var]


def from_second_sample(full: SISOSystem) -> SISOSystem:
    """Return the systems whose kernel is k[t + 1]."""
    later = cast(SISOSystem, delayed(full))
    return replace(later, residues=_of_states(later.residues, full.states))


def with_first_sample(reduced: SISOSystem, full: SISOSystem) -> SISOSystem:
    """Return the systems that :func:`from_second_sample` makes ``reduced`` of, k[0] + D as full's.

    Parameters
    ----------
    reduced, full
        Banks of one batch shape ``(K,)``.
    """
    residues = _of_states(reduced.residues / reduced.poles, reduced.states)
    earlier = replace(reduced, residues=residues, D=torch.zeros_like(full.D))
    return replace(earlier, D=first_sample(full) - first_sample(earlier))


def _of_states(residues: Tensor, states: Tensor) -> Tensor:
    """Return the residues, those of real poles real."""
    real = torch.complex(residues.real, torch.zeros_like(residues.real))
    return torch.where(states == 1, real, residues)
