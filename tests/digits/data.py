"""The handwritten digits of scikit-learn, 8 x 8 pixels read one after another."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

TRAINING = 1000


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return training and test sequences (n, 64, 1) with their labels: 1,000 and 797 of them."""
    images, labels = load_digits(return_X_y=True)
    sequences = torch.from_numpy(images).float()[..., None] / 16
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    sequences, classes = sequences[order], torch.from_numpy(labels)[order]
    return (
        (sequences[:TRAINING], classes[:TRAINING]),
        (sequences[TRAINING:], classes[TRAINING:]),
    )


def right(model: nn.Module, sequences: Tensor, labels: Tensor) -> float:
    """Return the share of sequences that a model classifies as labelled."""
    with torch.no_grad():
        return float((model.eval()(sequences).argmax(-1) == labels).double().mean())
