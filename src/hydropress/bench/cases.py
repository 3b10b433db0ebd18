"""The systems of the comparison, by name, each with the metric that its errors are measured in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

from hydropress.bench.banks import (
    INITIALIZATIONS,
    TRAINED,
    bank,
    both_directions,
    joined,
    new_layer,
    trained_layers,
)
from hydropress.bench.config import ReduceConfig
from hydropress.bench.inputs import input_covariance, input_cross_spectrum, trained_spectrum
from hydropress.bench.layers import lru_layer, s5_layer
from hydropress.bench.rivals import example_models, quietly, to_bank
from hydropress.reduction.weights import InputCovariance, SpectralWeight, Weight
from hydropress.systems.modal import ModalSystem
from hydropress.systems.moments import Time

Metric = Literal["plain", "horizon", "spectrum", "covariance"]

METHODS = ("h2", "irka", "balanced", "gradient", "modal", "last", "aire")
METHODS_OF: dict[Metric, tuple[str, ...]] = {
    "plain": METHODS,
    # Every method gets the systems as white inputs see them.
    "covariance": METHODS,
    "horizon": ("h2", "irka", "balanced", "gradient", "modal", "aire"),
    "spectrum": ("h2", "irka", "balanced", "gradient"),
}
"""Methods that know a metric, and BT and IRKA in every one: ``h2`` has to be no worse than they."""

PYMOR_MISSING = (
    "pyMOR is not installed: its systems and its methods are left out; "
    "run 'pip install hydropress[test]' for them"
)

SECONDS_A_CHANNEL, MIMO_SECONDS, WIDE_SECONDS = 0.1, 2.0, 150.0
"""Of one order, roughly, for the progress bar."""


@dataclass(frozen=True)
class Full:
    """Systems to reduce.

    Attributes
    ----------
    system
        A bank, batch shape ``(K,)``.
    model
        The same system as pyMOR made it, for its own methods, if it did.
    horizon
        Samples that count; None for all of them.
    weight
        Spectrum or covariance of the input, if it is not white.
    """

    system: ModalSystem
    model: Any = None
    horizon: int | None = None
    weight: Weight | None = None

    @property
    def metric(self) -> Metric:
        """What the errors are measured in."""
        if isinstance(self.weight, SpectralWeight):
            return "spectrum"
        if isinstance(self.weight, InputCovariance):
            return "covariance"
        return "plain" if self.horizon is None else "horizon"


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
    weight
        Expected seconds of one order; only the ratio to other cases matters.
    methods
        Ours that take part; None for all that know the metric.
    with_pymor
        Whether pyMOR's methods take part, in the metric that they know.
    """

    name: str
    title: str
    orders: tuple[int, ...]
    make: Callable[[], Full]
    weight: float
    methods: tuple[str, ...] | None = None
    with_pymor: bool = True


def has_pymor() -> bool:
    """Return whether pyMOR is installed."""
    return find_spec("pymor") is not None


def comparison_cases(config: ReduceConfig) -> list[Case]:
    """Return the cases of the groups that a configuration names."""
    groups = {
        "s4d": _s4d_cases,
        "large": _large_cases,
        "trained": _trained_cases,
        "mimo": _mimo_cases,
        "metrics": _metric_cases,
        "wide": _wide_cases,
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
            SECONDS_A_CHANNEL * config.channels,
        )
        for name, label in zip(INITIALIZATIONS, ("Lin", "Inv", "LegS"), strict=True)
        for time in ("discrete", "continuous")
    ]


def _large_cases(config: ReduceConfig) -> list[Case]:
    count = config.large_channels

    def make(time: Time) -> Full:
        return Full(bank(new_layer(count, config.seed), time))

    return [
        Case(
            f"s4d-lin-large-{time}",
            f"S4D-Lin at initialisation, {count} channels, {time}",
            config.large_orders,
            partial(make, time),
            SECONDS_A_CHANNEL * count,
        )
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
            SECONDS_A_CHANNEL * config.channels,
        )
        for number in range(len(trained_layers()))
    ]
    title = f"{TRAINED}, channels of all layers, continuous"
    seconds = SECONDS_A_CHANNEL * config.channels
    return [*cases, Case("trained-continuous", title, config.orders, continuous, seconds)]


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
            name = f"s5-{states}-{time}"
            cases.append(Case(name, title, orders, partial(s5, time), MIMO_SECONDS))
        title = f"LRU at initialisation, {size}, discrete"
        cases.append(Case(f"lru-{states}", title, orders, lru, MIMO_SECONDS))
    return cases


def _metric_cases(config: ReduceConfig) -> list[Case]:
    """Return both directions, odd orders, and metrics other than that of white inputs for ever."""
    seed, count, width = config.seed, config.metric_channels, config.mimo_width
    states, horizon = min(config.mimo_states), config.horizon
    orders = _orders_within(config, states)
    layer = f"{states} states, {width} inputs and outputs"
    scalar = SECONDS_A_CHANNEL * count

    def odd(time: Time) -> Full:
        return Full(bank(new_layer(count, seed), time))

    def scalar_horizon() -> Full:
        return Full(bank(new_layer(count, seed)), horizon=horizon)

    def mimo_horizon() -> Full:
        return Full(s5_layer(states, width, seed, "discrete"), horizon=horizon)

    def spectrum() -> Full:
        full = bank(trained_layers()[1])[:count]
        return Full(full, weight=trained_spectrum(1, count, seed))

    def cross_spectrum() -> Full:
        full = s5_layer(states, width, seed, "discrete")
        return Full(full, weight=input_cross_spectrum(width, seed))

    def covariance() -> Full:
        return Full(lru_layer(states, width, seed), weight=input_covariance(width, seed))

    def s4d_both() -> Full:
        return Full(both_directions(new_layer(count, seed, bidirectional=True)))

    def s5_both() -> Full:
        return Full(s5_layer(states, width, seed, "discrete", directions=2))

    banks = [
        Case(
            f"s4d-lin-odd-{time}",
            f"S4D-Lin at initialisation, {count} channels, orders zero and odd, {time}",
            config.odd_orders,
            partial(odd, time),
            scalar,
        )
        for time in ("discrete", "continuous")
    ]
    rest = [
        (
            "s4d-lin-horizon",
            f"S4D-Lin at initialisation, {count} channels, the first {horizon} samples",
            scalar_horizon,
            2 * scalar,
        ),
        (
            "trained-spectrum",
            f"{TRAINED}, layer 1, {count} channels, weighted by the spectrum of its inputs",
            spectrum,
            3 * scalar,
        ),
        (
            "s4d-lin-both",
            f"Bidirectional S4D-Lin at initialisation, {count} channels of two outputs, discrete",
            s4d_both,
            MIMO_SECONDS * count,
        ),
        (
            "s5-both",
            f"Bidirectional S5 at initialisation, {states} states, {width} inputs, 2 × {width} "
            "outputs, discrete",
            s5_both,
            MIMO_SECONDS,
        ),
        (
            "s5-horizon",
            f"S5 at initialisation, {layer}, the first {horizon} samples",
            mimo_horizon,
            MIMO_SECONDS,
        ),
        (
            "s5-cross-spectrum",
            f"S5 at initialisation, {layer}, weighted by a cross-spectrum of its inputs",
            cross_spectrum,
            5 * MIMO_SECONDS,
        ),
        (
            "lru-covariance",
            f"LRU at initialisation, {layer}, weighted by a covariance of its inputs",
            covariance,
            MIMO_SECONDS,
        ),
    ]
    return banks + [Case(name, title, orders, make, took) for name, title, make, took in rest]


def _wide_cases(config: ReduceConfig) -> list[Case]:
    states, width = config.wide_states, config.wide_width
    title = f"LRU at initialisation, {states} states, {width} inputs and outputs, discrete"

    def make() -> Full:
        return Full(lru_layer(states, width, config.seed))

    # Plain gradient descent and pyMOR's dense solvers would take longer than all else here.
    methods = tuple(name for name in METHODS if name != "gradient")
    orders = (config.wide_order,)
    return [Case("lru-wide", title, orders, make, WIDE_SECONDS, methods, with_pymor=False)]


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
            MIMO_SECONDS,
        )
        for name, example in example_models().items()
        if example.states <= config.largest_example
    ]
