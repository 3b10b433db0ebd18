"""The generic door: arrays of diagonal SSMs in a file."""

import math
import tracemalloc
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.signal import cont2discrete

from hydropress.compression.system_file import compress_system_file
from hydropress.errors import (
    DataNotFoundError,
    FileFormatError,
    InvalidArgumentError,
    UnknownNameError,
    UnstableSystemError,
)
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import ModalSystem

RANDOM = np.random.default_rng(0)


def complex_normal(*shape):
    return RANDOM.standard_normal(shape) + 1j * RANDOM.standard_normal(shape)


def bank(continuous=False):
    """Return poles and residues of 2 x 3 systems of 5 pairs and a real pole, and D."""
    poles = -RANDOM.uniform(0.01, 0.5, (2, 3, 6)) + 1j * RANDOM.uniform(0.1, 3, (2, 3, 6))
    residues = complex_normal(2, 3, 6)
    poles[..., -1] = poles[..., -1].real
    residues[..., -1] = residues[..., -1].real
    if not continuous:
        poles = np.exp(poles)
    return {"poles": poles, "residues": residues, "D": RANDOM.standard_normal((2, 3))}


def mimo(continuous=False):
    poles = -RANDOM.uniform(0.01, 0.5, 8) + 1j * RANDOM.uniform(0.1, 3, 8)
    poles = poles if continuous else np.exp(poles)
    return {"poles": poles, "B": complex_normal(8, 2), "C": complex_normal(3, 8)}


def kernel(arrays, length=60, step=1.0):
    """Return the sampled response of what a file holds, from its own convention."""
    if "B" in arrays:
        residues = arrays["C"].T[:, :, None] * arrays["B"][:, None, :]
    else:
        residues = arrays["residues"]
    poles = arrays["poles"]
    if "step" in arrays:
        step = np.asarray(arrays["step"], dtype=float)
        step = step.item() if step.size == 1 else step
        step = step[..., None] if np.ndim(step) and step.shape != poles.shape else step
        poles, gain = np.exp(poles * step), (np.exp(poles * step) - 1) / poles
        residues = residues * gain.reshape(gain.shape + (1,) * (residues.ndim - gain.ndim))
    weight = np.where(arrays["poles"].imag == 0, 1, 2)
    extra = (1,) * (residues.ndim - poles.ndim)
    axis = poles.ndim - 1
    modes = poles[..., None] ** np.arange(length) * weight[..., None]
    modes = modes.reshape(*poles.shape, *extra, length)
    return (residues[..., None] * modes).real.sum(axis)


def saved(folder, arrays, suffix=".npz"):
    path = folder / f"given{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(
            {name: torch.from_numpy(np.asarray(value)) for name, value in arrays.items()}, path
        )
    return path


def run(folder, arrays, suffix=".npz", **options: Any) -> Any:
    out = folder / "new" / f"small{suffix}"
    options = {"method": "balanced", **({"order": 4} if "ratio" not in options else {}), **options}
    reduction = compress_system_file(saved(folder, arrays, suffix), out, **options)
    if suffix == ".npz":
        return reduction, dict(np.load(out))
    return reduction, {name: value.numpy() for name, value in load_file(out).items()}


def test_a_bank_comes_out_as_reduce_makes_it(tmp_path):
    arrays = bank()
    reduction, small = run(tmp_path, arrays)
    given = ModalSystem.siso(arrays["poles"], arrays["residues"], arrays["D"])
    expected = reduce(given, 4, "balanced")
    assert set(small) == set(arrays)
    assert small["poles"].shape[:2] == (2, 3) and small["poles"].shape[2] <= 4
    np.testing.assert_allclose(kernel(small), expected.system.impulse_response(60), atol=1e-12)
    np.testing.assert_array_equal(small["D"], arrays["D"])
    torch.testing.assert_close(reduction.relative_error, expected.relative_error)


def test_systems_of_many_inputs_and_outputs(tmp_path):
    arrays = mimo()
    _, small = run(tmp_path, arrays, order=8)
    expected = reduce(ModalSystem.mimo(*(arrays[n] for n in ("poles", "B", "C"))), 8, "balanced")
    expected = expected.system.impulse_response(60).numpy()
    assert small["B"].shape == (small["poles"].size, 2) and small["D"].shape == (3, 2)
    np.testing.assert_allclose(kernel(small), expected, atol=1e-11)


def test_continuous_poles_are_sampled_by_zero_order_hold(tmp_path):
    # Against SciPy: the real form of one pair, held over the step.
    decay, frequency, step, b, c = 0.3, 2.0, 0.4, 0.7 - 0.2j, 1.1 + 0.5j
    A = np.array([[-decay, -frequency], [frequency, -decay]])
    B = 2 * np.array([[b.real], [b.imag]])
    C = np.array([[c.real, -c.imag]])
    held: Any = cont2discrete((A, B, C, np.zeros((1, 1))), step)
    Ad, Bd, Cd, *_ = held
    wanted = [(Cd @ np.linalg.matrix_power(Ad, t) @ Bd).item() for t in range(30)]
    arrays = {"poles": np.array([-decay + 1j * frequency]), "residues": np.array([b * c])}
    reduction, small = run(tmp_path, {**arrays, "step": np.float64(step)}, order=2)
    np.testing.assert_allclose(reduction.system.impulse_response(30), wanted, atol=1e-12)
    np.testing.assert_allclose(small["poles"], arrays["poles"])
    np.testing.assert_allclose(small["residues"], arrays["residues"])
    assert small["step"] == step


@pytest.mark.parametrize("make", [bank, mimo])
@pytest.mark.parametrize("kind", ["one", "system", "pole"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_continuous_in_continuous_out(tmp_path, make, kind, suffix):
    arrays = make(continuous=True)
    shape = {"one": (1,), "system": arrays["poles"].shape[:-1], "pole": arrays["poles"].shape}
    arrays["step"] = RANDOM.uniform(0.2, 1.0, shape[kind])
    given = arrays
    if suffix == ".safetensors":
        given = split(arrays)
    reduction, small = run(tmp_path, given, suffix, order=6)
    assert ("poles.real" in small) == (suffix == ".safetensors")
    small = joined(small)
    assert small["step"].shape == (shape["system"] if kind == "pole" else shape[kind])
    # A pole that alternates in sign is a pair that turns by π a sample.
    wanted = reduction.system.impulse_response(60).numpy()
    np.testing.assert_allclose(kernel(small), wanted, atol=1e-10)
    again, _ = run(tmp_path, given | small if suffix == ".npz" else split(small), suffix, order=6)
    np.testing.assert_allclose(again.system.impulse_response(60), wanted, atol=1e-10)


def split(arrays):
    new = {name: value for name, value in arrays.items() if not np.iscomplexobj(value)}
    for name in set(arrays) - set(new):
        new |= {f"{name}.real": arrays[name].real.copy(), f"{name}.imag": arrays[name].imag.copy()}
    return new


def joined(arrays):
    new = {name: value for name, value in arrays.items() if not name.endswith((".real", ".imag"))}
    for name in {name.removesuffix(".real") for name in arrays if name.endswith(".real")}:
        new[name] = arrays[f"{name}.real"] + 1j * arrays[f"{name}.imag"]
    return new


def test_an_alternating_pole_survives_continuous_time(tmp_path):
    step = 0.25
    wanted = 0.6 * (-0.8) ** np.arange(30)
    pole = (math.log(0.8) + 1j * math.pi) / step
    gain = (-0.8 - 1) / pole
    arrays = {
        "poles": np.array([pole]),
        "residues": np.array([0.3 / gain]),
        "step": np.array([step]),
    }
    reduction, small = run(tmp_path, arrays, order=1)
    assert reduction.system.order.item() == 1
    np.testing.assert_allclose(reduction.system.impulse_response(30), wanted, atol=1e-12)
    np.testing.assert_allclose(kernel(small, 30), wanted, atol=1e-12)


def test_single_precision_stays_single_precision(tmp_path):
    arrays = {name: value.astype(np.complex64) for name, value in bank().items() if name != "D"}
    for suffix in (".npz", ".safetensors"):
        _, small = run(tmp_path, arrays, suffix)
        assert small["poles"].dtype == small["residues"].dtype == np.complex64
        assert small["D"].dtype == np.float32


def test_entries_without_an_output_count_as_no_states(tmp_path):
    arrays = bank()
    arrays["residues"][0, 0, 2:] = 0
    reduction, small = run(tmp_path, arrays, ratio=1.0)
    assert reduction.system.order[0, 0] == 4 and reduction.system.order.max() == 11
    again, _ = run(tmp_path, small, ratio=1.0)
    assert torch.equal(again.system.order, reduction.system.order)
    np.testing.assert_allclose(kernel(small), kernel(arrays), atol=1e-12)


def test_a_ratio_keeps_that_share_of_the_states(tmp_path):
    reduction, _ = run(tmp_path, mimo(), ratio=0.25)
    assert reduction.order == 4


WRONG = {
    "no poles": ({"residues": np.ones(2)}, FileFormatError, "required: poles"),
    "no residues": ({"poles": np.ones(2) / 2}, FileFormatError, "residues, or B and C"),
    "B without C": ({"poles": np.ones(2) / 2, "B": np.ones((2, 1))}, FileFormatError, "B and C"),
    "unknown": (
        {"poles": np.ones(1), "residues": np.ones(1), "E": np.ones(1)},
        FileFormatError,
        "E",
    ),
    "shapes": (
        {"poles": np.ones(2) / 2, "residues": np.ones(3)},
        InvalidArgumentError,
        "equal shapes",
    ),
    "D": (
        {"poles": np.ones(2) / 2, "residues": np.ones(2), "D": np.ones(3)},
        InvalidArgumentError,
        "feedthrough of shape",
    ),
    "both members": (
        {"poles": np.array([0.5j, -0.5j]), "residues": np.ones(2)},
        InvalidArgumentError,
        "negative imaginary part",
    ),
    "unstable": (
        {"poles": np.array([0.5, 1.5]), "residues": np.ones(2)},
        UnstableSystemError,
        "1 pole",
    ),
    "continuous for discrete": (
        {"poles": np.array([-3 + 1j]), "residues": np.ones(1) * 1j},
        UnstableSystemError,
        "add step if the poles are continuous",
    ),
    "unstable in continuous time": (
        {"poles": np.array([0.1 + 1j]), "residues": np.ones(1) * 1j, "step": np.array(0.1)},
        UnstableSystemError,
        "Re λ < 0",
    ),
    "step": (
        {"poles": -np.ones(3), "residues": np.ones(3), "step": np.ones(2)},
        InvalidArgumentError,
        "step of shape",
    ),
    "negative step": (
        {"poles": -np.ones(3), "residues": np.ones(3), "step": -np.ones(3)},
        InvalidArgumentError,
        "not positive",
    ),
    "objects": ({"poles": np.array([None])}, FileFormatError, "cannot be read"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_what_is_wrong_is_said(tmp_path, case):
    arrays, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        run(tmp_path, arrays, order=1)
    assert not (tmp_path / "new").exists()


def test_arguments_are_checked(tmp_path):
    path, arrays = saved(tmp_path, bank()), bank()
    with pytest.raises(InvalidArgumentError, match="exactly one"):
        compress_system_file(path, tmp_path / "out.npz")
    with pytest.raises(InvalidArgumentError, match="order=99"):
        run(tmp_path, arrays, order=99)
    with pytest.raises(UnknownNameError, match="one of h2, balanced"):
        run(tmp_path, arrays, method="magic")
    with pytest.raises(InvalidArgumentError, match="same kind"):
        compress_system_file(path, tmp_path / "out.safetensors", order=2)
    with pytest.raises(DataNotFoundError, match="no file"):
        compress_system_file(tmp_path / "none.npz", tmp_path / "out.npz", order=2)
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    with pytest.raises(FileFormatError, match="cannot be read"):
        compress_system_file(tmp_path / "broken.npz", tmp_path / "out.npz", order=2)


def damaged(content: bytes) -> Iterator[bytes]:
    """Every kind of cut, and bytes turned over."""
    for length in range(0, len(content), 7):
        yield content[:length]
    for place in range(0, len(content), 5):
        yield content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def test_a_damaged_archive_is_refused_or_holds_what_it_held(tmp_path):
    path = saved(tmp_path, {"poles": np.array([0.5, 0.2]), "residues": np.ones(2)})
    whole = path.read_bytes()
    wanted = compress_system_file(path, tmp_path / "out.npz", order=1).relative_error
    refusals = 0
    for content in damaged(whole):
        path.write_bytes(content)
        try:
            found = compress_system_file(path, tmp_path / "out.npz", order=1).relative_error
        except FileFormatError:
            refusals += 1
        else:
            torch.testing.assert_close(found, wanted)
    assert refusals > 0.8 * len(whole) / 7


def test_a_shape_that_is_not_in_the_archive_is_not_allocated(tmp_path):
    path, arrays = tmp_path / "huge.npz", {"poles": np.array([0.5, 0.2]), "residues": np.ones(2)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                shape = (2**34,) if name == "poles" else array.shape
                header = {"descr": "<f8", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                member.write(array.tobytes())
    tracemalloc.start()
    with pytest.raises(FileFormatError, match="cannot be read"):
        compress_system_file(path, tmp_path / "out.npz", order=1)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
