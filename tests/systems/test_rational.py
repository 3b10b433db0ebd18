"""Zeros, poles, polynomials and sections, against the responses SciPy computes of them."""

from typing import Any

import control
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal as scipy_signal

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.reduce import reduce
from hydropress.systems.interop import (
    from_control,
    from_scipy,
    from_sos,
    to_scipy_zpk,
    to_sos,
)
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.rational import ZerosPolesGain, expand, factorize, find_zeros
from strategies import modal_systems, seeded_bank, seeded_mimo
from tolerances import DENSE, ROUNDING

# SciPy's types, inferred from its code, are narrower than what it takes and returns.
signal: Any = scipy_signal

LENGTH = 200
IMPULSE = np.eye(1, LENGTH)[0]


def respond(system: SISOSystem) -> Any:
    response = system.impulse_response(LENGTH).clone()
    response[0] += system.D
    return response.numpy()


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * abs(expected).max())


FILTERS = {
    "first order": signal.butter(1, 0.2, output="sos"),
    "Butterworth": signal.butter(6, 0.2, output="sos"),
    "odd": signal.cheby1(7, 1, 0.3, output="sos"),
    "elliptic": signal.ellip(8, 1, 60, 0.3, output="sos"),
    "band pass": signal.butter(4, [0.1, 0.3], btype="band", output="sos"),
    "high pass": signal.butter(5, 0.1, btype="high", output="sos"),
    "delay": np.array([[0, 0, 1, 1, -0.5, 0]]),
    "delayed": np.array([[0, 1, 0.5, 1, -0.9, 0.5], [0, 0, 2, 1, 0.3, 0.4]]),
    "scaled": np.array([[2, 1, 0.5, 4, -1.2, 0.5]]),
}


@pytest.mark.parametrize("sections", FILTERS.values(), ids=FILTERS.keys())
def test_filters_there_and_back(sections):
    system = from_sos(sections)
    normal = sections / sections[:, [3]]
    assert_close(respond(system), signal.sosfilt(normal, IMPULSE), 1e-11)
    back = to_sos(system)
    assert len(back) == len(sections)
    assert_close(signal.sosfilt(back, IMPULSE), respond(system), 1e-10)


NARROW = {
    "low pass": signal.butter(9, 0.01, output="sos"),
    "very narrow": signal.butter(6, 0.001, output="sos"),
    "order 16": signal.butter(16, 0.001, output="sos"),
    "elliptic": signal.ellip(9, 1, 60, 0.003, output="sos"),
    "narrow band": signal.butter(8, [0.1, 0.101], btype="band", output="sos"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sections", NARROW.values(), ids=NARROW.keys())
def test_narrow_filters_there_and_back(sections):
    # Far from their pass band such filters have gains of 10⁻²² and less.
    system = from_sos(sections)
    angles = np.concatenate([system.exponents.imag.numpy(), np.linspace(0, np.pi, 200)])
    expected = signal.sosfreqz(sections, angles)[1]
    assert_close(signal.sosfreqz(to_sos(system), angles)[1], expected, 1e-7)
    reduced = reduce(system, 4).system
    expected = reduced.transfer_function(np.exp(1j * angles)).numpy()
    assert_close(signal.sosfreqz(to_sos(reduced), angles)[1], expected, 1e-7)
    back = to_scipy_zpk(reduced)
    response = signal.freqz_zpk(back.zeros, back.poles, back.gain, angles)[1]
    assert_close(response, expected, 1e-7)


@pytest.mark.parametrize("order", [2, 5, 8, 12])
def test_analog_filters_in_hertz(order):
    # Poles at 6,000 rad/s, gains up to 10⁴⁵, no zeros: companion matrices of condition 10⁴⁴.
    zeros, poles, gain = signal.butter(order, 2 * np.pi * 1e3, analog=True, output="zpk")
    frequencies = 2 * np.pi * np.logspace(1, 4, 30)
    expected = signal.freqs_zpk(zeros, poles, gain, frequencies)[1]
    function = signal.TransferFunction(*signal.zpk2tf(zeros, poles, gain))
    for given_form in (signal.ZerosPolesGain(zeros, poles, gain), function, function.to_ss()):
        system = from_scipy(given_form)
        assert_close(system.transfer_function(1j * frequencies).numpy(), expected, 1e-9)
        # At order 12 a companion matrix's eigenvectors have a condition of 10⁵: the residues say of
        # the gains at infinity that they are 10⁻¹² instead of 0, and that is then one more zero.
        if order == 12 and isinstance(given_form, signal.StateSpace):
            continue
        back = to_scipy_zpk(system)
        assert len(back.zeros) == 0
        response = signal.freqs_zpk(back.zeros, back.poles, back.gain, frequencies)[1]
        assert_close(response, expected, 1e-9)


@given(modal_systems(nearest=1e-2, max_modes=4))
def test_zeros_poles_and_gain_give_the_transfer_function(system):
    zeros, poles, gain = (
        getattr(to_scipy_zpk(system), name) for name in ("zeros", "poles", "gain")
    )
    assert len(poles) == system.order
    points = np.exp(1j * np.linspace(0, np.pi, 9))
    if system.time == "continuous":
        points = 1j * np.array([0, 1e-2, 0.1, 1, 10, 100])
    values = np.array([gain * np.prod(z - zeros) / np.prod(z - poles) for z in points])
    parts = system.transfer_function(points).numpy()
    distances = abs(points[:, None] - system.poles.numpy()).min(axis=0)
    sizes = (
        abs(system.D.item()) + ((system.residues.abs() * system.states).numpy() / distances).sum()
    )
    assert abs(values - parts).max() <= DENSE * sizes


@given(st.integers(0, 1000))
def test_sections_of_random_systems(seed):
    system = seeded_bank((), seed % 4, 1 + seed % 3, seed=seed)
    assert_close(signal.sosfilt(to_sos(system), IMPULSE), respond(system), DENSE)
    assert_close(respond(from_sos(to_sos(system))), respond(system), DENSE)


def test_a_shipped_size_survives_sections():
    # Order 64 by a polynomial would lose everything.
    system = seeded_bank((), 32, seed=7, decays=(1e-3, 1e-1))
    assert_close(signal.sosfilt(to_sos(system), IMPULSE), respond(system), 1e-9)


@pytest.mark.parametrize("dt", [0, 0.1])
def test_transfer_functions_of_control(dt):
    generator = np.random.default_rng(0)
    poles = [[[0.5, 0.2 + 0.3j, 0.2 - 0.3j], [-0.4]], [[0.5, 0.1], [0.9, -0.2]]]
    numerators = [[generator.normal(size=2), [2.0, 1.0]], [[3.0], generator.normal(size=3)]]
    denominators = [[np.poly(np.array(entry) - (dt == 0)).real for entry in row] for row in poles]
    peer: Any = control.tf(numerators, denominators, dt)
    points = np.exp(1j * np.array([0.1, 1, 3])) if dt else 1j * np.array([0, 1, 30.0])
    system = from_control(peer)
    assert isinstance(system, MIMOSystem)
    assert int(system.order) == 8
    expected = np.stack([peer(point, squeeze=False) for point in points])
    values = system.transfer_function(points)
    np.testing.assert_allclose(values, expected, rtol=1e-11, atol=1e-11)
    single = from_control(control.tf(numerators[0][0], denominators[0][0], dt))
    assert isinstance(single, SISOSystem)
    np.testing.assert_allclose(single.transfer_function(points), expected[:, 0, 0], rtol=1e-11)


def test_transfer_functions_of_several_outputs():
    peer = signal.TransferFunction([[1.0, 2.0], [0.0, 3.0]], [1.0, -0.2, 0.05], dt=1)
    kernel = from_scipy(peer).impulse_response(30).numpy()[:, 0]
    _, (expected,) = signal.dimpulse(peer.to_ss(), n=30)
    np.testing.assert_allclose(kernel[:, 1:], expected.T[:, 1:], rtol=0, atol=1e-13)


def test_partial_fractions_by_hand():
    # (s + 3) / ((s + 1)(s + 2)) = 2 / (s + 1) - 1 / (s + 2).
    poles, residues, direct = expand(factorize([0, 1, 3], [1, 3, 2]))
    assert dict(zip(poles.real.round(12), residues.real.round(12), strict=True)) == {-1: 2, -2: -1}
    assert direct == 0
    # (2 s² + 1) / (s² + 1) = 2 - 1 / (s² + 1), of residues ± i / 2.
    poles, residues, direct = expand(factorize([2, 0, 1], [1, 0, 1]))
    assert direct == 2
    np.testing.assert_allclose(residues * poles, [-0.5, -0.5], rtol=ROUNDING)


def test_zeros_by_hand():
    # (z - 3) (z + 2) / ((z - 0.5) (z + 0.5) (z - 0.1)) in companion form: one step late.
    below = np.poly([0.5, -0.5, 0.1])
    A = np.vstack([-below[1:], np.eye(2, 3)])
    B, C = np.eye(3, 1), 7 * np.array([[1.0, -1.0, -6.0]])
    poles, points = np.array([0.5, -0.5, 0.1]), np.array([0.6, 1.0])
    values = np.array([7 * (z - 3) * (z + 2) / ((z**2 - 0.25) * (z - 0.1)) for z in points])
    zeros, _, gain = find_zeros(A, B, C, 0.0, poles, points, values)
    assert sorted(zeros.real) == pytest.approx([-2, 3], rel=1e-12)
    assert gain == pytest.approx(7, rel=ROUNDING)
    assert find_zeros(A, B, 0 * C, 0.0, np.zeros(3), points, 0 * values).gain == 0
    with pytest.raises(InvalidArgumentError, match="zeros are lost in rounding.*a state space"):
        find_zeros(A, B, C, 0.0, poles, points, values * [1.0, 1.1])


CONDITION = r"is repeated, or nearly: its modes have condition (inf|\d\.\de\+\d+); required"

WRONG = {
    "improper": (lambda: from_scipy(signal.ZerosPolesGain([1, 2], [3], 1.0)), "2 zeros and 1 pole"),
    "repeated pole": (lambda: from_scipy(signal.ZerosPolesGain([], [-1, -1], 1)), "pole -1.*repea"),
    "repeated pair": (
        lambda: from_sos(np.tile([1, 0, 0, 1, -0.6, 0.25], (2, 1))),
        r"pole 0\.3[+-]0\.4j is repeated, or nearly: its modes have condition inf",
    ),
    "double root": (lambda: from_scipy(signal.dlti([1], np.poly([0.5, 0.5]))), CONDITION),
    "triple root": (lambda: from_control(control.tf([1], np.poly([-1] * 3))), CONDITION),
    "near double pole": (
        lambda: from_scipy(signal.ZerosPolesGain([], [0.5, 0.5 + 1e-9], 1.0, dt=1)),
        r"condition \d\.\de\+0[89]; required: poles that stand apart \(below 1e\+07\)",
    ),
    "double integrator": (lambda: from_control(control.tf([1], [1, 0, 0])), "repeated"),
    "delays": (
        lambda: from_sos([[0, 0, 1, 1, -0.5, 0], [0, 1, 0, 1, 0, 0]]),
        r"pole 0.* is repeated, or nearly: its modes have condition inf;.*delay the input",
    ),
    "alone": (lambda: from_scipy(signal.ZerosPolesGain([], [1j - 1], 1)), "complex pole lacks"),
    "zero alone": (
        lambda: from_scipy(signal.ZerosPolesGain([1j], [-1, -2], 1)),
        "complex zero lacks",
    ),
    "shape": (lambda: from_sos(np.ones((2, 5))), r"\(2, 5\); required: \(K, 6\)"),
    "a0": (lambda: from_sos([[1, 0, 0, 0, 1, 0]]), "a0 not 0"),
    "no denominator": (lambda: factorize([1], [0]), "denominator is 0"),
    "sections of continuous time": (
        lambda: to_sos(seeded_bank((), 1, time="continuous")),
        "continuous-time system; required: discrete",
    ),
    "sections of several inputs": (lambda: to_sos(seeded_mimo((), 2, 1, 1)), "2 inputs and 1 outp"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.filterwarnings("ignore::scipy.signal.BadCoefficients")
def test_what_has_no_modes_is_refused(make, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make()


def test_unstable_functions_convert():
    system = from_scipy(signal.ZerosPolesGain([], [0.0, 2.0], 4.0))  # 2 / (s - 2) - 2 / s
    assert isinstance(system, ModalSystem)
    assert system.impulse_response(3, step=0.5).tolist() == pytest.approx(
        [0, 2 * np.e - 2, 2 * np.e**2 - 2]
    )
    assert ZerosPolesGain(*factorize([0.0], [1.0, 1.0])).gain == 0
    silent = from_scipy(signal.ZerosPolesGain([], [-1.0, -2.0], 0.0))
    assert silent.transfer_function([1j]).tolist() == [0]
