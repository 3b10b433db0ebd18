"""``hydropress bench``."""

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hydropress.cli.console import Bar, emit, guarded, show
from hydropress.cli.lra import bench_lra_command
from hydropress.cli.options import Json, Out, Seed, Threads

if TYPE_CHECKING:
    from rich.table import Table

CONTINUE = "finished parts are kept; run the same command again to continue"

WORDS = {True: "pass", False: "FAIL", None: "–"}

bench_app = typer.Typer(no_args_is_help=True, help="Measure, check and report.")
bench_app.command("lra")(bench_lra_command)


@bench_app.callback()
def _root() -> None:
    """Measure what the package claims: one command, one bench.json, one report.html."""


@bench_app.command("reduce")
@guarded(CONTINUE)
def bench_reduce_command(
    out: Out,
    quick: Annotated[
        bool, typer.Option("--quick", help="Every part, on few systems: a few minutes.")
    ] = False,
    every_channel: Annotated[
        bool,
        typer.Option(
            "--every-channel",
            help="Time pyMOR's IRKA and the whole path on all channels, not on a sample.",
        ),
    ] = False,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Benchmark the reduction engine against its rivals. Can be interrupted and continued.

    Errors, times, memory and certificates of every method on S4D banks, S5 and LRU layers and
    pyMOR's examples; an exhaustive search at order 2; random restarts; timings; global against
    uniform allocation. pyMOR joins in if it is installed.
    """
    from hydropress.bench.config import ReduceConfig
    from hydropress.bench.run import run_reduce_benchmark
    from hydropress.errors import InvalidArgumentError
    from hydropress.report.bench import headline, write_bench_report
    from hydropress.training.process import keep_freed_memory, use_threads

    if quick and every_channel:
        raise InvalidArgumentError(
            "--quick with --every-channel; required: one of them; leave one out"
        )
    keep_freed_memory()
    use_threads(threads)
    config = (
        ReduceConfig.quick(seed) if quick else ReduceConfig.full(seed, every_channel=every_channel)
    )
    words = ["hydropress", "bench", "reduce", "--out", str(out), "--seed", str(seed)]
    words += ["--quick"] * quick + ["--every-channel"] * every_channel
    words += [] if threads is None else ["--threads", str(threads)]
    with Bar("bench") as bar:
        record = run_reduce_benchmark(out, config, command=shlex.join(words), progress=bar.update)
    report = write_bench_report(out)
    checks: list[dict[str, Any]] = record["checks"]
    if json:
        claims = record["claims"]
        emit({"out": str(out), "report": str(report), "claims": claims, "checks": checks})
        return
    show(
        _checks_table(checks),
        _claims_table(record["claims"]),
        *record["left_out"],
        f"{headline(checks)}. Report: {report} (opens in a browser). Record: {out / 'bench.json'}",
    )


def _claims_table(claims: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    table = Table("Claim", "", "Checks measured", "What")
    for claim in claims:
        measured = f"{claim['measured']} of {claim['checks']}"
        table.add_row(str(claim["number"]), WORDS[claim["passed"]], measured, claim["claim"])
    return table


def _checks_table(checks: list[dict[str, Any]]) -> "Table":
    from rich.table import Column, Table

    table = Table("Claim", Column("Check", no_wrap=True), "", "Required", "Measured")
    for check in checks:
        number = "" if check["number"] is None else str(check["number"])
        verdict = WORDS[check["passed"]]
        table.add_row(number, check["name"], verdict, check["claim"], check["figure"])
    return table
