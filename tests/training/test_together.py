"""What several processes agree on, in one that plays the others."""

from types import SimpleNamespace

import pytest
import torch

from hydropress.training.together import Together


class Strategy:
    """Of a device whose collectives take its own tensors only, as NCCL's do."""

    root_device = torch.device("meta")

    def __init__(self, result: float) -> None:
        self._result = result

    def reduce(self, tensor: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert tensor.device == self.root_device
        assert reduce_op == "mean"
        return torch.tensor(self._result)


def together(result: float) -> Together:
    return Together(SimpleNamespace(strategy=Strategy(result), world_size=4, is_global_zero=True))


def test_what_is_reduced_is_on_the_device_of_the_processes():
    assert together(2.5).mean(1.0) == 2.5


@pytest.mark.parametrize(("share", "expected"), [(0.0, False), (0.25, True), (1.0, True)])
def test_one_of_them_is_any(share, expected):
    assert together(share).any(False) is expected


def test_one_process_talks_to_nobody():
    alone = Together(SimpleNamespace(strategy=None, world_size=1, is_global_zero=True))
    assert (alone.mean(0.1), alone.any(True), alone.of_the_first("a")) == (0.1, True, "a")
