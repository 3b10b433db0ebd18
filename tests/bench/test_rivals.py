"""pyMOR's methods and examples, seen from here."""

import math

import numpy as np
import pytest
from pymor.models.iosys import LTIModel

from hydropress.bench import rivals
from hydropress.reduction.reduce import reduce
from reduction.mimo import mimo_bank
from strategies import seeded_bank


@pytest.mark.parametrize("make", [seeded_bank, mimo_bank])
def test_two_balanced_truncations_agree(make):
    full = make((1,), 5, 1, time="continuous", seed=4)
    model = rivals.to_model(full[0])
    with rivals.quietly(0):
        found = rivals.run("pymor-bt", model, 4)
        own = rivals.own_error(model, found.model)
    expected = float(reduce(full, 4, "balanced").relative_error)
    assert rivals.error_of(full, found.model) == pytest.approx(expected, rel=1e-7)
    assert own == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("method", ["pymor-irka", "pymor-tsia"])
def test_where_they_converge_they_meet_the_conditions_of_an_optimum(method):
    full = seeded_bank((1,), 3, 1, time="continuous", seed=8)
    with rivals.quietly(0):
        found = rivals.run(method, rivals.to_model(full[0]), 2)
    assert found.converged
    assert 0 < found.iterations < 100
    best = float(reduce(full, 2).relative_error)
    assert best <= rivals.error_of(full, found.model) * (1 + 1e-9)


def test_an_unstable_result_has_an_infinite_error():
    full = seeded_bank((1,), 2, time="continuous", seed=6)
    model = LTIModel.from_matrices(np.diag([0.1, -1.0]), np.ones((2, 1)), np.ones((1, 2)))
    assert math.isinf(rivals.error_of(full, model))


def test_examples_are_stable_and_of_the_order_they_say():
    with rivals.quietly(0):
        for name, example in rivals.example_models().items():
            if example.states > 200:
                continue
            system = rivals.to_bank(example.make())
            assert int(system.order) == example.states, name
            assert float(system.decay.min()) > 0
            assert max(example.orders) < example.states


@pytest.mark.parametrize("make", [seeded_bank, mimo_bank])
def test_balanced_truncation_takes_part_in_discrete_time(make):
    full = make((1,), 5, 1, seed=4)
    model = rivals.to_model(full[0])
    assert rivals.methods_for("discrete") == ("pymor-bt",)
    with rivals.quietly(0):
        found = rivals.run("pymor-bt", model, 4)
        own = rivals.own_error(model, found.model)
    expected = float(reduce(full, 4, "balanced").relative_error)
    assert rivals.error_of(full, found.model) == pytest.approx(expected, rel=1e-7)
    assert own == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("method", sorted({*rivals.METHODS} - {*rivals.DISCRETE_METHODS}))
def test_what_is_left_out_in_discrete_time_is_not_implemented_there(method):
    model = rivals.to_model(seeded_bank((1,), 3, seed=8)[0])
    with rivals.quietly(0), pytest.raises(NotImplementedError):
        rivals.run(method, model, 2)
