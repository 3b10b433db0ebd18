"""Parameters of the S5 layers of lindermanlab/S5 (Flax), ``s5/ssm.py``, as plain arrays.

A layer's leaves are ``Lambda_re`` and ``Lambda_im`` (P,), ``B`` (P, H, 2) as real pairs, ``C``
(H, P, 2), or for two directions ``C1`` and ``C2``, or with ``C_init=complex_normal`` one ``C``
(H, 2P, 2), ``D`` (H,) and ``log_step`` (P, 1).

- y = 2 Re(C x) + D u with ``conj_sym``, the default there: a state is a conjugate pair and the
  layer has 2P real states; y = Re(C x) + D u without, and 2P real states too, as states are free;
- Λ and B are discretised with a step of each state's own, times ``step_rescale``, by ``zoh`` or
  ``bilinear``; with ``clip_eigs`` Re Λ is at most -10⁻⁴;
- both directions share Λ and B and count the present sample; read, the second starts one sample
  ahead and D has what that leaves out; written, that is undone, in the nearest way where D has no
  diagonal that fits (:mod:`hydropress.models.adapters.nearest_feedthrough`).

None of ``conj_sym``, ``discretization``, ``clip_eigs`` and ``step_rescale`` is told by the arrays:
they are options, with the defaults that the repository has.  Its models hold every layer by itself
(``layers_0``, ``layers_1``, …); arrays that some other code has stacked, with one axis more, are
not taken for a layer.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.s5_matrices import CLIPPED, Rule, S5Matrices, rule_named
from hydropress.models.adapters.trees import prefixes_with
from hydropress.systems.modal import MIMOSystem, ModalSystem

COMMON = ("Lambda_re", "Lambda_im", "B", "D", "log_step")


class S5Flax:
    """Trees of lindermanlab/S5, with any prefix."""

    name = "s5"
    options = MappingProxyType(
        {"conj_sym": True, "discretization": "zoh", "clip_eigs": False, "step_rescale": 1.0}
    )
    shares_poles = True

    def find(self, tensors: Mapping[str, Tensor]) -> list[str]:
        both = [
            *prefixes_with(tensors, (*COMMON, "C"), without=("C1", "C2")),
            *prefixes_with(tensors, (*COMMON, "C1", "C2"), without=("C",)),
        ]
        return [prefix for prefix in both if _fits(tensors, prefix)]

    def read(
        self, tensors: Mapping[str, Tensor], prefix: str, options: Mapping[str, Any]
    ) -> LinearPart:
        matrices = _matrices(tensors, prefix, options)
        system = matrices.system(*_convention(options))
        return LinearPart(system, step=matrices.scale.expand(len(matrices.C)))

    def write(
        self,
        tensors: Mapping[str, Tensor],
        prefix: str,
        system: ModalSystem,
        options: Mapping[str, Any],
    ) -> dict[str, Tensor]:
        assert isinstance(system, MIMOSystem)
        original = _matrices(tensors, prefix, options)
        new = original.of_system(
            original.checked(system), *_convention(options), clipped=bool(options["clip_eigs"])
        )
        outputs = {"C": torch.cat(new.C, -1)}
        if prefix + "C1" in tensors:
            outputs = {"C1": new.C[0], "C2": new.C[1]}
        log_step = new.log_step.double() - torch.log(_rescale(options))
        values = {
            "Lambda_re": new.poles.real,
            "Lambda_im": new.poles.imag,
            "B": torch.view_as_real(new.B),
            **{name: torch.view_as_real(C.resolve_conj()) for name, C in outputs.items()},
            "D": new.D,
            "log_step": log_step[:, None],
        }
        return {
            prefix + name: value.to(tensors[prefix + name]).contiguous()
            for name, value in values.items()
        }

    def sizes(self, tensors: Mapping[str, Tensor], prefix: str) -> dict[str, int]:
        return {"H": len(tensors[prefix + "D"]), "P": len(tensors[prefix + "Lambda_re"])}


def _fits(tensors: Mapping[str, Tensor], prefix: str) -> bool:
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


def _matrices(
    tensors: Mapping[str, Tensor], prefix: str, options: Mapping[str, Any]
) -> S5Matrices:
    def complex_of(name: str) -> Tensor:
        return torch.view_as_complex(tensors[prefix + name].detach().contiguous())

    real = tensors[prefix + "Lambda_re"].detach()
    if options["clip_eigs"]:
        real = real.clamp_max(CLIPPED)
    if prefix + "C1" in tensors:
        outputs = complex_of("C1"), complex_of("C2")
    else:
        whole = complex_of("C")
        outputs = tuple(whole.split(len(real), -1))
    log_step = tensors[prefix + "log_step"].detach()[:, 0]
    return S5Matrices(
        torch.complex(real, tensors[prefix + "Lambda_im"].detach()),
        complex_of("B"),
        outputs,
        tensors[prefix + "D"].detach(),
        log_step + torch.log(_rescale(options)).to(log_step),
    )


def _rescale(options: Mapping[str, Any]) -> Tensor:
    """Return ``step_rescale``, checked."""
    rescale = options["step_rescale"]
    if not isinstance(rescale, int | float) or not rescale > 0:
        raise InvalidArgumentError(f"step_rescale={rescale!r}; required: a positive number")
    return torch.tensor(rescale, dtype=torch.float64)


def _convention(options: Mapping[str, Any]) -> tuple[Rule, float]:
    return rule_named(options["discretization"]), 2.0 if options["conj_sym"] else 1.0
