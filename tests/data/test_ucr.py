"""Series of the UCR and UEA archives, through a stand-in for the library that loads them."""

import sys
from functools import partial

import numpy as np
import pytest
import torch

from hydropress.data.ucr import SERIES, load_series
from hydropress.errors import (
    FileFormatError,
    InvalidArgumentError,
    MissingLibraryError,
    UnknownNameError,
)
from series import provide_series


@pytest.fixture
def provide(monkeypatch):
    return partial(provide_series, monkeypatch)


def equal_lengths(count, seed):
    rng = np.random.default_rng(seed)
    scale = np.array([1.0, 20.0, 0.01])[:, None]
    return rng.normal(size=(count, 3, 50)) * scale + 5, np.array(
        ["b", "c", "a", "c"] * (count // 4)
    )


def test_channels_are_standardised_by_the_training_split(provide):
    train, test = equal_lengths(8, 0), equal_lengths(12, 1)
    provide("BasicMotions", train, test)
    one, other = load_series("BasicMotions", "train"), load_series("BasicMotions", "test")
    assert one.samples.shape == (8, 50, 3)
    assert one.samples.dtype == torch.float32
    assert one.lengths is None
    flat = one.samples.double().flatten(0, 1)
    assert torch.allclose(flat.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(flat.std(0, correction=0), torch.ones(3, dtype=torch.float64), atol=1e-6)
    # The test split by the same two numbers: channel 1 of series 7, by hand.
    mean, deviation = train[0][:, 1].mean(), train[0][:, 1].std()
    expected = (test[0][7, 1] - mean) / deviation
    assert np.allclose(other.samples[7, :, 1].numpy(), expected, atol=1e-5)


def test_classes_are_numbered_in_the_order_of_the_training_split(provide):
    train, (series, _) = equal_lengths(8, 0), equal_lengths(4, 1)
    provide("BasicMotions", train, (series, np.array(["c", "c", "b", "c"])))
    assert load_series("BasicMotions", "train").labels.tolist() == [1, 2, 0, 2] * 2
    assert load_series("BasicMotions", "test").labels.tolist() == [2, 2, 1, 2]
    provide("BasicMotions", train, (series, np.array(["c", "d", "b", "c"])))
    with pytest.raises(FileFormatError, match=r"\['d'\] in the test split only"):
        load_series("BasicMotions", "test")


def test_series_of_unequal_length_are_padded(provide):
    rng = np.random.default_rng(0)
    series = [rng.normal(3, 2, (2, length)) for length in (7, 29, 12)]
    provide("JapaneseVowels", (series, np.array(["1", "2", "1"])), (series, np.array(["2"] * 3)))
    data = load_series("JapaneseVowels", "train")
    assert data.samples.shape == (3, 29, 2)
    assert data.lengths is not None
    assert data.lengths.tolist() == [7, 29, 12]
    valid = torch.cat([data.samples[k, : data.lengths[k]] for k in range(3)])
    assert len(valid) == 48
    assert float(valid.mean(0).abs().max()) < 1e-6  # padding does not count
    assert all(bool((data.samples[k, data.lengths[k] :] == 0).all()) for k in range(3))
    assert data[torch.tensor([0, 2])].batch().inputs.shape == (2, 12, 2)


def test_a_constant_channel_becomes_zero(provide):
    series = np.stack([np.full((4, 20), 0.1), np.random.default_rng(0).normal(size=(4, 20))], 1)
    provide("BasicMotions", (series, np.array(list("abab"))), (series, np.array(list("abab"))))
    data = load_series("BasicMotions", "train")
    assert float(data.samples[..., 0].abs().max()) < 1e-6


def test_unknown_names_list_what_there_is():
    with pytest.raises(UnknownNameError, match=r"'acsf1'.*ACSF1.*OSULeaf"):
        load_series("acsf1", "train")
    with pytest.raises(InvalidArgumentError, match="train or test"):
        load_series("ACSF1", "val")


def test_a_missing_library_names_the_extra(provide, monkeypatch):
    provide("ACSF1", ([], []), ([], []))
    with pytest.raises(MissingLibraryError, match="no load_osuleaf"):
        load_series("OSULeaf", "train")
    monkeypatch.setitem(sys.modules, "aeon.datasets", None)
    with pytest.raises(MissingLibraryError, match=r"hydropress\[ucr\]"):
        load_series("ACSF1", "train")


@pytest.mark.parametrize(
    ("series", "labels", "message"),
    [
        ([], [], "0 series"),
        ([np.zeros((1, 5))], ["a", "b"], "one label for each"),
        ([np.zeros((1, 5)), np.zeros((2, 5))], ["a", "b"], r"series 1 has shape \(2, 5\)"),
        ([np.zeros((1, 0))], ["a"], r"shape \(1, 0\)"),
        ([np.array([[1.0, np.nan]])], ["a"], "lacks values"),
    ],
)
def test_data_that_do_not_fit_together_are_refused(provide, series, labels, message):
    provide("ACSF1", (series, np.array(labels)), (series, np.array(labels)))
    with pytest.raises(FileFormatError, match=message):
        load_series("ACSF1", "train")


@pytest.mark.parametrize("name", SERIES)
def test_classes_and_channels_are_those_of_the_library(name):
    data, problem = load_series(name, "train"), SERIES[name]
    assert data.samples.shape[2] == problem.num_channels
    assert sorted(set(data.labels.tolist())) == list(range(problem.num_classes))
