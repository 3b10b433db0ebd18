"""The ListOps task: files of the benchmark, generated data, what is wrong with other files."""

import json

import pytest
import torch

from hydropress.data.lra import listops
from hydropress.data.lra.listops import NUM_TOKENS, listops_statistics, load_listops
from hydropress.data.lra.listops_generator import Split, write_listops
from hydropress.data.lra.listops_notation import TOKENS, evaluate
from hydropress.data.sequences import LabelledSequences
from hydropress.errors import DataNotFoundError, FileFormatError, InvalidArgumentError

COUNTS: dict[Split, int] = {"train": 40, "val": 5, "test": 6}
HEADER = "Source\tTarget\r\n"
BY_HAND = "( ( ( [MAX 3 ) ( ( ( [MIN 4 ) 7 ) ] ) ) ] )\t4\r\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listops")
    write_listops(folder, seed=0, counts=COUNTS)
    return folder


@pytest.fixture(scope="module")
def generated():
    return load_listops("test")


def _write(folder, content, split="val"):
    (folder / f"basic_{split}.tsv").write_bytes(content.encode())
    return folder


def _words(sequences, place):
    start, length = int(sequences.starts[place]), int(sequences.lengths[place])
    return [TOKENS[token - 1] for token in sequences.tokens[start : start + length].tolist()]


def test_a_file_by_hand(tmp_path):
    data = load_listops("val", _write(tmp_path, HEADER + BY_HAND + "5\t5\r\n"))
    # [MAX 3 [MIN 4 7 ] ]: digits are 1 to 10, MIN, MAX, MED, SM 11 to 14, the bracket 15.
    expected = torch.tensor([[12, 4, 11, 5, 8, 15, 15], [6, 0, 0, 0, 0, 0, 0]])
    assert torch.equal(data.batch().inputs, expected)
    assert data.lengths.tolist() == [7, 1]
    assert data.labels.tolist() == [4, 5]
    assert NUM_TOKENS == 16


def test_line_ends_of_either_kind(tmp_path):
    content = (HEADER + BY_HAND).replace("\r", "")
    assert load_listops("val", _write(tmp_path, content)).labels.tolist() == [4]


@pytest.mark.parametrize("below", ["listops-1000", "lra_release/listops-1000"])
def test_the_folder_may_be_one_above(tmp_path, below):
    (tmp_path / below).mkdir(parents=True)
    _write(tmp_path / below, HEADER + BY_HAND)
    assert len(load_listops("val", tmp_path)) == 1


def test_what_is_written_is_read_as_it_was_generated(files, generated):
    data = load_listops("test", files)
    assert isinstance(data, LabelledSequences)
    assert len(data) == COUNTS["test"]
    assert torch.equal(data.batch().inputs, generated[: COUNTS["test"]].batch().inputs)
    assert torch.equal(data.labels, generated.labels[: COUNTS["test"]])


def test_generated_data_are_of_the_benchmark_s_size_and_right(generated):
    assert len(generated) == 2000
    assert int(generated.lengths.min()) > 500 and int(generated.lengths.max()) < 2000
    for place in range(0, 2000, 50):
        assert evaluate(_words(generated, place)) == int(generated.labels[place])


def test_long_sequences_lose_their_end(files):
    full, cut = load_listops("train", files), load_listops("train", files, max_length=700)
    assert int(full.lengths.max()) > 700 > int(full.lengths.min())
    assert torch.equal(cut.lengths, full.lengths.clamp(max=700))
    assert torch.equal(cut.batch().inputs, full.batch().inputs[:, :700])
    assert torch.equal(cut.labels, full.labels)


@pytest.mark.parametrize("split", COUNTS)
def test_a_cache_is_read_instead_of_the_files(files, tmp_path, monkeypatch, split):
    first = load_listops(split, files, cache=tmp_path)
    monkeypatch.setattr(listops, "evaluate", None)
    again = load_listops(split, files, cache=tmp_path, max_length=600)
    assert torch.equal(again.batch().inputs, first.batch().inputs[:, :600])
    assert torch.equal(again.labels, first.labels)


def test_a_cache_of_other_files_is_not_taken(tmp_path):
    _write(tmp_path, HEADER + "5\t5\r\n")
    assert load_listops("val", tmp_path, cache=tmp_path).labels.tolist() == [5]
    _write(tmp_path, HEADER + "6\t6\r\n")
    assert load_listops("val", tmp_path, cache=tmp_path).labels.tolist() == [6]


def test_a_cache_holds_the_generated_data_of_a_seed(tmp_path, monkeypatch, generated):
    load_listops("test", cache=tmp_path)
    monkeypatch.setattr(listops, "split_expressions", None)
    again = load_listops("test", cache=tmp_path)
    assert torch.equal(again.tokens, generated.tokens)
    with pytest.raises(TypeError):
        load_listops("test", cache=tmp_path, seed=1)


WRONG = {
    "another header": ("Source,Target\n" + BY_HAND, 1, "Source,Target"),
    "no header": (BY_HAND, 1, "MAX"),
    "an empty file": ("", 1, "header"),
    "a header only": (HEADER, 2, "no expression"),
    "an open bracket": (HEADER + BY_HAND + "[MAX 3 4\t4\r\n", 3, "a bracket open"),
    "a bracket too many": (HEADER + "[MAX 3 4 ] ]\t4\r\n", 2, "not opened"),
    "an unknown operator": (HEADER + BY_HAND * 2 + "[FIRST 3 4 ]\t3\r\n", 4, r"'\[FIRST'"),
    "an unknown number": (HEADER + "[MAX 3 14 ]\t14\r\n", 2, "'14'"),
    "a letter beyond ASCII": (HEADER + "[MAX 3 é ]\t3\r\n", 2, "token 3"),
    "one column": (HEADER + "[MAX 3 4 ]\r\n", 2, "one column"),
    "a blank line": (HEADER + "\r\n" + BY_HAND, 2, "one column"),
    "a wrong value": (HEADER + "[MAX 3 4 ]\t3\r\n", 2, "'3' and is 4"),
    "no value": (HEADER + "[MAX 3 4 ]\t\r\n", 2, "'' and is 4"),
    "cut short": (HEADER + BY_HAND + BY_HAND[:20], 3, "one column"),
}


@pytest.mark.parametrize(("content", "line", "problem"), WRONG.values(), ids=WRONG.keys())
def test_wrong_files_name_the_line_and_the_remedy(tmp_path, content, line, problem):
    _write(tmp_path, content)
    message = rf"basic_val\.tsv, line {line}: .*{problem}.*; required: .*; .*lra_release\.gz"
    with pytest.raises(FileFormatError, match=message):
        load_listops("val", tmp_path)


def test_a_wrong_file_leaves_no_cache(tmp_path):
    _write(tmp_path, HEADER + "[MAX 3 4\t4\r\n")
    with pytest.raises(FileFormatError):
        load_listops("val", tmp_path, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_missing_file_says_what_to_download_and_where_to_put_it(tmp_path):
    _write(tmp_path, HEADER + BY_HAND)
    message = r"basic_train\.tsv not found; .*lra_release\.gz.*lra_release/listops-1000"
    with pytest.raises(DataNotFoundError, match=message):
        load_listops("train", tmp_path)


@pytest.mark.parametrize("arguments", [{"split": "dev"}, {"split": "val", "max_length": 0}])
def test_arguments_that_cannot_be_are_refused(arguments):
    with pytest.raises(InvalidArgumentError, match="required"):
        load_listops(**arguments)


def test_statistics_by_hand(tmp_path):
    deep = "[SM [MIN [MED 1 2 ] 3 ] 9 9 ]\t9\r\n"  # 1 + 9 + 9 = 19, depth 4, 11 tokens
    long = "[SM " + "[MAX 0 1 ] " * 70 + "]\t0\r\n"  # depth 3, 282 tokens
    content = HEADER + BY_HAND + deep + long + "4\t4\r\n"
    statistics = listops_statistics(load_listops("val", _write(tmp_path, content)))
    assert statistics == {
        "sequences": 4,
        "length": {"min": 1, "mean": (7 + 11 + 282 + 1) / 4, "max": 282},
        "lengths": {"0-99": 3, "100-199": 0, "200-299": 1},
        "labels": [0.25, 0, 0, 0, 0.5, 0, 0, 0, 0, 0.25],
        "depth": {"min": 1, "mean": (3 + 4 + 3 + 1) / 4, "max": 4},
    }
    assert json.loads(json.dumps(statistics)) == statistics


def test_statistics_of_a_part_are_those_of_its_sequences(tmp_path):
    content = HEADER + BY_HAND + "4\t4\r\n" + "[MIN 1 2 ]\t1\r\n"
    data = load_listops("val", _write(tmp_path, content))
    part = listops_statistics(data[torch.tensor([2, 1])])
    assert part["length"] == {"min": 1, "mean": 2.5, "max": 4}
    assert part["depth"] == {"min": 1, "mean": 1.5, "max": 2}


def test_generated_data_have_the_published_extent(generated):
    statistics = listops_statistics(generated)
    assert statistics["depth"]["max"] == 10
    assert next(iter(statistics["lengths"])) == "500-599"
    assert list(statistics["lengths"])[-1] == "1900-1999"
    assert sum(statistics["lengths"].values()) == 2000
    assert sum(statistics["labels"]) == pytest.approx(1)
