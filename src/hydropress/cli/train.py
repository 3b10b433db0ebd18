"""``hydropress train``."""

from pathlib import Path
from typing import Annotated

import typer

from hydropress.cli.console import CONTINUE, Bar, emit, guarded, percent, say, show
from hydropress.cli.options import (
    Accelerator,
    Devices,
    Json,
    Logs,
    Nodes,
    Out,
    Precision,
    Threads,
)

STOPPING = "stopping after this step; press Ctrl-C again to stop at once"


@guarded(CONTINUE)
def train_command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or a YAML file.")
    ],
    out: Out,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder of the full data; of Fashion-MNIST Debian's by default."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the recipe's own.")] = None,
    devices: Devices = 1,
    nodes: Nodes = 1,
    accelerator: Accelerator = "auto",
    precision: Precision = "32-true",
    logs: Logs = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train a model from nothing. Can be interrupted and continued, to the same weights."""
    from hydropress.training.hardware import Hardware, is_first_process
    from hydropress.training.interrupts import DeferredInterrupt
    from hydropress.training.process import keep_freed_memory, use_threads
    from hydropress.training.recipes import load_recipe
    from hydropress.training.train import train_recipe

    keep_freed_memory()
    use_threads(threads)
    with Bar("train") as bar, DeferredInterrupt(lambda: say(STOPPING)) as interrupt:
        run = train_recipe(
            load_recipe(recipe, seed=seed),
            out,
            data,
            hardware=Hardware.chosen(accelerator, devices, nodes, precision, logs or ()),
            progress=bar.loss,
            stop=interrupt.stop,
        )
    if not is_first_process():
        return
    if json:
        emit({"out": str(out), "model": str(out / "model"), **run.to_dict()})
    else:
        show(
            f"{out / 'model'}: {percent(run.test_accuracy, 2)} of the test sequences after "
            f"{run.steps:,} steps"
        )
