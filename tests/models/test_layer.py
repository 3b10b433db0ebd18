"""One contract for all linear SSM layers: sequences, streams, systems, devices."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hydropress.errors import InvalidArgumentError
from hydropress.models.dss import DSS
from hydropress.models.layer import BankSSM, LinearSSM
from hydropress.models.lru import LRU
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.models.modal_ssm import ModalSSM
from hydropress.models.s4d import S4D
from hydropress.models.s5 import S5
from hydropress.systems.modal import MIMOSystem
from strategies import bank, build, seeded_mimo
from tiny import tiny_model
from tolerances import EXTRACTED, LAYER, STREAM

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


def modal_mimo(*, bidirectional: bool = False, diagonal: bool = False) -> ModalMIMOSSM:
    """Three pairs and two real poles, one alternating; backward one pair and one real pole."""
    system = seeded_mimo((1 + bidirectional,), CHANNELS, CHANNELS, 3, 2, seed=3)
    exponents, states, D = system.exponents.clone(), system.states.clone(), system.D
    exponents[0, 0] = torch.tensor(-2e-3 + 0.02j)
    exponents[0, -1] = torch.tensor(-0.05 + 1j * np.pi)
    if bidirectional:
        states[1, [1, 2, 4]] = 0
        D = torch.stack([D[0], torch.zeros_like(D[1])])
    if diagonal:
        D = torch.diag_embed(D.diagonal(dim1=-2, dim2=-1))
    system = MIMOSystem(exponents, system.B, system.C, states, D, "discrete")
    step = torch.tensor([0.1, 0.5])[: 1 + bidirectional]
    return ModalMIMOSSM.from_system(system, step=step, bias=torch.tensor([0.5, -1.0, 0.0, 2.0]))


CAUSAL: dict[str, Callable[[], LinearSSM]] = {
    "lin-zoh": lambda: S4D(CHANNELS, 16),
    "lin-bilinear": lambda: S4D(CHANNELS, 16, discretization="bilinear"),
    "inv": lambda: S4D(CHANNELS, 8, initialization="inv"),
    "legs-bilinear": lambda: S4D(CHANNELS, 8, initialization="legs", discretization="bilinear"),
    "real": lambda: S4D(CHANNELS, 7, initialization="real"),
    "ragged": ragged,
    "dss-exp": lambda: DSS(CHANNELS, 16),
    "dss-softmax": lambda: DSS(CHANNELS, 16, softmax_length=200),
    "s5": lambda: S5(CHANNELS, 16),
    "s5-bilinear, blocks": lambda: S5(CHANNELS, 16, blocks=2, discretization="bilinear"),
    "lru": lambda: LRU(CHANNELS, 12),
    "lru, slow": lambda: LRU(CHANNELS, 12, ring=(0.9, 0.999), max_phase=0.3),
    "modal mimo": modal_mimo,
    "modal mimo, diagonal D": lambda: modal_mimo(diagonal=True),
}
BIDIRECTIONAL: dict[str, Callable[[], LinearSSM]] = {
    "lin, both ways": lambda: S4D(CHANNELS, 16, bidirectional=True),
    "real, both ways": lambda: S4D(CHANNELS, 3, initialization="real", bidirectional=True),
    "ragged, both ways": lambda: ragged(bidirectional=True),
    "dss-exp, both ways": lambda: DSS(CHANNELS, 8, bidirectional=True),
    "dss-softmax, both ways": lambda: DSS(CHANNELS, 8, softmax_length=60, bidirectional=True),
    "s5, both ways": lambda: S5(CHANNELS, 16, blocks=2, bidirectional=True),
    "lru, both ways": lambda: LRU(CHANNELS, 12, bidirectional=True),
    "modal mimo, both ways": lambda: modal_mimo(bidirectional=True),
}
LAYERS = CAUSAL | BIDIRECTIONAL
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
every_causal_layer = pytest.mark.parametrize("make", CAUSAL.values(), ids=CAUSAL.keys())
every_bank = pytest.mark.parametrize(
    "make",
    [make for make in LAYERS.values() if isinstance(make(), BankSSM)],
    ids=[name for name, make in LAYERS.items() if isinstance(make(), BankSSM)],
)
every_bidirectional_layer = pytest.mark.parametrize(
    "make", BIDIRECTIONAL.values(), ids=BIDIRECTIONAL.keys()
)


def draw(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype)


def kernels_and_feedthrough(layer, length):
    """k, ``(directions, H, H, length)``, and D, ``(H, H)``, by NumPy in float64."""
    system = layer.system()
    kernels, D = system.impulse_response(length), system.D[0]
    if isinstance(layer, BankSSM):
        kernels = torch.diag_embed(kernels.movedim(-1, 0), dim1=-2, dim2=-1).movedim(0, -1)
        D = torch.diag(D)
    return kernels.numpy(), D.numpy()


def direct(layer, signal):
    """y = k * u (+ the backward kernel, one step ahead) + D u + b, by NumPy in float64."""
    length = signal.shape[-1]
    kernels, D = kernels_and_feedthrough(layer, length)
    u = signal.double().numpy()
    output = D @ u
    for t in range(length):
        output[..., t:] += np.einsum("pml,...m->...pl", kernels[0, ..., : length - t], u[..., t])
        if layer.bidirectional and t:
            ahead = kernels[1, ..., :t][..., ::-1]
            output[..., :t] += np.einsum("pml,...m->...pl", ahead, u[..., t])
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
def test_the_system_is_what_an_impulse_at_every_input_shows(make, dtype):
    layer, length, place = make().to(dtype), 400, 0
    if layer.bidirectional:
        place = 150
    impulses = torch.zeros(CHANNELS, CHANNELS, length, dtype=dtype)
    impulses[:, :, place] = torch.eye(CHANNELS)
    with torch.no_grad():
        measured = (layer(impulses) - layer(torch.zeros_like(impulses))).double().numpy()
    kernels, D = kernels_and_feedthrough(layer, length)
    expected = np.zeros_like(measured)
    # Of input m, output p: row m of the batch, channel p.
    expected[..., place:] = np.moveaxis(kernels[0, ..., : length - place], 1, 0)
    expected[..., place] += D.T
    if layer.bidirectional:
        expected[..., :place] += np.moveaxis(kernels[1, ..., :place], 1, 0)[..., ::-1]
    assert np.abs(measured - expected).max() <= EXTRACTED[dtype] * np.abs(expected).max()


@every_layer
def test_the_system_has_no_gradient_and_one_feedthrough(make):
    layer = make()
    system = layer.system()
    assert system.batch_shape[0] == layer.directions
    assert not system.exponents.requires_grad
    assert not system.D.requires_grad
    assert torch.equal(system.D[0], layer.feedthrough().detach().double()) or (
        torch.equal(system.D[0], torch.diag(layer.feedthrough().detach().double()))
    )
    assert not system.D[1:].any()


@every_layer
def test_every_value_of_the_parameters_is_stable(make):
    layer = make()
    for seed in range(5):
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(2 * torch.randn_like(parameter))
        layer.system().require_stable()
        assert torch.isfinite(layer(draw(1, CHANNELS, 50))).all()


@every_bank
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernel_equals_that_of_the_system(make, dtype):
    layer = make().to(dtype)
    kernel, system = layer.kernel(1000).detach(), layer.system()
    assert kernel.shape == (layer.directions, CHANNELS, 1000)
    assert system.batch_shape == kernel.shape[:2]
    expected = system.impulse_response(1000)
    assert (kernel - expected).abs().max() <= LAYER[dtype] * expected.abs().max()


def stream(layer, signal, state=None, recurrence=None):
    """Run sample by sample; return outputs ``(B, H, L)`` and the last state."""
    state = layer.initial_state(len(signal)) if state is None else state
    outputs = []
    with torch.no_grad():
        for sample in signal.unbind(-1):
            output, state = layer.step(sample, state, recurrence)
            outputs.append(output)
    return torch.stack(outputs, dim=-1), state


SLOW: dict[str, Callable[[], LinearSSM]] = {
    # The slowest modes that S4D starts with: half-lives of 1,400 samples.
    "lin-zoh": lambda: S4D(CHANNELS, 16, step_range=(1e-3, 2e-3)),
    "ragged": ragged,
    "s5": lambda: S5(CHANNELS, 16, step_range=(1e-3, 2e-3)),
    "lru": lambda: LRU(CHANNELS, 16, ring=(0.999, 0.9995), max_phase=0.1),
}


@pytest.mark.parametrize("make", SLOW.values(), ids=SLOW.keys())
def test_a_long_stream_equals_the_sequence(make):
    layer = make()
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
