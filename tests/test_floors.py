"""The lower floors use tensors, never layers, and importing the package is light.

That imports point downward only is checked by import-linter, which cannot forbid a part of torch.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hydropress

ROOT = Path(hydropress.__file__).parent
LOWER_FLOORS = sorted(
    path for floor in ("systems", "reduction") for path in (ROOT / floor).rglob("*.py")
)
UPPER_FLOORS = (
    "hydropress.bench",
    "hydropress.cli",
    "hydropress.demo",
    "hydropress.report",
    "hydropress.training",
)
HEAVY = ("jinja2", "plotly", "rich", "scipy", "typer")


def _names(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of every import and attribute."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Attribute():
                yield ast.unparse(node)
            case _:
                pass


def _uses_layers(source: str) -> bool:
    return any(f"{name}.".startswith("torch.nn.") for name in _names(ast.parse(source)))


@pytest.mark.parametrize("path", LOWER_FLOORS, ids=lambda path: str(path.relative_to(ROOT)))
def test_lower_floors_use_no_layers(path: Path) -> None:
    assert not _uses_layers(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "import torch.nn",
        "import torch.nn.functional as F",
        "from torch import Tensor, nn",
        "from torch.nn import Module",
        "import torch\ntorch.nn.functional.pad(x, (0, 1))",
    ],
)
def test_the_check_sees_layers(source: str) -> None:
    assert _uses_layers(source)


def test_import_is_light() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, hydropress; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {*UPPER_FLOORS, *HEAVY} & {*loaded}
