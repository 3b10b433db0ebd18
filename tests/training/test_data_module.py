"""Tasks as Lightning data modules: every sequence once, also under Lightning's own trainer."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from hydropress.errors import DataNotFoundError, InvalidArgumentError, UnknownNameError
from hydropress.training.data_module import TaskDataModule
from tiny import tiny_model, write_idx_folder


@pytest.fixture
def reviews(tmp_path) -> Path:
    for split in ("train", "test"):
        for kind, rating in (("pos", 9), ("neg", 2)):
            part = tmp_path / "aclImdb" / split / kind
            part.mkdir(parents=True)
            for place in range(1300):
                (part / f"{place}_{rating}.txt").write_text(f"{split} {kind} {place}")
    return tmp_path / "aclImdb"


def texts(loader) -> list[str]:
    found: list[str] = []
    for batch in loader:
        for row, length in zip(batch.inputs, batch.lengths, strict=True):
            found.append(bytes((row[: int(length)] - 1).tolist()).decode())
    return found


def test_every_text_comes_once_and_splits_are_apart(reviews, tmp_path):
    module = TaskDataModule("text", reviews, batch_size=7, cache=tmp_path / "cache")
    module.prepare_data()
    module.setup("fit")
    train, val, test = (
        texts(loader)
        for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    )
    # What does not fill a batch is left out of training only.
    assert (len(train), len(val), len(test)) == (98, 2500, 2600)
    assert len({*train, *val}) == 98 + 2500
    assert {text.split()[0] for text in test} == {"test"}
    again = texts(module.train_dataloader())
    everything = {f"train {kind} {place}" for kind in ("pos", "neg") for place in range(1300)}
    assert set(again) <= everything - set(val)
    assert again == train


def test_it_feeds_a_training_loop_of_ones_own(tmp_path):
    class Mine(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = tiny_model()
            self.seen = 0

        def training_step(self, batch, index):
            self.seen += len(batch)
            logits = self.model(*batch.arguments)
            return torch.nn.functional.cross_entropy(logits, batch.labels)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    folder = write_idx_folder(tmp_path / "data", train=48, test=20)
    module, mine = TaskDataModule("fashion-mnist", folder, batch_size=20), Mine()
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(mine, module)
    assert mine.seen == 2 * 40


def test_what_makes_no_module(tmp_path):
    with pytest.raises(UnknownNameError, match="txt"):
        TaskDataModule("txt")
    with pytest.raises(InvalidArgumentError, match="batch_size=0"):
        TaskDataModule("text", batch_size=0)
    with pytest.raises(DataNotFoundError, match="aclImdb"):
        TaskDataModule("text", cache=tmp_path).setup()
