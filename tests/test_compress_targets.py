"""The four ways to say how far, the two ways to spend a total, and plans carried out again."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hydropress.calibration.plan import Plan
from hydropress.compress import Compression, compress, compress_path, find_layers
from hydropress.errors import InvalidArgumentError, NotConvergedError
from test_compress import logits, model, same_parameters, sequences
from tiny import tiny_model

both_ways = pytest.mark.parametrize("bidirectional", [False, True])


@lru_cache
def spent(method: str = "h2", bidirectional: bool = False) -> Compression:
    network = tiny_model(5, bidirectional=bidirectional)
    return compress(network, order=2, method=method, calibration=sequences(16))


def states(network: nn.Module) -> int:
    return sum(int(layer.system().order.sum()) for _, layer in find_layers(network))


def error(network: nn.Module, data: Tensor) -> float:
    with torch.no_grad():
        return float((network(data) - model()(data)).square().mean())


@pytest.mark.parametrize("method", ["h2", "balanced"])
def test_global_is_closer_to_the_original_at_the_same_total(method):
    uniform = compress(
        model(), order=2, method=method, calibration=sequences(16), allocation="uniform"
    )
    result = spent(method)
    assert result.plan.allocation == "global"
    assert states(result.model) <= states(uniform.model) == 16
    assert (result.order, result.plan.target) == (2, "order=2")
    fresh = sequences(64, 1)
    assert error(result.model, fresh) < error(uniform.model, fresh)


@both_ways
def test_model_and_plan_agree(bidirectional):
    result = spent("h2", bidirectional)
    assert result.ratio == pytest.approx(states(result.model) / result.plan.budget / 4, rel=0.1)
    for name, layer in find_layers(result.model):
        assert bool((layer.system().order <= result.plan[name].tensor()).all())
    assert "on average" in result.to_dict()["name"]
    assert result.to_dict()["allocation"] == "global"


def test_the_better_of_two_plans_on_held_out_data_is_returned():
    measured = dict(spent().plan.deviations)
    with torch.no_grad():
        held_out = sequences(16)[-4:]
        wanted, own = model()(held_out), spent().model(held_out)
    assert measured["global"] == pytest.approx(float((own - wanted).square().mean()), rel=1e-4)
    assert measured["global"] <= measured["uniform"]
    # With a state for every pole there is nothing to gain: both deviate by rounding errors only.
    full = compress(model(), ratio=1.0, method="balanced", calibration=sequences(16))
    best = min(full.plan.deviations, key=lambda entry: entry[1])
    assert full.plan.allocation == best[0]


def test_defaults_are_global_with_data_and_uniform_without():
    assert spent("balanced").plan.deviations
    assert compress(model(), order=2, method="balanced").plan.allocation == "uniform"
    blind = compress(model(), order=2, method="balanced", allocation="global")
    assert (blind.plan.allocation, blind.plan.deviations) == ("global", ())
    assert blind.plan.budget <= 16


@both_ways
def test_same_inputs_same_plan_same_model(bidirectional):
    torch.manual_seed(3)  # no random number is drawn
    network = tiny_model(5, bidirectional=bidirectional)
    again = compress(network, order=2, calibration=sequences(16))
    assert again.plan == spent("h2", bidirectional).plan
    assert same_parameters(again.model, spent("h2", bidirectional).model)


@pytest.mark.parametrize("method", ["h2", "balanced"])
def test_a_plan_from_a_file_gives_the_same_model(tmp_path: Path, method):
    result = spent(method)
    result.plan.save(tmp_path / "plan.json")
    again = compress(
        model(),
        plan=Plan.load(tmp_path / "plan.json"),
        method=method,
        calibration=sequences(16),
    )
    assert again.plan == result.plan
    assert same_parameters(again.model, result.model)


def test_a_plan_can_be_carried_out_in_other_ways():
    # Another method, no data: the orders are what counts.
    plan = spent().plan
    result = compress(model(), plan=plan, method="balanced")
    assert [layer.orders for layer in result.plan.layers] == [layer.orders for layer in plan.layers]
    assert (result.plan.method, result.plan.calibrated) == ("balanced", False)
    with pytest.raises(InvalidArgumentError, match="other orders"):
        compress(tiny_model(5, bidirectional=True), plan=plan)


def test_orders_of_a_plan_that_were_never_searched_are():
    record = spent("balanced").plan.to_dict()
    record["searches"] = []
    again = compress(
        model(), plan=Plan.from_dict(record), method="balanced", calibration=sequences(16)
    )
    assert same_parameters(again.model, spent("balanced").model)


@pytest.mark.parametrize("data", [False, True], ids=["no data", "data"])
def test_tolerance_bounds_every_channel(data):
    result = compress(
        model(), tolerance=0.2, method="balanced", calibration=sequences(16) if data else None
    )
    assert result.plan.allocation == "tolerance"
    for report in result.layers:
        first = report is result.layers[0]  # later layers get other inputs than were measured
        errors = report.output_error if data else report.relative_h2_error
        assert errors is not None
        assert not first or float(errors.max()) <= 0.2
    assert states(result.model) < states(model())


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_max_drop_gives_the_smallest_average_that_stays_above(allocation):
    data = sequences(32, 1)
    seen: list[float] = []

    def closeness(network: nn.Module) -> float:
        seen.append(1 - error(network, data) ** 0.5)
        return seen[-1]

    result = compress(
        model(),
        max_drop=0.05,
        metric=closeness,
        method="balanced",
        calibration=sequences(16),
        allocation=allocation,
    )
    values = dict(result.trials)
    assert seen == [1.0, *values.values()]
    assert closeness(result.model) == values[result.order] >= 0.95
    assert values.get(result.order - 1, 0.0) < 0.95
    relative = compress(
        model(),
        max_drop="5%",
        metric=closeness,
        method="balanced",
        calibration=sequences(16),
        allocation=allocation,
    )
    assert relative.trials == result.trials


def test_a_floor_that_nothing_meets():
    grades = iter([1.0, *[0.0] * 9])
    with pytest.raises(NotConvergedError, match="larger drop"):
        compress(model(), max_drop=0.5, metric=lambda _: next(grades), method="modal")


def test_a_path_of_global_plans():
    seen: list[tuple[int, int]] = []
    path = compress_path(
        model(),
        (4, 2),
        method="balanced",
        calibration=sequences(16),
        progress=lambda done, total, _: seen.append((done, total)),
    )
    assert [done for done, _ in seen] == list(range(1, seen[0][1] + 1))
    assert [one.order for one in path] == [4, 2]
    assert all(one.plan.allocation == "global" for one in path)
    assert same_parameters(path[1].model, spent("balanced").model)


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_progress_of_one_compression_counts_to_the_end(allocation):
    seen: list[tuple[int, int]] = []
    compress(
        model(),
        order=2,
        method="modal",
        calibration=sequences(16),
        allocation=allocation,
        progress=lambda done, total, _: seen.append((done, total)),
    )
    assert [done for done, _ in seen] == list(range(1, seen[0][1] + 1))


def test_outputs_are_finite_with_many_empty_channels():
    result = compress(model(), order=1, calibration=sequences(16))
    assert any(0 in row for layer in result.plan.layers for row in layer.orders)
    assert bool(torch.isfinite(logits(result.model)).all())


def grade(_: nn.Module) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"order": 2, "tolerance": 0.1}, "order and tolerance given; required: exactly one"),
        ({"max_drop": 0.1, "ratio": 0.5, "metric": grade}, "exactly one"),
        ({"max_drop": 0.1}, "without a metric"),
        ({"order": 2, "metric": grade}, "with a metric"),
        ({"max_drop": -1, "metric": grade}, "max_drop=-1"),
        ({"max_drop": "half", "metric": grade}, "max_drop='half'"),
        ({"tolerance": 0.0}, "tolerance=0.0"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"order": 2, "allocation": "fair"}, "allocation='fair'"),
        ({"tolerance": 0.1, "allocation": "global"}, "leave allocation out"),
    ],
)
def test_wrong_targets(arguments: dict[str, Any], words: str):
    with pytest.raises(InvalidArgumentError, match=words) as caught:
        compress(model(), **arguments)
    assert "required" in str(caught.value)
