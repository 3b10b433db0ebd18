"""One more real pole."""

import pytest
import torch

from hydropress.reduction.grown import with_best_real
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.problem import Problem
from hydropress.reduction.residues import refit_residues
from hydropress.reduction.search import Candidates, ladder_of_exponents
from hydropress.reduction.weights import SpectralWeight
from reduction.problems import half_circle, weighted_error
from strategies import build

FREQUENCIES = half_circle(64)


@pytest.mark.parametrize("weighted", [False, True])
def test_one_real_pole_takes_most_of_the_energy_that_a_pair_leaves(weighted):
    full = build([-0.1 + 1j, -0.5], [1.0, 3.0], [2, 1]).reshape(1)
    base = build([-0.1 + 1j], [0.3], [2]).reshape(1)
    values = (1 / (0.1 + FREQUENCIES) ** 2)[None] if weighted else torch.ones(1, 64)
    weight = SpectralWeight(FREQUENCIES, values) if weighted else None
    problem = Problem(full, (3,), weight=weight)
    candidates = Candidates.of(problem.objective, *ladder_of_exponents(full))
    start = Iterate.from_system(base)
    small = with_best_real(problem, candidates, start).to_system(full.D, "discrete")[0]
    assert small.states.tolist() == [2, 1]
    assert complex(small.exponents[0]) == pytest.approx(-0.1 + 1j)
    error = weighted_error(FREQUENCIES, values[0].numpy(), full[0], small)
    alone = refit_residues(problem.objective, start, penalty=0.0, time="discrete")
    left = alone.to_system(full.D, "discrete")[0]
    assert error < weighted_error(FREQUENCIES, values[0].numpy(), full[0], left) / 2
