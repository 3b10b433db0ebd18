"""Balanced truncation (BT)."""

from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome


def balanced_method(problem: Problem[S]) -> list[Outcome[S]]:
    """Truncate balanced coordinates; a spectral weight does not enter.

    On a finite horizon the Gramians are those of the samples (or time) that count: time-limited BT,
    in which a pole that comes out unstable is mirrored.  Where the feedthrough is free, the states
    that truncation drops are taken at rest instead: singular perturbation, which keeps the gain at
    zero frequency.

    References
    ----------
    [moore1981]; [antoulas2005], section 7.3; for deep SSMs [ezoe2024bt]; time-limited
    [gawronski1990]; singular perturbation [liu1989].
    """
    return [Outcome.direct(problem.balanced(order)) for order in problem.orders]
