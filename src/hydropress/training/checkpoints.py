"""What a training leaves behind so that it can go on: a checkpoint of tensors, and a log."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from hydropress.atomic import write_atomically
from hydropress.errors import FileFormatError, InvalidArgumentError
from hydropress.models.checkpoint import save_tensors
from hydropress.training.run_folder import BEST, LOG

SCORE = "accuracy"


def _optimizer_tensors(optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": value
        for index, entry in state.items()
        for name, value in entry.items()
    }


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(":") if str(error).strip() else repr(error)


def save_checkpoint(
    path: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    scaler: GradScaler | None = None,
) -> None:
    """Write the weights, the optimiser's state, the step and the scale of 16-mixed, in one step."""
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    scale = {} if scaler is None else scaler.state_dict()
    scale = {f"scaler.{name}": torch.tensor(value) for name, value in scale.items()}
    save_tensors(
        {"step": torch.tensor(step), **weights, **_optimizer_tensors(optimizer), **scale}, path
    )


def restore_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    scaler: GradScaler | None = None,
) -> int:
    """Take over what :func:`save_checkpoint` wrote, and return its step.

    Raises
    ------
    FileFormatError
        If it is not a checkpoint of such a model.
    """
    try:
        tensors = load_file(path)
        step = int(tensors.pop("step"))
        state: dict[int, dict[str, Tensor]] = {}
        weights: dict[str, Tensor] = {}
        scale: dict[str, float] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                index, _, field = rest.partition(".")
                state.setdefault(int(index), {})[field] = value
            elif kind == "scaler":
                scale[rest] = value.item()
            else:
                weights[rest] = value
        model.load_state_dict(weights)
    except (KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise FileFormatError(
            f"{path}: not a checkpoint of this model ({_first_line(error)}); resume with the model "
            "and configuration that wrote it, or choose another output folder"
        ) from error
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    if scaler is not None and scale:
        scaler.load_state_dict(scale)
    return step


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return the lines of a run's log; a last line that a crash cut short is left out."""
    path = folder / LOG
    lines: list[dict[str, float]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
    return lines


def keep_log_until(folder: Path, step: int, *, write: bool) -> list[dict[str, float]]:
    """Drop what a run that was killed after its last checkpoint had already logged.

    Parameters
    ----------
    write
        Whether this process is the one that writes.

    Returns
    -------
    list of dict
        The lines that remain.
    """
    lines = [line for line in read_log(folder) if line["step"] <= step]
    if write and (folder / LOG).exists():
        write_atomically(folder / LOG, "".join(json.dumps(line) + "\n" for line in lines))
    return lines


def require_validation(patience: int | None, is_there: bool) -> None:
    """Raise if a training is to end by an accuracy that nobody measures."""
    if patience is not None and not is_there:
        raise InvalidArgumentError(
            f"patience={patience} without a validation accuracy; required: data with a validation "
            "split; leave it out, test data must not decide"
        )


class BestEpoch:
    """The weights of the epoch with the best validation accuracy, and whether to wait for more.

    Parameters
    ----------
    model
        Trained; :meth:`restore` writes to it.
    patience
        Epochs without a better one after which it is over; None: nothing is kept, it never is.
    folder
        Where the weights are kept for a run that is resumed; None: in memory only.
    """

    def __init__(self, model: nn.Module, patience: int | None, folder: Path | None) -> None:
        self._model, self._patience = model, patience
        self._path = None if folder is None else folder / BEST
        self._scores: list[float] = []
        self._weights: dict[str, Tensor] = {}

    @property
    def _place(self) -> int:
        return max(range(len(self._scores)), key=self._scores.__getitem__)

    @property
    def is_over(self) -> bool:
        """Whether the best epoch is as many epochs ago as there is patience."""
        if self._patience is None or not self._scores:
            return False
        return len(self._scores) - 1 - self._place >= self._patience

    def resume(self, log: list[dict[str, float]]) -> None:
        """Take over the accuracies of a run that goes on, and its best weights."""
        if self._patience is None:
            return
        self._scores = [line[SCORE] for line in log if SCORE in line]
        if self._scores and self._path is not None and self._path.exists():
            self._weights = load_file(self._path)

    def add(self, line: dict[str, float], *, write: bool) -> None:
        """Take note of an epoch's line in the log.

        Parameters
        ----------
        write
            Whether this process is the one that writes.
        """
        if self._patience is None:
            return
        require_validation(self._patience, SCORE in line)
        self._scores.append(line[SCORE])
        if self._place == len(self._scores) - 1:
            state = self._model.state_dict()
            self._weights = {name: value.detach().clone() for name, value in state.items()}
            if write and self._path is not None:
                save_tensors(self._weights, self._path)

    def restore(self) -> None:
        """Give the model the best weights, if any are kept."""
        if self._weights:
            self._model.load_state_dict(self._weights)
