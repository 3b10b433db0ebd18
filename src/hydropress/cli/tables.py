"""Results as tables for the terminal."""

from typing import TYPE_CHECKING, Any

from hydropress.cli.console import percent

if TYPE_CHECKING:
    from rich.table import Table

    from hydropress.evaluation.inspection import LayerInspection


def results_table(rows: list[dict[str, Any]], title: str | None = None) -> "Table":
    """Return the rows of results.json as a table."""
    from rich.table import Table

    table = Table(title=title)
    table.add_column("method", no_wrap=True)
    for name in ("order", "SSM parameters", "parameters", "H² error", "accuracy", "agreement"):
        table.add_column(name, justify="right")
    if any(row["finetuned"] for row in rows):
        table.add_column("retrained")
    for row in rows:
        uncalibrated = row["method"] == "h2" and not row["calibrated"]
        cells = [
            row["method"] + (" (no data)" if uncalibrated else ""),
            str(row["order"]),
            f"{row['ssm_parameters']:,}",
            f"{row['total_parameters']:,}",
            percent(row["relative_h2_error"]),
            percent(row["accuracy"]),
            percent(row["agreement"]),
        ]
        if len(table.columns) > len(cells):
            finetuned = row["finetuned"]
            cells.append(finetuned if isinstance(finetuned, str) else "yes" if finetuned else "")
        table.add_row(*cells)
    return table


def layers_table(summary: dict[str, Any]) -> "Table":
    """Return what became of a file's layers, as compression.json has it."""
    from rich.table import Table

    if "systems" in summary:
        table = Table()
        for name in ("systems", "states each", "H² error"):
            table.add_column(name, justify="right")
        orders = _flat(summary["systems"]["reduced_order"])
        error = _mean(summary["systems"]["relative_error"])
        table.add_row(str(len(orders)), f"{max(orders):g}", percent(error))
        return table
    table = Table()
    table.add_column("layer", no_wrap=True)
    table.add_column("family")
    for name in ("states", "parameters", "H² error"):
        table.add_column(name, justify="right")
    for layer in summary["layers"]:
        before, after = layer["parameters"]
        states = (f"{_mean(layer[name]):g}" for name in ("full_order", "reduced_order"))
        table.add_row(
            layer["name"] or "(the file)",
            layer["family"],
            " → ".join(states),
            f"{before:,} → {after:,}",
            percent(_mean(layer["relative_error"])),
        )
    return table


def layer_settings(summary: dict[str, Any]) -> list[str]:
    """Return lines on what was assumed of a file's layers, and on their new sizes."""
    layers: list[dict[str, Any]] = summary.get("layers", [])
    lines: list[str] = []
    for layer in layers:
        assumed = _settings(layer["options"])
        line = f"{layer['family']}: {_settings(layer['sizes'])} has the new shapes"
        if assumed:
            line += f"; assumed {assumed}: compare with your class, correct by --option"
        if line not in lines:
            lines.append(line)
    return lines


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _flat(values: Any) -> list[float]:
    """Return the numbers of nested lists."""
    if not isinstance(values, list):
        return [float(values)]
    return [number for value in values for number in _flat(value)]  # type: ignore[reportUnknownVariableType]


def _mean(values: Any) -> float:
    numbers = _flat(values)
    return sum(numbers) / len(numbers)


INSPECTION_CAPTION = (
    "Half-life of the modes in samples, their frequency in radians per sample. σ above: Hankel "
    "singular values above 1 % and 0.1 % of the largest, median over channels. To 10 % and 1 %: "
    "the smallest order r with 2 Σ σ beyond r at most that share of σ₁ (median over channels / "
    "worst channel); balanced truncation to r is guaranteed to stay that close to the layer, as a "
    "share of its peak gain, at every frequency. That holds for any input; for the data that a "
    "layer really sees, calibrated h2 can go much further."
)


def inspection_table(layers: "list[LayerInspection]") -> "Table":
    """Return one row per layer."""
    from rich.table import Table

    table = Table(caption=INSPECTION_CAPTION, caption_justify="left")
    table.add_column("layer", no_wrap=True)
    for name in (
        "channels",
        "order",
        "half-life",
        "frequency",
        "σ above",
        "to 10 %",
        "to 1 %",
    ):
        table.add_column(name, justify="right")
    for layer in layers:
        sides = " × 2" if layer.directions == 2 else ""
        rough, fine = layer.sufficient_order
        table.add_row(
            layer.name,
            f"{layer.channels}{sides}",
            str(layer.order),
            f"{layer.half_life[0]:,.0f} – {layer.half_life[2]:,.0f}",
            f"{layer.frequency[0]:.2f} – {layer.frequency[1]:.2f}",
            f"{layer.hankel_above[0]}, {layer.hankel_above[1]}",
            f"{rough[0]} / {rough[1]}",
            f"{fine[0]} / {fine[1]}",
        )
    return table
