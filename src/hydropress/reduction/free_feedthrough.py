"""A free D without a weight: the plain problem of the kernel from its second sample on.

D adds to the first sample alone, so that the best one leaves nothing of it: what remains of
‖k - k_r‖² is the error of k[t + 1], whose poles are the same and whose residues are ρa.
"""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.systems.modal import SISOSystem


def delayed(full: SISOSystem) -> SISOSystem:
    """Return the systems whose kernel is k[t + 1]."""
    return replace(full, residues=_of_states(full.residues * full.poles, full.states))


def undelayed(reduced: SISOSystem, full: SISOSystem) -> SISOSystem:
    """Return the systems that :func:`delayed` turns into ``reduced``, with the full's k[0] + D.

    Parameters
    ----------
    reduced, full
        Banks of one batch shape ``(K,)``.
    """
    residues = _of_states(reduced.residues / reduced.poles, reduced.states)
    first = ((residues * reduced.states).real).sum(-1)
    wanted = (full.residues * full.states).real.sum(-1) + full.D
    return replace(reduced, residues=residues, D=wanted - first)


def _of_states(residues: Tensor, states: Tensor) -> Tensor:
    """Return the residues, those of real poles real."""
    real = torch.complex(residues.real, torch.zeros_like(residues.real))
    return torch.where(states == 1, real, residues)
