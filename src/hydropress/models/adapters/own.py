"""The layers of this package, which need no translation."""

from torch import nn

from hydropress.models.adapters.protocol import LinearPart, Tap
from hydropress.models.layer import LinearSSM


class OwnLayers:
    """Every :class:`~hydropress.models.layer.LinearSSM`."""

    name = "hydropress"
    channels_last = False

    def find(self, model: nn.Module) -> list[str]:
        # One inside the kernel of a written module has no D of its own, and is not a layer.
        return [
            name
            for name, module in model.named_modules()
            if isinstance(module, LinearSSM) and "D" in dict(module.named_parameters())
        ]

    def read(self, module: nn.Module) -> LinearPart:
        assert isinstance(module, LinearSSM)
        return LinearPart(module.system(), module.bias, module.step_scale())

    def write(self, module: nn.Module, layer: LinearSSM) -> nn.Module:
        return layer

    def tap(self, module: nn.Module) -> Tap:
        return Tap(module)
