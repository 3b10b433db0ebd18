"""Every test starts from the same random state, and can be interrupted."""

import signal

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


def pytest_configure() -> None:
    # A script starts its background jobs with interrupts ignored, and their children inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
