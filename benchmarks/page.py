"""What the scripts that render a page of the documentation share: write it, or check it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hydropress.errors import HydropressError

HERE = Path(__file__).resolve().parent


def make_parser(description: str | None, source: str, page: str) -> argparse.ArgumentParser:
    """Return the parser of a script that renders what is in results as a page in docs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=HERE / "results" / source)
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / page)
    parser.add_argument("--check", action="store_true", help="write nothing")
    return parser


def write_or_check(
    render: Callable[[Path], str],
    command: str,
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
) -> None:
    """Write what the source renders to, or exit with 1 if it is not what is there.

    Exits with 2 if the source is not whole. The command is what to run when the page is another.
    """
    options = parser.parse_args(arguments)
    try:
        page = render(options.source)
    except HydropressError as error:
        parser.exit(2, f"{error}\n")
    if not options.check:
        options.out.write_text(page, encoding="utf-8")
        print(f"written to {options.out}")
    elif not options.out.is_file() or options.out.read_text(encoding="utf-8") != page:
        print(f"{options.out} is not up to date; run {command}", file=sys.stderr)
        raise SystemExit(1)
