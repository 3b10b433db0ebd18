"""H2 norms of systems of several inputs and outputs: 50 digits, Gramians, sums, one channel."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mimo_oracles as oracles
from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.systems.modal import MIMOSystem, ModalSystem
from hydropress.systems.norms import h2_error, h2_inner_product, h2_norm, relative_h2_error
from reduction.mimo import as_mimo
from strategies import mimo_systems, seeded_bank, seeded_mimo
from tolerances import DENSE, NORM, ROUNDING, SMALL_ERROR

TIMES = ["discrete", "continuous"]
HORIZONS = st.sampled_from([None, 1, 2, 50, 700])


def perturbed(system: MIMOSystem, seed: int) -> MIMOSystem:
    """Change every parameter by about 1e-8 of itself."""
    generator = torch.Generator().manual_seed(seed)
    decay, inputs, outputs = 1e-8 * torch.randn(3, system.num_poles, generator=generator).double()
    return replace(
        system,
        exponents=torch.complex(system.exponents.real * (1 + decay), system.exponents.imag),
        B=system.B * (1 + inputs)[:, None],
        C=system.C * (1 + outputs),
    )


def test_by_hand():
    # ‖c bᵀ‖² / (1 - a²) = (1 + 4) (9 + 16) / (3/4), and the first three terms of the sum.
    system = ModalSystem.mimo([0.5], [[1.0, 2.0]], [[3.0], [4.0]])
    assert h2_norm(system).item() ** 2 == pytest.approx(125 * 4 / 3, rel=ROUNDING)
    assert h2_norm(system, horizon=3).item() ** 2 == pytest.approx(125 * 21 / 16, rel=ROUNDING)
    # Orthogonal outputs: squares add.  ∫ e^-2t = 1/2, ∫ e^-4t = 1/4.
    system = ModalSystem.mimo([-1.0, -2.0], [[1.0], [1.0]], torch.eye(2), time="continuous")
    assert h2_norm(system).item() ** 2 == pytest.approx(3 / 4, rel=ROUNDING)
    assert h2_norm(system, horizon=math.log(2)).item() ** 2 == pytest.approx(
        3 / 8 + 15 / 64, rel=ROUNDING
    )


@given(mimo_systems(max_modes=3), HORIZONS)
@settings(max_examples=25)
def test_norm_and_inner_product_to_ten_digits(system, horizon):
    expected = oracles.h2_norm(system, horizon)
    assert h2_norm(system, horizon=horizon).item() == pytest.approx(expected, rel=NORM)
    product = h2_inner_product(system, system, horizon=horizon).item()
    assert product == pytest.approx(oracles.inner_product(system, system, horizon), rel=NORM)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 2), (1, 4), (9, 12)])
@pytest.mark.parametrize("horizon", [None, 7])
def test_norm_by_dense_gramian(time, inputs, outputs, horizon):
    system = seeded_mimo((), inputs, outputs, 3, 2, time=time)
    expected = oracles.h2_norm_by_gramian(system, horizon)
    assert h2_norm(system, horizon=horizon).item() == pytest.approx(expected, rel=DENSE)
    if time == "discrete":
        length = horizon or 4000
        expected = np.linalg.norm(oracles.kernel(system, length))
        assert h2_norm(system, horizon=horizon).item() == pytest.approx(expected, rel=DENSE)


@given(mimo_systems(max_modes=3), HORIZONS, st.integers(0, 99))
@settings(max_examples=40)
def test_small_relative_errors_to_three_digits(system, horizon, seed):
    other = perturbed(system, seed)
    expected = oracles.relative_h2_error(system, other, horizon)
    # The phase at the end of a finite horizon is as uncertain as its exponent's last digit.
    radians = 0 if horizon is None else system.exponents.abs().max().item() * horizon
    assume(expected >= max(1e-9, 1e-12 * radians))
    error = relative_h2_error(system, other, horizon=horizon).item()
    assert error == pytest.approx(expected, rel=SMALL_ERROR)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 1, 100])
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 3), (20, 25)])
def test_small_errors_of_wide_systems(time, horizon, inputs, outputs):
    # 20 inputs and 25 outputs: more than modes, which are compressed first.
    system = seeded_mimo((), inputs, outputs, 2, 1, time=time)
    other = perturbed(system, 3)
    expected = oracles.relative_h2_error(system, other, horizon)
    assert 1e-10 < expected < 1e-6
    error = relative_h2_error(system, other, horizon=horizon).item()
    assert error == pytest.approx(expected, rel=SMALL_ERROR)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 20])
def test_one_input_and_output_is_the_scalar_norm(time, horizon):
    scalar, other = (seeded_bank((2,), 3, 2, time=time, seed=seed) for seed in range(2))
    many, more = as_mimo(scalar), as_mimo(other)
    for function in (h2_error, h2_inner_product, relative_h2_error):
        torch.testing.assert_close(
            function(many, more, horizon=horizon),
            function(scalar, other, horizon=horizon),
            rtol=1e-11,
            atol=0,
        )


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 20])
def test_squares_add_over_channels(time, horizon):
    system = seeded_mimo((), 3, 2, 2, 1, time=time)
    squares = [
        h2_norm(oracles.channel(system, p, m), horizon=horizon).item() ** 2
        for p in range(2)
        for m in range(3)
    ]
    assert h2_norm(system, horizon=horizon).item() ** 2 == pytest.approx(sum(squares), rel=1e-11)


@pytest.mark.parametrize("time", TIMES)
def test_a_batch_equals_a_loop_and_broadcasts(time):
    many, one = seeded_mimo((2, 3), 2, 3, 2, 1, time=time), seeded_mimo((), 2, 3, 1, time=time)
    errors = h2_error(many, one)
    assert errors.shape == (2, 3)
    for row in range(2):
        for column in range(3):
            assert errors[row, column].item() == pytest.approx(
                h2_error(many[row, column], one).item(), rel=1e-12
            )
    assert h2_norm(many[:0]).shape == (0, 3)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 12])
def test_gradients(time, horizon):
    system, other = (seeded_mimo((), 2, 3, 1, 1, time=time, seed=seed) for seed in range(2))
    parts = [part.clone().requires_grad_() for part in (system.exponents, system.B, system.C)]

    def build_from(s, b, c):
        return replace(system, exponents=s, B=b, C=c)

    for function in (
        lambda *parts: h2_norm(build_from(*parts), horizon=horizon),
        lambda *parts: h2_error(other, build_from(*parts), horizon=horizon),
        lambda *parts: h2_inner_product(build_from(*parts), other, horizon=horizon),
    ):
        assert torch.autograd.gradcheck(function, parts)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 12])
@pytest.mark.parametrize("size", [2, 12])
def test_gradients_of_an_error_of_zero_are_finite(time, horizon, size):
    system = seeded_mimo((), size, size, 1, 1, time=time)
    outputs = system.C.clone().requires_grad_()
    error = relative_h2_error(system, replace(system, C=outputs), horizon=horizon)
    assert error < ROUNDING
    (gradient,) = torch.autograd.grad(error, outputs)
    assert torch.isfinite(gradient.abs()).all()


def test_systems_that_cannot_be_compared():
    one, other = seeded_mimo((), 2, 3, 1), seeded_mimo((), 3, 2, 1)
    for function in (h2_error, relative_h2_error, h2_inner_product):
        with pytest.raises(InvalidArgumentError, match="same inputs and outputs"):
            function(one, other)
        with pytest.raises(InvalidArgumentError, match="same time"):
            function(one, seeded_mimo((), 2, 3, 1, time="continuous"))
        with pytest.raises(InvalidArgumentError, match="required"):
            function(one, seeded_bank((), 1))
    unstable = ModalSystem.mimo([1.0], [[1.0, 1.0]], [[1.0]])
    with pytest.raises(UnstableSystemError, match="pass a finite horizon"):
        h2_norm(unstable)
    assert h2_norm(unstable, horizon=3).item() == pytest.approx(math.sqrt(6))
