"""Parameters of the S5 layers of lindermanlab/S5 (Flax), ``s5/ssm.py``, as plain arrays.

A layer's leaves are ``Lambda_re`` and ``Lambda_im`` (P,), ``B`` (P, H, 2) as real pairs, ``C``
(H, P, 2), or for two directions ``C1`` and ``C2``, or with ``C_init=complex_normal`` one ``C``
(H, 2P, 2), ``D`` (H,) and ``log_step`` (P, 1).

- y = 2 Re(C x) + D u with ``conj_sym``, the default there: a state is a conjugate pair and the
  layer has 2P real states; y = Re(C x) + D u without, and 2P real states too, as states are free;
- Λ and B are discretised with a step of each state's own, times ``step_rescale``, by ``zoh`` or
  ``bilinear``; with ``clip_eigs`` Re Λ is at most -10⁻⁴;
- both directions share Λ and B and count the present sample; read, the second starts one sample
  ahead and D has what that leaves out; written, that is undone, and has to leave a diagonal D.
  ``compress_state_dict`` reduces the two as one system in the layer's own form, so that it does.

None of ``conj_sym``, ``discretization``, ``clip_eigs`` and ``step_rescale`` is told by the arrays:
they are options, with the defaults that the repository has.  Its models hold every layer by itself
(``layers_0``, ``layers_1``, …); arrays that some other code has stacked, with one axis more, are
not taken for a layer.
"""

from types import MappingProxyType

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.modes import as_complex, as_parts
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.s5_matrices import CLIPPED, Rule, S5Matrices, rule_named
from hydropress.models.adapters.trees import Options, Tensors, prefixes_with
from hydropress.systems.modal import MIMOSystem, ModalSystem

COMMON = ("Lambda_re", "Lambda_im", "B", "D", "log_step")


class S5Flax:
    """Trees of lindermanlab/S5, with any prefix."""

    name = "s5"
    options: Options = MappingProxyType(
        {"conj_sym": True, "discretization": "zoh", "clip_eigs": False, "step_rescale": 1.0}
    )
    shares_poles = True

    def find(self, tensors: Tensors) -> list[str]:
        both = [
            *prefixes_with(tensors, (*COMMON, "C"), without=("C1", "C2")),
            *prefixes_with(tensors, (*COMMON, "C1", "C2"), without=("C",)),
        ]
        return [prefix for prefix in both if _fits(tensors, prefix)]

    def read(self, tensors: Tensors, prefix: str, options: Options) -> LinearPart:
        matrices = _matrices(tensors, prefix, options)
        system = matrices.system(*_convention(options))
        return LinearPart(system, step=matrices.scale.expand(len(matrices.C)))

    def write(
        self,
        tensors: Tensors,
        prefix: str,
        system: ModalSystem,
        options: Options,
    ) -> dict[str, Tensor]:
        assert isinstance(system, MIMOSystem)
        original = _matrices(tensors, prefix, options)
        new = original.of_system(system, *_convention(options), clipped=bool(options["clip_eigs"]))
        outputs = {"C": torch.cat(new.C, -1)}
        if prefix + "C1" in tensors:
            outputs = {"C1": new.C[0], "C2": new.C[1]}
        values = {
            "Lambda_re": new.poles.real,
            "Lambda_im": new.poles.imag,
            "B": as_parts(new.B),
            **{name: as_parts(C) for name, C in outputs.items()},
            "D": new.D,
            "log_step": new.log_step[:, None],
        }
        return {
            prefix + name: value.to(tensors[prefix + name]).contiguous()
            for name, value in values.items()
        }

    def sizes(self, tensors: Tensors, prefix: str) -> dict[str, int]:
        return {"H": len(tensors[prefix + "D"]), "P": len(tensors[prefix + "Lambda_re"])}


def _fits(tensors: Tensors, prefix: str) -> bool:
    """Say whether arrays have the shapes of one layer."""
    states, channels = tensors[prefix + "Lambda_re"].numel(), tensors[prefix + "D"].numel()
    shapes = {
        "Lambda_re": [(states,)],
        "Lambda_im": [(states,)],
        "B": [(states, channels, 2)],
        "C": [(channels, states, 2), (channels, 2 * states, 2)],
        "C1": [(channels, states, 2)],
        "C2": [(channels, states, 2)],
        "D": [(channels,)],
        "log_step": [(states, 1)],
    }
    return all(
        tuple(tensors[prefix + name].shape) in allowed
        for name, allowed in shapes.items()
        if prefix + name in tensors
    )


def _matrices(tensors: Tensors, prefix: str, options: Options) -> S5Matrices:
    def numbers(name: str) -> Tensor:
        return as_complex(tensors[prefix + name])

    real = tensors[prefix + "Lambda_re"].detach()
    if options["clip_eigs"]:
        real = real.clamp_max(CLIPPED)
    if prefix + "C1" in tensors:
        outputs = numbers("C1"), numbers("C2")
    else:
        whole = numbers("C")
        outputs = tuple(whole.split(len(real), -1))
    return S5Matrices(
        torch.complex(real, tensors[prefix + "Lambda_im"].detach()),
        numbers("B"),
        outputs,
        tensors[prefix + "D"].detach(),
        tensors[prefix + "log_step"].detach()[:, 0],
        _rescale(options),
    )


def _rescale(options: Options) -> float:
    """Return ``step_rescale``, checked."""
    rescale = options["step_rescale"]
    if not isinstance(rescale, int | float) or not rescale > 0:
        raise InvalidArgumentError(f"step_rescale={rescale!r}; required: a positive number")
    return float(rescale)


def _convention(options: Options) -> tuple[Rule, float]:
    return rule_named(options["discretization"]), 2.0 if options["conj_sym"] else 1.0
