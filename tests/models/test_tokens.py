"""Classifiers of tokens, of sequences of several lengths, and of pairs."""

import pytest
import torch

from hydropress.data.sequences import TokenSequences
from hydropress.errors import InvalidArgumentError
from hydropress.models.checkpoint import load, save
from tiny import tiny_model

TOKENS = 11


def words(lengths: list[int], seed: int = 0) -> TokenSequences:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randint(1, TOKENS, (length,), generator=generator) for length in lengths]
    return TokenSequences.of(parts, torch.zeros(len(lengths), dtype=torch.int64))


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("normalization", ["layer", "batch"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(pooling, norm, normalization, bidirectional):
    model = tiny_model(
        num_tokens=TOKENS,
        pooling=pooling,
        norm=norm,
        normalization=normalization,
        bidirectional=bidirectional,
    )
    data = words([5, 17, 1, 12])
    batch = data.batch()
    with torch.no_grad():
        together = model(*batch.arguments)
        longer = torch.nn.functional.pad(batch.inputs, (0, 9), value=3)
        padded = model(longer, batch.lengths)
        alone = torch.cat([model(data[row : row + 1].batch().inputs) for row in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(padded, alone, rtol=1e-5, atol=1e-5)
    assert float((alone[0] - alone[1]).abs().max()) > 1e-3


def test_a_stream_of_tokens_ends_where_the_whole_does():
    model = tiny_model(num_tokens=TOKENS)
    tokens = words([9, 9]).batch().inputs
    with torch.no_grad():
        state, logits = model.initial_state(2), torch.zeros(2, 10)
        for sample in tokens.T:
            logits, state = model.step(sample, state)
        torch.testing.assert_close(logits, model(tokens), rtol=1e-5, atol=1e-5)


def test_a_pair_is_decided_by_both_features():
    model = tiny_model(num_tokens=TOKENS, pairs=True)
    first, second = words([5, 8], 1), words([7, 3], 2)
    tokens = [part.batch().inputs for part in (first, second)]
    longest = max(part.shape[1] for part in tokens)
    pair = torch.stack(
        [torch.nn.functional.pad(part, (0, longest - part.shape[1])) for part in tokens], 1
    )
    lengths = torch.stack([first.lengths, second.lengths], 1)
    with torch.no_grad():
        a, b = (model.features(*part.batch().arguments) for part in (first, second))
        expected = model.decoder(torch.cat([a, b, a * b, a - b], 1))
        torch.testing.assert_close(model(pair, lengths), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(InvalidArgumentError, match="pairs"):
        model.initial_state(1)


@pytest.mark.parametrize(
    ("shape", "dtype", "changes", "message"),
    [
        ((2, 5, 1), torch.float32, {"num_tokens": TOKENS}, "integer tokens of shape"),
        ((2, 5), torch.float32, {"num_tokens": TOKENS}, "torch.float32"),
        ((2, 5), torch.int64, {}, "samples of shape"),
        ((2, 3, 5), torch.int64, {"num_tokens": TOKENS, "pairs": True}, "2, length"),
    ],
)
def test_inputs_of_another_kind_are_refused(shape, dtype, changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        tiny_model(**changes)(torch.ones(shape, dtype=dtype))


def test_lengths_of_another_shape_are_refused():
    with pytest.raises(InvalidArgumentError, match="one for each sequence"):
        tiny_model(num_tokens=TOKENS)(torch.ones(2, 5, dtype=torch.int64), torch.ones(3))


@pytest.mark.parametrize("changes", [{"pairs": True}, {"normalization": "batch"}])
def test_it_is_saved_and_read(tmp_path, changes):
    model = tiny_model(num_tokens=TOKENS, **changes)
    save(model, tmp_path)
    again = load(tmp_path)
    assert again.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
