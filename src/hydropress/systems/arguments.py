"""From what a caller gives to the tensors of a system: shapes, numbers and reality checked."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.checks import (
    REAL_TOLERANCE,
    check_delay,
    check_poles,
    check_time,
    finite_numbers,
    finite_reals,
    is_real,
)
from hydropress.systems.moments import Time
from hydropress.systems.state_space import exponents_of, turn_phases


def scalar_arguments(
    poles: Any, residues: Any, feedthrough: Any, time: Time, delay: int
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return exponents, residues, states and D of scalar systems.

    See :meth:`~hydropress.systems.modal.ModalSystem.siso`, also for the errors.
    """
    check_time(time)
    check_delay(delay, time)
    pole = finite_numbers("poles", poles)
    residue = finite_numbers("residues", residues, pole.device)
    if pole.ndim == 0 or pole.shape != residue.shape:
        raise InvalidArgumentError(
            f"poles of shape {tuple(pole.shape)} with residues of shape "
            f"{tuple(residue.shape)}; required: equal shapes (..., n)"
        )
    D = None
    if feedthrough is not None:
        D = finite_reals("feedthrough", feedthrough, pole.device)
        if D.shape not in ((), pole.shape[:-1]):
            raise InvalidArgumentError(
                f"feedthrough of shape {tuple(D.shape)} with poles of shape "
                f"{tuple(pole.shape)}; required: one number, or one for each system"
            )
    pole, real = check_poles(pole), is_real(pole)
    if bool((real & (residue.imag.abs() > REAL_TOLERANCE * residue.abs())).any()):
        raise InvalidArgumentError(
            "a real pole has a complex residue; required: a real one, since the system is real"
        )
    residue = torch.where(real, residue.real.to(residue.dtype), residue)
    return exponents_of(pole, time, delay), residue, torch.where(real, 1, 2), D


def mimo_arguments(
    poles: Any, B: Any, C: Any, D: Any, time: Time, delay: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return exponents, B, C, states and D of MIMO systems.

    See :meth:`~hydropress.systems.modal.ModalSystem.mimo`, also for the errors.
    """
    check_time(time)
    check_delay(delay, time)
    pole = finite_numbers("poles", poles)
    inputs = finite_numbers("B", B, pole.device)
    outputs = finite_numbers("C", C, pole.device)
    batch, n = tuple(pole.shape[:-1]), pole.shape[-1] if pole.ndim else 0
    if pole.ndim == 0 or tuple(inputs.shape[:-1]) != (*batch, n):
        raise InvalidArgumentError(
            f"B of shape {tuple(inputs.shape)} with poles of shape {tuple(pole.shape)}; "
            "required: (..., n, M) with poles (..., n)"
        )
    if tuple(outputs.shape[:-2]) != batch or outputs.shape[-1] != n:
        raise InvalidArgumentError(
            f"C of shape {tuple(outputs.shape)} with poles of shape {tuple(pole.shape)}; "
            "required: (..., P, n) with poles (..., n)"
        )
    size = (*batch, outputs.shape[-2], inputs.shape[-1])
    if 0 in size[-2:]:
        raise InvalidArgumentError(
            f"B and C of {size[-1]} inputs and {size[-2]} outputs; required: at least one of each"
        )
    direct = pole.real.new_zeros(size)
    if D is not None:
        direct = finite_reals("D", D, pole.device)
        if tuple(direct.shape) != size:
            raise InvalidArgumentError(
                f"D of shape {tuple(direct.shape)} with B and C of {size[-1]} inputs and "
                f"{size[-2]} outputs; required: {size}"
            )
    pole, real = check_poles(pole), is_real(pole)
    turned = turn_phases(inputs, outputs)
    inputs = torch.where(real[..., None], turned[0], inputs)
    outputs = torch.where(real[..., None, :], turned[1], outputs)
    for vectors in (inputs, outputs.mT):
        length = torch.linalg.vector_norm(vectors, dim=-1)
        skew = torch.linalg.vector_norm(vectors.imag, dim=-1)
        if bool((real & (skew > REAL_TOLERANCE * length)).any()):
            raise InvalidArgumentError(
                "a real pole has a complex residue c bᵀ; required: a real one, since the "
                "system is real"
            )
    inputs = torch.where(real[..., None], inputs.real.to(inputs.dtype), inputs)
    outputs = torch.where(real[..., None, :], outputs.real.to(outputs.dtype), outputs)
    return exponents_of(pole, time, delay), inputs, outputs, torch.where(real, 1, 2), direct


def state_space_arguments(A: Any, B: Any, C: Any, D: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return A, B ``(..., n, M)``, C ``(..., P, n)`` and D ``(..., P, M)``.

    See :meth:`~hydropress.systems.modal.ModalSystem.from_state_space`, also for the errors.
    """
    matrix = finite_reals("A", A)
    if matrix.ndim < 2 or matrix.shape[-2] != matrix.shape[-1]:
        raise InvalidArgumentError(
            f"A of shape {tuple(matrix.shape)}; required: a square matrix (..., n, n)"
        )
    return matrix, *_ports(matrix, "(..., n, n)", matrix.shape[:-2], (B, C, D), finite_reals)


def diagonal_arguments(A: Any, B: Any, C: Any, D: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return poles ``(m,)``, B ``(m, M)``, C ``(P, m)``, D ``(P, M)`` of one diagonal system.

    Parameters
    ----------
    A, B, C, D
        The n diagonal entries, both members of every pair, with ``(n,)`` or ``(n, M)``, ``(n,)`` or
        ``(P, n)``, and ``()`` or ``(P, M)``; the first three complex.

    Returns
    -------
    poles, B, C, D
        Of a pair the member with Im > 0; real poles last.

    Raises
    ------
    InvalidArgumentError
        If shapes disagree, values are not finite numbers, or an entry lacks its conjugate.
    """
    poles = finite_numbers("A", A)
    inputs, outputs, direct = _ports(poles, "(n,)", (), (B, C, D), finite_numbers)
    real = is_real(poles)
    upper, lower = (torch.nonzero(~real & (sign * poles.imag > 0))[:, 0] for sign in (1, -1))
    residues = outputs.mT[:, :, None] * inputs[:, None, :]
    largest = torch.linalg.matrix_norm(residues).amax() if len(poles) else 0.0
    left = lower.tolist()
    for entry in upper.tolist():
        apart = (poles[left] - poles[entry].conj()).abs() / poles[entry].abs()
        other = torch.linalg.matrix_norm(residues[left] - residues[entry].conj()) / largest
        fits = torch.nonzero((apart <= REAL_TOLERANCE) & ~(other > REAL_TOLERANCE))[:, 0]
        if len(fits) == 0:
            raise _alone(poles[entry])
        del left[int(fits[0])]
    if left:
        raise _alone(poles[left[0]])
    kept = torch.cat([upper, torch.nonzero(real)[:, 0]])
    return poles[kept], inputs[kept], outputs[:, kept], direct


def _alone(pole: Tensor) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"pole {pole.item():.6g} of A lacks its conjugate, or their c bᵀ are not conjugate; "
        "required: a real system, with both members of every pair; one member of each, counted "
        "twice, is what ModalSystem.siso and ModalSystem.mimo take"
    )


def _ports(
    matrix: Tensor,
    form: str,
    batch: Sequence[int],
    ports: tuple[Any, Any, Any],
    numbers: Callable[[str, Any, torch.device], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return B ``(..., n, M)``, C ``(..., P, n)`` and D ``(..., P, M)`` beside an A.

    Parameters
    ----------
    form
        The shape of A in words.
    numbers
        What turns B and C into tensors.
    """
    B, C, D = ports
    n, batch = matrix.shape[-1], tuple(batch)

    def refuse(name: str, tensor: Tensor, *shapes: str) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"{name} of shape {tuple(tensor.shape)} with A of shape {tuple(matrix.shape)}; "
            f"required: {' or '.join(shapes)} with A {form}"
        )

    column, row = numbers("B", B, matrix.device), numbers("C", C, matrix.device)
    if tuple(column.shape) == (*batch, n):
        column = column[..., None]
    if tuple(column.shape[:-1]) != (*batch, n):
        raise refuse("B", column, "(..., n)", "(..., n, M)")
    if tuple(row.shape) == (*batch, n):
        row = row[..., None, :]
    if tuple(row.shape[:-2]) != batch or row.shape[-1] != n or row.ndim < 2:
        raise refuse("C", row, "(..., n)", "(..., P, n)")
    size = (*batch, row.shape[-2], column.shape[-1])
    direct = matrix.real.new_zeros(size)
    if D is not None:
        direct = finite_reals("D", D, matrix.device)
        if size[-2:] == (1, 1) and tuple(direct.shape) == batch:
            direct = direct[..., None, None]
        if tuple(direct.shape) != size:
            raise refuse("D", direct, str(size))
    return column, row, direct
