"""Outputs, feedthrough and bias of a layer by least squares, for given poles and inputs."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.calibration.mimo_signals import LayerModes, MIMOSignals, batches
from hydropress.reduction.residues import LEAST_EIGENVALUE
from hydropress.systems.modal import MIMOSystem

LEAST_RIDGE = 1e-9
"""Of each regressor's own energy: what single precision leaves of the products of two alike."""


@dataclass(frozen=True)
class SignalMoments:
    """What the normal equations hold of inputs and outputs alone.

    All float64; means are taken out of the products.

    Attributes
    ----------
    samples
        Sequences times their length.
    input_means, output_means
        Shape ``(H,)``.
    output_energy
        Σ y² over all outputs.
    input_energy, cross
        Σ u'² and Σ u' y of each channel, shape ``(H,)``.
    """

    samples: int
    input_means: Tensor
    output_means: Tensor
    output_energy: float
    input_energy: Tensor
    cross: Tensor

    @staticmethod
    def of(signals: MIMOSignals) -> "SignalMoments":
        """Sum them up."""
        count, channels, length = signals.inputs.shape
        samples = count * length
        sums = torch.zeros(5, channels, dtype=torch.float64, device=signals.inputs.device)
        for part in batches(count, 2 * channels, length):
            u, y = signals.inputs[part].double(), signals.outputs[part].double()
            sums += torch.stack([one.sum((0, 2)) for one in (u, y, y * y, u * u, u * y)])
        u, y = sums[:2] / samples
        outputs, inputs, cross = sums[2:] - samples * torch.stack([y * y, u * u, u * y])
        return SignalMoments(samples, u, y, max(float(outputs.sum()), 1e-300), inputs, cross)


@dataclass(frozen=True)
class Fitted:
    """Outputs fitted to data.

    Attributes
    ----------
    weights
        Of the outputs on the modes' regressors, float64, shape ``(H, f)``.
    D
        Of each channel, shape ``(H,)``; zero if no direction reads the present.
    bias
        Constants at the outputs, shape ``(H,)``.
    merit
        Squared error and penalty over the outputs' energy.
    """

    weights: Tensor
    D: Tensor
    bias: Tensor
    merit: float


@dataclass(frozen=True)
class Regression:
    """Normal equations of wanted outputs on the modes' states, the own input and a constant.


    The constant is eliminated: products are those of deviations from the means, in float64.

    Attributes
    ----------
    modes
        Whose states are the regressors.
    moments
        Those of the signals.
    gram, by_input, by_output
        Products of the regressors, shape ``(f, f)``, with u' and with y, ``(f, H)`` each.
    means
        Of the regressors, shape ``(f,)``.
    fits_feedthrough
        Whether D is free.
    """

    modes: LayerModes
    moments: SignalMoments
    gram: Tensor
    by_input: Tensor
    by_output: Tensor
    means: Tensor
    fits_feedthrough: bool

    @staticmethod
    def of(modes: LayerModes, signals: MIMOSignals, moments: SignalMoments) -> "Regression":
        """Simulate the modes on the inputs, some sequences after the others."""
        length = signals.inputs.shape[-1]
        count = len(modes.per_regressor(modes.states))
        width = count + 2 * signals.inputs.shape[1]
        sums = torch.zeros(count, width + 1, dtype=torch.float64, device=signals.inputs.device)
        for part in batches(len(signals.inputs), width, length):
            inputs = signals.inputs[part].transpose(0, 1).contiguous()
            regressors = modes.regressors(modes.trajectories(inputs))
            outputs = signals.outputs[part].transpose(0, 1)
            both = torch.cat([inputs.flatten(1), outputs.flatten(1)]).double()
            sums += products(regressors, both)
        return Regression.from_sums(modes, signals, moments, sums)

    @staticmethod
    def from_sums(
        modes: LayerModes, signals: MIMOSignals, moments: SignalMoments, sums: Tensor
    ) -> "Regression":
        """Take the means out of sums over all samples; see :func:`products`."""
        sizes = [len(sums), len(moments.input_means), len(moments.output_means), 1]
        gram, by_input, by_output, total = sums.split(sizes, 1)
        means = total[:, 0] / moments.samples
        return Regression(
            modes,
            moments,
            gram - total * means,
            by_input - total * moments.input_means,
            by_output - total * moments.output_means,
            means,
            0 in signals.directions,
        )

    @property
    def energies(self) -> Tensor:
        """Energy of each mode's state, averaged over the phase of a pair, float64, ``(m,)``."""
        diagonal = self.gram.diagonal().clamp_min(0)
        count, pairs = len(self.modes.states), self.modes.states == 2
        both = diagonal[:count].clone()
        both[pairs] = (both[pairs] + diagonal[count:]) / 2
        return both

    def solve(self, penalty: float) -> Fitted:
        """Return the best outputs, feedthrough and bias.

        Parameters
        ----------
        penalty
            Weight of the energies of what each mode contributes to each output, all on the data,
            beside the squared error: modes that cancel each other are expensive.
        """
        moments = self.moments
        price = (penalty + LEAST_RIDGE) * self.modes.per_regressor(self.energies)
        right = torch.cat([self.by_input, self.by_output], 1)
        of_input, of_output = solve_ridge(self.gram, price, right).chunk(2, 1)
        D = torch.zeros_like(moments.cross)
        if self.fits_feedthrough:
            left = moments.input_energy - (self.by_input * of_input).sum(0)
            told = moments.cross - (self.by_input * of_output).sum(0)
            # An input that the states tell all about needs no feedthrough.
            sound = left > LEAST_RIDGE * moments.input_energy
            D = torch.where(sound, told / torch.where(sound, left, 1.0), 0.0)
        weights = (of_output - of_input * D).mT
        explained = (weights.mT * self.by_output).sum() + (D * moments.cross).sum()
        merit = 1 - float(explained) / moments.output_energy
        return Fitted(weights, D, self.bias(weights, D), merit)

    def bias(self, weights: Tensor, D: Tensor) -> Tensor:
        """Return the constants that match the means of outputs on these sequences, ``(H,)``.

        Parameters
        ----------
        weights
            Of outputs on the regressors, shape ``(H, f)``.
        D
            Diagonal, shape ``(H,)``, or a matrix.
        """
        means = self.moments.input_means
        direct = D * means if D.ndim == 1 else D @ means
        return self.moments.output_means - weights @ self.means - direct


def solve_ridge(gram: Tensor, ridge: Tensor, right: Tensor) -> Tensor:
    """Return (G + diag(ridge))⁻¹ right; zero for unknowns of no energy at all."""
    diagonal = (gram.diagonal() + ridge).clamp_min(0)
    silent = diagonal == 0
    scale = torch.where(silent, 1.0, diagonal).rsqrt() * ~silent
    scaled = (gram + torch.diag_embed(ridge)) * scale[:, None] * scale
    scaled = scaled + torch.diag_embed(silent.to(scaled))
    right = right * scale[:, None]
    if not bool(torch.isfinite(scaled).all()):
        return torch.full_like(right, torch.nan)  # a step of the descent went too far
    factor, info = torch.linalg.cholesky_ex(scaled)
    if int(info) == 0:
        return torch.cholesky_solve(right, factor) * scale[:, None]
    # Means so large that their products have rounded the deviations away.
    values, vectors = torch.linalg.eigh(scaled)
    inverse = torch.where(values > LEAST_EIGENVALUE * values[-1], 1 / values, 0.0)
    return (vectors * inverse) @ (vectors.mT @ right) * scale[:, None]


def products(regressors: Tensor, signals: Tensor) -> Tensor:
    """Return the regressors' products with themselves, with signals ``(k, n L)`` and with one."""
    left = regressors.flatten(1).double()
    return torch.cat([left @ left.mT, left @ signals.mT, left.sum(1)[:, None]], 1)


def to_system(
    like: MIMOSystem, directions: tuple[int, ...], modes: LayerModes, weights: Tensor, D: Tensor
) -> MIMOSystem:
    """Return systems of the shape of others with fitted outputs and feedthrough.

    Parameters
    ----------
    like
        Systems whose entries the modes are, in that order; D goes to the first that reads forward.
    """
    used = like.states > 0
    exponents, B, C = like.exponents.clone(), like.B.clone(), like.C.mT.clone()
    exponents[used], B[used], C[used] = modes.exponents, modes.B, modes.outputs_of(weights).mT
    direct = torch.zeros_like(like.D)
    if 0 in directions:
        direct[directions.index(0)] = torch.diag_embed(D)
    return replace(like, exponents=exponents, B=B, C=C.mT, D=direct)
