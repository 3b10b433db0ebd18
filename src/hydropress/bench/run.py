"""``hydropress bench reduce``: every part of the benchmark, and the one record they make."""

import os
import platform
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hydropress.bench import speed
from hydropress.bench.allocation import compare_allocations
from hydropress.bench.banks import mixed_bank
from hydropress.bench.cases import PYMOR_MISSING, Case, comparison_cases, has_pymor
from hydropress.bench.checks import make_checks, summarize
from hydropress.bench.compare import compare
from hydropress.bench.config import GROUPS, ReduceConfig
from hydropress.bench.memory import peak_of_process
from hydropress.bench.optimum import search_order_two
from hydropress.bench.parts import (
    Part,
    Progress,
    code_digest,
    forget_parts,
    key_of,
    run_parts,
)
from hydropress.bench.restarts import try_restarts
from hydropress.evaluation.outputs import check_folder, uninterrupted, write_run
from hydropress.evaluation.records import versions, write_json

RECORD = "bench.json"
COMMAND = "bench reduce"
TIMED_ORDERS = 2, 8
CHANNELS_A_PART = 256
LIBRARIES = "numpy", "scipy", "pymor"


def run_reduce_benchmark(
    folder: Path, config: ReduceConfig, *, command: str, progress: Progress | None = None
) -> dict[str, Any]:
    """Benchmark the reduction engine and write ``bench.json``.

    Parameters
    ----------
    folder
        New, empty or an earlier run's.  Parts that an interrupted run with the same settings, code
        and libraries finished are kept.
    config
        How large.
    command
        What reproduces the record, for its reader.
    progress
        Called as progress(done, total, what).

    Returns
    -------
    dict
        The record: ``claims``, ``checks``, ``comparison``, ``order_two``, ``restarts``, ``speed``,
        ``path``, ``growth``, ``memory``, ``allocation``, and how it was made.

    Raises
    ------
    InvalidArgumentError
        If the folder holds anything else.
    """
    check_folder(folder, COMMAND)
    write_run(folder, {"command": COMMAND, "line": command})
    made = _how(config, command)
    key = key_of({name: made[name] for name in ("config", "versions", "threads", "code")})
    results, seconds = run_parts(_parts(config), folder, key, progress)
    record = made | {"seconds": seconds} | _collect(results)
    checks = make_checks(record)
    record |= {"claims": summarize(checks), "checks": [check.to_dict() for check in checks]}
    with uninterrupted():
        write_json(folder / RECORD, record)
        forget_parts(folder)
    return record


def _how(config: ReduceConfig, command: str) -> dict[str, Any]:
    """Return all that is needed to repeat the run."""
    return {
        "benchmark": "reduce",
        "title": "Reduction engine",
        "command": command,
        "config": config.to_dict(),
        "code": code_digest(),
        "threads": {
            "torch": torch.get_num_threads(),
            **{name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
        },
        "machine": {
            "system": platform.system(),
            "processor": processor(),
            "cores": os.cpu_count(),
        },
        "versions": versions() | _library_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "notes": _notes(config),
        "left_out": _left_out(config),
    }


def _library_versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def processor() -> str:
    """Return the name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _notes(config: ReduceConfig) -> list[str]:
    return [
        "Errors are relative, in the H² norm unless the title of a case says that only the first "
        "samples count or that its inputs are not white; of a bank the median over its channels, "
        "and the largest in the tables.",
        f"pyMOR's methods take one system at a time: of a bank they get the first "
        f"{config.pymor_channels} channels, with pyMOR's own defaults. Its balanced truncation "
        "runs in discrete time too; its IRKA and TSIA raise NotImplementedError there. They know "
        "no weight, no horizon and no order 0, and are left out of such cases.",
        "Of our own methods those take part in a case that know its metric; and in every one BT "
        "and IRKA, which h2 has to be no worse than, whether they know it or not: BT knows a "
        "horizon, neither knows a spectrum, and with a covariance all get the system as white "
        "inputs see it.",
        "Memory is the growth of the resident set at its peak over what the process held before, "
        "of pyMOR's methods that of the most demanding channel; it is missing where the system "
        "does not tell it. The check of it is the peak of a whole new process, libraries included.",
    ]


def _left_out(config: ReduceConfig) -> list[str]:
    """Say what was not measured, or only on a sample."""
    notes: list[str] = []
    total = config.speed_channels
    if config.irka_channels < total and has_pymor():
        notes.append(
            f"pyMOR's IRKA was timed on {config.irka_channels:,} evenly spaced channels of "
            f"{total:,} and its time scaled."
        )
    if config.path_channels < total:
        notes.append(
            f"The whole path was timed on {config.path_channels:,} channels and its time scaled "
            f"to {total:,}."
        )
    if config.groups != GROUPS:
        missing = ", ".join(group for group in GROUPS if group not in config.groups)
        notes.append(f"Groups of systems that this run leaves out: {missing}.")
    return notes if has_pymor() else [*notes, PYMOR_MISSING]


def _parts(config: ReduceConfig) -> list[Part]:
    parts = [_comparison(case, config) for case in comparison_cases(config)]
    starts = range(0, config.exhaustive_channels, CHANNELS_A_PART)
    bank = partial(mixed_bank, config.exhaustive_channels, config.seed)
    for start in starts:
        count = min(CHANNELS_A_PART, config.exhaustive_channels - start)

        def search(step: Any, start: int = start, count: int = count) -> Any:
            return search_order_two(bank()[start : start + count], step)

        what = f"exhaustive search, channels from {start}"
        parts.append(Part(f"order-two-{start}", what, 0.16 * count, search))
    for order in config.restart_orders:

        def restart(step: Any, order: int = order) -> Any:
            full = mixed_bank(config.restart_channels, config.seed)
            return try_restarts(full, order, config.restarts, config.seed, step)

        weight = 5e-4 * order * config.restart_channels * config.restarts
        parts.append(Part(f"restarts-{order}", f"random restarts, order {order}", weight, restart))
    return [*parts, _allocation(config), *_timings(config)]


def _comparison(case: Case, config: ReduceConfig) -> Part:
    weight = case.weight * len(case.orders)
    return Part(f"compare-{case.name}", case.title, weight, partial(compare, case, config))


def _allocation(config: ReduceConfig) -> Part:
    def measure(step: Any) -> Any:
        return compare_allocations(
            config.allocation_samples,
            config.allocation_orders,
            config.allocation_images,
            config.seed,
            step,
            model=config.allocation_model,
        )

    weight = (1.5 * config.allocation_samples + 10) * len(config.allocation_orders)
    return Part("allocation", "global against uniform allocation", weight, measure)


def _timings(config: ReduceConfig) -> list[Part]:
    count = config.speed_channels
    parts = [
        Part(
            f"speed-{order}",
            f"time of order {order}",
            4e-3 * order * count,
            partial(speed.time_order, order, config),
        )
        for order in TIMED_ORDERS
    ]
    parts.append(
        Part(
            "path",
            "time of the whole path",
            0.5 * config.path_channels,
            partial(speed.time_path, config),
        )
    )
    parts.append(
        Part(
            "growth",
            "growth of the time",
            1e-2 * (sum(config.growth_channels) + 4 * config.growth_bank),
            partial(speed.time_growth, config),
        )
    )
    work = [(config.memory_channels[0], order) for order in TIMED_ORDERS]
    work += [(channels, min(TIMED_ORDERS)) for channels in config.memory_channels[1:]]
    for channels, order in work:

        def measure(step: Any, channels: int = channels, order: int = order) -> Any:
            return peak_of_process(channels, (order,), config.seed, torch.get_num_threads())

        what = f"memory of order {order}, {channels:,} channels"
        weight = 2e-3 * order * channels
        parts.append(Part(f"memory-{channels}-{order}", what, weight, measure))
    return parts


def _collect(results: dict[str, Any]) -> dict[str, Any]:
    """Put the parts together."""

    def called(prefix: str) -> list[Any]:
        return [result for name, result in results.items() if name.startswith(prefix)]

    searches = called("order-two-")
    lists = {
        name: [value for part in searches for value in part[name]]
        for name in ("h2", "best", "mode_energy", "start")
    }
    totals = {name: sum(part[name] for part in searches) for name in ("channels", "seconds")}
    return {
        "comparison": called("compare-"),
        "order_two": totals | lists,
        "restarts": called("restarts-"),
        "speed": called("speed-"),
        "path": results["path"],
        "growth": results["growth"],
        "memory": called("memory-"),
        "allocation": results["allocation"],
    }
