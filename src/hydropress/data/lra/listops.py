"""The ListOps task of the Long Range Arena: the value of a long nested expression, ten classes.

Either the benchmark's own files are read, or data of the same kind are generated.  As in the
benchmark's reader, parentheses are dropped, being redundant, and brackets kept, which leaves 15
tokens.  (Its first public version lost the closing brackets as well; the later one, and what is
compared in the literature of state space models, keeps them.)

References
----------
[nangia2018listops] for the task, [tay2021lra] for its long form.
"""

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from hydropress.data.cache import cached_tensors
from hydropress.data.lra.files import DOWNLOAD, cached_files
from hydropress.data.lra.listops_generator import COUNTS, HEADER, split_expressions
from hydropress.data.lra.listops_notation import END, OPERATORS, TOKENS, evaluate
from hydropress.data.lra.splits import Split
from hydropress.data.sequences import TokenSequences
from hydropress.errors import DataNotFoundError, FileFormatError, InvalidArgumentError

NUM_TOKENS = 1 + len(TOKENS)
"""The padding and 15 tokens."""
NUM_CLASSES = 10
BIN_WIDTH = 100
"""Tokens in a bin of the histogram of lengths."""

_REMEDY = (
    f"{DOWNLOAD} and pass its folder lra_release/listops-1000, or pass no folder, and data of the "
    "same kind are generated"
)
_BELOW = ("", "listops-1000", "lra_release/listops-1000", "lra_release/lra_release/listops-1000")
# Raise it when the generator's output changes, so that older caches are not taken for it.
_RECIPE = 1
_NUMBERS = {word: number for number, word in enumerate(TOKENS, 1)}
_PARENTHESES = str.maketrans("", "", "()")


def load_listops(
    split: Split,
    folder: Path | None = None,
    *,
    cache: Path | None = None,
    seed: int = 0,
    max_length: int = 2048,
) -> TokenSequences:
    """Read or generate one of the three sets.

    Parameters
    ----------
    split
        ``train``, ``val`` or ``test``.
    folder
        ``listops-1000`` of the benchmark's release, with ``basic_train.tsv``, ``basic_val.tsv`` and
        ``basic_test.tsv``, or the folder ``lra_release`` that holds it.  None: 96,000, 2,000 or
        2,000 expressions are generated.
    cache
        A folder to keep the result in, created if there is none; reading or generating the
        training set takes about half a minute.  None: nothing is kept.
    seed
        Of the generated expressions; it determines them on every machine.
    max_length
        Longer sequences lose their end, as in the benchmark.  Its own have less than 2,000 tokens.

    Returns
    -------
    TokenSequences
        uint8 tokens from 1 to 15; labels from 0 to 9.

    Raises
    ------
    DataNotFoundError
        If the file is missing; the message says where it comes from.
    FileFormatError
        If a line of it is not an expression with its value; the message names the line.
    """
    if split not in COUNTS:
        raise InvalidArgumentError(
            f"split {split!r}; required: one of {', '.join(map(repr, COUNTS))}; choose one"
        )
    if max_length < 1:
        raise InvalidArgumentError(
            f"max_length {max_length}; required: 1 or more; the benchmark's is 2000"
        )
    description: dict[str, Any] = {"data": "listops", "split": split}
    if folder is None:
        name = f"listops_{split}_seed{seed}.safetensors"
        tensors = cached_tensors(
            None if cache is None else cache / name,
            description | {"recipe": _RECIPE, "seed": seed},
            lambda: _generate(split, seed),
        )
    else:
        path = _find(folder, f"basic_{split}.tsv")
        tensors = cached_files(
            cache, f"listops_{split}_files", [path], description, lambda: _read(path)
        )
    lengths = tensors["lengths"]
    return TokenSequences(
        tensors["tokens"],
        lengths.cumsum(0) - lengths,
        lengths.clamp(max=max_length),
        tensors["labels"],
    )


def listops_statistics(sequences: TokenSequences) -> dict[str, Any]:
    """Describe a set, for a table beside the published description.

    Returns
    -------
    dict
        Ready for JSON: ``sequences``, their number; ``length`` and ``depth``, each with ``min``,
        ``mean`` and ``max``; ``lengths``, the histogram by bins of 100 tokens, empty bins between
        others included; ``labels``, the share of each of the ten classes.  Depth counts as the
        benchmark does: a lone digit has 1, and an operator one more than its deepest argument.
    """
    lengths = sequences.lengths
    bins = (lengths // BIN_WIDTH).bincount()
    first = int(lengths.min()) // BIN_WIDTH
    histogram = {
        f"{place * BIN_WIDTH}-{(place + 1) * BIN_WIDTH - 1}": int(bins[place])
        for place in range(first, len(bins))
    }
    shares = sequences.labels.bincount(minlength=NUM_CLASSES).double() / len(sequences)
    return {
        "sequences": len(sequences),
        "length": _range(lengths),
        "lengths": histogram,
        "labels": shares.tolist(),
        "depth": _range(_depths(sequences)),
    }


def _range(values: Tensor) -> dict[str, float]:
    return {
        "min": int(values.min()),
        "mean": float(values.double().mean()),
        "max": int(values.max()),
    }


def _depths(sequences: TokenSequences) -> Tensor:
    step = np.zeros(NUM_TOKENS, np.int64)
    step[[_NUMBERS[word] for word in OPERATORS]] = 1
    step[_NUMBERS[END]] = -1
    tokens = sequences.tokens.numpy()
    depths = [
        1 + max(0, int(step[tokens[start : start + length]].cumsum().max()))
        for start, length in zip(sequences.starts.tolist(), sequences.lengths.tolist(), strict=True)
    ]
    return torch.tensor(depths)


def _generate(split: Split, seed: int) -> dict[str, Tensor]:
    expressions = list(split_expressions(split, seed))
    return _tensors(
        [expression.tokens for expression in expressions],
        [expression.value for expression in expressions],
    )


def _find(folder: Path, name: str) -> Path:
    for below in _BELOW:
        path = folder / below / name
        if path.is_file():
            return path
    raise DataNotFoundError(
        f"{folder / name} not found; required: the three files of the ListOps task, of which this "
        f"is one; {_REMEDY}"
    )


def _read(path: Path) -> dict[str, Tensor]:
    sequences: list[np.ndarray] = []
    labels: list[int] = []
    # What is not ASCII is replaced, and then refused as an unknown token.
    with path.open(encoding="ascii", errors="replace") as file:
        header = file.readline().rstrip("\n")
        if tuple(header.split("\t")) != HEADER:
            _refuse(path, 1, f"the header is {header[:80]!r}; required: {chr(9).join(HEADER)!r}")
        for number, line in enumerate(file, 2):
            source, tab, target = line.rstrip("\n").rpartition("\t")
            if not tab:
                _refuse(path, number, "one column; required: an expression, a tab and its value")
            words = source.translate(_PARENTHESES).split()
            try:
                value = evaluate(words)
            except InvalidArgumentError as error:
                # Its own remedy is for who wrote the expression, not for who downloaded it.
                problem, _, _ = str(error).rpartition(";")
                _refuse(path, number, problem)
            if target != str(value):
                _refuse(
                    path,
                    number,
                    f"the value is given as {target[:20]!r} and is {value}; required: a file whose "
                    "values are right",
                )
            sequences.append(np.array([_NUMBERS[word] for word in words], np.uint8))
            labels.append(value)
    if not sequences:
        _refuse(path, 2, "no expression; required: one or more below the header")
    return _tensors(sequences, labels)


def _tensors(sequences: list[np.ndarray], labels: list[int]) -> dict[str, Tensor]:
    return {
        "tokens": torch.from_numpy(np.concatenate(sequences)),
        "lengths": torch.tensor([len(one) for one in sequences], dtype=torch.int64),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


def _refuse(path: Path, number: int, problem: str) -> NoReturn:
    raise FileFormatError(f"{path}, line {number}: {problem}; {_REMEDY}")
