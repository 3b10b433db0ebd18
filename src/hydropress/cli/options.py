"""Arguments and options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Directory of a model, or a shipped name.")
]
Out = Annotated[
    Path,
    typer.Option("--out", "-o", help="Folder to write; new, empty or this command's own earlier."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")
]
Seed = Annotated[int, typer.Option("--seed", help="Determines all that is random.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        help="CPU threads. Sums are rounded differently with another number of them.",
    ),
]

Devices = Annotated[
    int, typer.Option("--devices", help="Processes on each machine, which share a batch out.")
]
Nodes = Annotated[
    int, typer.Option("--nodes", help="Machines, each with this command under a launcher.")
]
Accelerator = Annotated[str, typer.Option("--accelerator", help="'auto', 'cpu', 'gpu', …")]
Precision = Annotated[
    str, typer.Option("--precision", help="'32-true', 'bf16-mixed' or '16-mixed'.")
]
Logs = Annotated[
    list[str] | None,
    typer.Option("--log", help="A further log, 'csv' or 'tensorboard'; can be repeated."),
]
