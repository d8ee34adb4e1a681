"""The attractivity of a run's invariant sets, under the run's own training (`sc analyze --attractivity`)."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from ..collapse import Steps, attractivity, chosen_checkpoints
from ..config import SGDSettings
from ..data.datasets import load_dataset
from ..data.examples import Examples
from ..data.loader import Batch, BatchLoader
from ..errors import InputError
from ..models import build_model
from ..models.calling import predictions
from ..provenance import require_same_data, require_same_model
from ..runs import RunDirectory
from ..terminal import work_bar
from .checkpoint import read_checkpoint
from .execution import resolve
from .losses import LOSSES
from .objective import batch_in_rows, in_rows

# Directions visited for the leading one: of the digits networks, drift-ruled ones, it has settled after 20.
_DIRECTIONS = 50


def check_probe(run: RunDirectory) -> tuple[SGDSettings, int]:
    """Optimizer and batch size of `run`, if theory covers its training; else raises what `probe_run` would, at once."""
    config = run.config()
    if not isinstance(config.optimizer, SGDSettings):
        raise InputError(f"{run}: attractivity is a theory of SGD, and this run's optimizer is {config.optimizer.name}")
    if config.gradient_noise == "none":
        raise InputError(f"{run}: this run has no gradient noise that its neurons could be drawn by")
    if config.gradient_noise == "isotropic" or config.batch_size == "full":
        kind = "isotropic" if config.gradient_noise == "isotropic" else "that of full batches"
        raise InputError(
            f"{run}: attractivity is a theory of the noise of sampled batches, and this run's is {kind}; "
            "probe its twin with a batch size and gradient_noise: sampled"
        )
    if config.loss not in LOSSES:
        raise InputError(
            f"{run}: attractivity compares outputs with targets by {', '.join(LOSSES)}, and this run's loss is "
            f"{config.loss}"
        )
    return config.optimizer, config.batch_size


def probe_run(run: RunDirectory, steps: Steps = "last", *, neurons: int = 8, examples: int = 512) -> pd.DataFrame:
    """Predict whether SGD draws neurons of a run to vanish or to merge; see `collapse.attractivity`.

    Of each layer the `neurons` nearest to vanishing and as many of the nearest pairs are examined, at the checkpoints
    of `steps`. Loss, batch size, momentum and weight decay are the run's, the learning rate is that of the
    checkpoint's step; `examples` training examples, at most all, are drawn with the run's augmentation and noise. The
    rows are returned, and those of each checkpoint, as soon as it is measured, added to the run's attractivity.csv,
    where they replace those of the same step.

    Raises `InputError` where there is no such checkpoint, for another optimizer than SGD, for other gradient noise than
    that of batches drawn from the training set (for a full batch's see `collapse.attractivity`), at a step where the
    learning rate is 0, and as `attractivity` does; `RunLocked` while the run is training.
    """
    config = run.config()
    optimizer, batch_size = check_probe(run)
    if neurons < 1:
        raise InputError(f"neurons: expected 1 or more, found {neurons}")
    if examples < 2:
        raise InputError(f"examples: expected 2 or more, found {examples}")
    execution = resolve(config)
    require_same_data(config)
    dataset = load_dataset(config.data)
    count = min(examples, len(dataset.train))
    drawn_from = Examples.of(config.data, dataset, device=execution.device)
    batch = BatchLoader(drawn_from, count, seed=config.replicate_seed).next()
    if not isinstance(batch.inputs, Tensor):
        raise InputError(f"{run}: attractivity is of networks that get one input, and this one gets several by name")
    require_same_model(config)
    with torch.random.fork_rng(devices=[]):
        model = build_model(config.model, dataset.task).to(execution.device)

    def loss(outputs: Tensor, targets: Tensor, *target_noise: Tensor) -> Tensor:
        # The losses read no inputs.
        batch = Batch(outputs, targets, *(target_noise or (None,)))
        return LOSSES[config.loss](in_rows(predictions(outputs), dataset.task), batch_in_rows(batch, dataset.task))

    tables = []
    with run.lock(), execution.active(), work_bar() as bar:
        for step, path in chosen_checkpoints(run, steps).items():
            checkpoint = read_checkpoint(path)
            lr = checkpoint["schedule"]["lr"]
            if not lr > 0:
                others = ", ".join(str(other) for other in run.checkpoints() if other != step) or "none"
                raise InputError(
                    f"{run}: at step {step} the learning rate is {lr:g}, and theory is of one above 0; name other "
                    f"checkpoints with --steps (there are {others})"
                )
            model.load_state_dict(checkpoint["model"])
            bar.add_task(f"step {step}", total=1.0, report="")
            table = attractivity(
                model,
                batch.inputs,
                [part for part in batch[1:] if part is not None],
                lr=lr,
                batch_size=batch_size,
                momentum=optimizer.momentum,
                weight_decay=optimizer.weight_decay,
                loss=loss,
                neurons=neurons,
                pairs=neurons,
                steps=_DIRECTIONS,
                progress=lambda done, total: bar.update(bar.task_ids[-1], completed=done / total),
            )
            table.insert(0, "step", step)
            _add(run, table, step)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _add(run: RunDirectory, rows: pd.DataFrame, step: int) -> None:
    before = run.attractivity()
    parts = [part for part in (before[before["step"] != step], rows) if len(part)]
    if parts:
        run.write_attractivity(pd.concat(parts).sort_values("step", kind="stable"))
