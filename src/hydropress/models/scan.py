"""The diagonal recurrence x[t] = a x[t-1] + v[t] over whole sequences, as matrix products."""

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 16
"""Samples that one matrix product advances.

Forward and backward pass of an S5 layer over 16,384 samples, milliseconds of processor time on one
thread, at 8, 16, 24, 32 and 64 samples a chunk (and of an S4D of 64 states per channel, by FFT):
64 samples a sequence, 64 states, 64 channels 41, 31, 37, 35, 41 (20); 784, 64, 64 31, 24, 25, 27,
32 (24); 1,024, 128, 128 94, 76, 70, 84, 88 (52); 4,096, 8, 64 15, 13, 10, 13, 14 (33); 4,096, 64,
64 35, 28, 27, 32, 36 (31); 4,096, 128, 128 85, 80, 70, 80, 89 (72).  16 divides the usual lengths.
"""


def padded_length(length: int) -> int:
    """Return how long drives have to be for :func:`scan` not to copy them."""
    return length if length <= CHUNK else -(-length // CHUNK) * CHUNK


def scan(exponents: Tensor, drive: list[Tensor]) -> list[Tensor]:
    r"""Run x[t] = e^s x[t-1] + v[t] from rest, in real arithmetic.

    Within a chunk of T samples x = v M, M the upper triangular Toeplitz matrix of the powers
    e^{s(i - j)}, one product for each mode.  What a chunk hands on to the next obeys the same
    recurrence with e^{sT}, so it is found by the same function on a sequence of L/T samples, and
    enters by a product of rank one: about log L / log T levels, no loop over samples or chunks.

    Parameters
    ----------
    exponents
        s, complex128, shape ``(n,)``; powers are formed in double precision and then rounded.
    drive
        v, each of shape ``(n, batch, L)``: for pairs two tensors, its real and imaginary parts, for
        real poles one.

    Returns
    -------
    list of Tensor
        x, as many tensors of the same shape and dtype.

    Notes
    -----
    For each sample and state T multiplications of a real pole and 4T of a pair.
    """
    count, batch, length = drive[0].shape
    if not length:
        return list(drive)
    size = min(CHUNK, length)
    chunks = -(-length // size)
    if chunks * size > length:
        drive = [functional.pad(part, (0, chunks * size - length)) for part in drive]
    # (n, batch · chunks, T): the batch of a product is the modes, and nothing is moved.
    rows = [part.reshape(count, batch * chunks, size) for part in drive]
    steps = torch.arange(size + 1, dtype=torch.float64, device=exponents.device)
    powers = torch.exp(exponents[:, None] * steps)
    blocks = _real_blocks(powers[:, :size], len(drive), drive[0].dtype)
    within = [[_toeplitz(block) for block in column] for column in blocks]
    states = [_sum_of_products(rows, column) for column in within]
    if chunks > 1:
        ends = [part[..., -1].reshape(count, batch, chunks) for part in states]
        carried = scan(size * exponents, [part[..., :-1] for part in ends])
        before = [functional.pad(part, (1, 0)).reshape(count, -1, 1) for part in carried]
        blocks = _real_blocks(powers[:, 1:], len(drive), drive[0].dtype)
        left = torch.cat(before, -1)
        states = [
            torch.baddbmm(part, left, torch.stack(column, -2))
            for part, column in zip(states, blocks, strict=True)
        ]
    return [part.reshape(count, batch, chunks * size)[..., :length] for part in states]


def _real_blocks(powers: Tensor, parts: int, dtype: torch.dtype) -> list[list[Tensor]]:
    """Return by column, one for each part of x, what multiplies each part of v."""
    real = powers.real.to(dtype)
    if parts == 1:
        return [[real]]
    imaginary = powers.imag.to(dtype)
    return [[real, -imaginary], [imaginary, real]]


def _toeplitz(powers: Tensor) -> Tensor:
    """Return M[j, i] = p[i - j] for i ≥ j, else 0, shape ``(n, T, T)`` of ``(n, T)``."""
    size = powers.shape[-1]
    return functional.pad(powers, (size - 1, 0)).unfold(-1, size, 1).flip(-2)


def _sum_of_products(rows: list[Tensor], column: list[Tensor]) -> Tensor:
    total = torch.bmm(rows[0], column[0])
    for row, matrix in zip(rows[1:], column[1:], strict=True):
        total = torch.baddbmm(total, row, matrix)
    return total
