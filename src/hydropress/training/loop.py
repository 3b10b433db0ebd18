"""Supervised training that can be stopped at any step and resumed to the same result."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hydropress.data.images import ImageSequences
from hydropress.errors import FileFormatError, InvalidArgumentError
from hydropress.evaluation.outputs import CHECKPOINT, uninterrupted
from hydropress.models.checkpoint import save_tensors, write_atomically
from hydropress.training.config import TrainingConfig
from hydropress.training.run_folder import LOG, fingerprint, match_run

# Parameters of the SSM's dynamics: small steps and no decay towards an arbitrary zero.
SSM_DYNAMICS = (
    "log_step",
    "log_decay",
    "frequency",
    "pair_log_decay",
    "pair_frequency",
    "real_log_decay",
)
LOG_EVERY = 50

Progress = Callable[[int, int, float], None]
"""Called as progress(step, total_steps, loss)."""


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW with the SSMs' dynamics in a group of their own."""
    dynamics: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        (dynamics if name.rpartition(".")[2] in SSM_DYNAMICS else others).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": others,
                "peak": config.learning_rate,
                "weight_decay": config.weight_decay,
            },
            {"params": dynamics, "peak": config.ssm_learning_rate, "weight_decay": 0.0},
        ]
    )


def schedule(step: int, total: int, warmup: float) -> float:
    """Return the share of the peak rate at a step: linear rise, then half a cosine to zero."""
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def _optimizer_tensors(optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": value
        for index, entry in state.items()
        for name, value in entry.items()
    }


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(":") if str(error).strip() else repr(error)


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.AdamW) -> int:
    try:
        tensors = load_file(path)
        step = int(tensors.pop("step"))
        state: dict[int, dict[str, Tensor]] = {}
        weights: dict[str, Tensor] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                index, _, field = rest.partition(".")
                state.setdefault(int(index), {})[field] = value
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


def _keep_log_until(folder: Path, step: int) -> float:
    """Drop what a run that was killed after its last checkpoint had already logged.

    Returns
    -------
    float
        Seconds that the run had taken by its last remaining line.
    """
    lines = [line for line in read_log(folder) if line["step"] <= step]
    if (folder / LOG).exists():
        write_atomically(folder / LOG, "".join(json.dumps(line) + "\n" for line in lines))
    return lines[-1]["seconds"] if lines else 0.0


def fit(
    model: nn.Module,
    data: ImageSequences,
    config: TrainingConfig,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    on_epoch: Callable[[int], dict[str, float]] | None = None,
    stop: Callable[[], bool] | None = None,
    description: Mapping[str, Any] | None = None,
) -> list[dict[str, float]]:
    """Train a classifier in place by cross-entropy.

    Parameters
    ----------
    model
        Maps ``(B, L, num_inputs)`` to logits ``(B, num_classes)``.
    data
        Training images.
    folder
        Where checkpoints, ``training.jsonl`` and ``run.json`` go.  If it holds a checkpoint of the
        same run, training resumes there and ends as if it had never stopped.
    progress
        Called after every step.
    on_epoch
        Called after each epoch with its number; what it returns is added to the log.
    stop
        Asked after each step; if it says so, a checkpoint is written and KeyboardInterrupt raised.
    description
        What else determines the run, such as its recipe; kept in ``run.json`` and compared, with
        ``config`` and a fingerprint of the data, when the run is resumed.

    Returns
    -------
    list of dict
        The lines added to the log: step, loss (mean since the line before or the resumption),
        rate, seconds.

    Raises
    ------
    InvalidArgumentError
        If the configuration does not fit the data or the folder belongs to another run.
    FileFormatError
        If the folder's checkpoint is not one of this model.
    """
    if config.batch_size > len(data):
        raise InvalidArgumentError(
            f"batch_size={config.batch_size} with {len(data)} sequences; required: at most as "
            "many as there are data; lower it"
        )
    device = next(model.parameters()).device
    optimizer = make_optimizer(model, config)
    steps_per_epoch = len(data) // config.batch_size
    total = config.total_steps(len(data))
    start = 0
    checkpoint = folder / CHECKPOINT if folder else None
    elapsed = 0.0
    if folder and checkpoint:
        images = {"sequences": len(data), "sha256": fingerprint([data.images, data.labels])}
        details = {"training": asdict(config), "data": images}
        match_run(folder, {"command": "fit", **(description or {}), **details})
        if checkpoint.exists():
            start = _restore(checkpoint, model, optimizer)
        elapsed = _keep_log_until(folder, start)
    history: list[dict[str, float]] = []
    losses: list[float] = []
    clock = time.monotonic() - elapsed
    permutation = torch.empty(0)
    for step in range(start, total):
        epoch, position = divmod(step, steps_per_epoch)
        if position == 0 or step == start:
            generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
            permutation = torch.randperm(len(data), generator=generator)
        # Seeded step by step, so that a resumed run draws the same dropout.
        torch.manual_seed(config.seed * 1_000_003 + step)
        scale = schedule(step, total, config.warmup)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * scale
        chosen = permutation[position * config.batch_size :][: config.batch_size]
        batch = data[chosen]
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss_sum = 0.0
        pieces = zip(
            batch.sequences().to(device).split(config.micro_batch),
            batch.labels.to(device).split(config.micro_batch),
            strict=True,
        )
        for sequences, labels in pieces:
            loss = nn.functional.cross_entropy(model(sequences), labels, reduction="sum")
            (loss / config.batch_size).backward()
            loss_sum += loss.item()
        optimizer.step()
        losses.append(loss_sum / config.batch_size)
        done = step + 1
        if progress:
            progress(done, total, losses[-1])
        end_of_epoch = done % steps_per_epoch == 0 or done == total
        if done % LOG_EVERY == 0 or end_of_epoch:
            line = {
                "step": done,
                "loss": sum(losses) / len(losses),
                "rate": config.learning_rate * scale,
                "seconds": round(time.monotonic() - clock, 2),
            }
            losses.clear()
            if end_of_epoch and on_epoch:
                line |= on_epoch(done // steps_per_epoch)
            history.append(line)
            if folder:
                with (folder / LOG).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        stopping = done < total and stop is not None and stop()
        if checkpoint and (done % config.checkpoint_every == 0 or end_of_epoch or stopping):
            with uninterrupted():
                save_tensors(
                    {
                        "step": torch.tensor(done),
                        **{f"model.{name}": value for name, value in model.state_dict().items()},
                        **_optimizer_tensors(optimizer),
                    },
                    checkpoint,
                )
        if stopping:
            raise KeyboardInterrupt
    model.eval()
    return history
