"""Reduction of one layer of scalar systems, group after group of channels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from hydropress.calibration.channels import ChannelGroup, Data, Outcome, Starts
from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.path_errors import PathErrors
from hydropress.calibration.reducer import LayerData, Reducer
from hydropress.models.modal_ssm import ModalSSM
from hydropress.reduction.iterate import Iterate, stack_iterates
from hydropress.systems.modal import SISOSystem
from hydropress.systems.norms import relative_h2_error

T = TypeVar("T")

MEMORY = 2**32
"""Bytes that the data of a group of channels may take; work on them takes about as much again."""
BYTES_OF_WINDOW, BYTES_OF_SIGNALS = 4, 64
"""What a system takes, over L² (its factor, :mod:`hydropress.calibration.window`) and over n L."""


def groups_of_channels(
    channels: int, directions: int, count: int, length: int, window: int
) -> list[slice]:
    """Return ranges of channels whose data fit into :data:`MEMORY` together, at least one each.

    Parameters
    ----------
    count, length
        Sequences n and their length L.
    window
        L, or 0 if there are no matrices of a window.
    """
    system = length * (BYTES_OF_WINDOW * window + BYTES_OF_SIGNALS * count)
    size = max(1, MEMORY // (directions * system))
    return [slice(start, start + size) for start in range(0, channels, size)]


@dataclass(frozen=True)
class DataByGroup:
    """What reductions of a layer on the same data share.

    The matrices of a window take 4 L² bytes a system: 34 GB of 256 channels both ways at a length
    of 4,096.  Data that fit into memory are worked out once; of others one group of channels is
    worked out after the other, anew for every reduction.

    Attributes
    ----------
    groups
        Ranges of channels.
    work
        From a range to its data.
    kept
        Those of the only group.
    """

    groups: list[slice]
    work: Callable[[slice], Data]
    kept: Data | None = None

    def each(self, function: Callable[[slice, Data], T]) -> list[T]:
        """Return what a function makes of every group; no two groups' data exist at a time."""
        return [
            function(channels, self.work(channels) if self.kept is None else self.kept)
            for channels in self.groups
        ]


class LayerReducer(Reducer[SISOSystem, Iterate, DataByGroup]):
    """A layer of scalar systems with everything that its reductions to several orders share."""

    @property
    def system(self) -> SISOSystem:
        return self.full

    def _group(self, channels: slice) -> ChannelGroup:
        rows = torch.arange(self.full.batch_shape[1], device=self.full.D.device)[channels]
        return ChannelGroup(
            self.full[:, channels],
            self.settings,
            {order: system[:, channels] for order, system in self.reduced.items()},
            {order: spread[:, channels] for order, spread in self.spreads.items()},
            {
                order: [
                    {kind: start.select(rows) for kind, start in named.items()} for named in starts
                ]
                for order, starts in self.starts.items()
            },
        )

    def _groups(self, inputs: Tensor) -> list[slice]:
        count, channels, length = inputs.shape
        window = length if length <= self.settings.longest_window else 0
        return groups_of_channels(channels, self.part.directions, count, length, window)

    def _calibrated_starts(self, orders: tuple[int, ...], inputs: Tensor) -> dict[int, Starts]:
        parts = [
            self._group(channels).calibrated_starts(orders, inputs[:, channels])
            for channels in self._groups(inputs)
        ]

        def join(order: int, direction: int) -> dict[str, Iterate]:
            kinds = [part[order][direction] for part in parts]
            return {kind: stack_iterates([named[kind] for named in kinds]) for kind in kinds[0]}

        directions = range(self.part.directions)
        return {order: [join(order, direction) for direction in directions] for order in orders}

    def data(
        self,
        inputs: Tensor | None,
        present: Tensor | None,
        disturbed: tuple[Tensor, Tensor] | None = None,
    ) -> DataByGroup:
        if inputs is None or present is None:
            return DataByGroup([slice(None)], lambda _: LayerData())
        before, after = inputs, present

        def work(channels: slice) -> Data:
            acting = disturbed and (disturbed[0][:, channels], disturbed[1][:, channels])
            seen = before[:, channels], after[:, channels]
            return self._group(channels).data(seen, acting)

        groups = self._groups(inputs)
        return DataByGroup(groups, work, work(groups[0]) if len(groups) == 1 else None)

    def errors(
        self,
        orders: Sequence[int],
        inputs: Tensor | None,
        gradients: Tensor | None,
        disturbed: tuple[Tensor, Tensor] | None = None,
    ) -> PathErrors:
        def measure(channels: slice, data: Data) -> PathErrors:
            part = None if gradients is None else gradients[:, :, channels]
            return self._group(channels).errors(orders, data, part)

        parts = self.data(inputs, inputs, disturbed).each(measure)

        def join(tensors: list[Tensor]) -> Tensor:
            shaped = [tensor.unflatten(0, (self.part.directions, -1)) for tensor in tensors]
            return torch.cat(shaped, 1).flatten(0, 1)

        changes = [part.changes for part in parts if part.changes is not None]
        return PathErrors(
            tuple(orders),
            join([part.relative_error for part in parts]),
            join(changes) if changes else None,
        )

    def reduce(self, orders: Tensor, data: DataByGroup) -> tuple[ModalSSM, LayerReport]:
        full = self.full

        def fit(channels: slice, part: Data) -> Outcome:
            return self._group(channels).reduce(orders[:, channels], part, together=True)

        outcome = Outcome.joined(data.each(fit))
        bias = outcome.bias.sum(0)
        if self.part.bias is not None:
            bias = bias + self.part.bias.detach()
        replacement = ModalSSM.from_system(
            outcome.system,
            step=self.part.step,
            bias=bias,
            dtype=torch.promote_types(self.dtype, torch.float32),
        )
        report = LayerReport(
            self.name,
            int(full.order.max()),
            int(outcome.system.order.max()),
            relative_h2_error(full, outcome.system),
            outcome.output_error,
            outcome.starts,
            full,
            outcome.system,
            outcome.spread,
        )
        return replacement.to(self.dtype), report
