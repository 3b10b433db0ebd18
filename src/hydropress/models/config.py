"""What determines a classifier's architecture, and the linear SSM layers that it names."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from hydropress.errors import InvalidArgumentError
from hydropress.models.dss import DSS
from hydropress.models.layer import LinearSSM
from hydropress.models.lru import LRU
from hydropress.models.s4d import S4D, Discretization, Initialization
from hydropress.models.s5 import S5

LayerKind = Literal["s4d", "dss", "s5", "lru"]


@dataclass(frozen=True)
class ClassifierConfig:
    """Everything that determines a classifier's architecture.

    Attributes
    ----------
    num_inputs, num_classes
        Size of one sample of the sequence and of the output.
    num_tokens
        If not 0, sequences are of tokens from 0 (padding) to ``num_tokens - 1``, which are
        embedded, instead of samples.
    pairs
        Whether two sequences are classified together: the decoder is given both features, their
        product and their difference.
    channels
        H, the width of every block.
    num_layers
        Number of blocks.
    layer
        Kind of the linear SSMs: :class:`~hydropress.models.s4d.S4D`,
        :class:`~hydropress.models.dss.DSS`, :class:`~hydropress.models.s5.S5` or
        :class:`~hydropress.models.lru.LRU`.
    state_size
        Real states: per channel of S4D and DSS, of a whole layer of S5 and LRU.
    initialization
        Of the poles of S4D and DSS; S5 and LRU have their own.
    discretization
        Of S4D and S5; DSS has zero-order hold only, LRU has none.
    step_range
        Smallest and largest initial step, except for LRU.
    softmax_length
        Samples over which DSS normalises (the softmax variant); 0: not at all (exp).
    state_blocks
        Blocks of the initial state matrix of S5.
    ring, max_phase
        Smallest and largest modulus, and largest phase, of the initial poles of LRU.
    norm
        ``pre`` normalises the input of each block, ``post`` the output of each residual sum.
    normalization
        ``layer``: over the channels of each sample.  ``batch``: over all samples of a batch, with
        the padding.
    pooling
        ``mean`` over time, or the ``last`` step.
    dropout
        Share of (sequence, channel) lines that are dropped in a block's branch.
    """

    num_inputs: int = 1
    num_classes: int = 10
    num_tokens: int = 0
    pairs: bool = False
    channels: int = 64
    num_layers: int = 4
    state_size: int = 64
    initialization: Initialization = "lin"
    discretization: Discretization = "zoh"
    bidirectional: bool = False
    step_range: tuple[float, float] = (1e-3, 1e-1)
    norm: Literal["pre", "post"] = "pre"
    normalization: Literal["layer", "batch"] = "layer"
    pooling: Literal["mean", "last"] = "mean"
    dropout: float = 0.1
    layer: LayerKind = "s4d"
    softmax_length: int = 0
    state_blocks: int = 1
    ring: tuple[float, float] = (0.0, 1.0)
    max_phase: float = 2 * math.pi

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON.

        Those that S4D does not have are left out of its, unless they were set: what was written
        before there were other layers is still the same.
        """
        entries = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        if self.layer != "s4d":
            return entries
        without = asdict(ClassifierConfig())
        return {
            name: value
            for name, value in entries.items()
            if name not in OF_OTHER_LAYERS or getattr(self, name) != without[name]
        }


OF_OTHER_LAYERS = ("layer", "softmax_length", "state_blocks", "ring", "max_phase")
"""Fields that a description may lack; they have their defaults then."""


def build_layer(config: ClassifierConfig) -> LinearSSM:
    """Return a new layer of the kind that a configuration names."""
    if config.layer in ("dss", "lru") and config.discretization != "zoh":
        raise InvalidArgumentError(
            f"discretization={config.discretization!r} with layer={config.layer!r}; required: "
            "'zoh', the only one it has; choose 's4d' or 's5' for others"
        )
    match config.layer:
        case "s4d":
            return S4D(
                config.channels,
                config.state_size,
                initialization=config.initialization,
                discretization=config.discretization,
                bidirectional=config.bidirectional,
                step_range=config.step_range,
            )
        case "dss":
            return DSS(
                config.channels,
                config.state_size,
                softmax_length=config.softmax_length,
                initialization=config.initialization,
                bidirectional=config.bidirectional,
                step_range=config.step_range,
            )
        case "s5":
            return S5(
                config.channels,
                config.state_size,
                blocks=config.state_blocks,
                discretization=config.discretization,
                bidirectional=config.bidirectional,
                step_range=config.step_range,
            )
        case "lru":
            return LRU(
                config.channels,
                config.state_size,
                ring=config.ring,
                max_phase=config.max_phase,
                bidirectional=config.bidirectional,
            )
        case _:  # pyright: ignore[reportUnnecessaryComparison]
            raise InvalidArgumentError(
                f"layer={config.layer!r}; required: one of {', '.join(get_args(LayerKind))}"
            )


_BY_KIND: dict[str, tuple[type[LinearSSM], tuple[str, ...]]] = {
    "s4d": (S4D, ("discretization",)),
    "dss": (DSS, ("softmax_length",)),
    "s5": (S5, ("discretization",)),
    "lru": (LRU, ()),
}
"""Class of each kind, and what of it no parameter shows."""


def is_described(layer: object, config: ClassifierConfig) -> bool:
    """Return whether a layer is of the kind that a configuration names, sizes apart."""
    kind, names = _BY_KIND[config.layer]
    return type(layer) is kind and all(
        getattr(layer, name) == getattr(config, name) for name in names
    )
