"""The commands, put together."""

import shlex
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from hydropress.cli.bench import bench_app
from hydropress.cli.compress import CompressCommand, compress_command
from hydropress.cli.console import say
from hydropress.cli.demo import demo_command
from hydropress.cli.evaluate import evaluate_command
from hydropress.cli.finetune import finetune_command
from hydropress.cli.inspect import inspect_command
from hydropress.cli.report import report_command
from hydropress.cli.train import train_command

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # type: ignore[assignment]
"""Of click, or of the copy of it that newer versions of typer hold."""


class OneLineGroup(TyperGroup):
    """Commands whose errors are one line, also when the command line itself cannot be read."""

    def main(self, args: Any = None, *others: Any, **extra: Any) -> NoReturn:
        """Run a command and exit with its status."""
        given = sys.argv[1:] if args is None else list(args)
        extra["standalone_mode"] = False
        try:
            status = super().main(args, *others, **extra)
        except typer.Abort:
            sys.exit(1)
        except UsageError as error:
            problem: Any = error
            message, context = problem.format_message(), problem.ctx
            # Without a message there was no command, and the help has been shown.
            if message:
                usage = context.get_usage().removeprefix("Usage: ")
                say(
                    f"'{shlex.join(given)}': {message.rstrip('.')}; required: {usage}; "
                    f"see '{context.command_path} -h'"
                )
            sys.exit(problem.exit_code)
        sys.exit(status if isinstance(status, int) else 0)


app = typer.Typer(
    cls=OneLineGroup,
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
app.command("compress", cls=CompressCommand)(compress_command)
app.command("finetune")(finetune_command)
app.command("evaluate")(evaluate_command)
app.command("train")(train_command)
app.command("report")(report_command)
app.add_typer(bench_app, name="bench")
