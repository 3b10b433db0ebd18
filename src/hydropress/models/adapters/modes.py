"""What the families have in common: complex modes of which a layer takes the real part."""

import math

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.protocol import LinearPart
from hydropress.systems.modal import ModalSystem, SISOSystem


def bank_of_modes(exponents: Tensor, weights: Tensor, feedthrough: Tensor) -> SISOSystem:
    """Return the systems k[t] = Σ_n Re(w_n e^{s_n t}).

    Parameters
    ----------
    exponents, weights
        s and w, complex128, broadcastable to ``(..., n)``; of either sign of Im s.
    feedthrough
        D, shape ``(...)``.

    Notes
    -----
    A mode that lies on the real axis to the last bit is one real pole, any other a pair.
    """
    exponents, weights = torch.broadcast_tensors(exponents, weights)
    lower = exponents.imag < 0
    exponents = torch.where(lower, exponents.conj(), exponents)
    weights = torch.where(lower, weights.conj(), weights)
    real = (exponents.imag == 0) | (exponents.imag == math.pi)
    residues = torch.where(real, weights.real.to(weights.dtype), weights / 2)
    return ModalSystem.from_exponents(exponents, residues, torch.where(real, 1, 2), feedthrough)


def linear_part(
    exponents: Tensor, weights: Tensor, feedthrough: Tensor, step: Tensor, what: str
) -> LinearPart:
    """Return the linear part of a layer of scalar channels, see :func:`bank_of_modes`.

    Parameters
    ----------
    exponents, weights
        Shapes ``(H, n)`` and ``(directions, H, n)``.
    feedthrough
        D as the layer has it, shape ``(H,)`` or ``(heads, H)``.
    step
        Time units per sample, shape ``(H,)``.
    what
        The family, for the message.

    Raises
    ------
    InvalidArgumentError
        If the layer has several heads, of which each channel feeds every one.
    """
    D = feedthrough.detach().double().reshape(-1, weights.shape[1])
    if len(D) != 1 or len(weights) > 2:
        raise InvalidArgumentError(
            f"a layer of family {what} with {len(D)} outputs a channel (channels={len(D)}, an "
            "activation that halves them, or hyper_act); required: one output a channel; such a "
            "layer is not supported, keep it as it is"
        )
    both = torch.cat([D, torch.zeros_like(D).expand(len(weights) - 1, -1)])
    return LinearPart(
        bank_of_modes(exponents, weights, both), step=step.expand(len(weights), len(step))
    )


def as_complex(pairs: Tensor) -> Tensor:
    """Return numbers that are kept as real and imaginary part, complex128."""
    return torch.view_as_complex(pairs.detach().double().contiguous())


def as_parts(numbers: Tensor) -> Tensor:
    """Do the opposite of :func:`as_complex`."""
    return torch.view_as_real(numbers.resolve_conj().contiguous())


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's parameters and buffers; some originals turn one into the other."""
    parameters = dict(module.named_parameters(recurse=False))
    return {**parameters, **dict(module.named_buffers(recurse=False))}


def is_kind(module: object, names: tuple[str, ...]) -> bool:
    """Return whether a class of one of these names is among a module's class and its bases."""
    return any(kind.__name__ in names for kind in type(module).__mro__)


def softmax_gain(poles: Tensor, step_poles: Tensor, length: int | None, epsilon: float) -> Tensor:
    """Return the input gain of the DSS paper's softmax, (e^{s} - 1) / (λ (e^{s L} - 1)).

    Parameters
    ----------
    poles, step_poles
        λ and s, the latter of the shape of the result.
    length
        L, samples of the kernel.
    epsilon
        Added to the squared absolute value of the divisor.

    Raises
    ------
    InvalidArgumentError
        If a pole grows, or the length is not known.
    """
    if bool((step_poles.real > 0).any()):
        raise InvalidArgumentError(
            f"a softmax kernel with {int((step_poles.real > 0).sum())} poles of positive real "
            "part, which is no stable system; required: poles with negative real part; train with "
            "a version that keeps them there, such as 'exp'"
        )
    if length is None:
        raise InvalidArgumentError(
            "a softmax kernel of no fixed length, whose gains change with that of the sequence; "
            "required: one length; set the layer's max_kernel_length (DSS) or l_max (S4) to that "
            "of your sequences, or give it as an option"
        )
    divisor = poles * torch.expm1(step_poles * length)
    return torch.expm1(step_poles) * divisor.conj() / (divisor.abs().square() + epsilon)
