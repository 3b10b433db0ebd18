"""Starts drawn at random from where energy can be captured: randomised matching pursuit.

Descents from grown contenders are all alike.  Random starts find what these miss, and find it most
often if they are drawn as a greedy search would choose, with some chance for the second best: a
greedy randomised search [feo1995grasp] over orthogonal least squares [chen1989ols].
"""

import numpy as np
import torch
from torch import Tensor

from hydropress.reduction.compiled.bridge import pursued_blocks
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.multistart import Contenders
from hydropress.reduction.objective import ClosedFormObjective
from hydropress.reduction.residues import refit_residues
from hydropress.reduction.search import Candidates
from hydropress.systems.moments import Time

SEED = 0
SHARPNESS = (1, 2, 3)
"""Squarings of the energies that the chances of three starts out of three go with."""


def pursued(
    objective: ClosedFormObjective,
    candidates: Candidates,
    order: int,
    count: int,
    config: DescentConfig,
    time: Time,
) -> Contenders:
    """Return so many starts for each system, residues refitted.

    The draws are the same for every system, whatever bank it is in.

    Parameters
    ----------
    order
        Even.
    """
    dictionary = candidates.dictionary()
    draws = np.random.default_rng(SEED).random((count, order // 2))
    sharpness = np.resize(np.array(SHARPNESS), count)
    chosen = pursued_blocks(
        dictionary.exponents,
        dictionary.target * objective.energy[:, None],
        dictionary.first,
        dictionary.second,
        draws,
        sharpness,
        time,
    )
    systems = torch.arange(objective.num_systems, device=chosen.device)
    systems = systems.repeat_interleave(count)
    starts = _iterate_of(dictionary.exponents, dictionary.first, dictionary.second, chosen)
    fitted = refit_residues(
        objective.select(systems), starts, penalty=config.energy_penalty, time=time
    )
    return Contenders.of(systems, fitted)


def _iterate_of(exponents: Tensor, first: Tensor, second: Tensor, chosen: Tensor) -> Iterate:
    """Return the chosen blocks, ``(K, R, p)``, as K R systems without residues."""
    starts, blocks = chosen.shape[0] * chosen.shape[1], chosen.flatten(1)
    places = torch.stack([first[blocks], second[blocks]], -1).flatten(1) // 2
    modes = exponents.gather(1, places).reshape(starts, -1)
    # Both atoms of a pair are of one exponent.
    is_pair = (first // 2 == second // 2)[blocks].reshape(starts, -1)
    states = torch.stack([torch.where(is_pair, 2, 1), torch.where(is_pair, 0, 1)], -1).flatten(1)
    return Iterate(
        torch.log(-modes.real),
        modes.imag,
        torch.zeros_like(modes),
        states,
        modes.real.new_zeros(starts),
    ).compact()
