"""A free D without a weight: the plain problem of the kernel from its second sample on.

D adds to the first sample alone, so that the best one leaves nothing of it: what remains of
‖k - k_r‖² is the error of k[t + 1], whose poles are the same and whose residues are ρa.
"""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from hydropress.reduction.metric import delayed, first_sample
from hydropress.systems.modal import SISOSystem


def from_second_sample(full: SISOSystem) -> SISOSystem:
    """Return the systems whose kernel is k[t + 1]."""
    later = cast(SISOSystem, delayed(full))
    return replace(later, residues=_of_states(later.residues, full.states))


def with_first_sample(reduced: SISOSystem, full: SISOSystem) -> SISOSystem:
    """Return the systems that :func:`from_second_sample` makes ``reduced`` of, k[0] + D as full's.

    Parameters
    ----------
    reduced, full
        Banks of one batch shape ``(K,)``.
    """
    residues = _of_states(reduced.residues / reduced.poles, reduced.states)
    earlier = replace(reduced, residues=residues, D=torch.zeros_like(full.D))
    return replace(earlier, D=first_sample(full) - first_sample(earlier))


def _of_states(residues: Tensor, states: Tensor) -> Tensor:
    """Return the residues, those of real poles real."""
    real = torch.complex(residues.real, torch.zeros_like(residues.real))
    return torch.where(states == 1, real, residues)
