"""``hydropress finetune``."""

from typing import Annotated

import typer

from hydropress.cli.console import CONTINUE, Bar, emit, guarded, percent, say, show
from hydropress.cli.options import Json, Model, Out, Seed, Threads
from hydropress.cli.train import STOPPING


@guarded(CONTINUE)
def finetune_command(
    model: Model,
    out: Out,
    data: Annotated[
        str, typer.Option("--data", help="'slice' (4,096 shipped images) or a folder (60,000).")
    ] = "slice",
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Number of updates, instead of --epochs.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak rate; 0.002 by default.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train a compressed model back to its accuracy. Can be interrupted and continued."""
    from hydropress.data.shipped import find_model
    from hydropress.data.sources import open_images
    from hydropress.models.checkpoint import load
    from hydropress.training.config import RecoveryConfig
    from hydropress.training.interrupts import DeferredInterrupt
    from hydropress.training.process import keep_freed_memory, use_threads
    from hydropress.training.train import finetune

    keep_freed_memory()
    use_threads(threads)
    start = load(find_model(model))
    train, test = open_images(data, "train"), open_images(data, "test")
    config = RecoveryConfig.chosen(
        len(train), epochs=epochs, steps=steps, learning_rate=learning_rate, seed=seed
    )
    with Bar("finetune") as bar, DeferredInterrupt(lambda: say(STOPPING)) as interrupt:
        run = finetune(
            start,
            train,
            config,
            folder=out,
            test=test,
            progress=bar.loss,
            stop=interrupt.stop,
        )
    if json:
        emit({"out": str(out), "model": str(out / "model"), **run.to_dict()})
    else:
        show(
            f"{out / 'model'}: {percent(run.test_accuracy, 2)} of {len(test):,} test images after "
            f"{run.steps:,} steps"
        )
