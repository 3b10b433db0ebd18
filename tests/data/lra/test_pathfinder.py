"""Reader of the released Pathfinder images: which, in which split, and what is refused."""

import pickle
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset, random_split

from hydropress.data.lra.pathfinder import load_pathfinder
from hydropress.data.lra.pathfinder_generator import write_pathfinder
from hydropress.data.lra.pathfinder_geometry import PATHFINDER
from hydropress.errors import (
    DataNotFoundError,
    FileFormatError,
    InvalidArgumentError,
    MissingLibraryError,
)

HARD = "curv_contour_length_14"
SPLITS = ("train", "val", "test")


@dataclass
class Release:
    """Images of one resolution, each of one grey value that tells its place."""

    folder: Path
    side: int = 32
    subset: str = HARD
    labels: list[int] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / f"pathfinder{self.side}" / self.subset

    def add(self, number: int, count: int, *, array: bool = False) -> "Release":
        lines: list[str] = []
        for place in range(count):
            grey = len(self.labels)
            label = (grey * 7 // 3) % 2
            path = self.root / "imgs" / str(number) / f"sample_{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((self.side, self.side), grey, np.uint8)).save(path)
            lines.append(f"imgs/{number} sample_{place}.png {place} {label} 1.0 14 4 2 0.5 1 1")
            self.labels.append(label)
        path = self.root / "metadata" / f"{number}.npy"
        path.parent.mkdir(exist_ok=True)
        if array:
            np.save(path, np.array([line.split() for line in lines]))
        else:
            path.write_text("".join(f"{line}\n" for line in lines))
        return self


@pytest.fixture
def release(tmp_path):
    return Release(tmp_path).add(0, 12).add(10, 15).add(2, 13)


def greys(data) -> list[int]:
    assert bool((data.images == data.images[:, :1, :1]).all())
    return data.images[:, 0, 0].tolist()


def test_the_splits_share_no_image_and_leave_none_out(release):
    parts = [load_pathfinder(split, release.folder) for split in SPLITS]
    assert [len(part) for part in parts] == [32, 4, 4]
    assert sorted(grey for part in parts for grey in greys(part)) == list(range(40))
    for part in parts:
        assert part.labels.tolist() == [release.labels[grey] for grey in greys(part)]


def test_the_split_is_that_of_published_s4_models(release):
    # Lists in the order of their numbers, 0, 2, 10, then PyTorch's own random split.
    in_order = [*range(12), *range(27, 40), *range(12, 27)]
    generator = torch.Generator().manual_seed(42)
    data = TensorDataset(torch.tensor(in_order))
    parts = random_split(data, [32, 4, 4], generator=generator)
    expected = [[int(part[place][0]) for place in range(len(part))] for part in parts]
    for split, part in zip(SPLITS, expected, strict=True):
        assert greys(load_pathfinder(split, release.folder)) == part
    assert greys(load_pathfinder("train", release.folder, seed=0)) != expected[0]


def test_sequences_run_from_minus_one_to_one_row_by_row(release):
    for path in (release.root / "imgs").rglob("*.png"):
        pixels = np.zeros((32, 32), np.uint8)
        pixels[0, 1] = 255
        Image.fromarray(pixels).save(path)
    inputs = load_pathfinder("val", release.folder).batch().inputs
    assert inputs.shape == (4, 1024, 1)
    assert bool((inputs[:, 1] == 1).all())
    assert bool((inputs[:, [0, 2, 32]] == -1).all())


@pytest.mark.parametrize("below", ["", "lra_release", "lra_release/lra_release"])
def test_any_folder_above_the_images_will_do(tmp_path, below):
    release = Release(tmp_path / below).add(0, 20)
    for folder in {tmp_path, tmp_path / below, release.folder / "pathfinder32"}:
        assert len(load_pathfinder("train", folder)) == 16


def test_resolutions_and_subsets_are_kept_apart(tmp_path):
    Release(tmp_path).add(0, 10)
    Release(tmp_path, side=128).add(0, 20)
    Release(tmp_path, subset="curv_contour_length_9").add(0, 30)
    assert load_pathfinder("test", tmp_path, resolution=128).images.shape == (2, 128, 128)
    assert len(load_pathfinder("test", tmp_path)) == 1
    assert len(load_pathfinder("test", tmp_path, contour_length=9)) == 3


def test_lists_may_be_arrays_of_strings(tmp_path):
    text, array = Release(tmp_path / "a").add(0, 20), Release(tmp_path / "b").add(0, 20, array=True)
    one, other = (load_pathfinder("train", release.folder) for release in (text, array))
    assert greys(one) == greys(other)
    assert torch.equal(one.labels, other.labels)


def test_the_empty_image_of_the_release_is_left_out(tmp_path):
    release = Release(tmp_path, subset="curv_baseline").add(0, 180)
    (release.root / "imgs" / "0" / "sample_172.png").write_bytes(b"")
    parts = [load_pathfinder(split, tmp_path, contour_length=6) for split in SPLITS]
    found = sorted(grey for part in parts for grey in greys(part))
    assert found == [grey for grey in range(180) if grey != 172]


def test_missing_data_say_what_to_download_and_where_to_put_it(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"pathfinder128/curv_contour_length_14") as caught:
        load_pathfinder("train", tmp_path, resolution=128)
    assert "lra_release.gz" in str(caught.value)
    assert "pass the folder lra_release, where lra_release/pathfinder128" in str(caught.value)
    (tmp_path / "pathfinder32" / HARD / "metadata").mkdir(parents=True)
    with pytest.raises(DataNotFoundError, match=r"no \.npy file"):
        load_pathfinder("train", tmp_path)


@pytest.mark.parametrize(
    "line",
    ["imgs/0 sample_3.png 3", "imgs/0 sample_3.png 3 2 1.0", "", "imgs/0 sample_3.png 3 1.0"],
)
def test_a_damaged_line_is_named(release, line):
    path = release.root / "metadata" / "2.npy"
    lines = path.read_text().splitlines()
    lines[3] = line
    path.write_text("\n".join(lines))
    with pytest.raises(FileFormatError, match=r"2\.npy, line 4.*label of 0 or 1"):
        load_pathfinder("train", release.folder)


@pytest.mark.parametrize("line", ["../../.. secret.png 0 1", "/etc secret.png 0 1"])
def test_a_list_cannot_name_files_elsewhere(release, line):
    (release.root / "metadata" / "0.npy").write_text(f"{line}\n")
    with pytest.raises(FileFormatError, match=r"0\.npy, line 1.*required: one below"):
        load_pathfinder("train", release.folder)


class Exploit:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_no_code_in_a_list_is_run(release, tmp_path):
    trace = tmp_path / "trace"
    path = release.root / "metadata" / "0.npy"
    np.save(path, np.array([[Exploit(trace)]], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match=r"0\.npy: not a list"):
        load_pathfinder("train", release.folder)
    path.write_bytes(pickle.dumps(Exploit(trace)))
    with pytest.raises(FileFormatError, match=r"0\.npy"):
        load_pathfinder("train", release.folder)
    assert not trace.exists()
    np.save(path, np.zeros((3, 4)))
    with pytest.raises(FileFormatError, match=r"float64 of shape \(3, 4\)"):
        load_pathfinder("train", release.folder)


def test_damaged_and_missing_images_are_named(release):
    path = release.root / "imgs" / "2" / "sample_5.png"
    content = path.read_bytes()

    def load_all():
        for split in SPLITS:
            load_pathfinder(split, release.folder)

    for damaged in (b"", b"no image", content[:40], content[:-30]):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"2/sample_5\.png: not a PNG"):
            load_all()
    Image.new("L", (64, 64)).save(path)
    with pytest.raises(FileFormatError, match=r"64 x 64 pixels; required: 32 x 32"):
        load_all()
    path.unlink()
    with pytest.raises(DataNotFoundError, match=r"2/sample_5\.png not found"):
        load_all()


def test_other_refusals(release, monkeypatch):
    with pytest.raises(InvalidArgumentError, match="train, val, test"):
        load_pathfinder("validation", release.folder)  # pyright: ignore[reportArgumentType]
    stray = release.root / "metadata" / "copy of 2.npy"
    stray.write_text("")
    with pytest.raises(FileFormatError, match="no number"):
        load_pathfinder("train", release.folder)
    stray.unlink()
    with pytest.raises(FileFormatError, match="9 images; required: 10 or more"):
        load_pathfinder("train", Release(release.folder / "few").add(0, 9).folder)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingLibraryError, match=r"hydropress\[training\]"):
        load_pathfinder("train", release.folder)


def test_decoded_images_are_kept_until_they_or_their_lists_change(release, tmp_path):
    cache = tmp_path / "cache"
    data = {split: load_pathfinder(split, release.folder, cache=cache) for split in SPLITS}
    written = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(written) == 3
    for split in SPLITS:
        again = load_pathfinder(split, release.folder, cache=cache)
        assert torch.equal(again.images, data[split].images)
        assert torch.equal(again.labels, data[split].labels)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == written
    other = load_pathfinder("train", release.folder, cache=cache, seed=1)
    assert greys(other) == greys(load_pathfinder("train", release.folder, seed=1))
    release.add(3, 10)
    assert len(load_pathfinder("train", release.folder, cache=cache)) == 40
    for path in (release.root / "imgs").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataNotFoundError, match=r"sample_\d+\.png not found"):
        load_pathfinder("train", release.folder, cache=cache)


def test_images_of_another_generator_are_not_taken_for_those_kept(tmp_path):
    # Their lists say nothing of contrast and distractors, and are the same.
    cache, other = tmp_path / "cache", replace(PATHFINDER, contrast=0.3, num_distractors=0)
    write_pathfinder(tmp_path / "one", 20)
    write_pathfinder(tmp_path / "two", 20, other)
    load_pathfinder("train", tmp_path / "one", cache=cache)
    found = load_pathfinder("train", tmp_path / "two", cache=cache)
    assert torch.equal(found.images, load_pathfinder("train", tmp_path / "two").images)
