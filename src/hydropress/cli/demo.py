"""``hydropress demo``."""

from pathlib import Path
from typing import Annotated

import typer

from hydropress.cli.console import Bar, emit, guarded, show
from hydropress.cli.options import Json, Out, Seed
from hydropress.cli.tables import results_table


@guarded()
def demo_command(
    out: Out = Path("hydropress-demo"),
    recovery_steps: Annotated[
        int | None,
        typer.Option("--recovery-steps", help="Updates to recover the smallest model; 48."),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Compress a shipped model by several methods, recover it, and draw a report."""
    from hydropress.demo import run_demo
    from hydropress.training.process import keep_freed_memory

    keep_freed_memory()
    with Bar("demo") as bar:
        rows = run_demo(out, seed=seed, recovery_steps=recovery_steps, progress=bar.update)
    if json:
        emit({"out": str(out), "report": str(out / "report.html"), "rows": rows})
        return
    show(
        results_table(rows, title="2,000 test images"),
        f"Report: {out / 'report.html'} (opens in a browser). Model: {out / 'model'}",
    )
