"""Banks put together from others."""

from dataclasses import replace

import pytest
import torch

from hydropress.systems.assembly import stack, where, without_silent_modes
from hydropress.systems.modal import MIMOSystem, SISOSystem
from strategies import seeded_bank, seeded_mimo


def test_stacked_banks_of_different_widths():
    narrow, wide = seeded_bank((3,), 1, 1, seed=1), seeded_bank((3,), 2, 2, seed=2)
    both = stack([narrow, wide])
    assert both.batch_shape == (2, 3)
    assert torch.equal(both.D, torch.stack([narrow.D, wide.D]))
    for one, together in ((narrow, both[0]), (wide, both[1])):
        assert torch.equal(one.order, together.order)
        torch.testing.assert_close(
            together.impulse_response(20), one.impulse_response(20), rtol=1e-12, atol=0
        )


def _mimo(batch, *modes, **options):
    return seeded_mimo(batch, 3, 2, *modes, **options)


KINDS = {"scalar": seeded_bank, "mimo": _mimo}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", ["discrete", "continuous"])
def test_stack_and_where_of_both_kinds(kind, time):
    narrow = KINDS[kind]((3,), 1, 1, seed=1, time=time)
    wide = KINDS[kind]((3,), 2, 2, seed=2, time=time)
    both = stack([narrow, wide])
    assert both.time == time
    for condition in ([True, False, True], [False] * 3, [True] * 3):
        chosen = where(torch.tensor(condition), narrow, wide)
        assert chosen.time == time
        assert chosen.num_poles == (2 if all(condition) else 4)
        for row, first in enumerate(condition):
            expected = (narrow if first else wide)[row]
            assert torch.equal(chosen.D[row], expected.D)
            assert int(chosen.order[row]) == int(expected.order)
            for one in (chosen[row], both[0 if first else 1, row]):
                torch.testing.assert_close(
                    one.impulse_response(20), expected.impulse_response(20), rtol=1e-12, atol=1e-14
                )


@pytest.mark.parametrize("kind", KINDS)
def test_modes_without_a_response_become_empty(kind):
    system = KINDS[kind]((2,), 2, 1, seed=3)
    if isinstance(system, MIMOSystem):
        B, C = system.B.clone(), system.C.clone()
        B[0, 1], C[1, :, 2] = 0, 0
        silenced = replace(system, B=B, C=C)
    else:
        assert isinstance(system, SISOSystem)
        residues = system.residues.clone()
        residues[0, 1], residues[1, 2] = 0, 0
        silenced = replace(system, residues=residues)
    kept = without_silent_modes(silenced)
    assert kept.order.tolist() == [3, 4]
    assert torch.equal(kept.impulse_response(20), silenced.impulse_response(20))
