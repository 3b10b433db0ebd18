"""Modal truncation: keep the dominant modes with their residues."""

from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome
from hydropress.reduction.scores import mode_energies
from hydropress.reduction.truncation import truncate_to_orders


def modal_method(problem: Problem[S]) -> list[Outcome[S]]:
    """Keep the modes of largest energy as long as they fit; a weight does not enter.

    The energy of a mode is m ‖R‖² φ_0(2 Re s), R = ρ or c bᵀ, over the horizon of the problem.

    References
    ----------
    [antoulas2005], section 9.2.
    """
    return truncate_to_orders(problem, mode_energies(problem.full, horizon=problem.horizon))
