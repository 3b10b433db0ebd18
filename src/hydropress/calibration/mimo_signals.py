"""What a layer of several inputs and outputs sees, and simulation of its modes on it.

A layer is a batch of systems, one a direction.  The backward one starts one step ahead of the
present: to y[t] it adds Σ_j k_b[j] u[t + 1 + j].
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.scan import scan
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.state_space import turn_phases

ENTRIES_AT_ONCE = 2**22
"""Of the modes' trajectories: 32 MB in single precision."""

FORWARD, BACKWARD = 0, 1


def _late(signal: Tensor) -> Tensor:
    """Return a signal one sample later, from rest."""
    return nn.functional.pad(signal, (1, 0))[..., :-1]


def _scan(exponents: Tensor, drive: Tensor) -> Tensor:
    if not len(exponents):
        return drive
    return torch.complex(*scan(exponents, [drive.real.contiguous(), drive.imag.contiguous()]))


def _run(exponents: Tensor, drive: Tensor, is_backward: bool) -> Tensor:
    if is_backward:
        return _scan(exponents, _late(drive.flip(-1))).flip(-1)
    return _scan(exponents, drive)


def _run_adjoint(exponents: Tensor, sources: Tensor, is_backward: bool) -> Tensor:
    if is_backward:
        return _late(_scan(exponents, sources))
    return _scan(exponents, sources.flip(-1)).flip(-1)


@dataclass(frozen=True)
class LayerModes:
    """The modes of a layer's directions, one after the other, empty entries left out.

    Attributes
    ----------
    exponents, B, C
        complex128, shapes ``(m,)``, ``(m, M)`` and ``(P, m)``.
    states
        2 for a pair, 1 for a real pole, shape ``(m,)``.
    backward
        Which of the modes read the sequence from its end, bool, shape ``(m,)``.
    """

    exponents: Tensor
    B: Tensor
    C: Tensor
    states: Tensor
    backward: Tensor

    @staticmethod
    def of(system: MIMOSystem, directions: tuple[int, ...]) -> "LayerModes":
        """Return the modes of systems of batch shape ``(K,)`` that read in these directions."""
        used = system.states > 0
        reads = torch.tensor(directions, device=used.device)[:, None].expand_as(used)
        # Of a real pole b and c are real then, not only their product.
        B, C = turn_phases(system.B[used], system.C.mT[used].T)
        return LayerModes(
            system.exponents[used], B, C, system.states[used], reads[used] == BACKWARD
        )

    def replace(self, exponents: Tensor, B: Tensor, C: Tensor) -> "LayerModes":
        """Return modes of the same kinds and directions."""
        return LayerModes(exponents, B, C, self.states, self.backward)

    def _by_direction(
        self, run: Callable[[Tensor, Tensor, bool], Tensor], exponents: Tensor, signals: Tensor
    ) -> Tensor:
        """Apply ``run(exponents, signals, is_backward)`` to the modes of each direction."""
        if not bool(self.backward.any()):
            return run(exponents, signals, False)
        found = torch.empty_like(signals)
        for is_backward in (False, True):
            these = self.backward == is_backward
            if bool(these.any()):
                found[these] = run(exponents[these], signals[these], is_backward)
        return found

    def trajectories(self, inputs: Tensor) -> Tensor:
        """Return the modes' states, complex, shape ``(m, n, L)``, from inputs ``(M, n, L)``."""
        rows = torch.cat([self.B.real, self.B.imag]).to(inputs)
        driven = (rows @ inputs.flatten(1)).unflatten(1, inputs.shape[1:])
        drive = torch.complex(*driven.chunk(2))
        return self._by_direction(_run, self.exponents, drive)

    def adjoint(self, sources: Tensor) -> Tensor:
        """Return Σ over later t' of conj(∂x[t'] / ∂w[t]) g[t'], the derivative by the drive w.

        Parameters
        ----------
        sources
            g, the derivative by the states, complex, shape ``(m, n, L)``.
        """
        return self._by_direction(_run_adjoint, self.exponents.conj().resolve_conj(), sources)

    def regressors(self, trajectories: Tensor) -> Tensor:
        """Return Re x of all modes, then Im x of the pairs, shape ``(f, n, L)``."""
        return torch.cat([trajectories.real, trajectories.imag[self.states == 2]])

    def weights_of(self, C: Tensor) -> Tensor:
        """Return what outputs C make of the regressors, float64, ``(P, f)``: y = Σ m Re(c x)."""
        scaled = C * self.states
        return torch.cat([scaled.real, -scaled.imag[:, self.states == 2]], 1)

    def outputs_of(self, weights: Tensor) -> Tensor:
        """Return the C of weights on the regressors, complex128, ``(P, m)``."""
        real, imaginary = weights.split([len(self.states), weights.shape[1] - len(self.states)], 1)
        padded = torch.zeros_like(real)
        padded[:, self.states == 2] = -imaginary
        return torch.complex(real, padded) / self.states

    def per_regressor(self, values: Tensor) -> Tensor:
        """Repeat one value a mode for its regressors."""
        return torch.cat([values, values[self.states == 2]])


def batches(count: int, rows: int, length: int) -> Iterator[slice]:
    """Split sequences so that trajectories of so many modes stay within ``ENTRIES_AT_ONCE``."""
    size = max(1, ENTRIES_AT_ONCE // max(1, rows * length))
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


def respond(system: MIMOSystem, directions: tuple[int, ...], inputs: Tensor) -> Tensor:
    """Return what a layer makes of its inputs: all directions added up, D of all included.

    Parameters
    ----------
    system
        Batch shape ``(K,)``, one system a direction, discrete time.
    directions
        0 for each that reads forward, 1 for each that reads backward.
    inputs
        Shape ``(n, M, L)``.

    Returns
    -------
    Tensor
        Shape ``(n, P, L)``, in the precision of the inputs.
    """
    modes = LayerModes.of(system, directions)
    weights = torch.cat([modes.weights_of(modes.C), system.D.sum(0)], 1).to(inputs)
    rows = len(modes.states) + inputs.shape[1]
    found = inputs.new_empty(len(inputs), weights.shape[0], inputs.shape[-1])
    for part in batches(len(inputs), rows, inputs.shape[-1]):
        signal = inputs[part].transpose(0, 1).contiguous()
        regressors = torch.cat([modes.regressors(modes.trajectories(signal)), signal])
        outputs = (weights @ regressors.flatten(1)).unflatten(1, signal.shape[1:])
        found[part] = outputs.transpose(0, 1)
    return found


@dataclass(frozen=True)
class MIMOSignals:
    """Inputs and wanted outputs of a layer.

    Attributes
    ----------
    inputs
        u', what the layer gets in the compressed prefix, shape ``(n, H, L)``.
    outputs
        What the original layer returned for its own inputs u, all directions added up, D
        included and bias not, shape ``(n, H, L)``.
    directions
        0 for a system that reads forward and 1 for one that reads backward, one entry a system.
    """

    inputs: Tensor
    outputs: Tensor
    directions: tuple[int, ...]

    @staticmethod
    def of(
        full: MIMOSystem,
        original_inputs: Tensor,
        inputs: Tensor,
        directions: tuple[int, ...] | None = None,
    ) -> "MIMOSignals":
        """Run the original systems on what they got.

        Parameters
        ----------
        full
            Batch shape ``(K,)``, as many inputs as outputs.
        original_inputs, inputs
            u and u', shape ``(n, H, L)``.
        directions
            As in :class:`MIMOSignals`; forward and, if there is a second, backward if not given.
        """
        if directions is None:
            directions = (FORWARD, BACKWARD)[: len(full.D)]
        if full.num_inputs != full.num_outputs or full.batch_shape != (len(directions),):
            raise InvalidArgumentError(
                f"systems of batch shape {tuple(full.batch_shape)}, {full.num_inputs} inputs and "
                f"{full.num_outputs} outputs, for directions {directions}; required: one system a "
                "direction, as many outputs as inputs"
            )
        return MIMOSignals(inputs, respond(full, directions, original_inputs), directions)

    def variance(self) -> Tensor:
        """Return the variance of each wanted output, float64, shape ``(H,)``."""
        return self.outputs.double().var((0, 2), correction=0).clamp_min(1e-300)

    def split(self, held_out: int) -> "tuple[MIMOSignals, MIMOSignals]":
        """Return all but the last sequences, and the last ``held_out``."""
        return self._take(slice(None, -held_out)), self._take(slice(-held_out, None))

    def first(self, count: int) -> "MIMOSignals":
        """Return the first ``count`` sequences."""
        return self._take(slice(None, count))

    def _take(self, index: slice) -> "MIMOSignals":
        return MIMOSignals(self.inputs[index], self.outputs[index], self.directions)


def residuals(system: MIMOSystem, bias: Tensor, signals: MIMOSignals) -> Tensor:
    """Return wanted outputs minus those of systems with a bias, shape ``(n, H, L)``."""
    found = respond(system, signals.directions, signals.inputs)
    return signals.outputs - found - bias[:, None].to(found)


def matching_bias(system: MIMOSystem, signals: MIMOSignals) -> Tensor:
    """Return the constants at the outputs that match their means, float64, shape ``(H,)``."""
    none = torch.zeros_like(system.D[0, :, 0])
    return residuals(system, none, signals).double().mean((0, 2))


def output_errors(system: MIMOSystem, bias: Tensor, signals: MIMOSignals) -> tuple[float, Tensor]:
    """Return root mean square errors over the outputs' standard deviations.

    Returns
    -------
    error, by_output
        Of all outputs together, √(Σ_p mean square error / Σ_p variance), and of each, ``(H,)``.
    """
    squares = residuals(system, bias, signals).double().square().mean((0, 2))
    variances = signals.variance()
    return float((squares.sum() / variances.sum()).sqrt()), (squares / variances).sqrt()
