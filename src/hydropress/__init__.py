"""H²-optimal compression of trained deep state space models."""

from importlib.metadata import version

from hydropress.compress import compress
from hydropress.models.checkpoint import load, save
from hydropress.reduction.reduce import reduce, reduce_path
from hydropress.reduction.registry import register_method
from hydropress.systems.gramians import hankel_singular_values
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
    "load",
    "reduce",
    "reduce_path",
    "register_method",
    "save",
]
