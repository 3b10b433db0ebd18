"""Where to put the next poles: a search over a grid of candidates that covers the whole plane.

The energy that one more pair, or two more real poles, would capture from the present residual has
a closed form (a 2 x 2 system), so all candidates are tried and the best become starts for the
descent: matching pursuit over a continuous dictionary.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hydropress.reduction.iterate import Iterate
from hydropress.reduction.objective import Objective
from hydropress.systems.modal import ModalSystem

RUNGS = 8
"""Decays tried with each frequency."""
SPARSE, MOST_MODES, SPARSE_REALS = (1, 3, 5), 48, 3
"""Of the candidates for pairs, the decays and the number of frequencies that the pursuit takes; and
of those for real poles, every third."""


@dataclass(frozen=True)
class Dictionary:
    """What a pursuit chooses from: blocks of two atoms, a pair's or two real poles'.

    Attributes
    ----------
    exponents
        Complex, shape ``(K, E)``; atom 2e is Re(e^{st}), atom 2e + 1 is Re(i e^{st}).
    target
        E_0 of the full systems there, shape ``(K, E)``.
    first, second
        Atoms of each block, int64, shape ``(G,)``.
    """

    exponents: Tensor
    target: Tensor
    first: Tensor
    second: Tensor


@dataclass(frozen=True)
class Candidates:
    """Exponents that the search tries, with the inner products of their atoms.

    Attributes
    ----------
    pairs
        Shape ``(K, G)``, Im s > 0.
    reals
        Shape ``(K, R)``, Im s = 0, then π.
    target
        E_0 of the full systems at pairs and reals, shape ``(K, G + R)``.
    pair_products
        ⟨c, c⟩, ⟨c, q⟩, ⟨q, q⟩ of each pair, shapes ``(K, G)``.
    real_products
        ⟨c, c'⟩ of every two real poles, shape ``(K, R, R)``.
    """

    pairs: Tensor
    reals: Tensor
    target: Tensor
    pair_products: tuple[Tensor, Tensor, Tensor]
    real_products: Tensor

    @staticmethod
    def of(objective: Objective, pairs: Tensor, reals: Tensor) -> "Candidates":
        """Work out the products in the objective's metric, once for all orders."""
        return Candidates(
            pairs,
            reals,
            objective.target_moments(torch.cat([pairs, reals], 1)),
            objective.pair_products(pairs),
            objective.real_products(reals),
        )

    def select(self, index: Tensor) -> "Candidates":
        """Return those of the systems of an index (repetitions allowed)."""
        cc, cq, qq = self.pair_products
        return Candidates(
            self.pairs[index],
            self.reals[index],
            self.target[index],
            (cc[index], cq[index], qq[index]),
            self.real_products[index],
        )

    def dictionary(self) -> "Dictionary":
        """Return a part of the candidates, spread over the plane, for the pursuit."""
        K, G = self.pairs.shape
        modes = torch.arange(G // RUNGS, device=self.pairs.device)
        if len(modes) > MOST_MODES:
            at = self.target[:, :G]
            captured = _captured(at.real, -at.imag, *self.pair_products)
            best = captured.reshape(K, -1, RUNGS).amax(2).topk(MOST_MODES, 1).indices
            modes = best.sort(1).values
        else:
            modes = modes.expand(K, -1)
        rungs = torch.tensor(SPARSE, device=modes.device)
        pairs = (modes[:, :, None] * RUNGS + rungs).flatten(1)
        reals = torch.arange(self.reals.shape[1], device=modes.device)[1::SPARSE_REALS]
        index = torch.cat([pairs, (G + reals).expand(K, -1)], 1)
        exponents = torch.cat([self.pairs, self.reals], 1).gather(1, index)
        atoms = 2 * torch.arange(pairs.shape[1], device=modes.device)
        couple = 2 * (
            pairs.shape[1] + torch.combinations(torch.arange(len(reals), device=modes.device))
        )
        return Dictionary(
            exponents,
            self.target.gather(1, index),
            torch.cat([atoms, couple[:, 0]]),
            torch.cat([atoms + 1, couple[:, 1]]),
        )

    def moments(self, objective: Objective, iterate: Iterate) -> tuple[Tensor, Tensor]:
        """Return E_0 of what an iterate leaves, at pairs and at reals."""
        moments = self.target
        if bool((iterate.states > 0).any()):
            exponents = torch.cat([self.pairs, self.reals], 1)
            moments = objective.correlate(iterate, exponents, self.target)
        split = self.pairs.shape[1]
        return moments[:, :split], moments[:, split:]


def ladder_of_exponents(full: ModalSystem, horizon: float | None = None) -> tuple[Tensor, Tensor]:
    """Return exponents to try from a bank's own poles: their frequencies at a ladder of decays.

    The best pole of a small model usually stands for a cluster of poles, whose sum decays faster
    than any of them: decays up to 64 times the poles' own are tried.

    Parameters
    ----------
    full
        Bank of batch shape ``(K,)`` with n entries.
    horizon
        Samples or time units that count; decays that take much longer all look alike.

    Returns
    -------
    pairs, reals
        Complex, shapes ``(K, 8n)`` and ``(K, 40)``, or ``(K, 20)`` in continuous time.
    """
    used = full.states > 0
    decay = torch.where(used, -full.exponents.real, torch.inf)
    slowest = decay.amin(1, keepdim=True)
    limit = 3.0 if full.time == "discrete" else math.inf
    decay = torch.where(used, decay, slowest)
    if horizon is not None:
        decay, slowest = (values.clamp_min(0.1 / horizon) for values in (decay, slowest))
    frequency = torch.where(used, full.exponents.imag.abs(), 0.0)
    ladder = 2.0 ** torch.arange(-1.0, RUNGS - 1.0, dtype=torch.float64, device=decay.device)
    decays = (decay[:, :, None] * ladder).clamp(max=limit)
    # A real pole can be the heart of a slow oscillation: give it the frequency of its decay.
    frequencies = torch.maximum(frequency[:, :, None], decays / 4)
    if full.time == "discrete":
        frequencies = torch.minimum(frequencies, math.pi - decays.clamp(max=math.pi) / 4)
    pairs = torch.complex(-decays, frequencies).flatten(1)
    # Two real poles can stand for the first samples of what many fast oscillations add up to.
    fastest = torch.where(used, full.exponents.abs(), 0.0).amax(1, keepdim=True)
    share = torch.linspace(0, 1, 20, dtype=torch.float64, device=decay.device)
    low, high = torch.log(slowest / 2), torch.log((fastest * 16).clamp(max=limit))
    high = torch.maximum(high, low + 1)
    rungs = torch.exp(low + (high - low) * share)
    reals = torch.complex(-rungs, torch.zeros_like(rungs))
    if full.time == "discrete":
        reals = torch.cat([reals, torch.complex(-rungs, torch.full_like(rungs, math.pi))], 1)
    return pairs, reals


def _captured(first: Tensor, second: Tensor, aa: Tensor, ab: Tensor, bb: Tensor) -> Tensor:
    """Return g^T M^{-1} g for the 2 x 2 system of two atoms, 0 where they are dependent."""
    determinant = aa * bb - ab * ab
    energy = (bb * first**2 - 2 * ab * first * second + aa * second**2) / determinant
    return torch.where(determinant > 1e-9 * aa * bb, energy, torch.zeros_like(energy))


def best_pairs(candidates: Candidates, moment: Tensor, count: int) -> list[Tensor]:
    """Return the exponents of the best candidates for one more conjugate pair.

    Parameters
    ----------
    moment
        The residual's at the pairs, shape ``(K, G)``.
    count
        How many different ones.

    Returns
    -------
    list of Tensor
        ``count`` tensors of shape ``(K,)``, best first; no two of them neighbours.
    """
    pairs = candidates.pairs
    score = _captured(moment.real, -moment.imag, *candidates.pair_products)
    found: list[Tensor] = []
    rows = torch.arange(len(score), device=score.device)
    log_decay = torch.log(-pairs.real)
    for _ in range(count):
        chosen = pairs[rows, score.argmax(1)]
        found.append(chosen)
        width = torch.maximum(-pairs.real, -chosen.real[:, None])
        near_frequency = (pairs.imag - chosen.imag[:, None]).abs() < width
        near_decay = (log_decay - torch.log(-chosen.real)[:, None]).abs() < 1.5
        score = score.masked_fill(near_frequency & near_decay, -1.0)
    return found


def best_couples(candidates: Candidates, moment: Tensor) -> list[Tensor]:
    """Return the couples of real poles that capture most, two for each choice of their signs.

    Parameters
    ----------
    moment
        The residual's at the real candidates, shape ``(K, R)``.

    Returns
    -------
    list of Tensor
        Exponents, ``(K, 2)`` each, the best couple first: two couples, no neighbours, of positive
        poles, two of negative and two of mixed ones; in continuous time there is only one kind.
    """
    reals, moment = candidates.reals, moment.real
    negative = int((reals.imag[:1] != 0).sum())
    signs = [part for part in reals.split([reals.shape[1] - negative, negative], 1) if part.numel()]
    first_of = [0, reals.shape[1] - negative]
    kinds = [(a, b) for a in range(len(signs)) for b in range(a, len(signs))]
    best: list[Tensor] = []
    energies: list[Tensor] = []
    for kind in kinds:
        rows, columns = (
            slice(first_of[sign], first_of[sign] + signs[sign].shape[1]) for sign in kind
        )
        for couple, energy in _two_couples(candidates, moment, rows, columns):
            best.append(couple)
            energies.append(energy)
    ranking = torch.stack(energies).argsort(0, descending=True)
    couples = torch.stack(best)
    return [couples[place, torch.arange(len(reals), device=reals.device)] for place in ranking]


def _two_couples(
    candidates: Candidates, moment: Tensor, rows: slice, columns: slice
) -> list[tuple[Tensor, Tensor]]:
    """Return the best couple of one real candidate each of two ranges, and the best elsewhere.

    Returns
    -------
    list
        Exponents ``(K, 2)`` and captured energy ``(K,)``, twice.
    """
    reals, products = candidates.reals, candidates.real_products
    own = products.diagonal(dim1=1, dim2=2)
    score = _captured(
        moment[:, rows, None],
        moment[:, None, columns],
        own[:, rows, None],
        products[:, rows, columns],
        own[:, None, columns],
    )
    if rows == columns:
        score = torch.triu(score, 1)
    first, second = reals[:, rows], reals[:, columns]
    found: list[tuple[Tensor, Tensor]] = []
    for _ in range(2):
        energy, place = score.flatten(1).max(1)
        places = place // score.shape[2], place % score.shape[2]
        near: list[Tensor] = []
        chosen: list[Tensor] = []
        for range_, at in zip((first, second), places, strict=True):
            log_decay = torch.log(-range_.real)
            chosen.append(range_.gather(1, at[:, None]))
            near.append((log_decay - log_decay.gather(1, at[:, None])).abs() < 1.5)
        found.append((torch.cat(chosen, 1), energy))
        score = score.masked_fill(near[0][:, :, None] & near[1][:, None, :], -1.0)
    return found


def best_real(candidates: Candidates, moment: Tensor) -> Tensor:
    """Return the exponent of the real pole that captures most, shape ``(K, 1)``."""
    own = candidates.real_products.diagonal(dim1=1, dim2=2)
    return candidates.reals.gather(1, (moment.real**2 / own).argmax(1, keepdim=True))
