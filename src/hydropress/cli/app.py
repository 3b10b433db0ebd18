"""The commands, put together."""

from typing import Annotated

import typer

from hydropress.cli.bench import bench_app
from hydropress.cli.compress import compress_command
from hydropress.cli.demo import demo_command
from hydropress.cli.evaluate import evaluate_command
from hydropress.cli.finetune import finetune_command
from hydropress.cli.inspect import inspect_command
from hydropress.cli.report import report_command
from hydropress.cli.train import train_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(version("hydropress"))
        except PackageNotFoundError:
            typer.echo("not installed")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Replace the state space models in a trained network by far smaller ones.

    MODEL is a directory that hydropress wrote, or the name of a shipped model.
    """


app.command("demo")(demo_command)
app.command("inspect")(inspect_command)
app.command("compress")(compress_command)
app.command("finetune")(finetune_command)
app.command("evaluate")(evaluate_command)
app.command("train")(train_command)
app.command("report")(report_command)
app.add_typer(bench_app, name="bench")
