"""Batches of tokens, pairs and samples against what they were made of."""

import pytest
import torch

from hydropress.data.sequences import (
    Batch,
    LabelledSequences,
    SampledSequences,
    TokenPairs,
    TokenSequences,
)
from hydropress.data.sources import calibration_sequences
from hydropress.errors import InvalidArgumentError
from tiny import tiny_images

WORDS = [[3, 1, 2], [5], [4, 4, 4, 4, 9], [7, 8]]


def tokens() -> TokenSequences:
    words = [torch.tensor(word, dtype=torch.uint8) for word in WORDS]
    return TokenSequences.of(words, torch.tensor([0, 1, 1, 0]))


def test_a_batch_is_padded_to_its_longest():
    batch = tokens()[torch.tensor([3, 0])].batch()
    assert batch.inputs.tolist() == [[7, 8, 0], [3, 1, 2]]
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [2, 3]
    assert batch.labels.tolist() == [0, 0]
    assert batch.inputs.dtype == torch.int64


def test_selecting_twice_is_selecting_once():
    some = tokens()[torch.tensor([2, 0, 3])][1:]
    assert some.batch().inputs.tolist() == [[3, 1, 2], [7, 8, 0]]
    assert len(some) == 2


@pytest.mark.parametrize("words", [[], [[1], []]])
def test_empty_sequences_are_refused(words):
    parts = [torch.tensor(word) for word in words]
    with pytest.raises(InvalidArgumentError, match="none of them empty"):
        TokenSequences.of(parts, torch.zeros(len(words), dtype=torch.int64))


def test_pairs_have_one_length():
    words = tokens()
    pairs = TokenPairs(words[:2], words[2:], torch.tensor([1, 0]))
    batch = pairs.batch()
    assert batch.inputs.tolist() == [
        [[3, 1, 2, 0, 0], [4, 4, 4, 4, 9]],
        [[5, 0, 0, 0, 0], [7, 8, 0, 0, 0]],
    ]
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [[3, 5], [1, 2]]
    assert pairs[1:].batch().inputs.tolist() == [[[5, 0], [7, 8]]]


def test_samples_lose_the_padding_that_all_share():
    samples = torch.arange(24.0).reshape(2, 6, 2)
    some = SampledSequences(samples, torch.tensor([3, 4]), torch.tensor([0, 1]))
    assert torch.equal(some.batch().inputs, samples[:, :4])
    assert some[:1].batch().inputs.shape == (1, 3, 2)
    whole = SampledSequences(samples, None, torch.tensor([0, 1]))
    assert torch.equal(whole[1:].batch().inputs, samples[1:])


def test_what_a_model_is_called_with():
    inputs, labels = torch.zeros(5, 2), torch.arange(5)
    assert len(Batch(inputs, None, labels).arguments) == 1
    both = Batch(inputs, labels + 1, labels).arguments
    assert both[0] is inputs
    assert both[1].tolist() == [1, 2, 3, 4, 5]


def test_every_kind_is_labelled_sequences():
    words = tokens()
    samples = SampledSequences(torch.zeros(4, 3, 1), None, words.labels)
    for data in (words, TokenPairs(words, words, words.labels), samples, tiny_images(4)):
        assert isinstance(data, LabelledSequences)
        parts = data[:2].tensors(), data[2:].tensors()
        assert any(not torch.equal(one, other) for one, other in zip(*parts, strict=True))


def test_calibration_draws_from_the_longest_and_leaves_no_padding():
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(2, 50, (40,), generator=generator)
    words = [torch.full((int(length),), int(length), dtype=torch.int16) for length in lengths]
    data = TokenSequences.of(words, torch.zeros(40, dtype=torch.int64))
    drawn = calibration_sequences(data, 6, seed=3)
    quarter = lengths.sort(descending=True).values[:10]
    # Every sequence repeats its own length.
    chosen = drawn[:, 0]
    assert bool(torch.isin(chosen, quarter).all())
    assert drawn.shape == (6, int(chosen.min()))
    assert torch.equal(drawn, chosen[:, None].expand_as(drawn))
    assert torch.equal(drawn, calibration_sequences(data, 6, seed=3))
    pairs = TokenPairs(data, data[torch.arange(39, -1, -1)], data.labels)
    both = calibration_sequences(pairs, 4, seed=0)
    assert both.shape[:2] == (4, 2)
    assert int(both.min()) >= both.shape[2]
