"""Banks of scalar systems: S4D at initialisation and trained, in discrete and continuous time."""

import torch

from hydropress.data.shipped import find_model
from hydropress.models.checkpoint import load
from hydropress.models.s4d import S4D, Initialization
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.moments import Time

INITIALIZATIONS: tuple[Initialization, ...] = ("lin", "inv", "legs")
TRAINED = "s4d-fashion-mnist"


def new_layer(
    channels: int,
    seed: int,
    initialization: Initialization = "lin",
    state_size: int = 64,
    *,
    bidirectional: bool = False,
) -> S4D:
    """Return an S4D layer at initialisation, drawn from a seed and nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return S4D(channels, state_size, initialization=initialization, bidirectional=bidirectional)


def trained_layers() -> list[S4D]:
    """Return the layers of the shipped model."""
    model = load(find_model(TRAINED))
    return [part for part in model.modules() if isinstance(part, S4D)]


def bank(layer: S4D, time: Time = "discrete") -> SISOSystem:
    """Return a layer's channels, batch shape ``(H,)``.

    In continuous time those before their discretisation: poles λ, residues C (B is 1).
    """
    with torch.no_grad():
        if time == "discrete":
            return layer.system()[0]
        decay = layer.log_decay.double().exp()
        poles = torch.complex(-decay, layer.frequency.double().abs())
        residues = torch.view_as_complex(layer.C[0].double())
        residues = torch.where(layer.frequency < 0, residues.conj(), residues)
    return ModalSystem.from_exponents(
        poles, residues, torch.full(poles.shape, 2), time="continuous"
    )


def both_directions(layer: S4D) -> MIMOSystem:
    """Return a bidirectional layer's channels, each one input and two outputs, shape ``(H,)``.

    The directions share their poles; their outputs stand one above the other, since errors add.
    """
    banks = layer.system()
    C = banks.residues.transpose(0, 1)
    B = torch.ones_like(C[:, 0, :, None])
    return MIMOSystem(banks.exponents[0], B, C, banks.states[0], banks.D.T[..., None], "discrete")


def joined(banks: list[SISOSystem]) -> SISOSystem:
    """Return several banks of one number of entries as one, one after the other."""
    return ModalSystem.from_exponents(
        torch.cat([one.exponents for one in banks]),
        torch.cat([one.residues for one in banks]),
        torch.cat([one.states for one in banks]),
        torch.cat([one.D for one in banks]),
        time=banks[0].time,
    )


def mixed_bank(channels: int, seed: int) -> SISOSystem:
    """Return that many discrete channels: the trained ones first, then S4D at initialisation.

    An eighth are trained (256 of 2,048: all there are), the rest Lin, Inv and LegS in equal parts.
    """
    trained = joined([bank(layer) for layer in trained_layers()])
    count = min(len(trained.D), max(1, channels // 8))
    # Evenly from all layers.
    chosen = torch.linspace(0, len(trained.D) - 1, count).round().long()
    parts = [trained[chosen]]
    left = channels - count
    for number, name in enumerate(INITIALIZATIONS):
        size = (left + number) // len(INITIALIZATIONS)
        if size:
            parts.append(bank(new_layer(size, seed + number, name)))
    return joined(parts)
