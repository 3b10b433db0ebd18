"""The reduction to no state at all."""

from dataclasses import replace
from typing import cast

import torch

from hydropress.reduction.iterate import empty_iterate
from hydropress.reduction.metric import tangential_objective
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome
from hydropress.systems.modal import MIMOSystem, SISOSystem


def without_states(problem: Problem[S]) -> Outcome[S]:
    """Return the full systems' feedthroughs, refitted if they are free, and no modes."""
    full = problem.full
    if isinstance(full, SISOSystem):
        empty = empty_iterate(len(full.D), full.D.device)
        D = full.D
        if problem.fits_feedthrough:
            evaluation = problem.objective.evaluate(empty)
            D = D + evaluation.D_moment / evaluation.D_gram
        return cast(Outcome[S], Outcome.direct(empty.to_system(D, full.time)))
    assert isinstance(full, MIMOSystem)
    D = full.D
    if problem.fits_feedthrough:
        fits = [
            tangential_objective(problem, row).fit(full.exponents[row, :0], full.B[row, :0])
            for row in range(len(D))
        ]
        D = D + torch.stack([fit.C.real for fit in fits])
    none = replace(
        full,
        exponents=torch.full_like(full.exponents[:, :1], -1),
        B=torch.zeros_like(full.B[:, :1]),
        C=torch.zeros_like(full.C[..., :1]),
        states=torch.zeros_like(full.states[:, :1]),
        D=D,
    )
    return cast(Outcome[S], Outcome.direct(none))
