"""``hydropress evaluate``."""

from typing import Annotated

import typer

from hydropress.cli.console import Bar, emit, guarded, percent, show
from hydropress.cli.options import Json, Model


@guarded()
def evaluate_command(
    model: Model,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="'slice' (2,000 shipped test images), a folder of Fashion-MNIST (10,000), or a "
            "task and its folder: 'text@2048:aclImdb'.",
        ),
    ] = "slice",
    reference: Annotated[
        str | None, typer.Option("--reference", help="Model whose decisions are compared.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure accuracy on test sequences, and agreement with another model."""
    from hydropress.data.shipped import find_model
    from hydropress.data.sources import open_data
    from hydropress.evaluation.evaluate import evaluate
    from hydropress.evaluation.task_models import require_task_of
    from hydropress.models.checkpoint import load
    from hydropress.training.process import keep_freed_memory

    keep_freed_memory()
    measured = load(find_model(model))
    require_task_of(measured.config, model, data)
    other = None if reference is None else load(find_model(reference))
    if other is not None:
        require_task_of(other.config, str(reference), data)
    with Bar("evaluate") as bar:
        result = evaluate(measured, open_data(data, "test"), reference=other, progress=bar.update)
    if json:
        emit({"model": model, "reference": reference, "data": data, **result.to_dict()})
        return
    lines = [
        f"accuracy    {percent(result.accuracy, 2)} ± {percent(result.standard_error, 2)} "
        f"(one standard error, {result.samples:,} sequences)"
    ]
    if result.agreement is not None:
        lines.append(
            f"agreement   {percent(result.agreement, 2)} with {reference} "
            f"(accuracy {percent(result.reference_accuracy, 2)})"
        )
    lines += [
        f"parameters  {result.total_parameters:,}, {result.ssm_parameters:,} of them in SSMs",
        f"states      {result.states:,}, at most {result.order} per system",
        f"time        {result.seconds:.1f} s",
    ]
    show(*lines)
