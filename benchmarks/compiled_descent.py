"""The damped Newton descent compiled, against the same as tensor operations.

Random starts of an S4D-Lin layer at initialisation descend for as many steps by both, side by side
in one run; what is printed is the time of one step of one start, and how far apart they end.

    python benchmarks/compiled_descent.py --threads 1
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from record import make_parser, parse, write_record

from hydropress.bench.banks import bank, new_layer
from hydropress.bench.restarts import random_starts
from hydropress.reduction.descent import Descended, DescentConfig, descend
from hydropress.reduction.objective import ClosedFormObjective
from hydropress.reduction.problem import Problem
from hydropress.reduction.residues import refit_residues


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__, "compiled_descent")
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--starts", type=int, default=8, help="for each channel")
    parser.add_argument("--orders", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    return parse(parser)


def _timed(run: Callable[[], Descended], rounds: int) -> tuple[Descended, float]:
    """Return a result and the median time of a step of one start, microseconds."""
    run()
    times: list[float] = []
    while True:
        began = time.perf_counter()
        found = run()
        times.append(1e6 * (time.perf_counter() - began) / int(found.iterations.sum()))
        if len(times) == rounds:
            return found, statistics.median(times)


def measure(order: int, options: argparse.Namespace) -> dict[str, Any]:
    """Compare at one order."""
    full = bank(new_layer(options.channels, options.seed))
    objective = Problem(full, (order,)).objective
    assert isinstance(objective, ClosedFormObjective)
    rows = torch.arange(options.channels).repeat_interleave(options.starts)
    part, alike = objective.select(rows), torch.ones_like(full.exponents.real)
    generator = torch.Generator().manual_seed(options.seed)
    drawn = random_starts(full, order, options.starts, alike, generator)
    start = refit_residues(part, drawn, penalty=0.0, time="discrete")
    config = DescentConfig(max_iterations=options.steps)

    def run(objective: ClosedFormObjective) -> Callable[[], Descended]:
        return lambda: descend(objective, start, config, time="discrete")

    compiled, fast = _timed(run(part), options.rounds)
    tensors, slow = _timed(run(part.without_bank()), options.rounds)
    gap = (compiled.error - tensors.error).abs().nan_to_num(0).median()
    return {
        "order": order,
        "compiled_us": fast,
        "tensors_us": slow,
        "times_as_fast": slow / fast,
        "median_gap": float(gap),
    }


def main() -> None:
    """Run, print and write the record."""
    options = _options()
    rows: list[dict[str, Any]] = []
    print("order   compiled    tensors    times as fast   median gap of squared errors")
    for order in options.orders:
        row = measure(order, options)
        rows.append(row)
        print(
            f"{order:5d} {row['compiled_us']:8.1f} µs {row['tensors_us']:8.1f} µs "
            f"{row['times_as_fast']:12.1f}       {row['median_gap']:.1e}",
            flush=True,
        )
    write_record(options, {"rows": rows})


if __name__ == "__main__":
    main()
