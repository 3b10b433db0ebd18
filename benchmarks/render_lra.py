"""Render the committed runs of hydropress bench lra as a page of the documentation.

python benchmarks/render_lra.py            # writes docs/lra.md from benchmarks/results/lra/*.jsonl
python benchmarks/render_lra.py --check    # exits with 1 if the page is not what would be written
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from page import make_parser, write_or_check

from hydropress.bench.lra.config import digest_of
from hydropress.data.tasks import find_task
from hydropress.errors import DataNotFoundError
from hydropress.evaluation.records import read_json
from hydropress.report.lra import markdown_tables
from hydropress.report.lra_rows import Row, read_rows

COMMAND = "python benchmarks/render_lra.py"
HEAD = f"""# Long Range Arena: reduce, then recover

This page is written by

    {COMMAND}

from the runs in `benchmarks/results/lra`, one JSON object a line as `hydropress bench lra` writes
them; do not edit it by hand. What a config's digest stands for is beside them, in `configs`:
recipe, kind of recovery, its rates, number of calibration sequences. The originals are in
`benchmarks/originals`.
"""
ORIGINALS = """## The originals

States are those of a channel, or of a layer where its channels share them; length is the greatest
of a sequence, and images are taken whole ([how long they are](data.md)). Accuracies are those of
the seeds in their order.

| recipe | layers × channels | states | length | batch | steps | accuracy, % |
| --- | --: | --: | --: | --: | --: | --: |
"""
CONFIGS = "configs"


def render_page(folder: Path) -> str:
    """Return the page of all runs in a folder."""
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise DataNotFoundError(
            f"{folder} holds no *.jsonl; required: the runs of at least one task; run hydropress "
            "bench lra and copy its results.jsonl there as <task>.jsonl"
        )
    rows = read_rows(*paths)
    configs: dict[str, dict[str, Any]] = {}
    for name in sorted({row["config"] for row in rows}):
        path = folder / CONFIGS / f"{name}.json"
        configs[name] = read_json(path) if path.is_file() else {}
        if digest_of(configs[name]) != name:
            raise DataNotFoundError(
                f"{path} is not the config of the runs that name it; required: the config.json "
                f"beside their rows; copy it there"
            )
    return f"{HEAD}\n{originals_table(rows, configs)}\n{markdown_tables(rows)}"


def originals_table(rows: Sequence[Row], configs: dict[str, dict[str, Any]]) -> str:
    """Return what the original of each config is, how it was trained and what it reaches."""
    lines = set()
    for name, config in configs.items():
        recipe, model = config["recipe"], config["recipe"]["model"]
        own = [row for row in rows if row["config"] == name]
        length = recipe["length"] or find_task(recipe["data"]).length
        accuracies = {row["seed"]: row["accuracy_original"] for row in own}
        cells = (
            own[0]["recipe"],
            f"{model['num_layers']} × {model['channels']}",
            str(model["state_size"]),
            f"{length:,}" if length else "whole",
            str(recipe["training"]["batch_size"]),
            f"{own[0]['training_steps']:,}",
            ", ".join(f"{100 * accuracies[seed]:.2f}" for seed in sorted(accuracies)),
        )
        lines.add(f"| {' | '.join(cells)} |\n")
    return ORIGINALS + "".join(sorted(lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, then write or check the page."""
    parser = make_parser(__doc__, "lra", "lra.md")
    write_or_check(render_page, COMMAND, parser, arguments)


if __name__ == "__main__":
    main()
