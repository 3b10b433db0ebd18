"""Models as their owners wrote them, around SSMs of other packages.

Run as a script with a directory it loads every family's compressed model there, in a process of its
own, and writes the outputs.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.adapters import originals
from models.adapters.mimo_standins import SSMLayer

CHANNELS, LENGTH, LAYERS = 4, 60, 2


class Owner(nn.Module):
    """A classifier with a backbone of its own: channels last between layers, tuples unpacked."""

    def __init__(self, make: Callable[[], nn.Module], *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.embed = nn.Linear(2, CHANNELS)
        self.layers = nn.ModuleList(make() for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(CHANNELS) for _ in range(LAYERS))
        self.head = nn.Linear(CHANNELS, 3)

    def forward(self, sequences: Tensor) -> Tensor:
        hidden = self.embed(sequences)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            branch = norm(hidden)
            branch = layer(branch if self.channels_last else branch.mT)
            branch = branch[0] if isinstance(branch, tuple) else branch
            hidden = hidden + torch.tanh(branch if self.channels_last else branch.mT)
        return self.head(hidden.mean(1))


def _recorded(kind: str, name: str) -> tuple[Callable[[], nn.Module], bool]:
    case = originals.case_of(kind, name)
    return (lambda: originals.original(case)), originals.takes_channels_last(case)


def _s5(bidirectional: bool) -> tuple[Callable[[], nn.Module], bool]:
    from s5 import S5

    return (lambda: S5(CHANNELS, 8, bidir=bidirectional, dt_min=0.02, dt_max=0.2)), True


def _lru() -> tuple[Callable[[], nn.Module], bool]:
    from LRU_pytorch import LRU

    return (lambda: LRU(CHANNELS, CHANNELS, 8)), True


def _attenuate() -> tuple[Callable[[], nn.Module], bool]:
    def make() -> nn.Module:
        layer = SSMLayer(8, CHANNELS, CHANNELS)
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
        return layer

    return make, False


FAMILIES: dict[str, Callable[[], tuple[Callable[[], nn.Module], bool]]] = {
    "s4d": lambda: _recorded("S4D", "disturbed"),
    "s4": lambda: _recorded("S4Block", "block"),
    "s4 both ways": lambda: _recorded("FFTConv", "bidirectional"),
    "dss": lambda: _recorded("DSS", "exp"),
    "attenuate": _attenuate,
    "s5": lambda: _s5(False),
    "s5 both ways": lambda: _s5(True),
    "lru": _lru,
}


def owner(family: str, seed: int = 0) -> Owner:
    """Return the model of a family, the same for the same seed."""
    make, channels_last = FAMILIES[family]()
    torch.manual_seed(seed)
    return Owner(make, channels_last=channels_last).eval()


def sequences(count: int, seed: int = 0) -> Tensor:
    """Return smooth sequences with a mean, (count, LENGTH, 2)."""
    noise = torch.randn(count, LENGTH, 2, generator=torch.Generator().manual_seed(seed))
    return 0.3 * noise.cumsum(1) + 0.5


def outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return model(inputs)


def main(folder: Path) -> None:
    """Load what was saved, in another process than the one that compressed it."""
    from hydropress import load

    results: dict[str, Any] = {}
    for family in FAMILIES:
        place = folder / family
        if place.is_dir():
            results[family] = outputs(load(place, owner(family, seed=1)), sequences(4, 7))
    torch.save(results, folder / "outputs.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
