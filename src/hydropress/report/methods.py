"""How a method looks wherever it appears: one name, one colour, one marker."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

ORIGINAL = "original"

# The colours are CSS variables, so that the page can hold one value for light and one for dark.
_KNOWN = {
    ORIGINAL: ("Original", "--ink", "circle"),
    "h2": ("H²", "--method-h2", "circle"),
    "balanced": ("Balanced truncation", "--method-balanced", "square"),
    "modal": ("Modal truncation", "--method-modal", "diamond"),
    "gradient": ("Gradient descent", "--method-gradient", "triangle-up"),
    "last": ("LAST", "--method-last", "triangle-down"),
    "aire": ("AIRE-Prune", "--method-aire", "hexagon"),
    "irka": ("IRKA", "--method-irka", "cross"),
    "singular-perturbation": ("Singular perturbation", "--method-singular", "star"),
    "hippo": ("Fresh HiPPO start", "--method-hippo", "square"),
    "scratch": ("Training from scratch", "--method-scratch", "diamond"),
}
_SPARE = (
    ("--method-other-1", "star"),
    ("--method-other-2", "cross"),
    ("--method-other-3", "triangle-down"),
)

# Outlines of the markers in a box from -6 to 6, for the legend.
OUTLINES = {
    "circle": "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z",
    "square": "M-4.5,-4.5H4.5V4.5H-4.5Z",
    "diamond": "M0,-6L6,0L0,6L-6,0Z",
    "triangle-up": "M0,-5.5L5.5,4.5H-5.5Z",
    "triangle-down": "M0,5.5L5.5,-4.5H-5.5Z",
    "hexagon": "M-5,-2.8L0,-5.6L5,-2.8V2.8L0,5.6L-5,2.8Z",
    "cross": "M-2,-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    "star": "M0,-6L1.6,-1.9L6,-1.7L2.5,1L3.7,5.3L0,2.8L-3.7,5.3L-2.5,1L-6,-1.7L-1.6,-1.9Z",
}


@dataclass(frozen=True)
class MethodStyle:
    """One series of results: a method, with calibration data or without.

    Attributes
    ----------
    method
        The method's name in the results.
    calibrated
        Whether calibration data were used.
    label
        The name in words.
    color
        A CSS variable, ready for use as a colour.
    symbol
        The plotly marker symbol.
    solid
        False for the uncalibrated twin of a calibrated series: dashed line, open marker.
    rank
        Position in legends and tables.
    """

    method: str
    calibrated: bool
    label: str
    color: str
    symbol: str
    solid: bool
    rank: tuple[int, str, int]

    @property
    def key(self) -> str:
        """Identify the series in the page."""
        return f"{self.method}+data" if self.calibrated else self.method

    @property
    def marker(self) -> str:
        """Return the plotly symbol, open for an uncalibrated twin."""
        return self.symbol if self.solid else f"{self.symbol}-open"

    @property
    def outline(self) -> str:
        """Return the SVG path of the marker."""
        return OUTLINES[self.symbol]


@dataclass(frozen=True)
class Palette:
    """The styles of all methods that a report mentions.

    Parameters
    ----------
    records
        Everything with a method and perhaps a calibrated entry: rows and models.
    """

    records: Iterable[dict[str, Any]]
    _unknown: list[str] = field(init=False)
    _paired: set[str] = field(init=False)

    def __post_init__(self) -> None:
        seen = {
            (record.get("method", ""), bool(record.get("calibrated"))) for record in self.records
        }
        names = {name for name, _ in seen}
        object.__setattr__(self, "_unknown", sorted(names - set(_KNOWN)))
        paired = {name for name in names if {(name, True), (name, False)} <= seen}
        object.__setattr__(self, "_paired", paired)

    def style(self, record: dict[str, Any]) -> MethodStyle:
        """Return the style of a row or a model.

        Parameters
        ----------
        record
            The row or model.

        Returns
        -------
        MethodStyle
            The same for every record of that method and calibration.
        """
        name, calibrated = record.get("method", ""), bool(record.get("calibrated"))
        if name in _KNOWN:
            label, variable, symbol = _KNOWN[name]
            position = list(_KNOWN).index(name)
        else:
            spare = self._unknown.index(name) if name in self._unknown else 0
            variable, symbol = _SPARE[spare % len(_SPARE)]
            label, position = name or "unnamed", len(_KNOWN)
        if name == ORIGINAL:
            calibrated = False
        return MethodStyle(
            method=name,
            calibrated=calibrated,
            label=f"{label}, calibrated" if calibrated else label,
            color=f"var({variable})",
            symbol=symbol,
            solid=calibrated or name not in self._paired,
            rank=(position, name, 0 if calibrated else 1),
        )
