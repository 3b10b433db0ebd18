"""Objectives of the recovery against sums written out."""

import copy

import pytest
import torch
from torch.nn import functional

from hydropress.compression.model import compress
from hydropress.data.sequences import Batch
from hydropress.errors import InvalidArgumentError
from hydropress.models.classifier import SequenceClassifier
from hydropress.training.config import TrainingConfig
from hydropress.training.loop import fit
from hydropress.training.objectives import CrossEntropy, Distillation, LayerMatching
from hydropress.training.train import finetune
from tiny import tiny_images, tiny_model

DATA = tiny_images(24)
BATCH = DATA[:5].batch()


def logits_of(model) -> torch.Tensor:
    with torch.no_grad():
        return model(BATCH.inputs)


def test_cross_entropy_is_minus_the_labels_log_probability():
    model = tiny_model(1)
    probabilities = torch.softmax(logits_of(model).double(), -1)
    expected = -probabilities[torch.arange(5), BATCH.labels].log().sum()
    assert float(CrossEntropy()(model, BATCH)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 1.0), (4.0, 0.3), (2.0, 0.0)])
def test_distillation_mixes_labels_and_divergence(temperature, weight):
    model, teacher = tiny_model(1), tiny_model(2)
    ours, theirs = (logits_of(one).double() / temperature for one in (model, teacher))
    p, q = torch.softmax(theirs, -1), torch.softmax(ours, -1)
    divergence = (p * (p / q).log()).sum()
    expected = (1 - weight) * CrossEntropy()(model, BATCH) + weight * temperature**2 * divergence
    found = Distillation(teacher, temperature=temperature, weight=weight)(model, BATCH)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_distillation_from_itself_has_no_gradient():
    model = tiny_model(1)
    Distillation(copy.deepcopy(model), weight=1.0)(model, BATCH).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert float(parameter.grad.abs().max()) < 1e-5


def layer_outputs(model) -> list[torch.Tensor]:
    """Outputs of the SSMs by walking through the blocks."""
    with torch.no_grad():
        signal, found = model.encoder(BATCH.inputs).mT, []
        for block in model.blocks:
            found.append(block.ssm(block.norm(signal)))
            signal = block(signal)
    return found


def test_layer_matching_adds_relative_errors():
    model, teacher = tiny_model(1), tiny_model(2)
    expected = float(CrossEntropy()(model, BATCH))
    for ours, theirs in zip(layer_outputs(model), layer_outputs(teacher), strict=True):
        for row in range(5):
            expected += 0.5 * float(
                (ours[row] - theirs[row]).square().sum() / theirs[row].square().sum()
            )
    found = LayerMatching(teacher, weight=0.5)(model, BATCH)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_teacher_of_another_depth_is_refused():
    with pytest.raises(InvalidArgumentError, match="SSM layers"):
        LayerMatching(tiny_model(num_layers=3))(tiny_model(), BATCH)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Distillation(tiny_model(), temperature=0),
        lambda: Distillation(tiny_model(), weight=1.5),
        lambda: LayerMatching(tiny_model(), weight=-1),
    ],
)
def test_settings_that_make_no_sense(make):
    with pytest.raises(InvalidArgumentError, match="required"):
        make()


@pytest.mark.parametrize("objective", [Distillation, LayerMatching])
def test_recovery_comes_closer_to_the_original(objective):
    teacher, model = tiny_model(2), tiny_model(1)
    kept = copy.deepcopy(teacher.state_dict())
    made = objective(teacher, weight=1.0)

    before = float(made(model, DATA.batch()))
    config = TrainingConfig(epochs=10, batch_size=8, micro_batch=8, learning_rate=0.01)
    fit(model, DATA, config, objective=made)
    assert float(made(model, DATA.batch())) < 0.7 * before
    assert all(torch.equal(value, kept[name]) for name, value in teacher.state_dict().items())


@pytest.mark.parametrize("objective", [Distillation, LayerMatching])
def test_the_original_stays_as_it_is_and_what_is_made_of_it_can_be_trained(objective):
    teacher = tiny_model().train()
    made = objective(teacher)
    assert teacher.training
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(parameter.requires_grad for parameter in made.teacher.parameters())
    small = compress(teacher, order=4, method="balanced").model
    assert isinstance(small, SequenceClassifier)
    config = TrainingConfig(epochs=1, batch_size=8, micro_batch=8)
    recovered = finetune(small, DATA, config, objective=made).model
    before = dict(small.named_parameters())
    for name, value in recovered.named_parameters():
        assert value.numel() == 0 or not torch.equal(value, before[name]), name


@pytest.mark.parametrize("objective", [Distillation, LayerMatching])
def test_the_original_goes_where_the_batches_are(objective):
    made = objective(tiny_model(2))
    assert made(tiny_model(1).to("meta"), BATCH.to("meta")).device.type == "meta"


def test_of_pairs_both_sequences_count_half():
    changes = {"num_tokens": 5, "pairs": True, "num_classes": 2}
    model, teacher = tiny_model(1, **changes), tiny_model(2, **changes)
    tokens = torch.randint(1, 5, (3, 2, 7))
    batch = Batch(tokens, None, torch.tensor([0, 1, 1]))
    # The same sequence twice: a pair is then as far off as one of them.
    twice = Batch(tokens[:, :1].expand(-1, 2, -1), None, batch.labels)
    single = {"num_tokens": 5, "num_classes": 2}
    alone, original = tiny_model(1, **single), tiny_model(2, **single)
    for one, pair in ((alone, model), (original, teacher)):
        weights = {
            name: value for name, value in pair.state_dict().items() if "decoder" not in name
        }
        one.load_state_dict(weights, strict=False)
    errors = [
        float(LayerMatching(original)(alone, Batch(tokens[:, 0], None, batch.labels)))
        - float(CrossEntropy()(alone, Batch(tokens[:, 0], None, batch.labels))),
        float(LayerMatching(teacher)(model, twice)) - float(CrossEntropy()(model, twice)),
    ]
    assert errors[1] == pytest.approx(errors[0], rel=1e-4)


@pytest.mark.parametrize("pairs", [False, True])
def test_of_layers_only_what_lasts_is_matched(pairs):
    changes = {"num_tokens": 9, "bidirectional": True, "pairs": pairs, "num_classes": 2}
    model, teacher = tiny_model(1, **changes), tiny_model(2, **changes)
    shape = (3, 2) if pairs else (3,)
    lengths = torch.randint(5, 21, shape)
    tokens = torch.randint(1, 9, (*shape, 20)) * (torch.arange(20) < lengths[..., None])
    labels, made = torch.tensor([0, 1, 1]), LayerMatching(teacher)
    losses = [
        float(made(model, Batch(functional.pad(tokens, (0, more)), lengths, labels)))
        for more in (0, 44, 492)
    ]
    assert losses == pytest.approx(losses[:1] * 3, rel=1e-5)
    # One at a time, each as long as it is.
    if not pairs:
        alone = [
            float(made(model, Batch(tokens[row : row + 1, :end], None, labels[row : row + 1])))
            for row, end in enumerate(lengths.tolist())
        ]
        assert sum(alone) == pytest.approx(losses[0], rel=1e-5)
