"""One run of an experiment: reduce, evaluate, recover, evaluate."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hydropress.bench.lra.config import CALIBRATED, HIPPO, SCRATCH, Run, SweepConfig
from hydropress.bench.lra.originals import Data, Original
from hydropress.compression.model import compress
from hydropress.data.sources import calibration_sequences
from hydropress.evaluation.metrics import (
    accuracy,
    agreement,
    count_parameters,
    count_ssm_parameters,
    count_states,
    predict,
)
from hydropress.evaluation.records import read_json, versions, write_json
from hydropress.models.checkpoint import load, save
from hydropress.models.classifier import SequenceClassifier
from hydropress.training.config import RecoveryConfig, TrainingConfig
from hydropress.training.loop import Progress
from hydropress.training.objectives import CrossEntropy, Distillation, LayerMatching, Objective
from hydropress.training.train import finetune

START, RECORD = "start", "start.json"


def perform(
    run: Run,
    config: SweepConfig,
    original: Original,
    data: Data,
    folder: Path,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Perform a run and return its line.

    Parameters
    ----------
    folder
        Of this configuration: reduced models and checkpoints of the recovery go there, so that a
        run that was killed goes on where it was.
    """
    test = data.test
    start, before = _start(run, config, original, data, folder / "starts" / run.start)
    steps = max(1, round(run.budget * original.steps))
    training = training_of(run, config, steps)
    recovered = finetune(
        start,
        data.train,
        training,
        objective=_objective(run, config, original.model),
        folder=folder / "recoveries" / run.name,
        progress=progress,
        stop=stop,
    ).model
    decisions = predict(recovered, test)
    note = getattr(test, "note", "")
    return {
        "task": config.recipe.data,
        "recipe": config.recipe.name,
        **run.to_dict(),
        **before,
        "recovery": config.recovery if run.method != SCRATCH else "none",
        "accuracy_original": original.accuracy,
        "accuracy_recovered": accuracy(decisions, test.labels),
        "agreement_recovered": agreement(decisions, original.decisions),
        "recovery_steps": steps,
        "training_steps": original.steps,
        "test_sequences": len(test),
        "data": data.digest,
        **({"note": note} if note else {}),
        "config": config.digest(),
        "versions": versions(),
    }


def _start(
    run: Run, config: SweepConfig, original: Original, data: Data, folder: Path
) -> tuple[SequenceClassifier, dict[str, Any]]:
    """Return the model that is recovered and what is known of it; made once for all budgets."""
    if (folder / RECORD).is_file():
        return load(folder / START), read_json(folder / RECORD)
    made: dict[str, Any] = {"calibrated": False, "allocation": "uniform"}
    if run.method == SCRATCH:
        model = _drawn(run, config)
    elif run.method == HIPPO:
        model = redrawn(original.model, run.order, run.seed)
    else:
        compression = compress(
            original.model,
            order=run.order,
            method=run.method,
            calibration=calibration_sequences(data.train, config.calibration, run.seed),
            # Published as uniform; those that have an allocation of their own use it.
            allocation="uniform" if run.method in ("balanced", "modal") else None,
        )
        assert isinstance(compression.model, SequenceClassifier)
        model = compression.model
        made = {
            "calibrated": run.method == CALIBRATED,
            "allocation": compression.plan.allocation,
        }
    decisions = predict(model, data.test)
    record = made | {
        "ratio": count_states(model) / count_states(original.model),
        "ssm_parameters": count_ssm_parameters(model),
        "total_parameters": count_parameters(model),
        "accuracy_compressed": accuracy(decisions, data.test.labels),
        "agreement_compressed": agreement(decisions, original.decisions),
    }
    save(model, folder / START)
    write_json(folder / RECORD, record)
    return model, record


def training_of(run: Run, config: SweepConfig, steps: int) -> TrainingConfig:
    """Return the recovery's settings; those of the recipe for a training from nothing."""
    recipe = config.recipe.training
    if run.method == SCRATCH:
        # No patience: the budget decides when it ends, as for all others.
        return replace(recipe, max_steps=steps, seed=run.seed, patience=None)
    names = ("epochs", "batch_size", "micro_batch", "weight_decay", "pool", "workers")
    return RecoveryConfig(
        **{name: getattr(recipe, name) for name in names},
        learning_rate=config.rate * recipe.learning_rate,
        ssm_learning_rate=config.rate * recipe.ssm_learning_rate,
        seed=run.seed,
        max_steps=steps,
        checkpoint_every=recipe.checkpoint_every,
    )


def _objective(run: Run, config: SweepConfig, original: nn.Module) -> Objective:
    if run.method == SCRATCH or config.recovery == "finetune":
        return CrossEntropy()
    return Distillation(original) if config.recovery == "distill" else LayerMatching(original)


def _drawn(run: Run, config: SweepConfig) -> SequenceClassifier:
    """Return the network of the recipe with a smaller state, untrained."""
    torch.manual_seed(run.seed)
    return SequenceClassifier(replace(config.recipe.model, state_size=run.order))


def redrawn(original: SequenceClassifier, order: int, seed: int) -> SequenceClassifier:
    """Return a copy whose SSMs are drawn afresh at a lower order; all else is kept, D included."""
    torch.manual_seed(seed)
    model = SequenceClassifier(replace(original.config, state_size=order))
    kept = {
        name: value
        for name, value in original.state_dict().items()
        if ".ssm." not in name or name.endswith((".ssm.D", ".ssm.bias"))
    }
    missing = model.load_state_dict(kept, strict=False).missing_keys
    assert all(".ssm." in name for name in missing)
    return model.eval()
