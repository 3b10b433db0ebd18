"""Film reviews as bytes: what is read, in which order, and what is held out."""

import sys
from pathlib import Path

import pytest
import torch

from hydropress.data.lra.splits import Split
from hydropress.data.lra.text import MAX_LENGTH, NUM_TOKENS, load_text
from hydropress.data.sequences import LabelledSequences, TokenSequences
from hydropress.errors import (
    DataNotFoundError,
    FileFormatError,
    InvalidArgumentError,
    MissingLibraryError,
)
from saved import pretend_library, pretend_saved

TRAINING: tuple[Split, Split] = ("train", "val")
SHARED = "In both splits, as in the original."


def write_reviews(folder: Path, count: int = 20) -> Path:
    """Write so many reviews of each class and split, one of them the same in both splits."""
    for split in ("train", "test"):
        for label, rating in (("pos", 8), ("neg", 3)):
            place = folder / "aclImdb" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                text = f"{split} {label} {number}: très «bien» 映画"
                if (label, number) == ("pos", 0):
                    text = SHARED
                (place / f"{number}_{rating}.txt").write_bytes(text.encode())
    return folder


def decoded(data: TokenSequences) -> list[str]:
    """Return the texts, from the tokens of a batch."""
    batch = data.batch()
    assert batch.lengths is not None
    rows = zip(batch.inputs.tolist(), batch.lengths.tolist(), strict=True)
    return [bytes(token - 1 for token in row[:length]).decode() for row, length in rows]


def test_bytes_are_shifted_by_one(tmp_path):
    for name, label in (("0_1", "neg"), ("0_9", "pos")):
        place = tmp_path / "aclImdb" / "test" / label
        place.mkdir(parents=True)
        (place / f"{name}.txt").write_bytes(b"\x00a\xc3\xa9" if label == "neg" else b"\xff")
    batch = load_text("test", tmp_path).batch()
    assert batch.inputs.tolist() == [[1, 98, 0xC4, 0xAA], [256, 0, 0, 0]]
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [4, 1]
    assert batch.labels.tolist() == [0, 1]
    assert batch.inputs.max() < NUM_TOKENS


def test_reviews_are_in_the_order_of_their_numbers(tmp_path):
    data = load_text("test", write_reviews(tmp_path, 12))
    expected = [f"test neg {number}: très «bien» 映画" for number in range(12)]
    expected += [SHARED, *(f"test pos {number}: très «bien» 映画" for number in range(1, 12))]
    assert decoded(data) == expected
    assert data.labels.tolist() == [0] * 12 + [1] * 12
    assert isinstance(data, LabelledSequences)


def test_the_folder_may_be_the_one_unpacked_or_the_one_it_is_in(tmp_path):
    write_reviews(tmp_path, 2)
    assert decoded(load_text("test", tmp_path)) == decoded(load_text("test", tmp_path / "aclImdb"))


def test_longer_reviews_are_cut(tmp_path):
    write_reviews(tmp_path, 1)
    path = tmp_path / "aclImdb" / "test" / "neg" / "0_3.txt"
    path.write_bytes(b"x" * (MAX_LENGTH + 1))
    assert load_text("test", tmp_path).lengths.tolist() == [MAX_LENGTH, len(SHARED)]
    path.write_bytes("aé".encode())  # cut within a character
    assert load_text("test", tmp_path, max_length=2).batch().inputs[0].tolist() == [98, 0xC4]
    with pytest.raises(InvalidArgumentError, match="max_length = 0"):
        load_text("test", tmp_path, max_length=0)


def test_a_balanced_part_is_held_out(tmp_path):
    write_reviews(tmp_path)
    train, val = (load_text(split, tmp_path, validation=10) for split in TRAINING)
    everything = load_text("train", tmp_path, validation=0)
    assert (len(train), len(val), len(everything)) == (30, 10, 40)
    assert val.labels.bincount().tolist() == [5, 5]
    assert len(set(decoded(everything))) == 40
    assert sorted(decoded(train) + decoded(val)) == sorted(decoded(everything))
    other = load_text("val", tmp_path, validation=10, seed=1)
    assert decoded(other) != decoded(val)
    with pytest.raises(InvalidArgumentError, match="validation = 2500 of 40"):
        load_text("train", tmp_path)


def test_a_text_of_both_splits_stays_in_both(tmp_path):
    write_reviews(tmp_path, 2)
    assert SHARED in decoded(load_text("train", tmp_path, validation=0))
    assert SHARED in decoded(load_text("test", tmp_path))


def test_a_cache_is_read_until_the_data_are_others(tmp_path):
    write_reviews(tmp_path, 2)
    cache = tmp_path / "cache"
    first = decoded(load_text("train", tmp_path, cache=cache, validation=0))
    written = (cache / "text_train.safetensors").stat().st_mtime_ns
    assert decoded(load_text("train", tmp_path, cache=cache, validation=0)) == first
    held_out = load_text("val", tmp_path, cache=cache, validation=2)
    assert set(decoded(held_out)) < set(first)
    assert (cache / "text_train.safetensors").stat().st_mtime_ns == written
    path = tmp_path / "aclImdb" / "train" / "neg" / "0_3.txt"
    path.write_bytes(b"x" * len(path.read_bytes()))
    assert set(decoded(load_text("train", tmp_path, cache=cache, validation=0))[0]) == {"x"}
    path.write_bytes(b"yyyyy")
    assert decoded(load_text("train", tmp_path, cache=cache, validation=0))[0] == "yyyyy"
    shorter = load_text("train", tmp_path, cache=cache, validation=0, max_length=3)
    assert decoded(shorter)[0] == "yyy"
    assert [entry.name for entry in cache.iterdir()] == ["text_train.safetensors"]


def test_without_data_the_archive_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"aclImdb_v1\.tar\.gz.*aclImdb/\{train,test\}"):
        load_text("train", tmp_path)
    write_reviews(tmp_path, 1)
    (tmp_path / "aclImdb" / "test" / "pos" / "0_8.txt").unlink()
    with pytest.raises(DataNotFoundError, match=r"test.pos holds no reviews.*aclImdb_v1"):
        load_text("test", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("7_3.txt", b"", "an empty file"), ("._7_3.txt", b"x", "not a review by its name")],
)
def test_a_file_that_is_no_review_is_named(tmp_path, name, content, reason):
    write_reviews(tmp_path, 1)
    (tmp_path / "aclImdb" / "test" / "neg" / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=f"{name}: {reason}"):
        load_text("test", tmp_path)


SAVED = {
    "train": {"text": ["bon", "mauvais é"], "label": [1, 0]},
    "test": {"text": ["x" * 5000], "label": [1]},
}


def test_what_datasets_saved_is_read(tmp_path, monkeypatch):
    opened = pretend_library(monkeypatch, SAVED)
    train = load_text("train", pretend_saved(tmp_path), validation=0)
    assert decoded(train) == ["bon", "mauvais é"]
    assert train.labels.tolist() == [1, 0]
    test = load_text("test", tmp_path)
    assert test.lengths.tolist() == [MAX_LENGTH]
    assert torch.equal(test.labels, torch.tensor([1]))
    assert opened == [str(tmp_path)] * 2


def test_without_datasets_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingLibraryError, match=r"datasets is not installed.*\[hub\]"):
        load_text("train", pretend_saved(tmp_path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "KeyError"),
        ({"test": {"text": ["a"]}}, "columns text and label"),
        ({"test": {"text": [], "label": []}}, "no rows in test"),
        ({"test": {"text": ["a", ""], "label": [0, 1]}}, "row 1"),
        ({"test": {"text": ["a", "b"], "label": [0, -1]}}, "row 1 .* label -1"),
        ({"test": {"text": [7], "label": [0]}}, "a int"),
    ],
)
def test_saved_tables_that_are_no_reviews_are_reported(tmp_path, monkeypatch, content, reason):
    pretend_library(monkeypatch, content)
    with pytest.raises(FileFormatError, match=reason):
        load_text("test", pretend_saved(tmp_path))
