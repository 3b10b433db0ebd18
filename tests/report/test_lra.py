"""The report of the Long Range Arena experiment: right numbers, honest words, safe page."""

import json
import random
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from hydropress.report.lra import markdown_tables, render_lra
from report.lra_runs import Run, measured, own, run, text, words

HOSTILE = "</script><script>alert('x')</script><img src=http://evil.example/a.png>"


def written(values: list[float]) -> str:
    """Mean and sample standard deviation as NumPy has them."""
    return f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}"


def of(rows: list[Run], key: str, **wanted: Any) -> list[float]:
    return [row[key] for row in rows if all(row[name] == wanted[name] for name in wanted)]


def page_table(page: str, title: str) -> dict[str, list[str]]:
    """Return the cells of the table of that title, by the first cell of each line."""
    start = page.index("<table", page.index(f'aria-label="{title}'))
    table = page[start : page.index("</table>", start)]
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in lines]
    return {text(line[0]): [text(cell) for cell in line[1:]] for line in cells}


def markdown_table(page: str, title: str) -> dict[str, list[str]]:
    """Return the same of a Markdown table."""
    lines = page[page.index(f"### {title}") :].split("\n\n")[1].splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines]
    return {line[0]: [" ".join(cell.split()) for cell in line[1:]] for line in cells}


def figures(page: str) -> dict[str, Any]:
    found = re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])["figures"]


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("Accuracy before", "accuracy_compressed"),
        ("Accuracy after", "accuracy_recovered"),
        ("Agreement with the original before", "agreement_compressed"),
        ("Agreement with the original after", "agreement_recovered"),
    ],
)
def test_tables_hold_mean_and_sample_deviation_over_the_seeds(title: str, key: str):
    rows = measured()
    html, markdown = (
        page_table(render_lra(rows), title),
        markdown_table(markdown_tables(rows), title),
    )
    for label, method in (("H², calibrated", "h2"), ("Balanced truncation", "balanced")):
        expected = [written(of(rows, key, method=method, order=order)) for order in (16, 2)]
        assert html[label] == expected
        assert [cell.replace("**", "") for cell in markdown[label]] == expected
    assert html["Method"] == ["1/4 order 16 3 seeds", "1/32 order 2 3 seeds"]
    if title.startswith("Accuracy"):
        assert html["Original"] == [written([0.9, 0.902, 0.904])] * 2


def test_the_largest_mean_of_each_column_is_emphasised_and_no_other():
    rows = measured()
    table = markdown_table(markdown_tables(rows), "Accuracy after")
    methods = {"h2": "H², calibrated", "balanced": "Balanced truncation"}
    methods["scratch"] = "Training from scratch"
    for place, order in enumerate((16, 2)):
        means = {m: np.mean(of(rows, "accuracy_recovered", method=m, order=order)) for m in methods}
        winner = max(means, key=lambda method: means[method])
        bold = {label for label, cells in table.items() if "**" in cells[place]}
        assert bold == {methods[winner]}
    page = own(render_lra(rows))
    best = re.findall(r'<td class="best">(.*?)</td>', page, re.DOTALL)
    bold = re.findall(r"\*\*(\d[^*]+)\*\*", markdown_tables(rows))
    assert [text(cell) for cell in best] == [" ".join(cell.split()) for cell in bold]


def test_one_seed_has_no_deviation():
    page = render_lra([run(accuracy_compressed=0.6123)])
    assert page_table(page, "Accuracy before")["H², calibrated"] == ["61.23"]
    assert page_table(page, "Accuracy before")["Method"] == ["1/32 order 2 1 seed"]
    assert "error_y" not in figures(page)["0-before"]["data"][-1]
    assert "±" not in own(page)[: own(page).index("How to read this")]


def test_what_is_missing_is_a_dash_and_fewer_seeds_are_named():
    rows = [run("h2", order, seed) for order in (16, 2) for seed in (0, 1)]
    rows += [run("balanced", 16), run("scratch", 2, accuracy_compressed=0.1234)]
    rows += [run("last", 16, accuracy_recovered=None, agreement_recovered=None)]
    page = render_lra(rows)
    before, after = page_table(page, "Accuracy before"), page_table(page, "Accuracy after")
    assert before["Balanced truncation"] == ["50.00 1 seed", "–"]
    assert before["Training from scratch"] == ["–", "–"]
    assert after["Training from scratch"] == ["–", "80.00 1 seed"]
    assert after["LAST"] == ["–", "–"]
    assert "12.34" not in own(page)
    markdown = markdown_table(markdown_tables(rows), "Accuracy before")
    assert markdown["Balanced truncation"] == ["**50.00** (1 seed)", "–"]


def test_scratch_never_counts_before_recovery():
    rows = [run("h2"), run("balanced", accuracy_compressed=0.4)]
    rows += [run("scratch", accuracy_compressed=0.99, accuracy_recovered=0.1)]
    assert words(rows)[1].startswith("Before recovery calibrated H² is first at every order.")
    names = {trace.get("name") for trace in figures(render_lra(rows))["0-before"]["data"]}
    assert names == {None, "H², calibrated", "Balanced truncation"}


def test_the_main_tables_use_the_smallest_budget_of_all_methods():
    rows = [
        run("h2", budget=budget, accuracy_recovered=accuracy, recovery_steps=steps)
        for budget, accuracy, steps in ((0.05, 0.7, 375), (0.2, 0.8, 1499), (1.0, 0.89, 7496))
    ]
    rows += [
        run("scratch", budget=budget, accuracy_recovered=accuracy)
        for budget, accuracy in ((0.2, 0.6), (1.0, 0.65))
    ]
    page = render_lra(rows)
    after = page_table(page, "Accuracy after recovery by 20\u00a0% of the training steps")
    assert after["H², calibrated"] == ["80.00"]
    assert after["Training from scratch"] == ["60.00"]
    assert page_table(page, "Accuracy before")["H², calibrated"] == ["50.00"]
    budgets = page_table(page, "Accuracy at 1/32")
    assert budgets["Method"][0] == "5 % 375 steps 1 seed"
    assert budgets["H², calibrated"] == ["70.00", "80.00", "89.00"]
    assert budgets["Training from scratch"] == ["–", "60.00", "65.00"]
    assert budgets["Original"] == ["90.00"] * 3
    figure = figures(page)["0-budget-2"]
    lines = {trace["name"]: trace for trace in figure["data"] if "name" in trace}
    assert lines["H², calibrated"]["x"] == [0.05, 0.2, 1.0]
    assert lines["H², calibrated"]["y"] == pytest.approx([70, 80, 89])
    assert figure["layout"]["xaxis"]["ticktext"] == ["5\u00a0%", "20\u00a0%", "100\u00a0%"]
    assert "No budget is one of all methods" not in page


def test_it_says_so_if_no_budget_is_shared():
    rows = [run("h2", budget=0.1), run("modal", budget=0.1), run("scratch", budget=1.0)]
    for page in (render_lra(rows), markdown_tables(rows)):
        assert "No budget is one of all methods; 10\u00a0% is the smallest" in page
    after = page_table(render_lra(rows), "Accuracy after recovery by 10\u00a0%")
    assert after["Training from scratch"] == ["–"]


def test_without_several_budgets_there_is_no_table_of_them():
    rows = measured()
    assert set(figures(render_lra(rows))) == {"0-before", "0-after"}
    assert "by budget of recovery" not in markdown_tables(rows)


def test_settings_of_one_method_are_lines_of_their_own():
    rows = [
        run("h2", allocation=allocation, calibrated=calibrated, accuracy_compressed=accuracy)
        for allocation, calibrated, accuracy in (
            *(("global", True, 0.8), ("uniform", True, 0.7)),
            *(("global", False, 0.6),),
        )
    ]
    page = render_lra(rows)
    table = page_table(page, "Accuracy before")
    assert table["H², calibrated, global allocation"] == ["80.00"]
    assert table["H², calibrated, uniform allocation"] == ["70.00"]
    assert table["H²"] == ["60.00"]
    assert len(set(re.findall(r'data-series="([^"]+)"', page))) == 3


def test_an_allocation_that_the_method_chose_is_no_line_of_its_own():
    rows = [
        run("h2", 16, allocation="uniform", accuracy_compressed=0.8),
        run("h2", 2, allocation="global", accuracy_compressed=0.7),
        run("balanced", 2, allocation="uniform", accuracy_compressed=0.6),
    ]
    table = markdown_table(markdown_tables(rows), "Accuracy before")
    assert [text(cell).strip("*") for cell in table["H², calibrated"]] == ["80.00", "70.00"]


def test_sizes_are_those_of_the_runs():
    rows = [
        *(run("h2", 2, seed, ssm_parameters=1534 + 2 * seed) for seed in (0, 1)),
        *(run("modal", 2, seed, ssm_parameters=1536) for seed in (0, 1)),
        run("last", 2, ssm_parameters=1536),
        run("hippo", 2, ssm_parameters=1500, total_parameters=36_198),
        run("h2", 16),
        run("modal", 16),
    ]
    page = markdown_tables(rows).partition("### Sizes")[2]
    assert [line for line in page.splitlines() if line.startswith("|")][2:] == [
        "| all | 1/4 | 16 | 8,704 | 43,402 |",
        "| H², calibrated | 1/32 | 2 | 1,534–1,536 | 36,234 |",
        "| Modal truncation and LAST | 1/32 | 2 | 1,536 | 36,234 |",
        "| Fresh HiPPO start | 1/32 | 2 | 1,500 | 36,198 |",
    ]


def test_figures_are_valid_and_hold_the_numbers():
    rows = measured()
    drawn = figures(render_lra(rows))
    for figure in drawn.values():
        go.Figure(json.loads(re.sub(r"var\(--[a-z0-9-]+\)", "#000", json.dumps(figure))))
    figure = drawn["0-after"]
    lines = {trace["name"]: trace for trace in figure["data"] if "name" in trace}
    for label, method in (("H², calibrated", "h2"), ("Training from scratch", "scratch")):
        held = [
            100 * np.array(of(rows, "accuracy_recovered", method=method, order=order))
            for order in (2, 16)
        ]
        assert lines[label]["x"] == [2 / 64, 16 / 64]
        assert lines[label]["y"] == pytest.approx([one.mean() for one in held])
        spread = [one.std(ddof=1) for one in held]
        assert lines[label]["error_y"]["array"] == pytest.approx(spread)
    level = figure["data"][0]
    assert level["y"] == pytest.approx([90.2, 90.2])
    assert figure["layout"]["annotations"][0]["text"] == "original 90.2\u00a0%"
    low, high = figure["layout"]["yaxis"]["range"]
    for trace in figure["data"]:
        assert all(low < height < high for height in trace["y"])
    assert figure["layout"]["xaxis"]["ticktext"] == ["1/32", "1/4"]


def test_every_task_has_a_section():
    rows = measured()
    rows += [row | {"task": "listops", "recipe": "listops-s4d"} for row in measured()]
    rows += [row | {"recipe": "images-dss"} for row in measured()]
    page = own(render_lra(rows))
    names = ["images (images-dss)", "images (images-s4d)", "listops"]
    assert re.findall(r"<h2>(.*?)</h2>", page)[:-1] == names
    assert f"3 tasks, {len(rows)} runs" in page
    assert [line[3:] for line in markdown_tables(rows).splitlines() if line.startswith("## ")] == [
        *names,
        "How to read this",
    ]


def test_the_page_says_how_it_was_made():
    rows = [run(), run(seed=4, config="f" * 16, versions={"hydropress": "0.1.0", "torch": "2.9.2"})]
    for page in (own(render_lra(rows)), markdown_tables(rows)):
        for said in ("images-s4d", "3fa9c1d2e4b5 (1)", "2,", "7,496", "torch 2.9.1 and 2.9.2"):
            assert said in page
        assert "2\u00a0seeds (0, 4)" in text(page) or "2\u00a0seeds (0, 4)" in page
        assert "layers&#39; outputs and of the logits" in page or "layers' outputs" in page


def test_the_page_needs_no_network_and_hostile_text_stays_text():
    class Links(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: set[str | None] = set()

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found |= {value for name, value in attrs if name in ("src", "href")}

    hostile = run(HOSTILE, task=HOSTILE, recipe=HOSTILE, allocation=HOSTILE, config=HOSTILE)
    page = own(render_lra([hostile | {"versions": {HOSTILE: HOSTILE}}]))
    assert page.count("<script") == 3
    assert "<img" not in page
    links = Links()
    links.feed(page)
    assert links.found == {"data:,"}  # the icon
    assert "default-src 'none'" in page
    assert "<script" not in markdown_tables([hostile])


def test_the_order_of_the_rows_does_not_matter():
    rows = measured() + [run("aire", 2, seed) for seed in (2, 0)] + [run(budget=1.0)]
    mixed = rows.copy()
    random.Random(1).shuffle(mixed)
    assert markdown_tables(mixed) == markdown_tables(rows)
    assert render_lra(mixed) == render_lra(rows)


def test_markdown_of_a_small_case():
    rows = [
        run("h2", 16, 0, accuracy_compressed=0.88, accuracy_recovered=0.9),
        run("h2", 16, 1, accuracy_compressed=0.86, accuracy_recovered=0.9),
        run("modal", 16, 0, accuracy_compressed=0.5, accuracy_recovered=0.85),
    ]
    page = markdown_tables(rows).replace("\u00a0", " ")
    assert page.startswith(
        """\
## images

**At 1/4 of the states, after recovery by 10 % of the training steps, calibrated H² is level with \
the original (0.00 ± 0.00 points; mean over 2 seeds).**

Before recovery calibrated H² is first at every order. At 1/4 this is over the seeds that all \
methods have. After recovery calibrated H² is first at every order. At 1/4 this is over the seeds \
that all methods have.

### Accuracy before recovery, %

| method | 1/4, order 16, 2 seeds |
| --- | --: |
| Original | 90.00 ± 0.00 |
| H², calibrated | **87.00 ± 1.41** |
| Modal truncation | 50.00 (1 seed) |

### Accuracy after recovery by 10 % of the training steps, %

| method | 1/4, order 16, 2 seeds |
| --- | --: |
| Original | 90.00 ± 0.00 |
| H², calibrated | **90.00 ± 0.00** |
| Modal truncation | 85.00 (1 seed) |

### Agreement with the original before recovery, %

| method | 1/4, order 16, 2 seeds |
| --- | --: |
| H², calibrated | **55.00 ± 0.00** |
| Modal truncation | **55.00** (1 seed) |

### Agreement with the original after recovery by 10 % of the training steps, %

| method | 1/4, order 16, 2 seeds |
| --- | --: |
| H², calibrated | **85.00 ± 0.00** |
| Modal truncation | **85.00** (1 seed) |

### Sizes

| methods | states | order | SSM parameters | all parameters |
| --- | --: | --: | --: | --: |
| all | 1/4 | 16 | 8,704 | 43,402 |

- Recipe: images-s4d
- Runs: 3, 2 seeds (0, 1)
- Allocation: global: H², calibrated and Modal truncation
- Original: trained for 7,496 steps
- Test sequences: 10,000
- Configs (runs): 3fa9c1d2e4b5 (3)

## How to read this
"""
    )
    assert page.endswith("\n\nVersions: hydropress 0.1.0, torch 2.9.1.\n")


def test_the_page_says_who_spread_the_states_how():
    rows = [
        run("h2", 16, allocation="global"),
        run("h2", 2, allocation="uniform"),
        run("balanced", 16, allocation="uniform"),
        run("balanced", 2, allocation="uniform"),
    ]
    wanted = "global: H², calibrated; uniform: H², calibrated and Balanced truncation"
    for page in (text(own(render_lra(rows))), " ".join(markdown_tables(rows).split())):
        assert f"Allocation{':' if '##' in page else ''} {wanted}" in page


def test_what_has_to_be_said_of_the_data_is_said_once():
    note = "from JPEG files, slightly lossy"
    rows = [run("h2", 16, note=note), run("h2", 2, note=note)]
    for page in (text(own(render_lra(rows))), " ".join(markdown_tables(rows).split())):
        assert page.count(note) == 1


def test_the_original_beside_a_column_is_that_of_its_seeds():
    rows = [
        run("h2", 2, seed, budget=budget, accuracy_original=0.9 + 0.02 * seed)
        for seed, budget in ((0, 0.1), (1, 0.1), (1, 0.5))
    ]
    title = "Accuracy at 1/32 (order 2) by budget"
    wanted = [written([0.9, 0.92]), "92.00"]
    assert page_table(render_lra(rows), title)["Original"] == wanted
    found = markdown_table(markdown_tables(rows).replace("\u00a0", " "), title)
    assert found["Original"] == wanted


def test_the_curve_by_budget_is_of_seeds_that_have_every_budget():
    found = {(0, 0.1): 0.8, (1, 0.1): 0.7, (1, 0.5): 0.85}
    rows = [
        run(seed=seed, budget=budget, accuracy_original=0.9 + 0.02 * seed, accuracy_recovered=after)
        for (seed, budget), after in found.items()
    ]
    original, line = figures(render_lra(rows))["0-budget-2"]["data"]
    assert original["y"] == pytest.approx([92.0] * len(original["y"]))
    assert line["y"] == pytest.approx([70.0, 85.0])
    # Where no seed has them all, every one is drawn.
    _, line = figures(render_lra(rows[:1] + rows[2:]))["0-budget-2"]["data"]
    assert line["y"] == pytest.approx([80.0, 85.0])
