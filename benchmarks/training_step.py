"""One optimiser step of the recipe's classifier: this package's layers against plain S4D ones.

The plain classifier is the one that public S4D code teaches: kernel by an explicit complex64
Vandermonde product, FFT convolution of length 2L, LayerNorm between two transposes, GELU, Conv1d
with GLU, and nothing but autograd.  Both have the same parameters; outputs and gradients are
compared first, in float64 and in float32, so that only equal functions are timed.  A step is what
training does: gradients over micro batches, then AdamW.  Rounds alternate between the two.

    python benchmarks/training_step.py --threads 2
    python benchmarks/training_step.py --batch 8 --length 128 --rounds 3     # a quick trial
"""

import argparse
import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from record import make_parser, parse, quantiles, write_record
from torch import Tensor, nn

from hydropress.models.classifier import ClassifierConfig, SequenceClassifier, SSMBlock
from hydropress.models.convolution import convolve
from hydropress.models.s4d import S4D
from hydropress.training.config import TrainingConfig
from hydropress.training.loop import make_optimizer
from hydropress.training.process import keep_freed_memory
from hydropress.training.recipes import load_recipe

RECIPE = "sequential-fashion-mnist"
TOLERANCE = {torch.float64: 1e-9, torch.float32: 5e-3}
"""On outputs and each parameter's gradient, relative.  The phase of a complex64 mode is off by 10⁻⁴
radians after a thousand samples: float32 can tell a typing error, float64 tells the rest."""


class PlainS4D(nn.Module):
    """S4D as published [gu2022s4d]: zero-order hold, Vandermonde kernel, FFT convolution."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        shape = (config.channels, config.state_size // 2)
        self.log_step = nn.Parameter(torch.empty(config.channels))
        self.log_decay = nn.Parameter(torch.empty(shape))
        self.frequency = nn.Parameter(torch.empty(shape))
        self.C = nn.Parameter(torch.empty(1, *shape, 2))
        self.D = nn.Parameter(torch.empty(config.channels))

    def kernel(self, length: int) -> Tensor:
        poles = torch.complex(-torch.exp(self.log_decay), self.frequency)
        exponents = poles * torch.exp(self.log_step)[:, None]
        C = torch.view_as_complex(self.C[0]) * (torch.exp(exponents) - 1) / poles
        powers = torch.exp(exponents[..., None] * torch.arange(length))
        return 2 * torch.einsum("hn,hnl->hl", C, powers).real

    def convolve(self, signal: Tensor, kernel: Tensor) -> Tensor:
        length = signal.shape[-1]
        kernel_spectrum = torch.fft.rfft(kernel, n=2 * length)
        spectrum = torch.fft.rfft(signal, n=2 * length) * kernel_spectrum
        return torch.fft.irfft(spectrum, n=2 * length)[..., :length]

    def forward(self, signal: Tensor) -> Tensor:
        return self.convolve(signal, self.kernel(signal.shape[-1])) + signal * self.D[:, None]


class PlainMix(nn.Module):
    """Position-wise Conv1d to 2H channels and GLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(channels, 2 * channels, 1)

    def forward(self, signal: Tensor) -> Tensor:
        return nn.functional.glu(self.linear(signal), dim=-2)


class PlainBlock(nn.Module):
    """Residual block, normalised before: S4D, GELU, Conv1d, GLU, dropout."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.channels)
        self.ssm = PlainS4D(config)
        self.mix = PlainMix(config.channels)
        self.dropout = nn.Dropout1d(config.dropout)

    def normalize(self, signal: Tensor) -> Tensor:
        return self.norm(signal.transpose(-1, -2)).transpose(-1, -2)

    def forward(self, signal: Tensor) -> Tensor:
        branch = nn.functional.gelu(self.ssm(self.normalize(signal)))
        return signal + self.dropout(self.mix(branch))


class PlainClassifier(nn.Module):
    """The same classifier from plain parts; parameters have the names of the package's."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.encoder = nn.Linear(config.num_inputs, config.channels)
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.channels)
        self.decoder = nn.Linear(config.channels, config.num_classes)

    def forward(self, sequences: Tensor) -> Tensor:
        signal = self.encoder(sequences).transpose(-1, -2)
        for block in self.blocks:
            signal = block(signal)
        return self.decoder(self.norm(signal.transpose(-1, -2)).mean(1))


def plain_copy(model: SequenceClassifier) -> PlainClassifier:
    """Return the plain classifier with a model's parameters."""
    plain = PlainClassifier(model.config)
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    state = model.state_dict()
    plain.load_state_dict({name: value.reshape(shapes[name]) for name, value in state.items()})
    return plain


def gradient_pass(
    model: nn.Module, sequences: Tensor, labels: Tensor, config: TrainingConfig
) -> list[Tensor]:
    """Accumulate gradients over micro batches as training does; return each one's logits."""
    outputs: list[Tensor] = []
    pieces = zip(sequences.split(config.micro_batch), labels.split(config.micro_batch), strict=True)
    for part, part_labels in pieces:
        logits = model(part)
        loss = nn.functional.cross_entropy(logits, part_labels, reduction="sum")
        (loss / len(sequences)).backward()
        outputs.append(logits.detach())
    return outputs


def compare(
    model: SequenceClassifier, sequences: Tensor, labels: Tensor, config: TrainingConfig
) -> dict[str, float]:
    """Return the largest relative difference of outputs and gradients, or stop if one is too large.

    Dropout is on: both draw the same from the same seed.
    """
    worst: dict[str, float] = {}
    for dtype, tolerance in TOLERANCE.items():
        outputs: list[Tensor] = []
        gradients: list[dict[str, Tensor]] = []
        for one in (copy.deepcopy(model), plain_copy(model)):
            one.to(dtype).train()
            torch.manual_seed(0)
            outputs.append(torch.cat(gradient_pass(one, sequences.to(dtype), labels, config)))
            named = one.named_parameters()
            gradients.append({name: p.grad.flatten() for name, p in named if p.grad is not None})
        if set(gradients[0]) != set(gradients[1]):
            raise SystemExit("the two classifiers have gradients of different parameters")
        pairs = {name: (value, gradients[1][name]) for name, value in gradients[0].items()}
        pairs["outputs"] = (outputs[0], outputs[1])
        differences = {name: float((a - b).norm() / b.norm()) for name, (a, b) in pairs.items()}
        name = max(differences, key=lambda key: differences[key])
        if differences[name] > tolerance:
            raise SystemExit(
                f"{dtype}: {name} differ by {differences[name]:.1e}; at most {tolerance:g} can be "
                "rounding, so the two compute different functions and timing them means nothing"
            )
        kind = str(dtype).removeprefix("torch.")
        worst[f"{kind} outputs"] = differences.pop("outputs")
        worst[f"{kind} gradients"] = max(differences.values())
    return worst


def alternate(actions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Run each action once to warm up, then all of them in turn; return seconds of each run."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def time_steps(
    model: SequenceClassifier,
    sequences: Tensor,
    labels: Tensor,
    config: TrainingConfig,
    rounds: int,
) -> dict[str, list[float]]:
    """Time whole optimiser steps of both classifiers."""

    def stepper(one: nn.Module) -> Callable[[], None]:
        optimizer = make_optimizer(one, config)
        one.train()

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            gradient_pass(one, sequences, labels, config)
            optimizer.step()

        return step

    actions = {"hydropress": stepper(copy.deepcopy(model)), "plain": stepper(plain_copy(model))}
    return alternate(actions, rounds)


def time_parts(
    model: SequenceClassifier, micro_batch: int, length: int, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Time each part of a block by itself, forward and backward, on one micro batch."""
    ours, plain = model.blocks[0], plain_copy(model).blocks[0]
    assert isinstance(ours, SSMBlock)
    assert isinstance(ours.ssm, S4D)
    assert isinstance(plain, PlainBlock)
    mine, theirs = ours.ssm, plain.ssm
    signal = torch.randn(micro_batch, model.config.channels, length, requires_grad=True)
    kernel = mine.kernel(length)[0].detach().requires_grad_()
    parts: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
        "kernel": (lambda: mine.kernel(length), lambda: theirs.kernel(length)),
        "convolution": (
            lambda: convolve(signal, kernel),
            lambda: theirs.convolve(signal, kernel),
        ),
        "norm": (lambda: ours.norm(signal), lambda: plain.normalize(signal)),
        "mix and GLU": (lambda: ours.mix(signal), lambda: plain.mix(signal)),
    }

    def both_ways(forward: Callable[[], Tensor]) -> Callable[[], None]:
        gradient = torch.randn_like(forward())

        def run() -> None:
            forward().backward(gradient)

        return run

    return {
        name: alternate({"hydropress": both_ways(one), "plain": both_ways(other)}, rounds)
        for name, (one, other) in parts.items()
    }


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__, "training_step")
    parser.add_argument("--batch", type=int, help="sequences a step (default: the recipe's)")
    parser.add_argument("--length", type=int, default=784, help="samples a sequence")
    parser.add_argument("--rounds", type=int, default=9)
    return parse(parser)


def main() -> None:
    """Compare, time, print and save."""
    options = _options()
    kept = keep_freed_memory()
    recipe = load_recipe(RECIPE, seed=options.seed)
    config = recipe.training
    if options.batch is not None:
        config = replace(config, batch_size=options.batch)
    torch.manual_seed(options.seed)
    model = SequenceClassifier(recipe.model)
    sequences = torch.randn(config.batch_size, options.length, recipe.model.num_inputs)
    labels = torch.randint(recipe.model.num_classes, (config.batch_size,))

    few = replace(config, batch_size=4, micro_batch=2)
    differences = compare(model, sequences[:4], labels[:4], few)
    for name, value in differences.items():
        print(f"largest relative difference, {name}: {value:.1e}")

    steps = time_steps(model, sequences, labels, config, options.rounds)
    parts = time_parts(
        model, min(config.micro_batch, config.batch_size), options.length, options.rounds
    )
    medians = {
        name: {who: quantiles(seconds)["median"] for who, seconds in times.items()}
        for name, times in {"step": steps, **parts}.items()
    }
    print(f"\n{'milliseconds, median':22} hydropress    plain  ratio")
    for name, times in medians.items():
        ratio = times["plain"] / times["hydropress"]
        label = "optimiser step" if name == "step" else f"  {name}, once"
        print(
            f"{label:22} {1e3 * times['hydropress']:10.1f} {1e3 * times['plain']:8.1f} {ratio:6.2f}"
        )
    write_record(
        options,
        {
            "recipe": recipe.to_dict(),
            "batch_size": config.batch_size,
            "micro_batch": config.micro_batch,
            "freed_memory_kept": kept,
            "largest_relative_differences": differences,
            "ratio": medians["step"]["plain"] / medians["step"]["hydropress"],
            "median_seconds": medians,
            "seconds": {"step": steps, "parts": parts},
        },
    )


if __name__ == "__main__":
    main()
