"""The search of all models of order two against angles, errors and optima computed another way."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hydropress.bench.banks import mixed_bank
from hydropress.reduction.compiled.order_two import _reach
from hydropress.reduction.order_two import search_order_two
from hydropress.reduction.reduce import reduce
from hydropress.systems.norms import h2_norm
from reduction.order_two import ExhaustiveSearch
from reduction.problems import s4d_bank
from strategies import build, modal_systems, seeded_bank

unit = st.floats(0.0, 1.0)


def poles_of(u, v):
    """Return the roots of s² + 2ζωs + ω² for u = log ω, v = log ζ."""
    root = np.sqrt(complex(math.exp(2 * v) - 1))
    return -math.exp(u) * np.array([math.exp(v) + root, math.exp(v) - root])


def largest_angle(first, second):
    """Return the largest principal angle of span{e^{st}} for two sets of two poles."""

    def gram(a, b):
        return -1 / (a.conj()[:, None] + b)

    left, right = (np.linalg.cholesky(gram(poles, poles)) for poles in (first, second))
    product = np.linalg.solve(left, gram(first, second))
    product = np.linalg.solve(right, product.conj().T)
    return math.acos(min(1.0, np.linalg.svd(product)[1][-1]))


@settings(max_examples=200)
@given(
    st.floats(-3.0, 3.0),
    st.floats(-3.0, 3.0),
    st.floats(0.02, 1.0),
    st.floats(0.02, 1.0),
    st.floats(-1.0, 1.0),
    st.floats(-1.0, 1.0),
)
def test_no_model_of_a_box_is_farther_than_a_corner_and_that_corner_is(u, v, hu, hv, x, y):
    hu *= min(1.0, math.exp(v))
    cosine, sine = _reach(np.array([u, v, hu, hv]))
    assert math.hypot(cosine, sine) == pytest.approx(1)
    reach, centre = math.atan2(sine, cosine), poles_of(u, v)
    corner = poles_of(u + hu, v - hv)
    for poles in (centre, corner):
        # Nearly equal poles: Gram matrices of exponentials are singular there.
        if abs(poles[0] - poles[1]) < 0.05 * abs(poles[0]):
            return
    assert largest_angle(centre, corner) == pytest.approx(reach, abs=1e-6)
    other = poles_of(u + x * hu, v + y * hv)
    if abs(other[0] - other[1]) > 0.05 * abs(other[0]):
        assert largest_angle(centre, other) <= reach + 1e-6


def residual(system, exponents):
    """Return the relative error of the best model with two exponents, by least squares."""
    full = np.concatenate([system.exponents.numpy(), system.exponents.numpy().conj()])
    half = (system.residues * system.states / 2).numpy()
    weights = np.concatenate([half, half.conj()])

    def product(first, second):
        sums = first.conj()[:, None] + second
        return -1 / np.expm1(sums) if system.time == "discrete" else -1 / sums

    both = np.concatenate([exponents, full])
    gram = product(both, both)
    residues = np.linalg.solve(gram[:2, :2], gram[:2, 2:] @ weights)
    difference = np.concatenate([residues, -weights])
    error = (difference.conj() @ gram @ difference).real
    return math.sqrt(max(error, 0.0) / (weights.conj() @ gram[2:, 2:] @ weights).real)


@settings(max_examples=100)
@given(modal_systems(max_modes=5, nearest=1e-3), st.booleans(), unit, unit, unit)
def test_no_model_of_order_two_is_below_the_bound(full, is_pair, first, second, sign):
    decay, other = (math.exp(math.log(3e-4) * (1 - share) + 1) for share in (first, second))
    if is_pair:
        s = complex(-decay, 0.01 + 3.1 * second)
        exponents = np.array([s, s.conjugate()])
    else:
        if abs(decay - other) < 0.05 * decay:
            other *= 1.2
        turn = math.pi if full.time == "discrete" and sign < 0.5 else 0.0
        exponents = np.array([complex(-decay, 0.0), complex(-other, turn)])
    found = search_order_two(full[None], h2_norm(full[None]) ** 2, 0.01)
    assert residual(full, exponents) >= float(found.bound) * (1 - 1e-6) - 1e-6


@pytest.mark.parametrize("time", ["discrete", "continuous"])
@pytest.mark.parametrize("slack", [0.1, 0.01, 0.001])
def test_the_gap_between_bound_and_best_model_is_the_slack(time, slack):
    full = seeded_bank((12,), 6, 2, time=time, seed=3)
    found = search_order_two(full, h2_norm(full) ** 2, slack)
    h2 = reduce(full, 2).relative_error
    assert bool((found.bound <= h2).all() & (h2 <= found.error * (1 + 1e-12)).all())
    assert bool((found.bound >= (1 - slack) * found.error - 1e-7).all())


def test_the_model_named_has_the_error_named():
    for time in ("discrete", "continuous"):
        full = seeded_bank((16,), 4, 3, time=time, seed=5)
        found = search_order_two(full, h2_norm(full) ** 2, 0.03)
        assert set(found.states[:, 0].tolist()) == {1, 2}
        for row in range(len(full.D)):
            s = found.exponents[row].numpy()
            if found.states[row, 0] == 2:
                s = np.array([s[0], s[0].conj()])
            assert residual(full[row], s) == pytest.approx(float(found.error[row]), rel=1e-6)


def test_it_sees_the_optimum_that_descents_from_a_dictionary_missed():
    # Of 2,048 channels the only one on which the search before this one ended 1e-6 above.
    channel = mixed_bank(2048, 0)[512:528]
    best = ExhaustiveSearch(channel[7]).run()
    found = reduce(channel, 2)
    assert float(found.relative_error[7]) <= best.relative_error * (1 + 1e-6)
    assert float(found.certificate.lower_bound[7]) >= best.relative_error * (1 - 1e-3)


@pytest.mark.parametrize("bank", ["s4d", "time constants over six decades"])
def test_the_bound_of_the_certificate_is_tight_at_order_two(bank):
    full = s4d_bank(32, 16) if bank == "s4d" else seeded_bank((8,), 6, 2, decays=(1e-6, 1.0))
    found = reduce(full, 2)
    gap = 1 - found.certificate.lower_bound / found.relative_error
    assert float(gap.min()) >= 0 and float(gap.max()) <= 1e-3
    # It holds of order one as well, where it may be far off.
    single = reduce(full, 1)
    assert bool((single.certificate.lower_bound <= single.relative_error).all())


@pytest.mark.parametrize(
    "full",
    [
        build([-1e-9 + 0j], [1.0], [1]),
        build([-1e-9 + 1j, -2.0 + 0j], [1.0, 1.0], [2, 1]),
        build([-1e-7 + (math.pi - 1e-6) * 1j, -0.3 + 1j], [1.0, 1j], [2, 2]),
        build([-0.1 + math.pi * 1j, -1e-8 + math.pi * 1j, -5.0 + 0j], [1.0, 1.0, 1e-8], [1, 1, 1]),
        build([-30.0 + 0j, -0.1 + 0j, -700.0 + 0j], [1.0, 1.0, 1.0], [1, 1, 1]),
        build([-0.1 + 0j], [0.0], [1]),
        build(
            [-1e-8 + 1e6j, -1e5 + 0j, -1e-3 + 1e-4j], [1e-6, 1e6, 1.0], [2, 1, 2], 0.0, "continuous"
        ),
    ],
)
def test_awkward_systems_have_a_bound(full):
    bank = full[None]
    norm = h2_norm(bank)
    found = search_order_two(bank, torch.where(norm > 0, norm**2, 1.0), 0.01)
    error = reduce(bank, min(2, int(full.order))).relative_error
    assert bool(torch.isfinite(found.bound).all() & (found.exponents.real < 0).all())
    assert float(found.bound) <= float(error) + 1e-12
