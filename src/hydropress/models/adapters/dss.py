"""DSS: class DSS with DSSKernel in ``src/models/sequence/ss/standalone/dss.py`` of ag1988/dss.

Tensors of the kernel: ``log_dt (H,)`` or, with steps apart for the real and the imaginary part of
λ, ``(H, 2)``; ``W (rows, H, N, 2)``, rows = 2 if bidirectional else 1; and one λ ``(N,)`` for all
channels:

    exp, exp-no-scale      λ = -exp(Lambda_log_neg_re) + i Lambda_im
    exp-re-im              λ = -exp(Lambda_log_neg_re) + i exp(Lambda_log_im)
    softmax                λ = Lambda[:, 0] + i Lambda[:, 1]
    clip, clip-no-scale    the same, the real part at most max_real_Lambda

    k[t] = Re Σ W g e^{st},    s = Re λ Δ₀ + i Im λ Δ₁,    Δ = exp(log_dt)

    exp, exp-re-im, clip    g = (e^s - 1) λ̄ / max(|λ|², ε)
    *-no-scale              g = 1
    softmax                 g = (e^s - 1) / (λ (e^{sL} - 1)), |·|² + ε below

The factor is Re, not 2 Re, and nothing makes the N modes conjugate to each other, so that N of them
are N pairs, with 2N real states, each with half of W g as its residue.  A softmax is over the L
samples of the kernel: it is a modal system only if no λ grows and the length is fixed, by
``max_kernel_length``; sequences must then be that long.  The backward direction, the second row of
W, reads the next sample first.  D is ``(1, H)``; more rows, of several heads or of ``hyper_act``,
are refused.  The layer's time unit is Δ₀.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.modes import (
    as_complex,
    as_parts,
    linear_part,
    own_tensors,
    softmax_gain,
)
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.transforms import SMALLEST
from hydropress.models.adapters.trees import Options, Tensors, as_pairs, prefixes_with
from hydropress.models.adapters.written import KernelAdapter
from hydropress.systems.modal import ModalSystem, SISOSystem

OPTIONS: dict[str, Any] = {
    "version": None,
    "max_kernel_length": None,
    "epsilon": 1e-7,
    "max_real_Lambda": 1e-4,
}
POLES = (("Lambda_log_neg_re", "Lambda_im"), ("Lambda_log_neg_re", "Lambda_log_im"), ("Lambda",))
VERSIONS = (("exp", "exp-no-scale"), ("exp-re-im",), ("softmax", "clip", "clip-no-scale"))
SAME_POLE = 1e-6
"""Relative distance up to which two channels have the same λ; they are kept in float32."""


def _have_the_shapes(tensors: Mapping[str, Tensor]) -> bool:
    names = _pole_names(tensors)
    if names is None or not {"log_dt", "W"} <= set(tensors):
        return False
    W, step, pole = tensors["W"], tensors["log_dt"], tensors[names[0]]
    if W.ndim != 4 or W.shape[3] != 2 or step.shape not in ((W.shape[1],), (W.shape[1], 2)):
        return False
    return len(pole) == W.shape[2]


def _pole_names(tensors: Mapping[str, Tensor]) -> tuple[str, ...] | None:
    return next((names for names in POLES if set(names) <= set(tensors)), None)


def _version(tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> str:
    names = _pole_names(tensors)
    assert names is not None
    possible = VERSIONS[POLES.index(names)]
    version = options["version"] or possible[0]
    if version not in possible:
        raise InvalidArgumentError(
            f"version={version!r} for a DSS kernel with {', '.join(names)}; required: "
            f"{' or '.join(possible)}; give the layer's own setting"
        )
    return version


def _steps(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return Δ₀ and Δ₁ of each channel, shape ``(H, 2)``."""
    step = torch.exp(tensors["log_dt"].detach().double())
    return step.reshape(len(step), -1).expand(-1, 2)


def _modes(
    tensors: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return exponents ``(H, N)``, weights ``(rows, H, N)`` and steps ``(H,)``."""
    version, steps = _version(tensors, options), _steps(tensors)
    if version.startswith("exp"):
        real = -torch.exp(tensors["Lambda_log_neg_re"].detach().double())
        if version == "exp-re-im":
            imaginary = torch.exp(tensors["Lambda_log_im"].detach().double())
        else:
            imaginary = tensors["Lambda_im"].detach().double()
    else:
        real, imaginary = tensors["Lambda"].detach().double().unbind(-1)
        if version.startswith("clip"):
            real = real.clamp_max(options["max_real_Lambda"])
    poles = torch.complex(real, imaginary)
    exponents = torch.complex(steps[:, :1] * real, steps[:, 1:] * imaginary)
    weights, epsilon = as_complex(tensors["W"]), options["epsilon"]
    if version == "softmax":
        length = options["max_kernel_length"]
        weights = weights * softmax_gain(poles, exponents, length or None, epsilon)
    elif not version.endswith("no-scale"):
        inverse = poles.conj() / poles.abs().square().clamp_min(epsilon)
        weights = weights * torch.expm1(exponents) * inverse
    return exponents, weights, steps[:, 0]


class DSSAdapter(KernelAdapter):
    """Modules of class DSS, and of classes derived from it."""

    family = "dss"
    own_classes = ("DSS",)
    own_kernel_classes = ("DSSKernel",)

    def is_kernel(self, kernel: nn.Module) -> bool:
        return _have_the_shapes(own_tensors(kernel))

    def read_modes(self, module: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        kernel = self.inner_kernel(module)
        settings = {name: getattr(kernel, name, value) for name, value in OPTIONS.items()}
        settings["max_kernel_length"] = getattr(module, "max_kernel_length", None)
        return _modes(own_tensors(kernel), settings)


class DSSTensors:
    """State dicts with DSS layers.

    Notes
    -----
    The layout has one set of λ for all channels.  It holds the λ that any channel has, with zero
    weights in the others, as long as there are fewer than before: of methods that keep poles.
    """

    name = "dss"
    options: Options = OPTIONS
    shares_poles = True

    def find(self, tensors: Tensors) -> list[str]:
        return [
            prefix
            for prefix in prefixes_with(tensors, ("kernel.W", "kernel.log_dt", "D"))
            if _have_the_shapes(_kernel(tensors, prefix))
        ]

    def read(self, tensors: Tensors, prefix: str, options: Options) -> LinearPart:
        exponents, weights, step = _modes(_kernel(tensors, prefix), options)
        return linear_part(exponents, weights, tensors[f"{prefix}D"], step, self.name)

    def write(
        self, tensors: Tensors, prefix: str, system: ModalSystem, options: Options
    ) -> dict[str, Tensor]:
        old = _kernel(tensors, prefix)
        rows, H, N = old["W"].shape[:3]
        if not isinstance(system, SISOSystem) or system.batch_shape != (rows, H):
            raise InvalidArgumentError(
                f"systems of batch shape {tuple(system.batch_shape)} for the DSS layer {prefix!r}; "
                f"required: scalar ones, ({rows}, {H}); pass what read returns, reduced"
            )
        exponents, residues = as_pairs(system)
        steps = _steps(old)
        entries = torch.complex(exponents.real / steps[:, :1], exponents.imag / steps[:, 1:])
        used = residues != 0
        poles, place = _distinct(entries[used], N, prefix)
        new = {name: old[name] for name in old if name not in (*sum(POLES, ()), "W")}
        new |= _pole_tensors(old, poles)
        # Gains are those of the rounded parameters, so that residues survive the rounding.
        ones = old["W"].new_zeros(rows, H, len(poles), 2)
        ones[..., 0] = 1
        _, unit, _ = _modes({**new, "W": ones}, options)
        weights = torch.zeros_like(unit)
        row, channel, _ = torch.nonzero(used, as_tuple=True)
        # Every entry has its own place in its system, except equal poles, which add up.
        weights.index_put_((row, channel, place), 2 * residues[used], accumulate=True)
        new["W"] = as_parts(weights / unit).to(old["W"])
        written = {f"kernel.{name}": tensor for name, tensor in new.items()}
        written["D"] = system.D[:1].to(tensors[f"{prefix}D"])
        return {prefix + name: tensor for name, tensor in written.items()}

    def sizes(self, tensors: Tensors, prefix: str) -> dict[str, int]:
        return {"d_state": tensors[f"{prefix}kernel.W"].shape[2]}


def _kernel(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    names = {"log_dt", "W", *(name for names in POLES for name in names)}
    full = {name: f"{prefix}kernel.{name}" for name in names}
    return {name: tensors[path] for name, path in full.items() if path in tensors}


def _pole_tensors(old: Mapping[str, Tensor], poles: Tensor) -> dict[str, Tensor]:
    names = _pole_names(old)
    assert names is not None
    if names == ("Lambda",):
        return {"Lambda": as_parts(poles).to(old["Lambda"])}
    imaginary = poles.imag
    if names[1] == "Lambda_log_im":
        imaginary = torch.log(imaginary.clamp_min(SMALLEST))
    parts = torch.log(-poles.real), imaginary
    return {name: part.to(old[name]) for name, part in zip(names, parts, strict=True)}


def _distinct(entries: Tensor, most: int, prefix: str) -> tuple[Tensor, Tensor]:
    """Return the distinct poles among entries, and which of them each entry has.

    Raises
    ------
    InvalidArgumentError
        If they are not fewer than ``most``.
    """
    place = torch.full(entries.shape, -1, device=entries.device)
    poles: list[Tensor] = []
    while bool((place < 0).any()):
        if len(poles) + 1 >= most:
            raise InvalidArgumentError(
                f"reduced systems with {most} or more different poles for the DSS layer "
                f"{prefix!r}, which has {most}; required: fewer, since the layout keeps one Lambda "
                "for all channels, and reduced channels have poles of their own; use a method that "
                "keeps poles, such as 'modal', or compress the module, whose smaller layer has no "
                "such layout"
            )
        pole = entries[place < 0][0]
        near = (entries - pole).abs() <= SAME_POLE * pole.abs()
        place[near & (place < 0)] = len(poles)
        poles.append(pole)
    return torch.stack(poles) if poles else entries.new_full((1,), -0.5 + 0.5j), place
