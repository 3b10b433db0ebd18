"""What training minimises: the labels' cross-entropy, or how far a model is from its original."""

import copy
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hydropress.data.sequences import Batch
from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import LinearSSM
from hydropress.training.run_folder import fingerprint


class Objective(Protocol):
    """A loss, summed over the sequences of a batch.

    What of it determines a run, besides its name, it returns from a method ``settings()``, if it
    has one, ready for JSON.
    """

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum, of shape ``()``."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """The cross-entropy of the labels."""

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum over the sequences."""
        return nn.functional.cross_entropy(model(*batch.arguments), batch.labels, reduction="sum")


def _frozen(teacher: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode, without gradients; the teacher stays as it is."""
    return copy.deepcopy(teacher).eval().requires_grad_(False)


def describe(objective: Objective) -> str | dict[str, Any]:
    """Return an objective's name, or its name and settings, for the description of a run."""
    name, settings = type(objective).__name__, getattr(objective, "settings", None)
    return name if settings is None else {"name": name, **settings()}


def _decide(teacher: nn.Module, batch: Batch) -> Tensor:
    """Return a frozen teacher's logits; it goes where the batch is, as the model has."""
    with torch.no_grad():
        return teacher.to(batch.labels.device)(*batch.arguments)


class Distillation:
    """Cross-entropy of the labels and of the original's softened decisions, mixed.

    (1 - w) CE(labels) + w T² KL(softmax(z/T) ‖ softmax(z_r/T)), z the original's logits.

    Parameters
    ----------
    teacher
        The original, which is copied; the copy is in evaluation mode and gets no gradients.
    temperature, weight
        T > 0, and w from 0 to 1.

    References
    ----------
    [hinton2015distillation]
    """

    def __init__(
        self, teacher: nn.Module, *, temperature: float = 2.0, weight: float = 0.5
    ) -> None:
        if not temperature > 0 or not 0 <= weight <= 1:
            raise InvalidArgumentError(
                f"temperature={temperature}, weight={weight}; required: above 0, and from 0 to 1"
            )
        self.teacher = _frozen(teacher)
        self.temperature, self.weight = temperature, weight

    def settings(self) -> dict[str, Any]:
        """Return what determines a run, with a fingerprint of the original."""
        teacher = fingerprint(self.teacher.state_dict().values())
        return {"teacher": teacher, "temperature": self.temperature, "weight": self.weight}

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum over the sequences."""
        logits = model(*batch.arguments)
        wanted = _decide(self.teacher, batch)
        labelled = nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
        softened = nn.functional.kl_div(
            nn.functional.log_softmax(logits / self.temperature, -1),
            nn.functional.log_softmax(wanted / self.temperature, -1),
            reduction="sum",
            log_target=True,
        )
        return (1 - self.weight) * labelled + self.weight * self.temperature**2 * softened


class LayerMatching:
    """Cross-entropy of the labels and the relative errors of the layers' outputs.

    CE(labels) + w Σ_layers ‖y - y_r‖² / ‖y‖² per sequence: y is what an SSM layer of the original
    returns while the sequence lasts and y_r what that of the model does, each in its own network.

    Parameters
    ----------
    teacher
        The original, with as many SSM layers as the model; it is copied.
    weight
        w.
    """

    def __init__(self, teacher: nn.Module, *, weight: float = 1.0) -> None:
        if not weight >= 0:
            raise InvalidArgumentError(f"weight={weight}; required: from 0 up")
        self.teacher, self.weight = _frozen(teacher), weight

    def settings(self) -> dict[str, Any]:
        """Return what determines a run, with a fingerprint of the original."""
        teacher = fingerprint(self.teacher.state_dict().values())
        return {"teacher": teacher, "weight": self.weight}

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum over the sequences."""
        with _outputs(self.teacher) as wanted:
            _decide(self.teacher, batch)
        with _outputs(model) as found:
            logits = model(*batch.arguments)
        if len(found) != len(wanted):
            raise InvalidArgumentError(
                f"a model of {len(found)} SSM layers beside an original of {len(wanted)}; "
                "required: as many"
            )
        total = nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
        for output, target in zip(found, wanted, strict=True):
            if batch.lengths is not None:
                mask = _lasts(batch.lengths, target)
                output, target = output * mask, target * mask
            size = target.square().mean((-2, -1)).clamp_min(1e-12)
            errors = (output - target).square().mean((-2, -1)) / size
            # Of pairs a row is one of two sequences.
            total = total + self.weight * errors.sum() * (len(batch) / len(errors))
        return total


def _lasts(lengths: Tensor, signal: Tensor) -> Tensor:
    """Return 1 where the sequences of a signal ``(rows, H, L)`` last, 0 after their ends."""
    place = torch.arange(signal.shape[-1], device=signal.device)
    return (place < lengths.reshape(-1, 1)).to(signal.dtype)[:, None]


@contextmanager
def _outputs(model: nn.Module) -> Generator[list[Tensor]]:
    """Collect what the SSM layers return while the block runs, in the order of the calls."""
    outputs: list[Tensor] = []

    def keep(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append(output)

    handles = [
        layer.register_forward_hook(keep)
        for layer in model.modules()
        if isinstance(layer, LinearSSM)
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
