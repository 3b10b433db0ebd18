"""A MIMO layer of just the modes that it was given: what an S5 or LRU layer becomes if reduced."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.mimo_layer import MIMOSSM, MIMOModes
from hydropress.systems.discretization import discretize_zoh
from hydropress.systems.modal import MIMOSystem


class ModalMIMOSSM(MIMOSSM):
    """Conjugate pairs and real poles, each with its row of B and column of C.

    The modes of both directions lie one after another; nothing is padded.  As in S5 a mode is kept
    in continuous time, in units of a step that belongs to its direction.

    Parameters
    ----------
    pairs, reals
        Conjugate pairs and real poles of each direction, one or two numbers each.
    real_sign
        Sign of each discrete real pole, -1 for an alternating one, shape ``(sum(reals),)``.
    step
        Time units per sample of each direction, shape ``(directions,)``; a scale, not trained.
    channels
        H.
    full_feedthrough
        Whether D is a matrix ``(H, H)`` instead of its diagonal.

    Notes
    -----
    Parameters: 2 + 4 H numbers a pair, 1 + 2 H a real pole, D and the bias.
    """

    real_sign: Tensor
    step_size: Tensor

    def __init__(
        self,
        pairs: Sequence[int],
        reals: Sequence[int],
        real_sign: Tensor,
        step: Tensor,
        *,
        channels: int,
        full_feedthrough: bool = False,
    ) -> None:
        super().__init__(channels, bidirectional=len(pairs) == 2)
        fits = len(pairs) in (1, 2) and len(reals) == len(pairs) and min(*pairs, *reals) >= 0
        if not fits or tuple(real_sign.shape) != (sum(reals),) or len(step) != len(pairs):
            raise InvalidArgumentError(
                f"pairs={pairs!r}, reals={reals!r}, {len(real_sign)} signs and {len(step)} steps; "
                "required: the same one or two directions everywhere, and a sign a real pole"
            )
        self.pairs, self.reals = tuple(pairs), tuple(reals)
        self.full_feedthrough = full_feedthrough
        self.register_buffer("real_sign", real_sign.float())
        self.register_buffer("step_size", step.float().clone())
        self.pair_log_decay = nn.Parameter(torch.zeros(sum(pairs)))
        self.pair_frequency = nn.Parameter(torch.zeros(sum(pairs)))
        self.pair_B = nn.Parameter(torch.zeros(sum(pairs), channels, 2))
        self.pair_C = nn.Parameter(torch.zeros(sum(pairs), channels, 2))
        self.real_log_decay = nn.Parameter(torch.zeros(sum(reals)))
        self.real_B = nn.Parameter(torch.zeros(sum(reals), channels))
        self.real_C = nn.Parameter(torch.zeros(sum(reals), channels))
        shape = (channels, channels) if full_feedthrough else (channels,)
        self.D = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(channels))

    @classmethod
    def from_system(
        cls,
        system: MIMOSystem,
        *,
        step: Tensor | None = None,
        bias: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "ModalMIMOSSM":
        """Build the layer that realises one discrete-time system for each direction.

        Parameters
        ----------
        system
            Batch shape ``(directions,)``, one or two, with H inputs and outputs; its D counts for
            the forward direction and is added up over both.  The layer's D is diagonal if that is.
        step
            Shape ``(directions,)`` or of one number; one if not given.
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
        _check(system, step, bias)
        channels, device = system.num_inputs, system.exponents.device
        (directions,) = system.batch_shape
        paired, single = system.states == 2, system.states == 1
        exponents = system.exponents[single]
        D = system.D.sum(0)
        diagonal = torch.equal(D, torch.diag(D.diagonal()))
        layer = cls(
            paired.sum(-1).tolist(),
            single.sum(-1).tolist(),
            torch.where(exponents.imag.abs() > math.pi / 2, -1.0, 1.0),
            (torch.ones(1) if step is None else step.detach()).to(device).expand(directions),
            channels=channels,
            full_feedthrough=not diagonal,
        ).to(device, dtype)
        with torch.no_grad():
            pair_size, real_size = layer._sizes(layer.pairs), layer._sizes(layer.reals)
            poles = system.exponents[paired] / pair_size
            layer.pair_log_decay.copy_(torch.log(-poles.real))
            layer.pair_frequency.copy_(poles.imag)
            layer.real_log_decay.copy_(torch.log(-exponents.real / real_size))
            # Gains are those of the rounded parameters, so that residues survive the rounding.
            _, pair_gain, _, real_gain = layer._discrete()
            B, C = _balanced(system.B[paired] / pair_gain[:, None], system.C.mT[paired])
            layer.pair_B.copy_(torch.view_as_real(B))
            layer.pair_C.copy_(torch.view_as_real(C))
            B, C = _balanced(system.B[single].real / real_gain[:, None], system.C.mT[single].real)
            layer.real_B.copy_(B)
            layer.real_C.copy_(C)
            layer.D.copy_(D.diagonal() if diagonal else D)
            if bias is not None:
                assert layer.bias is not None
                layer.bias.copy_(bias)
        return layer

    def _sizes(self, counts: tuple[int, ...]) -> Tensor:
        """Return the step of each mode, float64, if a direction has so many."""
        repeats = torch.tensor(counts, device=self.step_size.device)
        return self.step_size.double().repeat_interleave(repeats, output_size=sum(counts))

    def _discrete(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return exponents and gains of the pairs, complex128, and of the real poles, float64."""
        poles = torch.complex(-self.pair_log_decay.double().exp(), self.pair_frequency.double())
        decay = -self.real_log_decay.double().exp()
        return (
            *discretize_zoh(poles, self._sizes(self.pairs)),
            *discretize_zoh(decay, self._sizes(self.reals)),
        )

    def step_scale(self) -> Tensor:
        return self.step_size

    def modes(self) -> tuple[MIMOModes, ...]:
        exponents, gain, real_exponents, real_gain = self._discrete()
        turn = torch.where(self.real_sign < 0, math.pi, 0.0).to(real_exponents)
        kinds = (
            exponents.split(self.pairs),
            torch.complex(real_exponents, turn).split(self.reals),
            (torch.view_as_complex(self.pair_B.double()) * gain[:, None]).split(self.pairs),
            (self.real_B.double() * real_gain[:, None]).to(exponents.dtype).split(self.reals),
            (2 * torch.view_as_complex(self.pair_C.double())).split(self.pairs),
            self.real_C.double().to(exponents.dtype).split(self.reals),
        )
        return tuple(
            MIMOModes(
                torch.cat([pair_exponents, single_exponents]),
                torch.cat([pair_B, single_B]),
                torch.cat([pair_C, single_C]).mT,
                len(pair_exponents),
            )
            for pair_exponents, single_exponents, pair_B, single_B, pair_C, single_C in zip(
                *kinds, strict=True
            )
        )


def _balanced(B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows b and c scaled to equal norms; the products b c stay.

    Only the product means anything, and an optimiser whose steps do not depend on the size of a
    gradient would leave the larger of the two as it is.
    """
    inner, outer = (torch.linalg.vector_norm(part, dim=-1, keepdim=True) for part in (B, C))
    scale = torch.where((inner > 0) & (outer > 0), torch.sqrt(outer / inner), 1.0)
    return B * scale, C / scale


def _check(system: MIMOSystem, step: Tensor | None, bias: Tensor | None) -> None:
    """Raise unless a layer can realise the system."""
    if len(system.batch_shape) != 1 or system.batch_shape[0] not in (1, 2):
        raise InvalidArgumentError(
            f"a system of batch shape {tuple(system.batch_shape)}; required: (directions,), one or "
            "two; reshape it"
        )
    if system.num_inputs != system.num_outputs:
        raise InvalidArgumentError(
            f"a system of {system.num_inputs} inputs and {system.num_outputs} outputs; required: "
            "as many of both, a layer's channels"
        )
    if system.time != "discrete" or system.delay:
        raise InvalidArgumentError(
            f"a {system.time}-time system of delay {system.delay}; required: discrete time and "
            "delay 0, a layer's input acts at once; discretise it, or convert it with "
            "hydropress.systems.delay.with_delay"
        )
    system.require_stable()
    directions, channels = system.batch_shape[0], system.num_inputs
    if step is not None and tuple(step.shape) not in ((), (1,), (directions,)):
        raise InvalidArgumentError(
            f"step of shape {tuple(step.shape)}; required: ({directions},), one a direction"
        )
    if step is not None and not bool((step > 0).all()):
        raise InvalidArgumentError("step holds values that are not positive; required: > 0")
    if bias is not None and tuple(bias.shape) != (channels,):
        raise InvalidArgumentError(f"bias of shape {tuple(bias.shape)}; required: ({channels},)")
