"""What a command calibrates on, and what it measures a drop of the accuracy on."""

from pathlib import Path

import pytest
import torch

import hydropress.data.sources as sources
from hydropress.data.sources import calibration_sequences, held_out_sequences, open_data
from hydropress.errors import DataNotFoundError, InvalidArgumentError
from tiny import tiny_images


def rows(sequences: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(row.flatten().tolist()) for row in sequences}


def test_no_image_is_both_calibrated_on_and_held_out():
    data = tiny_images(60)
    for seed in (0, 1):
        calibration = calibration_sequences(data, 20, seed)
        held_out = held_out_sequences(data, seed, calibration=data, samples=20)
        assert len(held_out) == 40
        assert not rows(calibration) & rows(held_out.sequences())
        assert rows(calibration) | rows(held_out.sequences()) == rows(data.sequences())


def test_an_image_from_another_source_counts_as_the_same():
    data = tiny_images(60)
    part = data[10:40]  # a slice of the set
    calibration = calibration_sequences(part, 30, 3)
    held_out = held_out_sequences(data, 3, calibration=part, samples=30)
    assert len(held_out) == 30
    assert not rows(calibration) & rows(held_out.sequences())
    assert len(held_out_sequences(data, 3)) == 60


def test_labels_go_with_their_images():
    data = tiny_images(60)
    held_out = held_out_sequences(data, 5, calibration=data, samples=10)
    labels = {
        tuple(i.flatten().tolist()): int(k) for i, k in zip(data.images, data.labels, strict=True)
    }
    for image, label in zip(held_out.images, held_out.labels, strict=True):
        assert labels[tuple(image.flatten().tolist())] == int(label)


def test_at_most_so_many_and_at_least_one(monkeypatch):
    data = tiny_images(60)
    monkeypatch.setattr(sources, "HELD_OUT_SAMPLES", 7)
    assert len(held_out_sequences(data, 0)) == 7
    with pytest.raises(InvalidArgumentError, match="no sequence of 60 is left.*required"):
        held_out_sequences(data, 0, calibration=data, samples=60)


def write_reviews(folder: Path) -> Path:
    for split in ("train", "test"):
        for number, (kind, rating) in enumerate((("pos", 9), ("neg", 2))):
            part = folder / split / kind
            part.mkdir(parents=True)
            for place in range(6):
                text = f"{split} {kind} {place} " * (place + number + 1)
                (part / f"{place}_{rating}.txt").write_text(text)
    return folder


def test_a_task_is_named_with_its_length_and_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_reviews(tmp_path / "aclImdb")
    data = open_data(f"text@20:{folder}", "test")
    assert len(data) == 12
    assert data.lengths is not None
    assert int(data.lengths.max()) == 20
    whole = open_data(f"text:{folder}", "test").lengths
    assert whole is not None
    assert int(whole.max()) == len("test neg 5 ") * 7
    held_out = held_out_sequences(data, 0, calibration=data, samples=3)
    assert 1 <= len(held_out) <= 9


@pytest.mark.parametrize("source", ["text@0:x", "text@long:x", "text@-1:x"])
def test_a_length_that_is_none(source):
    with pytest.raises(InvalidArgumentError, match="after '@'"):
        open_data(source, "test")


@pytest.mark.parametrize("source", ["txt:aclImdb", "nowhere"])
def test_what_is_no_source_lists_what_there_is(source):
    with pytest.raises(DataNotFoundError, match="listops, text"):
        open_data(source, "train")


@pytest.mark.parametrize("source", ["fashion-mnist@100", "image@100:cifar10", "ucr:ACSF1@100"])
def test_a_length_where_no_sequence_is_cut_is_refused(source):
    with pytest.raises(InvalidArgumentError, match="as long as they are"):
        open_data(source, "test")


def test_a_task_without_its_folder_says_so():
    with pytest.raises(DataNotFoundError, match="aclImdb"):
        open_data("text", "train")
