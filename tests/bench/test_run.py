"""The whole benchmark, tiny."""

import json

import pytest

from hydropress.bench import cases, compare, run, speed
from hydropress.bench.compare import METHODS, SCALAR_ONLY
from hydropress.bench.rivals import METHODS as PYMOR_METHODS
from hydropress.bench.run import run_reduce_benchmark
from hydropress.errors import InvalidArgumentError
from hydropress.report.bench import write_bench_report
from tiny import quick_peak, tiny_benchmark


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("bench")
    run_reduce_benchmark(place, tiny_benchmark(), command="the command")
    return place


def test_the_record_is_complete_and_alone(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["bench.json", "run.json"]
    record = json.loads((folder / "bench.json").read_text())
    assert record["command"] == "the command"
    assert len(record["checks"]) == 12
    names = {case["case"] for case in record["comparison"]}
    assert names == {"s5-8-discrete", "s5-8-continuous", "lru-8"}
    assert (record["order_two"]["channels"], len(record["order_two"]["h2"])) == (2, 2)


def test_every_method_stands_beside_the_others(folder):
    record = json.loads((folder / "bench.json").read_text())
    own = [name for name in METHODS if name not in SCALAR_ONLY]
    for case in record["comparison"]:
        rivals = PYMOR_METHODS if case["time"] == "continuous" else ()
        assert [row["method"] for row in case["rows"]] == [*own, *rivals]
        h2, *others = [row["errors"][0] for row in case["rows"]]
        assert 0 < h2 < 1
        assert h2 <= min(other for other in others if other is not None) * (1 + 1e-9)
        certificate = case["rows"][0]["certificate"]
        assert certificate["lower_bound"] <= h2 * (1 + 1e-9)
        assert certificate["stationarity"] < 1e-6


def test_the_same_seed_gives_the_same_errors(folder):
    again = [
        compare.compare(case, tiny_benchmark(), lambda share: None)["rows"]
        for case in cases.comparison_cases(tiny_benchmark())
    ]
    record = json.loads((folder / "bench.json").read_text())
    for first, second in zip(record["comparison"], again, strict=True):
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
