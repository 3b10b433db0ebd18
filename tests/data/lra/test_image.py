"""CIFAR-10 in grey: four layouts of the same images."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hydropress.data.images import ImageSequences
from hydropress.data.lra.cifar10 import CLASSES
from hydropress.data.lra.image import grey, load_image
from hydropress.data.lra.splits import Split
from hydropress.data.sequences import LabelledSequences
from hydropress.errors import (
    DataNotFoundError,
    FileFormatError,
    InvalidArgumentError,
    MissingLibraryError,
)
from saved import pretend_library, pretend_saved

TRAINING: tuple[Split, Split] = ("train", "val")
WEIGHTS = np.array([0.299, 0.587, 0.114])  # ITU-R 601
BATCH = 20


def random_batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images in colour, two of each class, mixed."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (BATCH, 3, 32, 32)).astype(np.uint8)
    return images, generator.permutation(np.arange(BATCH) % 10).astype(np.uint8)


def write_binary(folder: Path) -> Path:
    """Write five files of training images and one of test images, as the binary version has."""
    place = folder / "cifar-10-batches-bin"
    place.mkdir(parents=True)
    for seed, name in enumerate(["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]):
        images, labels = random_batch(seed)
        records = (
            bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True)
        )
        (place / f"{name}.bin").write_bytes(b"".join(records))
    return folder


def assert_grey(data: ImageSequences, colours: np.ndarray) -> None:
    """Compare with the formula; its three weights are kept to 2^-17, which moves 0.001 of 255."""
    exact = np.einsum("c,nchw->nhw", WEIGHTS, colours.astype(float))
    assert data.images.shape == exact.shape
    assert np.abs(data.images.numpy() - exact).max() < 0.5 + 0.002


def test_known_colours():
    colours = {
        (255, 0, 0): 76,  # 76.245
        (0, 255, 0): 150,  # 149.685
        (0, 0, 255): 29,  # 29.07
        (255, 255, 255): 255,
        (0, 0, 0): 0,
        (10, 20, 30): 18,  # 2.99 + 11.74 + 3.42
    }
    images = np.array(list(colours), dtype=np.uint8)[:, :, None, None]
    assert grey(images).ravel().tolist() == list(colours.values())


def test_grey_is_that_of_pillow():
    image = pytest.importorskip("PIL.Image")
    colours = random_batch(7)[0]
    expected = [
        np.asarray(image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0))).convert("L"))
        for one in colours
    ]
    assert np.array_equal(grey(colours), np.stack(expected))


def test_the_binary_version(tmp_path):
    write_binary(tmp_path)
    test, train = load_image("test", tmp_path), load_image("train", tmp_path, validation=0)
    images, labels = random_batch(0)
    assert_grey(test, images)
    assert test.labels.tolist() == labels.tolist()
    batches = [random_batch(seed) for seed in range(1, 6)]
    assert_grey(train, np.concatenate([images for images, _ in batches]))
    assert train.labels.tolist() == np.concatenate([labels for _, labels in batches]).tolist()
    inside = load_image("test", tmp_path / "cifar-10-batches-bin")
    assert torch.equal(inside.images, test.images)


def test_pixels_are_standardised_row_by_row(tmp_path):
    data = load_image("test", write_binary(tmp_path))
    batch = data.batch()
    assert batch.inputs.shape == (BATCH, 1024, 1)
    assert batch.inputs.dtype == torch.float32
    value = (data.images[3, 5, 7].item() - 122.6) / 61
    assert batch.inputs[3, 5 * 32 + 7, 0].item() == pytest.approx(value, abs=1e-6)
    assert batch.lengths is None
    assert isinstance(data, LabelledSequences)


def test_a_balanced_part_is_held_out(tmp_path):
    write_binary(tmp_path)
    train, val = (load_image(split, tmp_path, validation=10) for split in TRAINING)
    everything = load_image("train", tmp_path, validation=0)
    assert (len(train), len(val), len(everything)) == (90, 10, 100)
    assert val.labels.bincount(minlength=10).tolist() == [1] * 10
    parts = [*train.images, *val.images]
    assert sorted(image.numpy().tobytes() for image in parts) == sorted(
        image.numpy().tobytes() for image in everything.images
    )
    other = load_image("val", tmp_path, validation=10, seed=1)
    assert not torch.equal(other.images, val.images)
    with pytest.raises(InvalidArgumentError, match="validation = 5000 of 100"):
        load_image("train", tmp_path)


def test_a_cache_is_read_until_the_data_are_others(tmp_path):
    write_binary(tmp_path / "one")
    cache = tmp_path / "cache"
    first = load_image("test", tmp_path / "one", cache=cache)
    written = (cache / "image_test.safetensors").stat().st_mtime_ns
    again = load_image("test", tmp_path / "one", cache=cache)
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.labels, first.labels)
    assert (cache / "image_test.safetensors").stat().st_mtime_ns == written
    # Another folder, whose files have the same names and sizes.
    path = write_binary(tmp_path / "two") / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(bytes(path.stat().st_size))
    other = load_image("test", tmp_path / "two", cache=cache)
    assert int(other.images.max()) == 0
    assert int(other.labels.max()) == 0
    assert [entry.name for entry in cache.iterdir()] == ["image_test.safetensors"]


def test_without_data_the_archives_are_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"cifar-10-binary\.tar\.gz.*cifar-10-batches-bin"):
        load_image("train", tmp_path)
    (write_binary(tmp_path) / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(DataNotFoundError, match=r"lacks data_batch_3\.bin.*cifar-10-binary"):
        load_image("train", tmp_path)
    assert len(load_image("test", tmp_path)) == BATCH


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"\1" * 3072, "3072 bytes"),
        (b"\0" * 3073 + b"\x0a" * 3073, "label 10 in record 2"),
    ],
)
def test_broken_binary_files_are_named(tmp_path, content, reason):
    path = write_binary(tmp_path) / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=rf"test_batch\.bin: {reason}"):
        load_image("test", tmp_path)


def write_jpegs(folder: Path) -> Path:
    """Write two images of each class and split."""
    image = pytest.importorskip("PIL.Image")
    for split in ("train", "test"):
        for number, name in enumerate(CLASSES):
            place = folder / "cifar10" / split / name
            place.mkdir(parents=True)
            for shade in (0, 1):
                colour = (20 * number, 100 + 100 * shade, 50)
                image.new("RGB", (32, 32), colour).save(place / f"{shade:04}.jpg", quality=95)
    return folder


def test_jpeg_files(tmp_path):
    data = load_image("test", write_jpegs(tmp_path))
    assert data.labels.tolist() == [label for label in range(10) for _ in range(2)]
    for place, image in enumerate(data.images):
        number, shade = divmod(place, 2)
        level = WEIGHTS @ (20 * number, 100 + 100 * shade, 50)
        assert (image.double() - level).abs().max() < 2  # what JPEG loses of one colour
    train = load_image("train", tmp_path / "cifar10", validation=10)
    assert train.labels.tolist() == list(range(10))
    assert "lossy" in data.note
    assert train[:3].note == data.note
    assert load_image("test", write_binary(tmp_path / "binary")).note == ""


def test_jpeg_pixels_are_where_they_were(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = write_jpegs(tmp_path) / "cifar10" / "test" / "airplane" / "0000.jpg"
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[:8, 16:] = 255
    image.fromarray(pixels).save(path, quality=95)
    read = load_image("test", tmp_path).images[0]
    assert torch.equal(read > 127, torch.from_numpy(pixels[..., 0]) > 127)


def test_without_pillow_its_extra_is_named(tmp_path, monkeypatch):
    write_jpegs(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingLibraryError, match=r"Pillow is not installed.*\[training\]"):
        load_image("test", tmp_path)


def test_broken_jpegs_are_named(tmp_path):
    path = write_jpegs(tmp_path) / "cifar10" / "test" / "cat" / "0001.jpg"
    image = pytest.importorskip("PIL.Image")
    content = path.read_bytes()
    for damaged in (b"no image", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"cat.0001\.jpg: not a JPEG image"):
            load_image("test", tmp_path)
    image.new("RGB", (32, 31)).save(path)
    with pytest.raises(FileFormatError, match=r"cat.0001\.jpg: an image of 32 x 31 pixels"):
        load_image("test", tmp_path)
    path.unlink()
    (path.parent / "0000.jpg").unlink()
    with pytest.raises(
        DataNotFoundError, match=r"test.cat holds no images.*cifar10/\{train,test\}"
    ):
        load_image("test", tmp_path)


def in_colour(seed: int):
    """Return a split as ``datasets`` gives it: decoded images, and labels."""
    image = pytest.importorskip("PIL.Image")
    images, labels = random_batch(seed)
    pixels = (np.ascontiguousarray(one.transpose(1, 2, 0)) for one in images)
    return {"img": [image.fromarray(one) for one in pixels], "label": [*labels]}


def test_what_datasets_saved_is_read(tmp_path, monkeypatch):
    opened = pretend_library(monkeypatch, {"train": in_colour(1), "test": in_colour(0)})
    cache = tmp_path / "cache"
    data = load_image("test", pretend_saved(tmp_path), cache=cache)
    assert_grey(data, random_batch(0)[0])
    assert data.labels.tolist() == random_batch(0)[1].tolist()
    train = load_image("train", tmp_path, validation=10)
    assert len(train) == 10
    assert opened == [str(tmp_path)] * 2
    again = load_image("test", tmp_path, cache=cache)
    assert torch.equal(again.images, data.images)
    assert len(opened) == 2


@pytest.mark.parametrize("module", ["datasets", "PIL.Image"])
def test_what_reads_saved_images_is_named_if_it_is_missing(tmp_path, monkeypatch, module):
    pretend_library(monkeypatch, {"test": {"img": [], "label": []}})
    monkeypatch.setitem(sys.modules, module, None)
    extra = "hub" if module == "datasets" else "training"
    with pytest.raises(MissingLibraryError, match=rf"is not installed.*\[{extra}\]"):
        load_image("test", pretend_saved(tmp_path))


def test_saved_tables_that_are_no_images_are_reported(tmp_path, monkeypatch):
    pretend_saved(tmp_path)
    good = in_colour(0)
    for content, reason in (
        ({}, "KeyError"),
        ({"test": {"image": good["img"], "label": good["label"]}}, "columns img and label"),
        ({"test": {"img": [], "label": []}}, "no rows in test"),
        ({"test": {"img": good["img"][:2], "label": [0, 10]}}, "row 1 of test .* label 10"),
        ({"test": {"img": [good["img"][0].resize((8, 8))], "label": [0]}}, r"size \(8, 8\)"),
        ({"test": {"img": [{"bytes": b""}], "label": [0]}}, "row 0 of test a dict"),
    ):
        pretend_library(monkeypatch, content)
        with pytest.raises(FileFormatError, match=reason):
            load_image("test", tmp_path)
