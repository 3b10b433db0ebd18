"""Draw the picture of the README from a demo's results.

python benchmarks/draw_accuracy.py [--results RESULTS.json] [--out PICTURE.svg]
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
SERIES = {
    ("h2", True): ("H², calibrated", "#0b6e99", "o"),
    ("balanced", False): ("balanced truncation", "#b8860b", "s"),
    ("modal", False): ("modal truncation", "#8a4f9e", "D"),
    ("h2", False): ("H², no data", "#7a8a91", "^"),
}


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """Plot accuracy against states per channel."""
    mpl.rcParams.update({"svg.hashsalt": "hydropress", "font.size": 11, "svg.fonttype": "none"})
    figure, axes = plt.subplots(figsize=(7.2, 3.9), layout="constrained")
    original = next(row for row in rows if row["method"] == "original")
    axes.axhline(100 * float(str(original["accuracy"])), color="#444444", linewidth=1)
    axes.annotate(
        f"original, {original['order']} states",
        (16, 100 * float(str(original["accuracy"]))),
        xytext=(0, 5),
        ha="right",
        textcoords="offset points",
        color="#444444",
    )
    for (method, calibrated), (label, colour, marker) in SERIES.items():
        chosen = [
            row
            for row in rows
            if (row["method"], row["calibrated"]) == (method, calibrated) and not row["finetuned"]
        ]
        places = [int(str(row["order"])) for row in chosen]
        heights = [100 * float(str(row["accuracy"])) for row in chosen]
        axes.plot(places, heights, marker=marker, color=colour, label=label)
    recovered = [row for row in rows if "shipped" in str(row["finetuned"])]
    axes.plot(
        [int(str(row["order"])) for row in recovered],
        [100 * float(str(row["accuracy"])) for row in recovered],
        marker="*",
        markersize=13,
        linestyle="none",
        color="#0b6e99",
        label="H², calibrated, then recovered",
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks([2, 4, 8, 16], ["2", "4", "8", "16"])
    axes.set_ylim(0, 100)
    axes.set_xlabel("states per channel (of 64)")
    axes.set_ylabel("accuracy, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False, loc="lower right", fontsize=9.5)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Parse the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "demo.json")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "accuracy.svg")
    arguments = parser.parse_args()
    draw(json.loads(arguments.results.read_text(encoding="utf-8")), arguments.out)


if __name__ == "__main__":
    main()
