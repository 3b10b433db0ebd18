"""Early stopping: when it ends, what it keeps, and after a kill the same."""

import pytest
import torch

from hydropress.errors import InvalidArgumentError
from hydropress.training.config import TrainingConfig
from hydropress.training.loop import fit
from hydropress.training.recipes import Recipe
from hydropress.training.train import finetune, train_recipe
from tiny import CONFIG, tiny_images, tiny_model, write_idx_folder

DATA = tiny_images(40)
# Two steps an epoch; of six epochs the third is the best.
SCORES = (0.2, 0.3, 0.5, 0.4, 0.5, 0.9)


def config(patience: int | None) -> TrainingConfig:
    return TrainingConfig(
        epochs=6, batch_size=16, micro_batch=16, learning_rate=0.02, patience=patience
    )


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


class Scored:
    """Accuracies as if measured, and the weights at the end of each epoch."""

    def __init__(self, model) -> None:
        self.model, self.seen = model, {}

    def __call__(self, epoch: int) -> dict[str, float]:
        self.seen[epoch] = weights(self.model)
        return {"accuracy": SCORES[epoch - 1]}


@pytest.mark.parametrize(("patience", "epochs", "best"), [(1, 4, 3), (2, 5, 3), (3, 6, 6)])
def test_it_ends_when_patience_does_and_keeps_the_best(patience, epochs, best):
    model = tiny_model()
    scored = Scored(model)
    history = fit(model, DATA, config(patience), on_epoch=scored)
    assert history[-1]["step"] == 2 * epochs
    assert same(scored.seen[best], weights(model))
    assert not same(scored.seen[epochs - 1], scored.seen[epochs])


def test_without_patience_the_last_weights_are_kept():
    model = tiny_model()
    scored = Scored(model)
    fit(model, DATA, config(None), on_epoch=scored)
    assert same(scored.seen[6], weights(model))


@pytest.mark.parametrize("stop_after", [3, 7, 9])
def test_stopped_and_resumed_it_ends_the_same(tmp_path, stop_after):
    straight = tiny_model()
    fit(straight, DATA, config(2), on_epoch=Scored(straight))
    asked = []

    def stop():
        asked.append(None)
        return len(asked) == stop_after

    first = tiny_model()
    with pytest.raises(KeyboardInterrupt):
        fit(first, DATA, config(2), folder=tmp_path, on_epoch=Scored(first), stop=stop)
    second = tiny_model()
    fit(second, DATA, config(2), folder=tmp_path, on_epoch=Scored(second))
    assert same(weights(straight), weights(second))
    # Over is over.
    third, steps = tiny_model(seed=3), []
    fit(third, DATA, config(2), folder=tmp_path, progress=lambda *step: steps.append(step))
    assert steps == []
    assert same(weights(straight), weights(third))


def test_test_data_do_not_decide(tmp_path):
    with pytest.raises(InvalidArgumentError, match="validation"):
        fit(tiny_model(), DATA, config(1), on_epoch=lambda _: {"test_accuracy": 0.5})
    folder = write_idx_folder(tmp_path / "data")
    recipe = Recipe("tiny", model=CONFIG, training=config(1))
    with pytest.raises(InvalidArgumentError, match="no validation split"):
        train_recipe(recipe, tmp_path / "out", folder)
    assert not (tmp_path / "out").exists()


def test_patience_without_a_measure_is_refused_at_once(tmp_path):
    steps = []
    with pytest.raises(InvalidArgumentError, match=r"patience=1 .*validation"):
        finetune(tiny_model(), DATA, config(1), test=DATA, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InvalidArgumentError, match=r"patience=1 .*validation"):
        fit(tiny_model(), DATA, config(1), progress=lambda *step: steps.append(step))
    assert steps == []
