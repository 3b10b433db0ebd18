"""Reduction of all layers of a network, one after the other, to the orders of a plan."""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.calibration.allocation import order_ladder
from hydropress.calibration.dropout import acting_dropout, drops
from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.forward import PROBED, count_calls, first_of
from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.path_errors import PathErrors
from hydropress.calibration.plan import LayerPlan, Plan, as_orders
from hydropress.calibration.reducers import AnyReducer, reducer_of
from hydropress.calibration.sensitivity import SEQUENCES, output_gradients, reaches_outputs
from hydropress.calibration.sequences import in_batches
from hydropress.calibration.signals import CAPTURE_BATCH, capture_inputs, last_affine
from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.checks import read_part, write_module
from hydropress.models.adapters.files import WrittenLayer, replace_module
from hydropress.models.adapters.own import OwnLayers
from hydropress.models.adapters.protocol import Tap
from hydropress.models.adapters.registry import find_layers
from hydropress.models.layer import LinearSSM
from hydropress.systems.modal import ModalSystem

SEED = 0
"""Of the entries that dropout drops: the same in the original and in the compressed prefix."""

FIRST_LIMIT = 8
"""Orders searched at first where it is not known how many states will be needed; then doubled."""

Tick = Callable[[str], None]
"""Called after each step with what was done."""


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the real floating-point type of a module's parameters."""
    kinds = (one.dtype.to_real() for one in module.parameters())
    return next((kind for kind in kinds if kind.is_floating_point), torch.float32)


def _outputs(model: nn.Module, sequences: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([first_of(model(batch)) for batch in in_batches(sequences, CAPTURE_BATCH)])


class NetworkReducer:
    """A network with everything that its reductions by one method share.

    Parameters
    ----------
    model
        With at least one linear SSM; it is copied.
    method
        Name of a registered reduction method.
    calibration
        Sequences as the model takes them, ``(n, L, inputs)``, or None.
    settings
        How layers are fitted to calibration data.
    tick
        Called after each layer's search, measurement or reduction.
    """

    def __init__(
        self,
        model: nn.Module,
        method: str,
        calibration: Tensor | None,
        settings: CalibratedSettings,
        tick: Tick,
    ) -> None:
        self.original = copy.deepcopy(model).eval()
        self.method = method
        self.calibration = calibration
        self.settings = settings
        self.searches: list[tuple[int, ...]] = []
        self._tick = tick
        self._adapters = {layer.name: layer.adapter for layer in find_layers(self.original)}
        self._layers: dict[str, AnyReducer] = {}
        for name, adapter in self._adapters.items():
            module = self.original.get_submodule(name)
            part, dtype = read_part(adapter, name, module), dtype_of(module)
            self._layers[name] = reducer_of(name, part, dtype, method, settings)
        self._calls = dict.fromkeys(self._adapters, 1)
        if calibration is not None:
            self._calls = count_calls(self.original, self._adapters, calibration)
        self._drops = (
            calibration is not None
            and method == "h2"
            and settings.dropout
            and drops(self.original, calibration[:1])
        )
        self._errors: dict[bool, dict[str, PathErrors]] = {True: {}, False: {}}
        self._wanted: Tensor | None = None

    @property
    def largest_order(self) -> int:
        """Order of the largest system."""
        return max(int(states.max()) for states in self.states.values())

    @property
    def systems(self) -> dict[str, ModalSystem]:
        """Systems of each layer, batch shape ``(directions, H)``, or ``(directions, 1)`` of S5."""
        return {name: layer.system for name, layer in self._layers.items()}

    @property
    def states(self) -> dict[str, Tensor]:
        """States of each layer's systems, int64, of the shape of :attr:`systems`, on the CPU."""
        return {name: layer.system.order.cpu() for name, layer in self._layers.items()}

    def _inputs(self, model: nn.Module, name: str, *, dropout: bool = False) -> Tensor | None:
        """Return what a layer of a model gets, as the model is used or with its dropout acting."""
        if self.calibration is None:
            return None
        with acting_dropout(model, SEED) if dropout else nullcontext():
            inputs = capture_inputs(
                model,
                model.get_submodule(name),
                self.calibration,
                channels_last=self._adapters[name].channels_last,
                calls=self._calls[name],
            )
        channels = self._layers[name].part.channels
        if inputs.shape[1] != channels:
            raise InvalidArgumentError(
                f"{name}: a signal of {inputs.shape[1]} channels and length {inputs.shape[2]} at a "
                f"layer that adapter {self._adapters[name].name!r} reads as one of {channels}; "
                "required: the same number; correct the adapter's read or channels_last"
            )
        return inputs

    def _disturbed(self, present: nn.Module, name: str) -> tuple[Tensor, Tensor] | None:
        """Return what a layer gets in the original and at present, dropout acting, for fits."""
        if not self._drops:
            return None
        inputs = self._inputs(self.original, name, dropout=True)
        now = inputs
        if present is not self.original:
            now = self._inputs(present, name, dropout=True)
        assert inputs is not None
        assert now is not None
        return inputs, now

    def _tap(self, name: str) -> Tap:
        """Return where in the original a layer's linear output is."""
        adapter = self._adapters[name]
        tap = adapter.tap(self.original.get_submodule(name))
        if tap.channels_last is None:
            tap = replace(tap, channels_last=adapter.channels_last)
        return tap

    def check_gradients(self) -> None:
        """Raise :class:`InvalidArgumentError` unless some layer reaches the outputs on the data."""
        if self.calibration is None:
            return
        few = self.calibration[:PROBED]
        if not any(reaches_outputs(self.original, self._tap(name), few) for name in self._layers):
            raise InvalidArgumentError(
                "outputs without gradients by the layers, as under torch.no_grad, "
                "torch.inference_mode or detach; required: a model that can be differentiated, to "
                "measure what each layer does to the outputs; remove these, or compress with "
                "allocation='uniform' and order or ratio, or without data"
            )

    def search(self, orders: Sequence[int]) -> None:
        """Search orders together, those that have not been searched yet."""
        known = {order for search in self.searches for order in search}
        new = tuple(sorted({*orders} - known - {0}))
        if not new:
            return
        for name, layer in self._layers.items():
            inputs = self._inputs(self.original, name, dropout=self._drops)
            self._layers[name] = layer.search(new, inputs)
            self._tick(f"{self.method}: search {name}")
        self.searches.append(new)

    def search_up_to(self, order: int) -> tuple[int, ...]:
        """Search a ladder of orders, up to the first of 8, 16, 32, … that reaches an order.

        Returns
        -------
        tuple of int
            The ladder's orders, ascending.
        """
        limits = [FIRST_LIMIT]
        while limits[-1] < order:
            limits.append(2 * limits[-1])
        largest = self.largest_order
        ladder = {one for limit in limits for one in order_ladder(min(limit, largest))}
        self.search(tuple(ladder))
        return tuple(sorted(ladder))

    def errors(
        self, orders: Sequence[int] | None = None, *, changes: bool = True
    ) -> dict[str, PathErrors]:
        """Return what each system loses at orders searched, measured on the data if any.

        Parameters
        ----------
        orders
            Which; all if not given.  Those measured before are not measured again.
        changes
            Whether to measure the changes of the network's outputs too.
        """
        found: dict[str, PathErrors] = {}
        for name, reducer in self._layers.items():
            wanted = reducer.orders
            if orders is not None:
                largest = int(reducer.system.order.max())
                wanted = {min(order, largest) for order in orders}
            wanted = sorted({0, *wanted})
            known = self._errors[changes].get(name)
            missing = [one for one in wanted if known is None or one not in known.orders]
            if missing:
                gradients = None
                if self.calibration is not None and changes:
                    few = self.calibration[:SEQUENCES]
                    gradients = output_gradients(
                        self.original, self._tap(name), few, calls=self._calls[name]
                    )
                new = reducer.errors(
                    missing,
                    self._inputs(self.original, name),
                    gradients,
                    self._disturbed(self.original, name),
                )
                known = new if known is None else known.joined(new)
                self._errors[changes][name] = known
                self._tick(f"{self.method}: measure {name}")
            assert known is not None
            found[name] = known.at(wanted)
        return found

    def reduce(self, plan: Plan) -> tuple[nn.Module, list[LayerReport]]:
        """Return a new model of the plan's orders, and a report a layer."""
        model, reports, _ = self._reduce(plan, None)
        return model, reports

    def reduce_within(
        self, plan: Plan, tolerance: float
    ) -> tuple[nn.Module, list[LayerReport], Plan]:
        """Reduce to a plan's orders, raised until every system's error is tolerated.

        A plan knows of errors on the original layers' inputs.  In the compressed network a layer
        gets others, and errors are measured again as soon as it is carried out: systems above the
        tolerance are given more states, in growing steps, and the layer is fitted again.

        Parameters
        ----------
        tolerance
            Of ``output_error``; without calibration data nothing is raised.

        Returns
        -------
        model, reports
            As of :meth:`reduce`.
        plan
            With the orders of the model.

        Notes
        -----
        A system cannot be helped if the layers before have changed its input by more than it may
        be wrong: with all its states, it still exceeds the tolerance.  Of the orders tried it is
        then given the one of the smallest error.
        """
        return self._reduce(plan, tolerance)

    def _reduce(
        self, plan: Plan, tolerance: float | None
    ) -> tuple[nn.Module, list[LayerReport], Plan]:
        compressed = copy.deepcopy(self.original)
        reports: list[LayerReport] = []
        layers: list[LayerPlan] = []
        for name in self._layers:
            reducer, planned = self._layers[name], plan[name]
            data = reducer.data(
                self._inputs(self.original, name),
                self._inputs(compressed, name),
                self._disturbed(compressed, name),
            )
            if tolerance is None or self.calibration is None:
                replacement, report = reducer.reduce(planned.tensor(), data)
            else:
                replacement, report, orders = self._raise(name, planned.tensor(), data, tolerance)
                planned = replace(planned, orders=as_orders(orders))
            compressed, written = self._write(compressed, name, replacement)
            reports.append(replace(report, written=written))
            layers.append(planned)
            self._tick(f"{self.method}, {plan.target}, {plan.allocation}: {name}")
        if self.calibration is not None:
            self._match_outputs(compressed, self.calibration)
        return compressed, reports, replace(plan, layers=tuple(layers))

    def _raise(
        self, name: str, orders: Tensor, data: Any, tolerance: float
    ) -> tuple[LinearSSM, LayerReport, Tensor]:
        """Reduce a layer, with more states where its systems exceed the tolerance."""
        full = self.states[name]
        best, least = orders, torch.full(orders.shape, torch.inf, dtype=torch.float64)
        hopeless = torch.zeros_like(orders, dtype=torch.bool)
        rungs = 1
        while True:
            replacement, report = self._layers[name].reduce(orders, data)
            assert report.output_error is not None
            error = report.output_error.cpu()
            best, least = torch.where(error < least, orders, best), torch.minimum(error, least)
            above = (error > tolerance) & ~hopeless
            if not bool(above.any()):
                return replacement, report, orders
            whole = above & (orders >= full)
            hopeless |= whole
            orders = torch.where(whole, best, orders)
            raised = above & ~whole
            for _ in range(rungs if bool(raised.any()) else 0):
                orders[raised] = self._next(orders[raised], full[raised])
            rungs *= 2

    def _next(self, orders: Tensor, full: Tensor) -> Tensor:
        """Return the next orders of the ladder, which are searched."""
        ladder = torch.tensor(self.search_up_to(int(torch.minimum(orders + 1, full).max())))
        place = torch.bucketize(orders, ladder, right=True).clamp_max(len(ladder) - 1)
        return torch.minimum(ladder[place], full)

    def _write(
        self, compressed: nn.Module, name: str, layer: LinearSSM
    ) -> tuple[nn.Module, WrittenLayer]:
        """Return the compressed model with one layer more in its place, and the layer's sizes."""
        adapter = self._adapters[name]
        if not isinstance(adapter, OwnLayers) and layer.bias is not None:
            # Modules of others have no place for a constant: one of zeros is left out.
            layer.bias = None if bool((layer.bias == 0).all()) else layer.bias
        written = write_module(adapter, compressed.get_submodule(name), layer)
        written.train(compressed.training)
        return replace_module(compressed, name, written), WrittenLayer.of(name, adapter.name, layer)

    def _match_outputs(self, compressed: nn.Module, calibration: Tensor) -> None:
        """Add the mean difference of the outputs to the bias of the affine map that makes them."""
        affine = last_affine(compressed, in_batches(calibration, CAPTURE_BATCH)[0])
        if affine is not None:
            wanted, found = self._reference(calibration), _outputs(compressed, calibration)
            shift = (wanted - found).reshape(-1, affine.out_features).mean(0)
            with torch.no_grad():
                affine.bias.add_(shift)

    def _reference(self, calibration: Tensor) -> Tensor:
        if self._wanted is None:
            self._wanted = _outputs(self.original, calibration)
        return self._wanted

    @property
    def output_variance(self) -> float:
        """Variance of the original's outputs over the sequences, summed over the outputs."""
        if self.calibration is None:
            return float("nan")
        return float(self._reference(self.calibration).double().var(0, correction=0).sum())

    def deviation(self, model: nn.Module) -> float:
        """Return the mean squared deviation of a model's outputs on the held-out sequences.

        Without calibration data there are none: the result is NaN.
        """
        if self.calibration is None:
            return float("nan")
        held_out = self.settings.num_held_out(len(self.calibration))
        wanted = self._reference(self.calibration)[-held_out:]
        outputs = _outputs(model, self.calibration[-held_out:])
        return float((outputs - wanted).double().square().mean())
