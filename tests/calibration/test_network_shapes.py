"""Networks of many makes: tied and repeated layers, outputs in containers, calls by keyword."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hydropress.calibration.forward import first_of
from hydropress.calibration.sensitivity import gradients_by_system, output_change, output_gradients
from hydropress.calibration.signals import capture_inputs
from hydropress.compression.model import compress
from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.protocol import Tap
from hydropress.models.loading import load
from hydropress.models.modal_ssm import ModalSSM
from hydropress.models.s4d import S4D

FAST: Any = {"order": 2, "method": "balanced"}


def sequences(count: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.2 * torch.randn(count, 30, 2, generator=generator).cumsum(1)


class Network(nn.Module):
    """Two layers between affine maps."""

    def __init__(self, *, outputs: int = 3, tied: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(2, 4)
        self.first = S4D(4, 8)
        self.second = self.first if tied else S4D(4, 8)
        self.decoder = nn.Linear(4, outputs)

    def forward(self, signal: Tensor) -> Any:
        signal = self.encoder(signal).mT
        signal = signal + torch.tanh(self.first(signal))
        signal = signal + torch.tanh(self.second(signal))
        return self.decoder(signal.mean(-1))


class Wrapped(nn.Module):
    """A network whose outputs are changed."""

    def __init__(self, change: Callable[[Tensor], Any], outputs: int = 3) -> None:
        super().__init__()
        self.network, self.change = Network(outputs=outputs), change

    def forward(self, signal: Tensor) -> Any:
        return self.change(self.network(signal))


def numbers(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_tied_layer_is_replaced_everywhere_and_stays_tied(tmp_path):
    model = Network(tied=True).eval()
    result = compress(model, order=2)
    assert result.model.first is result.model.second
    assert isinstance(result.model.first, ModalSSM)
    assert numbers(result.model) < numbers(model)
    result.save(tmp_path)
    loaded = load(tmp_path, Network(tied=True))
    assert loaded.first is loaded.second
    torch.testing.assert_close(loaded(sequences()), result.model(sequences()))


def inputs_of_both_calls(model: Network) -> Tensor:
    """Return what the tied layer gets, ``(n, 2, H, L)``, computed by hand."""
    signal = model.encoder(sequences()).mT
    after = signal + torch.tanh(model.first(signal))
    return torch.stack([signal, after], 1).detach()


def test_inputs_of_all_calls_are_captured_sequence_by_sequence():
    model = Network(tied=True).eval()
    captured = capture_inputs(model, model.first, sequences(), calls=2)
    torch.testing.assert_close(captured, inputs_of_both_calls(model).flatten(0, 1))


def test_gradients_of_all_calls_add_up_to_what_the_outputs_change():
    """An error at the first call alone changes the outputs as its rows say; so at the second."""
    model = Network(tied=True).eval().double()
    data = sequences().double()
    gradients = output_gradients(model, Tap(model.first), data, calls=2)
    assert gradients.shape == (3, 32, 4, 30)
    step = 1e-6
    for call in (0, 1):
        seen = []

        def disturb(_: nn.Module, __: object, output: Tensor, seen=seen, call=call) -> Tensor:
            seen.append(None)
            return output + step if len(seen) == call + 1 else output

        with torch.no_grad():
            before = model(data)
            handle = model.first.register_forward_hook(disturb)
            change = (model(data) - before) / step
            handle.remove()
        rows = gradients.unflatten(1, (16, 2))[:, :, call].sum((-1, -2)).mT
        # Calls are energies of their own: each row carries a factor √2.
        torch.testing.assert_close(rows / 2**0.5, change, rtol=1e-4, atol=1e-6)


def test_a_layer_called_twice_counts_the_variance_of_both_calls():
    """Beside a twin of its own values, a layer called twice costs what two layers cost."""
    tied, apart = Network(tied=True).eval(), Network().eval()
    apart.load_state_dict(tied.state_dict())
    error = torch.ones(4, 32, 30) * torch.linspace(-1, 1, 32)[:, None]
    both = output_gradients(tied, Tap(tied.first), sequences(), calls=2)
    cost = output_change(gradients_by_system(both, 1), error)
    rows = error.unflatten(1, (16, 2))
    alone = [
        output_change(
            gradients_by_system(output_gradients(apart, Tap(layer), sequences()), 1), rows[:, :, i]
        )
        for i, layer in enumerate((apart.first, apart.second))
    ]
    # The mean is taken out over both calls at once; that of each call would be less.
    assert bool((cost >= 0.999 * (alone[0] + alone[1])).all())


def test_a_tied_layer_is_fitted_to_both_of_its_calls():
    """Its bias makes the mean over both calls right, which for the first call alone is not."""
    model = Network(tied=True).eval()
    result = compress(model, **FAST, calibration=sequences(), allocation="uniform").model
    assert result.first is result.second
    inputs = inputs_of_both_calls(model).flatten(0, 1)
    error = result.get_submodule("first")(inputs) - model.first(inputs)
    assert bool((error.mean((0, 2)).abs() < 1e-5).all())
    assert bool((error[::2].mean((0, 2)).abs() > 1e-4).any())


def test_a_layer_that_is_never_called_is_named_before_the_search():
    model = Network().eval()
    model.spare = S4D(4, 8)
    with pytest.raises(InvalidArgumentError, match="spare.*required"):
        compress(model, order=2, calibration=sequences())


def test_calls_of_several_lengths_are_refused():
    class Halved(Network):
        def forward(self, signal: Tensor) -> Tensor:
            signal = self.first(self.encoder(signal).mT)[..., ::2]
            return self.decoder(self.second(self.first(signal)).mean(-1))

    with pytest.raises(InvalidArgumentError, match="without data"):
        compress(Halved().eval(), order=2, calibration=sequences())


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


@pytest.mark.parametrize(
    "change",
    [
        lambda logits: (logits, {"hidden": None}),
        lambda logits: [logits],
        lambda logits: {"loss": None, "logits": logits},
        lambda logits: {"label": logits.argmax(-1), "logits": [logits]},
        lambda logits: Output(None, logits),
    ],
)
def test_outputs_in_containers_give_what_bare_outputs_give(change):
    bare = compress(Network().eval(), **FAST, calibration=sequences()).model
    packed = compress(Wrapped(change).eval(), **FAST, calibration=sequences()).model
    torch.testing.assert_close(first_of(packed(sequences())), bare(sequences()))


@pytest.mark.parametrize("change", [lambda logits: logits.squeeze(-1), lambda logits: logits[:, 0]])
def test_outputs_of_one_number_a_sequence_give_what_a_column_gives(change):
    column = compress(Network(outputs=1).eval(), **FAST, calibration=sequences()).model
    flat = compress(Wrapped(change, 1).eval(), **FAST, calibration=sequences()).model
    torch.testing.assert_close(flat(sequences()), column(sequences())[:, 0])


def test_a_layer_that_does_not_reach_the_output_loses_its_states():
    class Idle(Network):
        def forward(self, signal: Tensor) -> Tensor:
            signal = self.encoder(signal).mT
            self.second(signal)
            return self.decoder((signal + torch.tanh(self.first(signal))).mean(-1))

    for frozen in (False, True):
        model = Idle().eval().requires_grad_(not frozen)
        result = compress(model, **FAST, calibration=sequences())
        idle, used = result.plan["second"], result.plan["first"]
        gradients = output_gradients(model, Tap(model.second), sequences())
        assert gradients.shape == (3, 16, 4, 30)
        assert bool((gradients == 0).all())
        assert sum(map(sum, idle.orders)) <= sum(map(sum, used.orders))


def test_a_layer_called_by_keyword_is_calibrated():
    class ByName(S4D):
        def forward(self, signal: Tensor) -> Tensor:
            return super().forward(signal)

    class Keyword(Network):
        def __init__(self) -> None:
            super().__init__()
            self.first = ByName(4, 8)

        def forward(self, signal: Tensor) -> Tensor:
            signal = self.second(self.first(signal=self.encoder(signal).mT))
            return self.decoder(signal.mean(-1))

    model = Keyword().eval()
    captured = capture_inputs(model, model.first, sequences())
    torch.testing.assert_close(captured, model.encoder(sequences()).mT.detach())


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_a_network_without_gradients_is_refused_at_once_unless_uniform(guard):
    class Guarded(Network):
        def forward(self, signal: Tensor) -> Tensor:
            with guard():
                return super().forward(signal)

    steps: list[str] = []
    with pytest.raises(InvalidArgumentError, match="required.*allocation='uniform'"):
        compress(
            Guarded().eval(),
            order=2,
            calibration=sequences(),
            progress=lambda _done, _total, what: steps.append(what),
        )
    assert steps == []
    result = compress(Guarded().eval(), **FAST, calibration=sequences(), allocation="uniform")
    assert result.order == 2


@pytest.mark.parametrize(
    "change", [lambda logits: logits.argmax(-1), lambda logits: logits.sum(), lambda _: "text"]
)
def test_outputs_without_a_number_a_sequence_are_refused_unless_uniform(change):
    with pytest.raises(InvalidArgumentError, match="required.*allocation='uniform'"):
        compress(Wrapped(change).eval(), order=2, calibration=sequences())
    model = Wrapped(change).eval()
    assert compress(model, **FAST, calibration=sequences(), allocation="uniform").order == 2
