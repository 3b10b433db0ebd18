"""A model's state budget, spent across layers by their normalised scores."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from hydropress.errors import InvalidArgumentError
from hydropress.reduction.aire import aire_scores
from hydropress.reduction.last import last_scores
from hydropress.reduction.layer_adaptive import layer_adaptive_orders, normalize_layer
from hydropress.reduction.truncation import keep_modes
from reduction.mimo import mimo_bank
from strategies import bank, build, modal_banks, s4d_bank, seeded_bank
from tolerances import ROUNDING


def test_normalisation_by_hand():
    # 8, then 3 of 8 + 3, then 1 of 8 + 3 + 1; and 2 of 2, 2 of 4, 1 of 5, 0 of 5.
    first = normalize_layer(torch.tensor([3.0, 8.0, 1.0], dtype=torch.float64))
    assert first.tolist() == pytest.approx([3 / 11, 1, 1 / 12], rel=1e-15)
    second = normalize_layer(torch.tensor([[0.0, 2.0], [1.0, 2.0]], dtype=torch.float64))
    assert second.flatten().tolist() == pytest.approx([0, 1, 1 / 5, 1 / 2], rel=1e-15)
    assert normalize_layer(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


@given(st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=12), st.floats(-9, 9))
def test_normalisation_keeps_the_ranking_and_drops_the_scale(values, exponent):
    scores = torch.tensor(values, dtype=torch.float64)
    shares = normalize_layer(scores)
    ranking = torch.argsort(scores, descending=True, stable=True)
    assert float(shares.max()) == 1
    assert bool((shares[ranking].diff() <= 0).all())
    torch.testing.assert_close(
        normalize_layer(10.0**exponent * scores), shares, rtol=ROUNDING, atol=0
    )


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=12))
def test_a_share_is_what_is_lost_of_what_is_left(values):
    # Pruning from the bottom up, each step loses the share of the state that it takes away.
    shares = normalize_layer(torch.tensor(sorted(values, reverse=True), dtype=torch.float64))
    left = sorted(values, reverse=True)
    for share in reversed(shares.tolist()):
        before = sum(left)
        assert left.pop() == pytest.approx(share * before, rel=1e-12)


def _real_poles(*energies: list[float]):
    """Make systems of real poles at 0.5 whose states have these energies."""
    rows = [
        build([-0.6931471805599453] * len(row), [(0.75 * e) ** 0.5 for e in row], [1] * len(row))
        for row in energies
    ]
    return bank(rows)


def test_two_layers_by_hand():
    # Shares 1, 3/11, 1/12 in the first layer; 1, 0.5, 1/5, 1/6 in the second, 1000 times larger.
    first, second = _real_poles([8, 3, 1]), _real_poles([2000, 2000], [1000, 1000])
    systems = [first, second]
    scores = [aire_scores(system) for system in systems]

    def orders(budget: int) -> list[list[int]]:
        return [order.tolist() for order in layer_adaptive_orders(systems, scores, budget)]

    assert orders(0) == [[0], [0, 0]]
    assert orders(2) == [[1], [1, 0]]  # each layer's best, whatever their sizes
    assert orders(3) == [[1], [2, 0]]  # 1/2
    assert orders(4) == [[2], [2, 0]]  # 3/11
    assert orders(5) == [[2], [2, 1]]  # 1/5
    assert orders(6) == [[2], [2, 2]]  # 1/6
    assert orders(7) == orders(100) == [[3], [2, 2]]  # 1/12


def test_a_pair_costs_two_states_and_is_not_split():
    pair, real = build([-0.1 + 1j], [1.0], [2]), build([-0.1], [0.9], [1])
    layer = bank([pair, real])
    spent = {
        budget: layer_adaptive_orders([layer], [aire_scores(layer)], budget)[0].tolist()
        for budget in range(4)
    }
    assert spent == {0: [0, 0], 1: [0, 1], 2: [2, 0], 3: [2, 1]}


def test_layers_of_any_gain_are_treated_alike():
    quiet = s4d_bank(4, 8, seed=20)
    loud = quiet.from_exponents(quiet.exponents, 1e6 * quiet.residues, quiet.states, quiet.D)
    first, second = layer_adaptive_orders(
        [quiet, loud], [last_scores(quiet), last_scores(loud)], 2 * 4 * 3
    )
    assert torch.equal(first, second)
    # Without the normalisation everything would go to the loud layer.
    assert int(first.sum()) == 12


@given(
    st.lists(modal_banks("discrete"), min_size=1, max_size=3),
    st.integers(0, 30),
    st.sampled_from([last_scores, aire_scores]),
)
def test_the_budget_is_spent_on_the_highest_shares(systems, budget, score):
    scores = [score(system) for system in systems]
    orders = layer_adaptive_orders(systems, scores, budget)
    entries = [
        (-share, layer, place, states)
        for layer, system in enumerate(systems)
        for place, (share, states) in enumerate(
            zip(
                normalize_layer(scores[layer]).flatten().tolist(),
                system.states.flatten().tolist(),
                strict=True,
            )
        )
        if states
    ]
    room, wanted = budget, [set[tuple[complex, complex, int, int]]() for _ in systems]
    for _, layer, place, states in sorted(entries):
        if states <= room:
            room -= states
            row, column = divmod(place, systems[layer].num_poles)
            exponent = systems[layer].exponents[row, column].item()
            residue = systems[layer].residues[row, column].item()
            wanted[layer].add((exponent, residue, states, row))
    total = sum(int(system.order.sum()) for system in systems)
    assert sum(int(order.sum()) for order in orders) == budget - room <= min(budget, total)
    # Truncating each system to its order keeps exactly those modes.
    for layer, (system, order) in enumerate(zip(systems, orders, strict=True)):
        small = keep_modes(system, scores[layer], order)
        assert torch.equal(small.order, order)
        kept = {(*entry, row) for row in range(len(order)) for entry in oracles.entries(small[row])}
        assert kept == wanted[layer]


def test_scalar_channels_and_systems_of_several_inputs_share_one_budget():
    channels, system = seeded_bank((6,), 4, seed=21), mimo_bank((), 10, 3, seed=22)
    scores = [last_scores(channels), last_scores(system)]
    orders = layer_adaptive_orders([channels, system], scores, 21)
    assert [order.shape for order in orders] == [(6,), ()]
    assert all(order.dtype == torch.int64 for order in orders)
    assert int(orders[0].sum()) + int(orders[1]) == 21
    assert torch.equal(keep_modes(system, scores[1], orders[1]).order, orders[1])


def test_wrong_arguments():
    layer = seeded_bank((2,), 2, seed=23)
    scores = aire_scores(layer)
    with pytest.raises(InvalidArgumentError, match="budget=-1"):
        layer_adaptive_orders([layer], [scores], -1)
    with pytest.raises(InvalidArgumentError, match="scores of 1 layers for 2 banks"):
        layer_adaptive_orders([layer, layer], [scores], 4)
    with pytest.raises(InvalidArgumentError, match="scores of shape"):
        layer_adaptive_orders([layer], [scores[0]], 4)
