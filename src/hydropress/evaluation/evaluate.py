"""One model on labelled data, beside a reference."""

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from hydropress.data.sequences import LabelledSequences
from hydropress.evaluation.metrics import (
    Progress,
    accuracy,
    agreement,
    count_parameters,
    count_ssm_parameters,
    count_states,
    largest_order,
    predict,
)


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes
    ----------
    accuracy, standard_error
        Share of right decisions, and its standard error √(p (1 - p) / n).
    agreement
        Share of decisions equal to the reference's; None without a reference.
    reference_accuracy
        The reference's own share of right decisions.
    samples
        n.
    order, states
        Largest number of real SSM states of a channel, and their sum.
    ssm_parameters, total_parameters
        Trainable numbers.
    seconds
        Wall time of the model's own pass.
    """

    accuracy: float
    standard_error: float
    agreement: float | None
    reference_accuracy: float | None
    samples: int
    order: int
    states: int
    ssm_parameters: int
    total_parameters: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def evaluate(
    model: nn.Module,
    data: LabelledSequences,
    *,
    reference: nn.Module | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a classifier on labelled sequences.

    Parameters
    ----------
    model
        The classifier.
    data
        n sequences with labels.
    reference
        Another classifier, usually the original, whose decisions are compared.
    progress
        Called as progress(done, total), over both models.
    """
    passes = 1 if reference is None else 2

    def shifted(offset: int) -> Progress | None:
        if progress is None:
            return None
        report = progress
        return lambda done, total: report(offset + done, passes * total)

    clock = time.monotonic()
    decisions = predict(model, data, progress=shifted(0))
    seconds = time.monotonic() - clock
    common, reference_accuracy = None, None
    if reference is not None:
        others: Tensor = predict(reference, data, progress=shifted(len(data)))
        common = agreement(decisions, others)
        reference_accuracy = accuracy(others, data.labels)
    share = accuracy(decisions, data.labels)
    return Evaluation(
        accuracy=share,
        standard_error=math.sqrt(share * (1 - share) / len(data)),
        agreement=common,
        reference_accuracy=reference_accuracy,
        samples=len(data),
        order=largest_order(model),
        states=count_states(model),
        ssm_parameters=count_ssm_parameters(model),
        total_parameters=count_parameters(model),
        seconds=seconds,
    )
