"""Supervised training that can be stopped at any step and resumed to the same result.

Lightning trains; what decides the result (order of the data, random numbers, rates) follows from
the configuration and the step alone, and so do checkpoints, which hold tensors and nothing else.
"""

import json
import logging
import math
import signal
import time
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.data.sequences import Batch, LabelledSequences
from hydropress.errors import InvalidArgumentError
from hydropress.evaluation.outputs import CHECKPOINT, uninterrupted
from hydropress.training.batches import Order, Shares, make_loader
from hydropress.training.checkpoints import (
    BestEpoch,
    keep_log_until,
    read_log,
    restore_checkpoint,
    save_checkpoint,
)
from hydropress.training.config import TrainingConfig
from hydropress.training.hardware import Hardware, lightning
from hydropress.training.objectives import CrossEntropy, Objective
from hydropress.training.run_folder import LOG, fingerprint, match_run

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
    MissingLibraryError
        If Lightning is not installed.
    """
    if config.batch_size > len(data):
        raise InvalidArgumentError(
            f"batch_size={config.batch_size} with {len(data)} sequences; required: at most as "
            "many as there are data; lower it"
        )
    hardware = Hardware() if hardware is None else hardware
    shares = Shares.of(config, hardware.processes)
    run = _Run(model, data, config, folder)
    if folder:
        contents = {"sequences": len(data), "sha256": fingerprint(data.tensors())}
        details = {"training": asdict(config), "data": contents}
        match_run(folder, {"command": "fit", **(description or {}), **details})
        run.resume(folder)
    if run.done < run.total and not run.best.is_over:
        run.progress, run.on_epoch, run.stop = progress, on_epoch, stop
        _train(run, objective or CrossEntropy(), hardware, shares)
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
        self._losses: list[float] = []
        self._clock = time.monotonic()

    def resume(self, folder: Path) -> None:
        """Go on from a folder's checkpoint, if it has one."""
        if (folder / CHECKPOINT).exists():
            self.done = restore_checkpoint(folder / CHECKPOINT, self.model, self.optimizer)
        self._clock = time.monotonic() - keep_log_until(folder, self.done)
        self.best.resume(read_log(folder))

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

    def after_step(self, loss: float, is_first: bool) -> bool:
        """Log, save and report; return whether to go on.

        Parameters
        ----------
        loss
            Mean over the batch.
        is_first
            Whether this process is the first of all, which alone writes.
        """
        rate = self.config.learning_rate * self.scale
        self._losses.append(loss)
        self.done += 1
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
            if end_of_epoch and self.on_epoch:
                line |= self.on_epoch(self.done // per_epoch)
            if end_of_epoch:
                self.best.add(line, write=is_first)
            self.history.append(line)
            if self.folder and is_first:
                with (self.folder / LOG).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        self.stopped = self.done < self.total and self.stop is not None and self.stop()
        due = self.done % self.config.checkpoint_every == 0 or end_of_epoch or self.stopped
        if self.folder and due and is_first:
            self._save(self.folder / CHECKPOINT)
        return not self.stopped and not self.best.is_over

    def _save(self, path: Path) -> None:
        with uninterrupted():
            save_checkpoint(path, self.done, self.model, self.optimizer)


def _train(run: _Run, objective: Objective, hardware: Hardware, shares: Shares) -> None:
    """Let Lightning run the steps that are left."""
    library = lightning()

    class Task(library.LightningModule):
        """One pass of a step: the objective's mean over the batch."""

        def __init__(self) -> None:
            super().__init__()
            self.model = run.model

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return run.optimizer

        def training_step(self, batch: Batch, index: int) -> Tensor:
            # Lightning divides by the number of passes.
            return objective(self.model, batch) * (shares.passes / shares.local)

    class Steps(library.pytorch.callbacks.Callback):
        """What goes before and after each step."""

        def __init__(self) -> None:
            super().__init__()
            self.sum = 0.0

        def on_train_batch_start(
            self, trainer: Any, module: Any, batch: Batch, batch_idx: int
        ) -> None:
            if batch_idx % shares.passes == 0:
                run.model.train()
                run.before_step(trainer.global_rank)

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Batch, batch_idx: int
        ) -> None:
            # Lightning returns what it has divided.
            self.sum += outputs["loss"].item()
            if (batch_idx + 1) % shares.passes:
                return
            loss, self.sum = self.sum, 0.0
            if trainer.world_size > 1:
                loss = float(trainer.strategy.reduce(torch.tensor(loss), reduce_op="mean"))
            lines = len(run.history)
            if not run.after_step(loss, trainer.is_global_zero):
                trainer.should_stop = True
            for line in run.history[lines:]:
                for logger in trainer.loggers:
                    logger.log_metrics(line, run.done)
                    logger.save()

    device = next(run.model.parameters()).device
    with _quiet():
        trainer = library.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy="ddp" if hardware.processes > 1 else "auto",
            precision=hardware.precision,
            max_epochs=1,
            accumulate_grad_batches=shares.passes,
            callbacks=[Steps()],
            logger=hardware.make_loggers(run.folder),
            log_every_n_steps=LOG_EVERY,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        mine = replace(shares, rank=trainer.global_rank)
        order = Order(len(run.data), run.config, run.done, mine, run.data.lengths)
        trainer.fit(Task(), make_loader(run.data, order, run.config.workers))
    run.model.to(device)
    if run.stopped:
        raise KeyboardInterrupt


@contextmanager
def _quiet() -> Generator[None]:
    """Keep Lightning's hints to itself, and an interrupt what it is."""
    logger = logging.getLogger("lightning.pytorch")
    level, handler = logger.level, signal.getsignal(signal.SIGINT)
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    except SystemExit as error:
        # How Lightning ends after an interrupt, whose handler it takes away.
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error
    finally:
        logger.setLevel(level)
