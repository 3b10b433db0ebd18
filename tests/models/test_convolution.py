"""The FFT convolution against explicit sums, and its hand-written gradients."""

import numpy as np
import pytest
import torch

from hydropress.models.convolution import convolve, fast_fft_length
from tolerances import KERNEL_FLOAT32, ROUNDING

LENGTHS = [1, 2, 3, 7, 16, 45, 121]


def draw(*shape, dtype=torch.float64, grad=False):
    return torch.randn(*shape, dtype=dtype).requires_grad_(grad)


def direct(signal, kernel, backward_kernel=None):
    """y[t] = Σ k[j] u[t-j] + Σ k_b[j] u[t+1+j], one product at a time."""
    rows = signal.reshape(-1, *kernel.shape).numpy()
    output = np.zeros_like(rows)
    length = rows.shape[-1]
    for t in range(length):
        for s in range(length):
            if s <= t:
                output[..., t] += kernel.numpy()[:, t - s] * rows[..., s]
            elif backward_kernel is not None:
                output[..., t] += backward_kernel.numpy()[:, s - t - 1] * rows[..., s]
    return torch.from_numpy(output).reshape(signal.shape)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_equals_the_sum(length, batch):
    signal, kernel, backward = draw(*batch, 4, length), draw(4, length), draw(4, length)
    for arguments in ((signal, kernel), (signal, kernel, backward)):
        expected = direct(*arguments)
        difference = (convolve(*arguments) - expected).abs().max()
        assert difference <= ROUNDING * length * expected.abs().max()


def test_by_hand():
    signal = torch.tensor([[1.0, 2.0, 3.0]])
    kernel, backward = torch.tensor([[1.0, 10.0, 100.0]]), torch.tensor([[0.1, 0.01, 9.0]])
    torch.testing.assert_close(convolve(signal, kernel), torch.tensor([[1.0, 12.0, 123.0]]))
    torch.testing.assert_close(
        convolve(signal, kernel, backward), torch.tensor([[1.23, 12.3, 123.0]])
    )


def test_nothing_wraps_around():
    # The last sample reaches only itself forward, the first one only itself backward.
    length, one = 50, torch.ones(1, 50)
    late, early = torch.zeros(1, length), torch.zeros(1, length)
    late[0, -1] = early[0, 0] = 1
    assert convolve(late, one)[0, :-1].abs().max() < KERNEL_FLOAT32
    only_backward = convolve(early, 0 * one, one)
    assert only_backward.abs().max() < KERNEL_FLOAT32


def test_single_precision():
    signal, kernel = draw(2, 3, 1000), draw(3, 1000) * torch.exp(-torch.arange(1000) / 100)
    exact = convolve(signal, kernel)
    single = convolve(signal.float(), kernel.float())
    assert single.dtype == torch.float32
    assert (single - exact).abs().max() <= KERNEL_FLOAT32 * exact.abs().max()


def test_arguments_are_left_alone():
    signal, kernel, backward = draw(2, 3, 8, grad=True), draw(3, 8, grad=True), draw(3, 8)
    copies = [tensor.detach().clone() for tensor in (signal, kernel, backward)]
    output = convolve(signal, kernel, backward)
    gradient = torch.ones_like(output)
    output.backward(gradient)
    for tensor, copy in zip((signal, kernel, backward), copies, strict=True):
        assert torch.equal(tensor, copy)
    assert torch.equal(gradient, torch.ones_like(gradient))


@pytest.mark.parametrize("length", [1, 2, 5, 6])
@pytest.mark.parametrize("batch", [(), (2,), (2, 2)])
def test_gradients(length, batch):
    signal, kernel = draw(*batch, 2, length, grad=True), draw(2, length, grad=True)
    backward = draw(2, length, grad=True)
    assert torch.autograd.gradcheck(convolve, (signal, kernel))
    assert torch.autograd.gradcheck(convolve, (signal, kernel, backward))


def test_gradients_of_one_argument_only():
    signal, kernel = draw(2, 3, 5, grad=True), draw(3, 5, grad=True)
    assert torch.autograd.gradcheck(lambda u: convolve(u, kernel.detach()), (signal,))
    assert torch.autograd.gradcheck(lambda k: convolve(signal.detach(), k), (kernel,))


def test_second_derivatives_are_refused_and_not_wrong():
    signal, kernel = draw(2, 3, grad=True), draw(2, 3, grad=True)
    (gradient,) = torch.autograd.grad(
        convolve(signal, kernel).square().sum(), kernel, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def is_smooth(number):
    for factor in (2, 3, 5, 7):
        while number % factor == 0:
            number //= factor
    return number == 1


def test_fft_lengths_are_the_next_even_smooth_numbers():
    smooth = [number for number in range(2, 3000, 2) if is_smooth(number)]
    for minimum in range(1, 2500):
        assert fast_fft_length(minimum) == next(n for n in smooth if n >= minimum)
