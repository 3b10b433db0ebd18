"""What no system, however awkward, may bring about: Hypothesis over methods and both kinds."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mimo_oracles
import oracles
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.reduce import reduce
from hydropress.reduction.result import Reduction
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from reduction.problems import KEEPING
from strategies import mimo_systems, modal_systems

NEAREST = 1e-9
"""Distance of the nearest poles to the stability boundary."""

SHORT = DescentConfig(max_iterations=30)
DIRECT = tuple(name for name in KEEPING if name not in ("h2", "gradient"))

HORIZONS = st.sampled_from([None, None, 9])


def spread_out(sizes: Tensor, decades: float) -> Tensor:
    """Return factors from 1 down to 10 to the minus ``decades``, one for each entry."""
    steps = torch.linspace(0, -decades, max(2, sizes.shape[-1]), dtype=torch.float64)
    return 10 ** steps[: sizes.shape[-1]]


@st.composite
def awkward_scalars(draw) -> SISOSystem:
    """Draw a system at times with residues over 6 to 12 decades."""
    system = draw(modal_systems(max_modes=4, nearest=NEAREST))
    factors = spread_out(system.residues, draw(st.sampled_from([0.0, 6.0, 12.0])))
    return replace(system, residues=system.residues * factors)


@st.composite
def awkward_mimo(draw) -> MIMOSystem:
    """Draw the same with up to three inputs and outputs."""
    system = draw(mimo_systems(max_modes=4, nearest=NEAREST))
    factors = spread_out(system.states, draw(st.sampled_from([0.0, 6.0, 12.0])))
    return replace(system, C=system.C * factors)


def true_error(full: ModalSystem, small: ModalSystem, horizon: float | None) -> float:
    if isinstance(full, MIMOSystem) and isinstance(small, MIMOSystem):
        return mimo_oracles.relative_h2_error(full, small, horizon)
    assert isinstance(full, SISOSystem) and isinstance(small, SISOSystem)
    # Modes may cancel to nothing.
    norm = oracles.h2_norm(full, horizon)
    return oracles.h2_error(full, small, horizon) / (norm if norm > 0 else 1.0)


def phase_rounding(full: ModalSystem) -> float:
    """What a change of its phase by a rounding or two changes of a mode, relatively."""
    worst = float((full.exponents.abs() / full.decay).max())
    return 4 * torch.finfo(torch.float64).eps * worst


def assert_sound(full: ModalSystem, order: int, result: Reduction, horizon: float | None) -> None:
    small, certificate = result.system, result.certificate
    assert int(small.order) <= order
    assert bool((small.decay > 0).all())
    assert bool((small.poles.imag[small.states == 2] > 0).all())
    assert bool((small.poles.imag[small.states == 1] == 0).all())
    for values in (
        result.relative_error,
        certificate.stationarity,
        certificate.balanced_error,
        certificate.amplification,
        certificate.mode_energy,
        certificate.spread,
    ):
        assert bool(torch.isfinite(values).all())
        assert bool((values >= 0).all())
    error = float(result.relative_error)
    # Below 1e-9 an error has lost its digits; a horizon takes three more from fast phases.
    rounding = 1e-10 + phase_rounding(full) if horizon is None else 1e-9
    assert error == pytest.approx(true_error(full, small, horizon), rel=1e-5, abs=rounding)
    assert 0 <= float(certificate.lower_bound) <= error * (1 + 1e-9) + rounding
    assert bool(result.converged) == (float(certificate.stationarity) <= 1e-6)


def check(full: ModalSystem, order: int, methods: tuple[str, ...], horizon: float | None) -> None:
    order = min(order, int(full.order))
    for method in methods:
        result = reduce(full, order, method, horizon=horizon, descent=SHORT)
        assert_sound(full, order, result, horizon)
        if method == "h2":
            balanced = float(result.certificate.balanced_error)
            assert float(result.relative_error) <= balanced * (1 + 1e-9) + 1e-12


@given(awkward_scalars(), st.integers(0, 6), HORIZONS)
@settings(max_examples=10)
def test_direct_methods_on_scalar_systems(full, order, horizon):
    check(full, order, DIRECT, horizon)


@given(awkward_mimo(), st.integers(0, 6), HORIZONS)
@settings(max_examples=10)
def test_direct_methods_on_mimo_systems(full, order, horizon):
    check(full, order, DIRECT, horizon)


@given(awkward_scalars(), st.integers(0, 6), HORIZONS)
@settings(max_examples=5)
def test_descents_on_scalar_systems(full, order, horizon):
    check(full, order, ("h2", "gradient"), horizon)


@given(awkward_mimo(), st.integers(0, 6), HORIZONS)
@settings(max_examples=5)
def test_descents_on_mimo_systems(full, order, horizon):
    check(full, order, ("h2", "gradient"), horizon)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("pole", [-2.853e-10 + 19.494j, -0.01 + 1j])
def test_no_bound_above_an_attained_error_where_modes_cancel(pole, order):
    full = ModalSystem.siso([pole] * 2, [0.072 + 0.098j, -0.072 - 0.098j], 0.5, time="continuous")
    result = reduce(full, order, "balanced")
    certificate = result.certificate
    # No model at all is off by the whole, whatever the order.
    errors = [1.0, float(result.relative_error), float(certificate.balanced_error)]
    assert float(certificate.lower_bound) <= min(errors) * (1 + 1e-9)


@pytest.mark.slow
@given(st.one_of(awkward_scalars(), awkward_mimo()), st.integers(0, 6), HORIZONS)
@settings(max_examples=40)
def test_all_methods_at_length(full, order, horizon):
    check(full, order, KEEPING, horizon)
