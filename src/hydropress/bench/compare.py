"""Every method on one case, at every order: error, time, memory and what vouches for it."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hydropress.bench import rivals
from hydropress.bench.cases import METHODS_OF, Case, Full, has_pymor
from hydropress.bench.conditions import interpolation_residuals
from hydropress.bench.config import ReduceConfig
from hydropress.bench.memory import peak_growth
from hydropress.reduction.reduce import CONVERGED, reduce
from hydropress.reduction.result import Certificate, Reduction
from hydropress.systems.modal import ModalSystem, SISOSystem

Row = dict[str, Any]
Step = Callable[[float], None]
"""Called with the share that is done."""

ITERATIVE = ("h2", "irka", "gradient")
"""Methods whose results can be reported as converged, and have a certificate here."""
CERTIFIED_STATES = 1024
"""States, inputs and outputs of a layer together, above which only ``h2`` has its certificate:
working it out takes as long as BT and IRKA do."""


def compare(case: Case, config: ReduceConfig, step: Step) -> dict[str, Any]:
    """Reduce a case by all methods.

    Returns
    -------
    dict
        ``case``, ``title``, ``time``, ``metric``, ``horizon``, ``channels``, ``order`` (largest, of
        the full systems), ``inputs``, ``outputs`` and ``rows``, one for each method and order.
    """
    full = case.make()
    system = full.system
    scalar = isinstance(system, SISOSystem)
    methods = METHODS_OF[full.metric] if case.methods is None else case.methods
    theirs: tuple[str, ...] = ()
    if has_pymor() and case.with_pymor and full.metric == "plain":
        theirs = rivals.methods_for(system.time)
    # pyMOR has no order 0.
    work = [(order, name) for order in case.orders for name in methods + theirs * (order > 0)]
    rows: list[Row] = []
    for order, name in work:
        if name in methods:
            rows.append(_reduced_row(full, order, name))
        else:
            rows.append(_rival_row(full, order, name, config))
        step(len(rows) / len(work))
    return {
        "case": case.name,
        "title": case.title,
        "time": system.time,
        "metric": full.metric,
        "horizon": full.horizon,
        "channels": len(system.D),
        "order": int(system.order.max()),
        "inputs": 1 if scalar else system.D.shape[-1],
        "outputs": 1 if scalar else system.D.shape[-2],
        "rows": rows,
    }


def _reduced_row(full: Full, order: int, method: str) -> Row:
    with peak_growth() as growth:
        began = time.perf_counter()
        reduction = reduce(full.system, order, method, horizon=full.horizon, weight=full.weight)
        seconds = time.perf_counter() - began
    iterates = method in ITERATIVE
    certified = method == "h2" or (iterates and _size(full.system) <= CERTIFIED_STATES)
    return {
        "method": method,
        "order": order,
        "seconds": seconds,
        "memory_bytes": growth.bytes,
        "errors": reduction.relative_error.tolist(),
        "unstable": int((~(reduction.system.decay > 0)).sum()) if full.horizon is None else 0,
        "iterations": statistics.median(reduction.iterations.tolist()),
        # Without states there are no conditions to meet.
        "stationarity": _stationarity(full, reduction) if iterates and order > 0 else None,
        "certificate": _certificate(reduction.certificate) if certified else None,
    }


def _size(system: ModalSystem) -> int:
    """Return states, inputs and outputs of one system."""
    return int(system.order.max()) + sum(system.D.shape[1:])


def _stationarity(full: Full, reduction: Reduction[Any]) -> Row:
    """Return how many converged, and what the interpolation conditions say of those."""
    residuals = torch.from_numpy(
        interpolation_residuals(
            full.system, reduction.system, horizon=full.horizon, weight=full.weight
        )
    )
    reported = residuals[reduction.converged]
    return {
        "systems": len(residuals),
        "converged": len(reported),
        "stationary": int((reported < CONVERGED).sum()),
        "largest_of_converged": float(reported.max()) if len(reported) else None,
        "residuals": residuals.tolist(),
    }


def _certificate(certificate: Certificate) -> dict[str, float]:
    """Return one figure a field: the worst where less is better, else the median."""

    def median(values: Tensor) -> float:
        return float(values.nanmedian())

    return {
        "stationarity": float(certificate.stationarity.max()),
        "balanced_error": median(certificate.balanced_error),
        "irka_error": median(certificate.irka_error),
        "lower_bound": median(certificate.lower_bound),
        "amplification": float(certificate.amplification.max()),
        "mode_energy": float(certificate.mode_energy.max()),
        "spread": float(certificate.spread.max()),
    }


def _rival_row(full: Full, order: int, method: str, config: ReduceConfig) -> Row:
    """Reduce the first channels by one of pyMOR's methods."""
    channels = range(min(config.pymor_channels, len(full.system.D)))
    found: list[Row] = []
    with rivals.quietly(config.seed):
        for channel in channels:
            one = full.system[channel]
            model = rivals.to_model(one) if full.model is None else rivals.fresh(full.model)
            found.append(_rival_result(one, model, order, method))
    failures = [one["failure"] for one in found if one["failure"] is not None]
    return {
        "method": method,
        "order": order,
        "seconds": sum(one["seconds"] for one in found),
        "memory_bytes": max(
            (one["memory"] for one in found if one["memory"] is not None), default=None
        ),
        "errors": [one["error"] for one in found],
        "own_errors": [one["own_error"] for one in found],
        "iterations": statistics.median(one["iterations"] for one in found),
        "converged": sum(one["converged"] for one in found),
        "failures": failures,
    }


def _rival_result(one: ModalSystem, model: Any, order: int, method: str) -> Row:
    began = time.perf_counter()
    try:
        with peak_growth() as growth:
            result = rivals.run(method, model, order)
    except Exception as error:  # noqa: BLE001 - another library's breakdown is a result here
        return {
            "failure": f"{type(error).__name__}: {error}",
            "seconds": time.perf_counter() - began,
            "memory": None,
            "error": math.inf,
            "own_error": None,
            "iterations": 0,
            "converged": False,
        }
    error = rivals.error_of(one, result.model)
    return {
        "failure": None,
        "seconds": result.seconds,
        "memory": growth.bytes,
        "error": error,
        "own_error": rivals.own_error(model, result.model) if math.isfinite(error) else None,
        "iterations": result.iterations,
        "converged": result.converged,
    }
