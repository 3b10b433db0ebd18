"""One claim about a run, with its figure."""

from dataclasses import asdict, dataclass
from typing import Any

Row = dict[str, Any]

LISTED = 20
"""Offenders that are named, the worst first."""


@dataclass(frozen=True)
class Check:
    """One thing that is required, and what was measured.

    Attributes
    ----------
    number
        Of the claim that it belongs to; None if it watches over the benchmark itself.
    name
        Short and stable.
    claim
        What is required.
    figure
        What was measured.
    passed
        None if it was not measured, or not at the size that the claim is about.
    offenders
        Where it fails, the worst first.
    """

    number: int | None
    name: str
    claim: str
    figure: str
    passed: bool | None
    offenders: tuple[str, ...] = ()

    def to_dict(self) -> Row:
        """Return what JSON can hold."""
        return asdict(self) | {"offenders": list(self.offenders)}


def worst(found: list[tuple[float, str]]) -> tuple[str, ...]:
    """Return the texts of those with the largest figures."""
    return tuple(text for _, text in sorted(found, reverse=True)[:LISTED])


def share_check(
    number: int, name: str, claim: str, good: int, total: int, required: float, **more: Any
) -> Check:
    """Require a share of all that was tried; ``added`` goes behind the figure."""
    share = good / total if total else 0.0
    figure = f"{good:,} of {total:,} ({100 * share:.2f} %){more.pop('added', '')}"
    return Check(number, name, claim, figure, share >= required if total else None, **more)
