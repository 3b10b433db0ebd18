"""Reduction of one layer whose channels share their states, on the data that it sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.mimo_fit import MIMOFit
from hydropress.calibration.mimo_signals import (
    MIMOSignals,
    matching_bias,
    output_errors,
    residuals,
)
from hydropress.calibration.mimo_starts import mimo_starts
from hydropress.calibration.path_errors import PathErrors, lookup
from hydropress.calibration.reducer import LayerData, Reducer
from hydropress.calibration.sensitivity import output_change
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.systems.assembly import stack
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.norms import relative_h2_error


def _without_states(system: MIMOSystem) -> MIMOSystem:
    """Return the systems of order 0, which have their feedthrough only."""
    return replace(
        system,
        exponents=torch.full_like(system.exponents[..., :1], -1),
        B=torch.zeros_like(system.B[..., :1, :]),
        C=torch.zeros_like(system.C[..., :1]),
        states=torch.zeros_like(system.states[..., :1]),
    )


@dataclass(frozen=True)
class _Outcome:
    """Reduced systems, batch shape ``(directions,)``, and the constants at their outputs."""

    system: MIMOSystem
    bias: Tensor
    output_error: float | None
    starts: dict[str, int]
    spread: Tensor | None


Data = LayerData[MIMOSignals, MIMOFit]


class MIMOLayerReducer(Reducer[MIMOSystem, MIMOSystem, Data]):
    """A layer of one system a direction with everything that its reductions share."""

    @property
    def system(self) -> MIMOSystem:
        return self.full.reshape(self.part.directions, 1)

    def _calibrated_starts(
        self, orders: tuple[int, ...], inputs: Tensor
    ) -> dict[int, list[dict[str, MIMOSystem]]]:
        signals = MIMOSignals.of(self.full, inputs, inputs)
        return mimo_starts(self.full, orders, signals, self.settings)

    def _starts(self, orders: Tensor, rows: Sequence[int]) -> dict[str, MIMOSystem]:
        """Return starts for some of the directions, an order each."""
        distinct, index = lookup(orders, self.orders)
        empty = _without_states(self.full)
        names = next(iter(self.starts.values()))[0]
        chosen = [distinct[place] for place in index.tolist()]
        return {
            name: stack(
                [
                    self.starts[order][row][name] if order else empty[row]
                    for row, order in zip(rows, chosen, strict=True)
                ]
            )
            for name in names
        }

    def _reduced(self, orders: Tensor, rows: Sequence[int]) -> tuple[MIMOSystem, Tensor]:
        """Return systems as the method alone reduces them, and their spreads."""
        distinct, index = lookup(orders, self.orders)
        empty = _without_states(self.full)
        chosen = [distinct[place] for place in index.tolist()]
        systems = [
            self.reduced[order][row] if order else empty[row]
            for row, order in zip(rows, chosen, strict=True)
        ]
        spreads = [
            self.spreads[order][row] if order else empty.D.new_zeros(())
            for row, order in zip(rows, chosen, strict=True)
        ]
        return stack(systems), torch.stack(spreads)

    def data(
        self,
        inputs: Tensor | None,
        present: Tensor | None,
        disturbed: tuple[Tensor, Tensor] | None = None,
    ) -> Data:
        if inputs is None or present is None:
            return LayerData()
        return self._data_of((inputs, present), disturbed, range(len(self.full.D)))

    def _data_of(
        self,
        seen: tuple[Tensor, Tensor],
        disturbed: tuple[Tensor, Tensor] | None,
        rows: Sequence[int],
    ) -> Data:
        """Return the data of some of the directions."""
        full, rows = self.full[list(rows)], tuple(rows)
        signals = MIMOSignals.of(full, *seen, rows)
        if not self.starts:
            return LayerData(signals)
        fitted = signals if disturbed is None else MIMOSignals.of(full, *disturbed, rows)
        fit = MIMOFit.of(full, fitted, self.settings)
        return LayerData(signals, fit, disturbed is not None)

    def _reduce(
        self, orders: Tensor, rows: Sequence[int], data: Data, *, polishing: bool
    ) -> _Outcome:
        """Return systems of the given orders, one of each of the rows, fitted if there are data."""
        if data.fit is None:
            system, spread = self._reduced(orders, rows)
            if data.signals is None:
                return _Outcome(system, torch.zeros_like(system.D[0, 0]), None, {}, spread)
            bias = matching_bias(system, data.signals)
            error, _ = output_errors(system, bias, data.signals)
            return _Outcome(system, bias, error, {}, spread)
        starts = self._starts(orders, rows)
        result = data.fit.reduce(starts, polishing=polishing)
        won = {name: int(name == result.start) for name in starts}
        bias, error = result.bias, result.output_error
        if data.is_disturbed and data.signals is not None:
            bias = matching_bias(result.system, data.signals)
            _, held_out = data.signals.split(self.settings.num_held_out(len(data.signals.inputs)))
            error, _ = output_errors(result.system, bias, held_out)
        return _Outcome(result.system, bias, error, won, None)

    def errors(
        self,
        orders: Sequence[int],
        inputs: Tensor | None,
        gradients: Tensor | None,
        disturbed: tuple[Tensor, Tensor] | None = None,
    ) -> PathErrors:
        # With data the relative error is over the standard deviation of the whole layer's output.
        # Fits are not polished.
        full = self.full
        kept = full.order[:, None] <= torch.tensor(orders, device=full.order.device)
        relative = torch.zeros(len(full.D), len(orders), dtype=torch.float64)
        changes = torch.zeros_like(relative) if gradients is not None else None
        whole = None
        if inputs is not None:
            whole = MIMOSignals.of(full, inputs, inputs).variance()
        for row in range(len(full.D)):
            data: Data = LayerData()
            if inputs is not None:
                data = self._data_of((inputs, inputs), disturbed, (row,))
            for column, order in enumerate(orders):
                if bool(kept[row, column]):
                    continue
                outcome = self._reduce(torch.tensor([order]), (row,), data, polishing=False)
                if data.signals is None or outcome.output_error is None or whole is None:
                    relative[row, column] = relative_h2_error(full[row], outcome.system[0])
                    continue
                share = (data.signals.variance().sum() / whole.sum()).sqrt()
                relative[row, column] = outcome.output_error * share
                if changes is not None and gradients is not None:
                    few = data.signals.first(gradients.shape[1])
                    missed = residuals(outcome.system, outcome.bias, few)
                    # All channels of the layer at once: one long output.
                    changes[row, column] = output_change(
                        gradients.flatten(2)[:, None, :, :], missed.flatten(1)[None]
                    )[0]
        device = full.D.device
        return PathErrors(
            tuple(orders),
            relative.to(device),
            changes if changes is None else changes.to(device),
        )

    def reduce(self, orders: Tensor, data: Data) -> tuple[ModalMIMOSSM, LayerReport]:
        full = self.system
        rows = range(len(full.D))
        outcome = self._reduce(orders.flatten(), rows, data, polishing=True)
        bias = outcome.bias
        if self.part.bias is not None:
            bias = bias + self.part.bias.detach()
        replacement = ModalMIMOSSM.from_system(
            outcome.system,
            step=self.part.step,
            bias=bias,
            dtype=torch.promote_types(self.dtype, torch.float32),
        )
        system = outcome.system.reshape(*full.batch_shape)
        error = None
        if outcome.output_error is not None:
            error = full.D.new_full(full.batch_shape, outcome.output_error)
        report = LayerReport(
            self.name,
            int(full.order.max()),
            int(system.order.max()),
            relative_h2_error(full, system),
            error,
            outcome.starts,
            full,
            system,
            None if outcome.spread is None else outcome.spread.reshape(full.batch_shape),
        )
        return replacement.to(self.dtype), report
