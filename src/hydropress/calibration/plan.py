"""Which system gets how many states: the plan of a compression."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hydropress.atomic import write_atomically
from hydropress.errors import FileFormatError, InvalidArgumentError

VERSION = 1
Orders = tuple[tuple[int, ...], ...]
"""States of each system, direction by direction, channel by channel."""

_BINS = ((0, 0), (1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, None))


def as_orders(states: Tensor) -> Orders:
    """Return a tensor of shape ``(directions, H)`` as tuples."""
    return tuple(tuple(int(order) for order in row) for row in states.tolist())


@dataclass(frozen=True)
class LayerPlan:
    """The states of one layer.

    Attributes
    ----------
    name
        Path of the layer in the model.
    full, orders
        States of each system before and after.
    """

    name: str
    full: Orders
    orders: Orders

    def __post_init__(self) -> None:
        if [len(row) for row in self.orders] != [len(row) for row in self.full] or any(
            not 0 <= order <= most
            for row, limits in zip(self.orders, self.full, strict=True)
            for order, most in zip(row, limits, strict=True)
        ):
            raise InvalidArgumentError(
                f"{self.name}: orders that do not fit its systems; required: one order a system, "
                "at most what it has; correct the plan"
            )

    @property
    def states(self) -> int:
        """States after, all systems together."""
        return sum(map(sum, self.orders))

    @property
    def states_before(self) -> int:
        """States before, all systems together."""
        return sum(map(sum, self.full))

    @property
    def num_systems(self) -> int:
        """Directions times channels."""
        return sum(map(len, self.orders))

    @property
    def mean_order(self) -> float:
        """States per system after."""
        return self.states / self.num_systems

    def tensor(self) -> Tensor:
        """Return the orders, int64, shape ``(directions, H)``."""
        return torch.tensor(self.orders, dtype=torch.int64)


@dataclass(frozen=True)
class Plan:
    """States per layer and channel, and how they were chosen.

    Printed it is a table; :meth:`save` and :meth:`load` keep it as JSON; ``compress(model,
    plan=plan, ...)`` carries it out again.

    Attributes
    ----------
    layers
        In the model's order.
    allocation
        ``global`` or ``uniform``, or ``tolerance`` if each system has the smallest order that
        meets one.
    target
        What was asked for, as ``order=2``.
    method
        The reduction method that it was made with.
    calibrated
        Whether the network was measured on data.
    searches
        Orders that were searched together: those on the way shape what is found at an order, so
        that the same model comes out again bit for bit.
    deviations
        Mean squared deviation of the outputs on held-out sequences of the plans that were
        compared, by allocation; empty if none were.
    """

    layers: tuple[LayerPlan, ...]
    allocation: str
    target: str
    method: str
    calibrated: bool
    searches: tuple[tuple[int, ...], ...]
    deviations: tuple[tuple[str, float], ...] = ()

    def __getitem__(self, name: str) -> LayerPlan:
        """Return the plan of a layer."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise InvalidArgumentError(
            f"layer {name!r}; required: one of {', '.join(layer.name for layer in self.layers)}"
        )

    @property
    def budget(self) -> int:
        """States of all layers together."""
        return sum(layer.states for layer in self.layers)

    @property
    def num_systems(self) -> int:
        return sum(layer.num_systems for layer in self.layers)

    @property
    def mean_order(self) -> float:
        """States per system."""
        return self.budget / self.num_systems

    @property
    def ratio(self) -> float:
        """Share of the states that is kept."""
        return self.budget / max(1, sum(layer.states_before for layer in self.layers))

    def __str__(self) -> str:
        """Return a table: states of each layer, and how many of its systems have how many."""
        heads = [
            f"{low}" if low == high else f"{low}+" if high is None else f"{low}-{high}"
            for low, high in _BINS
        ]
        rows: list[tuple[str, ...]] = [("layer", "before", "states", "mean", *heads)]
        for layer in self.layers:
            orders = [order for row in layer.orders for order in row]
            counts = [
                sum(low <= order and (high is None or order <= high) for order in orders)
                for low, high in _BINS
            ]
            figures = (layer.states_before, layer.states, f"{layer.mean_order:.2f}", *counts)
            rows.append((layer.name, *map(str, figures)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        data = "calibrated" if self.calibrated else "no data"
        title = (
            f"{self.allocation} plan for {self.target} ({self.method}, {data}): {self.budget:,} "
            f"states, {self.mean_order:.2f} a system, {self.ratio:.3g} of the original's"
        )
        return "\n".join([title, *table])

    def to_dict(self) -> dict[str, Any]:
        """Return the plan, ready for JSON."""
        return {"version": VERSION, **asdict(self)}

    @staticmethod
    def from_dict(record: dict[str, Any]) -> "Plan":
        """Return the plan of a record that :meth:`to_dict` made.

        Raises
        ------
        FileFormatError
            If it is something else.
        """
        if record.get("version") != VERSION:
            raise FileFormatError(
                f"a plan of version {record.get('version')!r}; required: version {VERSION}; make "
                "the plan again"
            )
        try:
            layers = tuple(
                LayerPlan(
                    str(layer["name"]), _read_orders(layer["full"]), _read_orders(layer["orders"])
                )
                for layer in record["layers"]
            )
            return Plan(
                layers,
                allocation=str(record["allocation"]),
                target=str(record["target"]),
                method=str(record["method"]),
                calibrated=bool(record["calibrated"]),
                searches=_read_orders(record["searches"]),
                deviations=tuple((str(name), float(value)) for name, value in record["deviations"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"a plan that cannot be read ({error!r}); required: what Plan.to_dict returns; "
                "make the plan again"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON, in one step."""
        text = json.dumps(self.to_dict(), allow_nan=False)
        write_atomically(Path(path), text + "\n")

    @staticmethod
    def load(path: str | Path) -> "Plan":
        """Read a plan that :meth:`save` wrote.

        Raises
        ------
        FileFormatError
            If the file holds no plan.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FileFormatError(
                f"{path}: cannot be read as JSON ({error}); required: a file that Plan.save wrote"
            ) from error
        if not isinstance(record, dict):
            raise FileFormatError(f"{path}: no JSON object; required: a file that Plan.save wrote")
        try:
            return Plan.from_dict(record)
        except FileFormatError as error:
            raise FileFormatError(f"{path}: {error}") from error


def _read_orders(rows: Any) -> Orders:
    orders = tuple(tuple(row) for row in rows)
    for row in orders:
        for order in row:
            if type(order) is not int or order < 0:
                raise ValueError(f"order {order!r}; required: a number of states")
    return orders


def check_plan(plan: Plan, layers: Sequence[tuple[str, Tensor]]) -> None:
    """Raise :class:`InvalidArgumentError` unless a plan fits a model.

    Parameters
    ----------
    layers
        Names of the model's layers and the states of their systems, shape ``(directions, H)``.
    """
    wanted = [layer.name for layer in plan.layers]
    names = [name for name, _ in layers]
    if wanted != names:
        raise InvalidArgumentError(
            f"a plan for the layers {', '.join(wanted)} and a model with {', '.join(names)}; "
            "required: the same layers; make a plan for this model"
        )
    for layer, (name, states) in zip(plan.layers, layers, strict=True):
        if layer.full != as_orders(states):
            raise InvalidArgumentError(
                f"{name}: the plan is for systems of other orders than the model's; required: the "
                "model that it was made for; make a plan for this model"
            )


def missing_orders(plan: Plan) -> tuple[int, ...]:
    """Return the orders that a plan's own searches do not cover, as after an edit by hand."""
    searched = {order for search in plan.searches for order in search}
    pairs = [
        (order, most)
        for layer in plan.layers
        for row, limits in zip(layer.orders, layer.full, strict=True)
        for order, most in zip(row, limits, strict=True)
        if order > 0
    ]
    missing = {order for order, most in pairs if order < most} - searched
    # A system that keeps all its states is itself at any larger order that was searched.
    largest = max((order for order, _ in pairs), default=0)
    if largest > max(searched | missing, default=0):
        missing.add(largest)
    return tuple(sorted(missing))
