"""Converted systems against what the other libraries compute of them by themselves."""

import doctest
import math
import warnings
from dataclasses import replace
from typing import Any

import control
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymor.algorithms.to_matrix import to_matrix
from pymor.models.iosys import LTIModel
from scipy import linalg
from scipy import signal as scipy_signal

from hydropress import reduce
from hydropress.errors import (
    HydropressError,
    IllConditionedWarning,
    InvalidArgumentError,
)
from hydropress.systems import interop
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
    to_scipy_zpk,
    to_sos,
)
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.norms import h2_error
from strategies import modal_systems, seeded_bank, seeded_mimo
from tolerances import DENSE, ROUNDING

# SciPy's types, inferred from its code, are narrower than what it takes and returns.
signal: Any = scipy_signal

LENGTH = 60
STEP = 0.1
TIMES = ["discrete", "continuous"]
POINTS = {
    "discrete": np.exp(1j * np.array([0.0, 0.1, 1.0, 3.1])),
    "continuous": 1j * np.array([0.0, 0.1, 1.0, 30.0]),
}
ROUTES = {
    "SciPy": (to_scipy, from_scipy),
    "python-control": (to_control, from_control),
    "pyMOR": (to_pymor, from_pymor),
}
LATE = [("discrete", 0), ("discrete", 1), ("continuous", 0)]


def respond(system: ModalSystem) -> Any:
    """Return h = k + D δ, shape (P, M, L); in continuous time k alone, sampled."""
    response = system.impulse_response(LENGTH, step=STEP)
    D = system.D
    if isinstance(system, SISOSystem):
        response, D = response[None, None], D[None, None]
    if system.time == "discrete":
        response[..., 0] += D
    return response.numpy()


def values(system: ModalSystem) -> Any:
    """Return G at the test points, shape (K, P, M)."""
    value = system.transfer_function(POINTS[system.time])
    return (value[:, None, None] if isinstance(system, SISOSystem) else value).numpy()


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-10) -> None:
    scale = abs(np.asarray(expected)).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def random_matrices(seed: int, time: str, inputs: int, outputs: int, order: int = 6) -> Any:
    """Draw a dense stable system whose states are in mixed units."""
    generator = np.random.default_rng(seed)
    A = generator.normal(size=(order, order))
    poles = np.linalg.eigvals(A)
    if time == "discrete":
        A = A / (1.1 * abs(poles).max())
    else:
        A = A - (0.2 + max(poles.real.max(), 0)) * np.eye(order)
    units = 10.0 ** generator.uniform(-3, 3, size=order)
    B, C = generator.normal(size=(order, inputs)), generator.normal(size=(outputs, order))
    D = generator.normal(size=(outputs, inputs))
    return A * units[:, None] / units, B * units[:, None], C / units, D


# What the other libraries say of their systems


def simulate(peer: Any) -> Any:
    """Return a peer's own impulse response, (P, M, L)."""
    if isinstance(peer, LTIModel):
        return simulate_pymor(peer)
    if isinstance(peer, control.StateSpace):
        times = np.arange(LENGTH) * (peer.dt if peer.dt else STEP)
        if not peer.dt:  # the impulse D δ(t) has no samples
            peer = control.ss(peer.A, peer.B, peer.C, 0)
        return control.impulse_response(peer, times, squeeze=False).outputs
    if peer.dt is not None:
        _, outputs = signal.dimpulse(peer, n=LENGTH)
        return np.stack([np.asarray(output).T for output in outputs], 1)
    times = np.arange(LENGTH) * STEP
    columns: list[Any] = []
    for column in range(peer.B.shape[1]):
        one = signal.StateSpace(peer.A, peer.B[:, [column]], peer.C, peer.D[:, [column]])
        rows = [
            signal.impulse(signal.StateSpace(one.A, one.B, one.C[[row]], one.D[[row]]), T=times)[1]
            for row in range(len(one.C))
        ]
        columns.append(np.stack(rows))
    return np.stack(columns, 1)


def simulate_pymor(model: LTIModel) -> Any:
    """Step pyMOR's operators: x[t+1] = A x[t] + B u[t], or sample C e^{At} B."""
    A, B, C, D = (to_matrix(part, format="dense") for part in (model.A, model.B, model.C, model.D))
    E = to_matrix(model.E, format="dense")
    A, x = np.linalg.solve(E, A), np.linalg.solve(E, B)
    if model.sampling_time == 0:
        A = np.asarray(linalg.expm(A * STEP))
        samples: list[Any] = []
    else:
        samples = [D]
    while len(samples) < LENGTH:
        samples.append(C @ x)
        x = A @ x
    return np.stack(samples, -1)


def evaluate(peer: Any, points: Any) -> Any:
    """Return a peer's own transfer function, (K, P, M)."""
    if isinstance(peer, LTIModel):
        return np.stack([peer.transfer_function.eval_tf(point) for point in points])
    if isinstance(peer, (control.StateSpace, control.TransferFunction)):
        return np.stack([peer(point, squeeze=False) for point in points])
    matrices = peer.A, peer.B, peer.C, peer.D
    return np.stack([control.ss(*matrices)(point, squeeze=False) for point in points])


# State spaces of all three


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (3, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("route", ROUTES)
def test_systems_respond_as_in_their_library(route, time, inputs, outputs):
    A, B, C, D = random_matrices(inputs, time, inputs, outputs)
    dt = 1 if time == "discrete" else 0
    if route == "pyMOR":
        # x[t+1] = E⁻¹A x[t] + E⁻¹B u[t], with states and equations in any mixture.
        E = np.random.default_rng(9).normal(size=A.shape)
        peer = LTIModel.from_matrices(E @ A, E @ B, C, D, E, sampling_time=dt)
    elif route == "SciPy":
        peer = signal.StateSpace(A, B, C, D, **({"dt": dt} if dt else {}))
    else:
        peer = control.ss(A, B, C, D, dt)
    to, convert = ROUTES[route]
    system = convert(peer)
    assert isinstance(system, SISOSystem if inputs == outputs == 1 else MIMOSystem)
    assert (system.time, system.delay, int(system.order)) == (time, dt, 6)
    assert (system.D.numpy() == D).all()
    assert_close(respond(system), simulate(peer), 1e-9)
    assert_close(values(system), evaluate(peer, POINTS[time]), 1e-9)
    back = to(system)
    assert_close(simulate(back), simulate(peer), 1e-9)
    assert_close(evaluate(back, POINTS[time]), evaluate(peer, POINTS[time]), 1e-9)


@pytest.mark.parametrize(("time", "delay"), LATE)
@pytest.mark.parametrize("route", ROUTES)
def test_ours_respond_there_as_here(route, time, delay):
    for system in (
        replace(seeded_bank((), 3, 2, time=time, seed=5), delay=delay),
        replace(seeded_mimo((), 3, 2, 2, 3, time=time, seed=6), delay=delay),
    ):
        to, convert = ROUTES[route]
        peer = to(system)
        assert_close(simulate(peer), respond(system), 1e-9)
        assert_close(evaluate(peer, POINTS[time]), values(system))
        again = convert(peer)
        assert_close(respond(again), respond(system), 1e-9)
        assert_close(with_delay(again, delay).D, system.D)


@pytest.mark.parametrize("route", ROUTES)
@given(system=modal_systems(nearest=1e-2, max_modes=4), dt=st.sampled_from([None, 0.5, 2]))
def test_there_and_back(route, system, dt):
    to, convert = ROUTES[route]
    poles = np.linalg.eigvals(system.to_state_space()[0].numpy())
    distances = abs(poles[:, None] - poles) + np.eye(len(poles))
    assume(distances.min() > 1e-6)  # equal poles are no single modes
    if dt is not None and system.time == "continuous":
        with pytest.raises(InvalidArgumentError, match="none in continuous time"):
            to(system, dt=dt)
        return
    peer = to(system, dt=dt)
    held = getattr(peer, "sampling_time", None) if route == "pyMOR" else peer.dt
    assert (held or 0) == (0 if system.time == "continuous" else dt or 1)
    again = convert(peer)
    assert (again.time, again.delay) == (system.time, 1 if system.time == "discrete" else 0)
    again = with_delay(again, 0)
    assert again.order == system.order
    sizes = (system.residues.abs() * system.states).sum() + system.D.abs()
    error = abs(respond(again) - respond(system)).max()
    assert error <= DENSE * sizes
    assert abs(again.D - system.D) <= DENSE * sizes


def test_the_delay_by_hand():
    # h = 7, 6, 3, 1.5, …: D = 7 and CB = 6 at a = 1/2; at once it is 12 (1/2)^t, and D = 7 - 12.
    peer = signal.StateSpace([[0.5]], [[2.0]], [[3.0]], [[7.0]], dt=1)
    system = from_scipy(peer)
    assert isinstance(system, SISOSystem)
    assert system.residues.tolist() == [6]
    assert (system.D.item(), system.delay) == (7, 1)
    at_once = with_delay(system, 0)
    assert at_once.residues.tolist() == [12]
    assert at_once.D.item() == -5
    for one in (system, at_once):
        back = to_scipy(one)
        assert (back.D.item(), (back.C @ back.B).item()) == (7, 6)


@pytest.mark.parametrize("convert", [to_scipy, lambda system: to_scipy(with_delay(system, 0))])
def test_strictly_proper_systems_come_back_strictly_proper(convert):
    A, B, C, _ = random_matrices(0, "discrete", 2, 3)
    back = convert(from_scipy(signal.StateSpace(A, B, C, np.zeros((3, 2)), dt=1)))
    assert (back.D == 0).all()
    assert_close(simulate(back)[..., 1], C @ B)


# Plain arrays


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("seed", range(3))
def test_arrays_respond_as_scipy_says(seed, time, inputs, outputs):
    A, B, C, D = random_matrices(seed, time, inputs, outputs)
    system = from_arrays(A, B, C, D, time=time)
    assert system.delay == (time == "discrete")
    peer = signal.StateSpace(A, B, C, D, **({"dt": 1} if time == "discrete" else {}))
    assert_close(respond(system), simulate(peer), 1e-9)
    assert_close(values(system), evaluate(control.ss(A, B, C, D), POINTS[time]), 1e-9)
    back = to_arrays(system)
    assert_close(
        simulate(signal.StateSpace(*back, **({"dt": 1} if peer.dt else {}))), simulate(peer)
    )
    assert (back[3] == D).all()


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("time", TIMES)
def test_a_diagonal_a_is_a_vector(time, inputs, outputs):
    A, B, C, D = random_matrices(4, time, inputs, outputs)
    poles, vectors = np.linalg.eig(A)
    modal = poles, np.linalg.solve(vectors, B), C @ vectors
    system = from_arrays(*modal, D, time=time)
    same = from_arrays(A, B, C, D, time=time)
    assert type(system) is type(same)
    assert (system.order, system.delay) == (same.order, same.delay)
    assert_close(respond(system), respond(same), 1e-8)
    assert_close(values(system), values(same), 1e-8)


def test_vectors_stand_for_columns_and_rows():
    A = [[0.5, 0.2], [-0.2, 0.5]]
    system = from_arrays(A, [1.0, 2.0], [3.0, 4.0], time="discrete")
    assert respond(system)[0, 0, :3] == pytest.approx([0, 11, 3 * (0.5 + 0.4) + 4 * (1.0 - 0.2)])
    banks = from_arrays([A, A], np.ones((2, 2)), np.ones((2, 2)), [1.0, 2.0], time="discrete")
    assert banks.batch_shape == (2,)
    assert banks.D.tolist() == [1, 2]
    diagonal = from_arrays([0.5 + 0.2j, 0.5 - 0.2j], [1, 1], [1 + 1j, 1 - 1j], 3, time="discrete")
    assert respond(diagonal)[0, 0, :3] == pytest.approx([3, 2, 2 * (0.5 - 0.2)])


# Poles at 0


@pytest.mark.parametrize("route", [*ROUTES, "arrays"])
def test_deadbeat_modes_come_and_go(route):
    # h = 2, 1 + 3, 3/2, 3/4, …: the mode at 0 is heard once.
    matrices = np.diag([0.0, 0.5]), np.array([[1.0], [3.0]]), np.ones((1, 2)), np.array([[2.0]])
    expected = np.array([2.0, 4, 1.5, 0.75])
    peers = {
        "SciPy": lambda: signal.StateSpace(*matrices, dt=1),
        "python-control": lambda: control.ss(*matrices, 1),
        "pyMOR": lambda: LTIModel.from_matrices(*matrices, sampling_time=1),
    }
    if route == "arrays":
        system = from_arrays(*matrices, time="discrete")
        back = signal.StateSpace(*to_arrays(system), dt=1)
    else:
        to, convert = ROUTES[route]
        system = convert(peers[route]())
        back = to(system)
    assert sorted(system.poles.real.tolist()) == pytest.approx([0, 0.5])
    assert system.poles.abs().min() == 0
    assert respond(system)[0, 0, :4] == pytest.approx(expected)
    assert simulate(back)[0, 0, :4] == pytest.approx(expected)
    points = [1.0, 2j, -0.3]
    value = [2 + 1 / z + 3 / (z - 0.5) for z in points]
    assert system.transfer_function(points).numpy() == pytest.approx(value)
    with pytest.raises(InvalidArgumentError, match=r"1 pole\(s\) at 0.*keep delay=1"):
        with_delay(system, 0)


def test_zero_poles_side_by_side_are_no_chain():
    A = np.diag([0.0, 0.0, 0.5])
    system = from_arrays(A, np.eye(3), np.eye(3), time="discrete")
    assert_close(respond(system)[..., :3], np.stack([0 * A, np.eye(3), A], -1), ROUNDING)
    # Rank one by design: the eigenvalue 0 comes out as rounding, and does no harm.
    A, B, C = [[0.1, 0.3], [0.2, 0.6]], [1.0, 1.0], [1.0, 0.0]
    system = from_arrays(A, B, C, time="discrete")
    assert_close(respond(system), simulate(signal.StateSpace(A, [[1], [1]], [C], 0, dt=1)))


# How well the modes can be told apart


def test_a_poor_condition_is_named():
    def matrix(gap: float) -> Any:
        return [[0.5, 1.0], [0.0, 0.5 + gap]]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_arrays(matrix(1e-6), [1.0, 1.0], [1.0, 1.0], time="discrete")
    for convert in (
        lambda A: from_arrays(A, [1.0, 1.0], [1.0, 1.0], time="discrete"),
        lambda A: from_control(control.ss(A, [[1], [1]], [[1, 1]], 0, 1)),
    ):
        # Eigenvectors (1, 0) and about (1, gap): condition 2 / gap.
        with pytest.warns(IllConditionedWarning, match=r"condition 2\.0e\+10"):
            system = convert(matrix(1e-10))
        assert_close(system.impulse_response(9), sum_of_powers(matrix(1e-10), 9), tolerance=1e-5)
        with pytest.raises(InvalidArgumentError, match=r"condition \d\.\de\+1[3-9]; required"):
            convert(matrix(1e-14))


def sum_of_powers(A: Any, length: int) -> Any:
    """Return 1ᵀ A^{t-1} 1 by multiplication."""
    ones = np.ones(len(A))
    powers = [np.linalg.matrix_power(np.array(A), t) for t in range(length - 1)]
    return np.array([0.0] + [ones @ power @ ones for power in powers])


def test_sampling_times():
    system = seeded_bank((), 1, 1)
    assert to_scipy(system).dt == to_control(system).dt == to_pymor(system).sampling_time == 1
    assert to_control(system, dt=True).dt is True
    assert to_scipy_zpk(system, dt=0.25).dt == 0.25
    for dt in (0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidArgumentError, match="dt="):
            to_control(system, dt=dt)
    with pytest.raises(InvalidArgumentError, match="none in continuous time"):
        to_scipy_zpk(seeded_bank((), 1, 1, time="continuous"), dt=1)


def test_batches_are_refused():
    for to in (to_scipy, to_scipy_zpk, to_sos, to_control, to_pymor, to_arrays):
        with pytest.raises(InvalidArgumentError, match="index it first"):
            to(seeded_bank((2,), 1, 1))


def test_a_system_without_states():
    nothing = np.zeros((0, 0)), np.zeros((0, 1)), np.zeros((1, 0)), np.array([[2.0]])
    system = from_control(control.ss(*nothing, True))
    assert int(system.order) == 0
    assert respond(system)[0, 0, :2].tolist() == [2, 0]
    assert to_sos(system).tolist() == [[2, 0, 0, 1, 0, 0]]
    assert to_scipy(system).D.item() == to_control(system).D.item() == 2
    assert int(from_scipy(signal.TransferFunction([2.0], [1.0], dt=1)).order) == 0


@pytest.mark.parametrize("time", TIMES)
def test_reduced_systems_go_back(time):
    A, B, C, D = random_matrices(3, time, 1, 1, 8)
    full = from_control(control.ss(A, B, C, D, time == "discrete" or 0))
    assert isinstance(full, SISOSystem)
    reduced = reduce(full, 4).system
    peer = to_control(reduced)
    assert peer.nstates == 4
    assert_close(evaluate(peer, POINTS[time]), values(reduced))
    # pyMOR's own norm of its own difference is our error.
    difference = to_pymor(full) - to_pymor(reduced)
    if time == "continuous":
        assert difference.h2_norm() == pytest.approx(h2_error(full, reduced).item(), rel=1e-6)
    matrices = reduced.to_state_space()
    assert all(part.numpy().dtype == np.float64 for part in matrices)


def test_units_of_the_equations_are_no_singularity():
    A, B, C, D = random_matrices(0, "continuous", 1, 1, 3)
    units = np.diag([1e-9, 1.0, 1e9])
    system = from_pymor(LTIModel.from_matrices(units @ A, units @ B, C, D, units))
    assert_close(values(system), evaluate(control.ss(A, B, C, D), POINTS["continuous"]))


def test_unstable_systems_convert_and_their_pole_is_named_at_reduction():
    system = from_control(control.tf([1, 3], [1, 0.5, -1.5]))  # poles 1 and -1.5
    assert_close(
        values(system)[:, 0, 0], [(p + 3) / ((p - 1) * (p + 1.5)) for p in POINTS["continuous"]]
    )
    assert isinstance(system, SISOSystem)
    with pytest.raises(HydropressError, match="pole 1.* does not decay"):
        reduce(system, 1)


def test_the_example():
    failed, tried = doctest.testmod(interop)
    assert (failed, tried > 5) == (0, True)
