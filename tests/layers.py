"""The linear SSM layers of this package in a model."""

from torch import nn

from hydropress.models.layer import LinearSSM


def own_layers(model: nn.Module) -> list[tuple[str, LinearSSM]]:
    """Return names and layers, in the order of the model."""
    return [(name, one) for name, one in model.named_modules() if isinstance(one, LinearSSM)]
