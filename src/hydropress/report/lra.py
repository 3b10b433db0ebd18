"""The report of ``hydropress bench lra``: one HTML page that needs no network, or Markdown."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from hydropress.atomic import write_atomically
from hydropress.report.html import REPORT, render_page
from hydropress.report.lra_figures import budget_figure, share_figure
from hydropress.report.lra_headline import fact, headline, listed
from hydropress.report.lra_rows import RUNS, Row, check_rows, read_rows
from hydropress.report.lra_sweep import Sweep, allocations, sweeps
from hydropress.report.lra_tables import (
    Cell,
    Size,
    Table,
    budget_tables,
    budget_text,
    main_tables,
    seeds_text,
    sizes,
    span,
)

TERMS = (
    (
        "Accuracy",
        "On the test sequences: mean ± sample standard deviation over the seeds, each with an "
        "original of its own; of one seed no deviation is known. Bold: the largest mean of its "
        "column, over the seeds that all of the column have.",
    ),
    (
        "Agreement",
        "The share of test sequences on which the model decides as the original does, right or "
        "wrong.",
    ),
    (
        "Calibrated",
        "The reduction itself looks at unlabelled calibration sequences: its error is weighted by "
        "what each layer really sees. The other methods know the systems only.",
    ),
    (
        "Allocation",
        "Global: at the same total, states are spread over channels and layers to where they "
        "count. Uniform: every channel is given the same number, as balanced and modal truncation "
        "are published. Calibrated H² takes whichever did better on held-out calibration "
        "sequences.",
    ),
    (
        "Matched means",
        "All reducers, calibrated or not, had the means of their layers' outputs and of the logits "
        "matched on the same calibration data, so none gains or loses by a constant offset.",
    ),
    (
        "Fresh HiPPO start (hippo)",
        "The same network with SSMs of that order freshly drawn and everything else kept: what the "
        "trained SSMs are worth as a start.",
    ),
    (
        "Training from scratch (scratch)",
        "The small network trained from nothing for the same share of the training steps. Before "
        "that it has nothing to show.",
    ),
    (
        "Recovery",
        "Training of the compressed model for a share of the steps that the original was trained "
        "for.",
    ),
)
SHOWN_CONFIGS = 6
DIGEST = 12
"""Characters of a config's digest that are shown."""


def render_lra(rows: Sequence[Row]) -> str:
    """Render the runs of an experiment as one self-contained HTML page.

    Parameters
    ----------
    rows
        What ``hydropress bench lra`` wrote, one row a run, of one task or several.

    Returns
    -------
    str
        The page, plotly's script included; a content security policy forbids it any request.

    Raises
    ------
    FileFormatError
        If a row is no run, or if a run occurs twice.
    """
    found = sweeps(check_rows(rows))
    tasks = [_task(sweep, _name(sweep, found)) for sweep in found]
    payload = {
        f"{index}-{name}": figure
        for index, task in enumerate(tasks)
        for name, figure in task["figures"].items()
    }
    return render_page(
        "lra.html.j2",
        {"figures": payload},
        tasks=tasks,
        title=_title(found, len(rows)),
        facts=[fact(sweep) for sweep in found],
        versions=_versions(rows),
        version=_distinct(rows, "hydropress"),
        terms=TERMS,
    )


def write_lra_report(folder: Path) -> Path:
    """Render the runs saved in a folder, beside them.

    Parameters
    ----------
    folder
        Holds ``results.jsonl``, one run a line.

    Returns
    -------
    Path
        ``report.html`` in the same folder, written in one step.

    Raises
    ------
    DataNotFoundError
        If the runs are missing.
    FileFormatError
        If a line is no run; the message names it.
    """
    page = Path(folder) / REPORT
    text = render_lra(read_rows(Path(folder) / RUNS))
    write_atomically(page, text)
    return page


def markdown_tables(rows: Sequence[Row]) -> str:
    """Write the tables of an experiment in Markdown.

    Parameters
    ----------
    rows
        What ``hydropress bench lra`` wrote.

    Returns
    -------
    str
        A section for each task, then the meaning of the terms.  The order of the rows does not
        matter.

    Raises
    ------
    FileFormatError
        If a row is no run, or if a run occurs twice.
    """
    parts: list[str] = []
    found = sweeps(check_rows(rows))
    for sweep in found:
        sentence, ranking = headline(sweep)
        parts += [f"## {_plain(_name(sweep, found))}", f"**{_plain(sentence)}.**"]
        if ranking:
            parts.append(_plain(ranking))
        if not sweep.shared:
            parts.append(_plain(_unshared(sweep)))
        tables = [
            *main_tables(sweep),
            *budget_tables(sweep).values(),
            *main_tables(sweep, "agreement"),
        ]
        for table in tables:
            parts += [f"### {_plain(table.title)}", _markdown(table)]
        parts += ["### Sizes", _markdown_sizes(sweep)]
        parts.append("\n".join(f"- {name}: {_plain(text)}" for name, text in _making(sweep)))
    parts.append("## How to read this")
    parts.append("\n".join(f"- **{_plain(name)}**: {_plain(text)}" for name, text in TERMS))
    parts.append(f"Versions: {_plain(_versions(rows))}.")
    return "\n\n".join(parts) + "\n"


def _task(sweep: Sweep, name: str) -> dict[str, Any]:
    """Gather what the page shows of one sweep."""
    sentence, ranking = headline(sweep)
    budgets = budget_tables(sweep)
    figures = {"before": share_figure(sweep, False)}
    if sweep.budget is not None:
        figures["after"] = share_figure(sweep, True)
    figures |= {f"budget-{order}": budget_figure(sweep, order) for order in budgets}
    return {
        "name": name,
        "headline": sentence,
        "ranking": ranking,
        "unshared": "" if sweep.shared else _unshared(sweep),
        "budget": budget_text(sweep.budget),
        "legend": list(sweep.styles.values()),
        "tables": main_tables(sweep),
        "agreement": main_tables(sweep, "agreement"),
        "budgets": budgets,
        "sizes": [(_of(size), size) for size in sizes(sweep)],
        "making": _making(sweep),
        "figures": figures,
    }


def _title(found: Sequence[Sweep], runs: int) -> str:
    """Say how much there is, or of a single task what came out."""
    if len(found) == 1:
        return headline(found[0])[0]
    return f"{len(found)} tasks, {runs:,} runs"


def _name(sweep: Sweep, found: Iterable[Sweep]) -> str:
    """Return a task's name, with the recipe if it has several."""
    several = sum(other.task == sweep.task for other in found) > 1
    return f"{sweep.task} ({sweep.recipe})" if several else sweep.task


def _unshared(sweep: Sweep) -> str:
    return (
        f"No budget is one of all methods; {budget_text(sweep.budget)} is the smallest of those "
        "that most of them have."
    )


def _making(sweep: Sweep) -> list[tuple[str, str]]:
    """Say how a sweep was made."""
    rows = sweep.rows
    seeds = sorted({row["seed"] for row in rows})
    configs = Counter(row["config"][:DIGEST] for row in rows)
    shown = [f"{digest} ({runs})" for digest, runs in sorted(configs.items())[:SHOWN_CONFIGS]]
    if len(configs) > SHOWN_CONFIGS:
        shown.append(f"{len(configs) - SHOWN_CONFIGS} more")
    notes = sorted({row["note"] for row in rows if row.get("note")})
    return [
        ("Recipe", sweep.recipe),
        *(("Data", note) for note in notes),
        ("Runs", f"{len(rows):,}, {seeds_text(len(seeds))} ({', '.join(map(str, seeds))})"),
        ("Allocation", _allocations(sweep)),
        ("Original", f"trained for {span(row['training_steps'] for row in rows)} steps"),
        ("Test sequences", span(row["test_sequences"] for row in rows)),
        ("Configs (runs)", ", ".join(shown)),
    ]


def _allocations(sweep: Sweep) -> str:
    """Say which methods spread the states how."""
    found = allocations(sweep).items()
    return "; ".join(f"{name}: {listed(methods)}" for name, methods in found)


def _versions(rows: Iterable[Row]) -> str:
    listing = list(rows)
    names = dict.fromkeys(name for row in listing for name in sorted(row["versions"]))
    return ", ".join(f"{name} {_distinct(listing, name)}" for name in sorted(names))


def _distinct(rows: Iterable[Row], name: str) -> str:
    """Return the version of something; of runs by several versions, all of them."""
    found = sorted({row["versions"][name] for row in rows if name in row["versions"]})
    return listed(found) if found else ""


def _markdown(table: Table) -> str:
    heads = ["method", *(", ".join(head) for head in table.heads)]
    lines = [heads, ["---", *("--:" for _ in table.heads)]]
    lines += [[style.label, *map(_markdown_cell, cells)] for style, cells in table.lines]
    return _markdown_lines(lines)


def _markdown_cell(cell: Cell) -> str:
    text = " ".join(filter(None, (cell.mean, cell.deviation)))
    text = f"**{text}**" if cell.best else text
    return f"{text} ({cell.seeds})" if cell.seeds else text


def _markdown_sizes(sweep: Sweep) -> str:
    heads = ["methods", "states", "order", "SSM parameters", "all parameters"]
    lines = [
        [_of(size), size.states, size.order, size.ssm_parameters, size.total_parameters]
        for size in sizes(sweep)
    ]
    return _markdown_lines([heads, ["---", *["--:"] * 4], *lines])


def _of(size: Size) -> str:
    """Say which methods have a size."""
    return listed(size.methods) if size.methods else "all"


def _markdown_lines(lines: Iterable[Sequence[str]]) -> str:
    rows = list(lines)
    written = [[_plain(cell) for cell in rows[0]], rows[1]]
    written += [[_plain(row[0]), *row[1:]] for row in rows[2:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in written)


def _plain(text: str) -> str:
    """Write text so that Markdown shows it as it is, on one line."""
    marked = escape(" ".join(text.splitlines()), quote=False)
    for character in "\\|`*_[]":
        marked = marked.replace(character, f"\\{character}")
    return marked
