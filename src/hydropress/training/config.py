"""How a classifier is trained, and how a compressed one recovers."""

import math
from dataclasses import dataclass, replace
from typing import Any

from hydropress.errors import InvalidArgumentError


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes
    ----------
    epochs, batch_size
        Passes over the data, sequences per update.
    micro_batch
        Sequences of a process per forward and backward pass; gradients accumulate over a batch.
        Batch normalisation takes its statistics from one pass (on several GPUs from that of all),
        so with it this number, and that of the processes, changes the result.
    learning_rate, ssm_learning_rate
        Peak rates of AdamW, the second for step, decay and frequency of the SSMs.
    weight_decay
        Decoupled; not applied to the SSMs' dynamics.
    warmup
        Share of the steps in which the rates rise; they then fall as a cosine to zero.
    seed
        Determines order of the data and dropout; initial weights are the caller's.
    max_steps
        Stop the schedule there, whatever ``epochs`` says.
    checkpoint_every
        Steps between checkpoints.
    pool
        Batches that are put together by length out of a random pool of so many, so that there is
        less padding; 1: at random.
    patience
        Epochs without a better validation accuracy after which training ends; the weights of the
        best epoch are then kept.  None: the whole schedule, and the last weights.
    workers
        Processes that prepare batches ahead of time; they change no number.
    """

    epochs: int = 8
    batch_size: int = 64
    micro_batch: int = 32
    learning_rate: float = 4e-3
    ssm_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.15
    seed: int = 0
    max_steps: int | None = None
    checkpoint_every: int = 200
    pool: int = 1
    patience: int | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        at_least_one = (
            "epochs",
            "batch_size",
            "micro_batch",
            "max_steps",
            "checkpoint_every",
            "pool",
            "patience",
        )
        for name in at_least_one:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidArgumentError(f"{name}={value}; required: at least 1")
        for name in ("learning_rate", "ssm_learning_rate", "weight_decay"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InvalidArgumentError(f"{name}={value}; required: a number from 0 up")
        if self.workers < 0:
            raise InvalidArgumentError(f"workers={self.workers}; required: from 0 up")
        if not 0 <= self.seed < 2**32:
            raise InvalidArgumentError(f"seed={self.seed}; required: from 0 to 2**32 - 1")
        if not 0 <= self.warmup <= 1:
            raise InvalidArgumentError(f"warmup={self.warmup}; required: a share from 0 to 1")

    def total_steps(self, num_samples: int) -> int:
        """Return the number of updates for a data set of that size."""
        steps = self.epochs * (num_samples // self.batch_size)
        return steps if self.max_steps is None else min(steps, self.max_steps)


@dataclass(frozen=True)
class RecoveryConfig(TrainingConfig):
    """How to train a compressed model back to its accuracy: one pass, half the rate.

    The same fields as :class:`TrainingConfig`, with other defaults.
    """

    epochs: int = 1
    learning_rate: float = 2e-3
    warmup: float = 0.1
    checkpoint_every: int = 50

    @classmethod
    def chosen(
        cls,
        num_samples: int,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
    ) -> "RecoveryConfig":
        """Return the defaults with what is given in their place; at most one of the lengths."""
        if epochs is not None and steps is not None:
            raise InvalidArgumentError(
                f"epochs={epochs}, steps={steps}; required: at most one of them; leave one out"
            )
        given: dict[str, Any] = {
            "epochs": epochs,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "seed": seed,
        }
        config = cls(**{name: value for name, value in given.items() if value is not None})
        return config if steps is None else config.for_steps(steps, num_samples)

    def for_steps(self, steps: int, num_samples: int) -> "RecoveryConfig":
        """Return the configuration whose schedule ends after that many updates."""
        epochs = math.ceil(steps / max(1, num_samples // self.batch_size))
        return replace(self, epochs=max(1, epochs), max_steps=steps)
