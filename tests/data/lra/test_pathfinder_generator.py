"""Our own Pathfinder images: right labels, paths apart, the same for the same seed."""

import itertools
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy import ndimage

import hydropress.data.lra.pathfinder_generator as generator
from hydropress.data.lra.pathfinder import load_pathfinder
from hydropress.data.lra.pathfinder_generator import generate_pathfinder, render, write_pathfinder
from hydropress.data.lra.pathfinder_geometry import (
    PATH_X,
    PATHFINDER,
    PathfinderConfig,
    draw_geometry,
)
from hydropress.errors import InvalidArgumentError

CASES = {"32": (PATHFINDER, 40), "128": (PATH_X, 12)}


@pytest.fixture(params=CASES.values(), ids=list(CASES), scope="module")
def drawn(request):
    config, count = request.param
    return config, [draw_geometry(index, config, 3) for index in range(count)]


def points_along(ends: np.ndarray, spacing: float) -> np.ndarray:
    """Points on the lines from each point to the next, close together."""
    parts = []
    for start, stop in itertools.pairwise(ends):
        steps = np.linspace(0, 1, 2 + int(np.hypot(*(stop - start)) / spacing))
        parts.append(start + steps[:, None] * (stop - start))
    return np.concatenate(parts)


def components(lit: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbered connected components, corners included, and how many there are."""
    return cast(Any, ndimage.label(lit, np.ones((3, 3))))


def paths_of(geometry) -> list[np.ndarray]:
    return [*geometry.contours, *geometry.distractors]


def test_both_markers_are_on_one_contour_if_and_only_if_the_label_says_so(drawn):
    """Flood fill of the contours, their gaps closed, on a fine grid."""
    config, geometries = drawn
    scale = 8
    for geometry in geometries:
        canvas = np.zeros((config.resolution * scale,) * 2, bool)
        for path in paths_of(geometry):
            columns, rows = (points_along(path.reshape(-1, 2), 0.02) * scale).astype(int).T
            canvas[rows, columns] = True
        regions, count = components(canvas)
        assert count == len(paths_of(geometry))
        first, second = (
            regions[tuple((marker[::-1] * scale).astype(int))] for marker in geometry.markers
        )
        assert first > 0
        assert second > 0
        assert (first == second) == (geometry.label == 1)


def test_markers_are_on_ends_a_contour_apart(drawn):
    config, geometries = drawn
    for geometry in geometries:
        start, far = geometry.markers
        assert (start == geometry.contours[:, 0, 0]).all(1).sum() == 1
        assert (far == geometry.contours[:, -1, 1]).all(1).sum() == 1
        assert (geometry.markers >= config.marker_radius).all()
        assert (geometry.markers <= config.resolution - config.marker_radius).all()


def test_paths_keep_their_distance_from_others_and_from_themselves(drawn):
    config, geometries = drawn
    for geometry in geometries:
        dashes = [
            (path, place, points_along(dash, 0.1))
            for path, chain in enumerate(paths_of(geometry))
            for place, dash in enumerate(chain)
        ]
        for (path, place, one), (other, there, two) in itertools.combinations(dashes, 2):
            closest = np.hypot(*(one[:, None] - two[None]).transpose(2, 0, 1)).min()
            if path != other or abs(place - there) > 1:
                assert closest >= config.margin - 1e-9
            else:  # the gap bends at its middle, by a right angle at most
                assert config.gap / np.sqrt(2) - 1e-9 <= closest <= config.gap + 1e-9


def test_dashes_are_as_long_as_said_and_paths_bend_no_more_than_allowed(drawn):
    config, geometries = drawn
    turns = []
    for geometry in geometries:
        assert geometry.contours.shape == (2, config.contour_length, 2, 2)
        assert geometry.distractors.shape[1:] == (config.distractor_length, 2, 2)
        for path in paths_of(geometry):
            steps = path[:, 1] - path[:, 0]
            assert np.allclose(np.hypot(*steps.T), config.dash_length)
            angles = np.arctan2(steps[:, 1], steps[:, 0])
            turns.extend((np.diff(angles) + np.pi) % (2 * np.pi) - np.pi)
    assert np.abs(turns).max() <= config.max_turn + 1e-9
    assert np.abs(turns).max() > 0.8 * config.max_turn
    assert abs(np.mean(turns)) < 0.1 * config.max_turn  # neither hand is preferred


def test_nothing_else_touches_a_marker(drawn):
    """Where a marker is, no path is but the one it marks."""
    config, geometries = drawn
    for geometry in geometries:
        for marker in geometry.markers:
            near = [
                np.hypot(*(points_along(path.reshape(-1, 2), 0.1) - marker).T).min()
                < config.marker_radius + config.dash_width
                for path in paths_of(geometry)
            ]
            assert sum(near) == 1
        assert np.hypot(*(geometry.markers[0] - geometry.markers[1])) > 2 * config.marker_radius


def test_an_image_shows_its_geometry(drawn):
    config, geometries = drawn
    for geometry in geometries[:3]:
        image = render(geometry, config).astype(float)
        rows, columns = np.indices(image.shape) + 0.5
        pixels = np.stack([columns, rows], -1)
        distance = np.full(image.shape, np.inf)
        for dash in np.concatenate(paths_of(geometry)):
            for point in points_along(dash, 0.5):
                distance = np.minimum(distance, np.hypot(*(pixels - point).transpose(2, 0, 1)))
        to_marker = np.min(
            [np.hypot(*(pixels - marker).transpose(2, 0, 1)) for marker in geometry.markers], 0
        )
        corner = np.sqrt(0.5)
        outside = (distance > config.dash_width / 2 + corner) & (
            to_marker > config.marker_radius + corner
        )
        assert outside.any()
        assert (image[outside] == 0).all()
        assert (image[to_marker < config.marker_radius - corner] == 255).all()
        assert (image[distance < 0.3] > 0).all()


def test_grey_values_are_areas():
    """A dash a pixel wide covers its length times its width, wherever it lies."""
    config = replace(PATH_X, supersampling=16)
    rng = np.random.default_rng(0)
    for width in (1.0, 3.0):
        start = 40 + 40 * rng.random(2)
        angle = 2 * np.pi * rng.random()
        segment = np.stack([start, start + 9 * np.array([np.cos(angle), np.sin(angle)])])
        covered = generator._coverage(segment, width / 2, width / 2, config).sum()
        exact = (9 - width) * width + np.pi * width**2 / 4  # round caps
        assert covered == pytest.approx(exact, rel=0.02)
        disk = generator._coverage(np.stack([start, start]), width, 0.0, config).sum()
        assert disk == pytest.approx(np.pi * width**2, rel=0.02)


def test_half_the_images_are_positive_in_no_fixed_order():
    labels = generate_pathfinder(40, seed=1).labels
    assert int(labels.sum()) == 20
    assert bool((labels.reshape(-1, 2).sum(1) == 1).all())
    assert 0 < int(labels[::2].sum()) < 20


def test_the_distance_of_the_markers_does_not_tell_the_label():
    geometries = [draw_geometry(index) for index in range(600)]
    labels = np.array([geometry.label for geometry in geometries])
    distances = np.array(
        [np.hypot(*np.diff(geometry.markers, axis=0)[0]) for geometry in geometries]
    )
    by_distance = labels[np.argsort(distances)]
    correct = np.cumsum(by_distance) + np.cumsum((1 - by_distance)[::-1])[::-1] - (1 - by_distance)
    best = max(correct.max(), len(labels) - correct.min()) / len(labels)
    assert best < 0.6


def test_an_image_depends_on_its_number_and_the_seed_only():
    together = generate_pathfinder(6, seed=5)
    for index in (3, 0, 5):
        alone = generate_pathfinder(1, seed=5, first=index)
        assert torch.equal(alone.images[0], together.images[index])
        assert alone.labels[0] == together.labels[index]
    assert len({image.numpy().tobytes() for image in together.images}) == 6
    other = generate_pathfinder(6, seed=6)
    assert all(not torch.equal(*pair) for pair in zip(together.images, other.images, strict=True))


def test_written_images_are_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "_PER_FOLDER", 8)
    config = replace(PATHFINDER, resolution=40)
    root = write_pathfinder(tmp_path, 20, config, seed=2)
    assert sorted(path.name for path in (root / "metadata").iterdir()) == [
        "0.npy",
        "1.npy",
        "2.npy",
    ]
    expected = generate_pathfinder(20, config, seed=2)
    labels = {
        image.numpy().tobytes(): int(label)
        for image, label in zip(expected.images, expected.labels, strict=True)
    }
    read = [load_pathfinder(split, tmp_path, resolution=40) for split in ("train", "val", "test")]
    assert sum(len(part) for part in read) == len(labels) == 20
    for part in read:
        assert (part.mean, part.deviation) == (expected.mean, expected.deviation)
        for image, label in zip(part.images, part.labels, strict=True):
            assert labels.pop(image.numpy().tobytes()) == int(label)


def contents(root) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_work_can_be_shared_and_taken_up_again(tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "_PER_FOLDER", 4)
    whole = contents(write_pathfinder(tmp_path / "a", 14))
    write_pathfinder(tmp_path / "b", 14, part=(1, 2))
    shared = write_pathfinder(tmp_path / "b", 14, part=(0, 2))
    assert contents(shared) == whole

    (shared / "metadata" / "2.npy").unlink()  # as if interrupted there
    made = []
    monkeypatch.setattr(
        generator,
        "generate_pathfinder",
        lambda *arguments, first: (
            made.append(first) or generate_pathfinder(*arguments, first=first)
        ),
    )
    write_pathfinder(tmp_path / "b", 14)
    assert made == [8]
    assert contents(shared) == whole
    write_pathfinder(tmp_path / "b", 18)
    assert made == [8, 12, 16]
    assert whole.items() - contents(shared).items() == {
        ("metadata/3.npy", whole["metadata/3.npy"])  # now four lines
    }


def test_folders_of_other_images_are_left_alone(tmp_path):
    root = write_pathfinder(tmp_path, 2)
    before = contents(root)
    for config, seed in ((PATHFINDER, 1), (replace(PATHFINDER, num_distractors=1), 0)):
        with pytest.raises(InvalidArgumentError, match="another seed or configuration"):
            write_pathfinder(tmp_path, 2, config, seed)
    (root / "generator.json").unlink()
    with pytest.raises(InvalidArgumentError, match="lists of other images"):
        write_pathfinder(tmp_path, 2)
    before.pop("generator.json")
    assert contents(root) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contour_length": 0}, "contour_length=0; required: at least 1"),
        ({"num_distractors": -1}, "at least 0"),
        ({"margin": 0.0}, "margin=0.0; required: a number above 0"),
        ({"gap": float("nan")}, "above 0"),
        ({"max_turn": 2.0}, "right angle"),
        ({"marker_radius": 0.2}, "as wide as dashes"),
        ({"seed_distance": 3.0}, "markers do not touch"),
    ],
)
def test_configurations_that_make_no_image_are_refused(changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        PathfinderConfig(**changes)


def test_other_refusals(tmp_path):
    with pytest.raises(InvalidArgumentError, match="count=0; required: at least 1"):
        generate_pathfinder(0)
    with pytest.raises(InvalidArgumentError, match="seed=-1; required: at least 0"):
        generate_pathfinder(1, seed=-1)
    with pytest.raises(InvalidArgumentError, match="first=-1"):
        generate_pathfinder(1, first=-1)
    with pytest.raises(InvalidArgumentError, match="do not fit into 8 x 8"):
        generate_pathfinder(1, replace(PATHFINDER, resolution=8))
    for part in ((1, 1), (-1, 2)):
        with pytest.raises(InvalidArgumentError, match="0 <= k < n"):
            write_pathfinder(tmp_path, 1, part=part)


def test_no_distractors_and_no_room_for_them_are_fine():
    assert draw_geometry(0, replace(PATHFINDER, num_distractors=0)).distractors.shape == (
        0,
        4,
        2,
        2,
    )
    crowded = replace(PATHFINDER, num_distractors=60)
    geometry = draw_geometry(0, crowded)
    assert 0 < len(geometry.distractors) < 60
    assert render(geometry, crowded).shape == (32, 32)
