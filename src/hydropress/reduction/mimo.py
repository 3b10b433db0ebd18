"""H²-optimal reduction of MIMO systems: greedy search, fixed point, descent.

Like the scalar method, poles are placed two states at a time where the residual has most energy;
every addition, BT's solution, the dominant modes and IRKA's fixed points from them are starts of a
descent that is never uphill.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.reduction.irka import irka_solutions
from hydropress.reduction.metric import tangential_error, tangential_objective
from hydropress.reduction.problem import Problem
from hydropress.reduction.result import Outcome
from hydropress.reduction.scores import mode_energies
from hydropress.reduction.search import ladder_of_exponents
from hydropress.reduction.tangential_descent import (
    Directions,
    TangentialDescent,
    descend_tangential,
)
from hydropress.reduction.truncation import keep_modes
from hydropress.systems.assembly import stack
from hydropress.systems.gramians import all_mimo_modes
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.moments import Time, exponential_moments

SCREENING_STEPS, FINALISTS, CLOSE = 15, 3, 1.1
"""Steps that tell basins apart, and how many starts are finished, if their squared errors are
within this factor."""
DESCENT_STEPS = 1000
IRKA_STEPS = 30
PAIRS_TRIED = 3
NOISE = 1e-13
"""Squared errors below it are rounding."""
CONTENDERS = 12
"""Candidates of which the best rank-one residue is worked out."""


@dataclass(frozen=True)
class MimoStep:
    """The outcome at one order for one system.

    Attributes
    ----------
    system
        The reduced system.
    error
        Relative error, measured on the system.
    iterations
        Evaluations of the objective that led to it.
    spread
        Largest minus smallest relative error over the starts.
    """

    system: MIMOSystem
    error: float
    iterations: int
    spread: float


class _Search:
    """Where the residual of one system has most energy that a mode of rank one could take."""

    def __init__(self, full: MIMOSystem, horizon: float | None) -> None:
        self._full, self._horizon = full, horizon
        pairs, reals = ladder_of_exponents(full.reshape(1), horizon)
        self._pairs, self._reals = pairs[0], reals[0]

    def _moments(self, residual: tuple[Tensor, Tensor, Tensor], at: Tensor) -> Tensor:
        """Return φ_0(z̄ + s) per root of a mode's own energy, ``(G, modes)``."""
        time, horizon = self._full.time, self._horizon
        (phi,) = exponential_moments(
            at.conj()[:, None] + residual[0], 1, time=time, horizon=horizon
        )
        own = torch.complex(2 * at.real, torch.zeros_like(at.real))
        (norm,) = exponential_moments(own, 1, time=time, horizon=horizon)
        return phi * norm.real.rsqrt()[:, None]

    def _ranked(
        self, residual: tuple[Tensor, Tensor, Tensor], candidates: Tensor, count: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the best candidates with their b, the best first, no two of them neighbours."""
        _, B, C = residual
        phi = self._moments(residual, candidates)
        products = (C.mH @ C) * (B.conj() @ B.mT)
        total = torch.einsum("gi,ij,gj->g", phi.conj(), products, phi).real
        score = total.clone()
        places: list[int] = []
        log_decay = torch.log(-candidates.real)
        for _ in range(min(CONTENDERS, len(score))):
            place = int(score.argmax())
            if float(score[place]) < 0:
                break
            places.append(place)
            width = torch.maximum(-candidates.real, -candidates.real[place])
            near = (candidates.imag - candidates.imag[place]).abs() < width
            near &= (log_decay - log_decay[place]).abs() < 1.0
            score = score.masked_fill(near, -1.0)
        found: list[tuple[float, Tensor, Tensor]] = []
        for place in places:
            matrix = (C * phi[place]) @ B
            if bool(candidates[place].imag == 0) or bool(candidates[place].imag == math.pi):
                matrix = matrix.real.to(matrix.dtype)
            # R b̄ is largest for b the conjugate of the first right singular vector.
            _, sigma, Vh = torch.linalg.svd(matrix, full_matrices=False)
            found.append((float(sigma[0]), candidates[place], Vh[0]))
        found.sort(key=lambda entry: -entry[0])
        return [(pole, b) for _, pole, b in found[:count]]

    def proposals(self, base: Directions | None, outputs: Tensor | None) -> list[Directions]:
        """Return the base with two more states: the best pairs, the best couple of real poles."""
        residual = self._residual(base, outputs)
        pairs = self._ranked(residual, self._pairs, PAIRS_TRIED)
        reals = self._ranked(residual, self._reals, 2)
        found = [_extended(base, [pair], 1) for pair in pairs]
        return found + ([_extended(base, reals, 0)] if len(reals) == 2 else [])

    def odd_proposals(self, base: Directions | None, outputs: Tensor | None) -> list[Directions]:
        """Return the base with one more real pole."""
        residual = self._residual(base, outputs)
        return [_extended(base, [real], 0) for real in self._ranked(residual, self._reals, 2)]

    def _residual(
        self, base: Directions | None, outputs: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        exponents, B, C = all_mimo_modes(self._full)
        if base is None or outputs is None:
            return exponents, B, C
        z, e = base.all_modes()
        taken = -outputs[:, : len(z)]
        return torch.cat([exponents, z]), torch.cat([B, e]), torch.cat([C, taken], -1)


def _extended(
    base: Directions | None, modes: list[tuple[Tensor, Tensor]], pairs: int
) -> Directions:
    """Add modes (z, e), ``pairs`` pairs or else real poles, to a reduced system."""
    z, e = (torch.stack(parts) for parts in zip(*modes, strict=True))
    new = Directions(torch.log(-z.real), z.imag, e, pairs)
    if base is None:
        return new
    parts = (base, new) if pairs == 0 else (new, base)
    return Directions(
        torch.cat([part.log_decay for part in parts]),
        torch.cat([part.frequency for part in parts]),
        torch.cat([part.B for part in parts]),
        base.num_pairs + pairs,
    )


def _split_near_axis(directions: Directions, time: Time) -> Directions | None:
    """Replace the pair nearest the real axis by two real poles, if it is nearer than its decay."""
    pairs = directions.num_pairs
    if pairs == 0:
        return None
    decay = directions.log_decay.exp()
    frequency = directions.frequency.abs()
    axis = torch.zeros_like(frequency)
    if time == "discrete":
        frequency = torch.remainder(frequency, 2 * math.pi)
        frequency = torch.minimum(frequency, 2 * math.pi - frequency)
        axis = torch.where(frequency > math.pi / 2, math.pi, axis)
        frequency = torch.where(axis > 0, math.pi - frequency, frequency)
    ratio = (frequency[:pairs] / decay[:pairs]).tolist()
    nearest = min(range(pairs), key=ratio.__getitem__)
    if ratio[nearest] >= 1:
        return None
    kept = [place for place in range(len(decay)) if place != nearest]
    log_decay, b = directions.log_decay[nearest], directions.B[nearest]
    first = b.real.to(b.dtype)
    second = b.imag.to(b.dtype) if float(b.imag.abs().max()) > 0 else first
    return Directions(
        torch.cat([directions.log_decay[kept], torch.stack([log_decay - 0.5, log_decay + 0.5])]),
        torch.cat([directions.frequency[kept], axis[nearest].expand(2)]),
        torch.cat([directions.B[kept], torch.stack([first, second])]),
        pairs - 1,
    )


def optimize_mimo_path(
    problem: Problem[MIMOSystem], starts: dict[int, list[MIMOSystem]]
) -> dict[int, MimoStep]:
    """Return the best reduced systems found at every order of a problem.

    Parameters
    ----------
    problem
        Of one system, batch shape ``(1,)``.
    starts
        Further starts by order: BT's solution, the dominant modes, IRKA's.

    Returns
    -------
    dict
        From order to :class:`MimoStep`.
    """
    full, config = problem.full[0], problem.descent
    objective = tangential_objective(problem, 0)
    search = _Search(full, problem.horizon)
    base: Directions | None = None
    outputs: Tensor | None = None
    steps: dict[int, MimoStep] = {}
    limit = DESCENT_STEPS if config.max_iterations is None else config.max_iterations

    def descend(start: Directions, count: int) -> TangentialDescent:
        return descend_tangential(
            objective,
            start,
            max_iterations=count,
            decay_floor=config.decay_floor,
            tolerance=config.tolerance,
            time=full.time,
        )

    for order in _chain(problem.orders):
        propose = search.odd_proposals if order % 2 else search.proposals
        ready = [start for start in starts.get(order, []) if bool((start.states > 0).any())]
        candidates = propose(base, outputs) + [Directions.of(start) for start in ready]
        tried = [descend(candidate, min(SCREENING_STEPS, limit)) for candidate in candidates]
        tried.sort(key=_error)
        best = tried[0]
        if order in problem.orders:
            finished = [descend(one.directions, limit) for one in _close_ones(tried)]
            best = min(finished, key=_error)
            split = _split_near_axis(best.directions, full.time)
            if split is not None:
                finished.append(descend(split, limit))
                best = min(best, finished[-1], key=_error)
            # A closed form can lie by what its modes cancel: the last word has a measurement.
            systems = [one.directions.to_system(one.fit.C, full) for one in finished]
            systems += [one for one in ready if float(one.decay.min()) >= config.decay_floor]
            errors = [float(tangential_error(problem, objective, one)) for one in systems]
            place = min(range(len(errors)), key=errors.__getitem__)
            worst = math.sqrt(max(0.0, _error(tried[-1])))
            steps[order] = MimoStep(
                systems[place],
                errors[place],
                (finished[place] if place < len(finished) else best).iterations,
                max(0.0, worst - errors[place]) if math.isfinite(worst) else 0.0,
            )
        if order % 2 == 0:
            base, outputs = best.directions, best.fit.C
    return steps


def _chain(orders: tuple[int, ...]) -> list[int]:
    """Return the orders on the way to those wanted, and these."""
    return sorted({*range(2, max(orders) + 1, 2), *orders})


def _error(descent: TangentialDescent) -> float:
    error = float(descent.fit.error)
    return error if math.isfinite(error) else math.inf


def _close_ones(tried: list[TangentialDescent]) -> list[TangentialDescent]:
    limit = CLOSE * max(_error(tried[0]), NOISE)
    return tried[:1] + [one for one in tried[1:FINALISTS] if _error(one) <= limit]


def mimo_h2(problem: Problem[MIMOSystem]) -> list[Outcome[MIMOSystem]]:
    """Return H²-optimal MIMO systems at every order, one system of the batch after the other."""
    full = problem.full
    starts = {order: _starts(problem, order) for order in _chain(problem.orders)}
    found = [
        optimize_mimo_path(
            replace(problem, full=full[row : row + 1]),
            {order: [start[row] for start in banks] for order, banks in starts.items()},
        )
        for row in range(len(full.D))
    ]
    outcomes: list[Outcome[MIMOSystem]] = []
    for order in problem.orders:
        steps = [path[order] for path in found]
        iterations = torch.tensor([step.iterations for step in steps], device=full.D.device)
        spread = torch.tensor([step.spread for step in steps], dtype=torch.float64)
        systems = stack([step.system for step in steps])
        outcomes.append(Outcome(systems, iterations, spread.to(full.D.device)))
    return outcomes


def _starts(problem: Problem[MIMOSystem], order: int) -> list[MIMOSystem]:
    """Return BT's solutions, the dominant modes and, if poles decay, IRKA's from both."""
    full = problem.full
    dominant = keep_modes(full, mode_energies(full, horizon=problem.horizon), order)
    starts = [problem.balancing.truncate(order), dominant]
    if bool((full.decay > 0).all()):
        starts += [irka_solutions(full, order, start, IRKA_STEPS)[0] for start in starts]
    if problem.fits_feedthrough:
        starts.append(problem.balanced(order))
    return starts
