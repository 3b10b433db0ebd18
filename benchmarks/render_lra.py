"""Render the committed runs of hydropress bench lra as a page of the documentation.

python benchmarks/render_lra.py            # writes docs/lra.md from benchmarks/results/lra/*.jsonl
python benchmarks/render_lra.py --check    # exits with 1 if the page is not what would be written
"""

from collections.abc import Sequence
from pathlib import Path

from page import make_parser, write_or_check

from hydropress.bench.lra.config import digest_of
from hydropress.errors import DataNotFoundError
from hydropress.evaluation.records import read_json
from hydropress.report.lra import markdown_tables
from hydropress.report.lra_rows import read_rows

COMMAND = "python benchmarks/render_lra.py"
HEAD = f"""# Long Range Arena: reduce, then recover

This page is written by

    {COMMAND}

from the runs in `benchmarks/results/lra`, one JSON object a line as `hydropress bench lra` writes
them; do not edit it by hand. What a config's digest stands for is beside them, in `configs`:
recipe, kind of recovery, its rates, number of calibration sequences. The originals are in
`benchmarks/originals`.
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
    for name in sorted({row["config"] for row in rows}):
        path = folder / CONFIGS / f"{name}.json"
        if not path.is_file() or digest_of(read_json(path)) != name:
            raise DataNotFoundError(
                f"{path} is not the config of the runs that name it; required: the config.json "
                f"beside their rows; copy it there"
            )
    return f"{HEAD}\n{markdown_tables(rows)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, then write or check the page."""
    parser = make_parser(__doc__, "lra", "lra.md")
    write_or_check(render_page, COMMAND, parser, arguments)


if __name__ == "__main__":
    main()
