"""Readers of the data, whole and in part."""

import gzip

import numpy as np
import pytest
import torch

from hydropress.data.fashion_mnist import DEFAULT_FOLDER, MEAN, load_full, load_slice
from hydropress.data.sources import calibration_sequences, open_data
from hydropress.errors import DataNotFoundError, FileFormatError, InvalidArgumentError
from tiny import tiny_arrays, write_idx_folder, write_slice

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"


def test_full_data_are_read_as_written(tmp_path):
    data = load_full("test", write_idx_folder(tmp_path))
    images, labels = tiny_arrays(20, 1)
    assert np.array_equal(data.images.numpy(), images)
    assert np.array_equal(data.labels.numpy(), labels)
    assert data.labels.dtype == torch.int64


def test_missing_files_say_what_to_install(tmp_path):
    with pytest.raises(DataNotFoundError, match="dataset-fashion-mnist"):
        load_full("train", tmp_path)


DAMAGED = {
    "not gzip": b"plain text",
    "cut short": gzip.compress(b"\0\0\x08\x03" + b"\0" * 12)[:-6],
    "other axes": gzip.compress(b"\0\0\x08\x01" + b"\0" * 12),
    "too few values": gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\x02" * 3 + b"\0" * 7),
    "no header": gzip.compress(b"\0\0"),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_files_are_reported(tmp_path, content):
    write_idx_folder(tmp_path)
    (tmp_path / TRAIN_IMAGES).write_bytes(content)
    with pytest.raises(FileFormatError, match=TRAIN_IMAGES):
        load_full("train", tmp_path)


def test_images_without_as_many_labels_are_reported(tmp_path):
    write_idx_folder(tmp_path / "a", train=48)
    write_idx_folder(tmp_path / "b", train=47)
    (tmp_path / "a" / TRAIN_IMAGES).write_bytes((tmp_path / "b" / TRAIN_IMAGES).read_bytes())
    with pytest.raises(FileFormatError, match="n labels"):
        load_full("train", tmp_path / "a")


def test_the_shipped_slice():
    train, test = load_slice("train"), load_slice("test")
    assert train.images.shape == (4096, 28, 28)
    assert test.images.shape == (2000, 28, 28)
    counts = train.labels.bincount()
    assert len(counts) == 10
    assert counts.max() - counts.min() <= 1
    sequences = train.sequences()
    assert sequences.shape == (4096, 784, 1)
    assert sequences.mean().abs() < 0.02
    assert abs(sequences.std() - 1) < 0.02
    assert train.mean == MEAN


@pytest.mark.skipif(not DEFAULT_FOLDER.is_dir(), reason="full data not installed")
def test_the_slice_is_part_of_the_full_data():
    full = load_full("test")
    part = load_slice("test")
    assert torch.equal(part.images, full.images[:2000])
    assert torch.equal(part.labels, full.labels[:2000])
    known = {image.numpy().tobytes() for image in load_full("train").images}
    assert all(image.numpy().tobytes() in known for image in load_slice("train").images)


def test_slices_that_are_none_are_reported(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"make_slice\.py"):
        load_slice("test", tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(FileFormatError, match=r"bad\.npz"):
        load_slice("test", tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", other=np.zeros(3))
    with pytest.raises(FileFormatError, match=r"other\.npz"):
        load_slice("test", tmp_path / "other.npz")
    np.savez(tmp_path / "float.npz", test_images=np.zeros((2, 3, 3)), test_labels=np.zeros(2))
    with pytest.raises(FileFormatError, match="uint8"):
        load_slice("test", tmp_path / "float.npz")
    assert len(load_slice("train", write_slice(tmp_path / "good.npz"))) == 48


def test_sources(tmp_path):
    assert len(open_data("slice", "test")) == 2000
    assert len(open_data(write_idx_folder(tmp_path), "train")) == 48
    with pytest.raises(DataNotFoundError, match="'slice', a folder of"):
        open_data(str(tmp_path / "nowhere"), "test")


def test_calibration_is_drawn_by_seed(tmp_path):
    data = load_full("train", write_idx_folder(tmp_path))
    first = calibration_sequences(data, 8, 0)
    assert first.shape == (8, 36, 1)
    assert torch.equal(first, calibration_sequences(data, 8, 0))
    assert not torch.equal(first, calibration_sequences(data, 8, 1))
    assert len(calibration_sequences(data, 48, 0).unique(dim=0)) == 48
    for count in (0, 49):
        with pytest.raises(InvalidArgumentError, match="from 1 to 48"):
            calibration_sequences(data, count, 0)
