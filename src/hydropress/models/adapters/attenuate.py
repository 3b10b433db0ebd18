"""aTENNuate: class SSMLayer in ``attenuate/model.py`` of Brainchip-Inc/aTENNuate.

One system of M inputs and P outputs.  Tensors: ``log_dt (n,)``, ``A (n, 2)``, ``B (n, M)``,
``C (P, n)``, all real.

    k[t] = Σ c bᵀ Δ Re(e^{λΔ t}),    λ = -softplus(A[:, 0]) + i A[:, 1],  Δ = exp(log_dt)

The factor is Re, so that each mode is a pair whose residue is half of c bᵀ Δ, or a real pole where
``A[:, 1]`` is 0; the input gain is Δ, that of Euler's method, and is folded into B.  Steps belong
to modes; the layer's time unit is their geometric mean.  There is no D.
"""

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.modes import is_kind, own_tensors
from hydropress.models.adapters.protocol import LinearPart, Tap
from hydropress.models.adapters.transforms import parameter_of, positive
from hydropress.models.adapters.trees import NO_OPTIONS, Options, Tensors, prefixes_with
from hydropress.models.layer import LinearSSM
from hydropress.systems.modal import MIMOSystem, ModalSystem

NAMES = ("log_dt", "A", "B", "C")
ROUNDING = 1e-6
"""Share of a real matrix's size that its imaginary part may have."""


def _have_the_shapes(tensors: Tensors) -> bool:
    if not set(NAMES) <= set(tensors):
        return False
    step, A, B, C = (tensors[name] for name in NAMES)
    n = len(step) if step.ndim == 1 else -1
    real = not any(tensor.is_complex() for tensor in (step, A, B, C))
    return real and tuple(A.shape) == (n, 2) and len(B) == n and C.ndim == 2 and C.shape[1] == n


def _read(tensors: Tensors) -> LinearPart:
    step, A, B, C = (tensors[name].detach().double() for name in NAMES)
    step = torch.exp(step)
    frequency = A[:, 1].abs()
    exponents = torch.complex(-step * positive("softplus", A[:, 0]), step * frequency)
    states = torch.where(frequency == 0, 1, 2)
    inputs = (B * (step / states)[:, None]).to(torch.complex128)
    D = C.new_zeros(len(C), B.shape[1])
    system = MIMOSystem(exponents, inputs, C.to(torch.complex128), states, D, "discrete")
    # An index of None puts a batch axis in front.
    return LinearPart(system[None], step=torch.exp(torch.log(step).mean())[None])


class AttenuateAdapter:
    """Modules of class SSMLayer, and of classes derived from it."""

    name = "attenuate"
    channels_last = False
    classes = ("SSMLayer",)

    def find(self, model: nn.Module) -> list[str]:
        return [
            name
            for name, module in model.named_modules()
            if is_kind(module, self.classes) and _have_the_shapes(own_tensors(module))
        ]

    def read(self, module: nn.Module) -> LinearPart:
        return _read(own_tensors(module))

    def write(self, module: nn.Module, layer: LinearSSM) -> nn.Module:
        """Return the layer itself: the module consists of nothing else."""
        return layer

    def tap(self, module: nn.Module) -> Tap:
        return Tap(module)


class AttenuateTensors:
    """State dicts with layers of aTENNuate.

    Notes
    -----
    The layout has no phases: c bᵀ is real of every mode.  It holds results of methods that keep
    residues, such as ``modal``, and of others where all poles are real.
    """

    name = "attenuate"
    options: Options = NO_OPTIONS
    shares_poles = False

    def find(self, tensors: Tensors) -> list[str]:
        return [
            prefix
            for prefix in prefixes_with(tensors, NAMES, without=("D", "P", "inv_A_real", "A_imag"))
            if _have_the_shapes(_layer(tensors, prefix))
        ]

    def read(self, tensors: Tensors, prefix: str, options: Options) -> LinearPart:
        return _read(_layer(tensors, prefix))

    def write(
        self, tensors: Tensors, prefix: str, system: ModalSystem, options: Options
    ) -> dict[str, Tensor]:
        old = _layer(tensors, prefix)
        required = (old["B"].shape[1], len(old["C"]))
        if not isinstance(system, MIMOSystem) or system.batch_shape != (1,):
            raise InvalidArgumentError(
                f"systems of batch shape {tuple(system.batch_shape)} for the layer {prefix!r}; "
                f"required: one of {required[0]} inputs and {required[1]} outputs, (1,); pass what "
                "read returns, reduced"
            )
        one = system[0]
        used = one.states > 0
        exponents, states = one.exponents[used], one.states[used]
        inputs, outputs = _turned(one.B[used], one.C[:, used])
        worst = max(_imaginary_share(inputs), _imaginary_share(outputs.mT))
        if worst > ROUNDING or bool(one.D.any()):
            found = f"complex residues (an imaginary part of {worst:.1e} of their size)"
            raise InvalidArgumentError(
                f"a reduced system for the layer {prefix!r} with "
                f"{found if worst > ROUNDING else 'a D'}; required: real residues of cosines, "
                "which are all that the layout holds; use a method that keeps residues, such as "
                "'modal', or compress the module, whose smaller layer has no such layout"
            )
        step = torch.exp(torch.log(torch.exp(old["log_dt"].detach().double())).mean())
        decay = parameter_of("softplus", -exponents.real / step, "decays")
        # A cosine of half the sampling frequency is a real pole that alternates in sign.
        frequency = exponents.imag / step
        new = {
            "log_dt": torch.log(step).expand(len(states)),
            "A": torch.stack([decay, frequency], -1),
            "B": inputs.real * (states / step)[:, None],
            "C": outputs.real,
        }
        return {prefix + name: tensor.to(old[name]).contiguous() for name, tensor in new.items()}

    def sizes(self, tensors: Tensors, prefix: str) -> dict[str, int]:
        return {"num_coeffs": len(tensors[f"{prefix}log_dt"]), "repeat": 1}


def _layer(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    return {name: tensors[prefix + name] for name in NAMES}


def _turned(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same c_i b_iᵀ with the largest entry of each b real."""
    largest = inputs.gather(1, inputs.abs().argmax(1, keepdim=True))
    phase = torch.where(largest == 0, 1, largest / largest.abs())
    return inputs / phase, outputs * phase.mT


def _imaginary_share(vectors: Tensor) -> float:
    """Return the largest share of its own size that the imaginary part of a row has."""
    size = vectors.abs().amax(1)
    shares = vectors.imag.abs().amax(1) / torch.where(size == 0, 1, size)
    return float(shares.max()) if len(shares) else 0.0
