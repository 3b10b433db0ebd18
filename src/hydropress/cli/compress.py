"""``hydropress compress``."""

from typing import Annotated, Literal

import typer

from hydropress.cli.console import Bar, emit, guarded, show
from hydropress.cli.options import Json, Model, Out, Seed
from hydropress.cli.tables import results_table


@guarded()
def compress_command(
    model: Model,
    out: Out,
    ratio: Annotated[
        float | None, typer.Option("--ratio", help="Share of the SSM states to keep: 0.03125.")
    ] = None,
    order: Annotated[
        int | None, typer.Option("--order", help="States per channel, on average.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="Relative error that every channel may have."),
    ] = None,
    allocation: Annotated[
        Literal["global", "uniform"] | None,
        typer.Option(help="global: states where they count, the default with data."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            help="h2, balanced, modal, gradient, irka, last, aire, singular-perturbation or a "
            "registered one.",
        ),
    ] = "h2",
    calibration: Annotated[
        str,
        typer.Option("--calibration", help="'slice' (shipped images), a folder, or 'none'."),
    ] = "slice",
    samples: Annotated[
        int | None, typer.Option("--samples", help="Calibration sequences; 256 by default.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Replace the model's SSMs by smaller ones, without training.

    Give exactly one of --ratio, --order and --tolerance. The folder receives the model, plan.json
    (the states of every channel), compression.json and what `hydropress report` needs; with
    calibration data, accuracy on the test images beside them.
    """
    from hydropress.evaluation.compress_folder import compress_to_folder
    from hydropress.training.process import keep_freed_memory

    keep_freed_memory()
    with Bar("compress") as bar:
        result = compress_to_folder(
            model,
            out,
            ratio=ratio,
            order=order,
            tolerance=tolerance,
            allocation=allocation,
            method=method,
            calibration=None if calibration == "none" else calibration,
            samples=samples,
            seed=seed,
            progress=bar.update,
        )
    if json:
        emit({"out": str(out), **result.summary, "rows": result.rows})
        return
    show(
        results_table(result.rows),
        f"{out} holds the model. Next: hydropress finetune {out} --out …, or hydropress report "
        f"{out}",
    )
