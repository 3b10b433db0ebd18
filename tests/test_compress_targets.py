"""The four ways to say how far, the two ways to spend a total, and plans carried out again."""

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hydropress.calibration.allocation import budget_ladder
from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.network import NetworkReducer
from hydropress.calibration.plan import Plan
from hydropress.calibration.planning import tolerance_plan
from hydropress.compression.model import compress, compress_path
from hydropress.compression.result import Compression
from hydropress.errors import InvalidArgumentError, NotConvergedError
from layers import own_layers
from test_compress import logits, model, same_parameters, sequences
from tiny import tiny_model

both_ways = pytest.mark.parametrize("bidirectional", [False, True])


@lru_cache
def spent(method: str = "h2", bidirectional: bool = False) -> Compression:
    network = tiny_model(5, bidirectional=bidirectional)
    return compress(network, order=2, method=method, calibration=sequences(16))


def states(network: nn.Module) -> int:
    return sum(int(layer.system().order.sum()) for _, layer in own_layers(network))


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
    for name, layer in own_layers(result.model):
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
@pytest.mark.parametrize("ratio", [0.3, 0.02, 0.99])
def test_a_ratio_is_a_budget_of_states(ratio, data):
    # 0.3 of 64 states are 19.2; one state for eight channels is 0.02 of them.
    result = compress(
        model(),
        ratio=ratio,
        method="balanced",
        calibration=sequences(16) if data else None,
        allocation="global",
    )
    budget = math.floor(ratio * states(model()))
    assert states(result.model) <= result.plan.budget <= budget
    if result.plan.allocation == "global" and ratio < 0.9:  # towards the end states save nothing
        assert result.plan.budget == budget
        assert budget - 1 <= states(result.model)


def test_ratios_of_no_state():
    with pytest.raises(InvalidArgumentError, match="less than one state; required.*0.01562"):
        compress(model(), ratio=0.01, method="balanced", allocation="global")
    with pytest.raises(InvalidArgumentError, match="less than one a channel.*global"):
        compress(model(), ratio=0.02, method="balanced", allocation="uniform")


def output_errors(network: nn.Module, original: nn.Module, data: Tensor) -> list[Tensor]:
    """Return the error of every layer's every channel over its deviation, by running both."""
    kept: list[dict[str, Tensor]] = []
    for one in (original, network):
        outputs: dict[str, Tensor] = {}

        def keep(name: str, outputs: dict[str, Tensor] = outputs) -> Any:
            return lambda _, __, output: outputs.update({name: output.double()})

        handles = [layer.register_forward_hook(keep(name)) for name, layer in own_layers(one)]
        with torch.no_grad():
            one(data)
        for handle in handles:
            handle.remove()
        kept.append(outputs)
    return [
        (kept[1][name] - wanted).square().mean((0, 2)).sqrt() / wanted.std((0, 2))
        for name, wanted in kept[0].items()
    ]


@lru_cache
def tolerated(method: str, bidirectional: bool = False) -> Compression:
    network = tiny_model(5, bidirectional=bidirectional)
    return compress(network, tolerance=0.2, method=method, calibration=sequences(16))


@pytest.mark.parametrize("method", ["h2", "balanced"])
def test_tolerance_holds_in_the_compressed_network(method):
    tolerance = 0.2
    result = tolerated(method)
    assert result.plan.allocation == "tolerance"
    assert result.above_tolerance == {}
    # On the last quarter of the sequences, which no fit has seen; on all where nothing is fitted.
    data = sequences(16)[-4:] if method == "h2" else sequences(16)
    for errors in output_errors(result.model, model(), data):
        assert float(errors.max()) <= tolerance * 1.001  # single precision, other sums
    assert states(result.model) < states(model())


def test_orders_are_raised_where_the_network_needs_it():
    # With the orders that the original layers' inputs ask for, a later channel exceeds it.
    network = NetworkReducer(
        tiny_model(5, bidirectional=True),
        "balanced",
        sequences(16),
        CalibratedSettings(),
        lambda _: None,
    )
    first = tolerance_plan(network, 0.2, "tolerance=0.2")
    plain = network.reduce(first)[1]
    above = [one.output_error > 0.2 for one in plain if one.output_error is not None]
    assert not bool(above[0].any())
    assert bool(above[1].any())
    raised = tolerated("balanced", True).plan
    for before, after, where in zip(first.layers, raised.layers, above, strict=True):
        assert torch.equal(after.tensor() > before.tensor(), where)
    assert tolerated("balanced", True).above_tolerance == {}


def test_tolerance_holds_in_both_directions():
    result = tolerated("h2", True)
    for report in result.layers:
        assert report.output_error is not None
        above = int((report.output_error > 0.2).sum())
        assert above == result.above_tolerance.get(report.name, 0)
        full = torch.tensor(result.plan[report.name].full)
        assert report.output_error.shape == full.shape


def test_tolerance_without_data_is_an_h2_error():
    result = compress(model(), tolerance=0.2, method="balanced")
    assert all(float(report.relative_h2_error.max()) <= 0.2 for report in result.layers)
    assert result.above_tolerance == {}


def test_what_all_states_do_not_help_is_counted():
    # A block that turns small errors into large ones: what the second layer gets is wrong by more
    # than its channels may be.
    network = tiny_model(4)
    with torch.no_grad():
        network.get_parameter("blocks.0.mix.linear.weight").mul_(30)
    arguments: dict[str, Any] = {"method": "modal", "calibration": sequences(16)}
    result = compress(network, tolerance=0.6, **arguments)
    first, second = output_errors(result.model, network, sequences(16))
    assert float(first.max()) <= 0.6
    above = second > 0.6
    assert result.above_tolerance == {"blocks.1.ssm": int(above.sum())}
    assert 0 < int(above.sum()) < 4
    # With all states there, the same channels exceed it, by at least as much.
    last = result.plan.layers[1]
    layers = (result.plan.layers[0], replace(last, orders=last.full))
    whole = compress(network, plan=replace(result.plan, layers=layers), **arguments)
    errors = output_errors(whole.model, network, sequences(16))[1]
    assert bool((errors[above] >= second[above] * 0.999).all())


@pytest.mark.parametrize("allocation", ["uniform", "global"])
@pytest.mark.parametrize("data", [False, True], ids=["no data", "data"])
def test_max_drop_gives_the_smallest_model_tried_that_stays_above(allocation, data):
    fresh = sequences(32, 1)
    seen: list[float] = []

    def closeness(network: nn.Module) -> float:
        seen.append(1 - error(network, fresh) ** 0.5)
        return seen[-1]

    def dropped(max_drop: float | str) -> Compression:
        return compress(
            model(),
            max_drop=max_drop,
            metric=closeness,
            method="balanced",
            calibration=sequences(16) if data else None,
            allocation=allocation,
        )

    result = dropped(0.005)
    assert seen == [1.0, *(value for _, value in result.trials)]
    # Seven orders, or budgets up to 56 states: at most 3 + log₂ of them are tried.
    full = states(model())
    count = full // 8 if allocation == "uniform" else len(budget_ladder(full))
    assert len(result.trials) <= 3 + math.log2(count)
    passing = [size for size, value in result.trials if value >= 0.995]
    assert result.plan.budget == min(passing)
    assert closeness(result.model) == dict(result.trials)[result.plan.budget]
    assert states(result.model) <= result.plan.budget < full
    # The next smaller size has been tried too, and fails.
    assert max(size for size, value in result.trials if value < 0.995) < min(passing)
    if data and allocation == "global":
        assert {name for name, _ in result.plan.deviations} <= {"global", "uniform"}
    assert dropped("0.5%").trials == result.trials


def test_max_drop_tries_uniform_plans_beside_its_own_and_shares_searches():
    ticks: list[str] = []
    result = compress(
        model(),
        max_drop=0.001,
        metric=lambda network: 1 - error(network, sequences(32, 1)) ** 0.5,
        method="balanced",
        calibration=sequences(16),
        progress=lambda _, __, what: ticks.append(what),
    )
    assert any(name == "uniform" for name, _ in result.plan.deviations)
    assert sum("search blocks.0.ssm" in tick for tick in ticks) == 1
    assert sum("measure blocks.0.ssm" in tick for tick in ticks) == 1
    # No uniform plan is carried out twice.
    uniform = sum("uniform: blocks.0.ssm" in tick for tick in ticks)
    assert 0 < uniform <= len(result.trials)


def test_a_floor_that_nothing_meets():
    calls: list[float] = []

    def worse(_: nn.Module) -> float:
        calls.append(0.0)
        return 1.0 if len(calls) == 1 else 0.0

    with pytest.raises(NotConvergedError, match="larger drop"):
        compress(model(), max_drop=0.5, metric=worse, method="modal")


TARGETS: list[dict[str, Any]] = [
    {"ratio": 0.3},
    {"tolerance": 0.2},
    {"max_drop": "5%"},
    {"max_drop": 0.05, "allocation": "uniform"},
]


# A fit by h2 takes ten times as long as all the rest, whatever the target.
AGAIN = [(target, method) for target in TARGETS for method in ("balanced", "last")]
AGAIN.append((TARGETS[0], "h2"))


@both_ways
@pytest.mark.parametrize(("target", "method"), AGAIN)
def test_a_plan_of_any_target_gives_the_same_model_again(
    tmp_path: Path, method: str, target: dict[str, Any], bidirectional: bool
):
    network = tiny_model(5, bidirectional=bidirectional)
    fresh = sequences(16, 1)
    with torch.no_grad():
        wanted = network(fresh)

    def closeness(other: nn.Module) -> float:
        with torch.no_grad():
            return 1 - float((other(fresh) - wanted).square().mean().sqrt())

    metric: dict[str, Any] = {"metric": closeness} if "max_drop" in target else {}
    result = compress(network, **target, **metric, method=method, calibration=sequences(16))
    result.plan.save(tmp_path / "plan.json")
    again = compress(
        tiny_model(5, bidirectional=bidirectional),
        plan=Plan.load(tmp_path / "plan.json"),
        method=method,
        calibration=sequences(16),
    )
    assert again.plan == result.plan
    assert same_parameters(again.model, result.model)


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
