"""What an experiment consists of: one run for each seed, method, order and budget."""

import hashlib
import json
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any, Literal, get_args

import torch

from hydropress.errors import InvalidArgumentError
from hydropress.models.classifier import SequenceClassifier
from hydropress.reduction.registry import get_method
from hydropress.training.config import TrainingConfig
from hydropress.training.recipes import Recipe

Recovery = Literal["finetune", "distill", "match"]

HIPPO, SCRATCH = "hippo", "scratch"
"""Rows that no reduction makes: SSMs drawn afresh, and the small network trained from nothing."""
CALIBRATED = "h2"
"""The method that weights its errors by calibration data; all others match means only."""
METHODS = (CALIBRATED, "balanced", "modal", "last", "aire", HIPPO)


@dataclass(frozen=True)
class SweepConfig:
    """An experiment.

    Attributes
    ----------
    recipe
        How originals are trained; its seed is replaced by 0, 1, ….
    methods
        Names of reduction methods, ``hippo`` and ``scratch``.
    orders
        States per channel, on average.
    seeds
        How many originals.
    budgets
        Shares of the original's steps that the recovery gets; each is a run of its own.  With
        ``scratch`` the training has the same share.
    recovery
        ``finetune`` on the labels, ``distill`` the original's decisions, or ``match`` its layers.
    calibration
        Sequences that every method may look at.
    rate
        Peak rates of the recovery, as a share of the original's.
    """

    recipe: Recipe
    methods: tuple[str, ...] = METHODS
    orders: tuple[int, ...] = (32, 16, 8, 4, 2)
    seeds: int = 3
    budgets: tuple[float, ...] = (0.1,)
    recovery: Recovery = "finetune"
    calibration: int = 256
    rate: float = 0.75

    def __post_init__(self) -> None:
        import_module("hydropress.reduction.reduce")  # which registers the methods
        for method in self.methods:
            if method not in (HIPPO, SCRATCH):
                get_method(method)
        for name in ("methods", "orders", "budgets"):
            entries = [str(entry) for entry in getattr(self, name)]
            if len(set(entries)) < len(entries):
                raise InvalidArgumentError(
                    f"{name} {', '.join(entries)}; required: each once; remove what is repeated"
                )
        largest = self.recipe.model.state_size
        for order in self.orders:
            if not 1 <= order <= largest:
                raise InvalidArgumentError(
                    f"order {order}; required: from 1 to {largest}, the recipe's state size"
                )
            if {HIPPO, SCRATCH} & {*self.methods}:
                with torch.device("meta"):  # raises where the layer has no such order
                    SequenceClassifier(replace(self.recipe.model, state_size=order))
        for budget in self.budgets:
            if not 0 < budget <= 1:
                raise InvalidArgumentError(
                    f"budget {budget}; required: a share of the training steps above 0, up to 1"
                )
        if self.seeds < 1 or not self.methods or not self.orders or not self.budgets:
            raise InvalidArgumentError(
                f"{self.seeds} seeds, {len(self.methods)} methods, {len(self.orders)} orders, "
                f"{len(self.budgets)} budgets; required: at least one of each"
            )
        if self.recovery not in get_args(Recovery):
            raise InvalidArgumentError(
                f"recovery={self.recovery!r}; required: one of {', '.join(get_args(Recovery))}"
            )

    def of_a_run(self) -> dict[str, Any]:
        """Return what determines the numbers of a run besides its key, ready for JSON.

        Settings of the recipe that change no number are those of a default one.
        """
        same = {name: getattr(TrainingConfig, name) for name in ("checkpoint_every", "workers")}
        recipe = replace(self.recipe, seed=0, training=replace(self.recipe.training, **same))
        return {
            "recipe": recipe.to_dict(),
            "recovery": self.recovery,
            "calibration": self.calibration,
            "rate": self.rate,
        }

    def digest(self) -> str:
        """Return a short fingerprint of :meth:`of_a_run`."""
        return digest_of(self.of_a_run())

    def runs(self) -> "Generator[Run]":
        """Return all runs, seed by seed, small budgets first."""
        for seed in range(self.seeds):
            for budget in sorted(self.budgets):
                for method in self.methods:
                    for order in sorted(self.orders, reverse=True):
                        yield Run(seed, method, order, budget)


def digest_of(config: dict[str, Any]) -> str:
    """Return a short fingerprint of what determines the numbers of a run."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Run:
    """One line of the results.

    Attributes
    ----------
    seed, method, order, budget
        See :class:`SweepConfig`.
    """

    seed: int
    method: str
    order: int
    budget: float

    @property
    def start(self) -> str:
        """Name of the model that is recovered, the same for all budgets."""
        return f"seed{self.seed}-{self.method}-order{self.order}"

    @property
    def name(self) -> str:
        """Name of the run's files."""
        return f"{self.start}-budget{self.budget:.15g}"

    def to_dict(self) -> dict[str, Any]:
        """Return the key, ready for JSON."""
        return asdict(self)
