"""A linear SSM layer of ragged orders: every channel has just the modes that it was given."""

import math

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import BankSSM, Modes
from hydropress.systems.discretization import discretize_zoh
from hydropress.systems.kernels import modal_kernel
from hydropress.systems.modal import SISOSystem


def _check_fit(name: str, value: Tensor | None, *shapes: tuple[int, ...]) -> None:
    if value is not None and tuple(value.shape) not in shapes:
        raise InvalidArgumentError(
            f"{name} of shape {tuple(value.shape)}; required: {' or '.join(map(str, shapes))}"
        )


class ModalSSM(BankSSM):
    """What a layer becomes when its SSMs are reduced.

    The modes of all channels lie one after another, each with the index of its system; nothing is
    padded.  As in S4D a mode is kept in continuous time, in units of a step that belongs to its
    system, so that the parameters of fast and slow modes have similar sizes and train at S4D's
    rates.

    Parameters
    ----------
    pair_row, real_row
        System of each conjugate pair and of each real pole, int64; systems are numbered
        ``direction * channels + channel``.
    real_sign
        Sign of each discrete real pole: -1 for an alternating one.
    step
        Time units per sample of each system, shape ``(directions * channels,)``; a scale, not
        trained.
    channels, bidirectional
        As in :class:`~hydropress.models.layer.BankSSM`.

    Notes
    -----
    Parameters: 4 numbers a pair, 2 a real pole, and D and the bias of each channel.
    """

    pair_row: Tensor
    real_row: Tensor
    real_sign: Tensor
    step_size: Tensor

    def __init__(
        self,
        pair_row: Tensor,
        real_row: Tensor,
        real_sign: Tensor,
        step: Tensor,
        *,
        channels: int,
        bidirectional: bool = False,
    ) -> None:
        super().__init__(channels, bidirectional=bidirectional)
        self.register_buffer("pair_row", pair_row.to(torch.int64))
        self.register_buffer("real_row", real_row.to(torch.int64))
        self.register_buffer("real_sign", real_sign.float())
        self.register_buffer("step_size", step.float())
        pairs, reals = len(pair_row), len(real_row)
        self.pair_log_decay = nn.Parameter(torch.zeros(pairs))
        self.pair_frequency = nn.Parameter(torch.zeros(pairs))
        self.pair_C = nn.Parameter(torch.zeros(pairs, 2))
        self.real_log_decay = nn.Parameter(torch.zeros(reals))
        self.real_C = nn.Parameter(torch.zeros(reals))
        self.D = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    @classmethod
    def from_system(
        cls,
        system: SISOSystem,
        *,
        step: Tensor | None = None,
        bias: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "ModalSSM":
        """Build the layer that realises a bank of discrete-time systems.

        Parameters
        ----------
        system
            Batch shape ``(directions, H)``, one or two directions; its D counts for the forward
            direction and is added up over both.
        step
            Shape ``(directions, H)`` or ``(H,)``; one if not given.
        bias
            Shape ``(H,)``; zero if not given.
        dtype
            Of the parameters, ``torch.float32`` or ``torch.float64``.

        Raises
        ------
        UnstableSystemError
            If a pole does not decay, which no value of the parameters can express.
        InvalidArgumentError
            If the system is continuous in time or has a delay, or shapes do not fit.
        """
        if len(system.batch_shape) != 2 or system.batch_shape[0] not in (1, 2):
            raise InvalidArgumentError(
                f"a system of batch shape {tuple(system.batch_shape)}; required: (directions, "
                "channels) with one or two directions; reshape it"
            )
        if system.time != "discrete":
            raise InvalidArgumentError(
                f"a {system.time}-time system; required: a discrete-time one; discretise it"
            )
        if system.delay:
            raise InvalidArgumentError(
                "a system of delay 1; required: delay 0, a layer's input acts at once; convert it "
                "with hydropress.systems.delay.with_delay"
            )
        system.require_stable()
        directions, channels = system.batch_shape
        _check_fit("step", step, (channels,), (directions, channels))
        _check_fit("bias", bias, (channels,))
        if step is not None and not bool((step > 0).all()):
            raise InvalidArgumentError("step holds values that are not positive; required: > 0")
        flat = system.reshape(-1)
        device = flat.exponents.device
        scale = torch.ones(channels) if step is None else step.detach()
        scale = scale.to(device).expand(directions, channels).flatten()
        pair_row, pair_entry = torch.nonzero(flat.states == 2, as_tuple=True)
        real_row, real_entry = torch.nonzero(flat.states == 1, as_tuple=True)
        real_exponents = flat.exponents[real_row, real_entry]
        sign = torch.where(real_exponents.imag.abs() > math.pi / 2, -1.0, 1.0)
        layer = cls(
            pair_row, real_row, sign, scale, channels=channels, bidirectional=directions == 2
        ).to(device, dtype)
        size = layer.step_size.double()
        with torch.no_grad():
            exponents = flat.exponents[pair_row, pair_entry]
            poles = exponents / size[pair_row]
            layer.pair_log_decay.copy_(torch.log(-poles.real))
            layer.pair_frequency.copy_(poles.imag)
            # Gains are those of the rounded parameters, so that residues survive the rounding.
            _, gain = discretize_zoh(layer._pair_poles(), size[pair_row])
            weights = flat.residues[pair_row, pair_entry] / gain
            layer.pair_C.copy_(torch.view_as_real(weights))
            layer.real_log_decay.copy_(torch.log(-real_exponents.real / size[real_row]))
            _, real_gain = discretize_zoh(-layer.real_log_decay.double().exp(), size[real_row])
            layer.real_C.copy_(flat.residues[real_row, real_entry].real / real_gain)
            layer.D.copy_(system.D.sum(0))
            if bias is not None:
                assert layer.bias is not None
                layer.bias.copy_(bias)
        return layer

    def _pair_poles(self) -> Tensor:
        return torch.complex(-self.pair_log_decay.double().exp(), self.pair_frequency.double())

    def step_scale(self) -> Tensor:
        return self.step_size.reshape(self.directions, self.channels)

    def modes(self) -> Modes:
        size = self.step_size.double()
        pair_exponents, pair_gain = discretize_zoh(self._pair_poles(), size[self.pair_row])
        real_decay, real_gain = discretize_zoh(
            -self.real_log_decay.double().exp(), size[self.real_row]
        )
        alternation = torch.where(self.real_sign < 0, math.pi, 0.0).to(real_decay)
        real_residues = self.real_C.double() * real_gain
        return Modes(
            row=torch.cat([self.pair_row, self.real_row]),
            exponents=torch.cat([pair_exponents, torch.complex(real_decay, alternation)]),
            residues=torch.cat(
                [
                    2 * torch.view_as_complex(self.pair_C.double()) * pair_gain,
                    torch.complex(real_residues, torch.zeros_like(real_residues)),
                ]
            ),
            num_pairs=len(self.pair_row),
        )

    def kernel(self, length: int) -> Tensor:
        modes = self.modes()
        each = modal_kernel(modes.exponents[:, None], modes.residues[:, None], length)
        total = each.new_zeros(self.directions * self.channels, length)
        total = total.index_add(0, modes.row, each)
        return total.reshape(self.directions, self.channels, length).to(self.D.dtype)
