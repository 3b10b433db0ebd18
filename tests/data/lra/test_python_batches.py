"""Pickles of CIFAR-10: read as Python 2 and 3 write them, and never run."""

import os
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydropress.data.lra.image import load_image
from hydropress.data.lra.python_batches import read_python_batch
from hydropress.errors import DataNotFoundError, FileFormatError

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3072)).astype(np.uint8)
LABELS = [3, 0, 9, 3]


def text(value: bytes) -> bytes:
    """Return the instruction for a text of Python 2."""
    if len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    return b"T" + struct.pack("<i", len(value)) + value


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def python2_batch(images: np.ndarray, labels: list[int]) -> bytes:
    """Return what cPickle of Python 2 writes at protocol 2, as the original files have it."""
    kind = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
    kind += b"(K\x03" + text(b"|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b")
    array += b"\x87R(K\x01" + number(images.shape[0]) + number(images.shape[1]) + b"\x86"
    array += kind + b"\x89" + text(images.tobytes()) + b"tb"
    content = b"\x80\x02}(" + text(b"batch_label") + text(b"training batch 1 of 5")
    content += text(b"labels") + b"](" + b"".join(map(number, labels)) + b"e"
    content += text(b"data") + array
    names = b"](" + b"".join(text(b"image_s_%06d.png" % place) for place in range(4)) + b"e"
    return content + text(b"filenames") + names + b"u."


def python3_batch(protocol: int) -> bytes:
    return pickle.dumps({b"data": IMAGES, b"labels": LABELS}, protocol=protocol)


def test_the_written_bytes_are_what_numpy_reads():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's names before version 2
        content = pickle.loads(python2_batch(IMAGES, LABELS), encoding="bytes")
    assert np.array_equal(content[b"data"], IMAGES)
    assert content[b"labels"] == LABELS
    assert content[b"filenames"][3] == b"image_s_000003.png"


@pytest.mark.parametrize(
    "content",
    [python2_batch(IMAGES, LABELS), python3_batch(3), python3_batch(4)],
    ids=["Python 2", "protocol 3", "protocol 4"],
)
def test_arrays_are_read(tmp_path, content):
    path = tmp_path / "test_batch"
    path.write_bytes(content)
    images, labels = read_python_batch(path)
    assert np.array_equal(images, IMAGES.reshape(4, 3, 32, 32))
    assert labels.tolist() == LABELS


def test_a_split_is_read_from_its_batches(tmp_path):
    place = tmp_path / "cifar-10-batches-py"
    place.mkdir()
    for batch in range(1, 6):
        images = np.full((1, 3072), 40 * batch, dtype=np.uint8)
        (place / f"data_batch_{batch}").write_bytes(python2_batch(images, [batch]))
    data = load_image("train", tmp_path, validation=0)
    assert data.labels.tolist() == [1, 2, 3, 4, 5]
    assert data.images[:, 31, 31].tolist() == [40, 80, 120, 160, 200]
    with pytest.raises(DataNotFoundError, match=r"cifar-10-python\.tar\.gz"):
        load_image("test", tmp_path)
    (place / "data_batch_2").unlink()
    with pytest.raises(DataNotFoundError, match="lacks data_batch_2"):
        load_image("train", tmp_path)


class Hostile:
    """Makes a directory when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def hostile_files(target: Path) -> dict[str, bytes]:
    """Return files, each of which makes a directory if it is run."""
    code = text(f"__import__('os').mkdir({str(target)!r})".encode())
    call = b"cbuiltins\neval\n" + code + b"\x85R"
    plain = python2_batch(IMAGES, LABELS)
    return {
        "all of it": pickle.dumps(Hostile(target)),
        "in place of data": pickle.dumps({b"data": Hostile(target), b"labels": LABELS}),
        "beside good data": plain.removesuffix(b"u.") + text(b"more") + call + b"u.",
        "after good data": plain.removesuffix(b".") + call + b"0.",
    }


@pytest.mark.parametrize("name", hostile_files(Path("target")))
def test_hostile_files_are_refused_and_not_run(tmp_path, name):
    target = tmp_path / "made"
    path = tmp_path / "test_batch"
    path.write_bytes(hostile_files(target)[name])
    with pytest.raises(FileFormatError, match=r"test_batch: .* calls for (builtins|posix|nt)\."):
        read_python_batch(path)
    assert not target.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's names before version 2
        pickle.loads(path.read_bytes(), encoding="bytes")
    assert target.exists()  # so much for opening it otherwise


@pytest.mark.parametrize(
    "called",
    ["numpy fromfile", "numpy.core.multiarray fromfile", "builtins getattr", "_codecs encode"],
)
def test_only_the_names_of_an_array_may_be_called_for(tmp_path, called):
    module, name = called.split()
    path = tmp_path / "test_batch"
    path.write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(FileFormatError, match=f"it calls for {module}.{name}"):
        read_python_batch(path)


def changed(**changes: Any) -> bytes:
    return pickle.dumps({"data": IMAGES, "labels": LABELS} | changes, protocol=4)


BROKEN = {
    "empty": (b"", "not a file of plain values"),
    "cut short": (python2_batch(IMAGES, LABELS)[:1000], "not a file of plain values"),
    "no pickle": (b"plain text", "not a file of plain values"),
    "object from elsewhere": (b"Pname\n.", "not a file of plain values"),
    "unknown extension": (b"\x80\x02\x82\x01.", "not a file of plain values"),
    "a list": (pickle.dumps([1]), "a list"),
    "no data": (pickle.dumps({b"labels": LABELS}), r"shapes None and \(4,\)"),
    "other type": (changed(data=IMAGES.astype(np.int8)), "shapes None"),
    "objects": (changed(data=IMAGES.astype(object)), "shapes None"),
    "other size": (changed(data=IMAGES[:, :3000].copy()), "shapes None"),
    "by columns": (changed(data=np.asfortranarray(IMAGES)), "shapes None"),
    "fewer bytes": (python2_batch(IMAGES, LABELS).replace(number(4), number(5)), "shapes None"),
    "no images": (changed(data=IMAGES[:0].copy(), labels=[]), "shapes None"),
    "label 10": (changed(labels=[0, 1, 2, 10]), "None"),
    "no list": (changed(labels=7), "None"),
    "fewer labels": (changed(labels=LABELS[:3]), r"\(4, 3, 32, 32\) and \(3,\)"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_are_named(tmp_path, content, reason):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=f"(?s)data_batch_1: .*{reason}.*required"):
        read_python_batch(path)


def test_an_intact_file_is_no_broken_one(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(changed())
    assert len(read_python_batch(tmp_path / "data_batch_1")[0]) == 4
