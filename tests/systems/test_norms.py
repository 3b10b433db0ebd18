"""H2 norms, errors and inner products against 50 digits, Gramians, sums and averages."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import oracles
from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.systems.modal import ModalSystem
from hydropress.systems.moments import Time
from hydropress.systems.norms import h2_error, h2_inner_product, h2_norm, relative_h2_error
from strategies import bank, build, modal_banks, modal_systems, s4d_bank, seeded_bank
from tolerances import DENSE, NORM, QUADRATURE, ROUNDING, SMALL_ERROR

TIMES: tuple[Time, ...] = ("discrete", "continuous")
HORIZONS = st.sampled_from([None, 1, 2, 50, 700])
QUARTER = complex(math.log(0.5), math.pi / 2)


@pytest.mark.parametrize(
    ("system", "horizon", "square"),
    [
        # Σ 4^-t; over three samples; Σ (2^-t cos πt/2)² = Σ 16^-t.
        (build([math.log(0.5)], [1.0], [1]), None, 4 / 3),
        (build([math.log(0.5)], [1.0], [1]), 3, 1 + 1 / 4 + 1 / 16),
        (build([QUARTER], [0.5], [2]), None, 16 / 15),
        # ∫ e^-2t; ∫ (e^-t cos t)² = 1/4 + 1/8; the first over T = log 2.
        (build([-1.0], [1.0], [1], time="continuous"), None, 1 / 2),
        (build([-1.0], [1.0], [1], time="continuous"), math.log(2), 3 / 8),
        (build([-1 + 1j], [0.5], [2], time="continuous"), None, 3 / 8),
        # Poles on the boundary: a constant, an alternation, cos πt/2, and 1 over T.
        (build([0.0], [2.0], [1]), 5, 20),
        (build([1j * math.pi], [2.0], [1]), 5, 20),
        (build([0.5j * math.pi], [0.5], [2]), 7, 4),
        (build([0.0], [2.0], [1], time="continuous"), 2.5, 10),
        # A growing one: 1 + 4 + 16.
        (build([math.log(2)], [1.0], [1]), 3, 21),
        # D is no part of it.
        (build([math.log(0.5)], [1.0], [1], feedthrough=9.0), None, 4 / 3),
    ],
)
def test_by_hand(system, horizon, square):
    assert h2_norm(system, horizon=horizon).item() ** 2 == pytest.approx(square, rel=ROUNDING)
    product = h2_inner_product(system, system, horizon=horizon)
    assert product.item() == pytest.approx(square, rel=ROUNDING)


@given(modal_systems(), HORIZONS)
def test_norm_to_ten_digits(system, horizon):
    expected = oracles.h2_norm(system, horizon)
    assert h2_norm(system, horizon=horizon).item() == pytest.approx(expected, rel=NORM)


@given(modal_systems("discrete", nearest=1e-2, max_modes=3))
def test_norm_by_gramian_sum_and_average(system):
    norm = h2_norm(system).item()
    assert norm == pytest.approx(oracles.h2_norm_by_gramian(system), rel=DENSE)
    assert norm == pytest.approx(oracles.h2_norm_by_kernel(system, 2000), rel=QUADRATURE)
    assert h2_norm(system, horizon=37).item() == pytest.approx(
        oracles.h2_norm_by_kernel(system, 37), rel=NORM
    )


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("seed", range(3))
def test_norm_by_frequency_and_integral(time, seed):
    system = seeded_bank((), 2, 2, time=time, seed=seed, decays=(5e-2, 1.0))
    norm = h2_norm(system).item()
    assert norm == pytest.approx(oracles.h2_norm_by_gramian(system), rel=DENSE)
    assert norm == pytest.approx(oracles.h2_norm_by_frequency(system, 4096), rel=QUADRATURE)
    if time == "continuous":
        for horizon in (0.3, 40.0):
            assert h2_norm(system, horizon=horizon).item() == pytest.approx(
                oracles.h2_norm_by_quadrature(system, horizon), rel=QUADRATURE
            )


@pytest.mark.parametrize("time", TIMES)
def test_the_norm_grows_with_the_horizon_to_its_limit(time):
    system = build([-1e-3 + 0.1j, -0.5], [1.0, 1.0], [2, 1], time=time)
    norms = [h2_norm(system, horizon=h).item() for h in (1, 10, 100, 1000, 10_000, 100_000)]
    assert norms == sorted(norms)
    assert norms[-1] == pytest.approx(h2_norm(system).item(), rel=NORM)


def perturbed(system, seed):
    """Change every parameter of a system by about 1e-8 of itself."""
    generator = torch.Generator().manual_seed(seed)
    first, second = 1e-8 * torch.randn(2, system.num_poles, generator=generator).double()
    return ModalSystem.from_exponents(
        torch.complex(system.exponents.real * (1 + first), system.exponents.imag),
        system.residues * (1 + second),
        system.states,
        time=system.time,
    )


@given(modal_systems(max_modes=3), HORIZONS, st.integers(0, 99))
def test_small_relative_errors_to_three_digits(system, horizon, seed):
    other = perturbed(system, seed)
    expected = oracles.relative_h2_error(system, other, horizon)
    # The phase at the end of a finite horizon is as uncertain as its exponent's last digit.
    radians = 0 if horizon is None else system.exponents.abs().max().item() * horizon
    assume(expected >= max(1e-9, 1e-12 * radians))
    error = relative_h2_error(system, other, horizon=horizon).item()
    assert error == pytest.approx(expected, rel=SMALL_ERROR)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 1, 100, 3000])
def test_small_error_of_a_reduced_system(time, horizon):
    # What was cut away is 1e-8 of the whole, and what was kept has moved by as little.
    full = build([-1e-6 + 0.2j, -1e-4, -0.3 + 2j], [1.0, 0.5, 1e-8j], [2, 1, 2], time=time)
    reduced = build([-1.00000001e-6 + 0.2j, -1e-4], [1.0, 0.500000001], [2, 1], time=time)
    expected = oracles.relative_h2_error(full, reduced, horizon)
    assert 1e-10 < expected < 1e-6
    error = relative_h2_error(full, reduced, horizon=horizon).item()
    assert error == pytest.approx(expected, rel=SMALL_ERROR)


def test_small_error_on_the_boundary():
    # Undamped poles have an error only on a finite horizon.
    for time in TIMES:
        full = build([0.0, 0.3j], [1.0, 1.0], [1, 2], time=time)
        reduced = build([0.0, 0.3j], [1.0, 1.0 + 2e-8], [1, 2], time=time)
        expected = oracles.relative_h2_error(full, reduced, 200)
        error = relative_h2_error(full, reduced, horizon=200).item()
        assert error == pytest.approx(expected, rel=SMALL_ERROR)


def test_a_bank_at_initialisation():
    system = s4d_bank(3, 32, seed=1)
    norms = h2_norm(system)
    for index in range(3):
        assert norms[index].item() == pytest.approx(oracles.h2_norm(system[index]), rel=NORM)


@given(modal_systems("discrete", max_modes=3), modal_systems("discrete", max_modes=3), HORIZONS)
def test_inner_product_to_ten_digits_in_discrete_time(first, second, horizon):
    check_inner_product(first, second, horizon)


@given(modal_systems("continuous", max_modes=3), modal_systems("continuous", max_modes=3), HORIZONS)
def test_inner_product_to_ten_digits_in_continuous_time(first, second, horizon):
    check_inner_product(first, second, horizon)


def check_inner_product(first, second, horizon):
    product = h2_inner_product(first, second, horizon=horizon).item()
    bound = oracles.h2_norm(first, horizon) * oracles.h2_norm(second, horizon)
    assert abs(product - oracles.inner_product(first, second, horizon)) <= NORM * bound
    assert abs(product) <= bound * (1 + NORM)  # Cauchy-Schwarz
    swapped = h2_inner_product(second, first, horizon=horizon).item()
    assert abs(product - swapped) <= ROUNDING * bound


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 20])
def test_inner_product_is_bilinear(time, horizon):
    first, second, third = (seeded_bank((), 2, 1, time=time, seed=seed) for seed in range(3))
    joined = ModalSystem.from_exponents(
        torch.cat([first.exponents, second.exponents]),
        torch.cat([2 * first.residues, -3 * second.residues]),
        torch.cat([first.states, second.states]),
        time=time,
    )

    def product(left, right):
        return h2_inner_product(left, right, horizon=horizon).item()

    expected = 2 * product(first, third) - 3 * product(second, third)
    assert product(joined, third) == pytest.approx(expected, rel=1e-12)
    assert product(third, joined) == pytest.approx(expected, rel=1e-12)
    # The difference system's norm is what the inner products say.
    error = h2_error(first, second, horizon=horizon).item()
    squares = product(first, first) - 2 * product(first, second) + product(second, second)
    assert error**2 == pytest.approx(squares, rel=1e-12)


@given(modal_systems(), HORIZONS, st.randoms())
def test_the_order_of_the_poles_does_not_matter(system, horizon, random):
    places = list(range(system.num_poles))
    random.shuffle(places)
    shuffled = ModalSystem.from_exponents(
        system.exponents[places], system.residues[places], system.states[places], time=system.time
    )
    norm = h2_norm(system, horizon=horizon).item()
    assert h2_norm(shuffled, horizon=horizon).item() == pytest.approx(norm, rel=NORM)
    assert relative_h2_error(system, shuffled, horizon=horizon).item() < NORM


@given(modal_banks(), HORIZONS)
def test_a_batch_equals_a_loop(systems, horizon):
    shifted = ModalSystem.from_exponents(
        systems.exponents, 0.5 * systems.residues, systems.states, time=systems.time
    )
    norms = h2_norm(systems, horizon=horizon)
    errors = h2_error(systems, shifted, horizon=horizon)
    products = h2_inner_product(systems, shifted, horizon=horizon)
    for index in range(len(norms)):
        full, reduced = systems[index], shifted[index]
        # Empty entries pad a row; without them the numbers are the same.
        kept = full.states > 0
        bare = ModalSystem.from_exponents(
            full.exponents[kept], full.residues[kept], full.states[kept], time=full.time
        )
        norm = h2_norm(bare, horizon=horizon).item()
        assert norms[index].item() == pytest.approx(norm, rel=NORM)
        error = h2_error(full, reduced, horizon=horizon).item()
        assert errors[index].item() == pytest.approx(error, rel=NORM)
        product = h2_inner_product(full, reduced, horizon=horizon).item()
        assert products[index].item() == pytest.approx(product, rel=NORM)


def test_a_system_is_compared_with_each_of_a_bank():
    one, many = seeded_bank((), 2), seeded_bank((2, 3), 1, 2)
    assert h2_error(one, many).shape == (2, 3)
    torch.testing.assert_close(h2_error(one, many)[1, 2], h2_error(one, many[1, 2]))
    torch.testing.assert_close(h2_inner_product(many, one)[0, 1], h2_inner_product(many[0, 1], one))


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 12])
def test_gradients(time, horizon):
    system = seeded_bank((), 2, 1, time=time, decays=(0.1, 1.0))
    other = seeded_bank((), 1, 1, time=time, seed=1)
    exponents = system.exponents.clone().requires_grad_()
    residues = system.residues.clone().requires_grad_()

    def build_from(s, r):
        return ModalSystem.from_exponents(s, r, system.states, time=time)

    for function in (
        lambda s, r: h2_norm(build_from(s, r), horizon=horizon),
        lambda s, r: h2_error(other, build_from(s, r), horizon=horizon),
        lambda s, r: relative_h2_error(build_from(s, r), other, horizon=horizon),
        lambda s, r: h2_inner_product(build_from(s, r), other, horizon=horizon),
    ):
        assert torch.autograd.gradcheck(function, (exponents, residues))


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 12])
def test_gradients_where_two_systems_share_a_pole(time, horizon):
    full = build([-0.2 + 1j, -0.5], [1.0, 1.0], [2, 1], time=time)
    exponents = torch.tensor([-0.2 + 1j], dtype=torch.complex128, requires_grad=True)
    residues = torch.tensor([0.8 + 0.1j], dtype=torch.complex128, requires_grad=True)
    pair = torch.tensor([2])

    def error(s, r):
        reduced = ModalSystem.from_exponents(s, r, pair, time=time)
        return h2_error(full, reduced, horizon=horizon)

    assert torch.autograd.gradcheck(error, (exponents, residues))


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 12])
def test_gradients_of_an_error_of_zero_are_finite(time, horizon):
    system = build([-0.2 + 1j, -0.5], [1.0, 1.0], [2, 1], time=time)
    residues = system.residues.clone().requires_grad_()
    same = ModalSystem.from_exponents(system.exponents, residues, system.states, time=time)
    error = relative_h2_error(system, same, horizon=horizon)
    assert error < ROUNDING
    (gradient,) = torch.autograd.grad(error, residues)
    assert torch.isfinite(gradient.abs()).all()


def test_systems_without_states():
    nothing = ModalSystem.siso(torch.zeros(0), torch.zeros(0))
    one = build([math.log(0.5)], [1.0], [1])
    for horizon in (None, 5):
        assert h2_norm(nothing, horizon=horizon) == 0
        assert relative_h2_error(nothing, nothing, horizon=horizon) == 0
        assert relative_h2_error(one, nothing, horizon=horizon) == pytest.approx(1, rel=ROUNDING)
        assert h2_inner_product(one, nothing, horizon=horizon) == 0
    padded = bank([nothing, one])
    assert h2_norm(padded).tolist() == pytest.approx([0, math.sqrt(4 / 3)], rel=ROUNDING)


def test_unstable_systems_need_a_horizon():
    cases: list[tuple[float, Time]] = [(1.0, "discrete"), (1.1, "discrete"), (0.0, "continuous")]
    for pole, time in cases:
        unstable = ModalSystem.siso([pole], [1.0], time=time)
        stable = ModalSystem.siso([0.5 - (time == "continuous")], [1.0], time=time)
        for compute in (
            lambda u=unstable: h2_norm(u),
            lambda u=unstable, s=stable: h2_error(s, u),
            lambda u=unstable, s=stable: relative_h2_error(s, u),
            lambda u=unstable, s=stable: h2_inner_product(s, u),
        ):
            with pytest.raises(UnstableSystemError, match="pass a finite horizon"):
                compute()
        assert h2_norm(unstable, horizon=3) > 0


@pytest.mark.parametrize("horizon", [0, -1, 2.5, math.nan, math.inf, "3"])
def test_horizons_that_are_none(horizon):
    system = build([math.log(0.5)], [1.0], [1])
    for compute in (
        lambda: h2_norm(system, horizon=horizon),
        lambda: h2_error(system, system, horizon=horizon),
        lambda: relative_h2_error(system, system, horizon=horizon),
        lambda: h2_inner_product(system, system, horizon=horizon),
    ):
        with pytest.raises(InvalidArgumentError, match="horizon="):
            compute()
    continuous = build([-1.0], [1.0], [1], time="continuous")
    if horizon == 2.5:
        assert h2_norm(continuous, horizon=2.5) > 0
    else:
        with pytest.raises(InvalidArgumentError, match="horizon="):
            h2_norm(continuous, horizon=horizon)


def test_systems_that_cannot_be_compared():
    discrete, continuous = build([-1.0], [1.0], [1]), build([-1.0], [1.0], [1], time="continuous")
    pair, triple = seeded_bank((2,), 1), seeded_bank((3,), 1)
    for function in (h2_error, relative_h2_error, h2_inner_product):
        with pytest.raises(InvalidArgumentError, match="same time"):
            function(discrete, continuous)
        with pytest.raises(InvalidArgumentError, match="batch shapes"):
            function(pair, triple)


def test_double_precision_does_not_depend_on_the_default():
    norms = h2_norm(ModalSystem.siso(np.array([0.5], dtype=np.float32), np.array([1.0])))
    assert norms.dtype == torch.float64
