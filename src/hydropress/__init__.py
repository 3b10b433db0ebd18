"""H²-optimal compression of trained deep state space models."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydropress.compression.model import compress
    from hydropress.models.adapters.registry import register_adapter
    from hydropress.models.checkpoint import save
    from hydropress.models.loading import load
    from hydropress.reduction.reduce import reduce, reduce_path
    from hydropress.reduction.registry import register_method
    from hydropress.systems.gramians import hankel_singular_values
    from hydropress.systems.hinf import hinf_norm
    from hydropress.systems.modal import ModalSystem
    from hydropress.systems.norms import h2_error, h2_norm

__version__ = version("hydropress")

__all__ = [
    "ModalSystem",
    "__version__",
    "compress",
    "h2_error",
    "h2_norm",
    "hankel_singular_values",
    "hinf_norm",
    "load",
    "reduce",
    "reduce_path",
    "register_adapter",
    "register_method",
    "save",
]

# Where each name lives.  They are imported at first use: torch takes a second, which the command
# line's help and its error messages should not.
_HOMES = {
    "ModalSystem": "systems.modal",
    "compress": "compression.model",
    "h2_error": "systems.norms",
    "h2_norm": "systems.norms",
    "hankel_singular_values": "systems.gramians",
    "hinf_norm": "systems.hinf",
    "load": "models.loading",
    "reduce": "reduction.reduce",
    "reduce_path": "reduction.reduce",
    "register_adapter": "models.adapters.registry",
    "register_method": "reduction.registry",
    "save": "models.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
