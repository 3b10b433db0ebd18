"""The layer with a diagonal D and the present sample in both directions nearest to a system."""

import torch
from torch import Tensor

from hydropress.models.adapters.complex_states import ComplexStates

_NOTHING = 1e-12
"""Share of D's size below which what is off its diagonal is rounding."""

_RIDGE = 1e-13
"""Times the largest diagonal entry, added to the normal equations."""


def nearest_backward(states: ComplexStates, ahead: Tensor, D: Tensor) -> tuple[Tensor, Tensor]:
    """Return C of a backward direction that counts the present sample, and a diagonal D beside it.

    Wanted are a full D for the present sample and Re(C₊ a^j B) for what lies 1 + j samples ahead.
    A layer has diag(d) + Re(C B) and Re(C a^{1+j} B): C = C₊/a leaves a matrix that need not be
    diagonal.  Of all C and d those nearest in the H² norm are returned, which is exact where they
    can be, as for any layer of that kind read and written back.

    Parameters
    ----------
    states
        N states with poles and B.
    ahead
        C₊, complex, shape ``(P, N)``.
    D
        Shape ``(P, M)``, P = M.

    Returns
    -------
    C, d
        Shapes ``(P, N)``, complex128, and ``(P,)``.

    Notes
    -----
    With C = C₊/a + Δ, row h minimises ‖e - z V₀‖² + z W zᵀ over z = (Re Δ_h, Im Δ_h), e row h of
    the matrix left without its entry h: V_t = (Re a^t B; -Im a^t B), W = Σ_{t ≥ 1} V_t V_tᵀ.
    """
    backward = ahead / states.poles
    left = D - (backward @ states.B).real
    diagonal = torch.diagonal(left).clone()
    off = left - torch.diag(diagonal)
    if bool(off.abs().max() <= _NOTHING * (D.abs().max() + left.abs().max())):
        return backward, diagonal
    first = torch.cat([states.B.real, -states.B.imag])
    whole = _energies(states) + first @ first.T
    whole.diagonal().add_(_RIDGE * whole.diagonal().max())
    corrections: list[Tensor] = []
    for row, error in enumerate(off):
        column = first[:, row]
        matrix = whole - torch.outer(column, column)
        corrections.append(torch.linalg.solve(matrix, first @ error))
    z = torch.stack(corrections)
    diagonal = diagonal - (z * first.T).sum(-1)
    real, imaginary = z.chunk(2, -1)
    return backward + torch.complex(real, imaginary), diagonal


def _energies(states: ComplexStates) -> Tensor:
    """Return W, shape ``(2N, 2N)``."""
    exponents, B = states.exponents, states.B * states.poles[:, None]
    straight = B @ B.mH / -torch.expm1(exponents[:, None] + exponents.conj())
    plain = B @ B.mT / -torch.expm1(exponents[:, None] + exponents)
    # Re x Re y = Re(x ȳ + x y)/2, and so on, of x = a_i^t b_i and y = a_j^t b_j.
    top = torch.cat([(straight + plain).real, (straight - plain).imag], -1)
    bottom = torch.cat([-(straight + plain).imag, (straight - plain).real], -1)
    return torch.cat([top, bottom]) / 2
