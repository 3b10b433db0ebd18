"""The part of the training data that is held out."""

import pytest
import torch

from hydropress.data.lra.splits import part, stored_split
from hydropress.errors import InvalidArgumentError

# 12 of class 0, 24 of class 1, 4 of class 2, mixed.
LABELS = torch.tensor([0, 1, 1, 1, 0, 1, 1, 2, 0, 1] * 4)


def test_the_parts_are_disjoint_and_complete():
    train, val = part("train", LABELS, 10, 0), part("val", LABELS, 10, 0)
    assert len(val) == 10
    assert sorted(train.tolist() + val.tolist()) == list(range(40))
    assert train.tolist() == sorted(train.tolist())
    assert val.tolist() == sorted(val.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_every_class_gives_the_same_share(seed):
    val = part("val", LABELS, 10, seed)
    assert LABELS[val].bincount().tolist() == [3, 6, 1]


def test_the_seed_determines_the_choice():
    first = part("val", LABELS, 10, 0)
    assert torch.equal(first, part("val", LABELS, 10, 0))
    assert not torch.equal(first, part("val", LABELS, 10, 1))


def test_the_choice_stays_what_it_was():
    """Numbers measured on a held-out part mean nothing on another one."""
    assert part("val", LABELS, 10, 0).tolist() == [4, 5, 11, 14, 16, 17, 20, 21, 29, 39]


def test_without_validation_all_are_for_training():
    assert part("train", LABELS, 0, 0).tolist() == list(range(40))
    assert part("test", LABELS, 0, 0).tolist() == list(range(40))


@pytest.mark.parametrize(
    ("split", "validation", "least"),
    [("val", 0, 1), ("val", 40, 1), ("train", -1, 0), ("train", 40, 0)],
)
def test_a_number_that_leaves_nothing_is_refused(split, validation, least):
    with pytest.raises(InvalidArgumentError, match=f"required: from {least} to 39"):
        part(split, LABELS, validation, 0)


def test_there_are_three_splits():
    assert [stored_split(split) for split in ("train", "val", "test")] == ["train", "train", "test"]
    with pytest.raises(InvalidArgumentError, match="'eval'.*one of train, val, test"):
        stored_split("eval")  # pyright: ignore[reportArgumentType]
