"""Train the models of digits that the tests compress.

    PYTHONPATH=tests python -m digits.train [family ...]

writes tests/digits/weights/<family>.safetensors, at most 200 kB each.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from digits.data import digits, right
from digits.families import FAMILIES
from hydropress.training.loop import SSM_DYNAMICS

WEIGHTS = Path(__file__).parent / "weights"
EPOCHS, BATCH, RATE, SSM_RATE = 40, 50, 1e-2, 1e-3
OF_OTHERS = (
    "log_dt", "inv_dt", "log_A_real", "A_real", "A_imag", "inv_A_real", "A", "Lambda",
    "Lambda_log_neg_re", "Lambda_im", "Lambda_re", "A_re", "A_im", "log_step",
    "nu_log", "theta_log", "gamma_log",
)  # fmt: skip
"""Names that other packages have for what moves poles."""


def keep_stable(model: nn.Module) -> None:
    """Do what S5 has ``clip_eigs`` for: its poles are free to leave the left half plane."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith((".Lambda_re", ".Lambda")):
                (parameter.real if parameter.is_complex() else parameter).clamp_(max=-1e-2)


def train(model: nn.Module) -> None:
    """Train a model in place."""
    (sequences, labels), _ = digits()
    slow = {*SSM_DYNAMICS, *OF_OTHERS}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[name.rpartition(".")[2] in slow].append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": groups[False], "weight_decay": 0.01},
            {"params": groups[True], "lr": SSM_RATE, "weight_decay": 0.0},
        ],
        lr=RATE,
    )
    passes = EPOCHS * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [RATE, SSM_RATE], passes)
    model.train()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(labels)).split(BATCH):
            loss = nn.functional.cross_entropy(model(sequences[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            keep_stable(model)


def main(families: Iterable[str]) -> None:
    """Train, and say how well."""
    _, test = digits()
    for family in families or FAMILIES:
        torch.manual_seed(0)
        model = FAMILIES[family]()
        train(model)
        path = WEIGHTS / f"{family}.safetensors"
        save_file({name: one.contiguous() for name, one in model.state_dict().items()}, path)
        print(f"{family}: {100 * right(model, *test):.2f} %, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
