"""How large a benchmark of the reduction engine is."""

from dataclasses import asdict, dataclass
from typing import Any

GROUPS = ("s4d", "large", "trained", "mimo", "metrics", "wide", "pymor")


@dataclass(frozen=True)
class ReduceConfig:
    """Sizes of ``hydropress bench reduce``; the defaults are those of a full run.

    Attributes
    ----------
    seed
        Determines banks, layers and random starts.
    groups
        Which systems are compared.
    orders
        To which banks and layers are reduced; those above half of the states are left out.
    channels
        Of each bank in the comparison.
    large_channels, large_orders
        Of the banks that ``h2`` does not compare with BT and IRKA in the end, above
        :data:`~hydropress.reduction.h2.FEW` channels, and to which even orders they are reduced.
    metric_channels
        Of the banks in other metrics, at odd orders and in both directions.
    odd_orders
        Orders of the cases of order zero and of one more real pole.
    horizon
        Samples that count in the cases of a finite horizon.
    pymor_channels
        Of each continuous bank, that pyMOR's methods reduce too.
    mimo_states
        Real states of the MIMO layers.
    mimo_width
        Their inputs and outputs.
    wide_states, wide_width, wide_order
        Of the large MIMO layer.
    largest_example
        States up to which pyMOR's examples take part.
    exhaustive_channels
        On which order 2 is searched exhaustively.
    restart_channels, restarts, restart_orders
        Random restarts of the descent: on how many channels, how many each, to which orders.
    speed_channels
        Channels of the bank whose reduction is timed.
    irka_channels, path_channels
        Channels that pyMOR's IRKA and the whole path get; their times are scaled.  Two parts of a
        bank or more, so that all threads have work.
    path_order
        Largest order of the path.
    growth_channels, growth_states
        Sizes between which the growth of the time is fitted.
    growth_bank
        Channels of the banks of growing state size.
    memory_channels
        Of the banks whose reduction in a process of its own has its peak measured: the first to
        every timed order, those that follow to order 2.
    allocation_model, allocation_samples, allocation_orders, allocation_images
        Global against uniform allocation: a shipped model or ``untrained``, a small one that takes
        seconds; calibration sequences, average orders and test images.
    rounds
        Of each timing the least of so many counts.
    """

    seed: int = 0
    groups: tuple[str, ...] = GROUPS
    orders: tuple[int, ...] = (2, 4, 8, 16, 32)
    channels: int = 32
    large_channels: int = 128
    large_orders: tuple[int, ...] = (2, 4, 8, 16)
    metric_channels: int = 8
    odd_orders: tuple[int, ...] = (0, 1, 3, 7)
    horizon: int = 256
    pymor_channels: int = 2
    mimo_states: tuple[int, ...] = (32, 64)
    mimo_width: int = 8
    wide_states: int = 512
    wide_width: int = 512
    wide_order: int = 8
    largest_example: int = 2000
    exhaustive_channels: int = 2048
    restart_channels: int = 256
    restarts: int = 100
    restart_orders: tuple[int, ...] = (4, 8)
    speed_channels: int = 3072
    irka_channels: int = 64
    path_channels: int = 256
    path_order: int = 32
    growth_channels: tuple[int, ...] = (256, 512, 1024, 2048, 3072)
    growth_states: tuple[int, ...] = (16, 32, 64, 128)
    growth_bank: int = 512
    memory_channels: tuple[int, ...] = (3072, 12_288)
    allocation_model: str = "s4d-fashion-mnist"
    allocation_samples: int = 128
    allocation_orders: tuple[int, ...] = (16, 8, 4, 2)
    allocation_images: int = 2000
    rounds: int = 2

    @staticmethod
    def full(seed: int = 0, *, every_channel: bool = False) -> "ReduceConfig":
        """Return the full run; with ``every_channel`` nothing is scaled from a sample."""
        config = ReduceConfig(seed=seed)
        if not every_channel:
            return config
        return ReduceConfig(
            seed=seed, irka_channels=config.speed_channels, path_channels=config.speed_channels
        )

    @staticmethod
    def quick(seed: int = 0) -> "ReduceConfig":
        """Return a run of a few minutes: every part but the large MIMO layer, on few systems."""
        return ReduceConfig(
            seed=seed,
            groups=tuple(group for group in GROUPS if group != "wide"),
            orders=(2, 8),
            channels=2,
            large_channels=66,
            large_orders=(2, 4),
            metric_channels=1,
            odd_orders=(0, 1, 3),
            pymor_channels=1,
            mimo_states=(32,),
            mimo_width=4,
            largest_example=200,
            exhaustive_channels=32,
            restart_channels=8,
            restarts=20,
            speed_channels=128,
            irka_channels=4,
            path_channels=4,
            growth_channels=(32, 64, 128),
            growth_states=(16, 32, 64),
            growth_bank=32,
            memory_channels=(128,),
            allocation_model="untrained",
            allocation_samples=8,
            allocation_orders=(4, 2),
            allocation_images=200,
            rounds=1,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
