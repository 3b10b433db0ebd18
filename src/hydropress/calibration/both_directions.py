"""The two directions of a layer, fitted to the output that they have together."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hydropress.calibration.fit import CalibratedResult, LayerFit, held_out_error
from hydropress.calibration.signals import LayerSignals, predict
from hydropress.reduction.iterate import Iterate
from hydropress.systems.modal import SISOSystem

ROUNDS = 3
"""Of turns; the first brings most."""


def fit_together(
    fits: Sequence[LayerFit], results: Sequence[CalibratedResult]
) -> list[CalibratedResult]:
    """Let each direction make up for what the other one misses, in turns.

    Fitted each to its own part of the output, the errors of the directions add up.  Here residues,
    poles, D and bias of one are fitted to its part and the other's error, and the other way round;
    of each channel a step is kept if the error on held-out sequences falls.

    Parameters
    ----------
    fits
        Of the forward and of the backward direction.
    results
        Theirs, each for itself.

    Returns
    -------
    list of CalibratedResult
        Both; ``output_error`` is that of the whole output, the same for each.
    """
    systems, biases = [one.system for one in results], [one.bias for one in results]
    for _ in range(ROUNDS):
        for mine, other in ((0, 1), (1, 0)):
            missed = _missed(systems[other], biases[other], fits[other].signals)
            # A backward system's signals are those of the reversed sequence.
            fit = fits[mine].towards(fits[mine].signals.outputs + missed.flip(-1))
            now = replace(Iterate.from_system(systems[mine]), D=systems[mine].D)
            found = fit.reduce({"now": now})
            better = found.output_error < held_out_error(systems[mine], biases[mine], fit.held_out)
            best = replace(Iterate.from_system(found.system), D=found.system.D).where(better, now)
            systems[mine] = best.to_system(torch.zeros_like(best.D), found.system.time)
            biases[mine] = torch.where(better, found.bias, biases[mine])
    error = whole_error([fit.held_out for fit in fits], systems, biases)
    return [
        replace(result, system=system, bias=bias, output_error=error)
        for result, system, bias in zip(results, systems, biases, strict=True)
    ]


def whole_error(
    signals: Sequence[LayerSignals], systems: Sequence[SISOSystem], biases: Sequence[Tensor]
) -> Tensor:
    """Return the root mean square error of both directions' sum over its deviation, ``(H,)``."""
    missed, backward = (_missed(*parts) for parts in zip(systems, biases, signals, strict=True))
    wanted = signals[0].outputs + signals[1].outputs.flip(-1)
    error = (missed + backward.flip(-1)).double().square().mean((1, 2)).sqrt()
    return error / wanted.double().std((1, 2)).clamp_min(1e-300)


def _missed(system: SISOSystem, bias: Tensor, signals: LayerSignals) -> Tensor:
    outputs = predict(signals, system.impulse_response(signals.inputs.shape[-1]), system.D)
    return signals.outputs - outputs - bias[:, None, None].to(outputs)
