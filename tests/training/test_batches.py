"""What each step sees: every sequence once an epoch, shared out and resumed without change."""

import pytest
import torch

from hydropress.data.sequences import SampledSequences, TokenPairs, TokenSequences
from hydropress.errors import InvalidArgumentError
from hydropress.training.batches import ROUND, Order, Shares, make_loader
from hydropress.training.config import TrainingConfig
from tiny import tiny_images

CONFIG = TrainingConfig(epochs=3, batch_size=8, micro_batch=3)


def steps(order: Order, passes: int) -> list[list[int]]:
    parts = [part.tolist() for part in order]
    assert len(parts) == len(order)
    return [
        [index for part in parts[place : place + passes] for index in part]
        for place in range(0, len(parts), passes)
    ]


def test_an_epoch_holds_every_sequence_at_most_once():
    shares = Shares.of(CONFIG)
    assert shares.passes == 3
    found = steps(Order(26, CONFIG, 0, shares), 3)
    assert [len(step) for step in found] == [8] * 9
    for epoch in range(3):
        seen = {place for step in found[3 * epoch : 3 * epoch + 3] for place in step}
        assert len(seen) == 24
    assert found[0] != found[3]


@pytest.mark.parametrize("start", [1, 3, 8])
def test_it_goes_on_where_it_was(start):
    shares = Shares.of(CONFIG)
    whole = steps(Order(26, CONFIG, 0, shares), 3)
    assert steps(Order(26, CONFIG, start, shares), 3) == whole[start:]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_a_batch_out(processes):
    alone = steps(Order(26, CONFIG, 0, Shares.of(CONFIG)), 3)
    shares = [Shares.of(CONFIG, processes, rank) for rank in range(processes)]
    parts = [steps(Order(26, CONFIG, 0, share), share.passes) for share in shares]
    together = [[place for part in step for place in part] for step in zip(*parts, strict=True)]
    assert together == alone


def test_what_cannot_be_shared_evenly_is_refused():
    with pytest.raises(InvalidArgumentError, match="on 3 processes"):
        Shares.of(CONFIG, 3)


def test_another_seed_is_another_order():
    other = TrainingConfig(epochs=3, batch_size=8, micro_batch=3, seed=1)
    shares = Shares.of(CONFIG)
    assert steps(Order(26, CONFIG, 0, shares), 3) != steps(Order(26, other, 0, shares), 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_takes_no_random_numbers(workers):
    data, shares = tiny_images(26), Shares.of(CONFIG)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    batches = list(make_loader(data, Order(26, CONFIG, 0, shares), workers))
    assert torch.equal(torch.rand(3), expected)
    first = next(iter(Order(26, CONFIG, 0, shares)))
    assert torch.equal(batches[0].inputs, data[first].batch().inputs)
    assert torch.equal(batches[0].labels, data.labels[first])


def test_a_pool_has_less_padding_and_the_same_sequences():
    lengths = torch.randint(1, 100, (64,), generator=torch.Generator().manual_seed(0))
    mixed, pooled = (
        steps(Order(64, config, 0, Shares.of(config), lengths), 1)
        for config in (
            TrainingConfig(epochs=2, batch_size=8, micro_batch=8, pool=pool) for pool in (1, 4)
        )
    )

    def padding(batches: list[list[int]]) -> int:
        return sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in batches)

    assert padding(pooled) < 0.4 * padding(mixed)
    for epoch in (slice(0, 8), slice(8, 16)):
        assert {place for batch in pooled[epoch] for place in batch} == set(range(64))
    # Short and long batches come in no order.
    longest = [int(lengths[batch].max()) for batch in pooled]
    assert longest != sorted(longest)
    # The pools are random ones.
    assert {*pooled[0], *pooled[1], *pooled[2], *pooled[3]} == {
        place for batch in mixed[:4] for place in batch
    }


def test_what_is_padded_is_the_length():
    lengths, labels = torch.tensor([7, 29, 12, 70]), torch.tensor([0, 1, 0, 1])
    tokens = TokenSequences.of([torch.ones(int(n), dtype=torch.uint8) for n in lengths], labels)
    samples = SampledSequences(torch.randn(4, 70, 5), lengths, labels)
    config = TrainingConfig(epochs=1, batch_size=4, micro_batch=4)
    pairs = TokenPairs(tokens, tokens, labels)
    batches = [
        next(iter(make_loader(data, Order(4, config, 0, Shares.of(config)))))
        for data in (tokens, pairs, samples)
    ]
    shapes = [tuple(batch.inputs.shape) for batch in batches]
    assert shapes == [(4, 2 * ROUND), (4, 2, 2 * ROUND), (4, 2 * ROUND, 5)]
    longest = batches[2].inputs[batches[2].lengths == 70]
    assert torch.equal(longest[0, :70], samples.samples[3])
    assert not bool(longest[0, 70:].any())
