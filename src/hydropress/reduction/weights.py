"""What the error is weighted by: the statistics of the input, measured or given."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.modal import MIMOSystem, ModalSystem

HERMITIAN_TOLERANCE = 1e-6
"""Share of the largest entry: well above rounding in single precision."""
RIDGE = 1e-9
"""Of the mean variance, added to a measured covariance, which fewer samples than inputs leave
singular."""
MOST_INPUTS = 32
"""Inputs up to which :func:`measured_weight` takes the cross-spectrum."""


@dataclass(frozen=True)
class SpectralWeight:
    """A weight on the unit circle, the spectrum of the input: Σ_k tr E_k W_k E_kᴴ counts.

    E_k = G(e^{iω_k}) - G_r(e^{iω_k}).  With the mean periodogram of a layer's input as W this is
    the mean squared output error.

    Attributes
    ----------
    frequencies
        ω in radians per sample, shape ``(F,)``.
    values
        W ≥ 0, shape ``(F,)`` or ``(..., F)`` with the batch shape of the systems; for M inputs
        the cross-spectrum, Hermitian, ``(F, M, M)``.
    """

    frequencies: Tensor
    values: Tensor

    def __post_init__(self) -> None:
        _keep_as_tensors(self, "frequencies", "values")

    @staticmethod
    def measured(inputs: Tensor) -> "SpectralWeight":
        """Return the mean periodogram of what a bank of scalar systems gets.

        With it the squared error is the energy of y - y_r, summed over all time and averaged over
        the sequences.

        Parameters
        ----------
        inputs
            n sequences of L samples for each system, real, shape ``(n, L)`` for one or
            ``(..., n, L)`` with the batch shape of the systems.
        """
        frequencies, transforms, counted = _transforms(inputs, -1)
        squares = transforms.real.square() + transforms.imag.square()
        return SpectralWeight(frequencies, squares.mean(-2) * counted)

    @staticmethod
    def measured_across(inputs: Tensor) -> "SpectralWeight":
        """Return the mean cross-periodogram of the inputs of a MIMO system.

        Parameters
        ----------
        inputs
            n sequences of L samples of M inputs, real, shape ``(n, L, M)``.
        """
        frequencies, transforms, counted = _transforms(inputs, -2)
        by_frequency = transforms.transpose(0, 1)
        products = by_frequency.mT @ by_frequency.conj() / len(inputs)
        return SpectralWeight(frequencies, products * counted[:, None, None])


@dataclass(frozen=True)
class InputCovariance:
    """The covariance of a MIMO system's input, taken as white in time.

    The error counts as Σ_t tr E[t] R E[t]ᵀ.

    Attributes
    ----------
    values
        R, real, symmetric and positive definite, shape ``(M, M)``.
    """

    values: Tensor

    def __post_init__(self) -> None:
        _keep_as_tensors(self, "values")

    @staticmethod
    def measured(inputs: Tensor) -> "InputCovariance":
        """Return the mean of u uᵀ over all samples, and 10⁻⁹ of its mean diagonal on the diagonal.

        The mean of the input is not taken out: it reaches the output as all else does.

        Parameters
        ----------
        inputs
            n sequences of L samples of M inputs, real, shape ``(n, L, M)``.
        """
        _check_inputs(inputs, "(n, L, M)")
        samples = inputs.to(torch.float64).flatten(0, -2)
        covariance = samples.T @ samples / len(samples)
        ridge = RIDGE * covariance.diagonal().mean()
        return InputCovariance(covariance + ridge * torch.eye(len(covariance)).to(covariance))


Weight = SpectralWeight | InputCovariance


def measured_weight(inputs: Tensor) -> Weight:
    """Return what there is to say of the inputs of a MIMO system, ``(n, L, M)``, at its price.

    A cross-spectrum holds M² numbers at each of about 2 L frequencies, and each step of the search
    works with all of them: its price grows with M², that of the covariance hardly
    (``benchmarks/input_weights.py`` prints both).  And n sequences say little of M² numbers at one
    frequency if M is much larger than n.  So the cross-spectrum is taken up to 32 inputs, if there
    are as many sequences, and the covariance beyond.
    """
    _check_inputs(inputs, "(n, L, M)")
    if inputs.shape[-1] <= min(MOST_INPUTS, len(inputs)):
        return SpectralWeight.measured_across(inputs)
    return InputCovariance.measured(inputs)


def _keep_as_tensors(weight: object, *names: str) -> None:
    """Turn the arrays or lists of a frozen record into tensors."""
    for name in names:
        given = getattr(weight, name)
        if isinstance(given, Tensor):
            continue
        try:
            object.__setattr__(weight, name, torch.as_tensor(np.array(given)))
        except (RuntimeError, TypeError, ValueError) as error:
            raise InvalidArgumentError(
                f"{name} of a weight is a {type(given).__name__} ({error}); required: a tensor or "
                "an array of numbers"
            ) from error


def _check_inputs(inputs: Tensor, shape: str) -> None:
    if inputs.ndim < shape.count(",") + 1 or 0 in inputs.shape or inputs.is_complex():
        raise InvalidArgumentError(
            f"inputs of shape {tuple(inputs.shape)}, {inputs.dtype}; required: real, {shape}, at "
            "least one sample"
        )
    if not bool(torch.isfinite(inputs).all()):
        raise InvalidArgumentError("inputs that hold NaN or infinity; required: finite numbers")


def _transforms(inputs: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return frequencies from 0 to π, transforms, and how much of the circle each stands for.

    Zeros are appended up to more than twice the length: of a kernel as long as the sequences no
    output wraps around the end.
    """
    _check_inputs(inputs, "(n, L)" if axis == -1 else "(n, L, M)")
    size = 2 ** math.ceil(math.log2(2 * inputs.shape[axis] + 1))
    transforms = torch.fft.rfft(inputs.to(torch.float64), size, dim=axis)
    count = transforms.shape[axis]
    frequencies = 2 * math.pi * torch.arange(count, device=inputs.device).double() / size
    counted = torch.full_like(frequencies, 2 / size)
    counted[[0, -1]] /= 2
    return frequencies, transforms, counted


def check_weight(full: ModalSystem, weight: object, horizon: float | None) -> None:
    """Raise the package's errors for a weight that does not fit the systems."""
    if not isinstance(weight, (SpectralWeight, InputCovariance, type(None))):
        raise InvalidArgumentError(
            f"weight={weight!r}; required: a SpectralWeight, an InputCovariance or None"
        )
    if isinstance(weight, InputCovariance):
        _check_covariance(full, weight.values)
    elif isinstance(weight, SpectralWeight):
        _check_spectrum(full, weight)
        if horizon is not None:
            raise InvalidArgumentError(
                f"a spectral weight with horizon={horizon}; required: one of them; a spectrum "
                "counts all samples"
            )


def _check_spectrum(full: ModalSystem, weight: SpectralWeight) -> None:
    values, count = weight.values, tuple(weight.frequencies.shape)
    if isinstance(full, MIMOSystem):
        wanted = (*count, full.num_inputs, full.num_inputs)
        if tuple(values.shape) != wanted:
            raise InvalidArgumentError(
                f"weight values of shape {tuple(values.shape)} at {count} frequencies for "
                f"{full.num_inputs} inputs; required: a cross-spectrum of shape {wanted}"
            )
    elif values.shape[-1:] != weight.frequencies.shape:
        raise InvalidArgumentError(
            f"weight values of shape {tuple(values.shape)} at {count} frequencies; required: "
            "(..., F) and (F,)"
        )
    elif values.ndim > 1 and tuple(values.shape[:-1]) != tuple(full.batch_shape):
        raise InvalidArgumentError(
            f"weight values of batch shape {tuple(values.shape[:-1])}; required: none, or that of "
            f"the systems, {tuple(full.batch_shape)}"
        )
    if not bool(torch.isfinite(weight.frequencies).all()):
        raise InvalidArgumentError(
            "frequencies of the weight hold NaN or infinity; required: radians per sample"
        )
    if not bool(torch.isfinite(torch.view_as_real(values.to(torch.complex128))).all()):
        raise InvalidArgumentError("weight values not finite; required: W ≥ 0")
    if isinstance(full, MIMOSystem):
        _require_hermitian("a cross-spectrum", values)
        lowest = float(torch.linalg.eigvalsh(values.to(torch.complex128)).min())
        if lowest < -1e-9 * float(values.abs().max()):
            raise InvalidArgumentError(
                f"a cross-spectrum with an eigenvalue of {lowest:.3g}; required: W ≥ 0"
            )
    elif values.is_complex():
        raise InvalidArgumentError(
            f"weight values of {values.dtype} for scalar systems; required: real, W ≥ 0; take the "
            "real part, or the squared moduli of a transform"
        )
    elif not bool((values >= 0).all()):
        raise InvalidArgumentError("weight values below zero or not finite; required: W ≥ 0")
    rows = values.abs().sum((-3, -2, -1)) if isinstance(full, MIMOSystem) else values.sum(-1)
    if not bool((rows > 0).all()):
        raise InvalidArgumentError("a weight is zero everywhere; required: some W > 0")


def _check_covariance(full: ModalSystem, values: Tensor) -> None:
    if not isinstance(full, MIMOSystem):
        raise InvalidArgumentError(
            "an input covariance with a bank of scalar systems; required: a MIMO system; a scalar "
            "variance changes nothing"
        )
    if tuple(values.shape) != (full.num_inputs, full.num_inputs):
        raise InvalidArgumentError(
            f"a covariance of shape {tuple(values.shape)}; required: "
            f"{(full.num_inputs, full.num_inputs)}, the inputs of the system"
        )
    if values.is_complex() or not bool(torch.isfinite(values).all()):
        raise InvalidArgumentError(
            f"a covariance of {values.dtype} with values complex or not finite; required: real, "
            "finite numbers; take the real part, or a cross-spectrum as the weight"
        )
    _require_hermitian("a covariance", values)
    factor, info = torch.linalg.cholesky_ex(values.to(torch.float64))
    if int(info) > 0 or not bool(torch.isfinite(factor).all()):
        raise InvalidArgumentError(
            "a covariance that is not positive definite; required: symmetric, positive definite; "
            "add a small multiple of the identity"
        )


def _require_hermitian(name: str, values: Tensor) -> None:
    skew = float((values - values.mH).abs().max())
    if skew > HERMITIAN_TOLERANCE * float(values.abs().max()):
        raise InvalidArgumentError(
            f"{name} that differs from its conjugate transpose by {skew:.3g}; required: a "
            "Hermitian matrix (symmetric if real); take the mean of both"
        )
