"""What originals computed once, in one small file a family.

A case is a flat vector and a line that says what is in it: the state dict, the input, the output
of the linear part and the output.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "vectors"
INPUT, LINEAR, OUTPUT = "<input>", "<linear>", "<output>"


@dataclass(frozen=True)
class Case:
    """One run of an original.

    Attributes
    ----------
    name, kind
        Of the case, and of what was run.
    options
        Arguments of its class.
    state
        Its state dict.
    signal, linear, output
        Its input, what enters its activation, and its output.
    """

    name: str
    kind: str
    options: dict[str, Any]
    state: dict[str, Tensor]
    signal: Tensor
    linear: Tensor
    output: Tensor
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def is_double(self) -> bool:
        return self.signal.dtype == torch.float64


def save(family: str, cases: list[Case]) -> None:
    arrays: dict[str, np.ndarray] = {}
    index: list[dict[str, Any]] = []
    for number, case in enumerate(cases):
        tensors = {**case.state, INPUT: case.signal, LINEAR: case.linear, OUTPUT: case.output}
        dtype = torch.float64 if case.is_double else torch.float32
        flat = torch.cat([tensor.detach().to(dtype).flatten() for tensor in tensors.values()])
        arrays[str(number)] = flat.numpy()
        shapes = [[name, list(tensor.shape)] for name, tensor in tensors.items()]
        index.append(
            {
                "name": case.name,
                "kind": case.kind,
                "options": case.options,
                "shapes": shapes,
                "extra": case.extra,
            }
        )
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / f"{family}.npz", index=np.array(json.dumps(index)), **arrays)  # type: ignore[arg-type]


def load(family: str) -> list[Case]:
    cases: list[Case] = []
    with np.load(FOLDER / f"{family}.npz") as file:
        for number, entry in enumerate(json.loads(str(file["index"]))):
            flat, place = torch.from_numpy(file[str(number)]), 0
            tensors: dict[str, Tensor] = {}
            for name, shape in entry["shapes"]:
                size = int(np.prod(shape))
                tensors[name] = flat[place : place + size].reshape(shape).clone()
                place += size
            signal, linear, output = (tensors.pop(name) for name in (INPUT, LINEAR, OUTPUT))
            cases.append(
                Case(
                    entry["name"],
                    entry["kind"],
                    entry["options"],
                    tensors,
                    signal,
                    linear,
                    output,
                    entry["extra"],
                )
            )
    return cases
