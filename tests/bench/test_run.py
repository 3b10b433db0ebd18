"""The whole benchmark, tiny."""

import json
from dataclasses import replace

import pytest

from hydropress.bench import cases, compare, run, speed
from hydropress.bench.cases import METHODS_OF
from hydropress.bench.rivals import METHODS as PYMOR_METHODS
from hydropress.bench.rivals import methods_for
from hydropress.bench.run import run_reduce_benchmark
from hydropress.errors import InvalidArgumentError
from hydropress.report.bench import write_bench_report
from tiny import quick_allocation, quick_peak, tiny_benchmark


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "compare_allocations", quick_allocation)
        config = replace(tiny_benchmark(), groups=("mimo", "metrics"))
        run_reduce_benchmark(place, config, command="the command")
    return place


def test_the_record_is_complete_and_alone(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["bench.json", "run.json"]
    record = json.loads((folder / "bench.json").read_text())
    assert record["command"] == "the command"
    assert [claim["number"] for claim in record["claims"]] == [1, 2, 3, 4, 5, 6]
    assert {check["number"] for check in record["checks"]} == {1, 2, 3, 4, 5, 6, None}
    metrics = {case["case"]: case["metric"] for case in record["comparison"]}
    assert metrics == dict.fromkeys(
        ("s5-8-discrete", "s5-8-continuous", "lru-8", "s5-both", "s4d-lin-both"), "plain"
    ) | {
        "s4d-lin-odd-discrete": "plain",
        "s4d-lin-odd-continuous": "plain",
        "s4d-lin-horizon": "horizon",
        "s5-horizon": "horizon",
        "trained-spectrum": "spectrum",
        "s5-cross-spectrum": "spectrum",
        "lru-covariance": "covariance",
    }
    assert (record["order_two"]["channels"], len(record["order_two"]["h2"])) == (2, 2)
    assert [part["channels"] for part in record["memory"]] == [4, 4, 8]


def test_every_method_stands_beside_the_others(folder):
    record = json.loads((folder / "bench.json").read_text())
    for case in record["comparison"]:
        theirs = methods_for(case["time"]) if case["metric"] == "plain" else ()
        for order in {row["order"] for row in case["rows"]}:
            rows = [row for row in case["rows"] if row["order"] == order]
            names = [*METHODS_OF[case["metric"]], *(theirs if order else ())]
            assert [row["method"] for row in rows] == names
            h2, *others = [row["errors"][0] for row in rows]
            assert 0 < h2 < 1 + 1e-9
            assert h2 <= min(other for other in others if other is not None) * (1 + 1e-9)
            # Without a feedthrough to fit, order 0 leaves the whole system out.
            assert order > 0 or h2 == pytest.approx(1, rel=1e-12)
            for row in rows:
                assert (row.get("certificate") is not None) == (row["method"] in compare.ITERATIVE)
            certificate = rows[0]["certificate"]
            assert certificate["stationarity"] < 1e-6
            if case["metric"] in ("plain", "covariance"):
                assert certificate["lower_bound"] <= h2 * (1 + 1e-9)


def test_the_two_ways_of_a_layer_are_outputs_of_one_system(folder):
    record = json.loads((folder / "bench.json").read_text())
    sizes = {case["case"]: (case["inputs"], case["outputs"]) for case in record["comparison"]}
    assert sizes["s4d-lin-both"] == (1, 2)
    assert sizes["s5-both"] == (2, 4)


def test_the_same_seed_gives_the_same_errors(folder):
    again = [
        compare.compare(case, tiny_benchmark(), lambda share: None)["rows"]
        for case in cases.comparison_cases(tiny_benchmark())
    ]
    record = json.loads((folder / "bench.json").read_text())
    for first, second in zip(record["comparison"], again, strict=False):
        assert [row["errors"] for row in first["rows"]] == [row["errors"] for row in second]


def test_the_report_is_drawn_from_the_record(folder, tmp_path):
    (tmp_path / "bench.json").write_bytes((folder / "bench.json").read_bytes())
    page = write_bench_report(tmp_path).read_text()
    for check in json.loads((folder / "bench.json").read_text())["checks"]:
        assert check["name"] in page


def test_without_pymor_a_note_says_what_to_install(tmp_path, monkeypatch):
    for module in (cases, compare, run, speed):
        monkeypatch.setattr(module, "has_pymor", lambda: False)
    monkeypatch.setattr(run, "peak_of_process", quick_peak)
    monkeypatch.setattr(run, "compare_allocations", quick_allocation)
    record = run_reduce_benchmark(tmp_path, tiny_benchmark(), command="")
    assert "pip install" in record["left_out"][-1]
    methods = {row["method"] for case in record["comparison"] for row in case["rows"]}
    assert not methods & {*PYMOR_METHODS}
    assert "irka" not in record["speed"][0]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InvalidArgumentError, match="not empty"):
        run_reduce_benchmark(tmp_path, tiny_benchmark(), command="")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
