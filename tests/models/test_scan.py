"""The chunked scan against the recurrence, step by step in NumPy."""

import numpy as np
import pytest
import torch

from hydropress.models import scan as scan_module
from hydropress.models.scan import CHUNK, padded_length, scan

LENGTHS = [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, CHUNK**2, CHUNK**2 + 3]
EXPONENTS = torch.tensor([-1e-4 + 0.3j, -0.5 + 2j, -0.02 + 9j, -3.0 + 0.1j])
REALS = torch.tensor([-1e-4, -0.7, -0.05 + 1j * torch.pi])


def plain(exponents, drive):
    """x[t] = a x[t-1] + v[t], complex."""
    pole = np.exp(exponents.numpy())[:, None]
    states, state = [], np.zeros(drive.shape[:2], dtype=complex)
    for sample in np.moveaxis(drive, -1, 0):
        state = pole * state + sample
        states.append(state)
    return np.stack(states, -1)


def draw(count, length, dtype):
    torch.manual_seed(length)
    return torch.randn(count, 2, length, dtype=dtype)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_it_is_the_recurrence(length, dtype, tolerance):
    exponents = EXPONENTS.to(torch.complex128)
    real, imaginary = draw(4, length, dtype), draw(4, length, dtype).flip(0)
    states = scan(exponents, [real, imaginary])
    expected = plain(exponents, real.double().numpy() + 1j * imaginary.double().numpy())
    scale = np.abs(expected).max(-1, keepdims=True)
    for part, wanted in zip(states, (expected.real, expected.imag), strict=True):
        assert part.dtype == dtype
        assert part.shape == real.shape
        assert (np.abs(part.numpy() - wanted) <= tolerance * scale).all()


@pytest.mark.parametrize("length", LENGTHS)
def test_real_poles_alternating_or_not(length):
    exponents = REALS.to(torch.complex128)
    drive = draw(3, length, torch.float64)
    (states,) = scan(exponents, [drive])
    expected = plain(exponents, drive.numpy()).real
    np.testing.assert_allclose(states, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_the_size_of_a_chunk_changes_nothing(monkeypatch):
    exponents = EXPONENTS.to(torch.complex128)
    drive = [draw(4, 100, torch.float64), draw(4, 100, torch.float64).flip(-1)]
    expected = scan(exponents, drive)
    for size in (2, 3, 7, 64, 1000):
        monkeypatch.setattr(scan_module, "CHUNK", size)
        for part, wanted in zip(scan(exponents, drive), expected, strict=True):
            torch.testing.assert_close(part, wanted, rtol=0, atol=1e-12)


def test_nothing_is_scanned_of_no_samples():
    empty = torch.zeros(2, 3, 0)
    (states,) = scan(torch.tensor([-1.0, -2.0], dtype=torch.complex128), [empty])
    assert states.shape == (2, 3, 0)


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_that_need_no_padding(length):
    padded = padded_length(length)
    assert length <= padded < length + CHUNK
    assert padded < CHUNK or padded % CHUNK == 0
    assert padded_length(padded) == padded


@pytest.mark.parametrize("parts", [1, 2])
def test_gradients(parts, monkeypatch):
    monkeypatch.setattr(scan_module, "CHUNK", 3)  # 10 samples: three levels
    decay = torch.tensor([-0.3, -0.01], dtype=torch.float64, requires_grad=True)
    phase = torch.tensor([0.4, 2.0], dtype=torch.float64, requires_grad=True)
    drive = [draw(2, 10, torch.float64).requires_grad_() for _ in range(parts)]

    def run(decay, phase, *drive):
        turn = phase if parts == 2 else 0 * phase
        return tuple(scan(torch.complex(decay, turn), list(drive)))

    assert torch.autograd.gradcheck(run, (decay, phase, *drive))
