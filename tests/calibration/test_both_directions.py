"""Two directions fitted to the output that they have together."""

import pytest
import torch
from torch import Tensor

from hydropress.calibration.both_directions import fit_together, whole_error
from hydropress.calibration.fit import CalibratedResult, CalibratedSettings, LayerFit
from hydropress.calibration.layers import LayerReducer
from hydropress.calibration.signals import LayerSignals
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.modal_ssm import ModalSSM
from hydropress.models.s4d import S4D

CHANNELS, LENGTH, COUNT, ORDER = 6, 60, 32, 4
SETTINGS = CalibratedSettings()


def layer() -> S4D:
    torch.manual_seed(3)
    return S4D(CHANNELS, 16, bidirectional=True, step_range=(0.02, 0.3))


def inputs(seed: int = 0, count: int = COUNT) -> Tensor:
    noise = torch.randn(count, CHANNELS, LENGTH, generator=torch.Generator().manual_seed(seed))
    return 0.3 + 0.3 * noise.cumsum(-1)


def reducer() -> LayerReducer:
    system, dtype = layer().system(), torch.float32
    empty = LayerReducer("layer", system, LinearPart(system), dtype, "h2", SETTINGS)
    return empty.search((ORDER,), inputs())


@pytest.fixture(scope="module")
def apart() -> tuple[list[LayerFit], list[CalibratedResult]]:
    """The fits of both directions, and what each ends with by itself."""
    found = reducer()
    signals = LayerSignals.of(found.full, inputs(), inputs())
    parts = signals.by_direction(2)
    fits = [
        LayerFit.of(found.full[row], part, SETTINGS, fits_feedthrough=row == 0)
        for row, part in enumerate(parts)
    ]
    starts = found.starts[ORDER]
    return fits, [fit.reduce(kinds) for fit, kinds in zip(fits, starts, strict=True)]


def errors(fits: list[LayerFit], results: list[CalibratedResult]) -> Tensor:
    systems, biases = [one.system for one in results], [one.bias for one in results]
    return whole_error([fit.held_out for fit in fits], systems, biases)


def test_together_they_miss_less_of_every_channels_output(apart):
    fits, results = apart
    together = fit_together(fits, results)
    before, after = errors(fits, results), errors(fits, together)
    assert bool((after <= before).all())
    assert float((after / before).median()) < 0.98
    torch.testing.assert_close(together[0].output_error, after)
    assert [one.system.order.tolist() for one in together] == [[ORDER] * CHANNELS] * 2


def test_other_outputs_make_the_same_problem_as_if_they_had_been_there_first(apart):
    fits, _ = apart
    for row, fit in enumerate(fits):
        signals = fit.signals
        wanted = signals.outputs + 0.2 * torch.randn(signals.outputs.shape) + 1
        fresh = LayerSignals(signals.inputs, signals.original_inputs, wanted)
        direct = LayerFit.of(fit.full, fresh, SETTINGS, fits_feedthrough=row == 0)
        moved = fit.towards(wanted)
        kernels = torch.randn(CHANNELS, LENGTH, dtype=torch.float64)
        for one in (moved, direct):
            assert torch.equal(one.held_out.outputs, direct.held_out.outputs)
        torch.testing.assert_close(moved.means.output, direct.means.output)
        values = [
            (one.objective.factors.double() @ kernels[..., None])[..., 0] - one.objective.targets
            for one in (moved, direct)
        ]
        squares = [
            value.square().sum(-1) + one.objective.constants
            for value, one in zip(values, (moved, direct), strict=True)
        ]
        torch.testing.assert_close(squares[0], squares[1], rtol=1e-5, atol=0)


def test_the_reported_error_is_that_of_the_layers_output():
    found, full = reducer(), layer()
    orders = torch.full((2, CHANNELS), ORDER)
    replacement, report = found.reduce(orders, found.data(inputs(), inputs()))
    assert isinstance(replacement, ModalSSM)
    last = inputs()[-SETTINGS.num_held_out(COUNT) :]
    with torch.no_grad():
        wanted = full(last)
        missed = (wanted - replacement(last)).square().mean((0, 2)).sqrt()
    error = missed / wanted.std((0, 2))
    assert report.output_error is not None
    torch.testing.assert_close(report.output_error[0].float(), error, rtol=2e-2, atol=1e-4)
    torch.testing.assert_close(report.output_error[1], report.output_error[0])


def test_what_keeps_all_its_states_stays_itself():
    found = reducer().search((16,), inputs())
    orders = torch.full((2, CHANNELS), 16)
    replacement, report = found.reduce(orders, found.data(inputs(), inputs()))
    with torch.no_grad():
        torch.testing.assert_close(replacement(inputs(1)), layer()(inputs(1)), rtol=1e-4, atol=1e-4)
    assert report.output_error is not None
    assert float(report.output_error.max()) < 1e-4
