"""The record: what it says of itself, its responses, and its conversions."""

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import control
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from scipy import signal

import oracles
from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.systems.modal import ModalSystem, SISOSystem, pack_modes
from hydropress.systems.norms import relative_h2_error
from strategies import bank, build, modal_banks, modal_systems, seeded_bank
from tolerances import DENSE, NORM, ROUNDING
from torch_warnings import warns_always

POINTS = {
    "discrete": np.exp(1j * np.array([0.0, 0.1, 1.0, 3.1])),
    "continuous": 1j * np.array([0.0, 0.1, 1.0, 30.0]),
}
TIMES = ["discrete", "continuous"]


def test_what_it_says_of_itself():
    system = ModalSystem.siso([[0.5, 0.3 + 0.4j], [-0.5, 0.9j]], [[1.0, 1j], [2.0, 1.0]], [0, 3])
    assert system.batch_shape == (2,)
    assert system.num_poles == 2
    assert system.order.tolist() == [3, 3]
    assert system.states.tolist() == [[1, 2], [1, 2]]
    assert system.D.tolist() == [0, 3]
    assert system.exponents.dtype == system.residues.dtype == torch.complex128
    torch.testing.assert_close(
        system.poles, torch.tensor([[0.5, 0.3 + 0.4j], [-0.5, 0.9j]], dtype=torch.complex128)
    )
    assert system.decay[0, 1] == pytest.approx(math.log(2), rel=ROUNDING)
    assert system[1].D == 3
    assert system.reshape(1, 2).batch_shape == (1, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        system.time = "continuous"  # type: ignore[misc]


def test_python_numbers_keep_their_digits():
    # A pole of a plain list, rounded to float32, would lose its distance to the boundary.
    pole, residue, D = 0.999999, 0.1 + 0.2j, 0.1
    system = ModalSystem.siso([pole, pole * 1j], [0.3, residue], D)
    assert system.decay[0].item() == pytest.approx(-math.log(pole), rel=NORM)
    assert system.residues.tolist() == [0.3, residue]
    assert system.D.item() == D
    again = ModalSystem.from_state_space([[pole]], [1.0], [0.3], D)
    assert again.D.item() == D
    assert again.poles.item() == pytest.approx(pole, rel=ROUNDING)
    assert again.residues.item() == pytest.approx(0.3, rel=ROUNDING)
    expected = D + 0.3 / (1 - pole / (1 + 1e-6j))
    value = ModalSystem.siso([pole], [0.3], D).transfer_function([1 + 1e-6j]).item()
    assert value == pytest.approx(expected, rel=NORM)


def test_arrays_that_may_not_be_written_are_taken_without_a_warning():
    # JAX's are such, and those of files mapped into memory.
    pole, residue = np.array([0.5 + 0.1j, 0.3]), np.array([1j, 2.0])
    expected = ModalSystem.siso(pole, residue)
    for array in (pole, residue):
        array.flags.writeable = False
    with warnings.catch_warnings(), warns_always():
        warnings.simplefilter("error")
        system = ModalSystem.siso(pole, residue)
    assert torch.equal(system.exponents, expected.exponents)
    assert torch.equal(system.residues, expected.residues)


def test_kernel_by_hand():
    # 3 (1/2)^t + 2 Re(1/2 (i/2)^t), and D is not part of it.
    system = ModalSystem.siso([0.5, 0.5j], [3.0, 0.5], 7.0)
    expected = [3 + 1, 1.5, 0.75 - 0.25, 0.375, 0.1875 + 0.0625]
    assert system.impulse_response(5).tolist() == pytest.approx(expected, rel=ROUNDING)
    # e^-t + 2 e^-2t cos 3t at t = 0, 0.1, 0.2.
    system = ModalSystem.siso([-1, -2 + 3j], [1, 1], time="continuous")
    t = np.array([0, 0.1, 0.2])
    expected = np.exp(-t) + 2 * np.exp(-2 * t) * np.cos(3 * t)
    assert system.impulse_response(3, step=0.1).numpy() == pytest.approx(expected, rel=ROUNDING)


def test_an_alternating_pole():
    system = ModalSystem.siso([-0.5], [1.0])
    assert system.states.tolist() == [1]
    assert system.poles.imag.tolist() == [0]
    assert system.impulse_response(4).tolist() == pytest.approx([1, -0.5, 0.25, -0.125])


@given(modal_systems("discrete"))
def test_impulse_response_equals_the_recurrence(system):
    A, B, C, D = oracles.dense_state_space(system)
    impulse = np.zeros(150)
    impulse[0] = 1
    expected = oracles.recurrence(A, B, C, 0 * D, impulse)
    scale = (system.residues.abs() * system.states).sum().item()
    assert np.abs(system.impulse_response(150).numpy() - expected).max() <= ROUNDING * scale


@pytest.mark.parametrize("time", TIMES)
def test_transfer_function_equals_the_dense_one(time):
    system = seeded_bank((), 3, 2, time=time, seed=1)
    expected = oracles.transfer_function(system, POINTS[time])
    np.testing.assert_allclose(system.transfer_function(POINTS[time]), expected, rtol=1e-12)


def test_transfer_function_is_the_transform_of_the_kernel():
    system = seeded_bank((2, 3), 2, 1)
    kernel = system.impulse_response(4000)
    for z in (1.0, -1.0, np.exp(0.7j), 1.2 * np.exp(2j)):
        series = (kernel * torch.tensor(z ** -np.arange(4000.0))).sum(-1) + system.D
        value = system.transfer_function([z])[..., 0]
        torch.testing.assert_close(value, series.to(value), rtol=1e-11, atol=1e-11)


def test_transfer_function_close_to_a_pole_at_the_boundary():
    # ρ / (1 - a/z) with a = e^{-1e-6} at z = 1 is ρ / (1 - e^{-1e-6}).
    system = build([-1e-6], [2.0], [1])
    value = system.transfer_function([1.0]).item()
    assert value == pytest.approx(2 / -math.expm1(-1e-6), rel=ROUNDING)


@pytest.mark.parametrize("points", [[0.5], [0.0], [math.nan], [1.0, math.inf]])
def test_points_without_a_value_are_refused(points):
    with pytest.raises(InvalidArgumentError, match="transfer function"):
        ModalSystem.siso([0.5], [1.0]).transfer_function(points)


@given(modal_systems(nearest=1e-2, max_modes=4))
def test_state_space_and_back(system):
    A, B, C, D = system.to_state_space()
    assert A.shape == (system.order, system.order)
    poles = np.linalg.eigvals(A.numpy())
    distances = np.abs(poles[:, None] - poles) + np.eye(len(poles))
    assume(distances.min() > 1e-6)  # equal poles are no single modes
    again = ModalSystem.from_state_space(A, B, C, D, time=system.time)
    assert isinstance(again, SISOSystem)
    assert again.order <= system.order
    assert again.D == system.D
    assert relative_h2_error(system, again) < DENSE


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("time", TIMES)
def test_dense_systems_respond_as_in_control(time, seed):
    generator = np.random.default_rng(seed)
    A = generator.normal(size=(5, 5))
    B, C, D = generator.normal(size=5), generator.normal(size=5), generator.normal()
    poles = np.linalg.eigvals(A)
    A = A / (1.2 * np.abs(poles).max()) if time == "discrete" else A - 0.2 * np.eye(5)
    A = A if time == "discrete" else A - max(poles.real.max(), 0) * np.eye(5)
    system = ModalSystem.from_state_space(A, B, C, D, time=time)
    assert system.order == 5
    points = POINTS[time]
    peer = control.ss(A, B[:, None], C[None, :], D, dt=time == "discrete" or 0)
    response = np.array([peer(point) for point in points])
    if time == "discrete":
        # There the input acts one step later: C (zI - A)^-1 B, ours times z.
        response = points * (response - D) + D
    np.testing.assert_allclose(system.transfer_function(points), response, rtol=1e-10)


def test_modal_systems_step_as_in_scipy():
    system = seeded_bank((), 2, 1, seed=3)
    A, B, C, D = (matrix.numpy() for matrix in system.to_state_space())
    inputs = np.random.default_rng(0).normal(size=(60, 1))
    # SciPy's input acts one step later: y[t] = C A x[t] + C B u[t] + D u[t].
    outputs = signal.dlsim((A, B, C @ A, C @ B + D, 1), inputs)[1]
    kernel = system.impulse_response(60).numpy()
    expected = np.convolve(kernel, inputs[:, 0])[:60] + system.D.item() * inputs[:, 0]
    np.testing.assert_allclose(outputs[:, 0], expected, rtol=0, atol=1e-12)
    continuous = seeded_bank((), 2, 1, time="continuous", seed=3)
    matrices = [matrix.numpy() for matrix in continuous.to_state_space()]
    _, samples = signal.impulse(signal.StateSpace(*matrices), T=np.arange(50) * 0.1)
    np.testing.assert_allclose(continuous.impulse_response(50, step=0.1), samples, atol=1e-10)


def test_a_batch_of_state_spaces():
    full = seeded_bank((3,), 2, 1)
    matrices = [full[index].to_state_space() for index in range(3)]
    A, B, C, D = (torch.stack(list(parts)) for parts in zip(*matrices, strict=True))
    again = ModalSystem.from_state_space(A, B, C, D)
    assert again.batch_shape == (3,)
    torch.testing.assert_close(again.impulse_response(40), full.impulse_response(40))
    with pytest.raises(InvalidArgumentError, match="index it first"):
        full.to_state_space()


def test_real_state_spaces_of_other_orders_are_padded():
    # One with a pair, one with two real poles: ragged after packing.
    A = torch.tensor([[[0.0, -0.25], [1.0, 0.0]], [[0.5, 0.0], [0.0, -0.3]]])
    system = ModalSystem.from_state_space(A, torch.ones(2, 2), torch.ones(2, 2))
    assert system.order.tolist() == [2, 2]
    assert sorted(system.states[0].tolist()) == [0, 2]
    assert system.poles[0, -1] == 0
    assert system.decay[0, -1] == math.inf
    for index in range(2):
        a = A[index].double()
        expected = [torch.linalg.matrix_power(a, t).sum().item() for t in range(6)]
        assert system[index].impulse_response(6).tolist() == pytest.approx(expected, abs=1e-14)


def test_a_system_without_states():
    system = ModalSystem.from_state_space(
        np.zeros((0, 0)), np.zeros((0, 1)), np.zeros((1, 0)), np.array([[2.0]])
    )
    assert isinstance(system, SISOSystem)
    assert system.order == 0
    assert system.impulse_response(3).tolist() == [0, 0, 0]
    assert system.transfer_function([1.0]).tolist() == [2]
    assert [part.shape for part in system.to_state_space()] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert isinstance(system, SISOSystem)
    padded = bank([system, build([-1.0], [1.0], [1])])
    assert padded.order.tolist() == [0, 1]
    assert padded[0].to_state_space()[0].shape == (0, 0)


@given(modal_banks(nearest=1e-2))
def test_a_batch_equals_a_loop(systems):
    points = POINTS[systems.time]
    responses, kernels = systems.transfer_function(points), systems.impulse_response(20)
    for index in range(len(systems.D)):
        one = systems[index]
        assert one.order == systems.order[index]
        torch.testing.assert_close(one.impulse_response(20), kernels[index], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(
            one.transfer_function(points), responses[index], rtol=1e-12, atol=0
        )


def test_pack_modes_puts_pairs_first_and_drops_their_second_halves():
    exponents = torch.tensor([-0.5, -0.3 - 0.4j, -0.3 + 0.4j], dtype=torch.complex128)
    residues = torch.tensor([2, 1 - 1j, 1 + 1j], dtype=torch.complex128)
    for time in ("discrete", "continuous"):
        system = pack_modes(exponents, residues, time=time)
        assert system.states.tolist() == [2, 1]
        assert system.residues.tolist() == [1 + 1j, 2]
        assert torch.equal(system.exponents, exponents[[2, 0]])
    with pytest.raises(InvalidArgumentError, match="lacks its conjugate"):
        pack_modes(exponents[:2], residues[:2], time="continuous")


def test_negative_real_poles_stand_at_half_a_turn():
    exponents = torch.tensor([complex(-0.5, -math.pi), -0.1], dtype=torch.complex128)
    system = pack_modes(exponents, torch.ones(2, dtype=torch.complex128), time="discrete")
    assert system.states.tolist() == [1, 1]
    assert system.poles.tolist() == pytest.approx([-math.exp(-0.5), math.exp(-0.1)], rel=ROUNDING)


# Wrong on purpose, which pyright need not know.
ANY: Callable[[str], Any] = str

WRONG = {
    "time": (
        lambda: ModalSystem.siso([0.5], [1.0], time=ANY("sampled")),
        "'discrete' or 'continuous'",
    ),
    "lengths": (lambda: ModalSystem.siso([0.5, 0.6], [1.0]), r"\(2,\) with residues .* \(1,\)"),
    "scalar": (lambda: ModalSystem.siso(0.5, 1.0), "equal shapes"),
    "not numbers": (lambda: ModalSystem.siso(["a"], [1.0]), "poles"),
    "nothing": (lambda: ModalSystem.siso([0.5], None), "residues"),
    "NaN pole": (lambda: ModalSystem.siso([math.nan], [1.0]), "poles contains NaN"),
    "infinite residue": (lambda: ModalSystem.siso([0.5], [math.inf]), "residues contains NaN"),
    "lower half": (lambda: ModalSystem.siso([0.5 - 0.1j], [1.0]), "0.5-0.1j has a negative imag"),
    "both halves": (lambda: ModalSystem.siso([0.5j, -0.5j], [1, 1]), "drop the other member"),
    "complex residue": (lambda: ModalSystem.siso([0.5], [1j]), "real pole has a complex residue"),
    "delay": (lambda: ModalSystem.siso([0.0], [1.0]), "pure delay"),
    "shape of D": (lambda: ModalSystem.siso([0.5], [1.0], [1.0, 2.0]), "feedthrough"),
    "NaN in D": (lambda: ModalSystem.siso([0.5], [1.0], math.nan), "feedthrough"),
    "complex D": (lambda: ModalSystem.siso([0.5], [1.0], 1j), "feedthrough"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.filterwarnings("error")
def test_wrong_modes_are_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


IDENTITY = np.diag([0.5, 0.6])
ONES = np.ones(2)
WRONG_MATRICES = {
    "time": (
        lambda: ModalSystem.from_state_space(IDENTITY, ONES, ONES, time=ANY("z")),
        "'discrete'",
    ),
    "not square": (lambda: ModalSystem.from_state_space(np.ones((2, 3)), ONES, ONES), "A of shape"),
    "vector": (lambda: ModalSystem.from_state_space(ONES, ONES, ONES), "A of shape"),
    "length of B": (lambda: ModalSystem.from_state_space(IDENTITY, np.ones(3), ONES), "B of shape"),
    "inputs of D": (
        lambda: ModalSystem.from_state_space(IDENTITY, IDENTITY, ONES, 1.0),
        "D of shape",
    ),
    "shape of C": (
        lambda: ModalSystem.from_state_space(IDENTITY, ONES, np.ones((2, 1))),
        "C of sh",
    ),
    "shape of D": (lambda: ModalSystem.from_state_space(IDENTITY, ONES, ONES, ONES), "D of shape"),
    "NaN in A": (lambda: ModalSystem.from_state_space(IDENTITY * np.nan, ONES, ONES), "A contains"),
    "NaN in B": (lambda: ModalSystem.from_state_space(IDENTITY, ONES * np.nan, ONES), "B contains"),
    "complex": (lambda: ModalSystem.from_state_space(IDENTITY * 1j, ONES, ONES), "A is complex"),
    "Jordan block": (
        lambda: ModalSystem.from_state_space([[0.5, 1.0], [0.0, 0.5]], ONES, ONES),
        "diagonalisable",
    ),
    "delay": (lambda: ModalSystem.from_state_space([[0.0]], [1.0], [1.0]), "pure delay"),
}


@pytest.mark.parametrize(("make", "message"), WRONG_MATRICES.values(), ids=WRONG_MATRICES.keys())
@pytest.mark.filterwarnings("error")
def test_wrong_matrices_are_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("poles", "time", "named"),
    [
        ([0.5, 1.25], "discrete", "1.25"),
        ([1.0], "discrete", "1"),
        ([0.5, 0.8 + 0.8j], "discrete", "0.8"),
        ([-1.0, 0.5 + 2j], "continuous", "0.5"),
        ([2j], "continuous", "2j"),
    ],
)
def test_the_unstable_pole_is_named(poles, time, named):
    system = ModalSystem.siso(poles, [1.0] * len(poles), time=time)
    with pytest.raises(UnstableSystemError, match=named):
        system.require_stable()
    build([-1.0, 0.5], [1.0, 0.0], [1, 0]).require_stable()  # an empty entry is no pole
