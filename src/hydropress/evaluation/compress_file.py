"""From a file of tensors, of any known family or of plain systems, to a smaller one."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hydropress.compression.state_dict import compress_state_dict
from hydropress.compression.system_file import SUFFIXES, compress_system_file
from hydropress.errors import InvalidArgumentError
from hydropress.evaluation.compress_folder import COMPRESSION
from hydropress.evaluation.outputs import check_folder, check_source, uninterrupted, write_run
from hydropress.evaluation.records import write_json
from hydropress.models.state_dicts import read_state_dict

TENSORS, SYSTEMS = "tensors.safetensors", "systems"


@dataclass(frozen=True)
class FileCompression:
    """What was written.

    Attributes
    ----------
    path
        The smaller file.
    summary
        Content of ``compression.json``: source, method and one entry a layer.
    """

    path: Path
    summary: dict[str, Any]


def compress_file(
    path: Path,
    folder: Path,
    *,
    ratio: float | None = None,
    order: int | None = None,
    method: str = "h2",
    family: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> FileCompression:
    """Compress what a file holds, without code or data.

    Parameters
    ----------
    path
        Plain systems, see :mod:`hydropress.compression.system_file`; or a checkpoint as
        :func:`~hydropress.models.state_dicts.read_state_dict` takes it.
    folder
        Receives ``systems.npz`` or ``systems.safetensors``, or ``tensors.safetensors`` under the
        names of the checkpoint, its prefixes stripped; and ``compression.json``.
    ratio, order, method, family, options
        As in :func:`~hydropress.compression.state_dict.compress_state_dict`; the last two are for
        checkpoints.

    Raises
    ------
    InvalidArgumentError
        If arguments contradict each other, or no layer is found.
    DataNotFoundError, FileFormatError
        If the file cannot be read.
    """
    check_folder(folder, "compress")
    check_source(folder, path)
    summary: dict[str, Any] = {"source": str(path), "method": method, "calibration": "no data"}
    if holds_systems(path):
        if family is not None or options:
            raise InvalidArgumentError(
                f"a family or options with {path.name}, which holds plain systems; required: "
                "neither; leave them out"
            )
        with TemporaryDirectory() as temporary:
            made = Path(temporary) / f"{SYSTEMS}{path.suffix}"
            reduction = compress_system_file(path, made, ratio=ratio, order=order, method=method)
            summary["systems"] = {
                "reduced_order": reduction.system.order.tolist(),
                "relative_error": reduction.relative_error.tolist(),
            }
            return _written(made, folder, summary)
    small, records = compress_state_dict(
        read_state_dict(path),
        ratio=ratio,
        order=order,
        method=method,
        family=family,
        options=options,
    )
    summary["layers"] = [
        {
            "name": one.name,
            "family": one.family,
            "options": one.options,
            "sizes": one.sizes,
            "full_order": one.full_order.tolist(),
            "reduced_order": one.reduced_order.tolist(),
            "relative_error": one.relative_error.tolist(),
            "parameters": list(one.parameters),
        }
        for one in records
    ]
    with TemporaryDirectory() as temporary:
        made = Path(temporary) / TENSORS
        save_file({name: value.contiguous() for name, value in small.items()}, made)
        return _written(made, folder, summary)


def _written(made: Path, folder: Path, summary: dict[str, Any]) -> FileCompression:
    """Move what was made into the folder, with what is said of it."""
    with uninterrupted():
        write_run(folder, {"command": "compress"})
        shutil.move(made, folder / made.name)
        write_json(folder / COMPRESSION, summary)
    return FileCompression(folder / made.name, summary)


def holds_systems(path: Path) -> bool:
    """Return whether a file is one of plain systems, by its names alone."""
    if path.suffix not in SUFFIXES:
        return False
    if path.suffix == ".npz":
        return True
    try:
        with safe_open(path, "pt") as file:
            return not {"poles", "poles.real"}.isdisjoint(file.keys())
    except (OSError, SafetensorError):
        return False  # who reads it will say what is wrong


def parse_options(given: Sequence[str]) -> dict[str, Any]:
    """Return settings given as ``name=value``, values as JSON if they are, else as words."""
    options: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise InvalidArgumentError(f"option {one!r}; required: name=value, such as disc=zoh")
        try:
            options[name] = json.loads(text)
        except ValueError:
            options[name] = text
    return options
