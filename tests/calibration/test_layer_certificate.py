"""A certificate for every layer, against the reductions themselves and sampled responses."""

import json
import math
from functools import lru_cache

import numpy as np
import pytest
import torch

from hydropress.calibration.layer_certificate import IRKA_ITERATIONS
from hydropress.compression.model import compress
from hydropress.compression.result import Compression
from hydropress.evaluation.compare import summarize
from hydropress.reduction.irka import irka_solutions
from hydropress.reduction.reduce import reduce
from hydropress.systems.norms import relative_h2_error
from tiny import tiny_model

CALIBRATION, LENGTH, ORDER = 32, 48, 2
LONG = 20_000


@lru_cache
def compressed(method: str, *, data: bool, bidirectional: bool = False) -> Compression:
    generator = torch.Generator().manual_seed(0)
    calibration = None
    if data:
        calibration = 0.5 + 0.2 * torch.randn(CALIBRATION, LENGTH, 1, generator=generator).cumsum(1)
    model = tiny_model(3, bidirectional=bidirectional)
    return compress(
        model, order=ORDER, method=method, calibration=calibration, allocation="uniform"
    )


cases = pytest.mark.parametrize(
    ("method", "data", "bidirectional"),
    [
        ("h2", False, False),
        ("h2", True, False),
        ("h2", True, True),
        ("balanced", True, False),
        ("modal", False, True),
        ("singular-perturbation", False, False),
    ],
)


@cases
def test_rivals_and_bound_are_those_of_the_original_systems(method, data, bidirectional):
    for layer in compressed(method, data=data, bidirectional=bidirectional).layers:
        certificate, full = layer.certificate, layer.full
        # At the order that a system came out with: a pair may have become one real pole.
        small = layer.reduced.order < ORDER
        balanced = reduce(full, ORDER, "balanced")
        wanted = balanced.relative_error.masked_fill(small, 0.0)
        actual = certificate.balanced_error.masked_fill(small, 0.0)
        torch.testing.assert_close(actual, wanted, rtol=1e-9, atol=0)
        flat, start = full.reshape(-1), balanced.system.reshape(-1)
        found, _ = irka_solutions(flat, ORDER, start, IRKA_ITERATIONS)
        wanted = relative_h2_error(flat, found).reshape(small.shape).masked_fill(small, 0.0)
        actual = certificate.irka_error.masked_fill(small, 0.0)
        torch.testing.assert_close(actual, wanted, rtol=1e-6, atol=0)
        # No model of this order is below the bound, this one not excluded.
        for error in (layer.relative_h2_error, balanced.relative_error, wanted + small):
            assert bool((certificate.lower_bound <= error * (1 + 1e-9)).all())
        assert bool((certificate.lower_bound > 0).all())


@cases
def test_no_input_makes_the_outputs_differ_by_more_than_the_amplification(
    method, data, bidirectional
):
    for layer in compressed(method, data=data, bidirectional=bidirectional).layers:
        before, after = (
            one.impulse_response(LONG).reshape(-1, LONG) for one in (layer.full, layer.reduced)
        )
        error = before - after
        error[:, 0] += (layer.full.D - layer.reduced.D).flatten()
        for row, guarantee in zip(error, layer.certificate.amplification.flatten(), strict=True):
            kernel = row.numpy()
            # The worst input is the error's response run backwards, u[t] = e[T - t].
            peak = float(kernel @ kernel)
            norm = float(np.linalg.norm(kernel))
            assert peak == pytest.approx(float(guarantee) * norm, rel=1e-6)


def test_without_data_it_is_the_certificate_of_the_reduction():
    for layer in compressed("h2", data=False).layers:
        expected = reduce(layer.full, ORDER)
        names = ("stationarity", "mode_energy", "spread", "amplification", "lower_bound")
        for name in names:
            actual = getattr(layer.certificate, name)
            assert actual.shape == layer.full.batch_shape
            wanted = getattr(expected.certificate, name)
            torch.testing.assert_close(actual, wanted, rtol=1e-6, atol=1e-9)


def test_fitted_layers_have_a_measured_output_error_and_no_spread():
    result = compressed("h2", data=True)
    for layer in result.layers:
        assert bool(layer.certificate.spread.isnan().all())
        shown = layer.figures()
        assert shown["spread"] == {"median": None, "largest": None}
        assert layer.output_error is not None
        errors = layer.output_error.flatten()
        assert shown["output_error"]["largest"] == pytest.approx(float(errors.max()), rel=1e-5)
        assert float(errors.min()) <= shown["output_error"]["median"] <= float(errors.max())
    assert compressed("h2", data=False).layers[0].figures()["output_error"]["largest"] is None


def test_systems_of_several_orders_are_certified_each_at_its_own():
    layer = compressed("modal", data=False).layers[0]
    small = layer.reduced.states.clone()
    small[0, 0] = 0
    ragged = type(layer)(**{**vars_of(layer), "reduced": replace_states(layer.reduced, small)})
    certificate = ragged.certificate
    assert float(certificate.balanced_error[0, 0]) == pytest.approx(1.0)
    assert float(certificate.lower_bound[0, 0]) == pytest.approx(1.0, rel=1e-6)
    torch.testing.assert_close(certificate.irka_error[0, 1:], layer.certificate.irka_error[0, 1:])


def vars_of(layer):
    return {name: getattr(layer, name) for name in layer.__dataclass_fields__}


def replace_states(system, states):
    silent = states == 0
    return type(system)(
        system.exponents.masked_fill(silent, -1),
        system.residues.masked_fill(silent, 0),
        states,
        system.D,
        system.time,
    )


@cases
def test_records_hold_the_figures(method, data, bidirectional):
    result = compressed(method, data=data, bidirectional=bidirectional)
    for record in (result.to_dict(), summarize(result)):
        again = json.loads(json.dumps(record, allow_nan=False))
        for layer, entry in zip(result.layers, again["layers"], strict=True):
            figures = entry["certificate"]
            assert set(figures) == {
                "relative_h2_error",
                "stationarity",
                "balanced_error",
                "irka_error",
                "lower_bound",
                "amplification",
                "mode_energy",
                "spread",
                "output_error",
            }
            for name in ("balanced_error", "amplification", "mode_energy"):
                values = getattr(layer.certificate, name).flatten()
                largest, median = figures[name]["largest"], figures[name]["median"]
                assert largest == pytest.approx(float(values.max()), rel=1e-5)
                below = int((values <= median * (1 + 1e-5)).sum())
                assert below >= math.ceil(len(values) / 2)
