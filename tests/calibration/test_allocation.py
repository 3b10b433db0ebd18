"""Spending a budget, against trying every plan."""

import itertools
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hydropress.calibration.allocation import budget_ladder, order_ladder, orders_on_offer, spend
from hydropress.errors import InvalidArgumentError


@st.composite
def problems(draw, *, convex: bool) -> tuple[Tensor, tuple[int, ...], int]:
    """Draw costs of a few systems, their orders and a budget; convex costs have orders 0, 1, 2."""
    systems, count = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    number = st.floats(0, 10)
    if convex:
        orders = tuple(range(count))
        rows = []
        for _ in range(systems):
            savings = sorted(draw(st.lists(number, min_size=count - 1, max_size=count - 1)))
            # From the full cost down by ever smaller savings.
            rows.append([sum(savings[: len(savings) - place]) for place in range(count)])
    else:
        later = draw(st.sets(st.integers(1, 9), min_size=count - 1, max_size=count - 1))
        orders = (0, *sorted(later))
        rows = [draw(st.lists(number, min_size=count, max_size=count)) for _ in range(systems)]
    return torch.tensor(rows, dtype=torch.float64), orders, draw(st.integers(0, 20))


def cost_of(costs: Tensor, orders: tuple[int, ...], chosen: list[int]) -> float:
    return sum(float(row[orders.index(order)]) for row, order in zip(costs, chosen, strict=True))


def best_cost(costs: Tensor, orders: tuple[int, ...], budget: int) -> float:
    """Try every plan."""
    plans = itertools.product(orders, repeat=len(costs))
    return min(cost_of(costs, orders, list(plan)) for plan in plans if sum(plan) <= budget)


@given(problems(convex=True))
def test_convex_costs_are_minimised_exactly(problem):
    costs, orders, budget = problem
    chosen = spend(costs, orders, budget).tolist()
    assert sum(chosen) <= budget
    best = best_cost(costs, orders, budget)
    assert cost_of(costs, orders, chosen) == pytest.approx(best, abs=1e-9)


@given(problems(convex=False))
def test_any_costs_are_minimised_up_to_the_last_step(problem):
    costs, orders, budget = problem
    chosen = spend(costs, orders, budget).tolist()
    assert sum(chosen) <= budget
    # Lagrange: what has been taken up to the first step that did not fit is optimal.
    reachable = max(0, budget - orders[-1] + 1)
    assert cost_of(costs, orders, chosen) <= best_cost(costs, orders, reachable) + 1e-9


@given(problems(convex=False))
def test_a_system_never_pays_states_for_a_larger_cost(problem):
    costs, orders, budget = problem
    for row, order in zip(costs, spend(costs, orders, budget).tolist(), strict=True):
        place = orders.index(order)
        assert all(row[place] < row[earlier] for earlier in range(place))


@given(problems(convex=False))
def test_nothing_that_saves_is_left_out(problem):
    costs, orders, budget = problem
    chosen = spend(costs, orders, budget).tolist()
    left = budget - sum(chosen)
    for row, order in zip(costs, chosen, strict=True):
        now = row[orders.index(order)]
        within = [cost for one, cost in zip(orders, row, strict=True) if 0 < one - order <= left]
        assert all(cost >= now for cost in within)


def test_what_is_left_is_spent_off_the_hull_by_hand():
    # The hull of the second goes from 0 to 4 at once; of three states two are of some use.
    costs = torch.tensor([[9.0, 1.0, 1.0, 1.0], [8.0, 8.0, 7.0, 0.0]])
    assert spend(costs, (0, 1, 2, 4), 3).tolist() == [1, 2]


def test_ladders_by_hand():
    assert order_ladder(20) == (*range(1, 17), 18, 20)
    assert budget_ladder(1) == (1,)
    assert budget_ladder(0) == ()
    budgets = budget_ladder(16384)
    assert (budgets[0], budgets[-1], budgets[-9]) == (1, 16384, 8192)
    # Both are rounded, by at most half a state.
    step = 2 ** (1 / 8)
    assert all(later <= step * (first + 0.5) + 0.5 for first, later in pairwise(budgets))


def test_states_go_where_they_save_most_by_hand():
    costs = torch.tensor([[10.0, 4.0, 3.0], [6.0, 5.0, 1.0]])
    # Savings a state: 6 and then 1 of the first; 2.5 of the second, both states at once.
    assert spend(costs, (0, 1, 2), 1).tolist() == [1, 0]
    assert spend(costs, (0, 1, 2), 2).tolist() == [2, 0]  # the better step does not fit
    assert spend(costs, (0, 1, 2), 3).tolist() == [1, 2]
    assert spend(costs, (0, 1, 2), 99).tolist() == [2, 2]


def test_orders_that_are_not_allowed_are_not_chosen():
    costs = torch.tensor([[10.0, 4.0, math.inf], [10.0, 9.0, 0.0]])
    assert spend(costs, (0, 2, 4), 99).tolist() == [2, 4]


def test_equal_savings_go_to_the_first_systems():
    assert spend(torch.tensor([[1.0, 0.0]] * 4), (0, 1), 2).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("shape", "orders", "budget", "words"),
    [
        ((2, 2), (1, 2), 4, "ascending from 0"),
        ((2, 2), (0, 0), 4, "ascending from 0"),
        ((2, 3), (0, 1), 4, "one column"),
        ((2,), (0, 1), 4, "one column"),
        ((2, 2), (0, 1), -1, "at least 0"),
    ],
)
def test_arguments_that_make_no_problem(shape, orders, budget, words):
    with pytest.raises(InvalidArgumentError, match=words):
        spend(torch.zeros(shape), orders, budget)


@given(st.integers(1, 64), st.integers(1, 64))
def test_orders_on_offer_hold_the_average_and_more(average, largest):
    average = min(average, largest)
    offered = orders_on_offer(average, largest)
    assert average in offered
    assert offered == tuple(sorted(set(offered)))
    assert offered[0] == 1
    assert offered[-1] <= largest
    assert offered[-1] > average or average == largest
