"""The classifier against the same network in textbook form, and as a stream."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.classifier import (
    ChannelMix,
    ChannelNorm,
    ClassifierConfig,
    SequenceClassifier,
    SSMBlock,
)
from hydropress.models.dss import DSS
from hydropress.models.lru import LRU
from hydropress.models.s5 import S5
from ragged import compressed_model
from tiny import tiny_model
from tolerances import CLASSIFIER_FLOAT32, ROUNDING

NORMS: list[Any] = ["pre", "post"]
POOLINGS: list[Any] = ["mean", "last"]
VARIANTS = list(itertools.product(NORMS, POOLINGS))


def blocks_of(model: SequenceClassifier) -> list[SSMBlock]:
    return [block for block in model.blocks if isinstance(block, SSMBlock)]


def textbook(model: SequenceClassifier, sequences: torch.Tensor) -> torch.Tensor:
    """Run the network on channels-last tensors, with PyTorch's own layers and plain sums."""
    config = model.config
    x = model.encoder(sequences)

    def normalize(norm: Any, value: torch.Tensor) -> torch.Tensor:
        return nn.functional.layer_norm(value, (config.channels,), norm.weight, norm.bias)

    for block in blocks_of(model):
        u = normalize(block.norm, x) if config.norm == "pre" else x
        kernel = block.ssm.system().impulse_response(x.shape[1])
        y = block.ssm.D * u
        for t in range(x.shape[1]):
            for s in range(x.shape[1]):
                if s <= t:
                    y[:, t] += kernel[0, :, t - s] * u[:, s]
                elif config.bidirectional:
                    y[:, t] += kernel[1, :, s - t - 1] * u[:, s]
        if block.ssm.bias is not None:
            y = y + block.ssm.bias
        values, gates = block.mix.linear(nn.functional.gelu(y)).chunk(2, dim=-1)
        x = x + values * torch.sigmoid(gates)
        if config.norm == "post":
            x = normalize(block.norm, x)
    if config.norm == "pre":
        x = normalize(model.norm, x)
    pooled = x.mean(1) if config.pooling == "mean" else x[:, -1]
    return model.decoder(pooled)


@pytest.mark.parametrize(("norm", "pooling"), VARIANTS)
@pytest.mark.parametrize("kind", ["causal", "bidirectional", "compressed"])
def test_forward_equals_the_textbook(norm, pooling, kind):
    make = compressed_model if kind == "compressed" else tiny_model
    both_ways = kind == "bidirectional"
    model = make(norm=norm, pooling=pooling, bidirectional=both_ways, num_inputs=2).double()
    sequences = torch.randn(3, 9, 2, dtype=torch.float64)
    with torch.no_grad():
        expected = textbook(model, sequences)
        torch.testing.assert_close(model(sequences), expected, rtol=1e-10, atol=1e-10)
    assert expected.shape == (3, 10)


@pytest.mark.parametrize(("norm", "pooling"), VARIANTS)
@pytest.mark.parametrize("make", [tiny_model, compressed_model])
def test_a_stream_says_what_the_sequence_so_far_says(norm, pooling, make):
    model = make(norm=norm, pooling=pooling)
    sequences = torch.randn(2, 120, 1)
    recurrences = model.recurrences()
    state = model.initial_state(2)
    with torch.no_grad():
        for t in range(120):
            logits, state = model.step(sequences[:, t], state, recurrences)
            assert state.count == t + 1
            if t in (0, 1, 7, 119):
                expected = model(sequences[:, : t + 1])
                difference = (logits - expected).abs().max()
                assert difference <= CLASSIFIER_FLOAT32 * expected.abs().max()


def test_a_step_leaves_the_state_alone_and_needs_no_coefficients():
    model = tiny_model()
    sample = torch.randn(2, 1)
    with torch.no_grad():
        _, state = model.step(sample, model.initial_state(2))
        copies = [part.clone() for part in (*state.blocks, state.mean)]
        first, _ = model.step(sample, state)
        second, _ = model.step(sample, state, model.recurrences())
    assert torch.equal(first, second)
    for part, copy in zip((*state.blocks, state.mean), copies, strict=True):
        assert torch.equal(part, copy)


def test_what_reads_the_future_does_not_stream():
    model = tiny_model(bidirectional=True)
    state = tiny_model().initial_state(1)
    for attempt in (
        model.recurrences,
        lambda: model.initial_state(1),
        lambda: model.step(torch.zeros(1, 1), state),
    ):
        with pytest.raises(InvalidArgumentError, match="bidirectional"):
            attempt()


@pytest.mark.parametrize(("norm", "pooling"), VARIANTS)
def test_sequences_of_a_batch_do_not_see_each_other(norm, pooling):
    model = tiny_model(norm=norm, pooling=pooling)
    sequences = torch.randn(4, 30, 1)
    with torch.no_grad():
        together = model(sequences)
        alone = torch.cat([model(sequence[None]) for sequence in sequences])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_dropout_acts_in_training_only():
    model, plain = tiny_model(dropout=0.5), tiny_model(dropout=0.0)
    sequences = torch.randn(4, 30, 1)
    with torch.no_grad():
        assert torch.equal(model(sequences), model(sequences))
        assert torch.equal(model(sequences), plain(sequences))
        assert torch.equal(plain.train()(sequences), plain.eval()(sequences))
        model.train()
        assert not torch.equal(model(sequences), model(sequences))


def test_dropout_drops_whole_lines_and_keeps_the_mean():
    model = tiny_model(dropout=0.5)
    dropout = blocks_of(model.train())[0].dropout
    lines = dropout(torch.ones(500, 4, 3))
    assert bool((lines == lines[..., :1]).all())
    assert set(lines.unique().tolist()) == {0, 2}
    assert abs(lines.mean().item() - 1) < 5 / math.sqrt(2000)


def test_the_norm_is_layer_normalisation_over_channels():
    norm = ChannelNorm(5).double()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(5))
        norm.bias.copy_(torch.randn(5))
    signal = torch.randn(2, 5, 7, dtype=torch.float64, requires_grad=True)
    before = signal.detach().clone()
    expected = nn.functional.layer_norm(signal.mT, (5,), norm.weight, norm.bias).mT
    torch.testing.assert_close(norm(signal), expected, rtol=ROUNDING, atol=ROUNDING)
    assert torch.equal(signal, before)
    assert torch.autograd.gradcheck(norm, (signal,))
    # A constant over the channels has no variance: only the bias is left.
    flat = norm(torch.full((1, 5, 1), 3.0, dtype=torch.float64))[0, :, 0]
    torch.testing.assert_close(flat, norm.bias, rtol=0, atol=1e-12)


def test_second_derivatives_of_the_norm_are_refused_and_not_wrong():
    signal = torch.randn(2, 3, 4, requires_grad=True)
    loss = ChannelNorm(3)(signal).pow(3).sum()
    (gradient,) = torch.autograd.grad(loss, signal, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_the_mix_is_a_gated_linear_map_of_every_sample():
    mix = ChannelMix(3)
    signal = torch.randn(2, 3, 5)
    expected = nn.functional.glu(mix.linear(signal.mT), dim=-1).mT
    torch.testing.assert_close(mix(signal), expected)


@pytest.mark.parametrize(("norm", "pooling"), VARIANTS)
def test_every_parameter_gets_a_gradient(norm, pooling):
    model = tiny_model(norm=norm, pooling=pooling).train()
    model(torch.randn(3, 20, 1)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_config_sets_every_size():
    config = ClassifierConfig(
        num_inputs=3,
        num_classes=7,
        channels=5,
        num_layers=3,
        state_size=6,
        initialization="legs",
        discretization="bilinear",
        bidirectional=True,
        step_range=(0.01, 0.02),
        norm="post",
        pooling="last",
        dropout=0.25,
    )
    model = SequenceClassifier(config)
    assert model.config == config
    assert model.encoder.in_features == 3
    assert model.decoder.out_features == 7
    assert len(model.blocks) == 3
    for block in blocks_of(model):
        assert block.ssm.system().batch_shape == (2, 5)
        assert block.ssm.system().order.unique().tolist() == [6]
        assert block.dropout.p == 0.25
        steps = block.ssm.get_parameter("log_step").detach().exp().numpy()
        assert np.all((steps > 0.0099) & (steps < 0.0201))
        assert torch.allclose(block.ssm.get_parameter("log_decay").exp(), torch.tensor(0.5))
    assert model(torch.randn(2, 4, 3)).shape == (2, 7)


LAYERS: dict[str, tuple[type, dict[str, Any]]] = {
    "dss": (DSS, {}),
    "dss, softmax": (DSS, {"softmax_length": 30}),
    "s5": (S5, {"state_blocks": 2}),
    "lru": (LRU, {"ring": (0.5, 0.9), "max_phase": 1.0}),
}
every_kind = pytest.mark.parametrize("kind", LAYERS)


def model_of(kind: str, **changes: Any) -> SequenceClassifier:
    changes = {"initialization": "legs", **LAYERS[kind][1], **changes}
    return tiny_model(layer=kind.split(",")[0], **changes)


@every_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_config_chooses_the_layer(kind, bidirectional):
    model = model_of(kind, bidirectional=bidirectional)
    for block in blocks_of(model):
        layer = block.ssm
        assert type(layer) is LAYERS[kind][0]
        assert layer.bidirectional == bidirectional
        assert layer.system().order.unique().tolist() == [8]
        if isinstance(layer, DSS):
            assert layer.softmax_length == (30 if "softmax" in kind else 0)
        if isinstance(layer, S5):
            assert layer.blocks == 2
        if isinstance(layer, LRU):
            modulus = layer.system().poles.abs()
            assert bool(((modulus > 0.49) & (modulus < 0.91)).all())
    model.train()(torch.randn(3, 40, 1)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@every_kind
def test_every_layer_streams_in_a_classifier(kind):
    model = model_of(kind)
    sequences, recurrences = torch.randn(2, 60, 1), model.recurrences()
    state, logits = model.initial_state(2), torch.empty(0)
    with torch.no_grad():
        for sample in sequences.unbind(1):
            logits, state = model.step(sample, state, recurrences)
        expected = model(sequences)
    assert (logits - expected).abs().max() <= CLASSIFIER_FLOAT32 * expected.abs().max()


@every_kind
def test_padding_reaches_no_layer(kind):
    model = model_of(kind, bidirectional=True)
    lengths = torch.tensor([40, 25])
    sequences = torch.randn(2, 40, 1)
    with torch.no_grad():
        both = model(sequences, lengths)
        alone = model(sequences[1:, :25])
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": "rnn"}, "layer='rnn'; required: one of s4d, dss, s5, lru"),
        ({"layer": "dss", "discretization": "bilinear"}, "'bilinear' with layer='dss'"),
        ({"layer": "lru", "discretization": "bilinear"}, "'bilinear' with layer='lru'"),
        ({"layer": "dss", "initialization": "real"}, "required: lin, inv or legs"),
        ({"layer": "s5", "state_blocks": 5}, "64 with 5 blocks"),
        ({"layer": "lru", "ring": (0.9, 0.1)}, "ring="),
        ({"num_inputs": 0}, "num_inputs=0; required: a positive integer"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"channels": 0}, "channels=0"),
        ({"channels": -1}, "channels=-1"),
        ({"channels": 2.5}, "channels=2.5"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_layers": -1}, "num_layers=-1"),
        ({"state_size": 0}, "state_size=0"),
        ({"state_size": 7}, "positive even number"),
        ({"initialization": "hippo"}, "initialization='hippo'; required: one of"),
        ({"discretization": "euler"}, "discretization='euler'; required: one of"),
        ({"step_range": (0.0, 0.1)}, "step_range="),
        ({"norm": "batch"}, "norm='batch'; required: one of pre, post"),
        ({"pooling": "max"}, "pooling='max'; required: one of mean, last"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": math.nan}, "dropout=nan"),
    ],
)
def test_wrong_configs_are_refused(changes, message):
    with pytest.raises(InvalidArgumentError, match=message):
        SequenceClassifier(replace(ClassifierConfig(), **changes))


@pytest.mark.parametrize("shape", [(5, 1), (2, 5, 3), (2, 5), (2, 0, 1), (0, 5, 1), (1, 2, 5, 1)])
def test_inputs_of_other_shapes_are_refused(shape):
    with pytest.raises(InvalidArgumentError, match=r"input of shape .* \(batch, length, 1\)"):
        tiny_model()(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2,), (3, 1), (2, 2), (2, 1, 1)])
def test_samples_of_other_shapes_are_refused(shape):
    model = tiny_model()
    with pytest.raises(InvalidArgumentError, match=r"sample of shape .* required: \(2, 1\)"):
        model.step(torch.zeros(shape), model.initial_state(2))
