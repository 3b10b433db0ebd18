"""Tensors of a file that torch.save wrote; judged in full before PyTorch is let at it."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hydropress.models.description import brief
from hydropress.models.pickle_outline import (
    ForeignObjectError,
    StorageOutline,
    TensorOutline,
    outline,
)
from hydropress.models.tensor_trees import DTYPES, choose, unreadable

SAVE_AGAIN = (
    "where it was made, save the weights alone: torch.save(model.state_dict(), path), or "
    "safetensors.torch.save_file(model.state_dict(), path)"
)
_REQUIRED = "a zip archive of torch.save with tensors, numbers and texts"
_LARGEST_PICKLE = 2**24
_PICKLE = "/data.pkl"


def read_archive(path: Path) -> dict[str, Tensor]:
    """Read the model in a ``.pt``, ``.pth``, ``.ckpt`` or ``.bin`` file.

    Parameters
    ----------
    path
        A file of ``torch.save`` since version 1.6.  Beside the model there may be a training
        state of tensors, numbers, texts and settings of OmegaConf, as in Lightning's checkpoints;
        it is not read.

    Returns
    -------
    dict
        Contiguous tensors on the processor; those that were one in the file are one again.

    Raises
    ------
    FileFormatError
        If the file is damaged or of an older format, holds anything but tensors, numbers and
        texts, or declares more than is in it.
    """
    try:
        sizes, pickled = _records(path)
        outlined = outline(pickled)
        wanted = choose(outlined.tree, TensorOutline)
        _check(sizes, outlined.storages, wanted, path.stat().st_size)
    except ForeignObjectError as error:
        raise _foreign(path, brief(error)) from error
    except (ValueError, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise unreadable(
            path, f"cannot be read as a torch file ({brief(error)})", _REQUIRED, SAVE_AGAIN
        ) from error
    try:
        with torch.serialization.safe_globals(_stand_ins(outlined.settings)):
            tree = torch.load(path, "cpu", weights_only=True, mmap=True)
        return _copied(choose(tree, Tensor), wanted)
    except pickle.UnpicklingError as error:
        raise _foreign(path, brief(error)) from error
    except Exception as error:  # what a wrong file makes PyTorch raise is anything
        raise unreadable(
            path, f"is refused by torch.load ({brief(error)})", _REQUIRED, SAVE_AGAIN
        ) from error


class _PassedOver:
    """Stands for any object that is not to be built."""

    def __new__(cls, *_: Any) -> "_PassedOver":
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        pass


def _empty(_: Any) -> dict[Any, Any]:
    return {}


def _stand_ins(settings: set[str]) -> list[Any]:
    """Return what PyTorch is to take for these classes, and for dictionaries within settings."""
    if not settings:
        return []
    return [(_empty, "collections.defaultdict"), *((_PassedOver, name) for name in settings)]


def _foreign(path: Path, what: str) -> Exception:
    return unreadable(
        path,
        f"holds code or objects other than tensors ({what}), which are not loaded since loading "
        "could execute them",
        "tensors, numbers and texts",
        SAVE_AGAIN,
    )


def _records(path: Path) -> tuple[dict[str, int], bytes]:
    """Return the size of each storage's record, and the pickle, of an archive of plain records."""
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        raise ValueError("is no zip archive, or not a whole one")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        pickles = [name for name in names if name.endswith(_PICKLE) and name.count("/") == 1]
        if len(pickles) != 1:
            raise ValueError("is an archive without the one record data.pkl")
        folder = pickles[0].removesuffix(_PICKLE.removeprefix("/"))
        if f"{folder}constants.pkl" in names:
            raise ForeignObjectError("a TorchScript program")
        if len(names) != len(entries) or not all(name.startswith(folder) for name in names):
            raise ValueError("is an archive with a record twice or outside its folder")
        for entry in entries:
            if entry.compress_type or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
                raise ValueError(f"has the compressed record {entry.filename[:60]!r}")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("declares more bytes than it is long")
        if archive.getinfo(pickles[0]).file_size > _LARGEST_PICKLE:
            raise ValueError(f"has a data.pkl of more than {_LARGEST_PICKLE:,} bytes")
        data = folder + "data/"
        sizes = {e.filename.removeprefix(data): e.file_size for e in entries}
        return sizes, archive.read(pickles[0])


def _check(
    sizes: dict[str, int],
    storages: set[StorageOutline],
    wanted: dict[str, TensorOutline],
    length: int,
) -> None:
    for storage in storages:
        if sizes.get(storage.key) != storage.nbytes:
            raise ValueError(
                f"declares {storage.nbytes:,} bytes for the storage {storage.key[:60]!r}, with "
                f"{sizes.get(storage.key, 0):,} present"
            )
    for name, tensor in wanted.items():
        if tensor.dtype not in DTYPES.values():
            raise ValueError(
                f"holds {name!r} of type {tensor.dtype}, not one of {', '.join(DTYPES)}"
            )
    # Strides may repeat numbers without end.
    needed = sum(tensor.nbytes for tensor in set(wanted.values()))
    if needed > length:
        raise ValueError(f"declares tensors of {needed:,} bytes and is {length:,} long")


def _copied(found: dict[str, Tensor], wanted: dict[str, TensorOutline]) -> dict[str, Tensor]:
    """Copy what was found out of the mapped file, each tensor once."""
    copies: dict[TensorOutline, Tensor] = {}
    for name, expected in wanted.items():
        tensor = found.get(name)
        if tensor is None or tensor.dtype != expected.dtype or tensor.shape != expected.shape:
            raise ValueError(f"{name} is not what the outline says")
        if expected not in copies:
            plain = tensor.detach().resolve_conj().resolve_neg()
            copies[expected] = plain.clone(memory_format=torch.contiguous_format)
    return {name: copies[expected] for name, expected in wanted.items()}
