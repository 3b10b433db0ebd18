"""H² inner products, norms and errors in closed form."""

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.gramians import all_modes, controllability_factor
from hydropress.systems.modal import ModalSystem
from hydropress.systems.moments import exponential_moments


def _same_time(first: ModalSystem, second: ModalSystem) -> None:
    if first.time != second.time:
        raise InvalidArgumentError(
            f"a {first.time}-time and a {second.time}-time system; required: the same time"
        )


def h2_inner_product(
    first: ModalSystem, second: ModalSystem, *, horizon: float | None = None
) -> Tensor:
    r"""Return ⟨k, l⟩ = Σ_t k[t] l[t] or ∫ k(t) l(t) dt, without D.

    Parameters
    ----------
    first, second
        Banks of broadcastable batch shapes.
    horizon
        Number of samples L or duration T; ``None`` for infinite.

    Returns
    -------
    Tensor
        float64, shape ``(...)``.  Differentiable in exponents and residues.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay and no horizon is given.
    """
    _same_time(first, second)
    if horizon is None:
        first.require_stable()
        second.require_stable()
    left = (first.residues * first.states)[..., :, None]
    right = (second.residues * second.states)[..., None, :]
    s, z = first.exponents[..., :, None], second.exponents[..., None, :]
    (same,) = exponential_moments(s + z, 1, time=first.time, horizon=horizon)
    (mixed,) = exponential_moments(s + z.conj(), 1, time=first.time, horizon=horizon)
    return (left * right * same + left * right.conj() * mixed).real.sum((-2, -1)) / 2


def _concatenate_difference(full: ModalSystem, reduced: ModalSystem) -> ModalSystem:
    """Return the system with kernel k - k_r."""
    batch = torch.broadcast_shapes(full.batch_shape, reduced.batch_shape)

    def join(first: Tensor, second: Tensor) -> Tensor:
        parts = [part.expand(*batch, part.shape[-1]) for part in (first, second)]
        return torch.cat(parts, dim=-1)

    return ModalSystem(
        join(full.exponents, reduced.exponents),
        join(full.residues, -reduced.residues),
        join(full.states, reduced.states),
        full.D - reduced.D,
        full.time,
    )


def h2_norm(system: ModalSystem, *, horizon: float | None = None) -> Tensor:
    r"""Return the H² norm √(Σ_t k[t]²) or √(∫ k(t)² dt), without D.

    Parameters
    ----------
    horizon
        Number of samples L or duration T; ``None`` for infinite.

    Returns
    -------
    Tensor
        float64, shape ``(...)``.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay and no horizon is given.

    Notes
    -----
    On the infinite horizon the norm is ‖L^T ρ‖ with the Cholesky factor of the Gramian
    (:func:`~hydropress.systems.gramians.controllability_factor`): a sum of squares, in which
    nothing is subtracted from anything larger than the kernel itself.  On a finite horizon in
    discrete time the kernel is sampled; in continuous time the closed form is used.
    """
    if horizon is None:
        system.require_stable()
        exponents, residues = all_modes(system)
        factor = controllability_factor(exponents, system.time)
        return torch.linalg.vector_norm(factor.mT @ residues[..., None], dim=(-2, -1))
    if system.time == "discrete":
        kernel = system.impulse_response(int(horizon))
        return torch.linalg.vector_norm(kernel, dim=-1)
    return torch.sqrt(h2_inner_product(system, system, horizon=horizon).clamp_min(0))


def h2_error(full: ModalSystem, reduced: ModalSystem, *, horizon: float | None = None) -> Tensor:
    """Return ‖k - k_r‖, the norm of the difference system; arguments as in :func:`h2_norm`.

    Notes
    -----
    Right to about 16 - log10(‖k‖ / error) digits: eight at a relative error of 10⁻⁸.  The obvious
    ‖k‖² - 2⟨k, k_r⟩ + ‖k_r‖² has none left there.
    """
    _same_time(full, reduced)
    return h2_norm(_concatenate_difference(full, reduced), horizon=horizon)


def relative_h2_error(
    full: ModalSystem, reduced: ModalSystem, *, horizon: float | None = None
) -> Tensor:
    """Return ‖k - k_r‖ / ‖k‖; 0 where both are zero."""
    error = h2_error(full, reduced, horizon=horizon)
    norm = h2_norm(full, horizon=horizon)
    return torch.where(error == 0, torch.zeros_like(error), error / norm)
