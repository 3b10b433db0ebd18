"""Descent of a layer's output error on its poles and input directions, the rest eliminated."""

import math
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from hydropress.calibration.mimo_regression import Fitted, Regression, SignalMoments, products
from hydropress.calibration.mimo_signals import LayerModes, MIMOSignals
from hydropress.reduction.tangential_descent import LARGEST_LOG_DECAY
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.moments import wrap_phase

SAMPLES, FEWEST = 2**16, 8
"""Of the sequences that a descent looks at, and how many sequences at least."""

MEMORY = 20
WEAKEST = 1e-3
"""Least share of the strongest mode's energy by which a mode's unknowns are scaled."""

WHITENING, LEAST_VARIANCE = 1e-3, 1e-6
"""Of the inputs' mean variance and of their mean square, added to their covariance."""


@dataclass(frozen=True)
class Gradient:
    """Merit at given poles and input directions, and its derivatives.

    Attributes
    ----------
    fitted
        The best outputs there.
    by_exponent, by_input
        Of the merit: dE = Re Σ ḡ dz, complex128, shapes ``(m,)`` and ``(m, H)``.
    energies
        Of what each mode contributes to all outputs, over the outputs' energy, shape ``(m,)``.
    """

    fitted: Fitted
    by_exponent: Tensor
    by_input: Tensor
    energies: Tensor


@dataclass(frozen=True)
class OutputObjective:
    """The squared output error of modes on some sequences, with the price of their energies.

    Attributes
    ----------
    signals
        Inputs and wanted outputs.
    moments
        Theirs.
    inputs, outputs
        The same with channels first, shape ``(H, n, L)``.
    exact
        Rows of inputs, then of outputs, float64, shape ``(2 H, n L)``.
    penalty
        As of :meth:`~hydropress.calibration.mimo_regression.Regression.solve`.
    """

    signals: MIMOSignals
    moments: SignalMoments
    inputs: Tensor
    outputs: Tensor
    exact: Tensor
    penalty: float

    @staticmethod
    def of(signals: MIMOSignals, penalty: float) -> "OutputObjective":
        """Pose the problem; all trajectories are held at once."""
        inputs, outputs = (
            one.transpose(0, 1).contiguous() for one in (signals.inputs, signals.outputs)
        )
        moments = SignalMoments.of(signals)
        exact = torch.cat([inputs.flatten(1), outputs.flatten(1)]).double()
        return OutputObjective(signals, moments, inputs, outputs, exact, penalty)

    def evaluate(self, modes: LayerModes) -> Gradient:
        """Return merit and derivatives with C, D and the bias eliminated.

        Notes
        -----
        At the best outputs the derivative by them is zero, so that of the merit is the one at
        fixed outputs [golub2003varpro].  It comes from the adjoint recurrence, driven by the
        residual from the last sample to the first.
        """
        states = modes.trajectories(self.inputs)
        regressors = modes.regressors(states)
        sums = products(regressors, self.exact)
        regression = Regression.from_sums(modes, self.signals, self.moments, sums)
        fitted = regression.solve(self.penalty)
        count, pairs = len(modes.states), modes.states == 2
        weights = fitted.weights.to(self.inputs)
        flat = regressors.flatten(1)
        residual = self.outputs.flatten(1) - weights @ flat - fitted.bias[:, None].to(flat)
        residual -= fitted.D[:, None].to(flat) * self.inputs.flatten(1)
        squares = fitted.weights.square().sum(0)
        by_mode = squares[:count].clone()
        by_mode[pairs] += squares[count:]
        price = modes.per_regressor(2 / modes.states * self.penalty * by_mode)[:, None]
        by_regressor = price.to(flat) * (flat - regression.means[:, None].to(flat))
        by_regressor -= 2 * (weights.mT @ residual)
        by_state = torch.complex(by_regressor[:count], torch.zeros_like(by_regressor[:count]))
        by_state[pairs] += 1j * by_regressor[count:]
        by_drive = modes.adjoint(by_state.reshape(states.shape))
        ahead = ~modes.backward
        before = states
        if bool(ahead.any()):
            before = states.clone()
            before[ahead, :, 1:] = states[ahead, :, :-1]
            before[ahead, :, 0] = 0
        poles = torch.exp(modes.exponents)
        scale = 1 / self.moments.output_energy
        by_pole = (by_drive * before.conj()).to(torch.complex128).sum((1, 2))
        u = self.exact[: len(self.inputs)].mT
        flat_drive = by_drive.flatten(1)
        by_input = torch.complex(flat_drive.real.double() @ u, flat_drive.imag.double() @ u)
        energies = by_mode * regression.energies * scale
        return Gradient(
            fitted,
            by_pole * poles.conj() * scale,
            by_input * scale,
            energies,
        )


def subsample(signals: MIMOSignals) -> MIMOSignals:
    """Return the first sequences, as many as a descent looks at."""
    return signals.first(max(FEWEST, SAMPLES // signals.inputs.shape[-1]))


class _Unknowns:
    """Log decays, shifts in frequency and input directions, scaled for a descent.

    Decays and shifts are in units of the decay at the start, directions are those of the inputs
    made white, and what belongs to a mode is divided by the root of its energy at the start: a unit
    of each then changes the outputs about as much.
    """

    def __init__(
        self, start: LayerModes, energies: Tensor, factor: Tensor, decay_floor: float
    ) -> None:
        self._start, self._factor = start, factor
        self._floor, self._ceiling = math.log(decay_floor), LARGEST_LOG_DECAY
        self._pairs = start.states == 2
        decay = (-start.exponents.real).clamp_min(1e-300)
        self._log_decay = decay.log().clamp(self._floor, self._ceiling)
        self._decay = self._log_decay.exp()
        white = start.B @ factor.to(start.B)
        sizes = torch.linalg.vector_norm(white, dim=1, keepdim=True).clamp_min(1e-300)
        self._white = white / sizes
        strongest = energies.max().clamp_min(1e-300)
        self._scale = (energies / strongest).clamp_min(WEAKEST).rsqrt()
        m, H = start.B.shape
        shapes = (m,), (m,), (m, H), (m, H)
        self.parameters = [
            torch.zeros(shape, dtype=torch.float64, device=decay.device, requires_grad=True)
            for shape in shapes
        ]

    def modes(self) -> LayerModes:
        """Return the modes of the present values."""
        decays, shifts, real, imaginary = (one.detach() for one in self.parameters)
        log_decay = (self._log_decay + self._scale * decays).clamp(self._floor, self._ceiling)
        shift = self._pairs * self._scale * self._decay * shifts
        frequency = self._start.exponents.imag + shift
        moved = self._scale[:, None] * torch.complex(real, imaginary * self._pairs[:, None])
        B = torch.linalg.solve_triangular(
            self._factor.to(moved), self._white + moved, upper=False, left=False
        )
        return self._start.replace(torch.complex(-log_decay.exp(), frequency), B, self._start.C)

    def differentiate(self, gradient: Gradient, at: LayerModes) -> None:
        """Set the parameters' derivatives."""
        by_decay = at.exponents.real * gradient.by_exponent.real
        log_decay = self._log_decay + self._scale * self.parameters[0].detach()
        # A pole that rests on the floor and is pushed below it stays there.
        inside = (log_decay > self._floor) | (by_decay < 0)
        inside &= (log_decay >= self._floor) & (log_decay <= self._ceiling)
        by_white = torch.linalg.solve_triangular(
            self._factor.mT.to(gradient.by_input), gradient.by_input, upper=True, left=False
        )
        scale, wide = self._scale, self._scale[:, None]
        found = (
            torch.where(inside, by_decay, 0.0) * scale,
            gradient.by_exponent.imag * self._pairs * self._decay * scale,
            by_white.real * wide,
            by_white.imag * self._pairs[:, None] * wide,
        )
        for parameter, derivative in zip(self.parameters, found, strict=True):
            parameter.grad = derivative.contiguous()


class _ExhaustedError(Exception):
    """Ends an optimiser from within its line search."""


def polish(
    start: MIMOSystem,
    signals: MIMOSignals,
    *,
    penalty: float,
    decay_floor: float,
    steps: int,
) -> MIMOSystem:
    """Lower the output error of systems by L-BFGS with a strong Wolfe search.

    Parameters
    ----------
    start
        Batch shape ``(K,)``, one a direction.
    signals
        On which the error counts.
    penalty
        See :class:`OutputObjective`.
    decay_floor
        Least decay per sample.
    steps
        At most.

    Returns
    -------
    MIMOSystem
        The best poles and B seen; C and D are those of the start, and to be fitted.
    """
    objective = OutputObjective.of(signals, penalty)
    modes = LayerModes.of(start, signals.directions)
    factor = _whitening(objective.exact[: len(objective.inputs)])
    first = objective.evaluate(modes)
    unknowns = _Unknowns(modes, first.energies, factor, decay_floor)
    best, least, evaluations = modes, math.inf, 0

    def evaluate() -> Tensor:
        nonlocal best, least, evaluations
        if evaluations >= 2 * steps:
            raise _ExhaustedError
        evaluations += 1
        at = unknowns.modes()
        gradient = objective.evaluate(at)
        merit = gradient.fitted.merit
        if merit < least:
            best, least = at, merit
        unknowns.differentiate(gradient, at)
        return torch.tensor(merit, dtype=torch.float64)

    optimizer = torch.optim.LBFGS(
        unknowns.parameters,
        max_iter=steps,
        max_eval=2 * steps,
        tolerance_grad=1e-10,
        tolerance_change=1e-12,
        history_size=MEMORY,
        line_search_fn="strong_wolfe",
    )
    with suppress(_ExhaustedError):
        optimizer.step(evaluate)  # type: ignore[arg-type]
    return _with_modes(start, best)


def _whitening(inputs: Tensor) -> Tensor:
    """Return L with L Lᵀ the covariance of inputs ``(H, samples)`` and a little more."""
    centred = inputs - inputs.mean(1, keepdim=True)
    covariance = centred @ centred.mT / inputs.shape[1]
    ridge = WHITENING * covariance.diagonal().mean() + LEAST_VARIANCE * inputs.square().mean()
    return torch.linalg.cholesky(covariance + ridge * torch.eye(len(inputs)).to(covariance))


def _with_modes(system: MIMOSystem, modes: LayerModes) -> MIMOSystem:
    """Return systems with other poles and B; an entry is the member with Im > 0 of its pair."""
    exponents = wrap_phase(modes.exponents)
    lower = (exponents.imag < 0) & (modes.states == 2)
    exponents = torch.where(lower, exponents.conj(), exponents)
    exponents = torch.where(
        modes.states == 2, exponents, torch.complex(exponents.real, modes.exponents.imag)
    )
    used = system.states > 0
    found = system.exponents.clone(), system.B.clone()
    found[0][used] = exponents
    found[1][used] = torch.where(lower[:, None], modes.B.conj(), modes.B)
    return MIMOSystem(found[0], found[1], system.C, system.states, system.D, system.time)
