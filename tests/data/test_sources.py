"""What a command calibrates on, and what it measures a drop of the accuracy on."""

import pytest
import torch

import hydropress.data.sources as sources
from hydropress.data.sources import calibration_sequences, held_out_images
from hydropress.errors import InvalidArgumentError
from tiny import tiny_images


def rows(sequences: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(row.flatten().tolist()) for row in sequences}


def test_no_image_is_both_calibrated_on_and_held_out():
    data = tiny_images(60)
    for seed in (0, 1):
        calibration = calibration_sequences(data, 20, seed)
        held_out = held_out_images(data, seed, calibration=data, samples=20)
        assert len(held_out) == 40
        assert not rows(calibration) & rows(held_out.sequences())
        assert rows(calibration) | rows(held_out.sequences()) == rows(data.sequences())


def test_an_image_from_another_source_counts_as_the_same():
    data = tiny_images(60)
    part = data[10:40]  # a slice of the set
    calibration = calibration_sequences(part, 30, 3)
    held_out = held_out_images(data, 3, calibration=part, samples=30)
    assert len(held_out) == 30
    assert not rows(calibration) & rows(held_out.sequences())
    assert len(held_out_images(data, 3)) == 60


def test_labels_go_with_their_images():
    data = tiny_images(60)
    held_out = held_out_images(data, 5, calibration=data, samples=10)
    labels = {
        tuple(i.flatten().tolist()): int(k) for i, k in zip(data.images, data.labels, strict=True)
    }
    for image, label in zip(held_out.images, held_out.labels, strict=True):
        assert labels[tuple(image.flatten().tolist())] == int(label)


def test_at_most_so_many_and_at_least_one(monkeypatch):
    data = tiny_images(60)
    monkeypatch.setattr(sources, "HELD_OUT_SAMPLES", 7)
    assert len(held_out_images(data, 0)) == 7
    with pytest.raises(InvalidArgumentError, match="no image of 60 is left.*required"):
        held_out_images(data, 0, calibration=data, samples=60)
