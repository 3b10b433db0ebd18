"""Minimal systems: no two modes share a pole that could share a state, and none is silent."""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from hydropress.reduction.problem import S
from hydropress.systems.assembly import compact, without_silent_modes
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem

CANCELLED = 1e-15
"""Share of the residues of one pole below which their sum, or a direction of it, is rounding."""


def minimal(system: S) -> S:
    """Return the same systems with equal poles merged and silent modes left out.

    Exact: poles are equal if all their bits are, and a residue is zero if it is, or if those of one
    pole cancel to rounding.  A scalar system is minimal then (its poles are distinct and their
    residues not zero); of a system with residues c bᵀ the modes of one pole are as many as the rank
    of the sum of theirs.

    Parameters
    ----------
    system
        Bank of batch shape ``(K,)``.

    Returns
    -------
    SISOSystem or MIMOSystem
        The very same record if nothing can be left out.
    """
    found = without_silent_modes(system)
    rows = torch.nonzero(_repeats(found).any(-1))[:, 0]
    if len(rows) == 0 and torch.equal(found.states, system.states):
        return system
    merged = _merged_scalar if isinstance(found, SISOSystem) else _merged_mimo
    for row in rows.tolist():
        found = merged(found, row)  # type: ignore[arg-type]
    if torch.equal(found.states, system.states):
        return system
    return compact(cast(S, found))


def _repeats(system: ModalSystem) -> Tensor:
    """Say of each entry whether its pole is that of one before it, ``(K, n)``."""
    exponents, used = system.exponents, system.states > 0
    equal = exponents[:, :, None] == exponents[:, None, :]
    equal &= used[:, :, None] & used[:, None, :]
    return torch.tril(equal, -1).any(-1)


def _groups(exponents: Tensor, states: Tensor) -> list[Tensor]:
    """Return the entries of every pole that stands more than once."""
    used = torch.nonzero(states > 0)[:, 0]
    values, index = torch.unique(torch.view_as_real(exponents[used]), dim=0, return_inverse=True)
    groups = [used[index == place] for place in range(len(values))]
    return [group for group in groups if len(group) > 1]


def _merged_scalar(system: SISOSystem, row: int) -> SISOSystem:
    residues, states = system.residues.clone(), system.states.clone()
    exponents = system.exponents.clone()
    for group in _groups(exponents[row], states[row]):
        total, size = residues[row, group].sum(), residues[row, group].abs().sum()
        residues[row, group] = 0
        left = group
        if float(total.abs()) > CANCELLED * float(size):
            residues[row, group[0]] = total
            left = group[1:]
        states[row, left] = 0
        exponents[row, left] = -1
    return replace(system, exponents=exponents, residues=residues, states=states)


def _merged_mimo(system: MIMOSystem, row: int) -> MIMOSystem:
    B, C, states = system.B.clone(), system.C.clone(), system.states.clone()
    exponents = system.exponents.clone()
    for group in _groups(exponents[row], states[row]):
        # Σ c bᵀ = Q (R Sᵀ) Pᵀ, with the QR decompositions C = Q R and Bᵀ = P S.
        Q, R = torch.linalg.qr(C[row][:, group])
        P, S = torch.linalg.qr(B[row][group].mT)
        sizes = R.norm(dim=0) * S.norm(dim=0)
        U, values, V = torch.linalg.svd(R @ S.mT, full_matrices=False)
        rank = int((values > CANCELLED * len(group) * float(sizes.sum())).sum())
        if rank == len(group):
            continue
        root = values[:rank].sqrt()
        kept, left = group[:rank], group[rank:]
        C[row][:, kept] = Q @ (U[:, :rank] * root)
        B[row][kept] = (P @ (V[:rank].mT * root)).mT
        C[row][:, left], B[row][left], states[row, left] = 0, 0, 0
        exponents[row, left] = -1
    return replace(system, exponents=exponents, B=B, C=C, states=states)
