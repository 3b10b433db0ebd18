"""What a checkpoint brings back."""

import torch

from hydropress.training.checkpoints import restore_checkpoint, save_checkpoint
from hydropress.training.config import TrainingConfig
from hydropress.training.loop import make_optimizer
from tiny import tiny_images, tiny_model


def scaler(init_scale: float) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=init_scale, growth_interval=3)


def steps(model, optimizer, scaler, losses) -> list[float]:
    """Take a step for each factor of the loss and return the scales after them."""
    batch, scales = tiny_images(8).batch(), []
    for factor in losses:
        optimizer.zero_grad()
        scaler.scale(model(batch.inputs).square().mean() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return scales


def test_the_scale_of_half_precision_goes_on(tmp_path):
    model, path = tiny_model(), tmp_path / "checkpoint.safetensors"
    optimizer = make_optimizer(model, TrainingConfig())
    first = scaler(2.0**10)
    # The second overflows, and of the three it takes to grow two are done.
    assert steps(model, optimizer, first, [1, torch.inf, 1, 1]) == [2**10, 2**9, 2**9, 2**9]
    save_checkpoint(path, 4, model, optimizer, first)
    again, second = tiny_model(1), scaler(2.0**16)
    other = make_optimizer(again, TrainingConfig())
    assert restore_checkpoint(path, again, other, second) == 4
    assert steps(again, other, second, [1, 1]) == steps(model, optimizer, first, [1, 1])
    assert second.get_scale() == 2**10


def test_a_checkpoint_without_scale_leaves_the_scaler_as_it_is(tmp_path):
    model, path = tiny_model(), tmp_path / "checkpoint.safetensors"
    optimizer = make_optimizer(model, TrainingConfig())
    save_checkpoint(path, 4, model, optimizer)
    fresh = scaler(2.0**10)
    restore_checkpoint(path, model, optimizer, fresh)
    assert fresh.get_scale() == 2**10
