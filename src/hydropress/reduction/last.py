"""Layer-adaptive state pruning (LAST): keep the states of the highest peak gain [gwak2024last].

The formulas are those of the authors' public code, whose README says that its scores are the final
score equation of the paper; the paper itself could not be read for this.  They score a complex
state x_i by the squared H∞ norm of its one-state subsystem,

    g_i² = (‖c_i‖ ‖b_i‖ / (1 - |a_i|))²,

and divides it by the sum of the scores of its layer from the highest down to its own, so that one
threshold prunes a whole model (:mod:`~hydropress.reduction.layer_adaptive`, which
``compress(method="last", allocation="global")`` follows).  Within one system that division changes
no ranking, and the method here is g_i² alone.

Where this differs:

- Every stored entry is a subsystem, as in the code, but a conjugate pair takes two states of the
  order and a real pole one.  The pair's own real system has a peak of at most 2 g_i.
- The code adds 10⁻⁸ to the denominator; here 1 - |a| is formed from the exponent and is exact.
- Bidirectional layers (one set of poles, two output maps) take the mean of the two norms ‖c_i‖,
  squared.  In the code's expression of it the square falls on the divisor 2 instead.  ``reduce``
  takes systems, not layers, and cannot tell two directions stacked in C from plain outputs: there
  ‖c_i‖² = ‖c_forward‖² + ‖c_backward‖², from two times (equal norms) to four times (one of them
  zero) the square of the mean.  That ranks states otherwise only if the directions differ between
  them.  For the layer's own rule, register ``functools.partial(last_method, directions=2)``.
- Continuous-time systems, which the code discretises first, are scored by the H∞ norm of the
  continuous subsystem, ‖c_i‖ ‖b_i‖ / -Re λ_i.
- The H∞ norm of a finite horizon has no closed form: the horizon is ignored.  So is a weight.
"""

import torch
from torch import Tensor

from hydropress.errors import UnstableSystemError
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome
from hydropress.reduction.scores import residue_norms
from hydropress.reduction.truncation import truncate_to_orders
from hydropress.systems.modal import ModalSystem


def last_scores(system: ModalSystem, *, directions: int = 1) -> Tensor:
    """Return the squared H∞ norm of every entry's one-state subsystem.

    Parameters
    ----------
    system
        Bank of any batch shape ``(...)``.
    directions
        Number of output maps stacked in C: 2 for a bidirectional layer, 1 for any other.

    Returns
    -------
    Tensor
        float64, shape ``(..., n)``; 0 of an empty entry.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay: its peak is infinite, whatever the horizon.
    InvalidArgumentError
        If the outputs cannot be divided among the directions.
    """
    decay = system.decay
    if not bool((decay > 0).all()):
        worst = system.poles.flatten()[decay.argmin()].item()
        raise UnstableSystemError(
            f"{system.time}-time pole {worst:.9g} does not decay; required for an H∞ norm: every "
            "pole inside the stability region, on a finite horizon too; use another method"
        )
    distance = -torch.expm1(-decay) if system.time == "discrete" else decay
    return (residue_norms(system, directions=directions) / distance) ** 2


def last_method(problem: Problem[S], *, directions: int = 1) -> list[Outcome[S]]:
    """Keep the states of the highest :func:`last_scores`; horizon and weight do not enter."""
    return truncate_to_orders(problem, last_scores(problem.full, directions=directions))
