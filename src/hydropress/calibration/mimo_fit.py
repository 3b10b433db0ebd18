"""Reduction of one layer of several inputs and outputs on the data that it sees."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.mimo_polish import polish, subsample
from hydropress.calibration.mimo_regression import Regression, SignalMoments, to_system
from hydropress.calibration.mimo_signals import (
    BACKWARD,
    LayerModes,
    MIMOSignals,
    batches,
    residuals,
)
from hydropress.reduction.balancing import Balancing
from hydropress.reduction.reduce import reduce_path
from hydropress.reduction.weights import measured_weight
from hydropress.systems.gramians import real_gramian_factors
from hydropress.systems.modal import MIMOSystem

POLISHING_STEPS = 30


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


def observed_balancing(
    full: MIMOSystem, signals: MIMOSignals, direction: int
) -> Balancing[MIMOSystem]:
    """Return balanced coordinates in which the states have the covariance that they have on data.

    The controllability Gramian, the states' covariance under white inputs, gives way to the one
    measured on the signals; the observability Gramian stays.  Of the outputs' energy the states
    that are kept have as much as any so many can have to first order, correlated inputs or not.

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


def mimo_starts(
    full: MIMOSystem,
    orders: tuple[int, ...],
    signals: MIMOSignals,
    settings: CalibratedSettings,
) -> dict[int, list[dict[str, MIMOSystem]]]:
    """Return the starts at every order.

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
    """
    length = signals.inputs.shape[-1]
    descent = replace(settings.search(length), energy_penalty=0.0)
    found: dict[int, list[dict[str, MIMOSystem]]] = {order: [] for order in orders}
    for row, direction in enumerate(signals.directions):
        system = full[row : row + 1]
        possible = tuple(order for order in orders if order < int(system.order))
        paths: dict[str, dict[int, MIMOSystem]] = {name: {} for name in NAMES}
        if possible:
            samples = signals.inputs.double() - signals.inputs.double().mean((0, 2))[:, None]
            read = samples.flip(-1) if direction == BACKWARD else samples
            weight = measured_weight(read.mT)
            plain = reduce_path(system, orders=possible, descent=descent)
            weighted = reduce_path(system, orders=possible, descent=descent, weight=weight)
            balanced = Balancing.of(system)
            observed = observed_balancing(system, signals, direction)
            for order in possible:
                paths["unweighted"][order] = plain[order].system[0]
                paths["weighted"][order] = weighted[order].system[0]
                paths["balanced"][order] = balanced.truncate(order)[0]
                paths["observed"][order] = observed.truncate(order)[0]
        for order in orders:
            found[order].append({name: paths[name].get(order, system[0]) for name in NAMES})
    return found


NAMES = "observed", "weighted", "unweighted", "balanced"


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
        Batch shape ``(K,)``, one system a direction; the D that is fitted is diagonal if this one's
        is.
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
        moments = SignalMoments.of(fitted, is_full=_is_full(full))
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
        missed = residuals(system, torch.zeros_like(fitted_bias), self.held_out).double()
        counts = len(self.fitted.inputs), len(self.held_out.inputs)
        mean = missed.mean((0, 2))
        bias = (counts[0] * fitted_bias + counts[1] * mean) / sum(counts)
        squares = (missed - bias[:, None]).square().mean((0, 2))
        error = float((squares.sum() / self.held_out_variance.sum()).sqrt())
        by_output = (squares / self.held_out_variance).sqrt()
        return _Candidate(system, bias, error if error == error else float("inf"), by_output)

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

        C, D and a bias are refitted for every start; the start with the smallest error on held-out
        sequences, refitted or as it was but for its bias, is taken, and its poles and B polished on
        the output error.  Each step is kept only if the error on held-out sequences falls.

        Parameters
        ----------
        starts
            By name, batch shape ``(K,)`` as the full layer.
        """
        search = self.settings.search(self.fitted.inputs.shape[-1])
        best: tuple[_Candidate, str, bool] | None = None
        for name, start in starts.items():
            whole = bool((start.order >= self.full.order).all())
            floored = self.full if whole else _floored(start, search.decay_floor)
            regression = self._regress(floored)
            tried = [(self._plain(floored, regression), name, False)]
            if not whole:
                tried.append((self._refitted(floored, regression), name, True))
            for one in tried:
                if best is None or one[0].error < best[0].error:
                    best = one
            if whole:
                break
        assert best is not None
        found, name, is_refitted = best
        is_polished = False
        count = int(found.system.order.sum())
        if polishing and 0 < count < int(self.full.order.sum()):
            moved = polish(
                found.system,
                subsample(self.fitted),
                is_full=_is_full(self.full),
                penalty=self.settings.energy_penalty,
                decay_floor=search.decay_floor,
                steps=POLISHING_STEPS,
            )
            polished = self._refitted(moved, self._regress(moved))
            if polished.error < found.error:
                found, is_polished = polished, True
        return MIMOResult(
            found.system, found.bias, found.error, found.by_output, name, is_refitted, is_polished
        )


def _floored(system: MIMOSystem, floor: float) -> MIMOSystem:
    decay = (-system.exponents.real).clamp_min(floor)
    return replace(system, exponents=torch.complex(-decay, system.exponents.imag))


def _is_full(system: MIMOSystem) -> bool:
    direct = system.D.sum(0)
    return bool((direct != torch.diag_embed(direct.diagonal())).any())
