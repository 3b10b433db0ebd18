"""Bidirectional layers: one set of poles for both directions, or one for each.

The channels of a bidirectional S4D layer at initialisation are reduced as systems of one input and
two outputs, which keeps the shared poles, and each direction apart, as ``compress`` does.  A pair
of shared poles is six numbers (the pole and a residue for each direction), two pairs apart are
eight; to run, both are four states.

    python benchmarks/directions.py --threads 2
"""

import argparse
import time
from typing import Any

from record import make_parser, parse, write_record

from hydropress import reduce_path
from hydropress.bench.banks import both_directions, new_layer
from hydropress.systems.norms import h2_norm


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__, "directions")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--shared", type=int, nargs="+", default=[4, 8, 16])
    return parse(parser)


def main() -> None:
    """Run, print and write the record."""
    options = _options()
    layer = new_layer(options.channels, options.seed, bidirectional=True)
    shared_orders = tuple(options.shared)
    # As many states, and as many numbers.
    apart_orders = tuple(sorted({*shared_orders, *(order * 3 // 4 for order in shared_orders)}))
    began = time.perf_counter()
    apart = reduce_path(layer.system(), orders=apart_orders)
    seconds_apart = time.perf_counter() - began
    shared = reduce_path(both_directions(layer), orders=shared_orders)
    seconds_shared = time.perf_counter() - began - seconds_apart
    energies = h2_norm(layer.system()).square()
    rows: list[dict[str, Any]] = []
    print("shared poles                      apart")
    for order in shared_orders:
        row: dict[str, Any] = {
            "order": order,
            "shared": float(shared[order].relative_error.median()),
        }
        for name, other in (("as_many_states", order), ("as_many_numbers", order * 3 // 4)):
            squares = (apart[other].relative_error.square() * energies).sum(0) / energies.sum(0)
            row[name] = {"order": other, "error": float(squares.sqrt().median())}
        rows.append(row)
        states, numbers = row["as_many_states"], row["as_many_numbers"]
        print(
            f"order {order:2d}, error {row['shared']:.3f}     as many states: {states['error']:.3f}"
            f"     as many numbers, order {numbers['order']:2d}: {numbers['error']:.3f}"
        )
    seconds = {"apart": seconds_apart, "shared": seconds_shared}
    print(f"{seconds_apart:.1f} s apart, {seconds_shared:.1f} s shared")
    write_record(options, {"rows": rows, "seconds": seconds})


if __name__ == "__main__":
    main()
