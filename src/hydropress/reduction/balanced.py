"""Balanced truncation (BT)."""

from hydropress.reduction.balancing import Balancing
from hydropress.reduction.problem import Problem
from hydropress.reduction.result import Outcome


def balanced_method(problem: Problem) -> list[Outcome]:
    """Truncate balanced coordinates; weight and horizon do not enter.

    References
    ----------
    [moore1981]; [antoulas2005], section 7.3; for deep SSMs [ezoe2024bt].
    """
    balancing = Balancing.of(problem.full) if problem.balancing is None else problem.balancing
    return [Outcome.direct(balancing.truncate(order)) for order in problem.orders]
