"""From the tensors of the optimiser to the arrays of compiled code, and back."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hydropress.reduction.compiled.descent import descend_all, refit_all
from hydropress.reduction.compiled.moments import FullBank, Reduced, moments_at
from hydropress.reduction.compiled.pursuit import pursue_all
from hydropress.reduction.iterate import Iterate
from hydropress.systems.moments import Exponentials, Time


def bank_of(modes: Exponentials, weights: Tensor, energy: Tensor, time: Time) -> FullBank:
    """Return S full systems, each for one reduced system.

    Parameters
    ----------
    modes, weights
        Exponents and m ρ / 2, ``(S, n)``.
    energy
        ‖k‖², ``(S,)``.
    """
    exponents, parts = modes.exponents, modes.parts
    if time == "continuous":
        real, imaginary = exponents.real, exponents.imag
        parts = torch.stack([real, torch.zeros_like(real), imaginary], 1)
    return FullBank(
        time == "discrete",
        np.arange(len(energy)),
        _array(parts),
        _array(torch.stack([weights.real, weights.imag], 1)),
        _array(energy),
    )


def _array(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor in a processor's memory as an array, contiguous."""
    return tensor.detach().cpu().contiguous().numpy()


def select_rows(bank: FullBank, rows: Tensor, energy: Tensor) -> FullBank:
    """Return the full systems of K others; both of shape ``(K,)``."""
    return bank._replace(rows=_array(rows), energy=_array(energy))


def moments_of_bank(bank: FullBank, candidates: Tensor) -> Tensor:
    """Return E_0 of the full systems, times ‖k‖², at candidates; complex, ``(K, G)``."""
    moments = np.empty(candidates.shape, np.complex128)
    moments_at(bank, _array(candidates), moments)
    return torch.from_numpy(moments).to(candidates.device)


def descend_bank(
    bank: FullBank,
    start: Iterate,
    *,
    price: float,
    limits: tuple[float, float, float],
    steps: int,
    tolerance: float,
    bars: Tensor | None = None,
) -> tuple[Iterate, Tensor]:
    """Return the optima that K starts lead to; see :func:`descend_all`.

    Returns
    -------
    iterate, results
        The second holds squared relative error, merit, stationarity and steps, ``(K, 4)``.
    """
    arrays = _arrays_of(start)
    results = np.empty((len(start.D), 4))
    below = np.full(len(bank.modes), np.inf) if bars is None else _array(bars).copy()
    descend_all(bank, arrays, price, np.array(limits), steps, tolerance, below, results)
    return _with_arrays(start, arrays), torch.from_numpy(results).to(start.D.device)


def refit_bank(
    bank: FullBank, iterate: Iterate, *, price: float, least: float
) -> tuple[Iterate, Tensor]:
    """Return K iterates with the best residues, and which of them were regular, ``(K,)``."""
    arrays = _arrays_of(iterate)
    sound = np.empty(len(iterate.D), np.int64)
    refit_all(bank, arrays, price, least, sound)
    return _with_arrays(iterate, arrays), torch.from_numpy(sound > 0).to(iterate.D.device)


def pursued_blocks(
    exponents: Tensor,
    moments: Tensor,
    first: Tensor,
    second: Tensor,
    draws: NDArray[np.float64],
    sharpness: NDArray[np.int64],
    time: Time,
) -> Tensor:
    """Return the blocks of R starts for K systems, ``(K, R, p)``; see :func:`pursue_all`."""
    chosen = np.zeros((len(exponents), *draws.shape), np.int64)
    pursue_all(
        time == "discrete",
        _array(exponents),
        _array(moments),
        _array(first),
        _array(second),
        draws,
        sharpness,
        chosen,
    )
    return torch.from_numpy(chosen).to(exponents.device)


def _arrays_of(iterate: Iterate) -> Reduced:
    """Return copies, of which the descent may change all but the states."""
    return Reduced(
        _array(iterate.log_decay).copy(),
        _array(iterate.frequency).copy(),
        _array(iterate.residues).copy(),
        _array(iterate.states),
    )


def _with_arrays(iterate: Iterate, arrays: Reduced) -> Iterate:
    device = iterate.D.device
    return replace(
        iterate,
        log_decay=torch.from_numpy(arrays.log_decay).to(device),
        frequency=torch.from_numpy(arrays.frequency).to(device),
        residues=torch.from_numpy(arrays.residues).to(device),
    )
