"""Record what the LRU of forgi86/lru-reduction computes: python lru_reduction.py CLONE OUT.npz.

CLONE is a checkout of the repository; it needs JAX for the pytrees that its scan flattens.
"""

# pyright: reportMissingImports=false

import sys
from pathlib import Path

import numpy as np
import torch

CHANNELS, STATES, LENGTH = 3, 6, 40


def main() -> None:
    clone, out = sys.argv[1:]
    sys.path.insert(0, clone)
    from lru.architectures import DLRU, DLRUConfig
    from lru.linear import LRU

    torch.manual_seed(0)
    layer = LRU(CHANNELS, CHANNELS, STATES, rmin=0.5, rmax=0.99)
    signal = torch.randn(2, LENGTH, CHANNELS)
    state = torch.randn(STATES, dtype=torch.complex64)
    arrays = {f"layer/{name}": value for name, value in layer.state_dict().items()}
    arrays["signal"], arrays["state"] = signal, state
    with torch.no_grad():
        arrays["scan"], arrays["loop"] = layer(signal), layer(signal, mode="loop")
        arrays["from_state"] = layer(signal, state=state)
    model = DLRU(1, 1, DLRUConfig(d_model=CHANNELS, d_state=STATES, n_layers=2))
    arrays |= {f"model/{name}": value for name, value in model.state_dict().items()}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, **{name: value.numpy() for name, value in arrays.items()})


if __name__ == "__main__":
    main()
