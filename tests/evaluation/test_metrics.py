"""Decisions, shares and sizes."""

import pytest
import torch
from torch import nn

from hydropress.data.sequences import TokenSequences
from hydropress.errors import InvalidArgumentError
from hydropress.evaluation.evaluate import evaluate
from hydropress.evaluation.metrics import (
    accuracy,
    agreement,
    average_order,
    count_parameters,
    count_ssm_parameters,
    count_states,
    largest_order,
    predict,
)
from ragged import compressed_model, modal_mimo_model
from tiny import tiny_images, tiny_model


@pytest.mark.parametrize("batch_size", [1, 7, 20, 64])
def test_predict_is_argmax_whatever_the_batch(batch_size):
    model, data = tiny_model(), tiny_images(20)
    seen = []
    decisions = predict(
        model, data, batch_size=batch_size, progress=lambda *done: seen.append(done)
    )
    with torch.no_grad():
        expected = model(data.sequences()).argmax(-1)
    assert decisions.dtype == torch.int64
    assert torch.equal(decisions, expected)
    assert seen[-1] == (20, 20)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_decisions_on_ragged_sequences_are_in_the_order_of_the_data(batch_size):
    lengths = [9, 70, 3, 150, 3, 40, 70, 1, 120]
    words = [
        torch.randint(1, 9, (length,), generator=torch.Generator().manual_seed(length))
        for length in lengths
    ]
    data = TokenSequences.of(words, torch.zeros(len(words), dtype=torch.int64))
    model = tiny_model(num_tokens=9, pooling="last")
    with torch.no_grad():
        alone = torch.cat([model(one[None]).argmax(-1) for one in words])
    assert len(alone.unique()) > 1
    assert torch.equal(predict(model, data, batch_size=batch_size), alone)


def test_predict_switches_dropout_off_and_leaves_the_mode():
    model = tiny_model(dropout=0.9).train()
    data = tiny_images(20)
    assert torch.equal(predict(model, data), predict(model, data))
    assert model.training


def test_predict_restores_the_mode_after_an_error():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, *_):
            raise RuntimeError

    model = Broken().train()
    with pytest.raises(RuntimeError):
        predict(model, tiny_images(3))
    assert model.training


def test_shares_by_hand():
    decisions = torch.tensor([0, 1, 2, 3])
    assert accuracy(decisions, torch.tensor([0, 1, 2, 9])) == 0.75
    assert agreement(decisions, decisions) == 1.0
    assert agreement(decisions, torch.tensor([9, 9, 9, 3])) == 0.25


@pytest.mark.parametrize("other", [torch.zeros(3), torch.zeros(4, 1)])
def test_shares_of_unequal_shapes_are_refused(other):
    with pytest.raises(InvalidArgumentError, match="required: equal"):
        accuracy(torch.zeros(4), other)


def test_no_images_and_no_batch_are_refused():
    with pytest.raises(InvalidArgumentError, match="at least 1"):
        predict(tiny_model(), tiny_images(4)[:0])
    with pytest.raises(InvalidArgumentError, match="at least 1"):
        predict(tiny_model(), tiny_images(4), batch_size=0)


def test_sizes_by_hand():
    model = tiny_model()  # 2 layers, 4 channels of 8 states: 4 pole pairs each
    per_layer = 4 * (1 + 4 * (1 + 1 + 2) + 1)  # step, (decay, frequency, C) per pair, D
    assert count_ssm_parameters(model) == 2 * per_layer
    others = (1 * 4 + 4) + 2 * (8 * 4 + 8 + 2 * 4) + 2 * 4 + (4 * 10 + 10)
    assert count_parameters(model) == 2 * per_layer + others
    # The first mode of S4D-Lin has frequency 0 and still counts as a pair.
    assert count_states(model) == 2 * 4 * 8
    assert largest_order(model) == 8
    assert largest_order(nn.Linear(2, 2)) == 0
    assert average_order(model) == 8
    assert average_order(nn.Linear(2, 2)) == 0
    # Four channels of 8 and four of 0, 1, 2 and 3 states: 38 / 8, rounded.
    assert average_order(compressed_model()) == 5


def test_sizes_of_mimo_layers_by_hand():
    model = tiny_model(layer="s5", bidirectional=True)  # 2 layers of 8 states in each direction
    # Step, real part, frequency, a row of B and two columns of C for each of 4 pairs; D.
    assert count_ssm_parameters(model) == 2 * (4 * (3 + 2 * 4 + 2 * 2 * 4) + 4)
    assert count_states(model) == 2 * 2 * 8
    assert largest_order(model) == average_order(model) == 8
    # 8 states each way; then 2 pairs and a real pole forward, 1 and 2 backward.
    reduced = modal_mimo_model(bidirectional=True)
    assert count_states(reduced) == 8 + 8 + 5 + 4
    assert average_order(reduced) == 6


def test_evaluation_measures_both_models():
    model, other, data = tiny_model(0), tiny_model(1), tiny_images(20)
    seen = []
    result = evaluate(model, data, reference=other, progress=lambda *done: seen.append(done))
    assert result.accuracy == accuracy(predict(model, data), data.labels)
    assert result.reference_accuracy == accuracy(predict(other, data), data.labels)
    assert result.agreement == agreement(predict(model, data), predict(other, data))
    assert result.standard_error == pytest.approx(
        (result.accuracy * (1 - result.accuracy) / 20) ** 0.5
    )
    assert seen == [(20, 40), (40, 40)]
    alone = evaluate(model, data)
    assert alone.agreement is None
    assert alone.reference_accuracy is None
