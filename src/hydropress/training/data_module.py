"""The tasks as Lightning data modules, for models and training loops of one's own."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from hydropress.data.sequences import Batch, LabelledSequences
from hydropress.data.tasks import Source, default_cache, find_task
from hydropress.errors import InvalidArgumentError
from hydropress.training.batches import batch_dataset, unchanged
from hydropress.training.hardware import lightning

_DataModule: Any = lightning().LightningDataModule


class TaskDataModule(_DataModule):
    """A task's training, validation and test data in batches.

    Its loaders return :class:`~hydropress.data.sequences.Batch`: inputs, lengths and labels.

    Parameters
    ----------
    task
        Name of one of :data:`~hydropress.data.tasks.TASKS`.
    folder
        Of the original files; None for the task's own, where it has one.
    length
        Longest sequence; None for the task's own.
    batch_size, workers
        Sequences of a batch, and processes that prepare batches ahead of time.
    seed
        Determines the order of the training data.
    cache
        Folder of the data as they have been read before; the user's cache if not given.
    """

    def __init__(
        self,
        task: str,
        folder: str | Path | None = None,
        *,
        length: int | None = None,
        batch_size: int = 64,
        workers: int = 0,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or workers < 0:
            raise InvalidArgumentError(
                f"batch_size={batch_size}, workers={workers}; required: at least 1, and from 0 up"
            )
        self.task = find_task(task)
        kept = default_cache() if cache is None else cache
        self._source = Source(None if folder is None else Path(folder), length, kept)
        self._batch_size, self._workers, self._seed = batch_size, workers, seed
        self._data: dict[str, LabelledSequences] = {}

    def prepare_data(self) -> None:
        """Read the data once, so that every process finds them in the cache."""
        self.setup()
        self._data = {}

    def setup(self, stage: str | None = None) -> None:
        """Read what is missing."""
        wanted = ("train", "val", "test") if self.task.has_validation else ("train", "test")
        for split in wanted:
            if split not in self._data:
                self._data[split] = self.task.load(split, self._source)

    def _loader(self, split: str, *, shuffled: bool) -> DataLoader[Batch]:
        data = self._data[split]
        generator = torch.Generator().manual_seed(self._seed)
        places = range(len(data))
        order = (
            RandomSampler(places, generator=generator) if shuffled else SequentialSampler(places)
        )
        # A batch is one index of many numbers.
        return DataLoader(
            batch_dataset(data),
            sampler=BatchSampler(order, self._batch_size, drop_last=shuffled),
            batch_size=None,
            collate_fn=unchanged,
            num_workers=self._workers,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return batches of the training data, in another order every epoch."""
        return self._loader("train", shuffled=True)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return batches of the validation data; none where the task has none."""
        return self._loader("val", shuffled=False) if "val" in self._data else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return batches of the test data."""
        return self._loader("test", shuffled=False)
