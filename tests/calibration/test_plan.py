"""Plans as objects: what they count, how they look, files that hold one and files that do not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hydropress.calibration.plan import LayerPlan, Plan, as_orders, check_plan, missing_orders
from hydropress.errors import FileFormatError, InvalidArgumentError

FIRST = LayerPlan("blocks.0.ssm", ((8, 8, 8, 8),), ((0, 1, 2, 8),))
SECOND = LayerPlan("blocks.1.ssm", ((8, 8), (4, 4)), ((3, 4), (0, 2)))
PLAN = Plan(
    (FIRST, SECOND),
    allocation="global",
    target="order=2",
    method="h2",
    calibrated=True,
    searches=((1, 2, 3, 4, 8), (16,)),
    deviations=(("global", 0.1), ("uniform", 1 / 3)),
)


def full_states() -> list[tuple[str, torch.Tensor]]:
    return [(layer.name, torch.tensor(layer.full)) for layer in PLAN.layers]


def test_counts_by_hand():
    assert (FIRST.states, FIRST.states_before, FIRST.num_systems) == (11, 32, 4)
    assert (SECOND.states, SECOND.states_before, SECOND.num_systems) == (9, 24, 4)
    assert (FIRST.mean_order, SECOND.mean_order) == (2.75, 2.25)
    assert (PLAN.budget, PLAN.num_systems, PLAN.mean_order) == (20, 8, 2.5)
    assert PLAN.ratio == 20 / 56
    assert PLAN["blocks.1.ssm"] is SECOND
    assert SECOND.tensor().tolist() == [[3, 4], [0, 2]]
    assert as_orders(SECOND.tensor()) == SECOND.orders


def test_printed_it_is_a_table():
    title, head, first, second = str(PLAN).splitlines()
    assert "global plan for order=2" in title
    assert "20 states" in title
    assert " ".join(head.split()) == "layer before states mean 0 1 2 3-4 5-8 9-16 17+"
    assert " ".join(first.split()) == "blocks.0.ssm 32 11 2.75 1 1 1 0 1 0 0"
    assert " ".join(second.split()) == "blocks.1.ssm 24 9 2.25 1 0 1 2 0 0 0"
    assert len({len(line) for line in (head, first, second)}) == 1


def test_a_saved_plan_is_the_same_plan(tmp_path: Path):
    PLAN.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == PLAN
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    assert Plan.from_dict(json.loads(json.dumps(PLAN.to_dict()))) == PLAN


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_files_without_a_plan(tmp_path: Path, text: str):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=r"plan\.json.*required"):
        Plan.load(path)
    with pytest.raises(FileFormatError, match="required"):
        Plan.load(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 0),
        ("version", None),
        ("layers", None),
        ("layers", [{"name": "a"}]),
        ("layers", [{"name": "a", "full": [[2]], "orders": [[1.5]]}]),
        ("layers", [{"name": "a", "full": [[2]], "orders": [["1"]]}]),
        ("layers", [{"name": "a", "full": [[2]], "orders": [[-1]]}]),
        ("layers", [{"name": "a", "full": [[2]], "orders": [[3]]}]),
        ("layers", [{"name": "a", "full": [[2]], "orders": [[1, 1]]}]),
        ("layers", [{"name": "a", "full": [[2]], "orders": [[True]]}]),
        ("searches", [1]),
        ("deviations", [["global"]]),
        ("deviations", [["global", "much"]]),
    ],
)
def test_records_of_something_else(key: str, value: Any):
    record = json.loads(json.dumps(PLAN.to_dict()))
    with pytest.raises(FileFormatError, match="make the plan again"):
        Plan.from_dict({**record, key: value})
    del record[key]
    with pytest.raises(FileFormatError, match="make the plan again"):
        Plan.from_dict(record)


@pytest.mark.parametrize("orders", [((9, 0, 0, 0),), ((-1, 0, 0, 0),), ((1, 1),), ((1,) * 4,) * 2])
def test_orders_must_fit_the_systems(orders: tuple[tuple[int, ...], ...]):
    with pytest.raises(InvalidArgumentError, match=r"blocks\.0\.ssm.*required"):
        replace(FIRST, orders=orders)


def test_unknown_layers_are_named():
    with pytest.raises(InvalidArgumentError, match=r"'other'.*blocks\.0\.ssm"):
        PLAN["other"]


def test_a_plan_fits_its_own_model_only():
    check_plan(PLAN, full_states())
    with pytest.raises(InvalidArgumentError, match="same layers"):
        check_plan(PLAN, full_states()[:1])
    renamed = [(name.upper(), states) for name, states in full_states()]
    with pytest.raises(InvalidArgumentError, match="same layers"):
        check_plan(PLAN, renamed)
    for other in (torch.full((2, 2), 8), torch.full((1, 2), 8)):
        with pytest.raises(InvalidArgumentError, match=r"blocks\.1\.ssm.*other orders"):
            check_plan(PLAN, [full_states()[0], ("blocks.1.ssm", other)])


@pytest.mark.parametrize(
    ("searches", "expected"),
    [
        (((1, 2, 3, 4, 8), (16,)), ()),
        (((1, 2, 3), (16,)), (4,)),  # who keeps 8 of 8 is itself at 16
        ((), (1, 2, 3, 4, 8)),
        (((2,), (3, 4)), (1, 8)),
    ],
)
def test_orders_that_were_never_searched(searches, expected):
    # Of 8 states 0, 1, 2, 8, 3 and 4 are kept, of 4 states 0 and 2.
    assert missing_orders(replace(PLAN, searches=searches)) == expected


def test_whole_systems_need_one_search_that_is_large_enough():
    whole = replace(PLAN, layers=(replace(FIRST, orders=((8, 8, 0, 0),)),))
    assert missing_orders(replace(whole, searches=())) == (8,)
    assert missing_orders(replace(whole, searches=((4,),))) == (8,)
    assert missing_orders(replace(whole, searches=((16,),))) == ()
