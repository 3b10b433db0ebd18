"""Reduction of all layers of a network, one after the other, to the orders of a plan."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.layers import LayerReducer, PathErrors
from hydropress.calibration.plan import Plan
from hydropress.calibration.sensitivity import SEQUENCES, output_gradients
from hydropress.calibration.signals import CAPTURE_BATCH, capture_inputs
from hydropress.models.layer import LinearSSM

Tick = Callable[[str], None]
"""Called after each step with what was done."""


def find_layers(model: nn.Module) -> list[tuple[str, LinearSSM]]:
    """Return the linear SSM layers of a model with their names, in the order of the model."""
    return [
        (name, module) for name, module in model.named_modules() if isinstance(module, LinearSSM)
    ]


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, layer)


def _outputs(model: nn.Module, sequences: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(batch) for batch in sequences.split(CAPTURE_BATCH)])


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
        self._layers = {
            name: LayerReducer.of(name, layer, method, settings)
            for name, layer in find_layers(self.original)
        }
        self._errors: dict[bool, dict[str, PathErrors]] = {}
        self._wanted: Tensor | None = None

    @property
    def states(self) -> dict[str, Tensor]:
        """States of each layer's systems, int64, shape ``(directions, H)``, on the CPU."""
        return {name: layer.layer.system().order.cpu() for name, layer in self._layers.items()}

    def _inputs(self, model: nn.Module, name: str) -> Tensor | None:
        if self.calibration is None:
            return None
        return capture_inputs(model, model.get_submodule(name), self.calibration)

    def search(self, orders: Sequence[int]) -> None:
        """Search orders together, those that have not been searched yet."""
        known = {order for search in self.searches for order in search}
        new = tuple(sorted({*orders} - known - {0}))
        if not new:
            return
        for name, layer in self._layers.items():
            self._layers[name] = layer.search(new, self._inputs(self.original, name))
            self._tick(f"{self.method}: search {name}")
        self.searches.append(new)
        self._errors.clear()

    def errors(self, *, changes: bool = True) -> dict[str, PathErrors]:
        """Return what each system loses at each order searched, measured on the data if any.

        Parameters
        ----------
        changes
            Whether to measure the changes of the network's outputs too.
        """
        if changes not in self._errors:
            found: dict[str, PathErrors] = {}
            for name, reducer in self._layers.items():
                gradients = None
                if self.calibration is not None and changes:
                    few = self.calibration[:SEQUENCES]
                    gradients = output_gradients(self.original, reducer.layer, few)
                found[name] = reducer.errors(self._inputs(self.original, name), gradients)
                self._tick(f"{self.method}: measure {name}")
            self._errors[changes] = found
        return self._errors[changes]

    def reduce(self, plan: Plan) -> tuple[nn.Module, list[LayerReport]]:
        """Return a new model of the plan's orders, and a report a layer."""
        compressed = copy.deepcopy(self.original)
        reports: list[LayerReport] = []
        for name, reducer in self._layers.items():
            inputs, present = self._inputs(self.original, name), self._inputs(compressed, name)
            replacement, report = reducer.reduce(plan[name].tensor(), inputs, present)
            _replace(compressed, name, replacement)
            reports.append(report)
            self._tick(f"{self.method}, {plan.target}, {plan.allocation}: {name}")
        if self.calibration is not None:
            self._match_outputs(compressed, self.calibration)
        return compressed, reports

    def _match_outputs(self, compressed: nn.Module, calibration: Tensor) -> None:
        """Add the mean difference of the logits to the bias of the last affine map."""
        decoder = getattr(compressed, "decoder", None)
        affine = decoder if isinstance(decoder, nn.Linear) else nn.Module()
        bias = dict(affine.named_parameters()).get("bias")
        if bias is not None:
            shift = self._reference(calibration).mean(0) - _outputs(compressed, calibration).mean(0)
            with torch.no_grad():
                bias += shift

    def _reference(self, calibration: Tensor) -> Tensor:
        if self._wanted is None:
            self._wanted = _outputs(self.original, calibration)
        return self._wanted

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
