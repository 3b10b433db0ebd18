"""Between the tensors of an S4 kernel in diagonal mode, of three versions, and its modes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.modes import as_complex, as_parts, softmax_gain
from hydropress.models.adapters.transforms import RELU_FLOOR, parameter_of, positive
from hydropress.systems.discretization import discretize_bilinear, discretize_zoh

SOFTMAX_EPSILON = 1e-7

OPTIONS: dict[str, Any] = {
    "disc": None,
    "dt_transform": "exp",
    "dt_fast": False,
    "real_transform": "exp",
    "imag_transform": "none",
    "bandlimit": None,
    "l_max": None,
}


@dataclass(frozen=True)
class Layout:
    """The names of one version.

    Attributes
    ----------
    step, decay, frequency
        Of the step's parameter and of those of A's real and imaginary part; the latter None if all
        poles are real.
    sign
        Of the imaginary part: A = -decay + sign · i · frequency.
    has_inputs
        Whether B is apart from C.
    copy
        A tensor that nothing computes with, with the poles at initialisation.
    discretization
        The version's default.
    """

    step: str
    decay: str
    frequency: str | None
    sign: int
    has_inputs: bool
    copy: str | None
    discretization: str

    @property
    def names(self) -> tuple[str, ...]:
        named = (
            "C",
            self.step,
            self.decay,
            self.frequency,
            "B" if self.has_inputs else None,
            self.copy,
        )
        return tuple(name for name in named if name is not None)


VERSION_4 = Layout("inv_dt", "A_real", "A_imag", -1, True, None, "zoh")
VERSION_4_REAL = Layout("inv_dt", "A_real", None, -1, True, None, "zoh")
VERSION_3 = Layout("log_dt", "inv_A_real", "A_imag", 1, True, "A", "bilinear")
VERSION_2 = Layout("log_dt", "log_w_real", "w_imag", 1, False, None, "bilinear")
LAYOUTS = (VERSION_4, VERSION_4_REAL, VERSION_3, VERSION_2)


def layout_of(tensors: Mapping[str, Tensor]) -> Layout | None:
    """Return the version of a kernel's tensors; None of what is no kernel in diagonal mode."""
    if "P" in tensors:
        return None
    for layout in LAYOUTS:
        if set(layout.names) <= set(tensors) and _have_the_shapes(tensors, layout):
            return layout
    return None


def _have_the_shapes(tensors: Mapping[str, Tensor], layout: Layout) -> bool:
    C, decay = tensors["C"], tensors[layout.decay]
    wanted = 3 if layout.frequency is None else 4
    if C.ndim != wanted or (wanted == 4 and C.shape[-1] != 2) or decay.ndim != 2:
        return False
    H, n = C.shape[1], C.shape[2]
    return decay.shape[1] == n and H % len(decay) == 0 and len(tensors[layout.step]) == H


@dataclass(frozen=True)
class S4Modes:
    """k[t] = Σ Re(w e^{st}).

    Attributes
    ----------
    exponents, weights
        s and w, complex128, shapes ``(H, n)`` and ``(rows, H, n)``.
    step
        Δ of each channel, of several the geometric mean, shape ``(H,)``.
    """

    exponents: Tensor
    weights: Tensor
    step: Tensor


def read_modes(
    tensors: Mapping[str, Tensor], layout: Layout, options: Mapping[str, Any]
) -> S4Modes:
    """Return a kernel's modes; ``options`` are all of :data:`OPTIONS`."""
    numbers = {name: tensor.detach().double() for name, tensor in tensors.items()}
    step = numbers[layout.step]
    if options["dt_fast"]:
        step = torch.sinh(step)
    step = positive(options["dt_transform"], step)
    step = step.reshape(len(step), -1)
    decay = positive(options["real_transform"], numbers[layout.decay])
    frequency = torch.zeros_like(decay)
    if layout.frequency is not None:
        frequency = layout.sign * positive(options["imag_transform"], numbers[layout.frequency])
    poles = torch.complex(-decay, frequency)
    copies = len(step) // len(poles)
    poles = poles.repeat(copies, 1)
    weights = _complex(numbers["C"], layout)
    if layout.has_inputs:
        B = _complex(numbers["B"], layout)
        weights = weights * B.reshape(-1, B.shape[-1]).repeat(copies, 1)
    if options["bandlimit"] is not None:
        cycles = step * poles.imag.abs() / (2 * math.pi)
        weights = weights * (cycles < options["bandlimit"] / 2)
    match options["disc"] or layout.discretization:
        case "zoh":
            exponents, gain = discretize_zoh(poles, step)
            gain = 2 * gain
        case "bilinear":
            exponents, gain = discretize_bilinear(poles, step)
            gain = 2 * gain
        case "dss":
            exponents = poles * step
            gain = softmax_gain(poles, exponents, options["l_max"], SOFTMAX_EPSILON)
        case other:
            raise InvalidArgumentError(
                f"disc={other!r}; required: zoh, bilinear or dss; give the layer's own setting"
            )
    return S4Modes(exponents, weights * gain, torch.exp(torch.log(step).mean(-1)))


def _complex(numbers: Tensor, layout: Layout) -> Tensor:
    return numbers.to(torch.complex128) if layout.frequency is None else as_complex(numbers)


def write_modes(
    tensors: Mapping[str, Tensor],
    layout: Layout,
    options: Mapping[str, Any],
    exponents: Tensor,
    residues: Tensor,
) -> dict[str, Tensor]:
    """Return a kernel's tensors that hold pairs, k[t] = Σ 2 Re(ρ e^{st}).

    Parameters
    ----------
    tensors
        The original kernel's, whose steps and dtypes stay.
    exponents, residues
        s and ρ, shapes ``(H, n)`` and ``(rows, H, n)``.

    Raises
    ------
    InvalidArgumentError
        If the transforms or the band limit do not allow it.
    """
    H, n = exponents.shape
    old_step = tensors[layout.step]
    step = read_modes(tensors, layout, {**options, "disc": "zoh"}).step
    used = (residues != 0).any(0)
    poles = exponents / step[:, None]
    if (options["disc"] or layout.discretization) == "bilinear":
        poles = 2 / step[:, None] * torch.tanh(exponents / 2)
    empty = torch.complex(torch.tensor(-0.5), torch.tensor(0.5)).to(poles)
    poles = torch.where(used, poles, empty)
    if layout.frequency is None:
        poles = _on_the_axis(poles, used)
    turned = poles.imag * layout.sign < 0
    poles = torch.where(turned, poles.conj(), poles)
    residues = torch.where(turned, residues.conj(), residues)
    decay = tensors[layout.decay]
    raw = parameter_of(options["real_transform"], -poles.real, "decays")
    new = {layout.decay: raw.to(decay)}
    if layout.frequency is None:
        ones, unit = tensors["C"].new_ones(len(residues), H, n), tensors["B"].new_ones(1, H, n)
    else:
        frequency = _reachable(options["imag_transform"], poles)
        raw = parameter_of(options["imag_transform"], frequency, "frequencies")
        new[layout.frequency] = raw.to(decay)
        unit = tensors["C"].new_zeros(1, H, n, 2)
        unit[..., 0] = 1
        ones = unit.expand(len(residues), H, n, 2)
    new[layout.step] = old_step
    if old_step.ndim == 2 and old_step.shape[1] > 1:
        raw = parameter_of(options["dt_transform"], step, "steps")
        raw = torch.asinh(raw) if options["dt_fast"] else raw
        new[layout.step] = raw[:, None].expand(H, n).contiguous().to(old_step)
    if layout.has_inputs:
        new["B"] = unit if tensors["B"].ndim == unit.ndim else unit[0]
    if layout.copy is not None:
        new[layout.copy] = as_parts(poles).to(tensors[layout.copy])
    # Gains are those of the rounded parameters, so that residues survive the rounding.
    weights = read_modes({**new, "C": ones}, layout, options).weights
    masked = used & (weights == 0).any(0)
    if bool(masked.any()):
        raise InvalidArgumentError(
            f"{int(masked.sum())} modes above the layer's bandlimit={options['bandlimit']}, which "
            "would silence them; required: modes below it; reduce to another order, or leave the "
            "limit out of the smaller model and of the options"
        )
    C = torch.where(used, 2 * residues / torch.where(used, weights, 1), 0)
    new["C"] = (C.real if layout.frequency is None else as_parts(C)).to(tensors["C"])
    return new


def _on_the_axis(poles: Tensor, used: Tensor) -> Tensor:
    """Return real poles without the rounding errors of their imaginary parts, or raise."""
    complex_ = used & (poles.imag.abs() > 1e-12 * poles.abs())
    if bool(complex_.any()):
        raise InvalidArgumentError(
            f"{int(complex_.sum())} complex poles for a layer of real ones (is_real); required: "
            "real poles; use a method that keeps them, such as 'modal', or replace the module"
        )
    return torch.complex(poles.real, torch.zeros_like(poles.real))


def _reachable(transform: str, poles: Tensor) -> Tensor:
    """Return frequencies; a real pole's is as small as a transform allows.

    In the time that a mode lives, 1 / decay, a phase of 10⁻³ changes it by 10⁻⁶.
    """
    frequency = poles.imag.abs()
    if transform == "relu":
        harmless = 1e-3 * -poles.real >= RELU_FLOOR
        frequency = torch.where(harmless, frequency.clamp_min(RELU_FLOOR), frequency)
    return frequency
