"""One contract for all linear SSM layers: sequences, streams, systems, devices."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import LinearSSM
from hydropress.models.modal_ssm import ModalSSM
from hydropress.models.s4d import S4D
from strategies import bank, build
from tiny import tiny_model
from tolerances import LAYER, STREAM

CHANNELS = 4
DTYPES = [torch.float32, torch.float64]


def ragged(*, bidirectional: bool = False) -> ModalSSM:
    """Orders 0, 1 (alternating), 3 and 4; the slowest mode remembers 500 samples."""
    directions = [
        bank(
            [
                build([-1.0], [0.0], [0], feedthrough=0.3),
                build([-0.05 + 1j * np.pi], [scale], [1], feedthrough=-1.0),
                build([-2e-3 + 0.02j, -0.5], [0.1 - 0.2j, scale], [2, 1]),
                build([-0.02 + 2j, -0.1 + 0.5j], [0.4j, 0.3 + scale], [2, 2], feedthrough=2.0),
            ]
        )
        for scale in (1.0, -0.5)[: 1 + bidirectional]
    ]
    rows = bank([direction[i] for direction in directions for i in range(CHANNELS)])
    bias = torch.tensor([0.5, -1.0, 0.0, 2.0])
    step = torch.tensor([1.0, 0.5, 0.01, 0.1])
    return ModalSSM.from_system(rows.reshape(1 + bidirectional, CHANNELS), step=step, bias=bias)


CAUSAL: dict[str, Callable[[], LinearSSM]] = {
    "lin-zoh": lambda: S4D(CHANNELS, 16),
    "lin-bilinear": lambda: S4D(CHANNELS, 16, discretization="bilinear"),
    "inv": lambda: S4D(CHANNELS, 8, initialization="inv"),
    "legs-bilinear": lambda: S4D(CHANNELS, 8, initialization="legs", discretization="bilinear"),
    "real": lambda: S4D(CHANNELS, 7, initialization="real"),
    "ragged": ragged,
}
BIDIRECTIONAL: dict[str, Callable[[], LinearSSM]] = {
    "lin, both ways": lambda: S4D(CHANNELS, 16, bidirectional=True),
    "real, both ways": lambda: S4D(CHANNELS, 3, initialization="real", bidirectional=True),
    "ragged, both ways": lambda: ragged(bidirectional=True),
}
LAYERS = CAUSAL | BIDIRECTIONAL
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
every_causal_layer = pytest.mark.parametrize("make", CAUSAL.values(), ids=CAUSAL.keys())
every_bidirectional_layer = pytest.mark.parametrize(
    "make", BIDIRECTIONAL.values(), ids=BIDIRECTIONAL.keys()
)


def draw(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype)


def direct(layer, signal):
    """y = k * u (+ the backward kernel, one step ahead) + D u + b, by NumPy in float64."""
    length = signal.shape[-1]
    kernels = layer.system().impulse_response(length).numpy()
    u = signal.double().numpy()
    output = np.zeros_like(u)
    for index in np.ndindex(*u.shape[:-1]):
        channel = index[-1]
        output[index] = np.convolve(kernels[0, channel], u[index])[:length]
        if layer.bidirectional:
            ahead = np.convolve(kernels[1, channel], u[index][::-1])[: length - 1][::-1]
            output[index][:-1] += ahead
    output += layer.D.detach().double().numpy()[:, None] * u
    if layer.bias is not None:
        output += layer.bias.detach().double().numpy()[:, None]
    return output


@every_layer
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_forward_equals_the_direct_convolution(make, dtype, batch):
    layer, signal = make().to(dtype), draw(*batch, CHANNELS, 60, dtype=dtype)
    output = layer(signal).detach()
    expected = direct(layer, signal)
    assert output.dtype == dtype
    assert output.shape == signal.shape
    assert np.abs(output.numpy() - expected).max() <= LAYER[dtype] * np.abs(expected).max()


@every_layer
def test_a_sequence_of_one_sample(make):
    layer, signal = make(), draw(2, CHANNELS, 1)
    np.testing.assert_allclose(layer(signal).detach(), direct(layer, signal), rtol=1e-5, atol=1e-6)


@every_layer
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernel_equals_that_of_the_system(make, dtype):
    layer = make().to(dtype)
    kernel, system = layer.kernel(1000).detach(), layer.system()
    assert kernel.shape == (layer.directions, CHANNELS, 1000)
    assert system.batch_shape == kernel.shape[:2]
    expected = system.impulse_response(1000)
    assert (kernel - expected).abs().max() <= LAYER[dtype] * expected.abs().max()
    assert torch.equal(system.D[0], layer.D.detach().double())
    assert not system.exponents.requires_grad
    assert not system.D.requires_grad
    if layer.bidirectional:
        assert not system.D[1].any()


def stream(layer, signal, state=None, recurrence=None):
    """Run sample by sample; return outputs ``(B, H, L)`` and the last state."""
    state = layer.initial_state(len(signal)) if state is None else state
    outputs = []
    with torch.no_grad():
        for sample in signal.unbind(-1):
            output, state = layer.step(sample, state, recurrence)
            outputs.append(output)
    return torch.stack(outputs, dim=-1), state


@pytest.mark.parametrize("name", ["lin-zoh", "ragged"])
def test_a_long_stream_equals_the_sequence(name):
    # The slowest modes that S4D starts with: half-lives of 1,400 samples.
    layer = S4D(CHANNELS, 16, step_range=(1e-3, 2e-3)) if name == "lin-zoh" else ragged()
    signal = draw(1, CHANNELS, 4096)
    outputs, _ = stream(layer, signal, recurrence=layer.recurrence())
    expected = layer(signal).detach()
    difference = (outputs - expected).abs().amax(-1)
    assert (difference <= STREAM[torch.float32] * expected.abs().amax(-1)).all()


@every_causal_layer
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_stream_equals_the_sequence(make, dtype):
    layer = make().to(dtype)
    signal = draw(3, CHANNELS, 100, dtype=dtype)
    outputs, state = stream(layer, signal)
    expected = layer(signal).detach()
    assert outputs.dtype == state.dtype == dtype
    assert state.shape == (3, layer.system().order.sum())
    assert (outputs - expected).abs().max() <= STREAM[dtype] * expected.abs().max()


@every_causal_layer
def test_chunks_with_a_carried_state_equal_one_run(make):
    layer, signal = make(), draw(2, CHANNELS, 30)
    whole, last = stream(layer, signal)
    recurrence = layer.recurrence()
    state, outputs = layer.initial_state(2), []
    for start, stop in ((0, 1), (1, 12), (12, 30)):
        # Coefficients computed once give the same as those computed anew each step.
        output, state = stream(layer, signal[..., start:stop], state, recurrence)
        outputs.append(output)
    assert torch.equal(torch.cat(outputs, dim=-1), whole)
    assert torch.equal(state, last)


@every_causal_layer
def test_a_step_leaves_its_arguments_alone(make):
    layer = make()
    state, sample = layer.initial_state(2), draw(2, CHANNELS)
    assert not state.any()
    with torch.no_grad():
        first, _ = layer.step(sample, state)
        assert not state.any()
        assert torch.equal(layer.step(sample, state)[0], first)


@every_causal_layer
def test_the_future_does_not_matter(make):
    layer, signal = make().double(), draw(1, CHANNELS, 40, dtype=torch.float64)
    changed = signal.clone()
    changed[..., 25:] += 100
    difference = (layer(changed) - layer(signal)).detach().abs()
    assert difference[..., :25].max() < 1e-11
    assert (difference[..., 25] > 1e-3).any()


@every_bidirectional_layer
def test_what_reads_the_future_refuses_to_stream(make):
    layer = make()
    sample = torch.zeros(1, CHANNELS)
    for attempt in (layer.recurrence, lambda: layer.step(sample, layer.initial_state(1))):
        with pytest.raises(InvalidArgumentError, match=r"bidirectional .* forward\(\) on whole"):
            attempt()


@every_layer
def test_signals_with_other_channels_are_refused(make):
    layer = make()
    # One channel must not be taken for all of them.
    for shape in ((2, 1, 10), (2, CHANNELS + 1, 10), (10,)):
        with pytest.raises(
            InvalidArgumentError, match=r"signal of shape .* required: \(\.\.\., 4,"
        ):
            layer(torch.zeros(shape))


@every_causal_layer
def test_samples_and_states_of_other_shapes_are_refused(make):
    layer = make()
    state = layer.initial_state(2)
    wrong = [(torch.zeros(2, 1), state), (torch.zeros(2, 5), state), (torch.zeros(4), state)]
    wrong += [(torch.zeros(2, 4), state[:1]), (torch.zeros(2, 4), torch.zeros(2, 99))]
    for sample, before in wrong:
        with pytest.raises(InvalidArgumentError, match=r"sample of shape .* state of shape"):
            layer.step(sample, before)


@every_layer
def test_every_parameter_gets_a_finite_gradient(make):
    layer = make()
    layer(draw(2, CHANNELS, 50)).square().mean().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@every_layer
def test_nothing_is_tied_to_the_cpu(make):
    # A tensor made on the wrong device cannot be mixed with those of the meta device.
    layer = make().to("meta")
    signal = torch.zeros(2, CHANNELS, 10, device="meta")
    assert layer(signal).shape == signal.shape
    assert layer(signal).device.type == "meta"
    if not layer.bidirectional:
        output, state = layer.step(signal[..., 0], layer.initial_state(2))
        assert output.device.type == state.device.type == "meta"


@pytest.mark.parametrize("bidirectional", [False, True])
def test_mixed_precision_does_not_reach_the_layer(bidirectional):
    torch.manual_seed(0)
    layer, signal = S4D(4, 16, bidirectional=bidirectional), torch.randn(2, 4, 60)
    with torch.no_grad():
        expected = layer(signal)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(signal), expected)
            half = layer(signal.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, layer(signal.bfloat16().float()))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_classifier_trains_in_mixed_precision(norm):
    model = tiny_model(norm=norm)
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(2, 30, 1)).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert bool(torch.isfinite(parameter.grad).all())
