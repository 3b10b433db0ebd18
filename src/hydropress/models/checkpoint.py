"""Models as directories: config.json and model.safetensors; reading executes nothing.

Both are checked before they are used.  A model of the declared sizes is built without memory (on
PyTorch's ``meta`` device) and compared with the header of the tensor file, so that a wrong or
hostile description costs nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from hydropress.atomic import replacing
from hydropress.errors import DataNotFoundError, FileFormatError, InvalidArgumentError
from hydropress.models.classifier import ClassifierConfig, SequenceClassifier, SSMBlock
from hydropress.models.config import is_described
from hydropress.models.description import (
    ANOTHER_COPY,
    FORMAT,
    VERSION,
    brief,
    listed,
    parse_description,
    refuse,
)
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.models.modal_ssm import ModalSSM

CONFIG = "config.json"
TENSORS = "model.safetensors"

_LARGEST_CONFIG = 2**22
_DTYPES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
}


def _write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    # Written by Python, so that the file's permissions are those of any other.
    path.write_bytes(serialize({name: value.contiguous() for name, value in tensors.items()}))


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file in one step."""
    with replacing(path) as temporary:
        _write_tensors(tensors, temporary)


def save(model: SequenceClassifier, directory: str | Path) -> None:
    """Write a classifier, original or compressed, to a directory.

    Parameters
    ----------
    model
        The classifier.
    directory
        Created if missing.  Receives ``config.json`` and ``model.safetensors``; both are written
        in full before they take the place of earlier ones.

    Raises
    ------
    InvalidArgumentError
        If the model is no classifier, or not what its configuration and the kinds of its layers
        describe, or the directory is a file.
    """
    if not isinstance(cast(object, model), SequenceClassifier):
        raise InvalidArgumentError(
            f"a {type(model).__name__} to save; required: a SequenceClassifier; write a compressed "
            "model of another class with the save of what compress returned"
        )
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise InvalidArgumentError(
            f"{folder} is a file; required: a directory to write to; choose another name"
        )
    layers = [_describe_layer(index, model) for index in range(len(model.blocks))]
    tensors = model.state_dict()
    kinds = {name: _DTYPES.get(value.dtype, str(value.dtype)) for name, value in tensors.items()}
    found = {name: (kinds[name], tuple(value.shape)) for name, value in tensors.items()}
    problems = _differences(found, _skeleton(model.config, layers))
    if problems:
        raise InvalidArgumentError(
            f"the model differs from its config: {listed(problems)}; required: the tensors of a "
            "SequenceClassifier of that config; build it from a ClassifierConfig that fits"
        )
    description = {
        "format": FORMAT,
        "version": VERSION,
        "config": model.config.to_dict(),
        "layers": layers,
    }
    folder.mkdir(parents=True, exist_ok=True)
    # They take their places in reverse order: the description last.
    with replacing(folder / CONFIG) as config, replacing(folder / TENSORS) as weights:
        _write_tensors(tensors, weights)
        config.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _describe_layer(index: int, model: SequenceClassifier) -> dict[str, Any]:
    block = model.blocks[index]
    layer = block.ssm if isinstance(block, SSMBlock) else block
    if is_described(layer, model.config):
        return {"kind": model.config.layer}
    if type(layer) is ModalSSM:
        return {"kind": "modal", "pairs": len(layer.pair_row), "reals": len(layer.real_row)}
    if type(layer) is ModalMIMOSSM:
        return {
            "kind": "modal_mimo",
            "pairs": list(layer.pairs),
            "reals": list(layer.reals),
            "full_feedthrough": layer.full_feedthrough,
        }
    raise InvalidArgumentError(
        f"block {index} holds {layer}; required: a ModalSSM, a ModalMIMOSSM or a layer as the "
        "model's config describes it, which is all that the format describes"
    )


def load(directory: str | Path, device: str | torch.device = "cpu") -> SequenceClassifier:
    """Read a classifier that :func:`save` wrote, in evaluation mode.

    Parameters
    ----------
    directory
        Holds ``config.json`` and ``model.safetensors``.
    device
        Where the model is to be.

    Returns
    -------
    SequenceClassifier
        In the precision of the file; its outputs are those of the model saved, bit for bit.

    Raises
    ------
    DataNotFoundError
        If the directory or one of its files is missing.
    FileFormatError
        If a file is damaged or of another format or version, or the two contradict each other.
    """
    folder = Path(directory)
    config_path, tensors_path = folder / CONFIG, folder / TENSORS
    for path, is_right in (
        (folder, folder.is_dir()),
        (config_path, config_path.is_file()),
        (tensors_path, tensors_path.is_file()),
    ):
        if not is_right:
            problem = FileFormatError if path.exists() else DataNotFoundError
            state = "is of the wrong kind" if path.exists() else "does not exist"
            raise problem(
                f"{path} {state}; required: a directory with the files {CONFIG} and {TENSORS}; "
                "check the path"
            )
    description = _read_json(config_path)
    try:
        with safe_open(tensors_path, framework="pt") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            config, layers = parse_description(config_path, description, parts)
            try:
                model = _skeleton(config, layers)
            except (ValueError, RuntimeError, TypeError, OverflowError) as error:
                raise FileFormatError(
                    f"{config_path} describes a model that cannot be built ({brief(error)}); "
                    f"required: sizes and names of a ClassifierConfig; {ANOTHER_COPY}"
                ) from error
            found = {name: (p.get_dtype(), tuple(p.get_shape())) for name, p in parts.items()}
            refuse(tensors_path, _differences(found, model), f"the tensors that {CONFIG} describes")
            # Copied, since the file is only mapped into memory and may change.
            weights = {name: file.get_tensor(name).clone() for name in parts}
    except SafetensorError as error:
        raise FileFormatError(
            f"{tensors_path} cannot be read ({brief(error)}); required: a complete safetensors "
            f"file; {ANOTHER_COPY}"
        ) from error
    model.load_state_dict(weights, assign=True)
    refuse(tensors_path, _bad_values(model), "finite weights, and rows and steps in range")
    return model.to(device).eval()


def _read_json(path: Path) -> Any:
    size = path.stat().st_size
    try:
        if size > _LARGEST_CONFIG:
            raise ValueError(f"{size:,} bytes are too many")
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path} is not a model's description ({brief(error)}); required: JSON as save "
            f"writes it; {ANOTHER_COPY}"
        ) from error


def _skeleton(config: ClassifierConfig, layers: list[dict[str, Any]]) -> SequenceClassifier:
    """Build a classifier whose tensors have shapes and no memory."""
    with torch.device("meta"):
        model = SequenceClassifier(config)
        for block, layer in zip(model.blocks, layers, strict=True):
            assert isinstance(block, SSMBlock)
            directions = block.ssm.directions
            if layer["kind"] == "modal":
                block.ssm = ModalSSM(
                    torch.empty(layer["pairs"], dtype=torch.int64),
                    torch.empty(layer["reals"], dtype=torch.int64),
                    torch.empty(layer["reals"]),
                    torch.empty(directions * config.channels),
                    channels=config.channels,
                    bidirectional=config.bidirectional,
                )
            elif layer["kind"] == "modal_mimo":
                block.ssm = ModalMIMOSSM(
                    layer["pairs"],
                    layer["reals"],
                    torch.empty(sum(layer["reals"])),
                    torch.empty(directions),
                    channels=config.channels,
                    full_feedthrough=layer["full_feedthrough"],
                )
    return model


def _differences(
    found: Mapping[str, tuple[str, tuple[int, ...]]], skeleton: SequenceClassifier
) -> list[str]:
    """Compare tensors by name, type and shape; floating-point tensors have one common type."""
    required = skeleton.state_dict()
    floating, _ = found.get("decoder.weight", ("F32", ()))
    floating = floating if floating in _DTYPES.values() and floating != "I64" else "F32"
    problems = [f"{name} is missing" for name in required if name not in found]
    problems += [f"{name} is unexpected" for name in found if name not in required]
    for name, value in required.items():
        wanted = (floating if value.is_floating_point() else "I64", tuple(value.shape))
        if found.get(name, wanted) != wanted:
            kind, shape = found[name]
            problems.append(f"{name} is {kind} {shape}, not {wanted[0]} {wanted[1]}")
    return problems


def _bad_values(model: SequenceClassifier) -> list[str]:
    tensors = model.state_dict()
    problems = [
        f"{name} holds NaN or infinity"
        for name, value in tensors.items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    for index, block in enumerate(model.blocks):
        layer = block.ssm if isinstance(block, SSMBlock) else block
        if isinstance(layer, ModalSSM):
            rows = torch.cat([layer.pair_row, layer.real_row])
            if bool(((rows < 0) | (rows >= len(layer.step_size))).any()):
                problems.append(f"blocks.{index}.ssm has a row that is none of its systems")
        if isinstance(layer, ModalSSM | ModalMIMOSSM):
            if not bool((layer.step_size > 0).all()):
                problems.append(f"blocks.{index}.ssm.step_size is not positive")
            if not bool((layer.real_sign.abs() == 1).all()):
                problems.append(f"blocks.{index}.ssm.real_sign is neither 1 nor -1")
    return problems
