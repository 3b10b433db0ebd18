"""Reduction of one layer of several inputs and outputs on the data that it sees."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.mimo_polish import polish, subsample
from hydropress.calibration.mimo_regression import Regression, SignalMoments, to_system
from hydropress.calibration.mimo_signals import (
    LayerModes,
    MIMOSignals,
    residuals,
)
from hydropress.systems.modal import MIMOSystem

FINALISTS = 2
"""Starts from which the descent goes on.  Of a layer that reads both ways (S5, H = 32, 64 states to
16) the observed start, second after least squares, ended at 0.121, the weighted one, first, at
0.128."""

POLISHING_STEPS = 30
"""Of layers at initialisation with smooth inputs the descent takes 3 to 30 % off the output error,
0.158 to 0.127 for S5 (H = 32, 64 states to 8, 64 sequences of 512) in 0.5 s, 0.648 to 0.540 for LRU
(H = 64, 128 to 16) in 5 s, 0.101 to 0.092 for S5 (H = 128, 256 to 32) in 24 s; 100 steps take 3 %
more off in three times as long."""

UNSEEN = 1e-12
"""Share of an input's squares below which its changes are rounding: data tell nothing of its D."""


@dataclass(frozen=True)
class MIMOResult:
    """Reduced systems of one layer.

    Attributes
    ----------
    system
        Batch shape ``(K,)``, one a direction; C and the diagonal D refitted.
    bias
        Constants at the outputs, float64, shape ``(H,)``.
    output_error
        Root mean square error of all outputs on held-out sequences over their standard deviation.
    by_output
        The same of each output, float64, shape ``(H,)``.
    start
        Which of the starts won.
    is_refitted, is_polished
        Whether least squares and the descent made it better on held-out sequences.
    """

    system: MIMOSystem
    bias: Tensor
    output_error: float
    by_output: Tensor
    start: str
    is_refitted: bool
    is_polished: bool


@dataclass(frozen=True)
class _Candidate:
    """Systems with their bias and held-out error."""

    system: MIMOSystem
    bias: Tensor
    error: float
    by_output: Tensor


@dataclass(frozen=True)
class MIMOFit:
    """The data of a layer, ready for fits of any orders.

    Attributes
    ----------
    full
        Batch shape ``(K,)``, one system a direction.
    fitted, held_out
        The sequences that are fitted, and the last ones, on which starts are compared.
    moments
        Of those that are fitted.
    settings
        How.
    """

    full: MIMOSystem
    fitted: MIMOSignals
    held_out: MIMOSignals
    moments: SignalMoments
    held_out_variance: Tensor
    settings: CalibratedSettings

    @staticmethod
    def of(full: MIMOSystem, signals: MIMOSignals, settings: CalibratedSettings) -> "MIMOFit":
        """Do the work that fits of all orders share."""
        fitted, held_out = signals.split(settings.num_held_out(len(signals.inputs)))
        moments = SignalMoments.of(fitted)
        return MIMOFit(full, fitted, held_out, moments, held_out.variance(), settings)

    @property
    def _directions(self) -> tuple[int, ...]:
        return self.fitted.directions

    def _assess(self, system: MIMOSystem, fitted_bias: Tensor) -> _Candidate:
        """Measure systems whose bias matches the means of all sequences.

        Parameters
        ----------
        fitted_bias
            What matches those of the sequences that are fitted.
        """
        system, fitted_bias = self._with_unseen(system, fitted_bias)
        missed = residuals(system, torch.zeros_like(fitted_bias), self.held_out).double()
        counts = len(self.fitted.inputs), len(self.held_out.inputs)
        mean = missed.mean((0, 2))
        bias = (counts[0] * fitted_bias + counts[1] * mean) / sum(counts)
        squares = (missed - bias[:, None]).square().mean((0, 2))
        error = float((squares.sum() / self.held_out_variance.sum()).sqrt())
        by_output = (squares / self.held_out_variance).sqrt()
        return _Candidate(system, bias, math.inf if math.isnan(error) else error, by_output)

    def _with_unseen(self, system: MIMOSystem, bias: Tensor) -> tuple[MIMOSystem, Tensor]:
        """Return systems, and their bias, with the original's D at inputs that never change."""
        moments = self.moments
        squares = moments.input_energy + moments.samples * moments.input_means**2
        unseen = moments.input_energy <= UNSEEN * squares
        if 0 not in self._directions or not bool(unseen.any()):
            return system, bias
        wanted, found = (one.D.sum(0).diagonal() for one in (self.full, system))
        change = torch.where(unseen, wanted - found, 0.0)
        D = system.D.clone()
        D[self._directions.index(0)] += torch.diag_embed(change)
        return replace(system, D=D), bias - change * moments.input_means

    def _plain(self, system: MIMOSystem, regression: Regression) -> _Candidate:
        """Return systems as they are, with matched means."""
        modes = LayerModes.of(system, self._directions)
        weights = modes.weights_of(modes.C)
        return self._assess(system, regression.bias(weights, system.D.sum(0)))

    def _refitted(self, system: MIMOSystem, regression: Regression) -> _Candidate:
        fitted = regression.solve(self.settings.energy_penalty)
        modes = regression.modes
        found = to_system(system, self._directions, modes, fitted.weights, fitted.D)
        return self._assess(found, fitted.bias)

    def _regress(self, system: MIMOSystem) -> Regression:
        modes = LayerModes.of(system, self._directions)
        return Regression.of(modes, self.fitted, self.moments)

    def reduce(self, starts: dict[str, MIMOSystem], *, polishing: bool = True) -> MIMOResult:
        """Fit systems to the data.

        C, a diagonal D and a bias are refitted for every start; the starts with the smallest
        errors on held-out sequences, refitted or as they were but for the bias, have their poles
        and B polished on the output error.  Each step is kept only if the held-out error falls.

        Parameters
        ----------
        starts
            By name, batch shape ``(K,)`` as the full layer.
        polishing
            Whether poles and B are moved.

        Notes
        -----
        D is fitted as a diagonal also where the original's is full, as it is where both directions
        count the present sample.  A full one has H² numbers, as many as H/4 pairs have, which take
        off more: at H = 32, 64 states to 16, smooth inputs, the output error of an S5 layer was
        0.158, with a full D 0.154, and with 16 more states instead, as many numbers, 0.102; that of
        an LRU layer, which responds more at once, 0.181, 0.122 and 0.090.
        """
        floor = self.settings.search(self.fitted.inputs.shape[-1]).decay_floor
        tried: list[tuple[_Candidate, str, bool]] = []
        for name, start in starts.items():
            if bool((start.order >= self.full.order).all()):
                regression = self._regress(self.full)
                tried = [(self._plain(self.full, regression), name, False)]
                break
            floored = _floored(start, floor)
            regression = self._regress(floored)
            plain = self._plain(floored, regression)
            refitted = self._refitted(floored, regression)
            is_refitted = refitted.error < plain.error
            tried.append((refitted if is_refitted else plain, name, is_refitted))
        tried.sort(key=lambda one: one[0].error)
        best, name, is_refitted = tried[0]
        is_polished = False
        count = int(best.system.order.sum())
        if polishing and best.error > 0 and 0 < count < int(self.full.order.sum()):
            for candidate, own_name, _ in tried[:FINALISTS]:
                polished = self._polished(candidate.system, floor)
                if polished.error < best.error:
                    best, name = polished, own_name
                    is_refitted = is_polished = True
        return MIMOResult(
            best.system, best.bias, best.error, best.by_output, name, is_refitted, is_polished
        )

    def _polished(self, system: MIMOSystem, floor: float) -> _Candidate:
        moved = polish(
            system,
            subsample(self.fitted),
            penalty=self.settings.energy_penalty,
            decay_floor=floor,
            steps=POLISHING_STEPS,
        )
        return self._refitted(moved, self._regress(moved))


def _floored(system: MIMOSystem, floor: float) -> MIMOSystem:
    decay = (-system.exponents.real).clamp_min(floor)
    return replace(system, exponents=torch.complex(-decay, system.exponents.imag))
