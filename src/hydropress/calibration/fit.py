"""Reduction of one layer on the data that it sees."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.calibration.signals import FIT_BINS, LayerSignals, input_means, predict
from hydropress.calibration.spectrum import spectral_objective
from hydropress.calibration.window import Means, Pull, retarget, window_of
from hydropress.reduction.balancing import Balancing
from hydropress.reduction.descent import DescentConfig, descend
from hydropress.reduction.h2 import optimize_path
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.multistart import narrow_width
from hydropress.reduction.reduce import reduce_path
from hydropress.reduction.residues import refit_residues
from hydropress.reduction.sampled import KernelObjective, SpectralObjective
from hydropress.reduction.search import Candidates, ladder_of_exponents
from hydropress.systems.modal import SISOSystem


@dataclass(frozen=True)
class CalibratedSettings:
    """How a layer is fitted to its data.

    Attributes
    ----------
    held_out
        Share of the sequences on which starts and plans are compared.
    energy_penalty
        See :class:`~hydropress.reduction.descent.DescentConfig`; keeps modes from cancelling each
        other, so that fine-tuning can move them.
    half_life
        Longest half-life of a mode, in multiples of the sequence length.
    search_iterations, polish_iterations
        Steps of the descent on spectra and on the window; 25 and 25 took half as long again for
        the same accuracy within its error.
    dropout
        Whether the model's dropout acts while the inputs of its layers are captured, the same
        entries dropped in the original and in the compressed prefix.  Fitted without, few states
        shared by many channels cancel each other so finely that dropout, and with it fine-tuning,
        throws the network off.
    longest_window
        Samples of a sequence beyond which layers are fitted on spectra instead of on the window
        0 ≤ t < L, whose matrices take minutes a system at 16,384.
    """

    held_out: float = 0.25
    energy_penalty: float = 1e-4
    half_life: float = 2.0
    search_iterations: int = 15
    polish_iterations: int = 10
    dropout: bool = True
    longest_window: int = 8192

    def num_held_out(self, count: int) -> int:
        """Return how many of the sequences, the last ones, starts and plans are compared on."""
        return max(1, round(self.held_out * count))

    def search(self, length: int) -> DescentConfig:
        """Return the settings of the descent on spectra for sequences of a length."""
        return DescentConfig(
            max_iterations=self.search_iterations,
            tolerance=1e-6,
            decay_floor=math.log(2) / (self.half_life * length),
            energy_penalty=self.energy_penalty,
        )

    def polish(self, length: int) -> DescentConfig:
        """Return the settings of the descent on the window error."""
        return replace(self.search(length), max_iterations=self.polish_iterations)


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

    system: SISOSystem
    bias: Tensor
    output_error: Tensor
    starts: dict[str, int]


def held_out_error(system: SISOSystem, bias: Tensor, signals: LayerSignals) -> Tensor:
    """Return the root mean square output error over the output's standard deviation, ``(K,)``."""
    length = signals.inputs.shape[-1]
    outputs = predict(signals, system.impulse_response(length), system.D).double()
    wanted = signals.outputs.double()
    error = (wanted - outputs - bias[:, None, None]).square().mean((1, 2)).sqrt()
    return error / wanted.std((1, 2)).clamp_min(1e-300)


def matching_bias(system: SISOSystem, signals: LayerSignals) -> Tensor:
    """Return the constants at the outputs that match their means, float64, shape ``(K,)``."""
    outputs = predict(signals, system.impulse_response(signals.inputs.shape[-1]), system.D)
    return (signals.outputs - outputs).double().mean((1, 2))


@dataclass(frozen=True)
class _Fitted:
    """Systems with their bias and held-out error, K of each."""

    system: SISOSystem
    bias: Tensor
    error: Tensor

    def iterate(self) -> Iterate:
        return replace(Iterate.from_system(self.system), D=self.system.D)

    def where(self, condition: Tensor, other: "_Fitted") -> "_Fitted":
        iterate = self.iterate().where(condition, other.iterate())
        return _Fitted(
            iterate.to_system(torch.zeros_like(iterate.D), self.system.time),
            torch.where(condition, self.bias, other.bias),
            torch.where(condition, self.error, other.error),
        )


def calibrated_starts(
    full: SISOSystem,
    orders: tuple[int, ...],
    signals: LayerSignals,
    settings: CalibratedSettings,
    *,
    fits_feedthrough: bool = True,
) -> dict[int, dict[str, Iterate]]:
    """Return the starts at every order: the optimum for the input's spectrum, H²'s and BT's.

    Parameters
    ----------
    full
        Bank of batch shape ``(K,)``.
    orders
        States per system.
    signals
        What the systems get, K rows.
    fits_feedthrough
        Whether D is free; not for backward systems, which do not see the present sample.

    Returns
    -------
    dict
        From order to starts by name, whose D is the whole feedthrough.
    """
    spectral = spectral_objective(full, signals, fits_feedthrough)
    candidates = Candidates.of(spectral, *ladder_of_exponents(full))
    config = settings.search(signals.inputs.shape[-1])
    plain = reduce_path(full, orders=orders, descent=replace(config, energy_penalty=0.0))
    balancing = Balancing.of(full)
    starts: dict[int, dict[str, Iterate]] = {}
    for unweighted in plain:
        systems = {
            "unweighted": unweighted.system,
            "balanced": balancing.truncate(unweighted.order),
        }
        starts[unweighted.order] = {
            name: replace(Iterate.from_system(system), D=full.D) for name, system in systems.items()
        }
    weighted = optimize_path(
        spectral,
        candidates,
        orders,
        time=full.time,
        config=config,
        starts={order: list(named.values()) for order, named in starts.items()},
        widths=narrow_width,
    )
    return {
        order: {"weighted": weighted[order][0].iterate, **named} for order, named in starts.items()
    }


@dataclass(frozen=True)
class LayerFit:
    """The data of K systems, ready for fits of any orders: outputs wanted, inputs they get.

    Attributes
    ----------
    full
        Bank of batch shape ``(K,)``.
    signals
        What the systems get and should return, K rows.
    held_out
        The last of the sequences, on which starts are compared.
    means, objective
        Of the others: on the window, or of sequences longer than the longest one on spectra.
    pull
        What draws systems that see little to the original; with spectra, nothing does.
    config
        Settings of the descent.
    """

    full: SISOSystem
    signals: LayerSignals
    held_out: LayerSignals
    means: Means
    objective: KernelObjective | SpectralObjective
    pull: Pull | None
    config: DescentConfig

    @staticmethod
    def of(
        full: SISOSystem,
        signals: LayerSignals,
        settings: CalibratedSettings,
        *,
        fits_feedthrough: bool = True,
    ) -> "LayerFit":
        """Do the work that fits of all orders share.

        Parameters
        ----------
        fits_feedthrough
            As in :func:`calibrated_starts`.
        """
        count, length = signals.inputs.shape[1:]
        fit, held_out = signals.split(settings.num_held_out(count))
        pull = None
        if length > settings.longest_window:
            objective = spectral_objective(full, fit, fits_feedthrough, bins=FIT_BINS)
            means = Means(input_means(fit.inputs), fit.outputs.double().mean((1, 2)))
        else:
            objective, means, pull = window_of(full, fit, fits_feedthrough)
        return LayerFit(full, signals, held_out, means, objective, pull, settings.polish(length))

    def towards(self, outputs: Tensor) -> "LayerFit":
        """Return the same for other outputs than the systems' own, shape ``(K, n, L)``."""
        signals = replace(self.signals, outputs=outputs)
        held_out = len(self.held_out.inputs[0])
        fitted, last = signals.split(held_out)
        objective = self.objective
        if isinstance(objective, KernelObjective):
            assert self.pull is not None
            objective, means = retarget(objective, self.means, self.pull, fitted)
        else:
            own, _ = self.signals.split(held_out)
            free, missed = objective.fits_feedthrough, fitted.outputs - own.outputs
            objective = spectral_objective(self.full, fitted, free, bins=FIT_BINS, missed=missed)
            means = self.means._replace(output=fitted.outputs.double().mean((1, 2)))
        return replace(self, signals=signals, held_out=last, means=means, objective=objective)

    def _assess(self, iterate: Iterate) -> _Fitted:
        system = iterate.to_system(torch.zeros_like(self.full.D), self.full.time)
        kernel = system.impulse_response(self.signals.inputs.shape[-1])
        kernel[:, 0] += system.D
        bias = self.means.output - (kernel * self.means.inputs).sum(-1)
        error = held_out_error(system, bias, self.held_out)
        unseen = torch.nonzero(self.held_out.outputs.std((1, 2)) == 0)[:, 0]
        if len(unseen):
            whole = replace(Iterate.from_system(system[unseen]), D=system.D[unseen])
            error[unseen] = self.objective.select(unseen).evaluate(whole).error.sqrt()
        return _Fitted(system, bias, torch.where(error.isfinite(), error, torch.inf))

    def reduce(self, starts: dict[str, Iterate]) -> CalibratedResult:
        """Fit the systems to their own data.

        Residues, D and a bias are refitted for every start; of each system the start with the
        smallest error on held-out sequences is polished on the same objective.

        Parameters
        ----------
        starts
            From :func:`calibrated_starts`, at one order or at one for each system.
        """
        floor, penalty = math.log(self.config.decay_floor), self.config.energy_penalty
        best, winner = None, torch.zeros_like(self.full.D, dtype=torch.int64)
        for index, start in enumerate(starts.values()):
            floored = replace(start, log_decay=start.log_decay.clamp_min(floor))
            refitted = refit_residues(self.objective, floored, penalty=penalty, time=self.full.time)
            # A system that kept all its states needs no other residues.
            whole = start.states.sum(1) >= self.full.order
            fitted = self._assess(start.where(whole, refitted))
            if isinstance(self.objective, SpectralObjective):
                # What is best over all time need not be so on the window.
                as_it_is = self._assess(start)
                fitted = as_it_is.where(as_it_is.error < fitted.error, fitted)
            if best is None:
                best = fitted
                continue
            winner = torch.where(fitted.error < best.error, index, winner)
            best = fitted.where(fitted.error < best.error, best)
        assert best is not None
        polished = descend(self.objective, best.iterate(), self.config, time=self.full.time)
        fitted = self._assess(polished.iterate)
        best = fitted.where(fitted.error < best.error, best)
        bias = matching_bias(best.system, self.signals)
        counts = torch.bincount(winner, minlength=len(starts)).tolist()
        return CalibratedResult(
            best.system,
            bias,
            held_out_error(best.system, bias, self.held_out),
            {name: int(number) for name, number in zip(starts, counts, strict=True)},
        )
