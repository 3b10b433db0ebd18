"""The textbook's problem, x[t+1] = A x[t] + B u[t]: errors summed up over plain recurrences."""

from dataclasses import replace
from typing import Any

import control
import numpy as np
import pytest
import torch
from pymor.core.logger import log_levels
from pymor.models.iosys import LTIModel
from pymor.reductors.bt import BTReductor
from scipy import signal as scipy_signal

from hydropress.errors import InvalidArgumentError
from hydropress.reduction import registry
from hydropress.reduction.reduce import reduce, reduce_path
from hydropress.reduction.result import Outcome
from hydropress.reduction.weights import InputCovariance, SpectralWeight
from hydropress.systems.delay import with_delay
from hydropress.systems.interop import (
    from_arrays,
    from_control,
    from_pymor,
    from_scipy,
    to_arrays,
    to_control,
    to_pymor,
    to_scipy,
)
from hydropress.systems.modal import ModalSystem
from tolerances import DENSE, NORM

# SciPy's types, inferred from its code, are narrower than what it takes and returns.
signal: Any = scipy_signal

LENGTH = 1500
METHODS = ["h2", "balanced", "irka", "modal", "gradient", "last", "aire"]


def plant(seed: int, inputs: int = 1, outputs: int = 1, order: int = 8, D: float = 0.0) -> Any:
    generator = np.random.default_rng(seed)
    A = generator.normal(size=(order, order))
    A *= 0.95 / abs(np.linalg.eigvals(A)).max()
    B, C = generator.normal(size=(order, inputs)), generator.normal(size=(outputs, order))
    return A, B, C, D * generator.normal(size=(outputs, inputs))


def respond(A: Any, B: Any, C: Any, D: Any, length: int = LENGTH) -> Any:
    """Return h[0] = D, h[t] = C A^{t-1} B."""
    samples, x = [D], B
    while len(samples) < length:
        samples.append(C @ x)
        x = A @ x
    return np.stack(samples, -1)


def true_error(matrices: Any, reduced: Any, length: int = LENGTH) -> float:
    """Return ‖h - h_r‖ / ‖h - D δ‖ with nothing left out."""
    full = respond(*matrices, length=length)
    difference = np.linalg.norm(full - respond(*reduced, length=length))
    return float(difference / np.linalg.norm(full[..., 1:]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("D", [0.0, 1.0])
def test_the_feedthrough_comes_back(method, inputs, D):
    matrices = plant(0, inputs, inputs, D=D)
    full: Any = from_arrays(*matrices, time="discrete")
    for result in reduce_path(full, orders=(0, 3, 4), method=method):
        back = to_arrays(result.system)
        assert result.system.delay == 1
        assert (back[3] == matrices[3]).all()
        error = true_error(matrices, back)
        assert float(result.relative_error) == pytest.approx(error, rel=1e-7)
        assert float(result.certificate.amplification) == pytest.approx(
            error * np.linalg.norm(respond(*matrices)[..., 1:]), rel=1e-7
        )


def test_strictly_proper_plants_stay_so_in_every_library():
    A, B, C, D = plant(1)
    routes: Any = {
        "SciPy": (signal.StateSpace(A, B, C, D, dt=1), from_scipy, to_scipy),
        "python-control": (control.ss(A, B, C, D, 1), from_control, to_control),
        "pyMOR": (LTIModel.from_matrices(A, B, C, D, sampling_time=1), from_pymor, to_pymor),
    }
    for name, (peer, convert, to) in routes.items():
        back = to(reduce(convert(peer), 2).system)
        assert ((back.D.matrix if name == "pyMOR" else back.D) == 0).all(), name


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize(("seed", "inputs"), [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_balanced_truncation_is_pymor_s(seed, inputs, order):
    matrices = plant(seed, inputs, inputs, D=1.0)
    model = LTIModel.from_matrices(*matrices, sampling_time=1)
    with log_levels({"pymor": "ERROR"}):
        A, B, C, D, E = BTReductor(model).reduce(order).to_matrices(format="dense")
    if E is not None:
        A, B = np.linalg.solve(E, A), np.linalg.solve(E, B)
    full: Any = from_pymor(model)
    ours = to_arrays(reduce(full, order, "balanced").system)
    expected = true_error(matrices, (A, B, C, D))
    assert true_error(matrices, ours) == pytest.approx(expected, rel=DENSE)
    assert abs(respond(*ours) - respond(A, B, C, D)).max() <= DENSE * abs(respond(*ours)).max()


@pytest.mark.parametrize(
    ("seed", "inputs", "states"), [*((seed, 1, 8) for seed in range(6)), (6, 2, 5), (7, 2, 5)]
)
def test_never_above_bt_irka_and_the_optimum_of_the_other_form(seed, inputs, states):
    matrices = plant(seed, inputs, inputs, states)
    full: Any = from_arrays(*matrices, time="discrete")
    for order in (1, 2, 4):
        errors = {
            method: true_error(matrices, to_arrays(reduce(full, order, method).system))
            for method in ("h2", "balanced", "irka")
        }
        at_once = to_arrays(reduce(with_delay(full, 0), order).system)
        errors["h2 at once"] = true_error(matrices, at_once)
        assert errors["h2"] <= min(errors.values()) * (1 + 1e-9), errors


def test_a_deadbeat_mode_is_reduced_like_any_other():
    A = np.diag([0.0, 0.5, -0.3, 0.9]) + 0.3 * np.triu(np.ones((4, 4)), 1)
    matrices = A, np.ones((4, 1)), np.array([[1.0, 2.0, 3.0, 4.0]]), np.zeros((1, 1))
    full: Any = from_arrays(*matrices, time="discrete")
    for order in (1, 2, 3):
        errors = {
            method: true_error(matrices, to_arrays(reduce(full, order, method).system))
            for method in METHODS
        }
        assert errors["h2"] <= min(errors.values()) * (1 + 1e-9), errors
    assert true_error(matrices, to_arrays(full)) < 1e-14


@pytest.mark.parametrize("method", ["h2", "balanced"])
def test_a_horizon_counts_samples_of_the_impulse_response(method):
    matrices = plant(6)
    full: Any = from_arrays(*matrices, time="discrete")
    for horizon in (5, 12):
        result = reduce(full, 2, method, horizon=horizon)
        error = true_error(matrices, to_arrays(result.system), horizon)
        assert float(result.relative_error) == pytest.approx(error, rel=1e-7)
    endless = to_arrays(reduce(full, 2, "h2").system)
    best = to_arrays(reduce(full, 2, "h2", horizon=12).system)
    assert true_error(matrices, best, 12) <= true_error(matrices, endless, 12) * (1 + 1e-9)


def test_a_weight_is_that_of_the_transfer_function():
    A, B, C, D = plant(7, D=1.0)
    full: Any = from_arrays(A, B, C, D, time="discrete")
    frequencies = np.linspace(0, np.pi, 400)
    values = 1 / (0.01 + frequencies**2)
    weight = SpectralWeight(torch.from_numpy(frequencies), torch.from_numpy(values))
    result = reduce(full, 2, weight=weight)

    def response(A: Any, B: Any, C: Any, D: Any) -> Any:
        points = np.exp(1j * frequencies)
        return np.array(
            [(C @ np.linalg.solve(z * np.eye(len(A)) - A, B) + D).item() for z in points]
        )

    target, reduced = response(A, B, C, D), response(*to_arrays(result.system))
    error = np.sqrt((values * abs(target - reduced) ** 2).sum())
    norm = np.sqrt((values * abs(target - D.item()) ** 2).sum())
    assert float(result.relative_error) == pytest.approx(error / norm, rel=1e-9)
    assert (to_arrays(result.system)[3] == D).all()
    plain = response(*to_arrays(reduce(full, 2).system))
    assert error <= np.sqrt((values * abs(target - plain) ** 2).sum())


def test_an_input_covariance_leaves_delay_and_feedthrough():
    matrices = plant(8, 2, 2, D=1.0)
    full: Any = from_arrays(*matrices, time="discrete")
    covariance = np.array([[2.0, 0.9], [0.9, 1.0]])
    result = reduce(full, 4, weight=InputCovariance(torch.from_numpy(covariance)))
    back = to_arrays(result.system)
    assert result.system.delay == 1
    assert (back[3] == matrices[3]).all()
    factor = np.linalg.cholesky(covariance)
    before, after = ((A, B @ factor, C, D @ factor) for A, B, C, D in (matrices, back))
    assert float(result.relative_error) == pytest.approx(true_error(before, after), rel=1e-7)
    absolute = np.linalg.norm(respond(*matrices) - respond(*back))
    assert float(result.certificate.amplification) == pytest.approx(absolute, rel=1e-7)


def test_banks_equal_single_systems():
    pair = [plant(9), plant(10)]
    bank: Any = from_arrays(*(np.stack(part) for part in zip(*pair, strict=True)), time="discrete")
    together = reduce(bank, 2)
    for index, matrices in enumerate(pair):
        alone: Any = reduce(from_arrays(*matrices, time="discrete"), 2)
        error = float(together.relative_error[index])
        assert error == pytest.approx(float(alone.relative_error), rel=NORM)


def test_what_makes_no_sense_is_refused():
    full: Any = from_arrays(*plant(11), time="discrete")
    with pytest.raises(
        InvalidArgumentError, match=r"fit_feedthrough with systems of delay 1.*with_d"
    ):
        reduce(full, 2, fit_feedthrough=True)
    with pytest.raises(InvalidArgumentError, match=r"horizon=1 with systems of delay 1.*2 samples"):
        reduce(full, 2, horizon=1)
    reduce(with_delay(full, 0), 2, fit_feedthrough=True)


def test_a_method_that_changes_the_feedthrough_is_refused(monkeypatch):
    def move(problem: Any) -> list[Any]:
        small = [found.system for found in reduce_path(problem.full, orders=problem.orders)]
        return [Outcome.direct(replace(system, D=system.D + 1)) for system in small]

    monkeypatch.setitem(registry._METHODS, "moves D", move)
    full: Any = from_arrays(*plant(12), time="discrete")
    with pytest.raises(InvalidArgumentError, match="'moves D', which changes D.*keeps D, or delay"):
        reduce(full, 2, "moves D")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("poles", [[0, 0.5], [0, -0.3, 0.6], [0, 0.2 + 0.4j], [0, 0.9, 0.91]])
def test_full_order_with_a_pole_at_zero(method, poles):
    # A sample of its own at t = 1, as a filter with a zero leading coefficient has it.
    full = ModalSystem.siso(poles, [2.0, *range(1, len(poles))], delay=1)
    result = reduce(full, int(full.order), method)
    error = respond(*to_arrays(result.system)) - respond(*to_arrays(full))
    assert abs(error).max() < 1e-12
    assert float(result.relative_error) < 1e-12
    assert float(result.certificate.balanced_error) < 1e-12


def test_a_bank_whose_order_is_that_of_a_member_with_a_pole_at_zero():
    full = ModalSystem.siso([[0, 0.9, 0.5], [0.2, 0.9, 0.5 + 0.3j]], np.ones((2, 3)), delay=1)
    errors = reduce(full, 3).relative_error
    assert float(errors[0]) < 1e-12
    assert float(errors[1]) == pytest.approx(float(reduce(full[1], 3).relative_error), rel=1e-6)


@pytest.mark.parametrize("pole", [1e-26, 1e-100, 1e-300])
def test_singular_perturbation_to_full_order_with_a_pole_next_to_zero(pole):
    full = ModalSystem.siso([pole, 0.5], [2.0, 1.0])
    result = reduce(full, 2, "singular-perturbation")
    assert float(result.relative_error) < 1e-12
    assert float(reduce(full, 2, "balanced").relative_error) < 1e-12
