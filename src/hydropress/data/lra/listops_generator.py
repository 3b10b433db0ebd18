"""ListOps: nested operations on digits, drawn as the Long Range Arena draws them.

    [MAX 2 9 [MIN 4 7 ] 0 ]   has the value 9

The recipe is that of the benchmark's own generator, read from its source.  A node at depth 1 to 9
is an operator with probability 1/4, otherwise a digit; at depth 10 it is always a digit.  (The
constant of the original that is named like a probability of values, 0.25, is that of operators: a
number drawn *above* it makes a value.)  An operator is MIN, MAX, MED (the median, its fraction cut
off) or SM (the sum modulo 10) and has 2 to 10 arguments, all equally likely.  Every digit, operator
and closing bracket counts one token, parentheses none; expressions of 501 to 1,999 tokens are
kept, each once.

What differs: the original is not seeded, and shuffles by the iteration order of a set.  Here a
seed determines every expression on every machine.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hydropress.atomic import replacing
from hydropress.data.lra.listops_notation import DIGITS, TOKENS, parenthesised
from hydropress.data.lra.splits import Split
from hydropress.errors import InvalidArgumentError

MAX_DEPTH = 10
MAX_ARGUMENTS = 10
MIN_LENGTH, MAX_LENGTH = 500, 2000
"""Neither of the two lengths itself occurs."""
COUNTS: Mapping[Split, int] = MappingProxyType({"train": 96_000, "val": 2_000, "test": 2_000})
HEADER = ("Source", "Target")

# The training set comes last, so that the small sets do not wait for it.
_ORDER: tuple[Split, ...] = ("test", "val", "train")
# Part of the recipe: another number of trees at a time gives other expressions for a seed.
_TREES_AT_A_TIME = 2048
_FIRST_OPERATOR = 1 + len(DIGITS)


@dataclass(frozen=True)
class Expression:
    """A sequence of tokens and its value.

    Attributes
    ----------
    tokens
        Numbers of ``TOKENS``, from 1 up, uint8, shape ``(L,)``.
    value
        From 0 to 9.
    """

    tokens: NDArray[np.uint8]
    value: int

    def words(self) -> list[str]:
        """Return the tokens as they are written."""
        return [TOKENS[token - 1] for token in self.tokens.tolist()]


def draw_expressions(seed: int = 0) -> Iterator[Expression]:
    """Draw different expressions, without end.

    Parameters
    ----------
    seed
        Determines all of them, on every machine and with every version of NumPy: only the raw
        integers of PCG64 are used.

    Notes
    -----
    A tree's shape decides alone whether it is kept, and most are not.  So the shapes of many trees
    are drawn together, depth by depth, and only those kept are evaluated and written.  A choice
    among n is 32 random bits times n, whose probabilities are right to 3e-10.
    """
    if seed < 0:
        raise InvalidArgumentError(f"seed {seed}; required: 0 or more; choose another")
    return _different(np.random.PCG64(seed))


def split_expressions(
    split: Split, seed: int = 0, counts: Mapping[Split, int] = COUNTS
) -> Iterator[Expression]:
    """Draw one of the three sets; no expression is in two of them.

    The test set is made of the first expressions drawn, the validation set of those that follow,
    the training set of the rest.
    """
    _check_counts(counts)
    if split not in _ORDER:
        raise InvalidArgumentError(
            f"split {split!r}; required: one of {', '.join(map(repr, COUNTS))}; choose one"
        )
    before = sum(counts[other] for other in _ORDER[: _ORDER.index(split)])
    return islice(draw_expressions(seed), before, before + counts[split])


def write_listops(folder: Path, seed: int = 0, counts: Mapping[Split, int] = COUNTS) -> None:
    """Write the three files of the benchmark, ``basic_train.tsv`` and so on.

    Parameters
    ----------
    folder
        Created if there is none; files of these names are replaced.
    seed, counts
        What :func:`split_expressions` draws.

    Notes
    -----
    The training file has about 0.6 GB: the benchmark's format puts two arguments into each pair of
    parentheses, which say nothing that the brackets do not.
    """
    _check_counts(counts)
    expressions = draw_expressions(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for split in _ORDER:
        path = folder / f"basic_{split}.tsv"
        with (
            replacing(path) as temporary,
            temporary.open("w", encoding="ascii", newline="") as file,
        ):
            writer = csv.writer(file, delimiter="\t")
            writer.writerow(HEADER)
            for expression in islice(expressions, counts[split]):
                writer.writerow([parenthesised(expression.words()), expression.value])


def _check_counts(counts: Mapping[Split, int]) -> None:
    if set(counts) != set(_ORDER) or min(counts.values()) < 1:
        raise InvalidArgumentError(
            f"counts {dict(counts)}; required: one or more for each of train, val and test; "
            "correct them"
        )


@dataclass(frozen=True)
class _Level:
    """The nodes at one depth of many trees: ordered by tree, siblings side by side."""

    bits: NDArray[np.uint64]
    tree: NDArray[np.intp]
    parent: NDArray[np.intp]
    arguments: NDArray[np.intp]

    def choice(self, among: int) -> NDArray[np.intp]:
        return _choice(self.bits, among)

    def operators(self) -> NDArray[np.intp]:
        return (self.bits >> 2 & 3).astype(np.intp)

    def first_arguments(self) -> NDArray[np.intp]:
        return np.cumsum(self.arguments) - self.arguments


def _choice(bits: NDArray[np.uint64], among: int) -> NDArray[np.intp]:
    # Bits 0 to 3 are taken: operator or digit, and which operator.
    return ((bits >> 32) * among >> 32).astype(np.intp)


def _different(stream: np.random.PCG64) -> Iterator[Expression]:
    seen: set[bytes] = set()
    while True:
        levels, lengths = _draw_trees(stream)
        sizes, values = _measure(levels)
        tokens = _write(levels, sizes, lengths)
        ends = np.cumsum(lengths)
        for start, end, value in zip(ends - lengths, ends, values, strict=True):
            expression = Expression(tokens[start:end], int(value))
            key = hashlib.blake2b(expression.tokens.tobytes(), digest_size=16).digest()
            if key not in seen:
                seen.add(key)
                yield expression


def _draw_trees(stream: np.random.PCG64) -> tuple[list[_Level], NDArray[np.intp]]:
    """Draw trees whose root is an operator; return those kept, and their lengths in tokens."""
    lengths = np.zeros(_TREES_AT_A_TIME, np.intp)
    tree = parent = np.arange(_TREES_AT_A_TIME)
    levels: list[_Level] = []
    for depth in range(1, MAX_DEPTH + 1):
        bits = np.asarray(stream.random_raw(len(tree)), np.uint64)
        operator = (bits & 3) == 0
        if depth in (1, MAX_DEPTH):
            operator = np.full(len(bits), depth == 1)
        lengths += np.bincount(tree, minlength=len(lengths))
        lengths += np.bincount(tree[operator], minlength=len(lengths))
        # A tree that is too long already is not drawn to its end: some would have 100,000 tokens.
        operator = operator & (lengths < MAX_LENGTH)[tree]
        arguments = np.where(operator, 2 + _choice(bits, MAX_ARGUMENTS - 1), 0)
        levels.append(_Level(bits, tree, parent, arguments))
        parent = np.repeat(np.arange(len(tree)), arguments)
        tree = tree[parent]
    kept = (lengths > MIN_LENGTH) & (lengths < MAX_LENGTH)
    return _only(levels, kept), lengths[kept]


def _only(levels: list[_Level], kept: NDArray[np.bool_]) -> list[_Level]:
    number = np.cumsum(kept) - 1
    place = np.arange(len(kept))
    result: list[_Level] = []
    for level in levels:
        inside = kept[level.tree]
        parent = place[level.parent[inside]]
        place = np.cumsum(inside) - 1
        tree = number[level.tree[inside]]
        result.append(_Level(level.bits[inside], tree, parent, level.arguments[inside]))
    return result


def _measure(levels: list[_Level]) -> tuple[list[NDArray[np.intp]], NDArray[np.intp]]:
    """Return the number of tokens of every subtree, by depth, and the value of every tree."""
    sizes: list[NDArray[np.intp]] = []
    size = value = np.zeros(0, np.intp)
    for level in reversed(levels):
        size_below, value_below = size, value
        size, value = np.ones(len(level.bits), np.intp), level.choice(len(DIGITS))
        operator = level.arguments > 0
        if operator.any():
            count, first = level.arguments[operator], level.first_arguments()[operator]
            size[operator] = 2 + np.add.reduceat(size_below, first)
            siblings = np.repeat(np.arange(len(count)), count)
            ordered = np.sort(10 * siblings + value_below) % 10
            low, high = ordered[first + (count - 1) // 2], ordered[first + count // 2]
            results = np.stack(
                [
                    ordered[first],
                    ordered[first + count - 1],
                    (low + high) // 2,
                    np.add.reduceat(value_below, first) % 10,
                ]
            )
            value[operator] = results[level.operators()[operator], np.arange(len(count))]
        sizes.append(size)
    return sizes[::-1], value


def _write(
    levels: list[_Level], sizes: list[NDArray[np.intp]], lengths: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Return the tokens of all trees, one tree after the other."""
    tokens = np.zeros(int(lengths.sum()), np.uint8)
    place = np.cumsum(lengths) - lengths
    first = np.zeros(0, np.intp)
    for depth, (level, size) in enumerate(zip(levels, sizes, strict=True)):
        if depth > 0:
            before = np.cumsum(size) - size
            place = place[level.parent] + 1 + before - before[first[level.parent]]
        operator = level.arguments > 0
        tokens[place] = np.where(
            operator, _FIRST_OPERATOR + level.operators(), 1 + level.choice(len(DIGITS))
        )
        tokens[(place + size - 1)[operator]] = len(TOKENS)
        first = level.first_arguments()
    return tokens
