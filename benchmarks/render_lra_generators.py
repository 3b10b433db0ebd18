"""Render the record of lra_generators.py as a page of the documentation.

python benchmarks/render_lra_generators.py            # writes docs/lra_generators.md
python benchmarks/render_lra_generators.py --check    # exits with 1 if the page would be another
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from page import make_parser, write_or_check

from hydropress.data.lra.listops_generator import COUNTS, MAX_DEPTH, MAX_LENGTH, MIN_LENGTH
from hydropress.data.lra.pathfinder_geometry import PATH_X, PATHFINDER
from hydropress.evaluation.records import read_json

COMMAND = "python benchmarks/render_lra_generators.py"
SPLITS = ("train", "val", "test")
IMAGES = {"pathfinder": PATHFINDER, "path-x": PATH_X}
PUBLISHED_IMAGES = 200_000
"""Of each of the two tasks, in the release."""
UNSAID = "–"


def render_page(path: Path) -> str:
    """Return the page of a record."""
    record = read_json(path)
    listops: list[dict[str, Any]] = [record["listops"][split] for split in SPLITS]
    images: list[dict[str, Any]] = [record["pathfinder"][name] for name in IMAGES]
    return f"""# What the generators of ListOps and Pathfinder make

This page is written by

    {COMMAND}

from `benchmarks/results/lra_generators.json`, the record of

    {record["command"]}

Do not edit it by hand. Published is what the Long Range Arena's paper, its generator of ListOps and
its release of images say; {UNSAID} is what none of them says.

## ListOps

All three sets at their full size, seed {record["seed"]}. A lone digit has depth 1, an operator one
more than its deepest argument.

{_table(("", "published", *SPLITS), _listops(listops))}

Tokens of a sequence, and how many sequences have so many:

{_table(("tokens", *SPLITS), _lengths(listops))}

Values, the ten classes, as shares of the sequences in %. The smallest and the largest digit are
more frequent, since MIN and MAX are two of the four operators.

{_table(("value", *SPLITS), _values(listops))}

## Pathfinder and Path-X

{images[0]["count"]:,} images each, seed {record["seed"]}. A pixel is lit from a quarter of white
on; lit pixels that touch, corners included, are one component.

{_table(("", "published", *IMAGES), _images(images))}
"""


def _listops(sets: Sequence[dict[str, Any]]) -> Iterable[Sequence[str]]:
    published = " / ".join(f"{COUNTS[split]:,}" for split in COUNTS)
    yield ("sequences", published, *(f"{one['sequences']:,}" for one in sets))
    length = f"above {MIN_LENGTH}, below {MAX_LENGTH:,}"
    yield ("tokens", length, *(_range(**one["length"]) for one in sets))
    yield ("tokens, mean", UNSAID, *(f"{one['length']['mean']:,.0f}" for one in sets))
    yield ("depth", f"at most {MAX_DEPTH}", *(_range(**one["depth"]) for one in sets))
    yield ("depth, mean", UNSAID, *(f"{one['depth']['mean']:.1f}" for one in sets))


def _range(**values: float) -> str:
    least, most = values["min"], values["max"]
    return f"{least:,} to {most:,}" if most > least else f"{most:,}"


def _lengths(sets: Sequence[dict[str, Any]]) -> Iterable[Sequence[str]]:
    bins = {name for one in sets for name in one["lengths"]}
    for name in sorted(bins, key=lambda name: int(name.split("-")[0])):
        counts = [one["lengths"].get(name, 0) for one in sets]
        shares = [100 * n / one["sequences"] for n, one in zip(counts, sets, strict=True)]
        cells = [f"{n:,} ({share:.1f} %)" for n, share in zip(counts, shares, strict=True)]
        yield (name.replace("-", " to "), *cells)


def _values(sets: Sequence[dict[str, Any]]) -> Iterable[Sequence[str]]:
    for value in range(10):
        yield (str(value), *(f"{100 * one['labels'][value]:.1f}" for one in sets))


def _images(found: Sequence[dict[str, Any]]) -> Iterable[Sequence[str]]:
    sides = [f"{config.resolution} × {config.resolution}" for config in IMAGES.values()]
    dashes = [str(config.contour_length) for config in IMAGES.values()]
    yield ("images", f"{PUBLISHED_IMAGES:,} each", *(f"{one['count']:,}" for one in found))
    yield ("pixels", " and ".join(sides), *sides)
    yield ("dashes of a contour", "14", *dashes)
    yield ("connected, %", "50", *(f"{100 * one['positive_share']:.1f}" for one in found))
    yield ("pixels lit, %", UNSAID, *(f"{100 * one['lit_share']:.1f}" for one in found))
    greys = (f"{one['grey_mean']:.3f} ± {one['grey_deviation']:.3f}" for one in found)
    yield ("grey value, of white", UNSAID, *greys)
    yield ("components", UNSAID, *(_components(one["components"]) for one in found))
    yield ("components, mean", UNSAID, *(f"{one['mean_components']:.1f}" for one in found))


def _components(images: Sequence[int]) -> str:
    there = [number for number, count in enumerate(images) if count]
    return _range(min=min(there), max=max(there))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, then write or check the page."""
    parser = make_parser(__doc__, "lra_generators.json", "lra_generators.md")
    write_or_check(render_page, COMMAND, parser, arguments)


if __name__ == "__main__":
    main()
