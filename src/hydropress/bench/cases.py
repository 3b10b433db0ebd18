"""The systems of the comparison, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from hydropress.bench.banks import INITIALIZATIONS, TRAINED, bank, joined, new_layer, trained_layers
from hydropress.bench.config import ReduceConfig
from hydropress.bench.layers import lru_layer, s5_layer
from hydropress.bench.rivals import example_models, quietly, to_bank
from hydropress.systems.modal import ModalSystem
from hydropress.systems.moments import Time

PYMOR_MISSING = (
    "pyMOR is not installed: its systems and its methods are left out; "
    "run 'pip install hydropress[test]' for them"
)


@dataclass(frozen=True)
class Full:
    """Systems to reduce.

    Attributes
    ----------
    system
        A bank, batch shape ``(K,)``.
    model
        The same system as pyMOR made it, for its own methods, if it did.
    """

    system: ModalSystem
    model: Any = None


@dataclass(frozen=True)
class Case:
    """A system, or a bank of them, of the comparison.

    Attributes
    ----------
    name
        In the record and in file names.
    title
        For the reader.
    orders
        To which it is reduced.
    make
        Builds it.
    """

    name: str
    title: str
    orders: tuple[int, ...]
    make: Callable[[], Full]


def has_pymor() -> bool:
    """Return whether pyMOR is installed."""
    return find_spec("pymor") is not None


def comparison_cases(config: ReduceConfig) -> list[Case]:
    """Return the cases of the groups that a configuration names."""
    groups = {
        "s4d": _s4d_cases,
        "trained": _trained_cases,
        "mimo": _mimo_cases,
        "pymor": _example_cases,
    }
    return [case for name in config.groups for case in groups[name](config)]


def _s4d_cases(config: ReduceConfig) -> list[Case]:
    def make(initialization: Any, time: Time) -> Full:
        return Full(bank(new_layer(config.channels, config.seed, initialization), time))

    return [
        Case(
            f"s4d-{name}-{time}",
            f"S4D-{label} at initialisation, {config.channels} channels, {time}",
            config.orders,
            partial(make, name, time),
        )
        for name, label in zip(INITIALIZATIONS, ("Lin", "Inv", "LegS"), strict=True)
        for time in ("discrete", "continuous")
    ]


def _trained_cases(config: ReduceConfig) -> list[Case]:
    def make(number: int) -> Full:
        return Full(bank(trained_layers()[number])[: config.channels])

    def continuous() -> Full:
        banks = [bank(layer, "continuous") for layer in trained_layers()]
        each = max(1, config.channels // len(banks))
        return Full(joined([one[:each] for one in banks]))

    cases = [
        Case(
            f"trained-{number}",
            f"{TRAINED}, layer {number}, discrete",
            config.orders,
            partial(make, number),
        )
        for number in range(len(trained_layers()))
    ]
    title = f"{TRAINED}, channels of all layers, continuous"
    return [*cases, Case("trained-continuous", title, config.orders, continuous)]


def _mimo_cases(config: ReduceConfig) -> list[Case]:
    width, cases = config.mimo_width, list[Case]()
    for states in config.mimo_states:
        size = f"{states} states, {width} inputs and outputs"
        orders = _orders_within(config, states)

        def s5(time: Time, states: int = states) -> Full:
            return Full(s5_layer(states, width, config.seed, time))

        def lru(states: int = states) -> Full:
            return Full(lru_layer(states, width, config.seed))

        for time in ("discrete", "continuous"):
            title = f"S5 at initialisation, {size}, {time}"
            cases.append(Case(f"s5-{states}-{time}", title, orders, partial(s5, time)))
        title = f"LRU at initialisation, {size}, discrete"
        cases.append(Case(f"lru-{states}", title, orders, lru))
    return cases


def _orders_within(config: ReduceConfig, states: int) -> tuple[int, ...]:
    return tuple(order for order in config.orders if order <= states // 2)


def _example_cases(config: ReduceConfig) -> list[Case]:
    if not has_pymor():
        return []

    def make(name: str) -> Full:
        with quietly(config.seed):
            model = example_models()[name].make()
            return Full(to_bank(model), model)

    return [
        Case(
            name,
            example.title,
            tuple(order for order in example.orders if order <= max(config.orders)),
            partial(make, name),
        )
        for name, example in example_models().items()
        if example.states <= config.largest_example
    ]
