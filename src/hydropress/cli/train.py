"""``hydropress train``."""

from pathlib import Path
from typing import Annotated

import typer

from hydropress.cli.console import CONTINUE, Bar, emit, guarded, percent, say, show
from hydropress.cli.options import Json, Out, Threads

STOPPING = "stopping after this step; press Ctrl-C again to stop at once"


@guarded(CONTINUE)
def train_command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or a YAML file.")
    ],
    out: Out,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of the full data; Debian's by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the recipe's own.")] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train a model from nothing. Can be interrupted and continued, to the same weights."""
    from hydropress.data.fashion_mnist import DEFAULT_FOLDER
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
            DEFAULT_FOLDER if data is None else data,
            progress=bar.loss,
            stop=interrupt.stop,
        )
    if json:
        emit({"out": str(out), "model": str(out / "model"), **run.to_dict()})
    else:
        show(
            f"{out / 'model'}: {percent(run.test_accuracy, 2)} of the test images after "
            f"{run.steps:,} steps"
        )
