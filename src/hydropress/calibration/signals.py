"""What a layer really sees: inputs captured from calibration data, and their statistics."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.calibration.forward import floating_tensor, signal_among
from hydropress.calibration.sequences import in_batches
from hydropress.errors import InvalidArgumentError
from hydropress.models.convolution import fast_fft_length
from hydropress.systems.modal import SISOSystem

CAPTURE_BATCH = 64
SEARCH_BINS, FIT_BINS = 192, 800
"""Of the spectra on which poles are searched, and of those that take a window's place."""
SILENCE = 1e-15
"""Root mean square below which a signal counts as zeros: squares of single precision end there."""


class _Captured(Exception):
    """Ends a forward pass as soon as the wanted layer has been reached."""


def capture_inputs(
    model: nn.Module,
    layer: nn.Module,
    sequences: Tensor,
    *,
    channels_last: bool = False,
    calls: int = 1,
) -> Tensor:
    """Return what a layer receives when the model runs on calibration sequences.

    Parameters
    ----------
    model
        In evaluation mode; runs up to the layer only.
    layer
        One of its submodules, called with a signal first.
    sequences
        Input of the model, ``(n, ...)``.
    channels_last
        Whether the layer takes ``(n, L, H)``.
    calls
        How often the model calls the layer in one pass.

    Returns
    -------
    Tensor
        Shape ``(n * calls, H, L)``, in the model's dtype: the calls of one sequence side by side.

    Raises
    ------
    InvalidArgumentError
        If the model never calls the layer, or calls it with something else.
    """
    pieces: list[Tensor] = []
    seen: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        signal = signal_among(args, kwargs)
        if signal is not None:
            seen.append(signal.detach())
        if signal is None or len(seen) == calls:
            raise _Captured

    handle = layer.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            for batch in in_batches(sequences, CAPTURE_BATCH):
                seen.clear()
                with suppress(_Captured):
                    model(batch)
                shapes = {tuple(signal.shape) for signal in seen}
                if len(seen) != calls or len(shapes) != 1 or seen[0].ndim != 3:
                    got = " and ".join(f"a signal {shape}" for shape in shapes) or "nothing"
                    raise InvalidArgumentError(
                        f"{got} at a {type(layer).__name__} from sequences {tuple(batch.shape)}; "
                        "required: a signal (batch, channels, length), or (batch, length, "
                        "channels), of one shape at every call; calibrate on what the model is "
                        "called with, or compress without data"
                    )
                pieces.append(torch.stack(seen, 1).flatten(0, 1))
    finally:
        handle.remove()
    captured = torch.cat(pieces)
    return captured.mT if channels_last else captured


def last_affine(model: nn.Module, sequences: Tensor) -> nn.Linear | None:
    """Return the affine map whose output is the model's, if there is one that has a bias."""
    made: list[tuple[nn.Linear, Tensor]] = []

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(module, nn.Linear)
        made.append((module, output))

    maps = [one for one in model.modules() if isinstance(one, nn.Linear)]
    handles = [
        one.register_forward_hook(note) for one in maps if "bias" in dict(one.named_parameters())
    ]
    try:
        with torch.no_grad():
            result = floating_tensor(model(sequences))
    finally:
        for handle in handles:
            handle.remove()
    if not made or result is None:
        return None
    affine, output = made[-1]
    # A last axis of one number may have been taken away.
    return affine if torch.equal(output.flatten(), result.flatten()) else None


def _by_row(signal: Tensor, directions: int) -> Tensor:
    """Arrange ``(n, H, L)`` as one system's signals a row, ``(directions * H, n, L)``.

    The backward system reads the reversed sequence one step late: its kernel starts one step
    ahead of the present.
    """
    forward = signal.transpose(0, 1)
    if directions == 1:
        return forward
    late = nn.functional.pad(forward.flip(-1), (1, 0))[..., :-1]
    return torch.cat([forward, late])


@dataclass(frozen=True)
class LayerSignals:
    """Inputs and wanted outputs of one layer, system by system.

    Attributes
    ----------
    inputs
        u', what the layer gets in the compressed prefix, shape ``(K, n, L)``; reversed for
        backward systems.
    original_inputs
        u, what it got in the original model, same shape.
    outputs
        y, what each original system returned for ``original_inputs``, D included for the forward
        direction, same shape.
    """

    inputs: Tensor
    original_inputs: Tensor
    outputs: Tensor

    @staticmethod
    def of(full: SISOSystem, original_inputs: Tensor, inputs: Tensor) -> "LayerSignals":
        """Run the original systems ``(directions, H)`` on what they got, ``(n, H, L)``.

        Raises
        ------
        InvalidArgumentError
            If the sum of the inputs' squares is not finite.
        """
        for signals in (original_inputs, inputs):
            largest = float(signals.abs().max())
            if not largest**2 * signals.numel() < torch.finfo(signals.dtype).max:
                raise InvalidArgumentError(
                    f"a layer that receives numbers as large as {largest:.3g}; required: numbers "
                    f"whose squares {signals.dtype} can add up; scale the calibration sequences, "
                    "or look at what the model makes of them"
                )
        directions = full.batch_shape[0]
        original, flat = _by_row(original_inputs, directions), full.reshape(-1)
        kernels = flat.impulse_response(original.shape[-1])
        outputs = _respond(original, kernels, flat.D)
        return LayerSignals(_by_row(inputs, directions), original, outputs)

    def by_direction(self, directions: int) -> "list[LayerSignals]":
        """Return the signals of the forward systems and, if any, those of the backward ones."""
        chunks = (
            signals.chunk(directions)
            for signals in (self.inputs, self.original_inputs, self.outputs)
        )
        return [LayerSignals(*parts) for parts in zip(*chunks, strict=True)]

    def split(self, held_out: int) -> "tuple[LayerSignals, LayerSignals]":
        """Return all but the last sequences, and the last ``held_out``."""
        first, last = slice(None, -held_out), slice(-held_out, None)
        return self._take(first), self._take(last)

    def first(self, count: int) -> "LayerSignals":
        """Return the first ``count`` sequences."""
        return self._take(slice(None, count))

    def systems(self, index: slice) -> "LayerSignals":
        """Return the signals of some of the systems."""
        return LayerSignals(self.inputs[index], self.original_inputs[index], self.outputs[index])

    def _take(self, index: slice) -> "LayerSignals":
        return LayerSignals(
            self.inputs[:, index], self.original_inputs[:, index], self.outputs[:, index]
        )


def _convolve_rows(signals: Tensor, kernels: Tensor) -> Tensor:
    """Convolve ``(K, n, L)`` with ``(K, L)``."""
    length = signals.shape[-1]
    size = fast_fft_length(2 * length)
    spectrum = torch.fft.rfft(signals, n=size) * torch.fft.rfft(kernels, n=size)[:, None]
    return torch.fft.irfft(spectrum, n=size)[..., :length]


def predict(signals: LayerSignals, kernels: Tensor, D: Tensor) -> Tensor:
    """Return the outputs of systems with kernels ``(K, L)`` and feedthrough ``(K,)``."""
    return _respond(signals.inputs, kernels, D)


def _respond(inputs: Tensor, kernels: Tensor, D: Tensor) -> Tensor:
    outputs = _convolve_rows(inputs, kernels.to(inputs.dtype))
    return outputs + D.to(inputs.dtype)[:, None, None] * inputs


@dataclass(frozen=True)
class WindowStatistics:
    """Normal equations of the output error on the window 0 ≤ t < L, the mean taken out.

    Attributes
    ----------
    gram
        R, float64, shape ``(K, L, L)``: error = h^T R h - 2 c^T h + output_energy.
    cross
        c, shape ``(K, L)``.
    output_energy, output_mean
        Shape ``(K,)``.
    input_means
        Mean over sequences and time of u'[t - j], shape ``(K, L)``.
    input_energy
        Σ u'[t - j]² with the mean, over sequences and time, its mean over j, shape ``(K,)``; 0 of
        inputs that single precision does not tell from zeros.
    """

    gram: Tensor
    cross: Tensor
    output_energy: Tensor
    output_mean: Tensor
    input_means: Tensor
    input_energy: Tensor


def window_statistics(signals: LayerSignals) -> WindowStatistics:
    """Return the statistics in float64; the products run in the signals' precision.

    Notes
    -----
    R[i, j] = Σ_{t ≥ max(i, j)} u[t-i] u[t-j] is a running sum along the diagonals of the inputs'
    second moments, so it costs one product of matrices and L vector additions.  A constant bias
    at the output is free, which centres everything.
    """
    inputs, outputs = signals.inputs, signals.outputs
    _, count, length = inputs.shape
    gram = (inputs.mT @ inputs).double().flip(-1, -2)
    for i in range(length - 2, -1, -1):
        gram[:, i, :-1] += gram[:, i + 1, 1:]
    total = count * length
    energy = gram.diagonal(dim1=-2, dim2=-1).mean(-1)
    energy = torch.where(energy > SILENCE**2 * total, energy, 0.0)
    means = input_means(inputs)
    gram -= total * means[:, :, None] * means[:, None, :]
    return WindowStatistics(gram, *output_statistics(inputs, outputs, means), means, energy)


def input_means(inputs: Tensor) -> Tensor:
    """Return the mean over sequences and time of u[t - j], ``(K, n, L)`` to ``(K, L)``."""
    total = inputs.shape[1] * inputs.shape[2]
    return inputs.sum(1).double().cumsum(-1).flip(-1) / total


def output_statistics(
    inputs: Tensor, outputs: Tensor, input_means: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what of :class:`WindowStatistics` depends on the outputs: cross, energy and mean."""
    length = inputs.shape[-1]
    size = fast_fft_length(2 * length)
    spectra = torch.fft.rfft(inputs, n=size).conj() * torch.fft.rfft(outputs, n=size)
    cross = torch.fft.irfft(spectra.sum(1), n=size)[:, :length].double()
    total = inputs.shape[1] * length
    mean = outputs.double().sum((1, 2)) / total
    cross = cross - total * input_means * mean[:, None]
    return cross, outputs.double().square().sum((1, 2)) - total * mean**2, mean


@dataclass(frozen=True)
class Spectra:
    """Second-order statistics of a layer's inputs on frequency bins.

    Attributes
    ----------
    frequencies
        Centres, radians per sample, shape ``(F,)``.
    power
        Σ |U'|² in each bin, shape ``(K, F)``.
    transfer
        Σ U conj(U') / Σ |U'|²: how the original input is predicted from the present one, complex,
        shape ``(K, F)``.
    """

    frequencies: Tensor
    power: Tensor
    transfer: Tensor


def input_spectra(signals: LayerSignals, bins: int = SEARCH_BINS) -> Spectra:
    """Return spectra of zero-padded inputs, gathered into bins that widen with frequency."""
    return cross_spectra(signals.original_inputs, signals.inputs, bins)


def cross_spectra(wanted: Tensor, inputs: Tensor, bins: int) -> Spectra:
    """Return the same with other signals, shape ``(K, n, L)``, in the place of u."""
    size = fast_fft_length(2 * inputs.shape[-1])
    present = torch.fft.rfft(inputs, n=size)
    reference = torch.fft.rfft(wanted, n=size)
    power = torch.view_as_real(present).double().square().sum((1, -1))
    cross = (reference * present.conj()).to(torch.complex128).sum(1)
    frequencies = 2 * torch.pi * torch.arange(power.shape[-1], dtype=torch.float64) / size
    frequencies = frequencies.to(power.device)
    # Every line counts at low frequencies, where trained poles are narrow; wider bins above.
    lines = power.shape[-1]
    edges = torch.logspace(0, torch.log10(torch.tensor(float(lines))).item(), bins)
    index = torch.unique(edges.round().long().clamp(1, lines)) - 1
    bin_of = torch.bucketize(torch.arange(lines), index, right=True).to(power.device) - 1
    count_of_bins = int(bin_of.max()) + 1

    def gather(values: Tensor) -> Tensor:
        return values.new_zeros(len(values), count_of_bins).index_add(1, bin_of, values)

    count = gather(torch.ones_like(power[:1]))
    centres = gather(frequencies[None])[0] / count[0]
    binned = gather(power)
    return Spectra(centres, binned, gather(cross) / binned.clamp_min(1e-300))
