"""S5 layers of i404788/s5-pytorch (on PyPI: s5-pytorch), ``s5/s5_model.py``.

``S5SSM`` holds ``Lambda`` (P,) complex, ``B`` (P, H, 2) as real pairs, ``C`` (H, P) complex, or
(H, 2P) if it reads both ways, ``D`` (H,) and ``log_step`` (P,), and computes on (L, H); ``S5`` maps
it over a batch and is found as one with it.  All P states are free complex ones:

- y = Re(C x) + D u, so a state is half a conjugate pair, and the layer has 2P real states;
- Λ and B are discretised with a step of each state's own, by zero-order hold or the bilinear rule,
  whichever function ``discretize`` is; Lambda is not clipped;
- ``degree`` d raises the discrete B, entry by entry, to its power d; a written layer has it in B
  and degree 1;
- both directions share Λ and B and count the present sample; read, the second starts one sample
  ahead and D has what that leaves out;
- ``step_scale`` is read as 1.

A written layer is of the same class with fewer states; where D is no longer diagonal or there is a
bias, ``seq`` is an :class:`ExtendedS5` around it.  Two directions reduced apart have poles of their
own, which the class cannot hold: they become a :class:`ChannelsLastS5`.

Notes
-----
The class forms (e^{λΔ} - 1) / λ in single precision, which costs log10(1/|λΔ|) of its seven
digits, in the original as in what is written; it is read without that loss.
"""

import copy
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.cores import (
    ChannelsLastCore,
    ExtendedCore,
    extended,
    refuse_state,
    require_unit_scale,
)
from hydropress.models.adapters.modes import as_complex, as_parts, is_kind
from hydropress.models.adapters.protocol import LinearPart, Tap
from hydropress.models.adapters.s5_matrices import Rule, S5Matrices, rule_named
from hydropress.models.adapters.trees import Options, Tensors, prefixes_with
from hydropress.models.layer import LinearSSM
from hydropress.systems.modal import MIMOSystem, ModalSystem

PARAMETERS = frozenset({"Lambda", "B", "C", "D", "log_step"})
CLASSES, CORE_CLASSES = ("S5",), ("S5SSM",)
"""Names of the classes that are meant; a subclass counts."""


class ExtendedS5(ExtendedCore):
    """An ``S5SSM`` with a bias or a full feedthrough, also when it is stepped by hand."""

    def forward_rnn(self, signal: Tensor, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        """Advance by one sample, as the original's method does."""
        core: Any = self.core
        output, state = core.forward_rnn(signal, *arguments, **options)
        return self.extend(output, signal), state


class ChannelsLastS5(ChannelsLastCore):
    """A layer of ours called as ``S5`` or ``S5SSM`` of two directions is, without a state."""

    def forward(
        self,
        signal: Tensor,
        step_scale: float | Tensor = 1.0,
        state: Tensor | None = None,
        return_state: bool = False,
    ) -> Tensor:
        """Apply the layer to ``(L, H)`` or ``(batch, L, H)``."""
        if state is not None or return_state:
            raise refuse_state("state" if state is not None else "return_state=True")
        require_unit_scale(step_scale)
        return self.apply_layer(signal)

    def initial_state(self, batch_size: int | None = None) -> Tensor:
        """Refuse, as there is none."""
        raise refuse_state("initial_state()")


class S5PyTorch:
    """``S5`` and ``S5SSM`` of s5-pytorch."""

    name = "s5-pytorch"
    channels_last = True

    def find(self, model: nn.Module) -> list[str]:
        found: list[str] = []
        for name, module in model.named_modules():
            inside = any(outer == "" or name.startswith(outer + ".") for outer in found)
            if not inside and _holder(module) is not None:
                found.append(name)
        return found

    def read(self, module: nn.Module) -> LinearPart:
        holder = _required(module)
        core = _core(holder)
        matrices, rule = _matrices(core), _rule(core)
        system = matrices.system(rule, 1.0)
        bias = None
        if isinstance(holder, ExtendedCore):
            bias = None if holder.bias is None else holder.bias.detach()
            if holder.feedthrough is not None:
                D = system.D.clone()
                D[0] += holder.feedthrough.detach().double()
                system = replace(system, D=D)
        return LinearPart(system, bias, matrices.scale.expand(len(matrices.C)))

    def write(self, module: nn.Module, layer: LinearSSM) -> nn.Module:
        holder = _required(module)
        if layer.bidirectional != _core(holder).bidir:
            raise InvalidArgumentError(
                f"a layer with bidirectional={layer.bidirectional} for an S5 with bidir="
                f"{_core(holder).bidir}; required: the same directions; give the reduced system of "
                "the module that was read"
            )
        if layer.bidirectional:
            return ChannelsLastS5(layer).train(module.training)
        system = layer.system()
        assert isinstance(system, MIMOSystem)
        core, feedthrough = copy.deepcopy(_core(holder)), None
        if layer.feedthrough().ndim == 2:
            diagonal = torch.diag_embed(torch.diagonal(system.D, dim1=-2, dim2=-1))
            feedthrough = (system.D - diagonal)[0].to(core.get_parameter("D"))
            system = replace(system, D=diagonal)
        _put(core, _matrices(core).of_system(system, _rule(core), 1.0))
        written = extended(core, feedthrough, layer, ExtendedS5)
        if module is holder:
            return written
        whole = _without_core(module)
        whole.seq = written
        return whole

    def tap(self, module: nn.Module) -> Tap:
        return Tap(module)


class S5PyTorchTensors:
    """State dicts with ``S5SSM`` of degree 1 that are not liquid, which the tensors do not tell."""

    name = "s5-pytorch"
    options: Options = MappingProxyType({"discretization": "zoh"})
    shares_poles = True

    def find(self, tensors: Tensors) -> list[str]:
        prefixes = prefixes_with(tensors, sorted(PARAMETERS))
        return [prefix for prefix in prefixes if _fits(_layer(tensors, prefix))]

    def read(self, tensors: Tensors, prefix: str, options: Options) -> LinearPart:
        matrices = _matrices_of(_layer(tensors, prefix))
        system = matrices.system(rule_named(options["discretization"]), 1.0)
        return LinearPart(system, step=matrices.scale.expand(len(matrices.C)))

    def write(
        self, tensors: Tensors, prefix: str, system: ModalSystem, options: Options
    ) -> dict[str, Tensor]:
        assert isinstance(system, MIMOSystem)
        old = _layer(tensors, prefix)
        matrices = _matrices_of(old)
        rule = rule_named(options["discretization"])
        new = _tensors_of(matrices.of_system(system, rule, 1.0), old)
        return {prefix + name: value for name, value in new.items()}

    def sizes(self, tensors: Tensors, prefix: str) -> dict[str, int]:
        return {
            "width": tensors[prefix + "D"].numel(),
            "state_width": tensors[prefix + "Lambda"].numel(),
        }


def _layer(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {name: tensors[prefix + name] for name in PARAMETERS}


def _holder(module: nn.Module) -> nn.Module | None:
    """Return what of a module is or extends an ``S5SSM``: itself, or ``seq`` of an ``S5``."""
    inner = dict(module.named_children()).get("seq")
    if is_kind(module, CLASSES) and inner is not None:
        module = inner
    return module if _is_core(_core(module)) else None


def _required(module: nn.Module) -> nn.Module:
    holder = _holder(module)
    if holder is None:
        raise InvalidArgumentError(
            f"a {type(module).__name__}; required: an S5 or S5SSM of s5-pytorch with parameters "
            f"{', '.join(sorted(PARAMETERS))}; ask find() for those of a model"
        )
    return holder


def _core(holder: nn.Module) -> Any:
    return holder.core if isinstance(holder, ExtendedS5) else holder


def _is_core(module: nn.Module) -> bool:
    own = dict(module.named_parameters(recurse=False))
    if not is_kind(module, CORE_CLASSES) or own.keys() != PARAMETERS or not _fits(own):
        return False
    return (len(own["C"].mT) == 2 * len(own["Lambda"])) == bool(getattr(module, "bidir", False))


def _fits(tensors: Tensors) -> bool:
    """Say whether tensors have the shapes of one layer."""
    states, channels = tensors["Lambda"].numel(), tensors["D"].numel()
    shapes = {
        "Lambda": [(states,)],
        "B": [(states, channels, 2)],
        "C": [(channels, states), (channels, 2 * states)],
        "D": [(channels,)],
        "log_step": [(states,)],
    }
    fits = all(tuple(tensors[name].shape) in allowed for name, allowed in shapes.items())
    return fits and tensors["Lambda"].is_complex() and tensors["C"].is_complex()


def _rule(core: Any) -> Rule:
    """Return the rule that a layer's ``discretize`` follows, told by the function's name."""
    name = str(getattr(core.discretize, "__name__", core.discretize))
    return rule_named(name.removeprefix("discretize_"))


def _matrices(core: Any) -> S5Matrices:
    """Return a layer's matrices, with the power of B in B."""
    if core.liquid:
        raise InvalidArgumentError(
            "an S5SSM with liquid=True, whose poles move with its input; required: a "
            "time-invariant one; a liquid SSM has no transfer function and no H2 norm, so leave "
            "it as it is"
        )
    matrices = _matrices_of(dict(core.named_parameters(recurse=False)))
    if core.degree == 1:
        return matrices
    step = torch.exp(matrices.log_step.double())
    _, gain = _rule(core).forward(matrices.poles.to(torch.complex128), step)
    B = (gain[:, None] * matrices.B) ** core.degree / gain[:, None]
    return replace(matrices, B=B)


def _matrices_of(tensors: Tensors) -> S5Matrices:
    poles, B, C, D, log_step = (
        tensors[name].detach() for name in ("Lambda", "B", "C", "D", "log_step")
    )
    return S5Matrices(poles, as_complex(B), C.split(len(poles), -1), D, log_step)


def _tensors_of(matrices: S5Matrices, like: Tensors) -> dict[str, Tensor]:
    """Return tensors of the dtypes that some others of the same layer have."""
    values = {
        "Lambda": matrices.poles,
        "B": as_parts(matrices.B),
        "C": torch.cat(matrices.C, -1),
        "D": matrices.D,
        "log_step": matrices.log_step,
    }
    return {name: value.to(like[name]).contiguous() for name, value in values.items()}


def _put(core: Any, matrices: S5Matrices) -> None:
    """Give a layer new parameters."""
    own = dict(core.named_parameters(recurse=False))
    for name, value in _tensors_of(matrices, own).items():
        setattr(core, name, nn.Parameter(value, requires_grad=own[name].requires_grad))
    core.degree = 1


def _without_core(module: nn.Module) -> Any:
    """Return a deep copy of an ``S5`` but for its ``seq``."""
    seq = module.get_submodule("seq")
    return copy.deepcopy(module, {id(seq): seq})
