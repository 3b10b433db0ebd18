"""Converted systems against what the other libraries compute of them by themselves."""

import doctest
import math
from typing import Any

import control
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymor.algorithms.to_matrix import to_matrix
from pymor.models.iosys import LTIModel, SecondOrderModel
from scipy import linalg
from scipy import signal as scipy_signal

from hydropress import reduce
from hydropress.errors import HydropressError, InvalidArgumentError, MissingLibraryError
from hydropress.systems import interop
from hydropress.systems.interop import (
    from_control,
    from_pymor,
    from_scipy,
    to_control,
    to_pymor,
    to_scipy,
    to_scipy_zpk,
    to_sos,
)
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.norms import h2_error
from strategies import build, modal_systems, seeded_bank, seeded_mimo
from tolerances import DENSE

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
    assert (system.time, int(system.order)) == (time, 6)
    assert_close(respond(system), simulate(peer), 1e-9)
    assert_close(values(system), evaluate(peer, POINTS[time]), 1e-9)
    back = to(system)
    assert_close(simulate(back), simulate(peer), 1e-9)
    assert_close(evaluate(back, POINTS[time]), evaluate(peer, POINTS[time]), 1e-9)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("route", ROUTES)
def test_ours_respond_there_as_here(route, time):
    for system in (
        seeded_bank((), 3, 2, time=time, seed=5),
        seeded_mimo((), 3, 2, 2, 3, time=time, seed=6),
    ):
        to, convert = ROUTES[route]
        peer = to(system)
        assert_close(simulate(peer), respond(system), 1e-9)
        assert_close(evaluate(peer, POINTS[time]), values(system))
        again = convert(peer)
        assert_close(respond(again), respond(system), 1e-9)
        assert_close(again.D, system.D)


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
    assert again.time == system.time
    assert again.order == system.order
    sizes = (system.residues.abs() * system.states).sum() + system.D.abs()
    error = abs(respond(again) - respond(system)).max()
    assert error <= DENSE * sizes
    assert abs(again.D - system.D) <= DENSE * sizes


def test_the_shift_by_hand():
    # h = 7, 6, 3, 1.5, …: D' = 7 and C'B' = 6 at a = 1/2; here k = 12 (1/2)^t and D = 7 - 12.
    peer = signal.StateSpace([[0.5]], [[2.0]], [[3.0]], [[7.0]], dt=1)
    system = from_scipy(peer)
    assert isinstance(system, SISOSystem)
    assert system.residues.tolist() == [12]
    assert system.D.item() == -5
    back = to_scipy(system)
    assert (back.D.item(), (back.C @ back.B).item()) == (7, 6)


def test_strictly_proper_systems_come_back_strictly_proper():
    A, B, C, _ = random_matrices(0, "discrete", 2, 3)
    back = to_scipy(from_scipy(signal.StateSpace(A, B, C, np.zeros((3, 2)), dt=1)))
    assert (back.D == 0).all()
    assert_close(simulate(back)[..., 1], C @ B)


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
    for to in (to_scipy, to_scipy_zpk, to_sos, to_control, to_pymor):
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


# Errors


def second_order() -> Any:
    one = np.eye(2)
    return SecondOrderModel.from_matrices(one, one, one, np.ones((2, 1)), np.ones((1, 2)))


ONE = np.ones((1, 1))
WRONG = {
    "not of SciPy": (lambda: from_scipy(np.eye(2)), "numpy.ndarray; required: a scipy.signal"),
    "not of control": (lambda: from_control(signal.dlti([1], [1, 2])), "required: a control.State"),
    "not of pyMOR": (lambda: from_pymor(second_order()), "SecondOrderModel.*to_lti"),
    "time base": (lambda: from_control(control.ss(-ONE, ONE, ONE, 0, None)), "unspecified time"),
    "delay": (
        lambda: from_control(control.ss(np.diag([0.5, 0]), [[1], [1]], [[1, 1]], 0, 1)),
        "1 discrete pole.*pure delays; required: non-zero",
    ),
    "delay by rounding": (
        lambda: from_scipy(
            signal.StateSpace([[0.1, 0.3], [0.2, 0.6]], np.ones((2, 1)), [[1, 0]], 0, dt=1)
        ),
        "1 discrete pole.* pure delays",
    ),
    "delays of a polynomial": (
        lambda: from_control(control.tf([1], [1, -0.5, 0, 0], 1)),
        "pole.* repeated|2 discrete pole",
    ),
    "Jordan block": (
        lambda: from_scipy(signal.StateSpace([[-1, 1], [0, -1]], [[0], [1]], [[1, 0]], 0)),
        r"eigenvectors of condition .*e\+.*; required: a diagonalisable",
    ),
    "Jordan block with E": (
        lambda: from_pymor(
            LTIModel.from_matrices(
                np.array([[-1.0, 1], [0, -2]]),
                np.ones((2, 1)),
                np.ones((1, 2)),
                E=np.diag([1.0, 2.0]),
            )
        ),
        "eigenvectors of condition",
    ),
    "singular E": (
        lambda: from_pymor(
            LTIModel.from_matrices(
                -np.eye(2), np.ones((2, 1)), np.ones((1, 2)), E=np.diag([1.0, 0.0])
            )
        ),
        "E has condition inf; required: a regular E",
    ),
    "complex": (lambda: from_scipy(signal.StateSpace([[-1j]], ONE, ONE, ONE)), "A is complex"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_has_no_modes_is_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


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


@pytest.mark.parametrize(
    ("call", "package"),
    [
        (lambda: to_scipy(build([-1.0], [1.0], [1])), "scipy"),
        (lambda: to_sos(build([-1.0], [1.0], [1])), "scipy"),
        (lambda: from_control(None), "control"),
        (lambda: to_pymor(build([-1.0], [1.0], [1])), "pymor"),
    ],
)
def test_a_missing_library_is_named(call, package, monkeypatch):
    def missing(name: str, *_: Any) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(interop, "import_module", missing)
    with pytest.raises(MissingLibraryError, match=f"{package} is not installed.*pip install"):
        call()


def test_the_example():
    failed, tried = doctest.testmod(interop)
    assert (failed, tried > 5) == (0, True)
