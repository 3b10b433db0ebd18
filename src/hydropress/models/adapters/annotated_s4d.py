"""The S4D layer of the annotated S4: class S4DLayer in ``s4/s4d.py`` of srush/annotated-s4 (Flax).

There is no module to replace, only a tree of parameters.  Those of the H channels of a layer are
stacked along the second axis: ``A_re``, ``A_im``, ``B_re``, ``B_im (N, H)``, ``C (N, H, 2)``, ``D``
and ``log_step (1, H)``; of a layer that is not stacked the axis is missing.

    k[t] = Re Σ C (e^{λΔ} - 1)/λ e^{λΔ t},    λ = min(A_re, -10⁻⁴) + i A_im,  Δ = exp(log_step)

The factor is Re, not 2 Re, and nothing makes the N modes conjugate to each other, so that N of them
are N pairs, with 2N real states, each with half its weight as the residue.  The gain of the
zero-order hold is folded in.  The layer keeps B and computes nothing with it: a written tree has
ones there.
"""

from typing import Any

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.modes import as_complex, as_parts, linear_part
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.trees import NO_OPTIONS, Options, Tensors, as_pairs, prefixes_with
from hydropress.systems.discretization import discretize_zoh
from hydropress.systems.modal import ModalSystem, SISOSystem

NAMES = ("A_re", "A_im", "B_re", "B_im", "C", "D", "log_step")
SLOWEST = -1e-4
"""Largest real part of a pole that the layer lets through."""


def _layer(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """Return a layer's tensors, with an axis of channels."""
    layer = {name: tensors[prefix + name].detach() for name in NAMES}
    if layer["A_re"].ndim == 1:
        layer = {name: tensor.unsqueeze(1) for name, tensor in layer.items()}
    return layer


def _modes(layer: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return exponents ``(H, N)``, weights ``(1, H, N)`` and steps ``(H,)``."""
    step = torch.exp(layer["log_step"].double())[0]
    decay = layer["A_re"].double().clamp_max(SLOWEST)
    poles = torch.complex(decay, layer["A_im"].double()).mT
    exponents, gain = discretize_zoh(poles, step[:, None])
    return exponents, (as_complex(layer["C"]).mT * gain)[None], step


class AnnotatedS4DTensors:
    """Parameter trees with S4D layers of the annotated S4."""

    name = "annotated-s4d"
    options: Options = NO_OPTIONS
    shares_poles = False

    def find(self, tensors: Tensors) -> list[str]:
        found: list[str] = []
        for prefix in prefixes_with(tensors, NAMES):
            poles, C = tensors[f"{prefix}A_re"], tensors[f"{prefix}C"]
            if poles.ndim in (1, 2) and tuple(C.shape) == (*poles.shape, 2):
                found.append(prefix)
        return found

    def read(self, tensors: Tensors, prefix: str, options: Options) -> LinearPart:
        layer = _layer(tensors, prefix)
        exponents, weights, step = _modes(layer)
        return linear_part(exponents, weights, layer["D"], step, self.name)

    def write(
        self, tensors: Tensors, prefix: str, system: ModalSystem, options: Options
    ) -> dict[str, Tensor]:
        old = _layer(tensors, prefix)
        H = old["A_re"].shape[1]
        if not isinstance(system, SISOSystem) or system.batch_shape != (1, H):
            raise InvalidArgumentError(
                f"systems of batch shape {tuple(system.batch_shape)} for the layer {prefix!r}; "
                f"required: scalar ones, (1, {H}); pass what read returns, reduced"
            )
        exponents, residues = (part[0] for part in as_pairs(system))
        step = torch.exp(old["log_step"].double())[0]
        poles = exponents / step[:, None]
        used = residues != 0
        slow = used & (poles.real > SLOWEST)
        if bool(slow.any()):
            raise InvalidArgumentError(
                f"{int(slow.sum())} poles of the layer {prefix!r} that decay by less than "
                f"{-SLOWEST} a time unit; required: faster ones, the layer clips slower; reduce to "
                "another order"
            )
        poles = torch.where(used, poles, torch.full_like(poles, -0.5 + 0.5j)).mT
        new: dict[str, Any] = {
            "A_re": poles.real.to(old["A_re"]),
            "A_im": poles.imag.to(old["A_im"]),
            "B_re": old["B_re"].new_ones(poles.shape),
            "B_im": old["B_im"].new_zeros(poles.shape),
            "C": old["C"].new_zeros(*poles.shape, 2),
            "D": system.D.to(old["D"]),
            "log_step": old["log_step"],
        }
        new["C"][..., 0] = 1
        # Gains are those of the rounded parameters, so that residues survive the rounding.
        _, unit, _ = _modes(new)
        new["C"] = as_parts((2 * residues / unit[0]).mT).to(old["C"])
        if tensors[f"{prefix}A_re"].ndim == 1:
            new = {name: tensor.squeeze(1) for name, tensor in new.items()}
        return {prefix + name: tensor for name, tensor in new.items()}

    def sizes(self, tensors: Tensors, prefix: str) -> dict[str, int]:
        return {"N": tensors[f"{prefix}A_re"].shape[0]}
