"""Balanced truncation (BT), and singular perturbation in the same coordinates."""

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.free_feedthrough import with_best_feedthrough
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome


def balanced_system(problem: Problem[S], order: int) -> S:
    """Return BT's systems of an order, with the best D for them if D is free."""
    return with_best_feedthrough(problem, problem.balancing.truncate(order))


def balanced_method(problem: Problem[S]) -> list[Outcome[S]]:
    """Truncate balanced coordinates; a spectral weight does not enter.

    On a finite horizon the Gramians are those of the samples (or time) that count: time-limited BT,
    in which a pole that comes out unstable is mirrored.  Where the feedthrough is free, poles and
    residues stay and D is the best for them in the problem's metric.

    References
    ----------
    [moore1981]; [antoulas2005], section 7.3; for deep SSMs [ezoe2024bt]; time-limited
    [gawronski1990].
    """
    return [Outcome.direct(balanced_system(problem, order)) for order in problem.orders]


def singular_perturbation_method(problem: Problem[S]) -> list[Outcome[S]]:
    """Take the states that BT drops at rest: the gain at zero frequency is kept, and D changes.

    D is the method's own, whether the problem fixes it or not, so that in discrete time the error
    has a part in the first sample, and in continuous time it is infinite (the error of the kernels
    alone is :func:`~hydropress.systems.norms.h2_error`).  In the H² norm it can be far worse than
    BT.  A spectral weight does not enter; order 0 is the feedthrough alone, as of every method.

    Raises
    ------
    InvalidArgumentError
        On a finite horizon: time-limited balancing leaves no stable states to be taken at rest.

    References
    ----------
    [liu1989]
    """
    if problem.horizon is not None:
        raise InvalidArgumentError(
            f"singular-perturbation with horizon={problem.horizon}; required: an infinite horizon, "
            "over which what is dropped comes to rest; use balanced instead"
        )
    return [Outcome.direct(problem.balancing.residualize(order)) for order in problem.orders]
