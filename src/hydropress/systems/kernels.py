"""Sampled impulse responses of sums of modes."""

import math

import torch
from torch import Tensor


def modal_kernel(exponents: Tensor, residues: Tensor, length: int) -> Tensor:
    r"""Sample Re Σ_n ρ_n e^{s_n t} at t = 0, …, L - 1.

    Written with t = i T + j, the N x L Vandermonde matrix factors into N x L/T coarse and N x T
    fine powers, so that about 2N√L exponentials and one real matrix product replace N L complex
    exponentials.  The factor 2 of a conjugate pair belongs to the residues.

    Parameters
    ----------
    exponents
        s = log a, complex, shape ``(..., N)``.
    residues
        ρ, complex, shape ``(..., N)``, broadcastable with ``exponents``.
    length
        L, the number of samples.

    Returns
    -------
    Tensor
        Real, shape ``(..., L)``, in the precision of the inputs.

    Notes
    -----
    The phase of a mode grows with t: at t = 10³ a complex64 exponent leaves about 10⁻⁴ radians of
    error.  Pass complex128 and cast the result; it costs little here.
    """
    fine_length = max(1, math.isqrt(max(length - 1, 0)) + 1)
    coarse_length = -(-length // fine_length)
    steps = torch.arange(
        max(fine_length, coarse_length), dtype=exponents.real.dtype, device=exponents.device
    )
    coarse = residues[..., None] * torch.exp(
        exponents[..., None] * (fine_length * steps[:coarse_length])
    )
    fine = torch.exp(exponents[..., None] * steps[:fine_length])
    left = torch.cat([coarse.real, -coarse.imag], dim=-2)
    right = torch.cat([fine.real, fine.imag], dim=-2)
    return (left.mT @ right).flatten(-2)[..., :length]
