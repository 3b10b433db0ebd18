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


@dataclass(frozen=True)
class Candidates:
    """Exponents that the search tries, with the inner products of their atoms.

    Attributes
    ----------
    pairs
        Shape ``(K, G)``, Im s > 0.
    reals
        Shape ``(K, R)``, Im s = 0 or π.
    pair_products
        ⟨c, c⟩, ⟨c, q⟩, ⟨q, q⟩ of each pair, shapes ``(K, G)``.
    real_products
        ⟨c, c'⟩ of every two real poles, shape ``(K, R, R)``.
    """

    pairs: Tensor
    reals: Tensor
    pair_products: tuple[Tensor, Tensor, Tensor]
    real_products: Tensor

    @staticmethod
    def of(objective: Objective, pairs: Tensor, reals: Tensor) -> "Candidates":
        """Work out the products in the objective's metric, once for all orders."""
        return Candidates(
            pairs, reals, objective.pair_products(pairs), objective.real_products(reals)
        )

    def select(self, index: Tensor) -> "Candidates":
        """Return those of the systems of an index (repetitions allowed)."""
        cc, cq, qq = self.pair_products
        return Candidates(
            self.pairs[index],
            self.reals[index],
            (cc[index], cq[index], qq[index]),
            self.real_products[index],
        )


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
    ladder = 2.0 ** torch.arange(-1.0, 7.0, dtype=torch.float64, device=decay.device)
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


def best_pairs(
    objective: Objective, iterate: Iterate, candidates: Candidates, count: int
) -> list[Tensor]:
    """Return the exponents of the best candidates for one more conjugate pair.

    Parameters
    ----------
    count
        How many different ones.

    Returns
    -------
    list of Tensor
        ``count`` tensors of shape ``(K,)``, best first; no two of them neighbours.
    """
    pairs = candidates.pairs
    moment = objective.correlate(iterate, pairs)
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


def best_couples(objective: Objective, iterate: Iterate, candidates: Candidates) -> list[Tensor]:
    """Return the couples of real poles that capture most, two for each choice of their signs.

    Returns
    -------
    list of Tensor
        Exponents, ``(K, 2)`` each, the best couple first: two couples, no neighbours, of positive
        poles, two of negative and two of mixed ones; in continuous time there is only one kind.
    """
    reals, products = candidates.reals, candidates.real_products
    moment = objective.correlate(iterate, reals).real
    own = products.diagonal(dim1=1, dim2=2)
    score = _captured(
        moment[:, :, None], moment[:, None, :], own[:, :, None], products, own[:, None, :]
    )
    score = torch.triu(score, 1)
    size = reals.shape[1]
    negative = reals.imag != 0
    signs = negative[:, :, None].long() + negative[:, None, :]
    log_decay = torch.log(-reals.real)
    best: list[Tensor] = []
    energies: list[Tensor] = []
    for sign in signs.unique().tolist():
        rest = torch.where(signs == sign, score, -1.0)
        for _ in range(2):
            energy, place = rest.flatten(1).max(1)
            first, second = place // size, place % size
            best.append(reals.gather(1, torch.stack([first, second], 1)))
            energies.append(energy)
            near_first, near_second = (
                (log_decay - log_decay.gather(1, one[:, None])).abs() < 1.5
                for one in (first, second)
            )
            near = near_first[:, :, None] & near_second[:, None, :]
            rest = rest.masked_fill(near, -1.0)
    ranking = torch.stack(energies).argsort(0, descending=True)
    couples = torch.stack(best)
    return [couples[place, torch.arange(len(reals), device=reals.device)] for place in ranking]


def best_real(objective: Objective, iterate: Iterate, candidates: Candidates) -> Tensor:
    """Return the exponent of the real pole that captures most, shape ``(K, 1)``."""
    moment = objective.correlate(iterate, candidates.reals).real
    own = candidates.real_products.diagonal(dim1=1, dim2=2)
    return candidates.reals.gather(1, (moment**2 / own).argmax(1, keepdim=True))
