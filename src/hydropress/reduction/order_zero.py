"""The reduction to no state at all."""

from dataclasses import replace
from typing import cast

import torch

from hydropress.reduction.free_feedthrough import with_best_feedthrough
from hydropress.reduction.iterate import empty_iterate
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome
from hydropress.systems.modal import MIMOSystem, SISOSystem


def without_states(problem: Problem[S]) -> Outcome[S]:
    """Return the full systems' feedthroughs, refitted if they are free, and no modes."""
    full = problem.full
    if isinstance(full, SISOSystem):
        empty = empty_iterate(len(full.D), full.D.device).to_system(full.D, full.time)
        return Outcome.direct(with_best_feedthrough(problem, cast(S, empty)))
    assert isinstance(full, MIMOSystem)
    none = replace(
        full,
        exponents=torch.full_like(full.exponents[:, :1], -1),
        B=torch.zeros_like(full.B[:, :1]),
        C=torch.zeros_like(full.C[..., :1]),
        states=torch.zeros_like(full.states[:, :1]),
    )
    return Outcome.direct(with_best_feedthrough(problem, cast(S, none)))
