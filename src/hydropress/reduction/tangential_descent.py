"""Quasi-Newton descent for MIMO systems, on poles and input directions; never uphill."""

import math
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from hydropress.reduction.tangential import Fit, TangentialObjective
from hydropress.systems.assembly import without_silent_modes
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.moments import Time, wrap_phase

MEMORY = 30
"""Pairs of steps and gradient changes that L-BFGS keeps."""

NOISE, PATIENCE = 1e-15, 30
"""Squared errors that differ by less are equal; a line search at the bottom would go on for
hundreds of evaluations, and is stopped after so many that bring nothing."""

LARGEST_LOG_DECAY = 3.5
"""Per sample: a pole of e^{-33} is none."""


@dataclass(frozen=True)
class Directions:
    """The free parameters of one reduced system: pairs first, then real poles.

    Attributes
    ----------
    log_decay
        log(-Re z), float64, shape ``(m,)``.
    frequency
        Im z, float64, shape ``(m,)``; of a real pole 0 or π.
    B
        e, complex128, shape ``(m, M)``; real for real poles.
    num_pairs
        How many of the entries are pairs.
    """

    log_decay: Tensor
    frequency: Tensor
    B: Tensor
    num_pairs: int

    @staticmethod
    def of(system: MIMOSystem) -> "Directions":
        """Take over one system; empty entries are dropped."""
        ranking = torch.argsort(-system.states, stable=True)
        ranking = ranking[system.states[ranking] > 0]
        exponents = system.exponents[ranking]
        log_decay = torch.log((-exponents.real).clamp_min(1e-300))
        pairs = int((system.states == 2).sum())
        return Directions(log_decay, exponents.imag, system.B[ranking], pairs)

    def all_modes(self) -> tuple[Tensor, Tensor]:
        """Return exponents ``(r,)`` and B ``(r, M)``: pairs, their conjugates, real poles."""
        exponents = torch.complex(-self.log_decay.exp(), self.frequency)
        pairs, reals = slice(None, self.num_pairs), slice(self.num_pairs, None)
        return (
            torch.cat([exponents[pairs], exponents[pairs].conj(), exponents[reals]]),
            torch.cat([self.B[pairs], self.B[pairs].conj(), self.B[reals]]),
        )

    def to_system(self, C: Tensor, full: MIMOSystem) -> MIMOSystem:
        """Return the system with outputs of all modes ``(P, r)``, and M columns of a fitted D."""
        exponents, _ = self.all_modes()
        D = full.D
        if C.shape[1] > len(exponents):
            D = D + C[:, len(exponents) :].real
        pairs, count = self.num_pairs, len(self.log_decay)
        kept = torch.cat([torch.arange(pairs), torch.arange(2 * pairs, pairs + count)])
        inputs, outputs, exponents = self.B, C[:, kept], exponents[kept]
        states = torch.where(torch.arange(count) < pairs, 2, 1).to(full.states.device)
        reals = torch.complex(outputs.real, torch.zeros_like(outputs.real))
        outputs = torch.where(states == 1, reals, outputs)
        if full.time == "discrete":
            exponents = wrap_phase(exponents)
        # A frequency may have passed 0 or π: the entry is the member with Im > 0.
        lower = (exponents.imag < 0) & (states == 2)
        inputs = torch.where(lower[:, None], inputs.conj(), inputs)
        outputs = torch.where(lower, outputs.conj(), outputs)
        exponents = torch.where(lower, exponents.conj(), exponents)
        return without_silent_modes(MIMOSystem(exponents, inputs, outputs, states, D, full.time))


@dataclass(frozen=True)
class TangentialDescent:
    """Where a descent ended.

    Attributes
    ----------
    directions, fit
        The final parameters and their fit.
    iterations
        Evaluations of the objective.
    """

    directions: Directions
    fit: Fit
    iterations: int


def derivatives(directions: Directions, fit: Fit) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the derivatives of the error by log decays, frequencies, Re e and Im e.

    Returns
    -------
    tuple of Tensor
        float64, shapes ``(m,)``, ``(pairs,)``, ``(m, M)`` and ``(pairs, M)``: what is free.
    """
    pairs, count = directions.num_pairs, len(directions.log_decay)
    # Both members of a pair move: twice the derivative by the first.
    kept = torch.cat([torch.arange(pairs), torch.arange(2 * pairs, pairs + count)])
    weight = torch.where(torch.arange(count) < pairs, 2.0, 1.0).to(directions.log_decay)
    by_exponent = fit.by_exponent[kept] * weight
    by_input = fit.by_input[kept] * weight[:, None]
    return (
        -directions.log_decay.exp() * by_exponent.real,
        by_exponent.imag[:pairs],
        by_input.real,
        by_input.imag[:pairs],
    )


def log_decay_range(decay_floor: float, time: Time) -> tuple[float, float]:
    """Return the least and the largest log decay of a descent."""
    return math.log(decay_floor), LARGEST_LOG_DECAY if time == "discrete" else math.inf


class _SettledError(Exception):
    """Ends an optimiser from within its line search."""


def _is_better(fit: Fit, best: Fit, lowest: float) -> bool:
    """Say whether the error is smaller or, up to rounding, equal and nearer to stationary."""
    if bool(best.error.isnan()) or float(fit.error) < float(best.error) - NOISE:
        return True
    return float(fit.error) <= lowest + NOISE and bool(fit.stationarity < best.stationarity)


def descend_tangential(
    objective: TangentialObjective,
    start: Directions,
    *,
    max_iterations: int,
    decay_floor: float,
    tolerance: float,
    time: Time,
) -> TangentialDescent:
    """Minimise the squared relative error from a start by L-BFGS with a strong Wolfe search.

    Unknowns are log decays, frequencies in units of the start's decays, and input directions of
    unit norm at the start.

    Parameters
    ----------
    max_iterations
        Steps.
    decay_floor
        Smallest decay per sample or time unit that a pole may take.
    tolerance
        On the stationarity.

    Returns
    -------
    TangentialDescent
        The best point seen, so never worse than the start.
    """
    pairs = start.num_pairs
    unit = start.log_decay.exp()
    floor, ceiling = log_decay_range(decay_floor, time)
    sizes = torch.linalg.vector_norm(start.B, dim=1, keepdim=True).clamp_min(1e-300)
    inputs = start.B / sizes
    decays = start.log_decay.clamp(floor, ceiling).clone().requires_grad_()
    shifts = torch.zeros(pairs, dtype=torch.float64, device=unit.device, requires_grad=True)
    real = inputs.real.clone().requires_grad_()
    imaginary = inputs.imag[:pairs].clone().requires_grad_()
    parameters = [decays, shifts, real, imaginary]

    def current() -> Directions:
        padded = torch.cat([imaginary.detach(), torch.zeros_like(real.detach()[pairs:])])
        moved = start.frequency.clone()
        moved[:pairs] += unit[:pairs] * shifts.detach()
        log_decay = decays.detach().clamp(floor, ceiling)
        return Directions(log_decay, moved, torch.complex(real.detach(), padded), pairs)

    best: tuple[Directions, Fit] | None = None
    evaluations, idle, lowest = 0, 0, math.inf

    def evaluate() -> Tensor:
        nonlocal best, evaluations, idle, lowest
        evaluations += 1
        directions = current()
        fit = objective.fit(*directions.all_modes(), decay_floor=decay_floor)
        error = float(fit.error)
        idle = 0 if error < lowest - NOISE else idle + 1
        lowest = min(lowest, error)  # stays where it is if the error is NaN
        if best is None or _is_better(fit, best[1], lowest):
            best = directions, fit
        if idle > PATIENCE or bool(fit.stationarity <= tolerance):
            raise _SettledError
        by_decay, by_frequency, by_real, by_imaginary = derivatives(directions, fit)
        at = decays.detach()
        # A pole that rests on the floor and is pushed below it stays there.
        inside = (at >= floor) & (at <= ceiling) & ~((at == floor) & (by_decay > 0))
        decays.grad = torch.where(inside, by_decay, 0.0)
        shifts.grad = unit[:pairs] * by_frequency
        real.grad = by_real.clone()
        imaginary.grad = by_imaginary.clone()
        return fit.error

    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=max_iterations,
        max_eval=2 * max_iterations,
        tolerance_grad=1e-13,
        tolerance_change=1e-18,
        history_size=MEMORY,
        line_search_fn="strong_wolfe",
    )
    with suppress(_SettledError):
        if max_iterations > 0:
            optimizer.step(evaluate)  # type: ignore[arg-type]
        else:
            evaluate()
    assert best is not None
    return TangentialDescent(*best, evaluations)
