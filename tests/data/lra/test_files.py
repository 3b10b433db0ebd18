"""What a cache tells data by, and what it takes to tell."""

import os
import shutil
from pathlib import Path

import pytest

from hydropress.data.lra.files import FEW, files_digest


def write(folder: Path, count: int) -> list[Path]:
    (folder / "data").mkdir(parents=True)
    paths = [folder / "data" / f"{number}.txt" for number in range(count)]
    for path in paths:
        path.write_text(f"number {path.stem}")
        os.utime(path, ns=(0, 10**18))
    return paths


def test_few_files_are_told_by_their_contents(tmp_path):
    paths = write(tmp_path / "one", 3)
    digest = files_digest(paths)
    assert files_digest(write(tmp_path / "two", 3)) == digest
    os.utime(paths[1])
    assert files_digest(paths) == digest
    paths[1].write_text("NUMBER 1")
    changed = files_digest(paths)
    paths[1].unlink()
    assert len({digest, changed, files_digest(paths)}) == 3


def test_a_content_does_not_run_over_into_the_next_file(tmp_path):
    one, two = write(tmp_path / "one", 2), write(tmp_path / "two", 2)
    for path, content in zip([*one, *two], ("ab", "c", "a", "bc"), strict=True):
        path.write_text(content)
    assert files_digest(one) != files_digest(two)
    assert files_digest(one) != files_digest(one[::-1])


def test_many_files_are_told_by_their_place_names_sizes_and_times(tmp_path):
    paths = write(tmp_path / "one", FEW + 1)
    digest = files_digest(paths)
    assert files_digest(paths) == digest
    assert files_digest(write(tmp_path / "two", FEW + 1)) != digest
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert files_digest([tmp_path / "link" / "data" / path.name for path in paths]) == digest
    os.utime(paths[5], ns=(0, 10**18 + 1))
    later = files_digest(paths)
    paths[5].write_text("longer than it was")
    os.utime(paths[5], ns=(0, 10**18 + 1))
    longer = files_digest(paths)
    paths[5].unlink()
    missing = files_digest(paths)
    assert len({digest, later, longer, missing}) == 4


@pytest.mark.parametrize("count", [2, FEW + 1])
def test_a_folder_in_place_of_another_holds_other_data(tmp_path, count):
    one, two = (write(tmp_path / name, count) for name in ("one", "two"))
    two[0].write_text("NUMBER 0")
    before = files_digest(one)
    shutil.rmtree(tmp_path / "one")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    assert files_digest(one) != before
