"""Generated ListOps: values by hand, laws by exact counting, files as the benchmark has them."""

import hashlib
import re
from collections import Counter
from itertools import islice
from typing import Any, cast

import numpy as np
import pytest
from numpy.polynomial import polynomial
from scipy import stats

from hydropress.data.lra.listops_generator import (
    Split,
    draw_expressions,
    split_expressions,
    write_listops,
)
from hydropress.data.lra.listops_notation import OPERATORS, evaluate, parenthesised
from hydropress.errors import InvalidArgumentError

SAMPLES = 3000
SIGNIFICANCE = 1e-4
"""Of a seeded draw against an exact law: a right generator fails with this chance, once for all."""

BY_HAND = {
    "7": 7,
    "[MIN 3 8 ]": 3,
    "[MAX 3 8 ]": 8,
    "[SM 3 8 ]": 1,  # 11
    "[SM 9 9 9 9 9 9 9 9 9 9 ]": 0,  # 90
    "[MED 9 1 4 ]": 4,
    "[MED 1 2 ]": 1,  # 1.5
    "[MED 8 1 4 7 ]": 5,  # 1 4 7 8: 5.5
    "[MED 0 0 9 9 ]": 4,  # 4.5
    "[MED 5 5 5 6 6 6 ]": 5,  # 5.5
    "[MAX 2 9 [MIN 4 7 ] 0 ]": 9,
    "[MIN 6 [MAX 2 5 ] [SM 7 8 ] ]": 5,  # 6 5 5
    "[MED [MED 2 7 9 0 ] [SM 6 6 6 ] 1 3 ]": 3,  # (2+7)/2 -> 4, 18 -> 8: 1 3 4 8: 3.5
    "[SM [MED 9 8 ] [MED 7 6 ] [MAX 5 [MIN 9 8 ] ] ]": 2,  # 8 + 6 + 8 = 22
    "[MED [MED [MED 1 4 ] 9 ] [SM 5 5 ] ]": 2,  # 2.5 -> 2; (2+9)/2 -> 5; (5+0)/2
    "[MIN [MIN [MIN [MIN 9 8 ] 9 ] 9 ] 9 ]": 8,
}


@pytest.mark.parametrize(("expression", "value"), BY_HAND.items())
def test_values_by_hand(expression, value):
    assert evaluate(expression.split()) == value


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("[MAX 3 4", 3),
        ("[MAX 3 [MIN 4 5 ]", 6),
        ("[MAX 3 4 ] ]", 5),
        ("]", 1),
        ("[MAX ]", 2),
        ("[MAX 3 [SM ] ]", 4),
        ("[MAX 3 10 ]", 3),
        ("[FIRST 3 4 ]", 1),
        ("( [MAX 3 4 ] )", 1),
        ("[MAX 3 4 ] 5", 5),
        ("3 [MAX 3 4 ]", 2),
    ],
)
def test_what_is_no_expression_is_refused_at_its_place(expression, place):
    with pytest.raises(InvalidArgumentError, match=rf"^token {place} .*; required: .*; correct"):
        evaluate(expression.split())


def test_nothing_is_no_expression():
    with pytest.raises(InvalidArgumentError, match="no tokens; required"):
        evaluate([])


@pytest.fixture(scope="module")
def drawn():
    return list(islice(draw_expressions(seed=0), SAMPLES))


def test_a_seed_gives_the_same_expressions_everywhere(drawn):
    digest = hashlib.sha256()
    for one in drawn[:100]:
        digest.update(one.tokens.tobytes() + bytes([one.value]))
    assert digest.hexdigest() == "8561b3ffada9badd7d9e973c540fd053534c2c690d3b1647139f925a5d09019f"


def test_values_are_those_of_the_stack_machine(drawn):
    assert all(one.value == evaluate(one.words()) for one in drawn[:1000])


def _applied(pair):
    """Return the value of nested pairs, in which operators take arguments one after the other."""
    if isinstance(pair, str):
        return int(pair) if pair.isdigit() else pair
    left, right = map(_applied, pair)
    if isinstance(left, str):
        return (left, [right])
    name, values = left
    if right != "]":
        return (name, [*values, right])
    return {
        "[MIN": lambda: min(values),
        "[MAX": lambda: max(values),
        "[MED": lambda: int(np.median(values)),
        "[SM": lambda: sum(values) % 10,
    }[name]()


def _pairs(source):
    """Read ``( a b )`` as a pair; a parenthesis around anything but two parts is an error."""
    stack = [[]]
    for word in source.split(" "):
        if word == "(":
            stack.append([])
        elif word == ")":
            left, right = stack.pop()
            stack[-1].append((left, right))
        else:
            stack[-1].append(word)
    [[pair]] = stack
    return pair


def test_parentheses_by_hand():
    assert parenthesised(["7"]) == "7"
    assert parenthesised(["[MAX", "3", "4", "]"]) == "( ( ( [MAX 3 ) 4 ) ] )"
    nested = ["[SM", "[MIN", "1", "2", "]", "3", "4", "]"]
    assert parenthesised(nested) == ("( ( ( ( [SM ( ( ( [MIN 1 ) 2 ) ] ) ) 3 ) 4 ) ] )")


def test_parentheses_pair_each_operator_with_one_argument_at_a_time(drawn):
    for one in drawn[:200]:
        source = parenthesised(one.words())
        assert _applied(_pairs(source)) == one.value
        assert re.sub(r"[()]", "", source).split() == one.words()


def _laws():
    """Return the exact laws of an expression of 501 to 1,999 tokens, by counting.

    With p_d the generating function of the length of a node at depth d,

        p_10 = x,    p_d = 3/4 x + 1/4 x^2 * mean of p_{d+1}^k over k = 2..10.

    The derivative by a mark on some operators, those of k arguments or at one depth, counts them.
    """
    size, ks = 2000, range(2, 11)

    def padded(series, shift=0):
        return np.pad(series, (shift, size))[:size]

    length = padded([0.0, 1.0])
    marked = {("arguments", k): np.zeros(size) for k in ks}
    marked |= {("depth", depth): np.zeros(size) for depth in range(1, 10)}
    for depth in range(9, 0, -1):
        powers = [np.ones(1)]
        for _ in range(10):
            powers.append(polynomial.polymul(powers[-1], length)[:size])
        mean = np.mean([padded(powers[k]) for k in ks], axis=0)
        slope = np.mean([k * padded(powers[k - 1]) for k in ks], axis=0)
        marked = {key: polynomial.polymul(slope, below)[:size] for key, below in marked.items()}
        for k in ks:
            marked["arguments", k] = padded(marked["arguments", k]) + padded(powers[k]) / 9
        marked["depth", depth] = mean
        marked = {key: padded(series, 2) / 4 for key, series in marked.items()}
        length = padded([0.0, 0.75]) + padded(mean, 2) / 4
    kept = slice(501, 2000)
    total = length[kept].sum()
    return length[kept] / total, {key: one[kept].sum() / total for key, one in marked.items()}


@pytest.fixture(scope="module")
def laws():
    return _laws()


def test_lengths_follow_their_exact_law(drawn, laws):
    lengths = np.array([len(one.tokens) for one in drawn])
    assert lengths.min() == 501 and lengths.max() == 1999  # both occur with this seed
    # Bins of 50 tokens; the last has 49.
    expected = np.add.reduceat(laws[0], np.arange(0, 1499, 50)) * SAMPLES
    observed = np.bincount((lengths - 501) // 50, minlength=len(expected))
    assert stats.chisquare(observed, expected).pvalue > SIGNIFICANCE


def _operators(words):
    """Count the operators of an expression by their number of arguments and by their depth."""
    counts, arguments = Counter(), [0]
    for word in words:
        if word in OPERATORS:
            counts["depth", len(arguments)] += 1
            arguments.append(0)
            continue
        if word == "]":
            counts["arguments", arguments.pop()] += 1
        arguments[-1] += 1
    return counts


def test_operators_follow_their_exact_laws(drawn, laws):
    counts = [_operators(one.words()) for one in drawn]
    assert set().union(*counts) == set(laws[1])
    for key, expected in laws[1].items():
        numbers = [one[key] for one in counts]
        if key == ("depth", 1):
            assert set(numbers) == {1} and expected == pytest.approx(1)
        else:
            assert stats.ttest_1samp(numbers, expected).pvalue > SIGNIFICANCE


def test_digits_and_operators_are_equally_likely_each(drawn):
    counts = Counter(word for one in drawn[:1000] for word in one.words())
    digits, operators = [counts[digit] for digit in "0123456789"], [counts[op] for op in OPERATORS]
    assert stats.chisquare(digits).pvalue > SIGNIFICANCE
    assert stats.chisquare(operators).pvalue > SIGNIFICANCE
    assert counts["]"] == sum(operators)


def test_expressions_and_splits_differ():
    counts: dict[Split, int] = {"train": 1500, "val": 400, "test": 400}
    sets = [
        {one.tokens.tobytes() for one in split_expressions(split, 3, counts)} for split in counts
    ]
    assert [len(one) for one in sets] == list(counts.values())
    assert len(set().union(*sets)) == sum(counts.values())


def test_another_seed_gives_other_expressions(drawn):
    other = {one.tokens.tobytes() for one in islice(draw_expressions(seed=1), 500)}
    assert other.isdisjoint(one.tokens.tobytes() for one in drawn)


def test_files_are_those_of_the_benchmark(tmp_path):
    counts: dict[Split, int] = {"train": 30, "val": 3, "test": 2}
    write_listops(tmp_path / "new", seed=5, counts=counts)
    names = {f"basic_{split}.tsv" for split in counts}
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
    for split, count in counts.items():
        content = (tmp_path / "new" / f"basic_{split}.tsv").read_bytes()
        header, *lines, rest = content.split(b"\r\n")
        assert header == b"Source\tTarget" and rest == b"" and len(lines) == count
        for line, one in zip(lines, split_expressions(split, 5, counts), strict=True):
            source, target = line.decode().split("\t")
            assert _applied(_pairs(source)) == int(target) == one.value


@pytest.mark.parametrize("counts", [{"train": 1, "val": 1}, {"train": 1, "val": 0, "test": 1}])
def test_counts_that_cannot_be_are_refused(tmp_path, counts):
    with pytest.raises(InvalidArgumentError, match="train, val and test"):
        write_listops(tmp_path, counts=counts)
    assert not list(tmp_path.iterdir())


def test_other_arguments_that_cannot_be_are_refused():
    with pytest.raises(InvalidArgumentError, match="seed -1"):
        draw_expressions(-1)
    with pytest.raises(InvalidArgumentError, match="split 'dev'"):
        split_expressions(cast(Any, "dev"))
