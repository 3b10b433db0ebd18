"""Any saved model."""

from pathlib import Path

import torch
from torch import nn

from hydropress.models import checkpoint
from hydropress.models.adapters.files import load_layers


def load(
    directory: str | Path,
    model: nn.Module | None = None,
    *,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Read a model that :func:`hydropress.save` or a compression's ``save`` wrote.

    Parameters
    ----------
    directory
        Of a :class:`~hydropress.models.classifier.SequenceClassifier`, ``config.json`` and
        ``model.safetensors``; of a model of another class, ``layers.json`` and
        ``model.safetensors``.
    model
        For the latter: the original's architecture, of any weights; it is changed.
    device
        Where the model is to be.

    Returns
    -------
    Module
        In evaluation mode; its outputs are those of the model saved, bit for bit.

    Raises
    ------
    DataNotFoundError
        If the directory or one of its files is missing.
    FileFormatError
        If a file is damaged or of another format or version, or the two contradict each other.
    """
    if model is None:
        return checkpoint.load(directory, device)
    return load_layers(model, directory).to(device)
