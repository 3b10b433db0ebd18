"""What a cross-spectrum costs beside a covariance, as the number of inputs grows.

LRU layers at initialisation with as many inputs as outputs are reduced with weights measured on
random sequences, once with their cross-periodogram and once with their covariance.  The errors are
those of the outputs on these sequences, relative, by convolution.

    python benchmarks/input_weights.py --threads 2
"""

import argparse
import time
from typing import Any

import torch
from record import make_parser, parse, write_record
from torch import Tensor

from hydropress import reduce
from hydropress.bench.layers import lru_layer
from hydropress.reduction.weights import InputCovariance, SpectralWeight, Weight
from hydropress.systems.modal import MIMOSystem


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__, "input_weights")
    parser.add_argument("--inputs", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--states", type=int, default=32)
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--length", type=int, default=256)
    return parse(parser)


def measure(inputs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Reduce one layer with both weights."""
    layer = lru_layer(options.states, inputs, options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    noise = torch.randn(options.sequences, options.length, inputs, generator=generator)
    sequences = noise.double().cumsum(1) / options.length**0.5
    weights: dict[str, Weight] = {
        "spectrum": SpectralWeight.measured_across(sequences),
        "covariance": InputCovariance.measured(sequences),
    }
    row: dict[str, Any] = {"inputs": inputs}
    wanted = outputs(layer, sequences)
    for name, weight in weights.items():
        began = time.perf_counter()
        reduction = reduce(layer, options.order, weight=weight)
        seconds = time.perf_counter() - began
        missed = outputs(reduction.system, sequences) - wanted
        row[name] = {"seconds": seconds, "error": float(missed.norm() / wanted.norm())}
    return row


def outputs(layer: MIMOSystem, sequences: Tensor) -> Tensor:
    """Return what a bank of one layer makes of the sequences, ``(n, L, P)``."""
    length = sequences.shape[1]
    kernel = torch.fft.rfft(layer[0].impulse_response(length), 2 * length)
    transforms = torch.fft.rfft(sequences, 2 * length, dim=1)
    responses = torch.einsum("pmf,nfm->nfp", kernel, transforms)
    return torch.fft.irfft(responses, 2 * length, dim=1)[:, :length]


def main() -> None:
    """Run, print and write the record."""
    options = _options()
    rows: list[dict[str, Any]] = []
    print("inputs  cross-spectrum           covariance               time, ratio")
    for inputs in options.inputs:
        row = measure(inputs, options)
        rows.append(row)
        spectrum, covariance = row["spectrum"], row["covariance"]
        print(
            f"{inputs:6d} {spectrum['seconds']:7.2f} s, error {spectrum['error']:.4f} "
            f"{covariance['seconds']:7.2f} s, error {covariance['error']:.4f} "
            f"{spectrum['seconds'] / covariance['seconds']:9.1f}",
            flush=True,
        )
    write_record(options, {"rows": rows})


if __name__ == "__main__":
    main()
