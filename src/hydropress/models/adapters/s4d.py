"""The minimal S4D layer: class S4D with S4DKernel in ``models/s4/s4d.py`` of state-spaces/s4.

Tensors: ``D (H,)`` of the layer; ``log_dt (H,)``, ``log_A_real``, ``A_imag (H, N/2)`` and
``C (H, N/2, 2)`` of its kernel.

    k[t] = 2 Re Σ C (e^{λΔ} - 1)/λ e^{λΔ t},    λ = -exp(log_A_real) + i A_imag,  Δ = exp(log_dt)

The factor is 2 Re, so that C is the residue of a pair but for the input gain of the zero-order
hold, which is folded into the residue; B is one.  A mode with ``A_imag`` of exactly 0, as the first
one has at initialisation, is one real pole of twice the real part of its weight.  The layer is
``activation(k * u + D u)``, then an output map.  Older versions of the file have the same tensors.
"""

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.modes import (
    as_complex,
    as_parts,
    linear_part,
    own_tensors,
)
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.transforms import parameter_of
from hydropress.models.adapters.trees import NO_OPTIONS, Options, Tensors, as_pairs, prefixes_with
from hydropress.models.adapters.written import KernelAdapter
from hydropress.systems.discretization import discretize_zoh
from hydropress.systems.modal import ModalSystem, SISOSystem

NAMES = ("C", "log_dt", "log_A_real", "A_imag")


def _have_the_shapes(tensors: Tensors) -> bool:
    if not set(NAMES) <= set(tensors):
        return False
    C, step, decay, frequency = (tuple(tensors[name].shape) for name in NAMES)
    return len(C) == 3 and C[2] == 2 and decay == frequency == C[:2] and step == C[:1]


def _modes(tensors: Tensors) -> tuple[Tensor, Tensor, Tensor]:
    """Return exponents ``(H, n)``, weights ``(1, H, n)`` and steps ``(H,)``."""
    step = torch.exp(tensors["log_dt"].detach().double())
    decay = torch.exp(tensors["log_A_real"].detach().double())
    poles = torch.complex(-decay, tensors["A_imag"].detach().double())
    exponents, gain = discretize_zoh(poles, step[:, None])
    return exponents, 2 * (as_complex(tensors["C"]) * gain)[None], step


class S4DAdapter(KernelAdapter):
    """Modules of class S4D, and of classes derived from it."""

    family = "s4d"
    own_classes = ("S4D",)
    own_kernel_classes = ("S4DKernel",)
    returns_state = False

    def is_kernel(self, kernel: nn.Module) -> bool:
        return _have_the_shapes(own_tensors(kernel))

    def read_modes(self, module: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        return _modes(own_tensors(self.inner_kernel(module)))


class S4DTensors:
    """State dicts with S4D layers."""

    name = "s4d"
    options: Options = NO_OPTIONS
    shares_poles = False

    def find(self, tensors: Tensors) -> list[str]:
        names = ["D", *(f"kernel.{name}" for name in NAMES)]
        return [
            prefix
            for prefix in prefixes_with(tensors, names)
            if _have_the_shapes(_kernel(tensors, prefix))
        ]

    def read(self, tensors: Tensors, prefix: str, options: Options) -> LinearPart:
        exponents, weights, step = _modes(_kernel(tensors, prefix))
        return linear_part(exponents, weights, tensors[f"{prefix}D"], step, self.name)

    def write(
        self, tensors: Tensors, prefix: str, system: ModalSystem, options: Options
    ) -> dict[str, Tensor]:
        old = _kernel(tensors, prefix)
        if not isinstance(system, SISOSystem) or system.batch_shape != (1, len(old["log_dt"])):
            raise InvalidArgumentError(
                f"systems of batch shape {tuple(system.batch_shape)} for the S4D layer {prefix!r}; "
                f"required: scalar ones, (1, {len(old['log_dt'])}); pass what read returns, reduced"
            )
        exponents, residues = (part[0] for part in as_pairs(system))
        step = torch.exp(old["log_dt"].detach().double())
        poles = exponents / step[:, None]
        new = {
            "log_dt": old["log_dt"],
            "log_A_real": parameter_of("exp", -poles.real, "decays").to(old["log_A_real"]),
            "A_imag": poles.imag.to(old["A_imag"]),
            "C": old["C"].new_zeros(*poles.shape, 2),
        }
        new["C"][..., 0] = 1
        # Gains are those of the rounded parameters, so that residues survive the rounding.
        _, unit, _ = _modes(new)
        new["C"] = as_parts(2 * residues / unit[0]).to(old["C"])
        written = {f"kernel.{name}": tensor for name, tensor in new.items()}
        written["D"] = system.D[0].to(tensors[f"{prefix}D"])
        return {prefix + name: tensor for name, tensor in written.items()}

    def sizes(self, tensors: Tensors, prefix: str) -> dict[str, int]:
        return {"d_state": 2 * tensors[f"{prefix}kernel.C"].shape[1]}


def _kernel(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {name: tensors[f"{prefix}kernel.{name}"] for name in NAMES}
