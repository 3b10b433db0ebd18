"""Every order of one run."""

import pytest
import torch
from hypothesis import given, settings

from hydropress.reduction.reduce import reduce, reduce_path
from hydropress.systems.modal import SISOSystem
from reduction.problems import METHODS, QUICK, problem
from strategies import modal_systems, s4d_bank, seeded_bank

all_methods = pytest.mark.parametrize("method", METHODS)


@all_methods
@pytest.mark.parametrize(("largest", "orders"), [(4, (2, 4)), (3, (2, 3)), (1, (1,))])
def test_orders_up_to_a_largest(method, largest, orders):
    path = reduce_path(seeded_bank((1,), 3, seed=21), largest, method, descent=QUICK)
    assert path.orders == tuple(result.order for result in path) == orders
    assert len(path) == len(orders)
    for order in orders:
        assert path[order].order == order
        assert path[order].method == method
        assert bool((path[order].system.order <= order).all())


@all_methods
def test_orders_of_ones_own_choice(method):
    full = seeded_bank((1,), 3, seed=21)
    assert reduce_path(full, method=method, orders=(3, 1), descent=QUICK).orders == (1, 3)


@all_methods
@pytest.mark.parametrize("name", ["s4d", "mixed"])
def test_entries_are_no_worse_than_single_reductions(method, name):
    full = problem(name).system
    path = reduce_path(full, method=method, orders=(1, 2, 4), descent=QUICK)
    for order in path.orders:
        single = reduce(full, order, method, descent=QUICK).relative_error
        assert bool((path[order].relative_error <= single * (1 + 1e-8) + 1e-12).all())


def assert_falling(full: SISOSystem, orders: tuple[int, ...]) -> None:
    path = reduce_path(full, orders=orders)
    errors = torch.stack([result.relative_error for result in path])
    assert bool((errors[1:] <= errors[:-1] * (1 + 1e-9) + 1e-12).all()), errors


def test_a_larger_order_is_never_worse():
    assert_falling(s4d_bank(3, 16, seed=22), (2, 4, 6, 8))


def test_a_larger_order_is_never_worse_whether_even_or_odd():
    # Real poles: every single state counts.
    assert_falling(seeded_bank((4,), 1, 4, seed=23), (1, 2, 3, 4, 5))


@given(modal_systems(max_modes=3, nearest=1e-3))
@settings(max_examples=8)
def test_a_larger_order_is_never_worse_for_awkward_systems(full):
    largest = int(full.order)
    assert_falling(full.reshape(1), tuple(range(1, largest + 1)))
