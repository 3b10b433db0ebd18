"""From a recorded case to its stand-in, and outputs of systems by sums over the past."""

from typing import Any

import torch
from torch import Tensor, nn

from hydropress.models.adapters.protocol import Adapter, LinearPart
from hydropress.models.adapters.registry import find_layers
from hydropress.models.modal_ssm import ModalSSM
from hydropress.systems.modal import SISOSystem
from models.adapters.standins import DSS, S4, S4D, FFTConv, S4Block, anticausal, causal
from models.adapters.vectors import Case, load

H, N, L = 4, 8, 40
KINDS: dict[str, Any] = {"S4D": S4D, "FFTConv": FFTConv, "S4Block": S4Block, "S4": S4, "DSS": DSS}
OF_THE_START = ("init", "imag_scale", "dt_min", "dt_max")
"""Options that only say how an original is initialised."""
REFUSED = ("softmax unlimited", "softmax growing")
FAMILIES = ("s4d", "s4", "s4_v3", "dss")

ALL = [(family, case) for family in FAMILIES for case in load(family)]
MODULES = [case for _, case in ALL if case.kind in KINDS and case.name not in REFUSED]


def label(case: Case) -> str:
    return f"{case.kind} {case.name}{' float64' if case.is_double else ''}"


def case_of(kind: str, name: str) -> Case:
    return next(case for _, case in ALL if (case.kind, case.name) == (kind, name))


def options_of(case: Case) -> dict[str, Any]:
    return {name: value for name, value in case.options.items() if name not in OF_THE_START}


def fresh(case: Case, **changes: Any) -> Any:
    """Return the stand-in with none of the original's numbers."""
    arguments = {"d_model": H, "d_state": N, **options_of(case), **changes}
    module = KINDS[case.kind](**arguments)
    return module.double() if case.is_double else module


def original(case: Case) -> Any:
    module = fresh(case)
    module.load_state_dict(case.state)
    return module.eval()


def only_layer(model: nn.Module) -> tuple[str, Any, Adapter]:
    (found,) = find_layers(model)
    return found.name, model.get_submodule(found.name), found.adapter


def bank_of(part: LinearPart) -> SISOSystem:
    assert isinstance(part.system, SISOSystem)
    return part.system


def with_layer(model: nn.Module, name: str, module: nn.Module) -> Any:
    """Put a module into the place of a layer."""
    if not name:
        return module
    model.set_submodule(name, module)
    return model


def takes_channels_last(case: Case) -> bool:
    default = case.kind != "FFTConv"
    return not case.options.get("transposed", default)


def channels_first(case: Case) -> Tensor:
    """Return a case's input, (B, H, L)."""
    return case.signal.mT if takes_channels_last(case) else case.signal


def response(system: SISOSystem, signal: Tensor, longest: int | None = None) -> Tensor:
    """Return k * u + D u of both directions, float64; kernels may be cut off."""
    kernel = system.impulse_response(signal.shape[-1])[..., : longest or None]
    signal = signal.double()
    output = causal(kernel[0], signal) + system.D[0][:, None] * signal
    return output + anticausal(kernel[1], signal) if len(kernel) == 2 else output


def relative(output: Tensor, expected: Tensor) -> float:
    return float((output.double() - expected).abs().max() / expected.double().abs().max())


def empty_layer(layer: ModalSSM) -> ModalSSM:
    """Return a layer of which only the sizes are right."""
    rows = layer.directions * layer.channels
    return ModalSSM(
        torch.zeros(len(layer.pair_row)),
        torch.zeros(len(layer.real_row)),
        torch.ones(len(layer.real_row)),
        torch.ones(rows),
        channels=layer.channels,
        bidirectional=layer.bidirectional,
    )
