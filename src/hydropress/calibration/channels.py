"""Reduction of some channels of a layer, of scalar systems, on the data that they see."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.calibration.both_directions import fit_together, whole_error
from hydropress.calibration.fit import (
    CalibratedResult,
    CalibratedSettings,
    LayerFit,
    calibrated_starts,
    held_out_error,
    matching_bias,
)
from hydropress.calibration.path_errors import PathErrors, lookup
from hydropress.calibration.reducer import LayerData
from hydropress.calibration.sensitivity import gradients_by_system, output_change
from hydropress.calibration.signals import LayerSignals, predict
from hydropress.reduction.iterate import Iterate, empty_iterate, stack_iterates
from hydropress.systems.assembly import concatenate, stack
from hydropress.systems.modal import SISOSystem
from hydropress.systems.norms import relative_h2_error

Data = LayerData[LayerSignals, list[LayerFit]]
Starts = list[dict[str, Iterate]]
"""Starts of calibrated ``h2`` by name, for each direction."""


def _without_states(system: SISOSystem) -> SISOSystem:
    """Return the systems of order 0, which have their feedthrough only."""
    return replace(
        system,
        exponents=torch.full_like(system.exponents[..., :1], -1),
        residues=torch.zeros_like(system.residues[..., :1]),
        states=torch.zeros_like(system.states[..., :1]),
    )


def _kept_where(small: Tensor, full: SISOSystem, start: Iterate) -> Iterate:
    """Return a start in which systems that are small enough are themselves."""
    return replace(Iterate.from_system(full), D=full.D).where(small, start)


@dataclass(frozen=True)
class Outcome:
    """Reduced systems of h channels and what is known of them.

    Attributes
    ----------
    system
        Batch shape ``(directions, h)``.
    bias
        Constants at their outputs, ``(directions, h)``.
    output_error, spread
        As of :class:`~hydropress.calibration.layer_report.LayerReport`, ``(directions, h)``.
    starts
        How many systems each start won.
    """

    system: SISOSystem
    bias: Tensor
    output_error: Tensor | None
    starts: dict[str, int]
    spread: Tensor | None

    @staticmethod
    def joined(outcomes: "Sequence[Outcome]") -> "Outcome":
        """Return one outcome of the channels of all."""

        def join(name: str) -> Tensor | None:
            parts = [getattr(one, name) for one in outcomes]
            return None if parts[0] is None else torch.cat(parts, 1)

        first = outcomes[0]
        directions = range(len(first.bias))
        bias = join("bias")
        assert bias is not None
        return Outcome(
            stack([concatenate([one.system[row] for one in outcomes]) for row in directions]),
            bias,
            join("output_error"),
            {kind: sum(one.starts[kind] for one in outcomes) for kind in first.starts},
            join("spread"),
        )


@dataclass(frozen=True)
class ChannelGroup:
    """Some channels of a layer; attributes as of the layer's reducer, for these channels."""

    full: SISOSystem
    settings: CalibratedSettings
    reduced: dict[int, SISOSystem]
    spreads: dict[int, Tensor]
    starts: dict[int, Starts]

    @property
    def directions(self) -> int:
        """1 or 2."""
        return self.full.batch_shape[0]

    def calibrated_starts(self, orders: tuple[int, ...], inputs: Tensor) -> dict[int, Starts]:
        """Return the starts of calibrated ``h2`` for inputs ``(n, h, L)``."""
        parts = LayerSignals.of(self.full, inputs, inputs).by_direction(self.directions)
        starts: dict[int, Starts] = {order: [] for order in orders}
        for direction, part in enumerate(parts):
            bank = self.full[direction]
            found = calibrated_starts(
                bank, orders, part, self.settings, fits_feedthrough=direction == 0
            )
            for order, kinds in found.items():
                small = bank.order <= order
                starts[order].append(
                    {kind: _kept_where(small, bank, start) for kind, start in kinds.items()}
                )
        return starts

    def _starts(self, direction: int, orders: Tensor) -> dict[str, Iterate]:
        """Return starts of ragged orders for the systems of one direction, ``orders`` (h,)."""
        distinct, index = lookup(orders, tuple(sorted(self.starts)))
        empty = replace(
            empty_iterate(len(orders), self.full.D.device),
            D=self.full[direction].D,
        )
        kinds = next(iter(self.starts.values()))[direction]
        rows = index * len(orders) + torch.arange(len(orders))
        return {
            kind: stack_iterates(
                [self.starts[order][direction][kind] if order else empty for order in distinct]
            )
            .select(rows.to(empty.D.device))
            .compact()
            for kind in kinds
        }

    def _reduced(self, orders: Tensor) -> tuple[SISOSystem, Tensor]:
        """Return systems of ragged orders as the method alone reduces them, and their spreads."""
        distinct, index = lookup(orders, tuple(sorted(self.reduced)))
        empty = _without_states(self.full)
        found = stack([self.reduced[order] if order else empty for order in distinct])
        none = torch.zeros_like(empty.D)
        spreads = torch.stack([self.spreads[order] if order else none for order in distinct])
        direction, channel = (torch.arange(size) for size in orders.shape)
        place = (index, direction[:, None], channel)
        return found[place], spreads[place]

    def data(self, seen: tuple[Tensor, Tensor], disturbed: tuple[Tensor, Tensor] | None) -> Data:
        """Return what reductions on the same signals share, each ``(n, h, L)``.

        Parameters
        ----------
        seen
            In the original model and in the compressed prefix.
        disturbed
            Both with dropout acting.
        """
        signals = LayerSignals.of(self.full, *seen)
        if not self.starts:
            return LayerData(signals)
        fitted = signals if disturbed is None else LayerSignals.of(self.full, *disturbed)
        fits = [
            LayerFit.of(self.full[direction], part, self.settings, fits_feedthrough=direction == 0)
            for direction, part in enumerate(fitted.by_direction(self.directions))
        ]
        return LayerData(signals, fits, disturbed is not None)

    def reduce(self, orders: Tensor, data: Data, *, together: bool) -> Outcome:
        """Return systems of the given orders, ``(directions, h)``, fitted to data if there are.

        Parameters
        ----------
        together
            Whether two directions are fitted to what they return together, too.
        """
        signals, fits = data.signals, data.fit
        if fits is None:
            system, spread = self._reduced(orders)
            if signals is None:
                return Outcome(system, torch.zeros_like(system.D), None, {}, spread)
            flat, shape = system.reshape(-1), system.batch_shape
            bias = matching_bias(flat, signals)
            error = held_out_error(flat, bias, signals).reshape(shape)
            return Outcome(system, bias.reshape(shape), error, {}, spread)
        results = [
            fit.reduce(self._starts(direction, row))
            for direction, (fit, row) in enumerate(zip(fits, orders, strict=True))
        ]
        if together and len(fits) == 2:
            results = fit_together(fits, results)
        if data.is_disturbed and signals is not None:
            results = self._measured(results, signals, together=together)
        return Outcome(
            stack([result.system for result in results]),
            torch.stack([result.bias for result in results]),
            torch.stack([result.output_error for result in results]),
            {kind: sum(result.starts[kind] for result in results) for kind in results[0].starts},
            None,
        )

    def _measured(
        self, results: list[CalibratedResult], signals: LayerSignals, *, together: bool
    ) -> list[CalibratedResult]:
        """Return results of each direction with the bias and the errors that signals give."""
        count = self.settings.num_held_out(signals.inputs.shape[1])
        parts = signals.by_direction(len(results))
        held_out = [part.split(count)[1] for part in parts]
        systems = [result.system for result in results]
        biases = [matching_bias(*pair) for pair in zip(systems, parts, strict=True)]
        if together and len(results) == 2:
            errors = [whole_error(held_out, systems, biases)] * 2
        else:
            triples = zip(systems, biases, held_out, strict=True)
            errors = [held_out_error(*triple) for triple in triples]
        return [
            replace(result, bias=bias, output_error=error)
            for result, bias, error in zip(results, biases, errors, strict=True)
        ]

    def errors(self, orders: Sequence[int], data: Data, gradients: Tensor | None) -> PathErrors:
        """Return what each system loses at some orders; ``gradients`` of shape (P, m, h, L)."""
        full = self.full
        flat, signals = full.reshape(-1), data.signals
        relative: list[Tensor] = []
        changes: list[Tensor] = []
        for order in orders:
            outcome = self.reduce(torch.full(full.batch_shape, order), data, together=False)
            if signals is None or outcome.output_error is None:
                relative.append(relative_h2_error(full, outcome.system).flatten())
                continue
            relative.append(outcome.output_error.flatten())
            if gradients is not None:
                system, bias = outcome.system.reshape(-1), outcome.bias.flatten()
                few = signals.first(gradients.shape[1])
                outputs = predict(few, system.impulse_response(few.inputs.shape[-1]), system.D)
                error = outputs + bias[:, None, None].to(outputs) - few.outputs
                changes.append(
                    output_change(gradients_by_system(gradients, self.directions), error)
                )
        # A system that has no more states than the order stays as it is.
        kept = flat.order[:, None] <= torch.tensor(orders, device=flat.order.device)
        return PathErrors(
            tuple(orders),
            torch.where(kept, 0.0, torch.stack(relative, 1)),
            torch.where(kept, 0.0, torch.stack(changes, 1)) if changes else None,
        )
