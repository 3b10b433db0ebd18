"""Long convolution by FFT, with a backward pass that costs no more transforms than it must."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def fast_fft_length(minimum: int) -> int:
    """Return the smallest even 7-smooth integer not below ``minimum``."""
    length = max(2, minimum + minimum % 2)
    while True:
        rest = length
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 2


class _Convolution(torch.autograd.Function):
    """Real circular convolution along the last axis; saves spectra instead of repeating FFTs.

    PyTorch's own gradient of rfft goes through a complex transform of the full length.  Here the
    forward pass takes two transforms of batch size and the backward pass two.
    """

    @staticmethod
    def forward(ctx, signal: Tensor, kernel: Tensor, fft_length: int) -> Tensor:  # type: ignore[override]
        length = signal.shape[-1]
        signal_spectrum = torch.fft.rfft(signal, n=fft_length)
        kernel_spectrum = torch.fft.rfft(kernel, n=fft_length)
        output = torch.fft.irfft(signal_spectrum * kernel_spectrum, n=fft_length)[..., :length]
        # Conjugated in place: a lazy conj() in the backward pass would copy the whole spectrum.
        ctx.save_for_backward(signal_spectrum.conj_physical_(), kernel_spectrum)
        ctx.lengths = (length, kernel.shape[-1], fft_length)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor):  # type: ignore[override]
        (gradient,) = gradients
        conjugate_spectrum, kernel_spectrum = ctx.saved_tensors
        length, kernel_length, fft_length = ctx.lengths
        gradient_spectrum = torch.fft.rfft(gradient, n=fft_length)
        signal_gradient = kernel_gradient = None
        if ctx.needs_input_grad[1]:
            correlation = torch.zeros_like(kernel_spectrum)
            by_sequence = (-1, *kernel_spectrum.shape)
            gradient_rows = gradient_spectrum.reshape(by_sequence)
            conjugate_rows = conjugate_spectrum.reshape(by_sequence)
            for gradient_row, conjugate_row in zip(gradient_rows, conjugate_rows, strict=True):
                correlation.addcmul_(gradient_row, conjugate_row)
            kernel_gradient = torch.fft.irfft(correlation, n=fft_length)[..., :kernel_length]
        if ctx.needs_input_grad[0]:
            spectrum = gradient_spectrum.mul_(kernel_spectrum.conj_physical())
            signal_gradient = torch.fft.irfft(spectrum, n=fft_length)[..., :length]
        return signal_gradient, kernel_gradient, None


_apply: Callable[[Tensor, Tensor, int], Tensor] = _Convolution.apply  # type: ignore[assignment]


def convolve(signal: Tensor, kernel: Tensor, backward_kernel: Tensor | None = None) -> Tensor:
    """Convolve every channel with its own kernel.

    y[t] = Σ_{j≥0} k[j] u[t - j]  (+ Σ_{j≥0} k_b[j] u[t + 1 + j] with a backward kernel)

    Parameters
    ----------
    signal
        u, real, shape ``(..., H, L)``.
    kernel, backward_kernel
        Real, shape ``(H, L)``.  The backward kernel starts one step ahead, so that the present
        sample is counted once.

    Returns
    -------
    Tensor
        y, shape ``(..., H, L)``.
    """
    length = signal.shape[-1]
    fft_length = fast_fft_length(2 * length)
    if backward_kernel is not None:
        gap = kernel.new_zeros(*kernel.shape[:-1], fft_length - 2 * length)
        kernel = torch.cat([kernel, gap, backward_kernel.flip(-1)], dim=-1)
    if torch.is_grad_enabled():
        return _apply(signal, kernel, fft_length)
    spectrum = torch.fft.rfft(signal, n=fft_length)
    spectrum *= torch.fft.rfft(kernel, n=fft_length)
    return torch.fft.irfft(spectrum, n=fft_length)[..., :length]
