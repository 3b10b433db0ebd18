"""What a trainer is asked for, and what it refuses."""

import pytest
import torch

from hydropress.training.hardware import Hardware, lightning
from hydropress.training.trainer import make_trainer


@pytest.mark.parametrize(
    ("accelerator", "devices", "gpus", "expected"),
    [
        ("gpu", 2, True, True),
        ("auto", 2, True, True),
        ("auto", 2, False, False),
        ("cpu", 2, True, False),
        ("gpu", 1, True, False),
    ],
)
def test_gpus_share_their_batch_statistics(monkeypatch, accelerator, devices, gpus, expected):
    asked = {}

    class Asked(Exception):
        pass

    def record(**options):
        asked.update(options)
        raise Asked

    monkeypatch.setattr(lightning(), "Trainer", record)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    with pytest.raises(Asked):
        make_trainer(Hardware(accelerator, devices), 1, None, None)
    assert asked["sync_batchnorm"] is expected
