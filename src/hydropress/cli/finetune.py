"""``hydropress finetune``."""

from typing import Annotated

import typer

from hydropress.cli.console import CONTINUE, Bar, emit, guarded, percent, say, show
from hydropress.cli.options import (
    Accelerator,
    Devices,
    Json,
    Logs,
    Model,
    Nodes,
    Out,
    Precision,
    Seed,
    Threads,
)
from hydropress.cli.train import STOPPING


@guarded(CONTINUE)
def finetune_command(
    model: Model,
    out: Out,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="'slice' (4,096 shipped images), a folder of Fashion-MNIST (60,000), or a task "
            "and its folder: 'text@2048:aclImdb'.",
        ),
    ] = "slice",
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Number of updates, instead of --epochs.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak rate; 0.002 by default.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Sequences per update; 64 by default.")
    ] = None,
    distill: Annotated[
        str | None,
        typer.Option("--distill", help="The original model: learn its decisions too."),
    ] = None,
    match: Annotated[
        str | None,
        typer.Option("--match", help="The original model: match its layers' outputs too."),
    ] = None,
    seed: Seed = 0,
    devices: Devices = 1,
    nodes: Nodes = 1,
    accelerator: Accelerator = "auto",
    precision: Precision = "32-true",
    logs: Logs = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train a compressed model back to its accuracy. Can be interrupted and continued."""
    from hydropress.data.shipped import find_model
    from hydropress.data.sources import open_data
    from hydropress.errors import InvalidArgumentError
    from hydropress.evaluation.task_models import require_task_of
    from hydropress.models.checkpoint import load
    from hydropress.models.classifier import SequenceClassifier
    from hydropress.training.config import RecoveryConfig
    from hydropress.training.hardware import Hardware, is_first_process
    from hydropress.training.interrupts import DeferredInterrupt
    from hydropress.training.objectives import Distillation, LayerMatching, Objective
    from hydropress.training.process import keep_freed_memory, use_threads
    from hydropress.training.train import finetune

    if distill is not None and match is not None:
        raise InvalidArgumentError(
            f"--distill {distill}, --match {match}; required: at most one of them; leave one out"
        )
    keep_freed_memory()
    use_threads(threads)

    def fitting(name: str) -> SequenceClassifier:
        found = load(find_model(name))
        require_task_of(found.config, name, data)
        return found

    start = fitting(model)
    objective: Objective | None = None
    if distill is not None:
        objective = Distillation(fitting(distill))
    if match is not None:
        objective = LayerMatching(fitting(match))
    train, test = open_data(data, "train"), open_data(data, "test")
    config = RecoveryConfig.chosen(
        len(train),
        epochs=epochs,
        steps=steps,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
    )
    with Bar("finetune") as bar, DeferredInterrupt(lambda: say(STOPPING)) as interrupt:
        run = finetune(
            start,
            train,
            config,
            objective=objective,
            hardware=Hardware.chosen(accelerator, devices, nodes, precision, logs or ()),
            folder=out,
            test=test,
            progress=bar.loss,
            stop=interrupt.stop,
        )
    if not is_first_process():
        return
    if json:
        emit({"out": str(out), "model": str(out / "model"), **run.to_dict()})
    else:
        show(
            f"{out / 'model'}: {percent(run.test_accuracy, 2)} of {len(test):,} test sequences "
            f"after {run.steps:,} steps"
        )
