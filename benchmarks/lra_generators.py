"""What the generators of ListOps and Pathfinder make, beside the published description.

ListOps at its full size, 2,000 images each of Pathfinder and Path-X.

    python benchmarks/lra_generators.py --threads 1
    python benchmarks/render_lra_generators.py           # the same as docs/lra_generators.md
"""

import argparse
import time
from typing import Any

from record import make_parser, parse, write_record

from hydropress.data.lra.listops import listops_statistics, load_listops
from hydropress.data.lra.listops_generator import (
    COUNTS,
    MAX_ARGUMENTS,
    MAX_DEPTH,
    MAX_LENGTH,
    MIN_LENGTH,
)
from hydropress.data.lra.pathfinder_generator import generate_pathfinder
from hydropress.data.lra.pathfinder_geometry import PATH_X, PATHFINDER
from hydropress.data.lra.pathfinder_statistics import pathfinder_statistics
from hydropress.data.lra.splits import Split

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__, "lra_generators")
    parser.add_argument("--images", type=int, default=2000)
    return parse(parser)


def main() -> None:
    """Run, print and write the record."""
    options = _options()
    print("ListOps      published                          generated")
    sets: dict[str, Any] = {}
    for split in SPLITS:
        began = time.perf_counter()
        sets[split] = listops_statistics(load_listops(split, seed=options.seed, max_length=10_000))
        sets[split]["seconds"] = time.perf_counter() - began
        found = sets[split]
        print(
            f"{split:5s}        {COUNTS[split]:6,d} sequences                   "
            f"{found['sequences']:6,d}"
        )
        print(
            f"  length     above {MIN_LENGTH}, below {MAX_LENGTH:,}             "
            f"{found['length']['min']} to {found['length']['max']:,}, "
            f"mean {found['length']['mean']:.0f}"
        )
        print(
            f"  depth      up to {MAX_DEPTH}, {MAX_ARGUMENTS} arguments           "
            f"{found['depth']['min']} to {found['depth']['max']}"
        )
        shares = " ".join(f"{share:.3f}" for share in found["labels"])
        print(f"  labels     ten digits                        {shares}")
    for name, count in sets["train"]["lengths"].items():
        print(f"  {name:>9s} tokens: {count:6,d}")
    images: dict[str, Any] = {}
    for name, config in (("pathfinder", PATHFINDER), ("path-x", PATH_X)):
        began = time.perf_counter()
        drawn = generate_pathfinder(options.images, config, options.seed)
        seconds = time.perf_counter() - began
        images[name] = pathfinder_statistics(drawn).to_dict() | {"seconds": seconds}
        found = images[name]
        print(
            f"{name}: {found['count']:,} images of {config.resolution} x {config.resolution}, "
            f"{100 * found['positive_share']:.1f} % connected (published: half), "
            f"{100 * found['lit_share']:.1f} % of the pixels lit, "
            f"{found['mean_components']:.1f} components, {options.images / seconds:.0f} a second"
        )
    write_record(options, {"listops": sets, "pathfinder": images})


if __name__ == "__main__":
    main()
