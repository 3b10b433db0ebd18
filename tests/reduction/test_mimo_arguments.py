"""Wrong arguments of MIMO problems end in one clear error, at the door."""

import math

import pytest
import torch

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.reduce import reduce, reduce_path
from hydropress.reduction.weights import InputCovariance, SpectralWeight
from reduction.mimo_problems import hermitian
from reduction.problems import METHODS, half_circle
from strategies import seeded_bank, seeded_mimo

FULL = seeded_mimo((2,), 2, 3, 2, 1, seed=91)
FREQUENCIES = half_circle(8)
GOOD = hermitian(8, 2, 1)
SKEW = torch.tensor([[1.0, 0.5], [-0.5, 1.0]], dtype=torch.float64)

all_methods = pytest.mark.parametrize("method", METHODS)


@all_methods
@pytest.mark.parametrize("order", [-1, 6, 2.5, "2"])
def test_order_out_of_range(method, order):
    with pytest.raises(InvalidArgumentError, match=rf"order.*{order}.*required"):
        reduce(FULL, order, method)


@pytest.mark.parametrize(
    ("frequencies", "values", "match"),
    [
        (FREQUENCIES, GOOD[:7], "required: a cross-spectrum of shape"),
        (FREQUENCIES, torch.ones(8), "required: a cross-spectrum of shape"),
        (FREQUENCIES, hermitian(8, 3, 1), "required: a cross-spectrum of shape"),
        (FREQUENCIES, GOOD * math.nan, "not finite"),
        (FREQUENCIES, -GOOD, "eigenvalue.*required: W ≥ 0"),
        (FREQUENCIES, 0 * GOOD, "zero everywhere.*required"),
        (FREQUENCIES, SKEW.expand(8, 2, 2), "conjugate transpose.*required.*Hermitian"),
        (FREQUENCIES * math.inf, GOOD, "frequencies.*required"),
    ],
)
def test_cross_spectrum_that_is_none(frequencies, values, match):
    with pytest.raises(InvalidArgumentError, match=match):
        reduce(FULL, 2, weight=SpectralWeight(frequencies, values))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (torch.eye(3), "shape.*required"),
        (torch.zeros(2, 2), "positive definite.*required.*add"),
        (torch.diag(torch.tensor([1.0, -1.0])), "positive definite.*required"),
        (SKEW, "conjugate transpose.*required"),
        (torch.eye(2) * math.nan, "not finite.*required"),
        (torch.eye(2, dtype=torch.complex128), "complex.*required: real"),
    ],
)
def test_covariance_that_is_none(values, match):
    with pytest.raises(InvalidArgumentError, match=match):
        reduce(FULL, 2, weight=InputCovariance(values))


def test_covariance_and_spectrum_are_for_what_they_are_for():
    with pytest.raises(InvalidArgumentError, match="required: a MIMO system"):
        reduce(seeded_bank((1,), 2), 2, weight=InputCovariance(torch.eye(1)))
    continuous = seeded_mimo((1,), 2, 3, 2, time="continuous")
    for weight in (SpectralWeight(FREQUENCIES, GOOD), InputCovariance(torch.eye(2))):
        with pytest.raises(InvalidArgumentError, match="required: discrete"):
            reduce(continuous, 2, weight=weight)
    with pytest.raises(InvalidArgumentError, match="horizon=5; required"):
        reduce(FULL, 2, weight=SpectralWeight(FREQUENCIES, GOOD), horizon=5)


def test_covariance_in_single_precision():
    covariance = hermitian(1, 2, 3)[0].real
    expected = reduce(FULL, 2, "balanced", weight=InputCovariance(covariance)).relative_error
    rounded = InputCovariance(covariance.float())
    actual = reduce(FULL, 2, "balanced", weight=rounded).relative_error
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=0)


def test_a_path_from_order_zero_on():
    path = reduce_path(FULL, method="balanced", orders=(0, 1, 5))
    assert path.orders == (0, 1, 5)
    assert [int(step.system.order.max()) for step in path] == [0, 1, 5]
