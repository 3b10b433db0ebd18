"""AIRE-Prune: keep the states of the largest impulse-response energy [padhy2026aire].

The paper itself could not be read for this: the formulas are those of the authors' public code, and
of the paper's public reviews, which quote its score, the prefix sums and the global threshold.
They score a complex state by the energy of its response to an impulse,

    E_i = Σ_t ‖c_i a_i^t b_iᵀ‖² = ‖c_i‖² ‖b_i‖² / (1 - |a_i|²),

and normalise within each layer as LAST does (:mod:`~hydropress.reduction.layer_adaptive`, which
``compress(method="aire", allocation="global")`` follows).  Within one system that changes no
ranking, and the method here is E_i alone.  It differs from modal truncation only where pairs and
real poles compete: there the energy of a pair is that of both its states, 2 E_i.

Where this differs:

- A conjugate pair has the score of one of its states and takes two states of the order.
- The code adds 10⁻⁸ to the denominator; here 1 - |a|² is formed from the exponent and is exact.
- Of a bidirectional layer, with outputs [C_forward; C_backward], the energies of the two
  directions add, as of any outputs.  The code has LAST's expression, mistake included; a line of
  it that is commented out has ½ (‖c_forward‖² + ‖c_backward‖²) ‖b‖² / (1 - |a|²), half our sum for
  every state of the layer: the same ranking and the same normalised score.
- Continuous time is scored by ‖c_i‖² ‖b_i‖² / (-2 Re λ_i), the integral in place of the sum.
- On a finite horizon the sum ends with it.  A weight does not enter.
"""

from torch import Tensor

from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome
from hydropress.reduction.scores import state_energies
from hydropress.reduction.truncation import truncate_to_orders
from hydropress.systems.modal import ModalSystem


def aire_scores(system: ModalSystem, *, horizon: float | None = None) -> Tensor:
    """Return E_i, the impulse-response energy of every entry's one-state subsystem.

    Parameters, result and errors are those of
    :func:`~hydropress.reduction.scores.state_energies`, which it is.
    """
    return state_energies(system, horizon=horizon)


def aire_method(problem: Problem[S]) -> list[Outcome[S]]:
    """Keep the states of the highest :func:`aire_scores`; a weight does not enter."""
    return truncate_to_orders(problem, aire_scores(problem.full, horizon=problem.horizon))
