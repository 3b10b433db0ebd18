"""Data that tell little of a channel: nothing breaks, and what they do not tell stays as it was."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hydropress import reduce
from hydropress.calibration.fit import CalibratedSettings
from hydropress.compression.model import compress
from hydropress.compression.result import Compression
from hydropress.errors import InvalidArgumentError
from hydropress.models.s4d import S4D
from hydropress.models.s5 import S5

LENGTH = 60
TIME = torch.linspace(0, 1, LENGTH)


class Direct(nn.Module):
    """A layer that gets the sequences themselves."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer: Any = layer
        self.head = nn.Linear(4, 3)

    def forward(self, sequences: Tensor) -> Tensor:
        return self.head(torch.tanh(self.layer(sequences.mT)).mean(-1))


def network(kind: Any = S4D, **settings: bool) -> Direct:
    torch.manual_seed(0)
    model = Direct(kind(4, 8, **settings)).eval()
    model.layer.D.data.normal_()
    return model


def layers_of(model: Direct, *results: Compression) -> list[Any]:
    return [model.layer, *(result.model.get_submodule("layer") for result in results)]


def walks() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.3 * torch.randn(16, LENGTH, 4, generator=generator).cumsum(1)


def with_channel(channel: Tensor | float) -> Tensor:
    sequences = walks()
    sequences[..., 1] = channel
    return sequences


NOISE = torch.randn(16, LENGTH, generator=torch.Generator().manual_seed(2))
FEW = CalibratedSettings(search_iterations=5, polish_iterations=5)
ON_SPECTRA = replace(FEW, longest_window=0)


@pytest.mark.parametrize("how", [FEW, ON_SPECTRA], ids=["window", "spectra"])
@pytest.mark.parametrize(
    ("sequences", "bidirectional"),
    [
        (with_channel(0.1), False),
        (with_channel(1.7), True),
        (with_channel(1 + 1e-6 * NOISE), False),
        (with_channel(1e4 + 0.1 * NOISE), False),
        (with_channel(TIME), False),
        (torch.zeros(16, LENGTH, 4), True),
        (walks()[:1].expand(16, -1, -1), False),
    ],
    ids=["constant", "another", "nearly", "offset", "ramp", "zeros", "one"],
)
def test_a_layer_is_reduced_whatever_it_sees(sequences, bidirectional, how):
    model = network(bidirectional=bidirectional)
    settings: dict[str, Any] = {"order": 4, "calibration": sequences, "allocation": "uniform"}
    result = compress(model, settings=how, **settings)
    balanced = compress(model, method="balanced", **settings)
    with torch.no_grad():
        wanted, *found = (layer(sequences.mT) for layer in layers_of(model, result, balanced))
    # On what they see no channel is further from the original than by balanced truncation.
    errors = [(one - wanted).double().square().mean((0, 2)).sqrt() for one in found]
    size = wanted.double().square().mean((0, 2)).sqrt()
    assert bool((errors[0] <= 1.05 * errors[1] + 1e-4 * size).all())


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_a_channel_that_sees_nothing_is_reduced_as_without_data(allocation):
    model = network()
    result = compress(
        model, order=2, calibration=with_channel(0.0), allocation=allocation, settings=FEW
    )
    (layer,) = result.layers
    full, reduced = layer.full[0, 1], layer.reduced[0, 1]
    order = int(reduced.order)
    assert allocation == "global" or order == 2
    plain = reduce(full, order=order).system
    kernels = [one.impulse_response(LENGTH) for one in (full, reduced, plain)]
    for kernel, system in zip(kernels, (full, reduced, plain), strict=True):
        kernel[0] += system.D
    found, optimum = ((kernel - kernels[0]).norm() for kernel in kernels[1:])
    assert float(found) < 1.001 * float(optimum)


@pytest.mark.parametrize("channel", [0.0, 0.7])
def test_a_channel_of_shared_states_that_sees_no_change_keeps_its_feedthrough(channel):
    model, sequences = network(S5), with_channel(channel)
    result = compress(model, order=4, calibration=sequences, settings=FEW)
    original, reduced = layers_of(model, result)
    torch.testing.assert_close(reduced.D[1], original.D[1])
    # The means are matched with it.
    with torch.no_grad():
        means = [layer(sequences.mT).mean((0, 2)) for layer in layers_of(model, result)]
    torch.testing.assert_close(means[1], means[0], atol=1e-4, rtol=1e-4)


def test_signals_whose_squares_are_no_numbers_are_refused():
    with pytest.raises(InvalidArgumentError, match="squares"):
        compress(network(), order=2, calibration=1e20 * walks(), settings=FEW)
