"""What can be said about a reduced layer, whichever way its systems came about."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from hydropress.reduction.certify import certify
from hydropress.reduction.metric import response_error, stationarity
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Certificate, Outcome

IRKA_ITERATIONS = 20
"""Few, since a hundred would take longer than all the rest; the last change an error little."""


def certify_layer(full: S, reduced: S, spread: Tensor | None) -> Certificate:
    """Return the certificate of a layer's systems, each at its own order.

    In the plain H² norm, for systems fitted to data too: BT's, IRKA's and the lower bound are to be
    compared with the layer's relative H² errors, and stationarity is that of the kernels.  Where D
    has changed, the bound is that of any D, and ``amplification`` counts it.  IRKA ends after
    ``IRKA_ITERATIONS`` projections.

    Parameters
    ----------
    full, reduced
        Batch shape ``(directions, H)``, or ``(directions, 1)`` if all channels share one system.
    spread
        Of the relative errors over the starts, of that shape; NaN in the certificate if not
        given.
    """
    batch = full.batch_shape
    full, reduced = full.reshape(-1), reduced.reshape(-1)
    count = len(full.D)
    spread = full.D.new_full((count,), torch.nan) if spread is None else spread.reshape(-1)
    found = {field.name: full.D.new_empty(count) for field in fields(Certificate)}
    for order in reduced.order.unique().tolist():
        rows = torch.nonzero(reduced.order == order)[:, 0]
        problem, small = Problem(full[rows], (order,)), reduced[rows]
        outcome = Outcome(small, torch.zeros_like(rows), spread[rows])
        part = certify(
            problem,
            outcome,
            order,
            stationarity(problem, small),
            response_error(problem.full, small),
            IRKA_ITERATIONS,
        )
        for name, values in found.items():
            values[rows] = getattr(part, name)
    return Certificate(**{name: values.reshape(batch) for name, values in found.items()})


def figures(values: Mapping[str, Tensor | None]) -> dict[str, Any]:
    """Return median and largest value over the channels, ready for JSON; null where there is none.

    Parameters
    ----------
    values
        By name, of any shape; NaN does not count.
    """
    return {
        name: {"median": _number(part, torch.nanmedian), "largest": _number(part, torch.amax)}
        for name, part in values.items()
    }


def _number(values: Tensor | None, reduce: Any) -> float | None:
    if values is None:
        return None
    known = values[~values.isnan()]
    if known.numel() == 0:
        return None
    number = float(f"{float(reduce(known)):.6g}")
    return number if math.isfinite(number) else None
