"""A sequence classifier around linear SSM layers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hydropress.errors import InvalidArgumentError
from hydropress.models.config import ClassifierConfig, build_layer
from hydropress.models.hub import HubModel
from hydropress.models.layer import LinearSSM, StepCoefficients, require_positive_integer


class _Standardize(torch.autograd.Function):
    """Zero mean and unit variance over the channels; one saved tensor, few passes over memory."""

    @staticmethod
    def forward(ctx, signal: Tensor, epsilon: float) -> Tensor:  # type: ignore[override]
        centred = signal - signal.mean(-2, keepdim=True)
        variance = torch.linalg.vecdot(centred, centred, dim=-2)[..., None, :] / signal.shape[-2]
        scale = torch.rsqrt(variance + epsilon)
        standardized = centred.mul_(scale)
        ctx.save_for_backward(standardized, scale)
        return standardized

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor):  # type: ignore[override]
        (gradient,) = gradients
        standardized, scale = ctx.saved_tensors
        projection = torch.linalg.vecdot(gradient, standardized, dim=-2)[..., None, :]
        result = gradient - gradient.mean(-2, keepdim=True)
        result.addcmul_(standardized, projection, value=-1 / gradient.shape[-2])
        return result.mul_(scale), None


_standardize: Callable[[Tensor, float], Tensor] = _Standardize.apply  # type: ignore[assignment]


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of ``(..., H, L)``."""

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, signal: Tensor) -> Tensor:
        standardized = _standardize(signal, self.epsilon)
        return torch.addcmul(self.bias[:, None], standardized, self.weight[:, None])


def _normalization(config: ClassifierConfig) -> nn.Module:
    if config.normalization == "batch":
        return nn.BatchNorm1d(config.channels)
    return ChannelNorm(config.channels)


class ChannelMix(nn.Module):
    """Position-wise affine map to 2H channels followed by a gated linear unit."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 2 * channels)

    def forward(self, signal: Tensor) -> Tensor:
        batch = signal.shape[0]
        # A batched product keeps the channels-first layout; broadcasting `@` would copy it twice.
        weight = self.linear.weight.expand(batch, -1, -1)
        mixed = torch.baddbmm(self.linear.bias[:, None].expand(batch, -1, 1), weight, signal)
        return nn.functional.glu(mixed, dim=-2)


class SSMBlock(nn.Module):
    """Residual block: SSM, GELU, channel mixing; normalised before or after."""

    def __init__(self, ssm: LinearSSM, config: ClassifierConfig) -> None:
        super().__init__()
        self.prenorm = config.norm == "pre"
        self.norm = _normalization(config)
        self.ssm = ssm
        self.mix = ChannelMix(ssm.channels)
        # Dropping whole lines in time keeps the random numbers few and the SSM's input smooth.
        self.dropout = nn.Dropout1d(config.dropout)

    def _around(
        self, signal: Tensor, apply_ssm: Callable[[Tensor], Tensor], mask: Tensor | None = None
    ) -> Tensor:
        branch = self.norm(signal) if self.prenorm else signal
        branch = apply_ssm(branch if mask is None else branch * mask)
        branch = self.dropout(self.mix(nn.functional.gelu(branch)))
        return signal + branch if self.prenorm else self.norm(signal + branch)

    def forward(self, signal: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the block to whole sequences, shape ``(B, H, L)`` in and out.

        Parameters
        ----------
        mask
            1 where a sequence lasts and 0 after its end, shape ``(B, 1, L)``: the SSM, which may
            read backwards, is given zeros there.
        """
        return self._around(signal, self.ssm, mask)

    def step(
        self, sample: Tensor, state: Tensor, recurrence: StepCoefficients | None = None
    ) -> tuple[Tensor, Tensor]:
        """Advance by one sample, shape ``(B, H)``, with the state of the SSM in and out."""
        new_state = state

        def apply_ssm(column: Tensor) -> Tensor:
            nonlocal new_state
            output, new_state = self.ssm.step(column[..., 0], state, recurrence)
            return output[..., None]

        return self._around(sample[..., None], apply_ssm)[..., 0], new_state


@dataclass(frozen=True)
class StreamState:
    """What a classifier remembers between two samples of a stream.

    Attributes
    ----------
    blocks
        State of each block's SSM, shape ``(B, states)``.
    mean
        Mean over time of what the decoder is given, shape ``(B, H)``; zero with ``last`` pooling.
    count
        Number of samples seen.
    """

    blocks: tuple[Tensor, ...]
    mean: Tensor
    count: int


class SequenceClassifier(nn.Module, HubModel):
    """Encoder, residual SSM blocks, pooling over time, decoder.

    Parameters
    ----------
    config
        The architecture; kept as ``self.config``.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        for name in ("num_inputs", "num_classes", "channels", "num_layers"):
            require_positive_integer(name, getattr(config, name))
        if not 0 <= config.dropout < 1:
            raise InvalidArgumentError(
                f"dropout={config.dropout!r}; required: a share from 0 to less than 1"
            )
        if config.num_tokens != 0:
            require_positive_integer("num_tokens", config.num_tokens)
        for name, value, choices in (
            ("norm", config.norm, ("pre", "post")),
            ("normalization", config.normalization, ("layer", "batch")),
            ("pooling", config.pooling, ("mean", "last")),
        ):
            if value not in choices:
                raise InvalidArgumentError(
                    f"{name}={value!r}; required: one of {', '.join(choices)}"
                )
        self.config = config
        self.encoder = (
            nn.Embedding(config.num_tokens, config.channels)
            if config.num_tokens
            else nn.Linear(config.num_inputs, config.channels)
        )
        self.blocks = nn.ModuleList(
            SSMBlock(build_layer(config), config) for _ in range(config.num_layers)
        )
        self.norm = _normalization(config) if config.norm == "pre" else nn.Identity()
        features = 4 * config.channels if config.pairs else config.channels
        self.decoder = nn.Linear(features, config.num_classes)

    def forward(self, sequences: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the logits.

        Parameters
        ----------
        sequences
            Samples, shape ``(B, L, num_inputs)``; or tokens, int64, ``(B, L)``; with ``pairs`` one
            more axis of two after the first.
        lengths
            How much of each sequence counts, int64, ``(B,)`` or ``(B, 2)``; all of it if not given.

        Returns
        -------
        Tensor
            Shape ``(B, num_classes)``.
        """
        self._check(sequences, lengths)
        if not self.config.pairs:
            return self.decoder(self.features(sequences, lengths))
        flat = None if lengths is None else lengths.flatten()
        both = self.features(sequences.flatten(0, 1), flat).unflatten(0, (-1, 2))
        first, second = both.unbind(1)
        return self.decoder(torch.cat([first, second, first * second, first - second], -1))

    def features(self, sequences: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the decoder is given of each sequence, shape ``(B, H)``."""
        signal = self.encoder(sequences).mT.contiguous()
        mask = None
        if lengths is not None:
            place = torch.arange(signal.shape[-1], device=signal.device)
            mask = (place < lengths[:, None]).to(signal.dtype)[:, None]
        for block in self.blocks:
            signal = block(signal, mask)
        if self.config.pooling == "mean":
            normed = self.norm(signal)
            if mask is None or lengths is None:
                return normed.mean(-1)
            return (normed * mask).sum(-1) / lengths[:, None]
        if lengths is None:
            return self.norm(signal[..., -1:])[..., 0]
        last = (lengths - 1)[:, None, None].expand(-1, signal.shape[1], 1)
        return self.norm(signal.gather(-1, last))[..., 0]

    def _check(self, sequences: Tensor, lengths: Tensor | None) -> None:
        """Raise unless the input has the shape that the configuration asks for."""
        config, shape = self.config, tuple(sequences.shape)
        ahead = "batch, 2, length" if config.pairs else "batch, length"
        required = f"({ahead})" if config.num_tokens else f"({ahead}, {config.num_inputs})"
        axes = 2 + config.pairs + (not config.num_tokens)
        valid = len(shape) == axes and 0 not in shape
        valid = valid and (not config.pairs or shape[1] == 2)
        valid = valid and (config.num_tokens > 0 or shape[-1] == config.num_inputs)
        if not valid or sequences.is_floating_point() == (config.num_tokens > 0):
            kind = "integer tokens" if config.num_tokens else "samples"
            raise InvalidArgumentError(
                f"input of shape {shape}, {sequences.dtype}; required: {kind} of shape {required}, "
                "none of them 0; add or move axes to match"
            )
        if lengths is not None and tuple(lengths.shape) != shape[: 1 + config.pairs]:
            raise InvalidArgumentError(
                f"lengths of shape {tuple(lengths.shape)}; required: {shape[: 1 + config.pairs]}, "
                "one for each sequence"
            )

    def recurrences(self) -> tuple[StepCoefficients, ...]:
        """Return every block's step coefficients, computed once for many a :meth:`step`."""
        return tuple(block.ssm.recurrence() for block in self._causal_blocks())

    def initial_state(self, batch: int) -> StreamState:
        """Return the state before the first sample of ``batch`` streams.

        Raises
        ------
        InvalidArgumentError
            If a block is bidirectional, here and in :meth:`recurrences` and :meth:`step`.
        """
        return StreamState(
            tuple(block.ssm.initial_state(batch) for block in self._causal_blocks()),
            self.decoder.weight.new_zeros(batch, self.config.channels),
            0,
        )

    def step(
        self,
        sample: Tensor,
        state: StreamState,
        recurrences: Sequence[StepCoefficients] | None = None,
    ) -> tuple[Tensor, StreamState]:
        """Advance by one sample; the logits are those of :meth:`forward` on all samples so far.

        Parameters
        ----------
        sample
            Shape ``(B, num_inputs)``; of tokens ``(B,)``.
        state
            From :meth:`initial_state` or the step before; it is not changed.
        recurrences
            From :meth:`recurrences`, which spares each step the exponentials.

        Returns
        -------
        logits, state
            Shape ``(B, num_classes)``, and the state after the sample.
        """
        required = (len(state.mean), self.config.num_inputs)
        if self.config.num_tokens:
            required = required[:1]
        if tuple(sample.shape) != required:
            raise InvalidArgumentError(
                f"sample of shape {tuple(sample.shape)}; required: {required}, (batch, inputs) "
                "with the state's batch size, or (batch,) tokens; pass one time step of every "
                "stream"
            )
        if recurrences is None:
            recurrences = self.recurrences()
        column = self.encoder(sample)
        states: list[Tensor] = []
        for block, before, recurrence in zip(
            self._causal_blocks(), state.blocks, recurrences, strict=True
        ):
            column, after = block.step(column, before, recurrence)
            states.append(after)
        features, count = self.norm(column[..., None])[..., 0], state.count + 1
        if self.config.pooling == "last":
            return self.decoder(features), StreamState(tuple(states), state.mean, count)
        mean = state.mean + (features - state.mean) / count
        return self.decoder(mean), StreamState(tuple(states), mean, count)

    def _causal_blocks(self) -> list[SSMBlock]:
        if self.config.pairs:
            raise InvalidArgumentError(
                "a classifier of pairs; required: one of single sequences to run step by step; "
                "use forward() on whole sequences"
            )
        blocks = [block for block in self.blocks if isinstance(block, SSMBlock)]
        for block in blocks:
            block.ssm.require_causal()
        return blocks
