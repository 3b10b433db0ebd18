"""``hydropress report``."""

from pathlib import Path
from typing import Annotated

import typer

from hydropress.cli.console import emit, guarded, show
from hydropress.cli.options import Json


@guarded()
def report_command(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output of demo, compress or bench.")
    ],
    json: Json = False,
) -> None:
    """Draw report.html from saved results; nothing is computed again."""
    from hydropress.report.bench import RECORD, write_bench_report
    from hydropress.report.html import write_report
    from hydropress.report.lra import write_lra_report
    from hydropress.report.lra_rows import RUNS

    write = write_report
    if (directory / RECORD).is_file():
        write = write_bench_report
    elif (directory / RUNS).is_file():
        write = write_lra_report
    path = write(directory)
    if json:
        emit({"report": str(path)})
    else:
        show(f"{path}: open it in a browser; it needs no network")
