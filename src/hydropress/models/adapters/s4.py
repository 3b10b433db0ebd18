"""S4 in diagonal mode: FFTConv with SSMKernelDiag in ``models/s4/s4.py`` of state-spaces/s4.

The same classes, apart, are in ``src/models/sequence/kernels/``.  Of earlier versions of the
repository: class S4 with SSKernel and in it SSKernelDiag (version 3, in the same file), and their
state dicts, also of version 2.1.  H channels, S = ``n_ssm`` sets of poles (channel h has set
h mod S), n = N/2 stored poles, rows = 2 if ``bidirectional`` else 1; C is ``(rows, H, n, 2)``:

    version 4    inv_dt (H, 1) or (H, n)   A_real, A_imag (S, n)       B (1, S, n, 2)
    version 3    log_dt (H,)               inv_A_real, A_imag (S, n)   B (S, n, 2)
    version 2.1  log_dt (H,)               log_w_real, w_imag (S, n)   B is one

    k[t] = 2 Re Σ B C g a^t

    zoh       a = e^{λΔ}                      g = (e^{λΔ} - 1)/λ
    bilinear  a = (1 + λΔ/2)/(1 - λΔ/2)       g = Δ/(1 - λΔ/2)
    dss       a = e^{λΔ}, Re for 2 Re         g = (e^{λΔ} - 1)/(λ (e^{λΔL} - 1)), |·|² + 10⁻⁷ below

λ = -p(A_real) - i q(A_imag) with transforms p and q of which an option tells the kind; in versions
3 and 2.1 the imaginary part is that of λ itself.  Δ = p(inv_dt), of a sinh first with ``dt_fast``;
one per mode if not tied, then the layer's time unit is the geometric mean.  With ``is_real`` there
is no imaginary part, C and B are real and the factor is 2 all the same.  B, C, g and the factor are
folded into the residue; modes above ``bandlimit`` have weight 0.  The backward direction, the
second row of C, reads the next sample first.  A kernel of ``l_max`` samples is cut off there; the
modes are those of the kernel before that.  D is ``(1, H)``; more rows, of several heads, are
refused.  Kernels with a low-rank part (mode dplr or nplr, tensor P) are not found.
"""

from typing import Any

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.modes import linear_part, own_tensors
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.s4_layout import (
    LAYOUTS,
    OPTIONS,
    Layout,
    layout_of,
    read_modes,
    write_modes,
)
from hydropress.models.adapters.trees import Options, Tensors, as_pairs, prefixes_with
from hydropress.models.adapters.written import KernelAdapter, ModalKernel
from hydropress.systems.modal import ModalSystem, SISOSystem

PLACES = ("kernel.kernel.", "kernel.")
"""Of the kernel's tensors below the layer: in version 3, and in version 4."""


class S4Adapter(KernelAdapter):
    """Modules of class FFTConv, or of version 3's class S4, with a kernel in diagonal mode."""

    family = "s4"
    own_classes = ("FFTConv", "S4")
    own_kernel_classes = ("SSMKernelDiag", "SSKernelDiag")

    def inner_kernel(self, module: nn.Module) -> nn.Module:
        kernel = module.get_submodule("kernel")
        inner = dict(kernel.named_children()).get("kernel", kernel)
        return kernel if isinstance(kernel, ModalKernel) else inner

    def is_kernel(self, kernel: nn.Module) -> bool:
        return layout_of(own_tensors(kernel)) is not None

    def activation_is_last(self, module: nn.Module) -> bool:
        # Version 3 has an output map of its own and turns the axes after it.
        return self.channels_last and not hasattr(module, "output_linear")

    def read_modes(self, module: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        kernel = self.inner_kernel(module)
        tensors = own_tensors(kernel)
        layout = layout_of(tensors)
        assert layout is not None
        modes = read_modes(tensors, layout, _settings(module, kernel))
        return modes.exponents, modes.weights, modes.step


def _settings(module: nn.Module, kernel: nn.Module) -> dict[str, Any]:
    """Return a module's options; version 3 has other names for some and lacks others."""
    settings = {name: getattr(kernel, name, value) for name, value in OPTIONS.items()}
    settings["real_transform"] = getattr(kernel, "real_type", settings["real_transform"])
    settings["l_max"] = getattr(module, "L", None)
    return settings


class S4Tensors:
    """State dicts with S4 layers in diagonal mode.

    Notes
    -----
    Every channel of the result has its own poles, so that ``n_ssm`` becomes H.
    """

    name = "s4"
    options: Options = OPTIONS
    shares_poles = True

    def find(self, tensors: Tensors) -> list[str]:
        found: dict[str, None] = {}
        for place in PLACES:
            for layout in LAYOUTS:
                names = ["D", *(place + name for name in layout.names)]
                for prefix in prefixes_with(tensors, names):
                    if layout_of(_kernel(tensors, prefix + place)) is not None:
                        found[prefix] = None
        return list(found)

    def read(self, tensors: Tensors, prefix: str, options: Options) -> LinearPart:
        kernel, layout, _ = _kernel_and_layout(tensors, prefix)
        modes = read_modes(kernel, layout, options)
        D = tensors[f"{prefix}D"]
        return linear_part(modes.exponents, modes.weights, D, modes.step, self.name)

    def write(
        self, tensors: Tensors, prefix: str, system: ModalSystem, options: Options
    ) -> dict[str, Tensor]:
        kernel, layout, place = _kernel_and_layout(tensors, prefix)
        rows, H = kernel["C"].shape[:2]
        if not isinstance(system, SISOSystem) or system.batch_shape != (rows, H):
            raise InvalidArgumentError(
                f"systems of batch shape {tuple(system.batch_shape)} for the S4 layer {prefix!r}; "
                f"required: scalar ones, ({rows}, {H}); pass what read returns, reduced"
            )
        exponents, residues = as_pairs(system)
        if not torch.equal(exponents[0], exponents[-1]):
            raise InvalidArgumentError(
                f"different poles for the two directions of the S4 layer {prefix!r}; required: the "
                "same, which the layout has once; reduce each channel as one system of two outputs"
            )
        new = write_modes(kernel, layout, options, exponents[0], residues)
        written = {place + name: tensor for name, tensor in new.items()}
        D = tensors[f"{prefix}D"]
        written["D"] = system.D[0].reshape(D.shape).to(D)
        return {prefix + name: tensor for name, tensor in written.items()}

    def sizes(self, tensors: Tensors, prefix: str) -> dict[str, int]:
        kernel, layout, _ = _kernel_and_layout(tensors, prefix)
        n = kernel["C"].shape[2]
        real = layout.frequency is None
        return {"d_state": n if real else 2 * n, "n_ssm": len(kernel[layout.decay])}


def _kernel(tensors: Tensors, start: str) -> dict[str, Tensor]:
    """Return the tensors directly below a prefix."""
    below = {
        name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)
    }
    return {name: one for name, one in below.items() if "." not in name}


def _kernel_and_layout(tensors: Tensors, prefix: str) -> tuple[dict[str, Tensor], Layout, str]:
    for place in PLACES:
        kernel = _kernel(tensors, prefix + place)
        layout = layout_of(kernel)
        if layout is not None:
            return kernel, layout, place
    raise InvalidArgumentError(
        f"no S4 kernel in diagonal mode under {prefix!r}; required: one of the layouts of "
        "state-spaces/s4; see find"
    )
