"""Wrong arguments end in one clear error, at the door."""

import math

import numpy as np
import pytest
import torch

from hydropress.errors import HydropressError, InvalidArgumentError, UnknownNameError
from hydropress.reduction import registry
from hydropress.reduction.reduce import reduce, reduce_path
from hydropress.reduction.registry import get_method, method_names, register_method
from hydropress.reduction.result import Outcome
from hydropress.reduction.weights import InputCovariance, SpectralWeight
from hydropress.systems.modal import ModalSystem
from reduction.problems import METHODS, QUICK, half_circle
from strategies import bank, build, seeded_bank

FULL = seeded_bank((2,), 2, 1, seed=11)
FREQUENCIES = half_circle(8)

all_methods = pytest.mark.parametrize("method", METHODS)


@all_methods
@pytest.mark.parametrize("order", [-1, -2, 6, 100])
def test_order_out_of_range(method, order):
    with pytest.raises(InvalidArgumentError, match=rf"order.*{order}.*required"):
        reduce(FULL, order, method)


@all_methods
def test_the_largest_system_of_a_bank_limits_the_order(method):
    small, large = build([-0.5 + 0j], [1.0], [1]), build([-0.5 + 1j, -1 + 2j], [1.0, 1j], [2, 2])
    full = bank([small, large])
    assert reduce(full, 4, method, descent=QUICK).system.order.tolist() == [1, 4]
    with pytest.raises(InvalidArgumentError, match="4"):
        reduce(full, 5, method)


def test_a_bank_of_nothing():
    with pytest.raises(InvalidArgumentError, match="at least one system"):
        reduce(FULL[:0], 2)


def test_unknown_method_lists_the_registered():
    with pytest.raises(UnknownNameError) as caught:
        reduce(FULL, 2, "optimal")
    message = str(caught.value)
    assert "'optimal'" in message
    assert all(name in message for name in method_names())
    assert isinstance(caught.value, KeyError)


@all_methods
def test_unstable_system(method):
    with pytest.raises(HydropressError, match="does not decay"):
        reduce(ModalSystem.siso([[1.0, 0.5]], [[1.0, 1.0]]), 1, method)


@all_methods
@pytest.mark.parametrize("horizon", [0, -3, math.inf, math.nan])
def test_horizon_that_is_none(method, horizon):
    with pytest.raises(InvalidArgumentError, match="horizon"):
        reduce(FULL, 2, method, horizon=horizon)


@pytest.mark.parametrize(
    ("frequencies", "values"),
    [
        (FREQUENCIES, -torch.ones(8)),
        (FREQUENCIES, torch.zeros(8)),
        (FREQUENCIES, torch.full((8,), math.nan)),
        (FREQUENCIES, torch.full((8,), math.inf)),
        (FREQUENCIES, torch.ones(7)),
        (FREQUENCIES, torch.ones(3, 8)),
        (torch.full((8,), math.nan), torch.ones(8)),
    ],
    ids=["negative", "zero", "nan", "infinite", "too few", "other batch", "frequency nan"],
)
def test_weight_that_is_none(frequencies, values):
    with pytest.raises(InvalidArgumentError, match="weight"):
        reduce(FULL, 2, "balanced", weight=SpectralWeight(frequencies, values))


def test_weights_are_for_discrete_time():
    continuous = seeded_bank((1,), 2, time="continuous")
    weight = SpectralWeight(FREQUENCIES, torch.ones(8))
    with pytest.raises(InvalidArgumentError, match="discrete"):
        reduce(continuous, 2, weight=weight)
    with pytest.raises(InvalidArgumentError, match="discrete"):
        reduce(continuous, 2, fit_feedthrough=True)


@pytest.mark.parametrize("arguments", [{}, {"max_order": 4, "orders": (2,)}])
def test_a_path_has_one_set_of_orders(arguments):
    with pytest.raises(InvalidArgumentError, match="max_order"):
        reduce_path(FULL, **arguments)


@pytest.mark.parametrize("arguments", [{"max_order": -1}, {"orders": ()}, {"orders": (2, -1)}])
def test_a_path_has_no_negative_orders(arguments):
    with pytest.raises(InvalidArgumentError, match="required"):
        reduce_path(FULL, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"max_order": order} for order in (4.0, "4", 2.5, [2], True)]
    + [{"orders": orders} for orders in (2, "2", (2.0,), (True,), (2, None))],
)
def test_orders_of_another_kind(arguments):
    with pytest.raises(InvalidArgumentError, match=r"orders .*; required: integers from 0 on"):
        reduce_path(FULL, **arguments)


def test_a_system_without_modes():
    result = reduce(ModalSystem.siso([], [], 2.0), 0)
    assert float(result.relative_error) == float(result.certificate.lower_bound) == 0


@pytest.mark.parametrize(("inputs", "outputs"), [(0, 1), (1, 0), (0, 0)])
def test_a_system_without_inputs_or_outputs(inputs, outputs):
    with pytest.raises(InvalidArgumentError, match=rf"{inputs} inputs and {outputs} outputs"):
        ModalSystem.mimo([0.5], np.ones((1, inputs)), np.ones((outputs, 1)))


def test_weights_may_be_arrays():
    values = np.linspace(1.0, 2.0, 8)
    weight = SpectralWeight(FREQUENCIES, torch.from_numpy(values))
    expected = reduce(FULL, 2, weight=weight).relative_error
    for given in (values, values.tolist()):
        weight = SpectralWeight(FREQUENCIES.numpy(), given)  # pyright: ignore[reportArgumentType]
        assert torch.equal(reduce(FULL, 2, weight=weight).relative_error, expected)
    covariance = InputCovariance(np.array([[2.0, 0.5], [0.5, 1.0]]))  # pyright: ignore[reportArgumentType]
    full = ModalSystem.mimo([0.5, 0.9], np.ones((2, 2)), np.eye(2))
    assert 0 < float(reduce(full, 1, weight=covariance).relative_error) < 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectralWeight(FREQUENCIES, torch.ones(8) + 0j), "complex64 .*; required: real"),
        (lambda: SpectralWeight(FREQUENCIES, "ones"), "values of a weight is a str"),  # pyright: ignore[reportArgumentType]
        (lambda: 3.0, r"weight=3\.0; required: a SpectralWeight"),
    ],
)
def test_weights_of_another_kind(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        reduce(FULL, 2, weight=make())


@pytest.mark.parametrize("size", [1e-300, 1e-155, 1e155, 1e300])
def test_residues_whose_squares_are_no_numbers(size):
    with pytest.raises(InvalidArgumentError, match=r"residues sum up to .*scale its input"):
        reduce(ModalSystem.siso([0.5, 0.3 + 0.4j], [size, size]), 1)


@pytest.mark.parametrize("size", [1e-130, 1e130])
def test_large_and_small_residues_reduce_as_others_do(size):
    poles, residues = [0.5, 0.3 + 0.4j], np.array([1.0, 2.0])
    expected = reduce(ModalSystem.siso(poles, residues), 1).relative_error
    found = reduce(ModalSystem.siso(poles, size * residues), 1).relative_error
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_a_path_knows_its_orders_only():
    path = reduce_path(FULL, 4, "balanced")
    with pytest.raises(InvalidArgumentError, match=r"order 3.*2, 4"):
        path[3]


@pytest.fixture
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))


@pytest.mark.usefixtures("fresh_registry")
def test_a_registered_method_is_one_of_them():
    def keep_the_first(problem):
        full = problem.full
        states = full.states.clone()
        states[:, 1:] = 0
        system = ModalSystem.from_exponents(full.exponents, full.residues, states, full.D)
        return [Outcome.direct(system) for _ in problem.orders]

    register_method("first", keep_the_first)
    assert method_names()[-1] == "first"
    assert get_method("first") is keep_the_first
    result = reduce(FULL, 2, "first")
    assert result.method == "first"
    assert result.status == "direct"
    assert torch.equal(result.system.poles[:, 0], FULL.poles[:, 0])
    expected = reduce(FULL, 2, "balanced").relative_error
    torch.testing.assert_close(result.certificate.balanced_error, expected, rtol=1e-9, atol=0)


@pytest.mark.usefixtures("fresh_registry")
def test_a_name_is_taken_once():
    with pytest.raises(InvalidArgumentError, match=r"'h2'.*another name"):
        register_method("h2", get_method("balanced"))
    assert get_method("h2") is not get_method("balanced")
