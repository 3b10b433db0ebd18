"""Compressed models of others as directories: layers.json and model.safetensors.

A model whose code is not ours cannot be built from a file.  Its owner builds the original; what was
compressed in it is replaced by modules of the recorded sizes, and all tensors are read back.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hydropress.atomic import write_atomically
from hydropress.errors import DataNotFoundError, FileFormatError, InvalidArgumentError
from hydropress.models.adapters.checks import write_module
from hydropress.models.adapters.registry import get_adapter
from hydropress.models.checkpoint import TENSORS, save_tensors
from hydropress.models.layer import LinearSSM
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.models.modal_ssm import ModalSSM

LAYERS, FORMAT, VERSION = "layers.json", "hydropress-layers", 1


@dataclass(frozen=True)
class WrittenLayer:
    """The sizes of a layer that was written into a model.

    Attributes
    ----------
    name, adapter
        Path of its module, and the name of the adapter that wrote it.
    kind
        ``modal`` for a :class:`~hydropress.models.modal_ssm.ModalSSM`, ``modal_mimo`` for a
        :class:`~hydropress.models.modal_mimo_ssm.ModalMIMOSSM`.
    channels
        H.
    pairs, reals
        Conjugate pairs and real poles of each direction; of ``modal`` those of all systems
        together, and as many entries.
    bias, full_feedthrough
        Whether there is a bias, and whether D is a matrix.
    """

    name: str
    adapter: str
    kind: Literal["modal", "modal_mimo"]
    channels: int
    pairs: tuple[int, ...]
    reals: tuple[int, ...]
    bias: bool
    full_feedthrough: bool

    @staticmethod
    def of(name: str, adapter: str, layer: LinearSSM) -> "WrittenLayer":
        """Return the sizes of a layer."""
        has_bias = layer.bias is not None
        if isinstance(layer, ModalMIMOSSM):
            return WrittenLayer(
                name,
                adapter,
                "modal_mimo",
                layer.channels,
                layer.pairs,
                layer.reals,
                has_bias,
                layer.full_feedthrough,
            )
        assert isinstance(layer, ModalSSM)
        rest = (0,) * (layer.directions - 1)
        pairs, reals = (len(layer.pair_row), *rest), (len(layer.real_row), *rest)
        return WrittenLayer(name, adapter, "modal", layer.channels, pairs, reals, has_bias, False)

    def layer(self) -> LinearSSM:
        """Return a layer of these sizes, of any values."""
        directions = len(self.pairs)
        if self.kind == "modal_mimo":
            built: LinearSSM = ModalMIMOSSM(
                self.pairs,
                self.reals,
                torch.ones(sum(self.reals)),
                torch.ones(directions),
                channels=self.channels,
                full_feedthrough=self.full_feedthrough,
            )
        else:
            built = ModalSSM(
                torch.zeros(sum(self.pairs), dtype=torch.int64),
                torch.zeros(sum(self.reals), dtype=torch.int64),
                torch.ones(sum(self.reals)),
                torch.ones(directions * self.channels),
                channels=self.channels,
                bidirectional=directions == 2,
            )
        if not self.bias:
            built.bias = None
        return built


def replace_module(model: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """Return a model with one of its modules replaced, under every name that the module has.

    The model may be that module.
    """
    if not name:
        return module
    old = model.get_submodule(name)
    places = [path for path, one in model.named_modules(remove_duplicate=False) if one is old]
    for place in places:
        parent, _, leaf = place.rpartition(".")
        setattr(model.get_submodule(parent), leaf, module)
    return model


def save_layers(model: nn.Module, layers: Sequence[WrittenLayer], directory: str | Path) -> None:
    """Write a compressed model of any class to a directory.

    Parameters
    ----------
    model
        As :func:`~hydropress.compression.model.compress` returned it, trained further or not.
    layers
        What was written into it.
    directory
        Created if missing; receives ``layers.json`` and ``model.safetensors``.
    """
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise InvalidArgumentError(
            f"{folder} is a file; required: a directory to write to; choose another name"
        )
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: _as_real(value).clone() for name, value in model.state_dict().items()}
    save_tensors(tensors, folder / TENSORS)
    record = {"format": FORMAT, "version": VERSION, "layers": [asdict(layer) for layer in layers]}
    write_atomically(folder / LAYERS, json.dumps(record, indent=1) + "\n")


def load_layers(model: nn.Module, directory: str | Path) -> nn.Module:
    """Return a compressed model, in evaluation mode, from the original's architecture.

    Parameters
    ----------
    model
        The original's architecture, of any weights; it is changed.
    directory
        What :func:`save_layers` wrote.

    Raises
    ------
    DataNotFoundError
        If the directory or one of its files is missing.
    FileFormatError
        If a file is damaged or does not fit the model.
    """
    folder = Path(directory)
    for path in (folder / LAYERS, folder / TENSORS):
        if not path.is_file():
            raise DataNotFoundError(
                f"{path} does not exist; required: a directory with {LAYERS} and {TENSORS}, as a "
                "compression's save writes it; check the path"
            )
    layers = _read_layers(folder / LAYERS)
    tensors = _read_tensors(folder / TENSORS)
    names = {name for name, _ in model.named_modules()}
    for one in layers:
        if one.name not in names:
            raise FileFormatError(
                f"{folder / LAYERS}: a layer {one.name!r}, which the model does not have; "
                "required: the architecture that was compressed; build it with the same code"
            )
        adapter, module = get_adapter(one.adapter), model.get_submodule(one.name)
        if one.name not in adapter.find(model):
            raise FileFormatError(
                f"{folder / LAYERS}: layer {one.name!r} of family {one.adapter!r}, where the model "
                f"has a {type(module).__name__}; required: the architecture that was compressed; "
                "build it with the same code"
            )
        written = write_module(adapter, module, one.layer())
        model = replace_module(model, one.name, written)
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is unexpected" for name in tensors if name not in own]
    for name in own.keys() & tensors.keys():
        found, wanted = tuple(tensors[name].shape), tuple(_as_real(own[name]).shape)
        if found != wanted:
            problems.append(f"{name} is {found}, not {wanted}")
    if problems:
        raise FileFormatError(
            f"{folder / TENSORS}: {', '.join(problems[:4])}; required: the tensors of the model "
            "that was compressed; build the original with the same code and sizes"
        )
    values = {name: _as_complex(tensors[name], own[name]) for name in own}
    model.load_state_dict(values)
    return model.eval()


def _as_real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _as_complex(tensor: Tensor, like: Tensor) -> Tensor:
    return torch.view_as_complex(tensor.contiguous()) if like.is_complex() else tensor


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FileFormatError(
            f"{path} cannot be read ({error}); required: a complete safetensors file; save the "
            "compression again or take another copy of it"
        ) from error


def _read_layers(path: Path) -> list[WrittenLayer]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT or record["version"] != VERSION:
            raise ValueError(f"{record['format']!r} version {record['version']!r}")
        return [_layer_of(row) for row in record["layers"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(
            f"{path} is not a list of layers ({error!r}); required: {FORMAT} version {VERSION}; "
            "save the compression again, or use the version of Hydropress that wrote it"
        ) from error


def _layer_of(row: dict[str, Any]) -> WrittenLayer:
    texts = [row[name] for name in ("name", "adapter", "kind")]
    sizes = [row["channels"], *row["pairs"], *row["reals"]]
    directions = len(row["pairs"])
    is_right = (
        all(type(text) is str for text in texts)
        and row["kind"] in ("modal", "modal_mimo")
        and all(type(size) is int and 0 <= size < 2**24 for size in sizes)
        and directions == len(row["reals"])
        and directions in (1, 2)
        and all(type(row[name]) is bool for name in ("bias", "full_feedthrough"))
    )
    if not is_right:
        raise ValueError(f"layer {row}")
    values: dict[str, Any] = {name: row[name] for name in row if name not in ("pairs", "reals")}
    return WrittenLayer(**values, pairs=tuple(row["pairs"]), reals=tuple(row["reals"]))
