"""H-infinity norms: by hand, python-control, samples of the gain, Hankel values, energies."""

import math
from dataclasses import replace

import control
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.reduction.reduce import reduce
from hydropress.systems.gramians import hankel_singular_values
from hydropress.systems.hinf import hinf_error, hinf_norm
from hydropress.systems.modal import ModalSystem, SISOSystem
from reduction.mimo import as_mimo
from strategies import bank, build, mimo_systems, modal_systems, seeded_bank, seeded_mimo
from tolerances import DENSE, NORM, ROUNDING

TIMES = ["discrete", "continuous"]


def resonance(damping: float, speed: float = 1.0) -> ModalSystem:
    """Return ω² / (s² + 2 ζ ω s + ω²)."""
    A = [[0.0, 1.0], [-(speed**2), -2 * damping * speed]]
    return ModalSystem.from_state_space(A, [0.0, 1.0], [speed**2, 0.0], time="continuous")


def by_control(system: ModalSystem) -> float:
    """Bisect one system, with zeros for missing inputs or outputs: it takes square ones only."""
    A, B, C, D = (matrix.numpy() for matrix in system.to_state_space())
    if system.time == "discrete" and not system.delay:
        C, D = C @ A, D + C @ B
    size = max(D.shape)
    B = np.pad(B, ((0, 0), (0, size - B.shape[1])))
    C = np.pad(C, ((0, size - C.shape[0]), (0, 0)))
    D = np.pad(D, ((0, size - D.shape[0]), (0, size - D.shape[1])))
    sampling = {} if system.time == "continuous" else {"dt": True}
    return float(control.system_norm(control.ss(A, B, C, D, **sampling), p="inf", tol=1e-13))  # pyright: ignore[reportArgumentType]


def gains_nearby(system: ModalSystem) -> float:
    """Return the largest of many samples of the gain, most of them around the resonances."""
    decay, frequency = -system.exponents.real, system.exponents.imag
    offsets = torch.cat([-torch.logspace(1, -3, 40), torch.zeros(1), torch.logspace(-3, 1, 40)])
    near = (frequency[:, None] + decay[:, None] * offsets.double()).flatten()
    wide = torch.linspace(0, math.pi, 200, dtype=torch.float64)
    if system.time == "discrete":
        points = torch.exp(1j * torch.cat([near, wide]))
    else:
        points = 1j * torch.cat([near, 100 * wide])
    response = system.transfer_function(points)
    if response.ndim == 1:
        return float(response.abs().max())
    return float(torch.linalg.matrix_norm(response, ord=2).max())


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        # The sum of a positive kernel, and of one that alternates: D + Σ |k|.
        (ModalSystem.siso([0.5], [1.0], 1.0), 3),
        (ModalSystem.siso([-0.5], [1.0], 1.0), 3),
        # One sample late D and the modes add up at z = 1 only: 1 + 1 / (1 + 1/2), |1 - 2| at -1.
        (ModalSystem.siso([-0.5], [1.0], 1.0, delay=1), 5 / 3),
        # D and one sample z^-1 of the other sign meet at z = -1.
        (ModalSystem.siso([0.0], [-2.0], 1.0, delay=1), 3),
        # No modes, none that answers, nothing at all.
        (build([], [], [], feedthrough=-2.0), 2),
        (build([-1.0], [0.0], [1], feedthrough=-2.0), 2),
        (build([-1.0], [0.0], [1]), 0),
        # A low pass and a high pass, s / (s + 1) = 1 - 1 / (s + 1), whose supremum is at infinity.
        (ModalSystem.siso([-2.0], [6.0], time="continuous"), 3),
        (ModalSystem.siso([-1.0], [-1.0], 1.0, time="continuous"), 1),
        # All frequencies alike: (s - 1) / (s + 1), and (1 - z/2) / (z - 1/2).
        (ModalSystem.siso([-1.0], [-2.0], 1.0, time="continuous"), 1),
        (ModalSystem.siso([0.5], [0.75], -0.5, delay=1), 1),
        # The textbook's peak 1 / (2 ζ √(1 - ζ²)), none above ζ = 1/√2.
        (resonance(0.1), 1 / (0.2 * math.sqrt(0.99))),
        (resonance(1e-6, 1e5), 1 / (2e-6 * math.sqrt(1 - 1e-12))),
        (resonance(0.8), 1),
    ],
)
def test_by_hand(system, expected):
    assert hinf_norm(system).item() == pytest.approx(expected, rel=NORM)


def test_several_inputs_and_outputs_by_hand():
    # Two channels apart, then mixed by rotations, which change no singular value.
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    apart = ModalSystem.mimo([0.5, -0.5], torch.eye(2), torch.diag(torch.tensor([1.0, 3.0])))
    assert hinf_norm(apart).item() == pytest.approx(6, rel=ROUNDING)
    turned = replace(apart, B=apart.B @ turn.mT.to(apart.B), C=turn.to(apart.C) @ apart.C)
    assert hinf_norm(turned).item() == pytest.approx(6, rel=ROUNDING)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (1, 3), (3, 2), (4, 4)])
def test_python_control_finds_the_same(time, inputs, outputs):
    systems = seeded_mimo((3,), inputs, outputs, 4, 2, time=time)
    expected = [by_control(systems[index]) for index in range(3)]
    np.testing.assert_allclose(hinf_norm(systems).numpy(), expected, rtol=DENSE)


def test_python_control_finds_the_same_with_a_delay():
    systems = replace(seeded_bank((4,), 3, 2), delay=1)
    expected = [by_control(systems[index]) for index in range(4)]
    np.testing.assert_allclose(hinf_norm(systems).numpy(), expected, rtol=DENSE)


@given(st.one_of(modal_systems(), mimo_systems(max_modes=3)))
def test_no_frequency_exceeds_it(system):
    assert gains_nearby(system) <= hinf_norm(system).item() * (1 + NORM)


def sampled_at_resonances(systems: SISOSystem) -> torch.Tensor:
    """Return the largest of 800 samples a mode, in differences of exponents, which keep digits."""
    s, weights = systems.exponents.numpy(), (systems.residues * systems.states / 2).numpy()
    ends = np.array([0.0, math.pi if systems.time == "discrete" else 1e9])
    away = np.logspace(-5, 1, 400)
    nearby = s.imag[..., None] - s.real[..., None] * np.concatenate([-away, away])
    nearby = nearby.reshape(len(s), -1)
    frequency = np.concatenate([nearby, np.broadcast_to(ends, (len(s), 2))], -1)
    total = np.broadcast_to(systems.D.numpy()[:, None], frequency.shape).astype(complex)
    for mode in range(s.shape[-1]):
        for pole, weight in (
            (s[:, mode], weights[:, mode]),
            (s[:, mode].conj(), weights[:, mode].conj()),
        ):
            gap = pole[:, None] - 1j * frequency
            total = total - weight[:, None] / (np.expm1(gap) if systems.time == "discrete" else gap)
    return torch.from_numpy(abs(total).max(-1))


@pytest.mark.parametrize("decades", [3, 6, 9])
@pytest.mark.parametrize("time", TIMES)
def test_poles_many_decades_apart(time, decades):
    """A gain with a local minimum at 0, or crossings of a level at tiny w, must not be missed."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, dtype=torch.float64, generator=generator)

    sizes = 10 ** (decades * (draw(200, 6) - (0.5 if time == "continuous" else 1)))
    exponents = torch.polar(sizes, math.pi / 2 * (1 + 0.999 * draw(200, 6)))
    if time == "discrete":
        near_minus_one = draw(200, 6) < 0.3
        turned = torch.complex(exponents.real, math.pi - exponents.imag)
        exponents = torch.where(near_minus_one, turned, exponents)
    residues = torch.complex(draw(200, 6) - 0.5, draw(200, 6) - 0.5) * sizes
    two = torch.full((200, 6), 2)
    systems = ModalSystem.from_exponents(exponents, residues, two, time=time)
    norms = hinf_norm(systems)
    assert bool((sampled_at_resonances(systems) <= norms * (1 + NORM)).all())


HIDDEN = [
    (-0.02810895264270723, 0.00190003295992432),
    (-0.001570847089934089, 19.18297518711767),
    (-6.882678056672971e-06, 0.016238023949727756),
    (-0.15993369859348586, -2.6040798508537312e-05),
    (-7.289396616377783e-06 + 1j * math.pi, -0.0012454488684441934),
    (-0.006431673467840093, 0.0012035723992262454),
    (-9.539538693622985e-05, -51.6396062164963),
    (-0.010309549145104359 + 1j * math.pi, 0.00042133229713815486),
    (-5.900498017392828e-05, 3.483568887583039e-08),
    (-0.01394552284267815 + 0.30019424585936444j, 1.298098734664079e-06 - 2.2868166114179456e-06j),
]
"""Exponents and residues of slow modes that cancel each other but for a small share: the level sets
of the gain end in rounding 3e-5 below its maximum, at a frequency of 3.5e-6."""


def test_a_maximum_between_the_decays_of_slow_modes():
    exponents, residues = torch.tensor(HIDDEN, dtype=torch.complex128).T.unbind(0)
    states = torch.tensor([1] * 9 + [2])
    system = ModalSystem.from_exponents(exponents, residues, states, -0.9369805960313202)
    best = float(sampled_at_resonances(system.reshape(1)))
    assert hinf_norm(system).item() == pytest.approx(best, rel=1e-6)
    assert hinf_norm(system).item() >= best * (1 - NORM)


@given(modal_systems(nearest=1e-4))
@settings(max_examples=40)
def test_it_lies_between_hankel_bounds(system):
    """σ_1 ≤ ‖G - D‖ ≤ 2 Σ σ_k: Nehari's theorem, and Enns' bound for order 0.

    The bound of a discrete system holds for its strictly proper part, G one sample late.
    """
    strictly = replace(system, D=torch.zeros_like(system.D))
    values = hankel_singular_values(strictly)
    if system.time == "discrete":
        strictly = replace(strictly, delay=1)
    norm = hinf_norm(strictly).item()
    assert values[0].item() * (1 - DENSE) <= norm <= 2 * values.sum().item() * (1 + DENSE)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("order", [2, 5, 8])
def test_balanced_truncation_keeps_its_bound(time, order):
    full = seeded_bank((8,), 4, 2, time=time)
    if time == "discrete":
        full = replace(full, delay=1)
    values = hankel_singular_values(full)
    error = hinf_error(full, reduce(full, order, "balanced").system)
    assert bool((error >= values[:, order] * (1 - DENSE)).all())
    assert bool((error <= 2 * values[:, order:].sum(-1) * (1 + DENSE)).all())


def test_output_energy_is_at_most_so_much_and_nearly_reached():
    system = seeded_bank((), 3, 1, seed=5)
    norm = hinf_norm(system).item()
    kernel = system.impulse_response(4000)
    frequency = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    gains = system.transfer_function(torch.exp(1j * frequency)).abs()
    time = torch.arange(40_000, dtype=torch.float64)
    worst = torch.cos(frequency[gains.argmax()] * time)
    noise = torch.randn(40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ratios = []
    for signal in (worst, noise):
        spectrum = torch.fft.rfft(signal, n=44_000) * torch.fft.rfft(kernel, n=44_000)
        output = torch.fft.irfft(spectrum, n=44_000)
        output[:40_000] += system.D * signal
        ratios.append(float(torch.linalg.vector_norm(output) / torch.linalg.vector_norm(signal)))
    assert 0.99 * norm < ratios[0] <= norm
    assert ratios[1] <= norm


@given(modal_systems("continuous"), st.sampled_from([1e-6, 1e3, 1e9]))
@settings(max_examples=25)
def test_the_unit_of_time_does_not_matter(system, speed):
    """G(s / c) has poles c λ and residues c ρ, and the same gains."""
    faster = replace(system, exponents=system.exponents * speed, residues=system.residues * speed)
    assert hinf_norm(faster).item() == pytest.approx(hinf_norm(system).item(), rel=NORM)


@pytest.mark.parametrize("time", TIMES)
def test_of_a_bank_each_is_that_of_its_system(time):
    systems = bank([seeded_bank((), 3, 1, time=time, seed=1), seeded_bank((), 1, 0, time=time)])
    norms = hinf_norm(systems.reshape(2, 1))
    assert norms.shape == (2, 1)
    for index in range(2):
        assert norms[index].item() == pytest.approx(hinf_norm(systems[index]).item(), rel=NORM)
        one = hinf_norm(as_mimo(systems[index])).item()
        assert norms[index].item() == pytest.approx(one, rel=NORM)
    assert hinf_norm(systems[:0]).shape == (0,)


@pytest.mark.parametrize("time", TIMES)
def test_derivative(time):
    system = seeded_bank((), 3, 1, time=time, seed=2)

    def norm(residues: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
        exponents = torch.complex(-decay, system.exponents.imag)
        return hinf_norm(replace(system, residues=residues, exponents=exponents))

    parameters = (system.residues.clone(), -system.exponents.real)
    for parameter in parameters:
        parameter.requires_grad_()
    assert torch.autograd.gradcheck(norm, parameters)


def test_what_has_no_such_norm():
    with pytest.raises(UnstableSystemError, match="does not decay"):
        hinf_norm(ModalSystem.siso([1.0], [1.0]))
    with pytest.raises(InvalidArgumentError, match="required: the same time"):
        hinf_error(seeded_bank((), 1), seeded_bank((), 1, time="continuous"))
