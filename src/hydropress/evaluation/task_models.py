"""Whether a model is one for a task: asked before data are read."""

from pathlib import Path

from hydropress.data.sources import SLICE
from hydropress.data.tasks import TASKS, Task
from hydropress.errors import InvalidArgumentError
from hydropress.models.config import ClassifierConfig

OF_THE_TASK = ("num_classes", "num_inputs", "num_tokens", "pairs")
"""Fields of a model that its task decides."""


def require_task_of(config: ClassifierConfig, model: str, source: str) -> None:
    """Refuse data that a model was not made for.

    Parameters
    ----------
    config
        The model's.
    model
        Its name, for the message.
    source
        As in :func:`~hydropress.data.sources.open_data`, which reports one that is none.

    Raises
    ------
    InvalidArgumentError
        If the data have other classes, inputs or tokens; the message names both.
    """
    task = _task_of(source)
    differing = [
        f"{name} {getattr(config, name)}, not {getattr(task, name)}"
        for name in OF_THE_TASK
        if task is not None and getattr(config, name) != getattr(task, name)
    ]
    if task is not None and differing:
        raise InvalidArgumentError(
            f"model {model!r} with data {source!r}: {', '.join(differing)}; required: a model made "
            f"for {task.title}; choose another model or other data"
        )


def _task_of(source: str) -> Task | None:
    if source == SLICE or Path(source).is_dir():
        return TASKS["fashion-mnist"]
    return TASKS.get(source.partition(":")[0].partition("@")[0])
