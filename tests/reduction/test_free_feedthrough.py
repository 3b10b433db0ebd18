"""A free D: the kernel from its second sample on."""

import pytest
import torch

import oracles
from hydropress.reduction.free_feedthrough import from_second_sample, with_first_sample
from hydropress.reduction.reduce import reduce
from strategies import build, seeded_bank


def test_the_delayed_kernel_is_that_of_one_sample_later():
    full = seeded_bank((3,), 2, 1, seed=81)
    torch.testing.assert_close(
        from_second_sample(full).impulse_response(30),
        full.impulse_response(31)[..., 1:],
        rtol=1e-12,
        atol=0,
    )


def test_poles_that_alternate_stay_real():
    full = build([-0.1 + torch.pi * 1j, -0.2], [2.0, 1.0], [1, 1]).reshape(1)
    assert bool((from_second_sample(full).residues.imag == 0).all())


def test_there_and_back_changes_nothing():
    full = seeded_bank((3,), 2, 1, seed=82)
    back = with_first_sample(from_second_sample(full), full)
    torch.testing.assert_close(back.residues, full.residues)
    torch.testing.assert_close(back.D, full.D)


def test_the_first_samples_agree():
    full = seeded_bank((3,), 3, 1, seed=83)
    small = with_first_sample(reduce(from_second_sample(full), 2).system, full)
    torch.testing.assert_close(
        small.impulse_response(1)[:, 0] + small.D, full.impulse_response(1)[:, 0] + full.D
    )


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_a_free_feedthrough_leaves_the_error_of_the_delayed_kernel(order):
    full = seeded_bank((3,), 3, 1, seed=84)
    free, later = reduce(full, order, fit_feedthrough=True), reduce(from_second_sample(full), order)
    for row in range(3):
        error = oracles.h2_error(from_second_sample(full)[row], later.system[row])
        relative = error / oracles.h2_norm(full[row])
        assert float(free.relative_error[row]) <= relative * (1 + 1e-6)
