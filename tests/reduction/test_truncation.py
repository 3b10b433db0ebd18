"""Keeping modes of a bank by their scores, whatever the scores."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from hydropress.errors import InvalidArgumentError
from hydropress.reduction.truncation import keep_modes
from reduction.mimo import as_mimo, mimo_bank, only_mode
from strategies import bank, build, modal_banks, seeded_bank
from tolerances import ROUNDING


def chosen_by_hand(scores: list[float], states: list[int], room: int) -> list[int]:
    """Walk down the scores and take every mode that still fits."""
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda index: -scores[index]):
        if 0 < states[index] <= room:
            kept.append(index)
            room -= states[index]
    return sorted(kept)


def test_by_hand():
    modes = build([-0.1, -0.2 + 1j, -0.3, -0.4 + 2j], [1.0, 2j, 3.0, 4j], [1, 2, 1, 2], 0.5)
    full, scores = bank([modes]), torch.tensor([[1.0, 4.0, 2.0, 3.0]])
    kept = {order: set(keep_modes(full, scores, order).residues[0].tolist()) for order in range(7)}
    assert kept[1] == {3.0}  # no pair fits: the best real pole
    assert kept[2] == {2j}
    assert kept[3] == {2j, 3.0}  # the second pair does not fit
    assert kept[4] == {2j, 4j}
    assert kept[5] == {2j, 4j, 3.0}
    assert kept[6] == {2j, 4j, 3.0, 1.0}
    nothing = keep_modes(full, scores, 0)
    assert (nothing.order.tolist(), nothing.D.tolist()) == ([0], [0.5])
    assert bool((nothing.impulse_response(5) == 0).all())


@given(modal_banks(), st.integers(0, 9), st.randoms(use_true_random=False))
def test_it_walks_down_the_scores(full, order, random):
    shape = full.states.shape
    values = [random.choice([0.0, 0.5, random.random()]) for _ in range(full.states.numel())]
    scores = torch.tensor(values, dtype=torch.float64).reshape(shape)
    small = keep_modes(full, scores, order)
    for row in range(shape[0]):
        states = full.states[row].tolist()
        indices = chosen_by_hand(scores[row].tolist(), states, order)
        expected = bank([full[row]])
        entries = [
            (expected.exponents[0, i].item(), expected.residues[0, i].item(), states[i])
            for i in indices
        ]
        assert sorted(oracles.entries(small[row]), key=str) == sorted(entries, key=str)
    assert bool((small.order <= order).all())
    assert torch.equal(small.D, full.D)
    assert bool((small.residues[small.states == 0] == 0).all())
    assert small.num_poles == max(1, int((small.states > 0).sum(-1).max()))


@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_of_several_inputs_and_outputs_the_kept_modes_add_up(batch):
    full = mimo_bank(batch, 3, 2, seed=12)
    scores = torch.rand(full.states.shape, dtype=torch.float64)
    small = keep_modes(full, scores, 5)
    assert small.batch_shape == batch
    flat, ranks = full.reshape(-1), scores.reshape(-1, 5)
    for row, kernel in enumerate(small.reshape(-1).impulse_response(40)):
        indices = chosen_by_hand(ranks[row].tolist(), flat.states[row].tolist(), 5)
        expected = sum(only_mode(flat[row], index).impulse_response(40) for index in indices)
        torch.testing.assert_close(kernel, expected, rtol=0, atol=ROUNDING * 10)
    assert torch.equal(small.D, full.D)


def test_entries_left_over_are_empty():
    full = mimo_bank((2,), 2, 2, seed=17)
    small = keep_modes(full, torch.rand(2, 4, dtype=torch.float64), torch.tensor([2, 6]))
    empty = small.states == 0
    assert bool(empty[0].any()) and not bool(empty[1].any())
    assert not bool(small.B[empty].any() or small.C.mT[empty].any())
    assert bool((small.poles[empty] == 0).all())


@given(modal_banks(), st.integers(0, 9))
def test_one_input_and_one_output_are_a_scalar_system(scalar, order):
    scores = torch.rand(scalar.states.shape, dtype=torch.float64)
    small, several = (keep_modes(full, scores, order) for full in (scalar, as_mimo(scalar)))
    assert torch.equal(several.states, small.states)
    assert torch.equal(several.exponents, small.exponents)
    torch.testing.assert_close(several.residues[..., 0, 0], small.residues, rtol=ROUNDING, atol=0)


def test_among_equals_the_first_goes_first():
    full = seeded_bank((1,), 0, 500, seed=16)
    scores = torch.arange(500) % 2  # 250 equals each
    small = keep_modes(full, scores[None], 300)
    expected = torch.cat([full.exponents[:, 1::2], full.exponents[:, :100:2]], -1)
    assert torch.equal(small.exponents, expected)


def test_each_system_may_have_an_order_of_its_own():
    full = seeded_bank((3,), 3, 1, seed=13)
    scores = torch.rand(full.states.shape, dtype=torch.float64)
    orders = torch.tensor([0, 7, 3])
    together = keep_modes(full, scores, orders)
    assert together.order.tolist() == [0, 7, 3]
    for row, order in enumerate(orders.tolist()):
        alone = keep_modes(full[row], scores[row], order)
        assert oracles.entries(together[row]) == oracles.entries(alone)


def test_all_states_are_the_system():
    full = mimo_bank((2,), 2, 1, seed=14)
    kept = keep_modes(full, torch.zeros_like(full.decay), 5)
    for field in ("exponents", "B", "C", "states", "D"):
        assert torch.equal(getattr(kept, field), getattr(full, field))


def test_wrong_arguments():
    full = seeded_bank((2,), 2, 1, seed=15)
    with pytest.raises(InvalidArgumentError, match=r"scores of shape \(3,\).*\(2, 3\)"):
        keep_modes(full, torch.zeros(3), 2)
    with pytest.raises(InvalidArgumentError, match="order -1"):
        keep_modes(full, torch.zeros(2, 3), torch.tensor([2, -1]))
