"""Every test starts from the same random state."""

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "hydropress",
    derandomize=True,  # a test that fails, fails again
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("hydropress")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
