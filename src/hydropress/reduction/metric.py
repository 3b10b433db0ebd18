"""Errors and stationarity in the metric of a problem, by routes that do not cancel."""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.reduction.derivatives import stationarity_of
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import mode_energies
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.tangential import (
    ClosedFormTangential,
    SpectralTangential,
    TangentialObjective,
)
from hydropress.reduction.weights import InputCovariance, SpectralWeight
from hydropress.systems.gramians import all_mimo_modes
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.moments import exponential_moments
from hydropress.systems.norms import h2_error


def response_error(full: S, system: S, horizon: float | None = None) -> Tensor:
    """Return ‖h - h_r‖ of whole impulse responses, D included, ``(K,)``.

    In discrete time D is part of the first sample.  In continuous time it is an impulse, whose
    energy is infinite: so is the error where the feedthroughs differ.
    """
    error = h2_error(full, system, horizon=horizon)
    changed = full.D != system.D
    if isinstance(full, MIMOSystem):
        changed = changed.flatten(-2).any(-1)
    if not bool(changed.any()):
        return error
    if full.time == "continuous":
        return torch.where(changed, torch.inf, error)
    # The samples after the first have the residues ρa.
    first = first_sample(full) - first_sample(system)
    whole = first.abs() if isinstance(full, SISOSystem) else torch.linalg.matrix_norm(first)
    if horizon != 1:
        left = None if horizon is None else horizon - 1
        whole = torch.hypot(h2_error(delayed(full), delayed(system), horizon=left), whole)
    return torch.where(changed, whole, error)


def relative_error(problem: Problem[S], system: S, difference: Tensor) -> Tensor:
    """Return the error in the problem's metric, ``(K,)``.

    Parameters
    ----------
    difference
        :func:`response_error`, which is that error times ‖k‖ unless there is a weight.
    """
    if problem.weight is not None:
        return _weighted_error(problem, system)
    return torch.where(difference > 0, difference / problem.energy.sqrt(), difference)


def first_sample(system: ModalSystem) -> Tensor:
    """Return k[0] + D."""
    if isinstance(system, MIMOSystem):
        weighted = system.C * system.states[..., None, :]
        return (weighted @ system.B).real + system.D
    assert isinstance(system, SISOSystem)
    return (system.residues * system.states).real.sum(-1) + system.D


def delayed(system: ModalSystem) -> ModalSystem:
    """Return the systems whose kernel is k[t + 1]."""
    if isinstance(system, MIMOSystem):
        return replace(system, C=system.C * system.poles[..., None, :])
    assert isinstance(system, SISOSystem)
    return replace(system, residues=system.residues * system.poles)


def _weighted_error(problem: Problem[S], system: S) -> Tensor:
    full, weight = problem.full, problem.weight
    assert isinstance(weight, SpectralWeight)
    if isinstance(full, SISOSystem) and isinstance(system, SISOSystem):
        iterate = replace(Iterate.from_system(system), D=system.D - full.D)
        return problem.objective.evaluate(iterate).error.clamp_min(0).sqrt()
    errors: list[Tensor] = []
    for row in range(len(full.D)):
        objective, one = tangential_objective(problem, row), system[row]
        assert isinstance(objective, SpectralTangential) and isinstance(one, MIMOSystem)
        errors.append(objective.error_of(one, full[row].D))
    return torch.stack(errors)


def tangential_error(
    problem: Problem[MIMOSystem], objective: TangentialObjective, system: MIMOSystem
) -> Tensor:
    """Return the error of one system in a problem of one, ``()``, by a route that cannot cancel."""
    if isinstance(objective, SpectralTangential):
        return objective.error_of(system, problem.full.D[0])
    bank = system.reshape(1)
    difference = response_error(problem.full, bank, problem.horizon)
    return relative_error(problem, bank, difference)[0]


def tangential_objective(problem: Problem[S], row: int) -> TangentialObjective:
    """Return what is minimised for one system of a MIMO problem."""
    full, weight = problem.full, problem.weight
    assert isinstance(full, MIMOSystem) and not isinstance(weight, InputCovariance)
    free = problem.fits_feedthrough
    if weight is not None:
        frequencies = weight.frequencies.to(torch.float64)
        return SpectralTangential.of(full[row], frequencies, weight.values, fits_feedthrough=free)
    return ClosedFormTangential.of(
        full[row], problem.energy[row], problem.horizon, fits_feedthrough=free
    )


def stationarity(problem: Problem[S], system: S) -> Tensor:
    """Return the largest scaled derivative of the error at reduced systems, ``(K,)``."""
    full = problem.full
    if isinstance(full, SISOSystem) and isinstance(system, SISOSystem):
        iterate = replace(Iterate.from_system(system), D=system.D - full.D)
        floor = problem.descent.decay_floor
        return stationarity_of(problem.objective, iterate, decay_floor=floor, time=full.time)
    assert isinstance(full, MIMOSystem) and isinstance(system, MIMOSystem)
    return torch.stack([_stationarity(problem, system, row) for row in range(len(full.D))])


def _stationarity(problem: Problem[S], system: MIMOSystem, row: int) -> Tensor:
    one, full = system[row], problem.full[row]
    used = one.states > 0
    if not bool(used.any()) and not problem.fits_feedthrough:
        return one.D.new_zeros(())
    one = replace(
        one, exponents=one.exponents[used], B=one.B[used], C=one.C[:, used], states=one.states[used]
    )
    exponents, B, C = all_mimo_modes(one)
    # Of a pair both members are kept, of a real pole one with its whole weight.
    kept = torch.stack([torch.ones_like(one.states) > 0, one.states == 2], -1).flatten()
    C = torch.where(torch.stack([one.states == 1] * 2, -1).flatten(), 2 * C, C)[:, kept]
    if problem.fits_feedthrough:
        C = torch.cat([C, (one.D - full.D).to(C)], 1)
    objective, floor = tangential_objective(problem, row), problem.descent.decay_floor
    return objective.fit(exponents[kept], B[kept], C, decay_floor=floor).stationarity


def largest_mode_energy(problem: Problem[S], system: S) -> Tensor:
    """Return the largest energy of a mode over that of the full system, ``(K,)``."""
    if isinstance(system, SISOSystem):
        iterate = Iterate.from_system(system)
        return mode_energies(iterate, problem.energy, system.time, problem.horizon).amax(-1)
    assert isinstance(system, MIMOSystem)
    doubled = torch.complex(2 * system.exponents.real, torch.zeros_like(system.exponents.real))
    (phi,) = exponential_moments(doubled, 1, time=system.time, horizon=problem.horizon)
    squares = system.B.abs().square().sum(-1) * system.C.abs().square().sum(-2)
    return (squares * system.states * phi.real).amax(-1) / problem.energy
