"""What single modes contribute to a system: the measures that pruning methods rank them by."""

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.moments import exponential_moments


def residue_norms(system: ModalSystem, *, directions: int = 1) -> Tensor:
    """Return ‖R_i‖ of every entry: |ρ_i|, or ‖c_i‖ ‖b_i‖ (Frobenius and spectral norm alike).

    Parameters
    ----------
    system
        Bank of any batch shape ``(...)``.
    directions
        How many output maps of equal size are stacked in C.  With more than one, ‖c_i‖ is the
        mean of their norms; 2 is a bidirectional layer, [C_forward; C_backward].

    Returns
    -------
    Tensor
        float64, shape ``(..., n)``; 0 of an empty entry.

    Raises
    ------
    InvalidArgumentError
        If the outputs cannot be divided among the directions.
    """
    outputs = system.num_outputs if isinstance(system, MIMOSystem) else 1
    if directions < 1 or outputs % directions:
        raise InvalidArgumentError(
            f"directions={directions} of a system of {outputs} outputs; required: a positive "
            "divisor; stack one output map for each direction in C"
        )
    if isinstance(system, MIMOSystem):
        parts = system.C.unflatten(-2, (directions, outputs // directions))
        output_norms = torch.linalg.vector_norm(parts, dim=-2).mean(-2)
        norms = output_norms * torch.linalg.vector_norm(system.B, dim=-1)
    else:
        assert isinstance(system, SISOSystem)
        norms = system.residues.abs()
    return torch.where(system.states > 0, norms, 0.0)


def state_energies(system: ModalSystem, *, horizon: float | None = None) -> Tensor:
    """Return Σ_t ‖R_i e^{s_i t}‖² (or its integral), the energy of one complex state's response.

    Parameters
    ----------
    horizon
        Number of samples L or duration T; ``None`` for infinite.

    Returns
    -------
    Tensor
        ‖R_i‖² φ_0(2 Re s_i), float64, shape ``(..., n)``; 0 of an empty entry.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay and no horizon is given.
    InvalidArgumentError
        If the horizon is not positive.
    """
    system.require_finite_norm(horizon)
    growth = torch.where(system.states > 0, 2 * system.exponents.real, -1.0)
    doubled = torch.complex(growth, torch.zeros_like(growth))
    (duration,) = exponential_moments(doubled, 1, time=system.time, horizon=horizon)
    return residue_norms(system) ** 2 * duration.real


def mode_energies(system: ModalSystem, *, horizon: float | None = None) -> Tensor:
    """Return the energy ‖k_i‖² of every mode's real kernel; see :func:`state_energies`.

    Of a pair, k_i = 2 Re(R_i e^{s_i t}), it is the average over the phase of the oscillation:
    twice the energy of either state.
    """
    return system.states * state_energies(system, horizon=horizon)
