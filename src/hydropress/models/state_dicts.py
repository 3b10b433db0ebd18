"""State dicts of other people's checkpoints: safetensors, PyTorch, Lightning, Flax.

Nothing in a file is executed, and its sizes are compared with its length before anything of them is
allocated.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hydropress.errors import DataNotFoundError, FileFormatError
from hydropress.models.description import ANOTHER_COPY, brief
from hydropress.models.flax_trees import read_flax
from hydropress.models.tensor_trees import DTYPES, choose, unreadable
from hydropress.models.torch_archives import read_archive

#: What wrappers put before the name of every tensor: DataParallel, Lightning's modules and
#: strategies, ``torch.compile``, and Flax's collection.
PREFIXES = (
    "module.",
    "model.",
    "net.",
    "network.",
    "_orig_mod.",
    "_forward_module.",
    "params.",
)

_SAFETENSORS_TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a model from a file.

    Parameters
    ----------
    path
        By its ending: ``.safetensors``; ``.pt``, ``.pth``, ``.ckpt`` or ``.bin`` of ``torch.save``;
        ``.msgpack`` of ``flax.serialization``.  The model may be all of the file, or under
        ``state_dict``, ``model_state_dict``, ``model``, ``module`` or Flax's ``params``, beside a
        training state, which is left out.

    Returns
    -------
    dict
        Tensors on the processor, in the shapes and types of the file.  Nested names are joined with
        dots, and prefixes that all share are gone, as :func:`strip_prefixes` says.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    FileFormatError
        If the file is damaged, holds code or other objects, tensors of another type, or NaN or
        infinity, or declares more than is in it.
    MissingLibraryError
        If the file is Flax's and msgpack is not installed.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if not path.exists():
        raise DataNotFoundError(
            f"{path} does not exist; required: a file of tensors; check the path"
        )
    if not path.is_file():
        raise unreadable(
            path, "is a directory, or no common file", "a file of tensors", "name the file in it"
        )
    if reader is None:
        raise unreadable(
            path,
            f"ends in {path.suffix!r}",
            f"one of {', '.join(_READERS)}",
            "rename the file by what it holds, or save it as safetensors",
        )
    try:
        if not path.stat().st_size:
            raise unreadable(path, "is empty", "a file of tensors", ANOTHER_COPY)
        tensors = reader(path)
        _require_finite(path, tensors)
    except (OSError, MemoryError, RuntimeError) as error:
        raise unreadable(
            path,
            f"cannot be read ({brief(error)})",
            "a file that may be read and fits in memory",
            "check its permissions and its size",
        ) from error
    names = strip_prefixes(tensors)
    return {names[name]: value for name, value in tensors.items()}


def strip_prefixes(names: Iterable[str]) -> dict[str, str]:
    """Take away what wrappers put before all names.

    A prefix of :data:`PREFIXES` goes only if every name begins with it and is longer; what is left
    is looked at again.  So ``model.encoder.weight`` beside ``decoder.weight`` stays as it is: there
    ``model`` is a part of the network.

    Parameters
    ----------
    names
        Of all tensors of a model.

    Returns
    -------
    dict
        The new name of each.
    """
    before = list(names)
    after = before
    while after:
        shared = [p for p in PREFIXES if all(n.startswith(p) and n != p for n in after)]
        if not shared:
            break
        after = [name.removeprefix(shared[0]) for name in after]
    return dict(zip(before, after, strict=True))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        # The header is checked against the file's length as it is opened.
        with safe_open(path, framework="pt") as file:
            names: list[str] = list(file.keys())
            for name in names:
                kind = file.get_slice(name).get_dtype()
                if kind not in _SAFETENSORS_TYPES:
                    raise unreadable(
                        path,
                        f"holds {name[:60]!r} of type {kind}",
                        f"one of {', '.join(DTYPES)}",
                        "convert the tensor and save it again",
                    )
            # Copied, since the file is only mapped into memory and may change.
            tensors = {name: file.get_tensor(name).clone() for name in names}
        return choose(tensors, Tensor)
    except (SafetensorError, RuntimeError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise unreadable(
            path,
            f"cannot be read as safetensors ({brief(error)})",
            "a complete safetensors file",
            ANOTHER_COPY,
        ) from error


def _require_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, value in tensors.items():
        fractional = value.is_floating_point() or value.is_complex()
        if fractional and not bool(torch.isfinite(value).all()):
            raise unreadable(
                path,
                f"holds NaN or infinity in {name!r}",
                "finite weights",
                "take a checkpoint from before the training diverged",
            )


_READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".pt": read_archive,
    ".pth": read_archive,
    ".ckpt": read_archive,
    ".bin": read_archive,
    ".msgpack": read_flax,
}
