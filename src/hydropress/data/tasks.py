"""The classification tasks that recipes name.

Long Range Arena, sequential Fashion-MNIST, and the series of the UCR and UEA archives.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from hydropress.data.fashion_mnist import DEFAULT_FOLDER, load_full
from hydropress.data.lra.cifar10 import SOURCE as CIFAR10
from hydropress.data.lra.image import load_image
from hydropress.data.lra.listops import NUM_TOKENS as LISTOPS_TOKENS
from hydropress.data.lra.listops import load_listops
from hydropress.data.lra.pathfinder import load_pathfinder, source_of
from hydropress.data.lra.retrieval import SOURCE as AAN
from hydropress.data.lra.retrieval import load_retrieval
from hydropress.data.lra.splits import Split
from hydropress.data.lra.text import NUM_TOKENS as BYTE_TOKENS
from hydropress.data.lra.text import SOURCE as IMDB
from hydropress.data.lra.text import load_text
from hydropress.data.sequences import LabelledSequences
from hydropress.data.ucr import SERIES, Problem, load_series
from hydropress.errors import DataNotFoundError, InvalidArgumentError, UnknownNameError


@dataclass(frozen=True)
class Source:
    """Where a task's data come from.

    Attributes
    ----------
    folder
        Of the original files; None for the task's own, where it has one.
    length
        Longest sequence; what is beyond is cut off.  None for the task's own.
    cache
        Folder of the data as they have been read before; None: nothing is kept.
    """

    folder: Path | None = None
    length: int | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes
    ----------
    title
        For people.
    loader
        From a split and a source, whose length is set if the task has one, to the data.
    num_classes, num_inputs, num_tokens, pairs
        As in :class:`~hydropress.models.classifier.ClassifierConfig`.
    length
        Longest sequence; None if none is cut.
    has_validation
        Whether there is a ``val`` split; without one there is no choice to make on it.
    needs
        What to download if no folder is given, and where to put it; empty if none has to be.
    """

    title: str
    loader: Callable[[Split, Source], LabelledSequences]
    num_classes: int
    num_inputs: int = 1
    num_tokens: int = 0
    pairs: bool = False
    length: int | None = None
    has_validation: bool = True
    needs: str = ""

    def load(self, split: Split, source: Source) -> LabelledSequences:
        """Read a split.

        Raises
        ------
        DataNotFoundError
            If the data are not there.
        FileFormatError
            If they are not what they should be.
        InvalidArgumentError
            If there is no such split, or a length is given where no sequence is cut.
        """
        if self.length is None and source.length is not None:
            raise InvalidArgumentError(
                f"length {source.length} for {self.title}; required: none, its sequences are "
                "taken as long as they are; leave it out"
            )
        if self.needs and source.folder is None:
            raise DataNotFoundError(
                f"no folder of data given for {self.title}; required: {self.needs}; give it with "
                "--data, as FOLDER to train and bench lra, as TASK:FOLDER to other commands"
            )
        length = self.length if source.length is None else source.length
        return self.loader(split, replace(source, length=length))


def default_cache() -> Path:
    """Return the folder for data that have been read: ``hydropress`` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hydropress"


def _fashion_mnist(split: Split, source: Source) -> LabelledSequences:
    if split == "val":
        raise InvalidArgumentError("split 'val' of Fashion-MNIST; required: 'train' or 'test'")
    return load_full(split, DEFAULT_FOLDER if source.folder is None else source.folder)


def _series(split: Split, source: Source, name: str) -> LabelledSequences:
    if source.folder is not None:
        raise InvalidArgumentError(
            f"folder {str(source.folder)!r} for the series {name}; required: none, they come with "
            "aeon; leave it out"
        )
    return load_series(name, split)


def _series_task(name: str, problem: Problem) -> Task:
    return Task(
        f"{name} (UCR/UEA)",
        partial(_series, name=name),
        problem.num_classes,
        num_inputs=problem.num_channels,
        has_validation=False,
    )


def _listops(split: Split, source: Source) -> LabelledSequences:
    assert source.length is not None
    return load_listops(split, source.folder, cache=source.cache, max_length=source.length)


def _text(split: Split, source: Source) -> LabelledSequences:
    assert source.folder is not None
    assert source.length is not None
    return load_text(split, source.folder, cache=source.cache, max_length=source.length)


def _retrieval(split: Split, source: Source) -> LabelledSequences:
    assert source.folder is not None
    assert source.length is not None
    return load_retrieval(split, source.folder, cache=source.cache, max_length=source.length)


def _image(split: Split, source: Source) -> LabelledSequences:
    assert source.folder is not None
    return load_image(split, source.folder, cache=source.cache)


def _pathfinder(split: Split, source: Source, resolution: Literal[32, 128]) -> LabelledSequences:
    assert source.folder is not None
    return load_pathfinder(split, source.folder, resolution=resolution, cache=source.cache)


def _pathfinder_task(title: str, resolution: Literal[32, 128]) -> Task:
    loader = partial(_pathfinder, resolution=resolution)
    return Task(title, loader, 2, needs=source_of(resolution))


TASKS: dict[str, Task] = {
    "fashion-mnist": Task(
        "Sequential Fashion-MNIST", _fashion_mnist, num_classes=10, has_validation=False
    ),
    "listops": Task("ListOps", _listops, 10, num_tokens=LISTOPS_TOKENS, length=2048),
    "text": Task("Text (IMDb bytes)", _text, 2, num_tokens=BYTE_TOKENS, length=4096, needs=IMDB),
    "retrieval": Task(
        "Retrieval (AAN)",
        _retrieval,
        2,
        num_tokens=BYTE_TOKENS,
        pairs=True,
        length=4000,
        needs=AAN,
    ),
    "image": Task("Image (grey CIFAR-10)", _image, num_classes=10, needs=CIFAR10),
    "pathfinder": _pathfinder_task("Pathfinder", 32),
    "path-x": _pathfinder_task("Path-X", 128),
    **{f"ucr:{name}": _series_task(name, problem) for name, problem in SERIES.items()},
}
"""By their names in recipes and commands."""


def find_task(name: str) -> Task:
    """Return a task by its name.

    Raises
    ------
    UnknownNameError
        If there is none; the message lists those there are.
    """
    if name not in TASKS:
        raise UnknownNameError(
            f"task {name!r}; required: one of {', '.join(TASKS)}; check the spelling"
        )
    return TASKS[name]
