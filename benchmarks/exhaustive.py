"""How far `h2` is from the best there is, channel by channel, and whether BT ever beats it.

Every layer of a trained model (or a bank at initialisation) is reduced without data to several
orders, and two questions are asked:

1. Is the relative H² error of `h2` at most that of `balanced` on every channel?  Errors are taken
   from sampled kernels, not from the library's closed forms.  The last column is the largest energy
   of a mode over its system's: how far modes cancel each other.
2. At order 2, is the error of `h2` within 1e-6 (of the full norm) of the best that an exhaustive
   search finds?  The search (hydropress.bench.exhaustive) shares no code with the engine: a dense
   grid over conjugate pairs, dense grids over two real poles of either sign, the best local optima
   of each polished to convergence.  It never starts from the answer of `h2`.

    python benchmarks/exhaustive.py                      # the model in the package
    python benchmarks/exhaustive.py --model DIR
    python benchmarks/exhaustive.py --synthetic 64       # an S4D-Lin bank of 64 channels
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from record import load_layers, make_parser, parse, quantiles, synthetic_bank, write_record
from torch import Tensor

from hydropress import reduce_path
from hydropress.bench.exhaustive import Bank, search
from hydropress.systems.modal import SISOSystem

CLOSE = 1e-6
"""Of the full system's norm: how far from the best still counts as the best."""
ROUNDING = 1e-10
"""What BT may be ahead by in relative error before it counts: the sums' own rounding is less."""
MAX_SAMPLES = 2**18
DECAYED = 18.0
"""Samples are taken until the slowest mode has fallen to e^{-18}: 10⁻¹⁶ in energy."""


@dataclass(frozen=True)
class Sampled:
    """Squared norms from sampled kernels; ``tail`` is the share of what the closed form added."""

    energy: Tensor
    tail: Tensor


def sampled_energy(exponents: Tensor, residues: Tensor) -> Sampled:
    """Return Σ_t k[t]² for k[t] = Re Σ_n r_n e^{s_n t}, ``(K, n)`` in, ``(K,)`` out.

    The samples are summed as far as the slowest mode needs, at most ``MAX_SAMPLES``; what follows
    has a closed form.
    """
    slowest = float(-exponents.real.max())
    samples = min(MAX_SAMPLES, 4 ** math.ceil(math.log(max(16, DECAYED / slowest), 4)))
    block = math.isqrt(samples)
    steps = torch.arange(block, dtype=torch.float64)
    totals: list[Tensor] = []
    for s, r in zip(exponents, residues, strict=True):
        starts = r * torch.exp(s * (block * steps)[:, None])
        totals.append(((starts @ torch.exp(s[:, None] * steps)).real ** 2).sum())
    head = torch.stack(totals)
    half = residues * torch.exp(exponents * samples) / 2
    both = [torch.cat([x, x.conj()], -1) for x in (exponents, half)]
    tail = Bank(*both).energy().clamp_min(0)
    return Sampled(head + tail, tail / (head + tail))


def sampled_error(full: SISOSystem, reduced: SISOSystem) -> tuple[Tensor, Tensor]:
    """Return ‖k - k_r‖ / ‖k‖ from samples, and the largest share of a closed form in it."""
    exponents = torch.cat([full.exponents, reduced.exponents], -1)
    residues = torch.cat([full.residues * full.states, -reduced.residues * reduced.states], -1)
    difference = sampled_energy(exponents, residues)
    norm = sampled_energy(full.exponents, full.residues * full.states)
    return torch.sqrt(difference.energy / norm.energy), torch.maximum(difference.tail, norm.tail)


def compare_with_balanced(full: SISOSystem, orders: tuple[int, ...]) -> tuple[Any, Any]:
    """Reduce a bank by both methods; return one row an order and what ``h2`` did at order 2."""
    began = time.perf_counter()
    paths = {name: reduce_path(full, orders=orders, method=name) for name in ("h2", "balanced")}
    seconds = time.perf_counter() - began
    rows: list[dict[str, Any]] = []
    at_two: tuple[SISOSystem, Tensor] | None = None
    for order in orders:
        errors: dict[str, Tensor] = {}
        doubt: dict[str, float] = {}
        for name, path in paths.items():
            errors[name], tail = sampled_error(full, path[order].system)
            doubt[name] = float((errors[name] - path[order].relative_error).abs().max())
            doubt[f"{name} tail"] = float(tail.max())
        margin = errors["balanced"] - errors["h2"]
        rows.append(
            {
                "order": order,
                "h2": errors["h2"].tolist(),
                "balanced": errors["balanced"].tolist(),
                "h2_at_most_balanced": int((margin >= -ROUNDING).sum()),
                "worst_margin": float(margin.min()),
                "largest_difference_from_closed_form": max(doubt["h2"], doubt["balanced"]),
                "largest_tail_share": max(doubt["h2 tail"], doubt["balanced tail"]),
                "largest_mode_energy": float(paths["h2"][order].certificate.mode_energy.max()),
                "converged": int(paths["h2"][order].converged.sum()),
            }
        )
        if order == 2:
            at_two = paths["h2"][2].system, errors["h2"]
    return {"rows": rows, "seconds_reduce": seconds}, at_two


def _written(exponents: Tensor) -> list[list[float]]:
    """Return (decay, frequency) of each pole."""
    return [[-s.real, s.imag] for s in exponents.tolist()]


def compare_with_search(full: SISOSystem, reduced: SISOSystem, errors: Tensor) -> dict[str, Any]:
    """Search a bank exhaustively at order 2 and list the channels on which the two differ."""
    began = time.perf_counter()
    optima = search(Bank.of(full))
    seconds = time.perf_counter() - began
    gaps: list[float] = []
    different: list[dict[str, Any]] = []
    for channel, error in enumerate(errors.tolist()):
        best = optima.best(channel)
        gaps.append(error - float(optima.error[best]))
        if abs(gaps[-1]) > CLOSE:
            used = reduced.states[channel] > 0
            different.append(
                {
                    "channel": channel,
                    "h2_error": error,
                    "search_error": float(optima.error[best]),
                    "h2_poles": _written(reduced.exponents[channel][used]),
                    "h2_states": reduced.states[channel][used].tolist(),
                    "search_poles": _written(optima.exponents[best]),
                    "search_start": optima.kind[best],
                    "search_rank": int(optima.rank[best]),
                    "slowest_decay": float(full.decay[channel].min()),
                }
            )
    return {
        "channels": len(gaps),
        "h2_misses": [entry for entry in different if entry["h2_error"] > entry["search_error"]],
        "search_misses": [
            entry for entry in different if entry["h2_error"] < entry["search_error"]
        ],
        "gap": quantiles(gaps),
        "polished": len(optima.rank),
        "seconds_search": seconds,
    }


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__, "exhaustive")
    parser.add_argument("--model", type=Path, help="model directory (default: the shipped model)")
    parser.add_argument(
        "--synthetic", type=int, metavar="CHANNELS", help="a bank at initialisation"
    )
    parser.add_argument("--initialization", default="lin", help="of the synthetic bank")
    parser.add_argument("--channels", type=int, help="of each layer, the first so many")
    parser.add_argument("--orders", type=int, nargs="+", default=[2, 4, 8, 16])
    return parse(parser)


def main() -> None:
    """Run both comparisons on every layer, print and save."""
    options = _options()
    if options.synthetic is not None:
        banks = [synthetic_bank(options.synthetic, options.seed, options.initialization)]
    else:
        banks = [layer.system().reshape(-1) for layer in load_layers(options.model)]
    orders = tuple(sorted({2, *options.orders}))
    layers: list[dict[str, Any]] = []
    print(
        "layer order channels  h2 median  BT median  h2 <= BT  worst margin  closed form off by"
        "  energy"
    )
    for number, bank in enumerate(banks):
        full = bank[: options.channels]
        layer, (reduced, errors) = compare_with_balanced(full, orders)
        for row in layer["rows"]:
            medians = [quantiles(row[name])["median"] for name in ("h2", "balanced")]
            print(
                f"{number:5} {row['order']:5} {len(row['h2']):8} {medians[0]:10.5f} "
                f"{medians[1]:10.5f} {row['h2_at_most_balanced']:9} {row['worst_margin']:13.1e} "
                f"{row['largest_difference_from_closed_form']:19.1e} "
                f"{row['largest_mode_energy']:7.1e}"
            )
        layer["search"] = compare_with_search(full, reduced, errors)
        layers.append(layer)
    print(f"\nOrder 2 against the exhaustive search (within {CLOSE:g} of the full norm)")
    total = missed = 0
    for number, layer in enumerate(layers):
        result = layer["search"]
        total += result["channels"]
        missed += len(result["h2_misses"])
        print(
            f"layer {number}: {result['channels'] - len(result['h2_misses'])} of "
            f"{result['channels']} channels; {len(result['search_misses'])} on which h2 was the "
            f"better; {result['polished']} optima polished in {result['seconds_search']:.0f} s"
        )
        for entry in result["h2_misses"] + result["search_misses"]:
            print(
                f"  channel {entry['channel']}: h2 {entry['h2_error']:.8f}, search "
                f"{entry['search_error']:.8f} ({entry['search_start']}, rank "
                f"{entry['search_rank']}); (decay, frequency) of poles "
                f"{entry['h2_poles']}, {entry['search_poles']}"
            )
    share = 1 - missed / total
    print(f"h2 found the optimum on {total - missed} of {total} channels ({100 * share:.2f} %)")
    beaten = sum(
        len(row["h2"]) - row["h2_at_most_balanced"] for layer in layers for row in layer["rows"]
    )
    print(f"BT was better on {beaten} of {total * len(orders)} (channel, order) cases")
    summary = {"channels": total, "share_at_optimum": share, "cases_where_BT_is_better": beaten}
    write_record(options, {"summary": summary, "layers": layers})


if __name__ == "__main__":
    main()
