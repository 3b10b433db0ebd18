"""``hydropress compress``."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from hydropress.cli.console import Bar, emit, guarded, say, show
from hydropress.cli.options import Json, Out, Seed
from hydropress.cli.tables import layer_settings, layers_table, results_table


class CompressCommand(TyperCommand):
    """A command whose help lists the methods that are registered."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help; it takes long enough to import the methods only where it is shown."""
        from hydropress.reduction.registry import method_names

        import_module("hydropress.reduction.reduce")  # which registers them
        for parameter in self.params:
            option: Any = parameter
            if option.name == "method":
                option.help = f"{', '.join(method_names())}; h2 by default, or what --plan says."
        super().format_help(ctx, formatter)


ModelOrFile = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Directory of a model, a shipped name, or a file of tensors."
    ),
]


@guarded()
def compress_command(
    model: ModelOrFile,
    out: Out,
    ratio: Annotated[
        float | None, typer.Option("--ratio", help="Share of the SSM states to keep: 0.03125.")
    ] = None,
    order: Annotated[
        int | None,
        typer.Option(
            "--order",
            help="States per channel on average, or per layer if its channels share them.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="Relative error that every channel may have."),
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(
            "--max-drop",
            help="Accuracy that may be lost: 1% of the original's, or 0.01. The smallest model "
            "tried that keeps the rest on up to 2,000 training sequences not calibrated on.",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            help="Carry out a saved plan.json again; bit for bit with the same --calibration, "
            "--samples and --seed.",
        ),
    ] = None,
    allocation: Annotated[
        Literal["global", "uniform"] | None,
        typer.Option(help="global: states where they count, the default with data."),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", help="A reduction method; h2 by default.")
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            help="'slice' (shipped images, the default), a folder of Fashion-MNIST, a task and "
            "its folder: 'text@2048:aclImdb', or 'none'.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Labelled sequences for --max-drop, as for --calibration, which is the default.",
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Calibration sequences; 256 by default.")
    ] = None,
    seed: Seed = 0,
    family: Annotated[
        str | None,
        typer.Option("--family", help="Of a file's layers: 's4', 's5', …; found out if not given."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            help="A setting of a file's layers that tensors do not tell: 'disc=zoh'; can be "
            "repeated.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Replace the model's SSMs by smaller ones, without training.

    Give exactly one of --ratio, --order, --tolerance, --max-drop and --plan. The folder receives
    the model, plan.json (the states of every channel), compression.json and what `hydropress
    report` needs; with calibration data, accuracy on the test sequences beside them.

    MODEL may also be a file: a checkpoint of a known family (safetensors, PyTorch, Lightning, Flax
    msgpack) or plain systems (npz, safetensors). Without its code there are no data: --ratio or
    --order alone apply, and the folder receives a file of smaller tensors.
    """
    from hydropress.evaluation.compress_folder import compress_to_folder
    from hydropress.training.process import keep_freed_memory

    keep_freed_memory()
    of_files = {"--family": family, "--option": option}
    of_models = {
        "--tolerance": tolerance,
        "--max-drop": max_drop,
        "--plan": plan,
        "--allocation": allocation,
        "--calibration": None if calibration == "none" else calibration,
        "--data": data,
        "--samples": samples,
    }
    if Path(model).is_file():
        _refuse(of_models, f"the file {model}, of which there are only tensors", "--ratio, --order")
        _compress_file(Path(model), out, ratio, order, method or "h2", family, option or [], json)
        return
    _refuse(of_files, f"the model {model}, which tells them itself", "a file of tensors")
    calibration = "slice" if calibration is None else calibration
    with Bar("compress") as bar:
        result = compress_to_folder(
            model,
            out,
            ratio=ratio,
            order=order,
            tolerance=tolerance,
            max_drop=max_drop,
            plan=plan,
            allocation=allocation,
            method=method,
            calibration=None if calibration == "none" else calibration,
            data=data,
            samples=samples,
            seed=seed,
            progress=bar.update,
        )
    if json:
        emit({"out": str(out), **result.summary, "rows": result.rows})
        return
    above = result.summary["above_tolerance"]
    if above:
        say(
            f"{sum(above.values())} channels still exceed the tolerance, in {', '.join(above)}: "
            "their inputs have changed by more than that; a smaller tolerance changes them less"
        )
    show(
        results_table(result.rows),
        f"{out} holds the model. Next: hydropress finetune {out} --out …, or hydropress report "
        f"{out}",
    )


def _refuse(options: dict[str, Any], what: str, instead: str) -> None:
    """Raise an error if any of these options was given."""
    from hydropress.errors import InvalidArgumentError

    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InvalidArgumentError(
            f"{', '.join(given)} with {what}; required: {instead}; leave the others out"
        )


def _compress_file(
    path: Path,
    out: Path,
    ratio: float | None,
    order: int | None,
    method: str,
    family: str | None,
    options: list[str],
    json: bool,
) -> None:
    from hydropress.evaluation.compress_file import compress_file, parse_options

    result = compress_file(
        path,
        out,
        ratio=ratio,
        order=order,
        method=method,
        family=family,
        options=parse_options(options),
    )
    if json:
        emit({"out": str(result.path), **result.summary})
    else:
        show(
            layers_table(result.summary),
            *layer_settings(result.summary),
            f"{result.path} holds the smaller tensors.",
        )
