"""One bank of 512 channels from order 64 to order 2: `reduce` against pyMOR's IRKA.

pyMOR's IRKA is continuous-time and takes one system at a time, so it is given each channel before
its discretisation (same poles, real modal realisation with 2 x 2 blocks, built outside the timing)
with its own defaults.  Three times are compared, side by side in one run:

    discrete     `reduce(bank, 2, method="h2")`, what compression calls
    continuous   the same call on the very systems that IRKA gets: the errors are comparable
    IRKA         `IRKAReductor(model).reduce(2)`, once a channel

Errors are relative in the H² norm, each to its own full system; IRKA's come from the same closed
form as the others, and a few are checked by pyMOR's own norm.  Channels on which IRKA does not
converge or ends unstable are counted.

    python benchmarks/reduction_speed.py --threads 1
    python benchmarks/reduction_speed.py --model DIR     # a trained S4D, repeated to 512
    python benchmarks/reduction_speed.py --channels 16 --rounds 1
"""

import argparse
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pymor
import torch
from pymor.core.logger import set_log_levels
from pymor.models.iosys import LTIModel
from pymor.reductors.h2 import IRKAReductor
from pymor.tools.random import new_rng
from record import load_layers, make_parser, parse, quantiles, write_record

from hydropress import ModalSystem, reduce
from hydropress.bench.banks import bank, joined
from hydropress.models.s4d import S4D
from hydropress.systems.modal import SISOSystem
from hydropress.systems.norms import relative_h2_error

ORDER = 2
TOLERANCE = 1e-4
"""IRKA's default on the relative change of its interpolation points."""
CHECKED = 8
"""Channels on which IRKA's error is also taken from pyMOR's own H² norm."""


def repeated(banks: list[SISOSystem], channels: int) -> SISOSystem:
    """Return that many channels of several banks, one after the other, repeated as needed."""
    together = joined(banks)
    return together[torch.arange(channels) % len(together.D)]


def pymor_model(system: SISOSystem) -> LTIModel:
    """Return one system's real modal realisation as pyMOR's model."""
    A, B, C, _ = (matrix.numpy() for matrix in system.to_state_space())
    return LTIModel.from_matrices(A, B, C)


def run_irka(models: list[LTIModel], seed: int) -> tuple[list[LTIModel], list[int], list[bool]]:
    """Reduce each model; return the reduced ones, iterations and whether each converged."""
    reduced: list[LTIModel] = []
    iterations: list[int] = []
    converged: list[bool] = []
    with new_rng(seed):
        for model in models:
            reductor = IRKAReductor(model)
            reduced.append(reductor.reduce(ORDER, tol=TOLERANCE))
            iterations.append(len(reductor.conv_crit))
            converged.append(bool(reductor.conv_crit[-1] < TOLERANCE))
    return reduced, iterations, converged


def irka_errors(full: SISOSystem, reduced: list[LTIModel]) -> list[float]:
    """Return relative errors by this package's closed form; infinite where IRKA is unstable."""
    errors: list[float] = []
    for channel, model in enumerate(reduced):
        A, B, C, _, E = model.to_matrices()
        E = np.eye(ORDER) if E is None else E
        matrices = np.linalg.solve(E, A), np.linalg.solve(E, B), np.array(C)
        system = ModalSystem.from_state_space(*matrices, time="continuous")
        stable = bool((system.decay > 0).all())
        errors.append(float(relative_h2_error(full[channel], system)) if stable else math.inf)
    return errors


def pymor_check(models: list[LTIModel], reduced: list[LTIModel], errors: list[float]) -> float:
    """Return the largest difference of our errors from those by pyMOR's Lyapunov solver."""
    stable = [channel for channel, error in enumerate(errors) if math.isfinite(error)][:CHECKED]
    return max(
        abs((models[i] - reduced[i]).h2_norm() / models[i].h2_norm() - errors[i]) for i in stable
    )


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__, "reduction_speed")
    parser.add_argument(
        "--model", type=Path, help="model directory, instead of S4D-Lin at the start"
    )
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    return parse(parser)


def main() -> None:
    """Reduce the bank three ways in alternation, print and save."""
    options = _options()
    set_log_levels({"pymor": "ERROR"})
    if options.model is None:
        torch.manual_seed(options.seed)
        layers = [S4D(options.channels, 64)]
    else:
        layers = load_layers(options.model)
    s4d = [layer for layer in layers if isinstance(layer, S4D) and not layer.has_real_poles]
    if len(s4d) < len(layers):
        raise SystemExit(f"{options.model}: not all layers are S4D with complex poles")
    discrete = repeated([bank(layer) for layer in s4d], options.channels)
    continuous = repeated([bank(layer, "continuous") for layer in s4d], options.channels)
    models = [pymor_model(continuous[channel]) for channel in range(options.channels)]

    # Libraries load and threads start outside the timing.
    reduce(discrete[:4], ORDER)
    reduce(continuous[:4], ORDER)
    run_irka(models[:2], options.seed)
    seconds: dict[str, list[float]] = {"discrete": [], "continuous": [], "IRKA": []}
    errors: dict[str, list[float]] = {}
    irka: dict[str, Any] = {}
    for _ in range(options.rounds):
        for name, full in (("discrete", discrete), ("continuous", continuous)):
            began = time.perf_counter()
            reduction = reduce(full, ORDER, method="h2")
            seconds[name].append(time.perf_counter() - began)
            errors[name] = reduction.relative_error.tolist()
        began = time.perf_counter()
        reduced, iterations, converged = run_irka(models, options.seed)
        seconds["IRKA"].append(time.perf_counter() - began)
        errors["IRKA"] = irka_errors(continuous, reduced)
        unstable = [channel for channel, error in enumerate(errors["IRKA"]) if math.isinf(error)]
        irka = {
            "iterations": iterations,
            "not_converged": [channel for channel, done in enumerate(converged) if not done],
            "unstable": unstable,
            "largest_difference_from_pymor_norm": pymor_check(models, reduced, errors["IRKA"]),
        }

    median = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{options.channels} channels, order 64 to {ORDER}")
    print(f"{'':11} seconds (median)  error: median  largest finite")
    for name, times in median.items():
        finite = quantiles(error for error in errors[name] if math.isfinite(error))
        print(f"{name:11} {times:16.2f} {finite['median']:14.5f} {finite['max']:15.5f}")
    gap = [a - b for a, b in zip(errors["IRKA"], errors["continuous"], strict=True)]
    worse, better = sum(g > 1e-6 for g in gap), sum(g < -1e-6 for g in gap)
    ratio = {name: median["IRKA"] / median[name] for name in ("discrete", "continuous")}
    print(
        f"IRKA takes {ratio['discrete']:.0f} times as long (continuous: {ratio['continuous']:.0f})"
    )
    print(
        f"IRKA: {len(irka['not_converged'])} not converged, {len(irka['unstable'])} unstable; its "
        f"error is larger than ours on {worse} channels (same systems), smaller on {better}"
    )
    difference = irka["largest_difference_from_pymor_norm"]
    print(f"IRKA's errors and those by pyMOR's norm differ by {difference:.1e} at most")
    write_record(
        options,
        {
            "pymor": pymor.__version__,
            "order": ORDER,
            "median_seconds": median,
            "ratio": ratio,
            "irka_worse": worse,
            "irka_better": better,
            "irka": irka,
            "seconds": seconds,
            "errors": {
                name: [error if math.isfinite(error) else None for error in values]
                for name, values in errors.items()
            },
        },
    )


if __name__ == "__main__":
    main()
