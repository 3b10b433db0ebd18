"""Branch and bound over the models of order two; see :mod:`hydropress.reduction.order_two`.

A box of models lies around its centre (u, v), the logarithms of natural frequency and damping
ratio, with half widths h_u and h_v.  A system is given by its modes in continuous time: λ, and w
with k(t) = Re Σ w e^{λt}.
"""

import math

import numpy as np

from hydropress.reduction.compiled.compilation import compiled
from hydropress.reduction.compiled.moments import Complexes, Floats

ROW, HALF_ROW = 0.7, 0.35
"""Height of the first boxes in v, and their width in u where ζ ≥ 1; below, it shrinks with ζ."""
TAIL, LEAST_TAIL = 1e-4, 1e-13
"""Share of ‖k‖² that poles too slow or too fast to be looked at may capture, and the least one:
where errors are small, it is less than the slack."""
COORDINATES = 4


@compiled
def bound_all(
    modes: Complexes,
    weights: Complexes,
    energy: Floats,
    slack: float,
    least: float,
    most_boxes: int,
    results: Floats,
) -> None:
    """Bound what models of order two capture of K systems.

    Parameters
    ----------
    modes, weights
        λ and w, ``(K, n)``; an empty slot has w = 0.
    energy
        ‖k‖², ``(K,)``.
    slack, least
        Boxes are pruned that hold no angle below (1 - slack) times the best found, less ``least``.
    most_boxes
        Looked at for a system.
    results
        Least angle that any model can have; the smallest one found, with its u and v, ``(K, 4)``,
        written.
    """
    for row in range(modes.shape[0]):
        parts = _parts_of(modes[row], weights[row], math.sqrt(energy[row]))
        result = results[row]
        result[0], result[1], result[2], result[3] = 0.0, math.pi / 2, 0.0, 0.0
        if parts.shape[1] > 0:
            _bound(parts, TAIL, slack, least, most_boxes, result)
            small = 0.5 * slack * math.sin(result[1]) ** 2
            if small < TAIL:
                _bound(parts, max(small, LEAST_TAIL), slack, least, most_boxes, result)


@compiled
def _parts_of(modes: Complexes, weights: Complexes, norm: float) -> Floats:
    """Return Re λ, Im λ, Re w, Im w and |w| of the modes in use, of norm one, ``(5, n)``."""
    parts = np.empty((5, np.sum(weights != 0)))
    place = 0
    for j in range(modes.shape[0]):
        mode, weight = modes[j], weights[j]
        if weight != 0:
            parts[0, place], parts[1, place] = mode.real, mode.imag
            parts[2, place], parts[3, place] = weight.real / norm, weight.imag / norm
            parts[4, place] = abs(weight) / norm
            place += 1
    return parts


@compiled
def _bound(
    modes: Floats, tail: float, slack: float, least: float, most_boxes: int, result: Floats
) -> None:
    """Search one system of norm one, level after level, from what is known of it."""
    slowest, fastest = _range(modes, tail)
    for j in range(modes.shape[1]):
        _try(modes, *_coordinates(modes[0, j], modes[1, j]), result)
    boxes, lowest = _cover(modes, slowest, fastest, slack, least, most_boxes, result)
    looked = 0
    while boxes.shape[0] > 0:
        cosines = np.empty(boxes.shape[0])
        for i in range(boxes.shape[0]):
            cosines[i] = _try(modes, boxes[i, 0], boxes[i, 1], result)
        looked += boxes.shape[0]
        enough = max(0.0, result[1] * (1.0 - slack) - least)
        cosine, sine = math.cos(enough), math.sin(enough)
        kept = 0
        for i in range(boxes.shape[0]):
            reached_cosine, reached_sine = _reach(boxes[i])
            if cosines[i] > cosine * reached_cosine - sine * reached_sine:
                boxes[kept], cosines[kept] = boxes[i], cosines[i]
                kept += 1
        if looked > most_boxes:
            for i in range(kept):
                reached_cosine, reached_sine = _reach(boxes[i])
                reached = math.atan2(reached_sine, reached_cosine)
                lowest = min(lowest, math.acos(cosines[i]) - reached)
            break
        boxes = _halves(boxes[:kept])
    enough = max(0.0, result[1] * (1.0 - slack) - least)
    single = _single_poles(modes, slowest, fastest, math.cos(enough) ** 2 - tail)
    captured = min(1.0, single + tail)
    result[0] = max(0.0, min(lowest, enough, math.acos(math.sqrt(captured))))


@compiled
def _try(modes: Floats, u: float, v: float, result: Floats) -> float:
    """Return the cosine of the angle to the models of (u, v), and note the smallest angle."""
    cosine = cosine_of(modes, u, v)
    angle = math.acos(cosine)
    if angle < result[1]:
        result[1], result[2], result[3] = angle, u, v
    return cosine


@compiled
def _coordinates(real: float, imaginary: float) -> tuple[float, float]:
    """Return u and v of a pair; a real pole is taken twice."""
    modulus = math.hypot(real, imaginary)
    return math.log(modulus), math.log(-real / modulus)


@compiled
def _cover(
    modes: Floats,
    slowest: float,
    fastest: float,
    slack: float,
    least: float,
    most_boxes: int,
    result: Floats,
) -> tuple[Floats, float]:
    """Return boxes that hold all models that matter, and the least angle of what is left out.

    It is infinite but where there are too many.
    """
    first = _real_boxes(slowest, fastest)
    for i in range(first.shape[0]):
        _try(modes, first[i, 0], first[i, 1], result)
    tops = _tops(slowest, fastest)
    count, lowest = first.shape[0], np.inf
    boxes = np.empty((2 * count + 16, COORDINATES))
    boxes[:count] = first
    while tops.shape[0] > 0:
        enough = max(0.0, result[1] * (1.0 - slack) - least)
        cosine, kept = math.cos(enough), 0
        for i in range(tops.shape[0]):
            if _cosine_below(modes, tops[i]) > cosine:
                tops[kept] = tops[i]
                kept += 1
        if count + kept > most_boxes:
            for i in range(kept):
                lowest = min(lowest, math.acos(_cosine_below(modes, tops[i])))
            break
        if count + kept > boxes.shape[0]:
            larger = np.empty((2 * (count + kept), COORDINATES))
            larger[:count] = boxes[:count]
            boxes = larger
        below = np.empty((2 * kept, 3))
        for i in range(kept):
            low, high, top = tops[i, 0], tops[i, 1], tops[i, 2]
            middle = 0.5 * (low + high)
            box = boxes[count]
            box[0], box[1], box[2], box[3] = middle, top - HALF_ROW, 0.5 * (high - low), HALF_ROW
            _try(modes, box[0], box[1], result)
            count += 1
            below[2 * i, 0], below[2 * i, 1] = low, middle
            below[2 * i + 1, 0], below[2 * i + 1, 1] = middle, high
            below[2 * i, 2] = below[2 * i + 1, 2] = top - ROW
        tops = below
    return boxes[:count], lowest


@compiled
def _range(modes: Floats, tail: float) -> tuple[float, float]:
    """Return between which poles models have to be looked at if others may add ``tail`` to ‖k‖².

    With R_0 = Σ |r| and R_1 = Σ |r / λ|, over the members of pairs apart, a pair of natural
    frequency ω captures at most 16 R_0² / ω where ω is at least twice every |λ|, and 16 ω R_1²
    where it is at most half of every; one more real pole a at most 2 R_0² / |a| and 2 |a| R_1².
    """
    at_start, area, smallest, largest = 0.0, 0.0, np.inf, 0.0
    for j in range(modes.shape[1]):
        modulus = math.hypot(modes[0, j], modes[1, j])
        at_start += modes[4, j]
        area += modes[4, j] / modulus
        smallest, largest = min(smallest, modulus), max(largest, modulus)
    slowest = min(0.5 * smallest, tail / (16.0 * area * area))
    fastest = max(2.0 * largest, 16.0 * at_start * at_start / tail)
    return slowest, fastest


@compiled
def cosine_of(modes: Floats, u: float, v: float) -> float:
    """Return the cosine of the angle between a system and the models of (u, v).

    ψ_1 = √(2β) s / q and ψ_2 = √(2βγ) / q, q = s² + βs + γ, are an orthonormal basis of the models
    (Kautz), whatever the poles.
    """
    frequency = math.exp(u)
    beta, gamma = 2.0 * math.exp(v) * frequency, frequency * frequency
    first = second = 0.0
    for j in range(modes.shape[1]):
        x, y, p, q = modes[0, j], modes[1, j], modes[2, j], modes[3, j]
        real, imaginary = x * x - y * y - beta * x + gamma, (2.0 * x - beta) * y
        inverse = 1.0 / (real * real + imaginary * imaginary)
        a, b = p * x - q * y, p * y + q * x
        first += (a * real + b * imaginary) * inverse
        second += (p * real + q * imaginary) * inverse
    captured = 2.0 * beta * (first * first + gamma * second * second)
    return math.sqrt(min(1.0, captured))


@compiled
def _reach(box: Floats) -> tuple[float, float]:
    """Return cosine and sine of the largest angle between the centre's models and any of the box.

    1 / cosh m and tanh m with m = (d + b) / 2 in a corner; E is e^{2m}.
    """
    wide, high = math.exp(box[2]), math.exp(box[3])
    sine = 0.5 * (wide - 1.0 / wide)
    z = 0.5 * (high + 1.0 / high + sine * sine * high * math.exp(-2.0 * box[1]))
    E = (z + math.sqrt(max(0.0, z * z - 1.0))) * wide
    return 2.0 * math.sqrt(E) / (E + 1.0), (E - 1.0) / (E + 1.0)


@compiled
def _cosine_below(modes: Floats, top: Floats) -> float:
    """Return the largest cosine of the pairs with u in [u_1, u_2] and v ≤ v_2; ``(u_1, u_2, v_2)``.

    Of a pair a, ā the two functions of Takenaka and Malmquist are at most √(2σ) / |a̅ + s| on the
    left half plane: it captures at most 4σ (Σ |r| / |ā + λ|)², over the members of pairs apart.
    """
    damping, high = math.exp(top[2]), math.exp(top[1])
    low = math.exp(top[0]) * math.sqrt(max(0.0, 1.0 - damping * damping))
    total = 0.0
    for j in range(modes.shape[1]):
        decay, frequency = -modes[0, j], abs(modes[1, j])
        apart = max(0.0, low - frequency, frequency - high)
        total += 0.5 * modes[4, j] / math.sqrt(decay * decay + apart * apart)
        other = low + frequency
        total += 0.5 * modes[4, j] / math.sqrt(decay * decay + other * other)
    captured = 4.0 * damping * high * total * total
    return math.sqrt(min(1.0, captured))


@compiled
def _tops(slowest: float, fastest: float) -> Floats:
    """Return the ranges of u below ζ = 1."""
    low, high = math.log(slowest), math.log(fastest)
    count = math.ceil((high - low) / ROW)
    tops = np.empty((count, 3))
    for i in range(count):
        tops[i, 0] = low + (high - low) * i / count
        tops[i, 1] = low + (high - low) * (i + 1) / count
        tops[i, 2] = 0.0
    return tops


@compiled
def _real_boxes(slowest: float, fastest: float) -> Floats:
    """Return boxes that cover every two real poles of a range: v ≥ 0.

    Two poles at -e^{u ± h} have the damping ratio cosh h.
    """
    low, high = math.log(slowest), math.log(fastest)
    rows = math.ceil(math.log(math.cosh((high - low) / 2.0)) / ROW)
    count = 0
    for row in range(rows):
        half = math.acosh(math.exp(row * ROW))
        count += max(1, math.ceil((high - low - 2.0 * half) / ROW))
    boxes = np.empty((count, COORDINATES))
    place = 0
    for row in range(rows):
        half = math.acosh(math.exp(row * ROW))
        width = max(0.0, high - low - 2.0 * half)
        columns = max(1, math.ceil(width / ROW))
        for column in range(columns):
            boxes[place, 0] = low + half + width * (column + 0.5) / columns
            boxes[place, 1] = (row + 0.5) * ROW
            boxes[place, 2] = max(width / (2.0 * columns), 1e-6)
            boxes[place, 3] = HALF_ROW
            place += 1
    return boxes


@compiled
def _halves(boxes: Floats) -> Floats:
    """Return both halves of boxes, across the side that is longer on the scale of angles."""
    children = np.empty((2 * boxes.shape[0], COORDINATES))
    for i in range(boxes.shape[0]):
        u, v, hu, hv = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        across = hu * hu * (1.0 + math.exp(-2.0 * v)) > hv * hv
        for side in range(2):
            child, sign = children[2 * i + side], 2.0 * side - 1.0
            child[0], child[1], child[2], child[3] = u, v, hu, hv
            if across:
                child[0], child[2] = u + sign * hu / 2.0, hu / 2.0
            else:
                child[1], child[3] = v + sign * hv / 2.0, hv / 2.0
    return children


@compiled
def _single_poles(modes: Floats, slowest: float, fastest: float, enough: float) -> float:
    """Return a bound on what one real pole of a range captures, or ``enough`` if that is more."""
    low, high = math.log(slowest), math.log(fastest)
    count = math.ceil((high - low) / ROW)
    half = (high - low) / (2.0 * count)
    centres = np.empty(count)
    for i in range(count):
        centres[i] = low + (2 * i + 1) * half
    bound, limit = enough, math.acos(math.sqrt(min(1.0, max(0.0, enough))))
    while centres.shape[0] > 0:
        reach = math.acos(1.0 / math.cosh(half / 2.0))
        kept = 0
        last = half < 1e-4
        for i in range(centres.shape[0]):
            angle = max(0.0, _single_angle(modes, centres[i]) - reach)
            if angle < limit:
                centres[kept] = centres[i]
                kept += 1
                if last:
                    bound = max(bound, math.cos(angle) ** 2)
        if last:
            break
        half /= 2.0
        children = np.empty(2 * kept)
        for i in range(kept):
            children[2 * i], children[2 * i + 1] = centres[i] - half, centres[i] + half
        centres = children
    return bound


@compiled
def _single_angle(modes: Floats, x: float) -> float:
    """Return the angle between the system and e^{-at}, a = e^x."""
    decay, total = math.exp(x), 0.0
    for j in range(modes.shape[1]):
        real, imaginary = decay - modes[0, j], -modes[1, j]
        inverse = 1.0 / (real * real + imaginary * imaginary)
        total += (modes[2, j] * real + modes[3, j] * imaginary) * inverse
    captured = 2.0 * decay * total * total
    return math.acos(math.sqrt(min(1.0, captured)))
