"""Between the two forms of a discrete-time system: modes that act at once, or one sample late."""

import math
from dataclasses import replace
from typing import TypeVar, cast

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.checks import check_delay
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem

S = TypeVar("S", bound=ModalSystem)

FASTEST_POLE = 1e-8
"""|a| up to which a mode cannot act at once instead of late: beside ρ / a half the digits of D are
lost there, and a pole at 0 has no such form at all."""


def with_delay(system: S, delay: int) -> S:
    """Return the same response D δ[t] + k[t], hence the same transfer function, in a given form.

    From 0 to 1: ρ becomes ρ a and D becomes D + Σ ρ, from 1 to 0 ρ becomes ρ / a and D becomes
    D - Σ ρ / a.  What a reduction keeps is then another D and another first sample: convert before
    or after it on purpose.

    Parameters
    ----------
    system
        Bank of any batch shape.
    delay
        0 or 1.

    Raises
    ------
    InvalidArgumentError
        If the delay is neither, time is continuous, or a pole at 0 (up to ``FASTEST_POLE``) would
        have to act at once.

    Notes
    -----
    D + Σ ρ that is zero but for rounding is zero: a strictly proper system stays one.
    """
    check_delay(delay, system.time)
    if delay == system.delay:
        return system
    if delay == 1:
        D = system.D + _total(system)
        sizes = system.D.abs() + _total(_absolute(system))
        rounding = torch.finfo(D.dtype).eps * (system.num_poles + 1) * sizes
        D = torch.where(D.abs() <= rounding, torch.zeros_like(D), D)
        return _replaced(_scaled(system, system.poles), D, delay)
    poles, used = system.poles, system.states > 0
    fast = int((used & (system.exponents.real <= math.log(FASTEST_POLE))).sum())
    if fast:
        raise InvalidArgumentError(
            f"{fast} pole(s) at 0 (up to {FASTEST_POLE:.0e}) in a system of delay 1; required: "
            "poles apart from 0, or no modes can act at once instead; keep delay=1"
        )
    inverse = torch.where(used, 1 / torch.where(used, poles, 1), 0)
    earlier = _scaled(system, inverse)
    return _replaced(earlier, system.D - _total(earlier), delay)


def require_same_delay(*systems: ModalSystem) -> None:
    """Raise if some of the systems have a delay and some have none."""
    delays = sorted({system.delay for system in systems})
    if len(delays) > 1:
        raise InvalidArgumentError(
            f"systems of delays {' and '.join(map(str, delays))}; required: the same delay, since "
            "their D are not the same samples; convert with hydropress.systems.delay.with_delay"
        )


def _total(system: ModalSystem) -> Tensor:
    """Return the sum of the residues over all poles, of D's shape."""
    if isinstance(system, MIMOSystem):
        return (system.C * system.states[..., None, :] @ system.B).real
    assert isinstance(system, SISOSystem)
    return (system.residues * system.states).real.sum(-1)


def _absolute(system: S) -> S:
    """Return a system whose residues are the sizes of the given one's."""
    if isinstance(system, MIMOSystem):
        B, C = (part.abs().to(part.dtype) for part in (system.B, system.C))
        return cast(S, replace(system, B=B, C=C))
    assert isinstance(system, SISOSystem)
    return cast(S, replace(system, residues=system.residues.abs().to(system.residues.dtype)))


def _scaled(system: S, factors: Tensor) -> S:
    """Return the systems with each residue times its own factor."""
    if isinstance(system, MIMOSystem):
        return cast(S, replace(system, C=system.C * factors[..., None, :]))
    assert isinstance(system, SISOSystem)
    return cast(S, replace(system, residues=system.residues * factors))


def _replaced(system: S, D: Tensor, delay: int) -> S:
    return replace(system, D=D, delay=delay)  # type: ignore[type-var]
