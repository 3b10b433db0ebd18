"""Statistics of images, against SciPy's labels and figures counted by hand."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy import ndimage

from hydropress.data.images import ImageSequences
from hydropress.data.lra.pathfinder_generator import generate_pathfinder
from hydropress.data.lra.pathfinder_geometry import PATH_X
from hydropress.data.lra.pathfinder_statistics import (
    LIT,
    count_components,
    pathfinder_statistics,
)
from hydropress.errors import InvalidArgumentError

EIGHT = np.ones((3, 3))


def test_components_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for share in (0.1, 0.3, 0.5, 0.9):
        lit = rng.random((20, 13, 17)) < share
        expected = [int(cast(Any, ndimage.label(image, EIGHT))[1]) for image in lit]
        assert count_components(torch.from_numpy(lit)).tolist() == expected
    spiral = torch.zeros(1, 9, 9, dtype=torch.bool)
    spiral[0, ::2] = True
    spiral[0, 1::4, -1] = True
    spiral[0, 3::4, 0] = True
    assert count_components(spiral).tolist() == [1]


def test_figures_of_a_set_counted_by_hand():
    images = torch.zeros(4, 4, 4, dtype=torch.uint8)
    images[0, 0, 0] = 255
    images[1, 0, 0] = images[1, 3, 3] = LIT
    images[2] = LIT - 1
    statistics = pathfinder_statistics(ImageSequences(images, torch.tensor([1, 0, 1, 1]), 0.5, 0.5))
    assert statistics.count == 4
    assert statistics.positive_share == 0.75
    assert statistics.lit_share == 3 / 64
    assert statistics.components == (2, 1, 1)
    assert statistics.mean_components == 0.75
    grey = images.numpy() / 255
    assert statistics.grey_mean == pytest.approx(grey.mean(), rel=1e-12)
    assert statistics.grey_deviation == pytest.approx(grey.std(), rel=1e-12)
    assert statistics.to_dict()["mean_components"] == 0.75


@pytest.mark.parametrize(("resolution", "count"), [(32, 60), (128, 10)])
def test_generated_images_look_like_pathfinder(resolution, count):
    """A small part of the pixels is lit, in many pieces: dashes and two disks."""
    data = generate_pathfinder(count) if resolution == 32 else generate_pathfinder(count, PATH_X)
    statistics = pathfinder_statistics(data)
    assert statistics.positive_share == 0.5
    assert 0.02 < statistics.lit_share < 0.25
    assert sum(statistics.components) == count
    assert statistics.mean_components > 15


def test_no_images_are_refused():
    empty = ImageSequences(torch.zeros(0, 4, 4, dtype=torch.uint8), torch.zeros(0).long(), 0.5, 0.5)
    with pytest.raises(InvalidArgumentError, match="no images"):
        pathfinder_statistics(empty)
