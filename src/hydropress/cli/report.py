"""``hydropress report``."""

from pathlib import Path
from typing import Annotated

import typer

from hydropress.cli.console import emit, guarded, show
from hydropress.cli.options import Json


@guarded()
def report_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Output of demo or compress.")],
    json: Json = False,
) -> None:
    """Draw report.html from saved results; nothing is computed again."""
    from hydropress.report.html import write_report

    path = write_report(directory)
    if json:
        emit({"report": str(path)})
    else:
        show(f"{path}: open it in a browser; it needs no network")
