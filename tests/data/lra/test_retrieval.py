"""Pairs of papers as bytes, read from the benchmark's tab-separated files."""

from pathlib import Path

import pytest
import torch

from hydropress.data.lra.retrieval import MAX_LENGTH, load_retrieval
from hydropress.data.sequences import LabelledSequences, TokenSequences
from hydropress.errors import DataNotFoundError, FileFormatError, InvalidArgumentError

FIRST = rb"""b'An "unclosed quote and\na \'literal\''"""
SECOND = b'"' + b"long " * 50_000  # longer than the csv module takes
THIRD = "naïve".encode()


def pairs(*rows: tuple[bytes, bytes, bytes]) -> bytes:
    return b"".join(
        b"\t".join([label, b"P05-1001", b"W06-2922", one, two]) + b"\n" for label, one, two in rows
    )


CONTENT = {
    "train": pairs((b"1.0", FIRST, SECOND), (b"0.0", SECOND, FIRST), (b"1", THIRD, THIRD)),
    "eval": pairs((b"0.0", THIRD, FIRST)).replace(b"\n", b"\r\n"),
    "test": pairs((b"0", FIRST, THIRD))[:-1],
}


def write_pairs(folder: Path, **changes: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**CONTENT, **changes}.items():
        (folder / f"new_aan_pairs.{name}.tsv").write_bytes(content)
    return folder


def contents(data: TokenSequences) -> list[bytes]:
    batch = data.batch()
    assert batch.lengths is not None
    rows = zip(batch.inputs.tolist(), batch.lengths.tolist(), strict=True)
    return [bytes(token - 1 for token in row[:length]) for row, length in rows]


def test_fields_are_taken_as_they_are(tmp_path):
    data = load_retrieval("train", write_pairs(tmp_path))
    assert contents(data.first) == [FIRST, SECOND[:MAX_LENGTH], THIRD]
    assert contents(data.second) == [SECOND[:MAX_LENGTH], FIRST, THIRD]
    assert data.labels.tolist() == [1, 0, 1]
    assert isinstance(data, LabelledSequences)


def test_splits_are_the_files(tmp_path):
    write_pairs(tmp_path)
    val, test = load_retrieval("val", tmp_path), load_retrieval("test", tmp_path)
    assert (contents(val.first), contents(val.second)) == ([THIRD], [FIRST])
    assert (contents(test.first), contents(test.second)) == ([FIRST], [THIRD])
    with pytest.raises(InvalidArgumentError, match="train, val, test"):
        load_retrieval("eval", tmp_path)  # pyright: ignore[reportArgumentType]


def test_a_batch_holds_both_texts_of_each_pair(tmp_path):
    batch = load_retrieval("train", write_pairs(tmp_path), max_length=6)[torch.tensor([2, 0])]
    batch = batch.batch()
    third, first, second = ([byte + 1 for byte in text[:6]] for text in (THIRD, FIRST, SECOND))
    assert len(third) == 6
    assert batch.inputs.tolist() == [[third, third], [first, second]]
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [[6, 6], [6, 6]]
    assert batch.labels.tolist() == [1, 1]


def test_a_paper_is_kept_once(tmp_path):
    data = load_retrieval("train", write_pairs(tmp_path))
    assert len(data.first.tokens) == len(FIRST) + MAX_LENGTH + len(THIRD)
    assert data.first.tokens.data_ptr() == data.second.tokens.data_ptr()


@pytest.mark.parametrize(
    "place",
    [".", "tsv_data", "lra_release/tsv_data", "lra_release/lra_release/tsv_data"],
)
def test_the_release_is_found_from_above(tmp_path, place):
    write_pairs(tmp_path / place)
    assert len(load_retrieval("val", tmp_path)) == 1


def test_a_cache_is_read_until_the_data_are_others(tmp_path):
    cache, source = tmp_path / "cache", tmp_path / "source"
    first = load_retrieval("train", write_pairs(source), cache=cache)
    written = (cache / "retrieval_train.safetensors").stat().st_mtime_ns
    again = load_retrieval("train", source, cache=cache)
    assert contents(again.first) == contents(first.first)
    assert contents(again.second) == contents(first.second)
    assert torch.equal(again.labels, first.labels)
    assert (cache / "retrieval_train.safetensors").stat().st_mtime_ns == written
    write_pairs(source, train=CONTENT["train"].replace(b"literal", b"LITERAL"))
    assert b"LITERAL" in contents(load_retrieval("train", source, cache=cache).first)[0]
    assert len(load_retrieval("val", source, cache=cache)) == 1
    write_pairs(source, train=CONTENT["eval"])
    assert len(load_retrieval("train", source, cache=cache)) == 1
    names = sorted(entry.name for entry in cache.iterdir())
    assert names == ["retrieval_train.safetensors", "retrieval_val.safetensors"]


def test_without_data_the_archive_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"lra_release\.gz.*tsv_data/new_aan_pairs"):
        load_retrieval("train", tmp_path)
    (write_pairs(tmp_path) / "new_aan_pairs.eval.tsv").unlink()
    with pytest.raises(DataNotFoundError, match=r"lacks new_aan_pairs\.eval\.tsv.*lra_release"):
        load_retrieval("val", tmp_path)


GOOD = pairs((b"1.0", FIRST, THIRD))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (GOOD + b"1.0\tid\tid\ttext\n", "line 2: 4 fields"),
        (GOOD + GOOD + pairs((b"0.0", b"a\tb", b"c")), "line 3: 6 fields"),
        (GOOD + b"\n", "line 2: 1 fields"),
        (pairs((b"0.5", FIRST, THIRD)), "line 1: label b'0.5'"),
        (pairs((b"label", FIRST, THIRD)), "line 1: label b'label'"),
        (pairs((b"nan", FIRST, THIRD)), "line 1: label b'nan'"),
        (GOOD + pairs((b"1.0", FIRST, b"")), "line 2: an empty text"),
    ],
)
def test_a_broken_line_is_named(tmp_path, content, reason):
    with pytest.raises(FileFormatError, match=rf"new_aan_pairs\.train\.tsv.*{reason}.*required"):
        load_retrieval("train", write_pairs(tmp_path, train=content))
