"""Which process is the first, and what hardware cannot do."""

import pytest

from hydropress.errors import InvalidArgumentError
from hydropress.training.config import TrainingConfig
from hydropress.training.hardware import Hardware, is_first_process
from hydropress.training.loop import fit
from tiny import tiny_images, tiny_model

RANKS = ("RANK", "NODE_RANK", "SLURM_PROCID", "LOCAL_RANK")


@pytest.mark.parametrize("name", RANKS)
def test_the_first_process_has_rank_zero_everywhere(monkeypatch, name):
    for each in RANKS:
        monkeypatch.delenv(each, raising=False)
    assert is_first_process()
    monkeypatch.setenv(name, "0")
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    assert not is_first_process()


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        (Hardware("cpu", precision="16-mixed"), "choose 'bf16-mixed'"),
        (Hardware("foo"), r"accelerator='foo', devices=1 .*'auto'"),
        (Hardware("gpu"), r"accelerator='gpu', devices=1 .*'auto'"),
    ],
)
def test_what_a_machine_cannot_do_is_one_line(tmp_path, monkeypatch, hardware, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    config = TrainingConfig(epochs=1, batch_size=16)
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        fit(tiny_model(), tiny_images(16), config, hardware=hardware, folder=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
