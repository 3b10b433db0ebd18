"""What an image of Pathfinder shows, as lines in the plane: contours, distractors and markers.

Two long dashed contours start near the middle of the image and wander off; shorter dashed paths
distract.  No path crosses or touches another.  Two disks mark ends: in a positive image those of
one contour, in a negative image the start of one and the far end of the other.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hydropress.data.lra.pathfinder_walk import Rules, draw_contours, draw_distractor
from hydropress.errors import InvalidArgumentError

Floats = NDArray[np.float64]

# Directions tried for a link, places for a distractor, starts for the pair of contours.
_TRIES, _DISTRACTOR_TRIES, _CONTOUR_TRIES = 10, 200, 1_000
_REGION = 0.25
"""Side of the square in the middle where contours start, as a share of the image's."""
_GEOMETRY_STREAM, _LABEL_STREAM = 1, 2


@dataclass(frozen=True)
class PathfinderConfig:
    """What the images look like; lengths in pixels, the defaults those of 32 x 32.

    Attributes
    ----------
    resolution
        Pixels of a side.
    contour_length, distractor_length
        Dashes of each of the two contours, and of each distractor.
    num_distractors
        As many as that, or fewer if there is no room.
    dash_length, gap, dash_width
        Of the dashes.
    max_turn
        Largest angle between two dashes of a path, in radians: the curvature.
    margin
        Smallest distance of two paths, their gaps counted as part of them.
    seed_distance
        From the start of one contour to that of the other.
    marker_radius
        Of the disks.
    contrast, distractor_contrast
        Factors of the grey values of contours and distractors, which then end at white.
    supersampling
        Points per pixel and axis that a grey value is the mean of.
    """

    resolution: int = 32
    contour_length: int = 14
    distractor_length: int = 4
    num_distractors: int = 5
    dash_length: float = 2.0
    gap: float = 2.0
    dash_width: float = 0.5
    max_turn: float = 1.4
    margin: float = 2.0
    seed_distance: float = 7.0
    marker_radius: float = 1.5
    contrast: float = 1.5
    distractor_contrast: float = 2.0
    supersampling: int = 4

    def __post_init__(self) -> None:
        least = {"num_distractors": 0, "resolution": 8}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (int, "int"):
                if value < least.get(field.name, 1):
                    raise InvalidArgumentError(
                        f"{field.name}={value}; required: at least {least.get(field.name, 1)}"
                    )
            elif not 0 < value < math.inf:
                raise InvalidArgumentError(f"{field.name}={value}; required: a number above 0")
        if self.max_turn > math.pi / 2:
            raise InvalidArgumentError(
                f"max_turn={self.max_turn}; required: at most π / 2, a right angle"
            )
        if self.marker_radius < self.dash_width / 2:
            raise InvalidArgumentError(
                f"marker_radius={self.marker_radius} with dash_width={self.dash_width}; required: "
                "markers at least as wide as dashes"
            )
        closest = 2 * self.marker_radius + self.dash_width
        if self.seed_distance < closest:
            raise InvalidArgumentError(
                f"seed_distance={self.seed_distance} with marker_radius={self.marker_radius}; "
                f"required: at least {closest}, so that two markers do not touch"
            )


PATHFINDER = PathfinderConfig()
"""In the style of the 32 x 32 images, the hard ones."""

PATH_X = PathfinderConfig(
    resolution=128,
    num_distractors=8,
    dash_length=5.0,
    gap=5.0,
    dash_width=1.5,
    max_turn=0.77,
    margin=5.0,
    seed_distance=20.0,
    marker_radius=3.0,
    contrast=0.9,
    distractor_contrast=0.9,
)
"""In the style of the 128 x 128 images, the hard ones."""


@dataclass(frozen=True)
class PathfinderGeometry:
    """What one image shows: dashes by their two ends, points as (x, y) in pixels, float64.

    Attributes
    ----------
    contours, distractors
        Shapes ``(2, dashes, 2, 2)`` and ``(number, dashes, 2, 2)``, in the order of the path.
    markers
        Centres of the disks, shape ``(2, 2)``.
    label
        1 if both are on the ends of one contour.
    """

    contours: Floats
    distractors: Floats
    markers: Floats
    label: int


def draw_geometry(
    index: int, config: PathfinderConfig = PATHFINDER, seed: int = 0
) -> PathfinderGeometry:
    """Draw what image number ``index`` shows; it depends on nothing but the arguments.

    Of the images 2k and 2k + 1, one is positive.

    Raises
    ------
    InvalidArgumentError
        If the contours do not fit into the image.
    """
    rng = _stream(seed, index, _GEOMETRY_STREAM)
    first_is_positive = bool(_stream(seed, index // 2, _LABEL_STREAM).integers(2))
    label = int(first_is_positive == (index % 2 == 0))

    rules = _rules(config)
    contours = np.empty((2, config.contour_length + 1, 2))
    used = 4 + 2 * config.contour_length
    capsules = np.empty((used + config.num_distractors * config.distractor_length, 5))
    side = _REGION * config.resolution
    for _ in range(_CONTOUR_TRIES):
        if draw_contours(rng, rules, config.seed_distance, side, capsules, contours):
            break
    else:
        raise InvalidArgumentError(
            f"two contours of {config.contour_length} dashes do not fit into "
            f"{config.resolution} x {config.resolution} pixels; required: room for both within "
            f"{_CONTOUR_TRIES:,} attempts; make them shorter, or margin and markers smaller"
        )

    distractors: list[Floats] = []
    for _ in range(config.num_distractors):
        pivots = np.empty((config.distractor_length + 1, 2))
        if draw_distractor(rng, rules, capsules, used, pivots):
            distractors.append(pivots)
            used += config.distractor_length

    dashes = _dashes(contours, config)
    start = int(rng.integers(2))
    far = start if label else 1 - start
    shape = (len(distractors), config.distractor_length + 1, 2)
    return PathfinderGeometry(
        dashes,
        _dashes(np.array(distractors).reshape(shape), config),
        np.stack([dashes[start, 0, 0], dashes[far, -1, 1]]),
        label,
    )


def _stream(seed: int, index: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, purpose)))


def _rules(config: PathfinderConfig) -> Rules:
    return Rules(
        side=float(config.resolution),
        border=float(config.marker_radius),  # markers are whole
        period=float(config.dash_length + config.gap),
        half_gap=config.gap / 2,
        max_turn=float(config.max_turn),
        link_radius=config.margin / 2,
        end_radius=float(config.marker_radius + config.dash_width / 2),
        tries=_TRIES,
        starts=_DISTRACTOR_TRIES,
    )


def _dashes(pivots: Floats, config: PathfinderConfig) -> Floats:
    """Return the dashes between pivots, ``(k, n, 2, 2)`` for ``(k, n + 1, 2)``."""
    start, stop = pivots[:, :-1], pivots[:, 1:]
    inset = (stop - start) * (config.gap / 2 / (config.dash_length + config.gap))
    return np.stack([start + inset, stop - inset], -2)
