"""The tasks: what each says when its data are not there."""

import pytest

from hydropress.data.tasks import TASKS, Source, find_task
from hydropress.errors import DataNotFoundError, UnknownNameError

RELEASE = "https://storage.googleapis.com/long-range-arena/lra_release.gz"
WHAT_TO_GET = {
    "fashion-mnist": ("https://github.com/zalandoresearch/fashion-mnist", "train-images-idx3"),
    "listops": (RELEASE, "lra_release/listops-1000"),
    "text": (
        "aclImdb_v1.tar.gz",
        "https://ai.stanford.edu/~amaas/data/sentiment/",
        "aclImdb/{train,test}/{pos,neg}",
    ),
    "retrieval": (RELEASE, "lra_release/tsv_data/new_aan_pairs.{train,eval,test}.tsv"),
    "image": (
        "cifar-10-binary.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "cifar-10-batches-bin",
    ),
    "pathfinder": (RELEASE, "lra_release/pathfinder32/curv_contour_length_14"),
    "path-x": (RELEASE, "lra_release/pathfinder128/curv_contour_length_14"),
}


def test_every_task_with_files_is_here():
    assert {*WHAT_TO_GET} == {name for name in TASKS if not name.startswith("ucr:")}


@pytest.mark.parametrize("name", WHAT_TO_GET)
def test_a_wrong_folder_says_what_to_download_and_where_to_put_it(name, tmp_path):
    with pytest.raises(DataNotFoundError) as caught:
        find_task(name).load("train", Source(tmp_path))
    assert all(part in str(caught.value) for part in (str(tmp_path), *WHAT_TO_GET[name]))


@pytest.mark.parametrize("name", [name for name in WHAT_TO_GET if TASKS[name].needs])
def test_no_folder_says_so_too_and_how_to_give_one(name):
    with pytest.raises(DataNotFoundError) as caught:
        find_task(name).load("train", Source())
    parts = (TASKS[name].title, "--data", "TASK:FOLDER", *WHAT_TO_GET[name])
    assert all(part in str(caught.value) for part in parts)


def test_only_what_cannot_be_made_here_needs_a_folder():
    needy = {name for name in TASKS if TASKS[name].needs}
    assert needy == {"text", "retrieval", "image", "pathfinder", "path-x"}


def test_an_unknown_task_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"'cifar'.*image.*ucr:ACSF1"):
        find_task("cifar")
