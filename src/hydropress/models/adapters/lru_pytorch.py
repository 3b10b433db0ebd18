"""LRU layers in PyTorch: Gothos/LRU-pytorch (on PyPI: LRU-pytorch) and forgi86/lru-reduction.

``LRU_pytorch/LRU.py`` and ``lru/linear.py`` hold the same parameters: ``nu_log``, ``theta_log``
and ``gamma_log`` (N,), ``B`` (N, M) and ``C`` (P, N) complex, ``D`` (P, M), and compute on
(batch, L, M)

    x[t] = λ x[t-1] + γ B u[t],   y = Re(C x) + D u,   λ = exp(-e^ν + i e^θ).

- y = Re(C x), so a state is half a conjugate pair: the layer has 2N real states;
- γ = e^{gamma_log} is a parameter of its own: read, it is in B; written, it is √(1 - |λ|²), as both
  initialise it;
- D is a full matrix; there is no step.

A written layer is of the same class with fewer states, real poles among them: one at a > 0 has the
phase 2π, since a phase of 0 has no logarithm.  A bias is added by an ``ExtendedCore`` around it.
Layers of as many inputs as outputs are found; others have no counterpart among our layers.
"""

import copy
import math
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.complex_states import (
    balanced,
    proportion_of,
    states_of_system,
    system_of_states,
)
from hydropress.models.adapters.cores import ExtendedCore, extended
from hydropress.models.adapters.modes import is_kind
from hydropress.models.adapters.protocol import LinearPart, Tap
from hydropress.models.adapters.trees import Options, Tensors, prefixes_with
from hydropress.models.layer import LinearSSM
from hydropress.systems.modal import MIMOSystem, ModalSystem

PARAMETERS = frozenset({"nu_log", "theta_log", "gamma_log", "B", "C", "D"})
CLASSES = ("LRU",)
"""Names of the class that is meant; a subclass counts."""


def read_lru(tensors: Tensors) -> MIMOSystem:
    """Return the system that an LRU's tensors make, batch shape ``(1,)``."""
    values = {name: tensor.detach() for name, tensor in tensors.items()}
    exponents = torch.complex(-values["nu_log"].double().exp(), values["theta_log"].double().exp())
    B = values["gamma_log"].double().exp()[:, None] * values["B"].to(torch.complex128)
    return system_of_states(exponents, B, values["C"], values["D"]).reshape(1)


def write_lru(system: MIMOSystem, like: Tensors) -> dict[str, Tensor]:
    """Return the tensors of an LRU that realises a system; an original's set the scales.

    Parameters
    ----------
    system
        Batch shape ``(1,)``.
    like
        Tensors of the original, whose dtypes stay.
    """
    states = states_of_system(system[0])
    decay, phase = -states.exponents.real, states.exponents.imag
    phase = torch.where(phase <= 0, phase + 2 * math.pi, phase)
    nu_log = torch.log(decay).to(like["nu_log"].dtype)
    # Of the decay as it was rounded.
    gamma_log = torch.log(-torch.expm1(-2 * nu_log.double().exp())) / 2
    gamma_log = gamma_log.to(like["gamma_log"].dtype)
    B = states.B / gamma_log.double().exp()[:, None]
    B, C = balanced(B, states.C, proportion_of(like["B"].detach(), like["C"].detach()))
    values = {
        "nu_log": nu_log,
        "theta_log": torch.log(phase),
        "gamma_log": gamma_log,
        "B": B,
        "C": C,
        "D": system.D[0],
    }
    return {name: value.to(like[name]).contiguous() for name, value in values.items()}


class LRUPyTorch:
    """``LRU`` of LRU-pytorch and of lru-reduction."""

    name = "lru-pytorch"
    channels_last = True

    def find(self, model: nn.Module) -> list[str]:
        found: list[str] = []
        for name, module in model.named_modules():
            inside = any(outer == "" or name.startswith(outer + ".") for outer in found)
            if not inside and _is_core(_core(module)):
                found.append(name)
        return found

    def read(self, module: nn.Module) -> LinearPart:
        core = _required(module)
        bias = module.bias if isinstance(module, ExtendedCore) else None
        system = read_lru(dict(core.named_parameters(recurse=False)))
        return LinearPart(system, None if bias is None else bias.detach())

    def write(self, module: nn.Module, layer: LinearSSM) -> nn.Module:
        if layer.bidirectional:
            raise InvalidArgumentError(
                "a layer of two directions for an LRU of one; required: one direction; give the "
                "reduced system of the module that was read"
            )
        core = copy.deepcopy(_required(module))
        system = layer.system()
        assert isinstance(system, MIMOSystem)
        own = dict(core.named_parameters(recurse=False))
        for name, value in write_lru(system, own).items():
            setattr(core, name, nn.Parameter(value, requires_grad=own[name].requires_grad))
        states = core.nu_log.numel()
        if hasattr(core, "state_features"):
            core.state_features = states
        if torch.is_tensor(getattr(core, "state", None)):
            core.state = torch.zeros(states, dtype=core.B.dtype, device=core.B.device)
        return extended(core, None, layer, ExtendedCore)

    def tap(self, module: nn.Module) -> Tap:
        return Tap(module)


class LRUTensors:
    """State dicts with such layers, of any numbers of inputs and outputs."""

    name = "lru-pytorch"
    options: Options = MappingProxyType({})
    shares_poles = False

    def find(self, tensors: Tensors) -> list[str]:
        prefixes = prefixes_with(tensors, sorted(PARAMETERS))
        return [prefix for prefix in prefixes if _fits(_layer(tensors, prefix))]

    def read(self, tensors: Tensors, prefix: str, options: Options) -> LinearPart:
        return LinearPart(read_lru(_layer(tensors, prefix)))

    def write(
        self, tensors: Tensors, prefix: str, system: ModalSystem, options: Options
    ) -> dict[str, Tensor]:
        assert isinstance(system, MIMOSystem)
        written = write_lru(system, _layer(tensors, prefix))
        return {prefix + name: value for name, value in written.items()}

    def sizes(self, tensors: Tensors, prefix: str) -> dict[str, int]:
        outputs, inputs = tensors[prefix + "D"].shape
        states = tensors[prefix + "nu_log"].numel()
        return {"in_features": inputs, "out_features": outputs, "state_features": states}


def _layer(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {name: tensors[prefix + name] for name in PARAMETERS}


def _core(module: nn.Module) -> Any:
    return module.core if isinstance(module, ExtendedCore) else module


def _is_core(module: nn.Module) -> bool:
    own = dict(module.named_parameters(recurse=False))
    if not is_kind(module, CLASSES) or own.keys() != PARAMETERS or not _fits(own):
        return False
    return own["D"].shape[0] == own["D"].shape[1]


def _fits(tensors: Tensors) -> bool:
    """Say whether tensors have the shapes of one layer."""
    states, D = tensors["nu_log"].numel(), tensors["D"]
    if D.ndim != 2 or not (tensors["B"].is_complex() and tensors["C"].is_complex()):
        return False
    shapes = {
        "nu_log": (states,),
        "theta_log": (states,),
        "gamma_log": (states,),
        "B": (states, D.shape[1]),
        "C": (D.shape[0], states),
    }
    return all(tensors[name].shape == shape for name, shape in shapes.items())


def _required(module: nn.Module) -> Any:
    core = _core(module)
    if not _is_core(core):
        raise InvalidArgumentError(
            f"a {type(module).__name__}; required: an LRU of LRU-pytorch or lru-reduction, of as "
            f"many inputs as outputs, with parameters {', '.join(sorted(PARAMETERS))}; ask find() "
            "for those of a model"
        )
    return core
