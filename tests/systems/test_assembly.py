"""Banks put together from others."""

import torch

from hydropress.systems.assembly import stack
from strategies import seeded_bank


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
