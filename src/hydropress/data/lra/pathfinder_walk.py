"""Random paths that keep their distance from each other, link by link, compiled.

Whatever is on the canvas is a capsule, a segment with a radius around it, and no two overlap: a
link of a path has half the margin for its radius, an end that may be marked the radius of the
marker.  Only neighbours within a path may touch.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hydropress.reduction.compiled.compilation import compiled

Floats = NDArray[np.float64]

_EMPTY = -1.0
"""Radius of a row that holds no capsule."""
_STEP_BACK = 3
_STEPS_PER_DASH = 8


class Rules(NamedTuple):
    """What paths obey, in pixels.

    Attributes
    ----------
    side, border
        Of the canvas, and around it what no path enters.
    period, half_gap
        From a pivot, the middle of a gap, to the next, and half the gap.
    max_turn
        Largest angle between two links, in radians.
    link_radius, end_radius
        Of the capsules.
    tries, starts
        Directions tried before a path is stuck, and places to start a distractor.
    """

    side: float
    border: float
    period: float
    half_gap: float
    max_turn: float
    link_radius: float
    end_radius: float
    tries: int
    starts: int


@compiled
def _point_distance(x: float, y: float, ax: float, ay: float, bx: float, by: float) -> float:
    """Return the distance of a point from the segment ab."""
    dx, dy = bx - ax, by - ay
    square = dx * dx + dy * dy
    along = 0.0
    if square > 0:
        along = min(1.0, max(0.0, ((x - ax) * dx + (y - ay) * dy) / square))
    return math.hypot(x - ax - along * dx, y - ay - along * dy)


@compiled
def _side(ax: float, ay: float, bx: float, by: float, x: float, y: float) -> float:
    """Return on which side of the line ab a point lies, by its sign."""
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax)


@compiled
def _segment_distance(
    ax: float, ay: float, bx: float, by: float, cx: float, cy: float, dx: float, dy: float
) -> float:
    """Return the distance of the segments ab and cd, 0 if they cross."""
    c, d = _side(ax, ay, bx, by, cx, cy), _side(ax, ay, bx, by, dx, dy)
    a, b = _side(cx, cy, dx, dy, ax, ay), _side(cx, cy, dx, dy, bx, by)
    if a * b < 0 and c * d < 0:
        return 0.0
    # Segments that do not cross are closest at an end of one of them.
    first = min(_point_distance(ax, ay, cx, cy, dx, dy), _point_distance(bx, by, cx, cy, dx, dy))
    second = min(_point_distance(cx, cy, ax, ay, bx, by), _point_distance(dx, dy, ax, ay, bx, by))
    return min(first, second)


@compiled
def _is_free(
    capsules: Floats, neighbour: int, ends: tuple[float, float, float, float], r: float
) -> bool:
    """Return whether a capsule of radius r overlaps none but its neighbour."""
    ax, ay, bx, by = ends
    for other in range(len(capsules)):
        if other == neighbour or capsules[other, 4] == _EMPTY:
            continue
        cx, cy, dx, dy = (
            capsules[other, 0],
            capsules[other, 1],
            capsules[other, 2],
            capsules[other, 3],
        )
        distance = _segment_distance(ax, ay, bx, by, cx, cy, dx, dy)
        if distance < r + capsules[other, 4]:
            return False
    return True


@compiled
def clear(capsules: Floats) -> None:
    """Empty rows."""
    capsules[:] = _EMPTY


@compiled
def _put(capsules: Floats, place: int, ends: tuple[float, float, float, float], r: float) -> None:
    for axis in range(4):
        capsules[place, axis] = ends[axis]
    capsules[place, 4] = r


@compiled
def _extend(
    rng: np.random.Generator,
    rules: Rules,
    capsules: Floats,
    slots: tuple[int, int, int],
    pivots: Floats,
    link: int,
    heading: float,
) -> float:
    """Add a link to a path and to the capsules; return its direction, NaN if there is no room.

    Turns have a triangular distribution; a path's first link goes straight on.  The slots are
    those of the link, of its neighbour and of the end that it has, each -1 if there is none.
    """
    slot, neighbour, end_slot = slots
    x, y = pivots[link, 0], pivots[link, 1]
    low, high = rules.border, rules.side - rules.border
    for _ in range(rules.tries if link else 1):
        turn = rules.max_turn * (rng.random() + rng.random() - 1) if link else 0.0
        cosine, sine = math.cos(heading + turn), math.sin(heading + turn)
        to_x, to_y = x + rules.period * cosine, y + rules.period * sine
        if not (low <= to_x <= high and low <= to_y <= high):
            continue
        if not _is_free(capsules, neighbour, (x, y, to_x, to_y), rules.link_radius):
            continue
        end_x, end_y = to_x - rules.half_gap * cosine, to_y - rules.half_gap * sine
        end = (end_x, end_y, end_x, end_y)
        if end_slot >= 0:
            if not _is_free(capsules, -1, end, rules.end_radius):
                continue
            _put(capsules, end_slot, end, rules.end_radius)
        _put(capsules, slot, (x, y, to_x, to_y), rules.link_radius)
        pivots[link + 1, 0], pivots[link + 1, 1] = to_x, to_y
        return heading + turn
    return math.nan


@compiled
def draw_contours(
    rng: np.random.Generator,
    rules: Rules,
    seed_distance: float,
    region: float,
    capsules: Floats,
    pivots: Floats,
) -> bool:
    """Try to draw two paths that start near each other and grow in turns.

    A path that is stuck loses its last links and goes on.

    Parameters
    ----------
    seed_distance, region
        Of the two starts, in pixels; and the side of the square in the middle of the canvas that
        the point between them is drawn from.
    capsules
        Takes ends and radii, ``(k, 5)``, in its first 4 + 2 dashes rows.
    pivots
        Takes the paths, ``(2, dashes + 1, 2)``.

    Returns
    -------
    bool
        Whether both are complete.
    """
    dashes = pivots.shape[1] - 1
    clear(capsules)
    headings = np.empty((2, dashes + 1))
    middle_x = rules.side / 2 + region * (rng.random() - 0.5)
    middle_y = rules.side / 2 + region * (rng.random() - 0.5)
    angle = 2 * math.pi * rng.random()
    for path in range(2):
        distance = seed_distance * (path - 0.5)
        x, y = middle_x + distance * math.cos(angle), middle_y + distance * math.sin(angle)
        heading = 2 * math.pi * rng.random()
        headings[path, 0] = heading
        pivots[path, 0, 0] = x - rules.half_gap * math.cos(heading)
        pivots[path, 0, 1] = y - rules.half_gap * math.sin(heading)
        _put(capsules, path, (x, y, x, y), rules.end_radius)

    done = np.zeros(2, np.int64)
    for _ in range(_STEPS_PER_DASH * 2 * dashes):
        path = 0 if done[0] <= done[1] else 1
        link = done[path]
        if link == dashes:
            return True
        first = 4 + path * dashes
        neighbour = first + link - 1 if link else path
        slots = (first + link, neighbour, 2 + path if link == dashes - 1 else -1)
        heading = _extend(rng, rules, capsules, slots, pivots[path], link, headings[path, link])
        if not math.isnan(heading):
            headings[path, link + 1] = heading
            done[path] += 1
        elif link == 0:
            return False
        else:
            done[path] = max(0, link - _STEP_BACK)
            clear(capsules[first + done[path] : first + link])
    return False


@compiled
def draw_distractor(
    rng: np.random.Generator, rules: Rules, capsules: Floats, first: int, pivots: Floats
) -> bool:
    """Try to draw one more path anywhere, from one start after the other.

    Parameters
    ----------
    capsules, first
        Takes the path in the rows from the first on, all of which are empty.
    pivots
        Takes the path, ``(dashes + 1, 2)``.

    Returns
    -------
    bool
        Whether it is complete; if not, the rows are empty again.
    """
    dashes = len(pivots) - 1
    free = rules.side - 2 * rules.border
    for _ in range(rules.starts):
        pivots[0, 0] = rules.border + free * rng.random()
        pivots[0, 1] = rules.border + free * rng.random()
        heading = 2 * math.pi * rng.random()
        link = 0
        while link < dashes:
            slots = (first + link, first + link - 1 if link else -1, -1)
            heading = _extend(rng, rules, capsules, slots, pivots, link, heading)
            if math.isnan(heading):
                break
            link += 1
        if link == dashes:
            return True
        clear(capsules[first : first + link])
    return False
