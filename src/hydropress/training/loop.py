"""Supervised training that can be stopped at any step and resumed to the same result.

Lightning trains; what decides the result (order of the data, random numbers, rates) follows from
the configuration and the step alone, and so do checkpoints, which hold tensors and nothing else.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from hydropress.data.sequences import Batch, LabelledSequences
from hydropress.errors import InvalidArgumentError, NotConvergedError
from hydropress.evaluation.outputs import CHECKPOINT, uninterrupted
from hydropress.training.batches import Order, Shares, make_loader
from hydropress.training.checkpoints import (
    BestEpoch,
    keep_log_until,
    require_validation,
    restore_checkpoint,
    save_checkpoint,
)
from hydropress.training.config import TrainingConfig
from hydropress.training.hardware import Hardware, lightning
from hydropress.training.objectives import CrossEntropy, Objective
from hydropress.training.run_folder import LOG, fingerprint, locked, match_run
from hydropress.training.together import Together
from hydropress.training.trainer import LOG_EVERY, make_trainer, quiet, warn_of_batch_norm

# Parameters of the SSM's dynamics: small steps and no decay towards an arbitrary zero.  B and W are
# among them as in the published training of DSS, S5 and LRU.
SSM_DYNAMICS = (
    "log_step",
    "log_decay",
    "frequency",
    "real_part",
    "log_phase",
    "log_gamma",
    "B",
    "W",
    "pair_log_decay",
    "pair_frequency",
    "pair_B",
    "real_log_decay",
    "real_B",
)

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


def fit(
    model: nn.Module,
    data: LabelledSequences,
    config: TrainingConfig,
    *,
    objective: Objective | None = None,
    hardware: Hardware | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    on_epoch: Callable[[int], dict[str, float]] | None = None,
    stop: Callable[[], bool] | None = None,
    description: Mapping[str, Any] | None = None,
) -> list[dict[str, float]]:
    """Train a classifier in place.

    Parameters
    ----------
    model
        Maps a batch's inputs, and its lengths if there are any, to logits ``(B, num_classes)``.
    data
        Training sequences.
    objective
        What is minimised; the labels' cross-entropy if not given.
    hardware
        Devices, machines and precision; one process on what there is if not given.
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
        ``config``, the precision and a fingerprint of the data, when the run is resumed.

    Returns
    -------
    list of dict
        The lines added to the log: step, loss (mean since the line before or the resumption),
        rate, seconds.

    Raises
    ------
    InvalidArgumentError
        If the configuration does not fit the data or the hardware, or the folder belongs to another
        run or another process trains there.
    FileFormatError
        If the folder's checkpoint is not one of this model.
    MissingLibraryError
        If Lightning is not installed.
    NotConvergedError
        If the loss, or a weight, is no longer finite; the last checkpoint is from before.
    """
    if config.batch_size > len(data):
        raise InvalidArgumentError(
            f"batch_size={config.batch_size} with {len(data)} sequences; required: at most as "
            "many as there are data; lower it"
        )
    hardware = Hardware() if hardware is None else hardware
    shares = Shares.of(config, hardware.processes)
    run = _Run(model, data, config, folder)
    run.progress, run.on_epoch, run.stop = progress, on_epoch, stop
    trainer = make_trainer(hardware, shares.passes, folder, _steps(run, shares.passes))
    run.together = Together(trainer)
    run.scaler = getattr(trainer.precision_plugin, "scaler", None)
    is_first = run.together.is_first
    if is_first:
        warn_of_batch_norm(model, hardware)
    with locked(folder) if folder and is_first else nullcontext():
        if folder:
            contents = {"sequences": len(data), "sha256": fingerprint(data.tensors())}
            details: dict[str, Any] = {"training": asdict(config), "data": contents}
            if hardware.precision != Hardware.precision:
                details["precision"] = hardware.precision
            whole = {"command": "fit", **(description or {}), **details}
            match_run(folder, whole, write=is_first)
            run.resume(folder)
        if run.done < run.total and not run.best.is_over:
            require_validation(config.patience, on_epoch is not None)
            _train(run, objective or CrossEntropy(), trainer, shares)
    run.best.restore()
    model.eval()
    return run.history


class _Run:
    """Where a training stands, and what is to be done after each of its steps."""

    def __init__(
        self,
        model: nn.Module,
        data: LabelledSequences,
        config: TrainingConfig,
        folder: Path | None,
    ) -> None:
        self.model, self.data, self.config, self.folder = model, data, config, folder
        self.optimizer = make_optimizer(model, config)
        self.best = BestEpoch(model, config.patience, folder)
        self.total = config.total_steps(len(data))
        self.history: list[dict[str, float]] = []
        self.done = 0
        self.stopped = False
        self.progress: Progress | None = None
        self.on_epoch: Callable[[int], dict[str, float]] | None = None
        self.stop: Callable[[], bool] | None = None
        self.together: Together
        self.scaler: GradScaler | None = None
        self.earlier: list[dict[str, float]] = []
        self._losses: list[float] = []
        self._clock = time.monotonic()

    def resume(self, folder: Path) -> None:
        """Go on from a folder's checkpoint, if it has one."""
        if (folder / CHECKPOINT).exists():
            self.done = restore_checkpoint(
                folder / CHECKPOINT, self.model, self.optimizer, self.scaler
            )
        self.earlier = keep_log_until(folder, self.done, write=self.together.is_first)
        taken = self.earlier[-1]["seconds"] if self.earlier else 0.0
        self._clock = time.monotonic() - taken
        self.best.resume(self.earlier)

    @property
    def scale(self) -> float:
        """Share of the peak rates at the step that comes next."""
        return schedule(self.done, self.total, self.config.warmup)

    def before_step(self, rank: int) -> None:
        """Set what the next step depends on."""
        # Seeded step by step, so that a resumed run draws the same dropout.
        torch.manual_seed((self.config.seed * 1_000_003 + self.done) + rank * 2**40)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self.scale

    def after_step(self, loss: float) -> bool:
        """Log, save and report, given the mean loss of the batch; return whether to go on."""
        is_first = self.together.is_first
        rate = self.config.learning_rate * self.scale
        self._losses.append(loss)
        self.done += 1
        self._require(math.isfinite(loss), f"loss {loss} at step {self.done:,}")
        if self.progress and is_first:
            self.progress(self.done, self.total, loss)
        per_epoch = len(self.data) // self.config.batch_size
        end_of_epoch = self.done % per_epoch == 0 or self.done == self.total
        if self.done % LOG_EVERY == 0 or end_of_epoch:
            line = {
                "step": self.done,
                "loss": sum(self._losses) / len(self._losses),
                "rate": rate,
                "seconds": round(time.monotonic() - self._clock, 2),
            }
            self._losses.clear()
            if end_of_epoch:
                self._require_finite_weights()
            if end_of_epoch and self.on_epoch:
                # Each measures its own model, whose batch normalisation is its own.
                line |= self.together.of_the_first(self.on_epoch(self.done // per_epoch))
            if end_of_epoch:
                self.best.add(line, write=is_first)
            self.history.append(line)
            if self.folder and is_first:
                with (self.folder / LOG).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        self.stopped = self.done < self.total and self.together.any(
            self.stop is not None and self.stop()
        )
        due = self.done % self.config.checkpoint_every == 0 or end_of_epoch or self.stopped
        if due:
            self._require_finite_weights()
        if self.folder and due and is_first:
            self._save(self.folder / CHECKPOINT)
        return not self.stopped and not self.best.is_over

    def _require_finite_weights(self) -> None:
        finite = all(bool(value.isfinite().all()) for value in self.model.parameters())
        self._require(finite, f"weights that are not finite after step {self.done:,}")

    def _require(self, condition: bool, otherwise: str) -> None:
        if not condition:
            raise NotConvergedError(
                f"{otherwise}; required: finite numbers; the training has diverged, start it with "
                "a smaller learning_rate and ssm_learning_rate in another folder"
            )

    def _save(self, path: Path) -> None:
        with uninterrupted():
            save_checkpoint(path, self.done, self.model, self.optimizer, self.scaler)


def _steps(run: _Run, passes: int) -> Any:
    """Return Lightning's callback of what goes before and after each step."""

    class Steps(lightning().pytorch.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.sum = 0.0

        def on_train_start(self, trainer: Any, module: Any) -> None:
            # Lightning's CSV begins anew, while TensorBoard's events are added to those there are.
            for logger in trainer.loggers:
                if isinstance(logger, lightning().pytorch.loggers.CSVLogger):
                    log(logger, run.earlier)

        def on_train_batch_start(
            self, trainer: Any, module: Any, batch: Batch, batch_idx: int
        ) -> None:
            if batch_idx % passes == 0:
                run.model.train()
                run.before_step(trainer.global_rank)

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Batch, batch_idx: int
        ) -> None:
            # Lightning returns what it has divided.
            self.sum += outputs["loss"].item()
            if (batch_idx + 1) % passes:
                return
            loss, self.sum = self.sum, 0.0
            lines = len(run.history)
            if not run.after_step(run.together.mean(loss)):
                trainer.should_stop = True
            for logger in trainer.loggers:
                log(logger, run.history[lines:])

    def log(logger: Any, lines: list[dict[str, float]]) -> None:
        for line in lines:
            logger.log_metrics(line, int(line["step"]))
        if lines:
            logger.save()

    return Steps()


def _train(run: _Run, objective: Objective, trainer: Any, shares: Shares) -> None:
    """Let Lightning run the steps that are left."""

    class Task(lightning().LightningModule):
        """One pass of a step: the objective's mean over the batch."""

        def __init__(self) -> None:
            super().__init__()
            self.model = run.model

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return run.optimizer

        def training_step(self, batch: Batch, index: int) -> Tensor:
            # Lightning divides by the number of passes.
            return objective(self.model, batch) * (shares.passes / shares.local)

    device = next(run.model.parameters()).device
    mine = replace(shares, rank=trainer.global_rank)
    order = Order(len(run.data), run.config, run.done, mine, run.data.lengths)
    with quiet():
        trainer.fit(Task(), make_loader(run.data, order, run.config.workers))
    run.model.to(device)
    if run.stopped:
        raise KeyboardInterrupt
