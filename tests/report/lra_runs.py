"""Runs of the Long Range Arena experiment, made up, and what is said of them."""

import random
import re
from html import unescape
from typing import Any

from plotly.offline import get_plotlyjs

from hydropress.report.lra_headline import headline
from hydropress.report.lra_sweep import sweeps

Run = dict[str, Any]


def run(method: str = "h2", order: int = 2, seed: int = 0, **changes: Any) -> Run:
    return {
        "task": "images",
        "recipe": "images-s4d",
        "seed": seed,
        "method": method,
        "order": order,
        "budget": 0.1,
        "calibrated": method == "h2",
        "allocation": "global",
        "ratio": order / 64,
        "ssm_parameters": 512 + 512 * order,
        "total_parameters": 35_210 + 512 * order,
        "accuracy_compressed": 0.5,
        "agreement_compressed": 0.55,
        "recovery": "finetune",
        "accuracy_original": 0.9,
        "accuracy_recovered": 0.8,
        "agreement_recovered": 0.85,
        "recovery_steps": 750,
        "training_steps": 7_496,
        "test_sequences": 10_000,
        "config": "3fa9c1d2e4b5a697",
        "versions": {"hydropress": "0.1.0", "torch": "2.9.1"},
    } | changes


def measured(seeds: int = 3) -> list[Run]:
    """A sweep of three methods, two orders and some seeds, with drawn accuracies."""
    generator = random.Random(7)
    rows = []
    for method in ("h2", "balanced", "scratch"):
        for order in (16, 2):
            for seed in range(seeds):
                drawn = {
                    key: round(generator.uniform(0.6, 0.9), 4)
                    for key in (
                        *("accuracy_compressed", "agreement_compressed"),
                        *("accuracy_recovered", "agreement_recovered"),
                    )
                }
                original = 0.9 + 0.002 * seed
                rows.append(run(method, order, seed, accuracy_original=original, **drawn))
    return rows


def own(page: str) -> str:
    """Drop plotly's own source from a page."""
    return page.replace(get_plotlyjs(), "")


def text(cell: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split())


def words(rows: list[Run]) -> tuple[str, str]:
    sentence, ranking = headline(sweeps(rows)[0])
    return " ".join(sentence.split()), " ".join(ranking.split())
