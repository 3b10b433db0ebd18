"""Lightning's trainer on the hardware asked for, or one line on what is missing."""

import logging
import signal
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hydropress.errors import InvalidArgumentError
from hydropress.training.hardware import Hardware, lightning

LOG_EVERY = 50


def make_trainer(hardware: Hardware, passes: int, folder: Path | None, callback: Any) -> Any:
    """Return a trainer of one epoch.

    Parameters
    ----------
    hardware
        Processes, devices and precision.
    passes
        Forward and backward passes per step.
    folder
        Where further logs go.
    callback
        What goes before and after each step.

    Raises
    ------
    InvalidArgumentError
        If this machine has no such devices, or they cannot compute so.
    """
    library = lightning()
    unavailable = library.pytorch.utilities.exceptions.MisconfigurationException
    loggers = hardware.make_loggers(folder)
    try:
        with quiet():
            trainer = library.Trainer(
                accelerator=hardware.accelerator,
                devices=hardware.devices,
                num_nodes=hardware.nodes,
                strategy="ddp" if hardware.processes > 1 else "auto",
                precision=hardware.precision,
                sync_batchnorm=_synchronised(hardware),
                max_epochs=1,
                accumulate_grad_batches=passes,
                callbacks=[callback],
                logger=loggers,
                log_every_n_steps=LOG_EVERY,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
    except (ValueError, ImportError, unavailable) as error:
        raise InvalidArgumentError(
            f"accelerator={hardware.accelerator!r}, devices={hardware.devices} "
            f"({' '.join(str(error).split())}); required: what this machine has; choose 'auto'"
        ) from error
    if hardware.precision == "16-mixed" and trainer.strategy.root_device.type == "cpu":
        raise InvalidArgumentError(
            "precision='16-mixed' on a processor, which has no float16; required: a GPU; choose "
            "'bf16-mixed'"
        )
    return trainer


def _synchronised(hardware: Hardware) -> bool:
    """Return whether batch normalisation takes its statistics from all processes: on GPUs."""
    on_gpus = hardware.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return hardware.processes > 1 and on_gpus


def warn_of_batch_norm(model: nn.Module, hardware: Hardware) -> None:
    """Warn if batch normalisation makes a training on several processes another one."""
    has_it = any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in model.modules())  # pyright: ignore[reportPrivateUsage]
    if has_it and hardware.processes > 1 and not _synchronised(hardware):
        warnings.warn(
            f"batch normalisation on {hardware.processes} processes without CUDA: each takes its "
            "statistics from its own sequences, so the model is another one than that of a single "
            "process; train with one process or on GPUs for the same",
            stacklevel=3,
        )


@contextmanager
def quiet() -> Generator[None]:
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
