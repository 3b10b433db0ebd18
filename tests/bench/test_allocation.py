"""One total spent two ways, on a model that takes seconds."""

import pytest

from hydropress.bench.allocation import UNTRAINED, compare_allocations


@pytest.fixture(scope="module")
def result():
    shares: list[float] = []
    found = compare_allocations(8, (4, 2), 20, 0, shares.append, model=UNTRAINED)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    return found


def test_both_spend_the_same_total(result):
    assert [row["asked"] for row in result["rows"]] == ["uniform", "global"] * 2
    # Two layers of four channels.
    assert [row["states"] for row in result["rows"]] == [32, 32, 16, 16]
    for row in result["rows"]:
        assert sum(row["by_layer"]) == pytest.approx(row["states"] / 4)
    assert result["states_a_channel"] == 16


def test_gains_are_differences_in_points(result):
    for gain, uniform, spent in zip(
        result["gains"], result["rows"][::2], result["rows"][1::2], strict=True
    ):
        for name in ("accuracy", "agreement"):
            assert gain[name] == pytest.approx(100 * (spent[name] - uniform[name]))
            # Shares of 20 images.
            assert 20 * spent[name] == pytest.approx(round(20 * spent[name]))
        assert gain["states"] == uniform["states"]
        assert spent["kl"] >= 0
