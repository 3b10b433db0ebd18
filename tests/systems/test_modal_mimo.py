"""The record of systems with several inputs and outputs, against dense matrices."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg

from hydropress.errors import IllConditionedWarning, InvalidArgumentError
from hydropress.systems.modal import MIMOSystem, ModalSystem, pack_mimo_modes
from strategies import seeded_mimo
from tolerances import DENSE, EXACT, ROUNDING

POINTS = {
    "discrete": np.exp(1j * np.array([0.0, 0.1, 1.0, 3.1])),
    "continuous": 1j * np.array([0.0, 0.1, 1.0, 30.0]),
}
TIMES = ["discrete", "continuous"]


def dense_kernel(matrices: Any, length: int) -> Any:
    """Return C A^t B, shape (P, M, L), power by power."""
    A, B, C = (np.asarray(matrix) for matrix in matrices[:3])
    return np.stack([C @ np.linalg.matrix_power(A, t) @ B for t in range(length)], -1)


def dense_modes(system: MIMOSystem) -> Any:
    """Return complex A, B, C with both members of every pair written out."""
    pairs, reals = system.states == 2, system.states == 1
    poles, B, C = system.poles, system.B, system.C.mT
    poles, B, C = (
        torch.cat([part[pairs], part[pairs].conj(), part[reals]]).resolve_conj().numpy()
        for part in (poles, B, C)
    )
    return np.diag(poles), B, C.T


def test_a_mimo_system_by_hand():
    # 2 Re( (1, i)ᵀ (1, 2, 0) (i/2)^t ) + (0, 1)ᵀ (0, 0, 3) (-1/2)^t.
    B = [[1, 2, 0], [0, 0, 3]]
    C = [[1, 0], [1j, 1]]
    system = ModalSystem.mimo([0.5j, -0.5], B, C, np.arange(6.0).reshape(2, 3))
    assert (system.num_inputs, system.num_outputs, int(system.order)) == (3, 2, 3)
    assert system.residues.shape == (2, 2, 3)
    assert system.residues[0].tolist() == [[1, 2, 0], [1j, 2j, 0]]
    kernel = system.impulse_response(3)
    assert kernel.shape == (2, 3, 3)
    assert kernel[0, 1].tolist() == pytest.approx([4, 0, -1], abs=1e-15)
    assert kernel[1, 1].tolist() == pytest.approx([0, -2, 0], abs=1e-15)
    assert kernel[1, 2].tolist() == pytest.approx([3, -1.5, 0.75], abs=1e-15)
    at_two = system.transfer_function([2.0])[0]  # a pair gives 2 Re(R / (1 - i/4)) there
    assert at_two[0, 1].item() == pytest.approx(1 + 4 * 16 / 17, rel=ROUNDING)
    assert at_two[1, 2].item() == pytest.approx(5 + 3 / 1.25, rel=ROUNDING)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 3), (1, 2), (3, 1), (1, 1)])
def test_mimo_responses_equal_the_dense_ones(inputs, outputs, time):
    system = seeded_mimo((), inputs, outputs, 3, 2, time=time, seed=1)
    modes, matrices = dense_modes(system), system.to_state_space()
    assert [part.shape for part in matrices] == [
        (8, 8),
        (8, inputs),
        (outputs, 8),
        (outputs, inputs),
    ]
    for A, B, C in (modes, tuple(part.numpy() for part in matrices[:3])):
        for index, point in enumerate(POINTS[time]):
            matrix = np.eye(8) - A / point if time == "discrete" else point * np.eye(8) - A
            expected = C @ np.linalg.solve(matrix, B) + system.D.numpy()
            value = system.transfer_function(POINTS[time])[index]
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-11 * abs(expected).max())
        if time == "continuous":
            A = np.asarray(linalg.expm(0.1 * A))
        expected = dense_kernel((A, B, C), 40)
        kernel = system.impulse_response(40, step=0.1)
        np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-12 * abs(expected).max())


@pytest.mark.parametrize("time", TIMES)
def test_mimo_state_space_and_back(time):
    system = seeded_mimo((), 3, 2, 2, 3, time=time, seed=4)
    matrices = system.to_state_space()
    assert all(isinstance(part.numpy(), np.ndarray) for part in matrices)
    again = ModalSystem.from_state_space(*(part.numpy() for part in matrices), time=time)
    assert isinstance(again, MIMOSystem)
    assert torch.equal(again.D, system.D)
    assert sorted(again.states.tolist()) == sorted(system.states.tolist())
    # In any coordinates of the states.
    T = np.random.default_rng(0).normal(size=(7, 7))
    A, B, C, D = (part.numpy() for part in matrices)
    turned = ModalSystem.from_state_space(
        T @ A @ np.linalg.inv(T), T @ B, C @ np.linalg.inv(T), D, time=time
    )
    expected = system.impulse_response(50)
    for one in (again, turned):
        assert (one.impulse_response(50) - expected).abs().max() < DENSE * expected.abs().max()


def test_a_batch_of_mimo_systems_equals_a_loop():
    full = seeded_mimo((2, 3), 3, 2, 2, 1, seed=2)
    points = POINTS["discrete"]
    kernels, responses = full.impulse_response(20), full.transfer_function(points)
    assert kernels.shape == (2, 3, 2, 3, 20)
    assert responses.shape == (2, 3, 4, 2, 3)
    assert torch.equal(full.reshape(6).impulse_response(20), kernels.reshape(6, 2, 3, 20))
    assert full.reshape(-1).batch_shape == (6,)
    for index in np.ndindex(2, 3):
        one = full[index]
        torch.testing.assert_close(one.impulse_response(20), kernels[index], rtol=0, atol=1e-12)
        torch.testing.assert_close(
            one.transfer_function(points), responses[index], rtol=1e-12, atol=1e-12
        )
    with pytest.raises(InvalidArgumentError, match="index it first"):
        full.to_state_space()
    matrices = [full[index].to_state_space() for index in np.ndindex(2, 3)]
    again = ModalSystem.from_state_space(
        *(torch.stack(list(parts)).unflatten(0, (2, 3)) for parts in zip(*matrices, strict=True))
    )
    assert again.batch_shape == (2, 3)
    torch.testing.assert_close(again.impulse_response(20), kernels, rtol=0, atol=1e-11)


def test_a_phase_common_to_b_and_c_says_nothing():
    plain = seeded_mimo((), 2, 3, 1, 2, seed=3)
    phase = torch.exp(1j * torch.tensor([0.3, 1.2, -2.0], dtype=torch.float64))
    turned = ModalSystem.mimo(
        plain.poles, plain.B * phase[:, None], plain.C / phase, plain.D, time="discrete"
    )
    assert turned.B[1:].imag.abs().max() == turned.C[:, 1:].imag.abs().max() == 0
    torch.testing.assert_close(turned.residues, plain.residues, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(
        turned.impulse_response(9), plain.impulse_response(9), rtol=0, atol=1e-12
    )


def test_pack_mimo_modes_puts_pairs_first_and_drops_their_second_halves():
    poles = torch.tensor([0.5, 0.3 - 0.4j, 0.3 + 0.4j], dtype=torch.complex128)
    B = torch.tensor([[2j, 4j], [1 - 1j, 3], [1 + 1j, 3]], dtype=torch.complex128)
    C = torch.tensor([[-1j, 2 + 1j, 2 - 1j]], dtype=torch.complex128)
    D = torch.zeros(1, 2).double()
    system = pack_mimo_modes(torch.log(poles), B, C, D, time="discrete")
    assert system.states.tolist() == [2, 1]
    torch.testing.assert_close(system.poles, poles[[2, 0]], rtol=ROUNDING, atol=EXACT)
    # (2 - i)(1 + i) = 3 + i and (2 - i) 3 = 6 - 3i; the real pole: -i · 2i = 2 and -i · 4i = 4.
    expected = torch.tensor([[[3 + 1j, 6 - 3j]], [[2, 4]]], dtype=torch.complex128)
    torch.testing.assert_close(system.residues, expected, rtol=ROUNDING, atol=1e-15)
    assert system.B[1].imag.tolist() == [0, 0]


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("seed", range(6))
def test_repeated_poles_with_eigenvectors_keep_both_directions(seed, time):
    # Rounding splits them into pairs next to the real axis, of two directions each.
    generator = np.random.default_rng(seed)
    T = generator.normal(size=(6, 6))
    A = T @ np.diag([0.5, 0.5, 0.5, -0.3, -0.3, 0.8]) @ np.linalg.inv(T)
    A = A - np.eye(6) * (time == "continuous")
    B, C = generator.normal(size=(6, 2)), generator.normal(size=(3, 6))
    system = ModalSystem.from_state_space(A, B, C, time=time)
    assert system.order == 6
    step = linalg.expm(0.1 * A) if time == "continuous" else A
    expected = dense_kernel((step, B, C), 20)
    kernel = system.impulse_response(20, step=0.1)
    np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-10 * abs(expected).max())


def test_a_pair_next_to_the_real_axis_stays_a_pair():
    # [A^t]_01 = t 0.5^(t-1), of two modes that are only together of size 1.
    A = [[0.5, 1.0], [-1e-20, 0.5]]
    with pytest.warns(IllConditionedWarning, match=r"condition 1\.0e\+10"):
        kernel = ModalSystem.from_state_space(A, [0.0, 1.0], [1.0, 0.0]).impulse_response(5)
    assert kernel.tolist() == pytest.approx([0, 1, 1, 0.75, 0.5], abs=1e-5)


# Wrong on purpose, which pyright need not know.
ANY: Callable[[str], Any] = str

WRONG_MIMO = {
    "scalar pole": (lambda: ModalSystem.mimo(0.5, [1.0], [1.0]), "B of shape"),
    "rows of B": (lambda: ModalSystem.mimo([0.5], np.ones((2, 1)), [[1.0]]), "B of shape"),
    "vector B": (lambda: ModalSystem.mimo([0.5], [1.0], [[1.0]]), "B of shape"),
    "columns of C": (lambda: ModalSystem.mimo([0.5], [[1.0]], [[1.0, 2.0]]), "C of shape"),
    "batch of C": (lambda: ModalSystem.mimo([0.5], [[1.0]], np.ones((2, 1, 1))), "C of shape"),
    "shape of D": (
        lambda: ModalSystem.mimo([0.5], [[1.0, 2.0]], [[1.0]], [1.0, 2.0]),
        r"D of shape \(2,\).*\(1, 2\)",
    ),
    "complex D": (lambda: ModalSystem.mimo([0.5], [[1.0]], [[1.0]], [[1j]]), "D is complex"),
    "NaN in B": (lambda: ModalSystem.mimo([0.5], [[math.nan]], [[1.0]]), "B contains NaN"),
    "infinite C": (lambda: ModalSystem.mimo([0.5], [[1.0]], [[math.inf]]), "C contains NaN"),
    "lower half": (lambda: ModalSystem.mimo([-0.5j], [[1.0]], [[1.0]]), "negative imag"),
    "delay": (lambda: ModalSystem.mimo([0.0], [[1.0]], [[1.0]]), "pure delay"),
    "complex residue": (lambda: ModalSystem.mimo([0.5], [[1.0]], [[1j]]), "complex residue"),
    "skew b": (lambda: ModalSystem.mimo([0.5], [[1.0, 1j]], [[1.0]]), "complex residue"),
    "skew c": (lambda: ModalSystem.mimo([0.5], [[1.0]], [[1.0], [1j]]), "complex residue"),
    "time": (lambda: ModalSystem.mimo([0.5], [[1.0]], [[1.0]], time=ANY("s")), "'discrete'"),
}


@pytest.mark.parametrize(("make", "message"), WRONG_MIMO.values(), ids=WRONG_MIMO.keys())
@pytest.mark.filterwarnings("error")
def test_wrong_mimo_modes_are_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()
