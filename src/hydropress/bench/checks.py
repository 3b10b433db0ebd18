"""What a run claims, each claim with its figures; worked out from the record alone."""

from hydropress.bench.banks import TRAINED
from hydropress.bench.check import Check, Row
from hydropress.bench.cost_checks import cost_checks
from hydropress.bench.optimality_checks import guards, optimality_checks

ALLOCATION_ORDERS, ALLOCATION_IMAGES = (16, 8, 4, 2), 2000
"""1/4, 1/8, 1/16 and 1/32 of the 64 states a channel of the shipped model, and its test images."""
GAIN, GAINS, LOSS = 1.0, 2, 0.3
"""Points of accuracy: to win at so many budgets at least, and the most to lose at any."""

CLAIMS = {
    1: "h2 is never worse than BT nor than IRKA, on every system and order",
    2: "Order 2 is the global optimum; random restarts do not improve on orders 4 and 8",
    3: "What is reported as converged is stationary",
    4: "Much faster than pyMOR's IRKA; time grows at most linearly, memory stays bounded",
    5: "Global allocation beats uniform at the same total of states",
    6: "Awkward systems: no NaN, no unstable result, no silent failure",
}
"""By number, in the words of a headline; the checks say exactly what is required."""

SUITES = "tests/reduction/test_awkward.py, test_optimality.py and test_path.py"


def make_checks(record: Row) -> list[Check]:
    """Return all checks of a record's sections, by claim; those of none at the end."""
    return [
        *optimality_checks(record),
        *cost_checks(record),
        _allocation(record["allocation"]),
        Check(
            6,
            "awkward-systems",
            "Hypothesis suites on clusters, tiny residues, poles at the boundary and at -1, order "
            "one and 10⁶ of dynamic range find nothing",
            f"not part of this run: {SUITES}; run make test",
            None,
        ),
        *guards(record),
    ]


def summarize(checks: list[Check]) -> list[Row]:
    """Return one row a claim: ``number``, ``claim``, ``passed`` and ``figures``.

    A claim fails with any of its checks, and passes if all of them do; in between ``passed`` is
    None: some were not measured.  ``measured`` and ``checks`` count them.
    """
    rows: list[Row] = []
    for number, claim in CLAIMS.items():
        own = [check for check in checks if check.number == number]
        verdicts = [check.passed for check in own]
        passed = False if False in verdicts else True if None not in verdicts else None
        rows.append(
            {
                "number": number,
                "claim": claim,
                "passed": passed,
                "measured": sum(verdict is not None for verdict in verdicts),
                "checks": len(own),
                "figures": [f"{check.name}: {check.figure}" for check in own],
            }
        )
    return rows


def _allocation(part: Row) -> Check:
    claim = (
        f"global against uniform allocation on the shipped model, nothing retrained: at least "
        f"{GAIN:g} point better at {GAINS} of 1/4, 1/8, 1/16 and 1/32, nowhere more than {LOSS:g} "
        "worse"
    )
    gains = [(gain["order"], gain["accuracy"]) for gain in part["gains"]]
    states = part["states_a_channel"]
    figure = ", ".join(f"1/{states // order}: {gain:+.2f}" for order, gain in gains)
    figure += f" points on {part['test_images']:,} images, calibrated on {part['samples']:,}"
    orders = {order for order, _ in gains}
    if part["model"] != TRAINED:
        return Check(5, "allocation", claim, f"{figure}, of another model: {part['model']}", None)
    if part["test_images"] < ALLOCATION_IMAGES or not orders >= set(ALLOCATION_ORDERS):
        return Check(5, "allocation", claim, f"{figure}; too few to judge", None)
    # Shares of 2,000 images, in points, carry the rounding of their difference.
    tidy = [round(gain, 9) for _, gain in gains]
    passed = sum(gain >= GAIN for gain in tidy) >= GAINS and min(tidy) >= -LOSS
    lost = [f"order {order}: {gain:+.2f} points" for order, gain in gains if round(gain, 9) < -LOSS]
    return Check(5, "allocation", claim, figure, passed, tuple(lost))
