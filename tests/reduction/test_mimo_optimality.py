"""What makes a MIMO system H²-optimal, checked by other formulas than those of the search."""

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pymor.models.iosys import LTIModel
from pymor.reductors.h2 import IRKAReductor, TSIAReductor

import mimo_oracles as oracles
from hydropress.reduction.reduce import reduce, reduce_path
from hydropress.reduction.result import Reduction
from hydropress.reduction.tangential import (
    ClosedFormTangential,
    SpectralTangential,
    TangentialObjective,
)
from hydropress.reduction.weights import InputCovariance, SpectralWeight
from hydropress.systems.gramians import all_mimo_modes
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.norms import h2_norm
from reduction.mimo_problems import hermitian, mixed, spectral_error
from reduction.problems import half_circle
from strategies import seeded_mimo

Array = NDArray[Any]


def generating_function(system: MIMOSystem, point: complex) -> tuple[Array, Array]:
    """Return K and its derivative at a point, from the dense realisation.

    K(x) = Σ k[t] e^{xt} or ∫ k(t) e^{xt} dt, so that G(1/e^x) = K(x), or G(-x) = K(x).
    """
    A, B, C = oracles.dense_state_space(system)
    identity = np.eye(len(A))
    if system.time == "discrete":
        inverse = np.linalg.inv(identity - np.exp(point) * A)
        return C @ inverse @ B, np.exp(point) * C @ inverse @ A @ inverse @ B
    inverse = np.linalg.inv(-point * identity - A)
    return C @ inverse @ B, C @ inverse @ inverse @ B


def interpolation_residuals(full: MIMOSystem, small: MIMOSystem) -> Array:
    """Return the tangential residuals at the reduced poles, scale-free: right, left, derivative.

    (G - G_r)(-z̄) ē = 0, d^H (G - G_r)(-z̄) = 0 and d^H (G - G_r)'(-z̄) ē = 0, with -z̄ the
    mirrored pole (1/ā in discrete time) of the mode d eᵀ.
    """
    residuals: list[list[float]] = []
    norm = oracles.h2_norm(full)
    for index in torch.nonzero(small.states > 0)[:, 0].tolist():
        z = complex(small.exponents[index])
        e, d = small.B[index].numpy(), small.C[:, index].numpy()
        point = z.conjugate()
        (value, slope), (own, own_slope) = (
            generating_function(one, point) for one in (full, small)
        )
        e, d = e / np.linalg.norm(e), d / np.linalg.norm(d)
        decay = -2 * z.real
        if full.time == "discrete":
            a = math.exp(-decay)
            sizes = 1 / (1 - a), a * (1 + a) / (1 - a) ** 3
        else:
            sizes = 1 / decay, 2 / decay**3
        missed, slipped = value - own, slope - own_slope
        residuals.append(
            [
                np.linalg.norm(missed @ e.conj()) / sizes[0] ** 0.5 / norm,
                np.linalg.norm(d.conj() @ missed) / sizes[0] ** 0.5 / norm,
                abs(d.conj() @ slipped @ e.conj()) / sizes[1] ** 0.5 / norm,
            ]
        )
    return np.array(residuals)


@lru_cache
def optimum(name: str) -> Reduction[MIMOSystem]:
    full, order = SYSTEMS[name]
    return reduce(full, order)


SYSTEMS = {
    "discrete": (seeded_mimo((), 2, 3, 4, 1, seed=31), 4),
    "odd": (seeded_mimo((), 3, 2, 3, 2, seed=32), 3),
    "continuous": (seeded_mimo((), 2, 2, 4, 1, time="continuous", seed=33), 4),
    "continuous odd": (seeded_mimo((), 1, 3, 3, 1, time="continuous", seed=34), 3),
}


@pytest.mark.parametrize("method", ["h2", "irka"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_tangential_interpolation_at_the_mirrored_poles(name, method):
    full, order = SYSTEMS[name]
    result = optimum(name) if method == "h2" else reduce(full, order, method)
    assert bool(result.converged)
    assert interpolation_residuals(full, result.system).max() < 1e-6
    # The truncation that is not optimal misses them by far: the check can fail.
    truncated = reduce(full, order, "modal")
    assert not bool(truncated.converged)
    residuals = interpolation_residuals(full, truncated.system)
    assert residuals.max() > 1e-3
    ratio = float(truncated.certificate.stationarity) / residuals.max()
    assert ratio == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("name", SYSTEMS)
def test_error_is_what_the_reduced_system_does_not_hold(name):
    full, small = SYSTEMS[name][0], optimum(name).system
    expected = oracles.h2_norm(full) ** 2 - oracles.h2_norm(small) ** 2
    assert oracles.h2_error(full, small) ** 2 == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["discrete", "continuous"])
def test_no_small_change_is_better(name):
    full, small = SYSTEMS[name][0], optimum(name).system
    best = oracles.h2_error(full, small)
    generator = torch.Generator().manual_seed(0)
    real = (small.states == 1)[:, None]

    def noise(*shape: int) -> torch.Tensor:
        return 1e-3 * torch.randn(*shape, dtype=torch.complex128, generator=generator)

    for _ in range(10):
        n = small.num_poles
        moved = [part + noise(*part.shape) for part in (small.exponents, small.B, small.C.mT)]
        moved[0] = torch.where(real[:, 0], moved[0].real.to(moved[0].dtype), moved[0])
        moved[1:] = [torch.where(real, part.real.to(part.dtype), part) for part in moved[1:]]
        assert len(moved[0]) == n
        other = replace(small, exponents=moved[0], B=moved[1], C=moved[2].mT)
        assert oracles.h2_error(full, other) > best


@pytest.mark.parametrize(("seed", "order"), [(0, 2), (1, 3), (2, 5)])
def test_never_worse_than_pymor(seed, order):
    full = seeded_mimo((), 2, 3, 4, 2, time="continuous", seed=seed)
    result = reduce(full, order)
    certificate = result.certificate
    least = min(float(certificate.balanced_error), float(certificate.irka_error))
    assert float(result.relative_error) <= least * (1 + 1e-9)
    model = LTIModel.from_matrices(*oracles.dense_state_space(full))
    norm = oracles.h2_norm(full)
    for reductor in (IRKAReductor(model), TSIAReductor(model)):
        small = reductor.reduce(order, maxit=100)
        error = (model - small).h2_norm() / norm
        assert float(result.relative_error) <= error * (1 + 1e-9)


def parameters(r: int, inputs: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    decays = 0.05 + 0.5 * torch.rand(r, dtype=torch.float64, generator=generator)
    turns = 3 * torch.rand(r, dtype=torch.float64, generator=generator)
    B = torch.randn(r, inputs, dtype=torch.complex128, generator=generator)
    return torch.complex(-decays, turns), B


def objectives() -> dict[str, TangentialObjective]:
    discrete = seeded_mimo((), 2, 3, 3, 1, seed=41)
    continuous = seeded_mimo((), 2, 3, 3, 1, time="continuous", seed=41)
    made: dict[str, TangentialObjective] = {}
    for name, full, horizon, free in (
        ("discrete", discrete, None, False),
        ("horizon", discrete, 9, False),
        ("feedthrough", discrete, None, True),
        ("continuous", continuous, None, False),
        ("duration", continuous, 4.5, False),
    ):
        energy = h2_norm(full, horizon=horizon) ** 2
        made[name] = ClosedFormTangential.of(full, energy, horizon, fits_feedthrough=free)
    for free in (False, True):
        made[f"spectrum {free}"] = SpectralTangential.of(
            discrete, half_circle(40), hermitian(40, 2, 5), fits_feedthrough=free
        )
    return made


@pytest.mark.parametrize("name", objectives())
def test_gradients_of_the_projected_error(name):
    objective = objectives()[name]
    exponents, B = parameters(3, 2, seed=6)
    fit = objective.fit(exponents, B)
    step = 1e-6
    for index in range(3):
        for unit in (1 + 0j, 1j):
            shift = torch.zeros(3, dtype=torch.complex128)
            shift[index] = torch.tensor(unit * step)
            up, down = (objective.fit(exponents + sign * shift, B).error for sign in (1, -1))
            expected = float(up - down) / (2 * step)
            slope = float((fit.by_exponent[index].conj() * unit).real)
            assert slope == pytest.approx(expected, rel=1e-5, abs=1e-8)
            for entry in range(2):
                turn = torch.zeros(3, 2, dtype=torch.complex128)
                turn[index, entry] = torch.tensor(unit * step)
                up, down = (objective.fit(exponents, B + sign * turn).error for sign in (1, -1))
                expected = float(up - down) / (2 * step)
                slope = float((fit.by_input[index, entry].conj() * unit).real)
                assert slope == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("free", [False, True])
def test_spectral_error_by_brute_force(free):
    full, small = seeded_mimo((), 2, 3, 3, 1, seed=42), seeded_mimo((), 2, 3, 2, seed=43)
    weight = SpectralWeight(half_circle(50), hermitian(50, 2, 7))
    objective = SpectralTangential.of(
        full, weight.frequencies, weight.values, fits_feedthrough=free
    )
    expected = spectral_error(weight, full, small)
    assert float(objective.error_of(small, full.D)) == pytest.approx(expected, rel=1e-10)
    exponents, B, C = all_mimo_modes(small)
    if free:
        C = torch.cat([C, (small.D - full.D).to(C)], 1)
    else:
        expected = spectral_error(weight, full, replace(small, D=full.D))
    assert float(objective.fit(exponents, B, C).error) == pytest.approx(expected**2, rel=1e-10)


@pytest.mark.slow
def test_a_white_cross_spectrum_is_no_weight():
    full = seeded_mimo((), 2, 3, 3, 1, seed=44)
    values = 3 * torch.eye(2, dtype=torch.complex128).expand(2048, 2, 2)
    weighted = reduce(full, 2, weight=SpectralWeight(half_circle(2048), values))
    plain = reduce(full, 2)
    torch.testing.assert_close(weighted.relative_error, plain.relative_error, rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", ["h2", "balanced", "irka", "modal"])
def test_covariance_is_a_mixing_of_the_inputs(method):
    full = seeded_mimo((2,), 3, 2, 3, 1, seed=45)
    covariance = hermitian(1, 3, 8)[0].real
    result = reduce(full, 2, method, weight=InputCovariance(covariance))
    root = np.linalg.cholesky(covariance.numpy())
    expected = reduce(mixed(full, root), 2, method)
    torch.testing.assert_close(result.relative_error, expected.relative_error, rtol=1e-9, atol=0)
    back = mixed(expected.system, np.linalg.inv(root))
    # Around an optimum the error is flat: two descents that agree in it to nine digits agree in
    # the systems to its square root.
    close = 1e-9**0.5 if method == "h2" else 1e-9
    torch.testing.assert_close(
        result.system.impulse_response(50), back.impulse_response(50), rtol=0, atol=close
    )
    assert torch.equal(result.system.D, full.D)
    for row in range(2):
        actual = float(result.certificate.amplification[row])
        assert actual == pytest.approx(oracles.h2_error(full[row], result.system[row]), rel=1e-9)


@pytest.mark.slow
def test_a_constant_cross_spectrum_is_a_covariance():
    full = seeded_mimo((), 2, 2, 3, 1, seed=46)
    covariance = hermitian(1, 2, 9)[0].real
    values = covariance.to(torch.complex128).expand(2048, 2, 2)
    spectral = reduce(full, 1, weight=SpectralWeight(half_circle(2048), values))
    white = reduce(full, 1, weight=InputCovariance(covariance))
    torch.testing.assert_close(spectral.relative_error, white.relative_error, rtol=1e-5, atol=0)


def test_errors_of_stacked_outputs_add():
    # A bidirectional layer: one set of poles, the outputs of both directions on one another.
    both = seeded_mimo((), 2, 4, 3, 1, seed=47)
    small = reduce(both, 3).system
    parts = [slice(0, 2), slice(2, 4)]
    squares: list[float] = []
    for part in parts:
        full, kept = (replace(one, C=one.C[part], D=one.D[part]) for one in (both, small))
        squares.append(oracles.h2_error(full, kept) ** 2)
    assert sum(squares) == pytest.approx(oracles.h2_error(both, small) ** 2, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("time", ["discrete", "continuous"])
def test_on_a_horizon_its_own_optimum_beats_the_endless_one(time):
    full = seeded_mimo((), 2, 3, 3, 1, time=time, seed=48)
    own, endless = reduce(full, 2, horizon=8), reduce(full, 2)
    other = oracles.relative_h2_error(full, endless.system, 8)
    assert float(own.relative_error) < 0.99 * other
    assert float(endless.relative_error) < oracles.relative_h2_error(full, own.system)


@pytest.mark.slow
def test_a_path_is_ordered_and_each_order_as_good_as_alone():
    full = seeded_mimo((), 2, 3, 4, 1, seed=49)
    path = reduce_path(full, 5)
    assert path.orders == (2, 4, 5)
    errors = [float(step.relative_error) for step in path]
    assert errors == sorted(errors, reverse=True)
    alone = float(reduce(full, 4).relative_error)
    assert errors[1] == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("time", ["discrete", "continuous"])
@pytest.mark.parametrize("method", ["h2", "balanced"])
def test_a_system_that_is_not_minimal_comes_back_exactly(time, method):
    # A repeated pole with residues of one direction, and a mode no output sees: order 7 in 3.
    one = seeded_mimo((), 2, 3, 1, 1, time=time, seed=50)
    full = MIMOSystem(
        torch.cat([one.exponents, one.exponents[:1], torch.tensor([-0.2 + 1j])]),
        torch.cat([one.B, 2 * one.B[:1], one.B[:1]]),
        torch.cat([one.C, one.C[:, :1], 0 * one.C[:, :1]], -1),
        torch.tensor([2, 1, 2, 2]),
        one.D,
        one.time,
    )
    for order in (3, 4, 5):
        result = reduce(full, order, method)
        assert float(result.relative_error) < 1e-7
        assert oracles.relative_h2_error(full, result.system) < 1e-7
        if method == "balanced":
            assert int(result.system.order) == 3


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-8, 1e-4])
def test_repeated_and_nearly_repeated_poles(gap):
    full = seeded_mimo((), 2, 2, 3, seed=51)
    exponents = full.exponents.clone()
    exponents[1] = exponents[0] * (1 + gap)
    result = reduce(replace(full, exponents=exponents), 4)
    assert bool(result.converged)
    expected = oracles.relative_h2_error(replace(full, exponents=exponents), result.system)
    assert float(result.relative_error) == pytest.approx(expected, rel=1e-8)
