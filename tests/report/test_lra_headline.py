"""What the runs of a task say in words: how far from the original, and which method is first."""

import re

import numpy as np
import pytest

from hydropress.report.lra import markdown_tables, render_lra
from report.lra_runs import own, run, text, words


def test_the_headline_is_the_difference_seed_by_seed():
    rows = [
        run(seed=seed, accuracy_original=original, accuracy_recovered=recovered)
        for seed, (original, recovered) in enumerate([(0.90, 0.89), (0.92, 0.914), (0.91, 0.905)])
    ]
    differences = [100 * (0.90 - 0.89), 100 * (0.92 - 0.914), 100 * (0.91 - 0.905)]
    expected = f"{np.mean(differences):.2f} ± {np.std(differences, ddof=1):.2f} points below"
    assert words([run(order=16), *rows])[0] == (
        "At 1/32 of the states, after recovery by 10 % of the training steps, calibrated H² is "
        f"{expected} the original (mean over 3 seeds)"
    )


@pytest.mark.parametrize(
    ("recovered", "expected"),
    [
        (0.9123, "1.23 points above the original (1 seed)"),
        (0.9, "level with the original (0.00 points; 1 seed)"),
        (None, "40.00 points below the original (1 seed)"),
    ],
)
def test_the_headline_says_on_which_side(recovered: float | None, expected: str):
    sentence = words([run(accuracy_recovered=recovered)])[0]
    assert sentence.endswith(f"calibrated H² is {expected}")
    assert ("without recovery" in sentence) == (recovered is None)


def test_the_headline_says_what_more_recovery_brings_up_to_half_the_training():
    budgets = {0.1: 0.89, 0.25: 0.895, 0.5: 0.898, 1.0: 0.91}
    rows = [run(budget=budget, accuracy_recovered=found) for budget, found in budgets.items()]
    assert words(rows)[0].endswith(
        "calibrated H² is 1.00 points below the original (1 seed); "
        "by 50 %, 0.20 points below the original (1 seed)"
    )
    # What others were recovered by is not ours.
    rows[2] = run("balanced", budget=0.5, accuracy_recovered=0.898)
    assert "; by 25 %, 0.50 points below" in words(rows)[0]


def test_words_name_whoever_is_ahead_of_h2():
    rows = [
        run("h2", 16, accuracy_compressed=0.7, accuracy_recovered=0.88),
        run("balanced", 16, accuracy_compressed=0.6, accuracy_recovered=0.8842),
        run("h2", 2, accuracy_compressed=0.4, accuracy_recovered=0.85),
        run("balanced", 2, accuracy_compressed=0.45, accuracy_recovered=0.84),
        run("hippo", 2, accuracy_compressed=0.1, accuracy_recovered=0.86),
    ]
    assert words(rows)[1] == (
        "Before recovery calibrated H² is first at 1/4; at 1/32 balanced truncation is, "
        "5.00 points ahead. After recovery calibrated H² is first at no order: at 1/4 balanced "
        "truncation is, 0.42 points ahead; at 1/32 fresh HiPPO start is, 1.00 points ahead."
    )
    for page in (text(own(render_lra(rows))), " ".join(markdown_tables(rows).split())):
        assert words(rows)[1] in page


def test_words_where_h2_is_alone_ahead_or_not_alone():
    rows = [run("h2", order, accuracy_recovered=0.8) for order in (16, 2)]
    rows += [
        run("modal", order, accuracy_compressed=0.3, accuracy_recovered=0.7) for order in (16, 2)
    ]
    assert words(rows)[1] == (
        "Before recovery calibrated H² is first at every order. "
        "After recovery calibrated H² is first at every order."
    )
    rows[-1]["accuracy_recovered"] = 0.8
    assert words(rows)[1].endswith(
        "first at 1/4; at 1/32 it shares the first place with modal truncation."
    )
    rows = [row for row in rows if (row["method"], row["order"]) != ("modal", 16)]
    assert "After recovery calibrated H² is not first: at 1/32 it shares" in words(rows)[1]


def test_no_first_place_is_claimed_without_a_rival():
    rows = [run("h2", 16), run("h2", 2), run("balanced", 2, accuracy_compressed=0.3)]
    assert "Before recovery calibrated H² is first at 1/32." in words(rows)[1]
    assert words([run()])[1] == ""


def test_a_lead_within_the_spread_is_called_so():
    spread = [0.70, 0.80]
    rows = [run("h2", seed=seed, accuracy_compressed=spread[seed]) for seed in (0, 1)]
    rows += [run("balanced", seed=seed, accuracy_compressed=0.74) for seed in (0, 1)]
    doubt = "At 1/32 the lead is within one standard deviation over the seeds."
    assert doubt in words(rows)[1]
    for row in rows[2:]:
        row["accuracy_compressed"] = 0.6
    assert doubt not in words(rows)[1].split("After recovery")[0]


def test_the_same_lead_with_each_original_is_no_doubtful_one():
    """Originals of different seeds differ more than the methods do."""
    rows = [run("h2", seed=seed, accuracy_compressed=0.7 + seed / 10) for seed in (0, 1)]
    rows += [run("balanced", seed=seed, accuracy_compressed=0.69 + seed / 10) for seed in (0, 1)]
    before = words(rows)[1].split("After recovery")[0]
    assert "calibrated H² is first" in before
    assert "standard deviation" not in before


def test_methods_are_compared_over_the_seeds_that_all_have():
    """An interrupted sweep: of the second seed, whose original is worse, H² alone is there."""
    rows = [
        run("h2", seed=0, accuracy_compressed=0.80, accuracy_recovered=0.84),
        run("h2", seed=1, accuracy_compressed=0.60, accuracy_recovered=0.64),
        run("balanced", seed=0, accuracy_compressed=0.75, accuracy_recovered=0.85),
    ]
    over = "At 1/32 this is over the seeds that all methods have."
    assert words(rows)[1] == (
        f"Before recovery calibrated H² is first at every order. {over} After recovery calibrated "
        f"H² is not first: at 1/32 balanced truncation is, 1.00 points ahead. {over}"
    )
    tables = markdown_tables(rows).split("### Agreement")[0].replace("\xa0", " ")
    assert re.findall(r"\| \*\*(.*?)\*\*", tables) == ["70.00 ± 14.14", "85.00"]
    rows[2]["seed"] = 2
    assert words(rows)[1] == ""
    rows.append(run("balanced", seed=1, accuracy_compressed=0.5, accuracy_recovered=0.6))
    assert "After recovery calibrated H² is first at every order." in words(rows)[1]


def test_without_h2_the_words_are_about_the_best():
    rows = [run("modal", accuracy_recovered=0.7), run("balanced", accuracy_recovered=0.75)]
    sentence, ranking = words(rows)
    assert "balanced truncation is 15.00 points below" in sentence
    assert "After recovery balanced truncation is first at every order." in ranking


def test_the_facts_name_the_method_and_both_accuracies():
    rows = [row | {"task": "listops"} for row in (run(), run("modal", accuracy_recovered=0.85))]
    rows.append(run("last", 16, accuracy_recovered=None, agreement_recovered=None))
    facts = re.findall(r"<dt>(.*?)</dt><dd><s>(.*?)</s>(.*?)</dd>", own(render_lra(rows)))
    assert [[text(part) for part in fact] for fact in facts] == [
        ["images, LAST at 1/4, not recovered", "90.0 % →", "50.0 %"],
        ["listops, calibrated H² at 1/32", "90.0 % →", "80.0 %"],
    ]


def test_the_fact_sets_the_original_of_the_same_seeds_beside_the_reduced_model():
    rows = [
        run("h2", 16, 0, accuracy_original=0.9),
        run("h2", 16, 1, accuracy_original=0.7),
        run("h2", 2, 0, accuracy_original=0.9, accuracy_recovered=0.89),
    ]
    page = own(render_lra(rows))
    assert [text(part) for part in re.findall(r"<dd>(<s>.*?)</dd>", page)] == ["90.0 % → 89.0 %"]
