"""Models around SSMs of other packages, compressed whole: every family through the same claims."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import hydropress
from hydropress import compress, load, register_adapter
from hydropress.calibration.fit import CalibratedSettings
from hydropress.errors import DataNotFoundError, FileFormatError, InvalidArgumentError
from hydropress.evaluation.metrics import count_ssm_parameters, count_states
from hydropress.models.adapters.protocol import LinearPart, Tap
from hydropress.models.adapters.registry import find_layers
from hydropress.models.layer import LinearSSM
from hydropress.systems.modal import ModalSystem
from owners import FAMILIES, LAYERS, outputs, owner, sequences

every_family = pytest.mark.parametrize("family", list(FAMILIES))
SETTINGS = CalibratedSettings(search_iterations=5, polish_iterations=3)


@every_family
@pytest.mark.parametrize("data", [False, True])
def test_all_states_leave_the_outputs_as_they_are(family, data):
    model = owner(family)
    calibration = sequences(12) if data else None
    result = compress(model, ratio=1.0, method="balanced", calibration=calibration)
    wanted = outputs(model, sequences(6, 3))
    torch.testing.assert_close(outputs(result.model, sequences(6, 3)), wanted, rtol=0, atol=1e-5)
    assert len(result.layers) == LAYERS


@every_family
def test_states_and_parameters_fall_and_the_call_stays(family):
    model = owner(family)
    before = model.state_dict()
    result = compress(model, ratio=0.25, method="balanced", allocation="uniform")
    assert count_states(result.model) <= 0.25 * count_states(model) + 1e-9
    assert count_ssm_parameters(result.model) <= 0.6 * count_ssm_parameters(model)
    assert outputs(result.model, sequences(6)).shape == (6, 3)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    # Wherever it can hold the result, the module keeps its class.
    kept = [type(one) for one in model.layers] == [type(one) for one in result.model.layers]  # type: ignore[arg-type]
    assert kept or family in ("attenuate", "s5 both ways", "lru")


@every_family
def test_data_help_and_every_layer_recalibrates_on_what_it_gets(family):
    model = owner(family)
    wanted = outputs(model, sequences(64, 5))

    def deviation(calibration):
        result = compress(model, ratio=0.25, calibration=calibration, settings=SETTINGS)
        return float((outputs(result.model, sequences(64, 5)) - wanted).square().mean())

    assert deviation(sequences(24)) < deviation(None)


def test_a_saved_model_is_the_same_in_another_process(tmp_path):
    wanted = {}
    for family in FAMILIES:
        result = compress(owner(family), ratio=0.5, method="modal", calibration=sequences(12))
        result.save(tmp_path / family)
        wanted[family] = outputs(result.model, sequences(4, 7))
    script = Path(__file__).with_name("owners.py")
    places = os.pathsep.join(map(str, (Path(hydropress.__file__).parents[1], script.parent)))
    subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONPATH": places},
    )
    found = torch.load(tmp_path / "outputs.pt", weights_only=True)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[family], wanted[family]) for family in wanted)


def test_what_does_not_fit_the_model_is_refused(tmp_path):
    result = compress(owner("s4d"), ratio=0.5, method="modal")
    result.save(tmp_path)
    with pytest.raises(FileFormatError, match="architecture"):
        load(tmp_path, nn.Linear(2, 3))
    with pytest.raises(FileFormatError, match="same code and sizes"):
        other = owner("s4d")
        other.head = nn.Linear(4, 5)
        load(tmp_path, other)
    (tmp_path / "layers.json").write_text('{"format": "hydropress-layers", "version": 9}')
    with pytest.raises(FileFormatError, match="version 9"):
        load(tmp_path, owner("s4d"))
    (tmp_path / "layers.json").unlink()
    with pytest.raises(DataNotFoundError, match="layers.json"):
        load(tmp_path, owner("s4d"))


class Resonator(nn.Module):
    """A module of a user's own: one real pole a channel, y[t] = Σ_j w a^j u[t - j], (B, L, H)."""

    def __init__(self, channels: int, poles: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.randn(channels, poles) + 1)
        self.weight = nn.Parameter(torch.randn(channels, poles))

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        poles, weight = torch.sigmoid(self.logit), self.weight
        state = torch.zeros(len(signal), *poles.shape)
        columns = []
        for sample in signal.unbind(1):
            state = poles * state + sample[..., None]
            columns.append((weight * state).sum(-1))
        return torch.stack(columns, 1)


class ChannelsLast(nn.Module):
    def __init__(self, layer: LinearSSM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.layer(signal.mT).mT


class ResonatorAdapter:
    name, channels_last = "resonator", True

    def find(self, model: nn.Module) -> list[str]:
        return [name for name, one in model.named_modules() if isinstance(one, Resonator)]

    def read(self, module: nn.Module) -> LinearPart:
        assert isinstance(module, Resonator)
        poles = torch.sigmoid(module.logit.detach().double())
        return LinearPart(ModalSystem.siso(poles[None], module.weight.detach().double()[None]))

    def write(self, module: nn.Module, layer: LinearSSM) -> nn.Module:
        return ChannelsLast(layer)

    def tap(self, module: nn.Module) -> Tap:
        return Tap(module)


def test_a_module_of_the_users_own_by_an_adapter_of_their_own(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), Resonator(3, 8), nn.Tanh(), nn.Linear(3, 2)).eval()
    with pytest.raises(InvalidArgumentError, match="looked for: .*s4d.*register_adapter"):
        find_layers(model)
    register_adapter(ResonatorAdapter())
    with pytest.raises(InvalidArgumentError, match="registered already"):
        register_adapter(ResonatorAdapter())
    whole = compress(model, ratio=1.0, method="balanced")
    inputs = sequences(5)
    torch.testing.assert_close(outputs(whole.model, inputs), outputs(model, inputs))
    small = compress(model, ratio=0.25, calibration=sequences(16), settings=SETTINGS)
    assert count_states(small.model) == 6
    small.save(tmp_path)
    assert torch.equal(outputs(load(tmp_path, model), inputs), outputs(small.model, inputs))


def test_an_object_without_the_protocol_is_refused():
    with pytest.raises(InvalidArgumentError, match="find, read, write"):
        register_adapter(object())


class MambaBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x_proj, self.dt_proj = nn.Linear(4, 6), nn.Linear(2, 4)
        self.A_log, self.D = nn.Parameter(torch.zeros(4, 2)), nn.Parameter(torch.zeros(4))


@pytest.mark.parametrize("name", ["MambaBlock", "SomethingElse"])
def test_selective_ssms_are_refused_with_the_reason(name):
    block = type(name, (MambaBlock,), {})()
    with pytest.raises(InvalidArgumentError, match=f"1 \\({name}\\).*no transfer function"):
        compress(nn.Sequential(nn.Linear(2, 4), block), ratio=0.5)
