"""``hydropress bench lra``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hydropress.cli.console import Bar, emit, guarded, show
from hydropress.cli.options import Json, Out, Threads

CONTINUE = "finished runs and checkpoints are kept; run the same command again to continue"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@guarded(CONTINUE)
def bench_lra_command(
    out: Out,
    recipe: Annotated[
        str, typer.Option("--recipe", help="How originals are trained: a name or a YAML file.")
    ] = "sequential-fashion-mnist",
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="Reduction methods, 'hippo' (SSMs drawn afresh), 'scratch' (trained small).",
        ),
    ] = "h2,balanced,modal,last,aire,hippo",
    orders: Annotated[
        str,
        typer.Option(
            "--orders",
            help="States per channel on average, or per layer if its channels share them.",
        ),
    ] = "32,16,8,4,2",
    seeds: Annotated[int, typer.Option("--seeds", help="How many originals.")] = 3,
    budgets: Annotated[
        str, typer.Option("--budgets", help="Shares of the training steps for the recovery.")
    ] = "0.1",
    recovery: Annotated[
        str, typer.Option("--recovery", help="'finetune', 'distill' or 'match'.")
    ] = "finetune",
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the task's data.")] = None,
    originals: Annotated[
        Path | None,
        typer.Option("--originals", help="Folder of trained originals: seed0, seed1, …"),
    ] = None,
    launcher: Annotated[
        str, typer.Option("--launcher", help="'here', or 'submitit' for a cluster.")
    ] = "here",
    jobs: Annotated[int, typer.Option("--jobs", help="With submitit: at a time.")] = 8,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="With submitit: 'slurm' or 'local'.")
    ] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train originals, reduce them, recover them, compare. Can be interrupted and continued.

    One JSON line a run in results.jsonl; a report in report.html.
    """
    from hydropress.bench.lra.config import SweepConfig
    from hydropress.bench.lra.sweep import RESULTS, Sweep
    from hydropress.errors import InvalidArgumentError
    from hydropress.report.lra import write_lra_report
    from hydropress.training.process import keep_freed_memory, use_threads
    from hydropress.training.recipes import load_recipe

    keep_freed_memory()
    use_threads(threads)
    if launcher not in ("here", "submitit"):
        raise InvalidArgumentError(
            f"--launcher {launcher!r}; required: 'here' or 'submitit'; correct it"
        )
    try:
        numbers = tuple(int(part) for part in _parts(orders))
        shares = tuple(float(part) for part in _parts(budgets))
    except ValueError as error:
        raise InvalidArgumentError(
            f"--orders {orders}, --budgets {budgets}; required: numbers, separated by commas"
        ) from error
    config = SweepConfig(
        load_recipe(recipe),
        methods=tuple(_parts(methods)),
        orders=numbers,
        seeds=seeds,
        budgets=shares,
        recovery=recovery,  # type: ignore[arg-type]
    )
    sweep = Sweep(config, out, data, originals)
    missing = sweep.missing()
    if launcher == "submitit":
        parameters: dict[str, Any] = {"timeout_min": 24 * 60}
        sweep.wait(sweep.submit(missing, jobs, parameters, cluster))
    else:
        with Bar("bench lra") as bar:
            sweep.perform(missing, bar.titled)
    rows = sweep.collect()
    report = write_lra_report(out)
    if json:
        emit({"out": str(out), "report": str(report), "rows": rows})
    else:
        show(f"{len(rows)} runs in {out / RESULTS}. Report: {report} (opens in a browser)")
