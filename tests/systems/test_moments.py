"""The scalar functions φ_j against explicit sums, integrals and derivatives in high precision."""

import math
from itertools import pairwise

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hydropress.systems.moments import exponential_moments, wrap_phase
from tolerances import ROUNDING

W = complex(math.log(0.5))


def moments(w, count=3, **options):
    values = exponential_moments(torch.tensor(w, dtype=torch.complex128), count, **options)
    return [value.item() for value in values]


@pytest.mark.parametrize(
    ("w", "time", "horizon", "expected"),
    [
        # Σ 2^-t = 2, Σ t 2^-t = 2, Σ t² 2^-t = 6.
        (W, "discrete", None, (2, 2, 6)),
        # ∫ e^-2t = 1/2, ∫ t e^-2t = 1/4, ∫ t² e^-2t = 1/4.
        (-2 + 0j, "continuous", None, (0.5, 0.25, 0.25)),
        # 1 + 1/2 + 1/4, 0 + 1/2 + 2/4, 0 + 1/2 + 4/4.
        (W, "discrete", 3, (1.75, 1, 1.5)),
        # At w = 0: the sums of t^0, t^1, t^2 over 0, …, 3, and T, T²/2, T³/3.
        (0j, "discrete", 4, (4, 6, 14)),
        (0j, "continuous", 3.0, (3, 4.5, 9)),
        # A pole on the boundary: 1 - 1 + 1, 0 - 1 + 2, 0 - 1 + 4.
        (1j * math.pi, "discrete", 3, (1, 1, 3)),
    ],
)
def test_by_hand(w, time, horizon, expected):
    assert moments(w, time=time, horizon=horizon) == pytest.approx(expected, rel=ROUNDING)


def infinite_oracle(w, time):
    """Differentiate the geometric series or the integral."""

    def zeroth(z):
        return 1 / (1 - mpmath.exp(z)) if time == "discrete" else -1 / z

    with mpmath.workdps(80):
        return [complex(mpmath.diff(zeroth, mpmath.mpc(w), j, h=1e-25)) for j in range(3)]


def finite_oracle(w, time, horizon):
    with mpmath.workdps(40):
        w = mpmath.mpc(w)
        if time == "discrete":
            return [
                complex(mpmath.fsum(mpmath.exp(w * t) * t**j for t in range(int(horizon))))
                for j in range(3)
            ]
        # Kummer's function: ∫_0^T t^j e^{wt} dt = T^{j+1} / (j+1) M(j+1, j+2, wT).
        return [
            complex(mpmath.hyp1f1(j + 1, j + 2, w * horizon) * horizon ** (j + 1) / (j + 1))
            for j in range(3)
        ]


@pytest.mark.parametrize("time", ["discrete", "continuous"])
@given(
    decay=st.floats(math.log(1e-6), math.log(3)).map(math.exp),
    frequency=st.one_of(st.just(0.0), st.floats(-3.1, 3.1)),
)
def test_infinite_horizon(time, decay, frequency):
    w = complex(-decay, frequency)
    for value, expected in zip(moments(w, time=time), infinite_oracle(w, time), strict=True):
        assert abs(value - expected) <= 1e-12 * abs(expected)


EXPONENTS = [0, 1e-20, -1e-9, 1e-3 + 1e-3j, -0.0499, -0.0501, 0.03, 0.5j, -2 + 1j, 3.1j - 1e-6]


@pytest.mark.parametrize("time", ["discrete", "continuous"])
@pytest.mark.parametrize("w", EXPONENTS)
@pytest.mark.parametrize("horizon", [1, 2, 20, 300])
def test_finite_horizon(time, w, horizon):
    # Relative to what the same sum would be without cancellation between its terms.
    scales = finite_oracle(complex(w).real, time, horizon)
    expected = finite_oracle(w, time, horizon)
    for value, wanted, scale in zip(
        moments(w, time=time, horizon=horizon), expected, scales, strict=True
    ):
        assert abs(value - wanted) <= ROUNDING * (10 * scale.real + scales[0].real)


def test_a_long_finite_horizon_is_the_infinite_one():
    w = -0.1 + 0.3j
    for time in ("discrete", "continuous"):
        assert moments(w, time=time, horizon=1000) == pytest.approx(
            moments(w, time=time), rel=ROUNDING
        )


def test_turns_do_not_matter_in_discrete_time():
    for turns in (1, -3):
        w = -0.01 + 0.2j
        assert moments(w + 2j * math.pi * turns, time="discrete") == pytest.approx(
            moments(w, time="discrete"), rel=ROUNDING
        )
    full_turn = wrap_phase(torch.tensor(-1e-6 + 2j * math.pi, dtype=torch.complex128))
    assert full_turn.item() == -1e-6


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_as_asked_for_in_the_shape_of_the_input(count):
    w = torch.full((2, 3), -0.5 + 0.1j, dtype=torch.complex128)
    for horizon in (None, 1, 10):
        values = exponential_moments(w, count, time="discrete", horizon=horizon)
        assert [value.shape for value in values] == [(2, 3)] * count


@pytest.mark.parametrize("time", ["discrete", "continuous"])
@pytest.mark.parametrize("horizon", [None, 10])
def test_each_is_the_derivative_of_the_one_before(time, horizon):
    # Both sides of the switch to the series, and the limit itself.
    values = [-0.2 + 0.3j, -0.09, -0.11 + 0.0j] + ([] if horizon is None else [0j])
    w = torch.tensor(values, dtype=torch.complex128, requires_grad=True)
    moment = exponential_moments(w, 3, time=time, horizon=horizon)
    for before, after in pairwise(moment):
        (gradient,) = torch.autograd.grad(before.real.sum(), w, retain_graph=True)
        torch.testing.assert_close(gradient.conj(), after, rtol=1e-11, atol=0)
