"""Compressing the networks of runs (`sc compress`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import nn

from ..collapse import chosen_checkpoints
from ..compression import Compression, compress
from ..compression.saving import save_compressed
from ..data.dataset import each
from ..data.datasets import load_dataset
from ..data.loader import EvaluationBatches
from ..models import build_model
from ..networks.recipe import Recipe
from ..provenance import require_same_data, require_same_model
from ..runs import RunDirectory
from .checkpoint import read_checkpoint
from .evaluation import evaluate
from .execution import resolve, suited_to
from .objective import objective_of

_EXAMPLES = 100  # of a call whose latency and FLOPs are told, and whose outputs are compared


def compress_run(run: RunDirectory, tolerance: float = 0.1, step: int | None = None) -> Compression:
    """Compress the network of a run's checkpoint (default: the last) and measure it on the run's test set.

    FLOPs, latency and change of outputs are those for up to 100 test examples. The compressed network is written into
    the run directory (`RunDirectory.compressed`; `load_compressed` reads it), and the row of compression.csv for this
    step and tolerance.

    Raises `InputError` where there is no such checkpoint, where the data are missing, and as `compress` does;
    `RunLocked` while the run is training.
    """
    with run.lock():
        return _Compressor(run, step)(tolerance)


def compression_curve(run: RunDirectory, tolerances: Sequence[float]) -> pd.DataFrame:
    """Rows of compression.csv for the last checkpoint of a run at each of `tolerances`, in increasing order.

    What is in compression.csv already is not computed again, and what is not is added to it. Raises as `compress_run`.
    """
    with run.lock():
        (step,) = chosen_checkpoints(run, "last")
        before = run.compression()
        there = set(before.loc[before["step"] == step, "tolerance"])
        if missing := [tolerance for tolerance in tolerances if tolerance not in there]:
            compressor = _Compressor(run, step)
            for tolerance in missing:
                compressor(tolerance, save=False)
        table = run.compression()
    wanted = table[(table["step"] == step) & table["tolerance"].isin(list(tolerances))]
    return wanted.sort_values("tolerance").reset_index(drop=True)


class _Compressor:
    """Compresses the network of one checkpoint."""

    def __init__(self, run: RunDirectory, step: int | None) -> None:
        ((self._step, path),) = chosen_checkpoints(run, "last" if step is None else [step]).items()
        self._run, self._config = run, run.config()
        execution = resolve(self._config)
        require_same_data(self._config)
        dataset = load_dataset(self._config.data)
        self._task = dataset.task
        require_same_model(self._config)
        with torch.random.fork_rng(devices=[]):
            self._model = build_model(self._config.model, self._task)
        self._model.load_state_dict(read_checkpoint(path)["model"])
        self._execution = suited_to(
            self._model, execution, self._config, examples=len(dataset.train), has_images=self._task.has_images
        )
        self._model.to(self._execution.device)
        self._objective = objective_of(self._config, dataset, self._model)
        self._test = EvaluationBatches(
            dataset, dataset.test, device=self._execution.device, batch_size=self._execution.evaluation_batch
        )

    def __call__(self, tolerance: float, save: bool = True) -> Compression:
        inputs = each(next(iter(self._test)).inputs, lambda one: one[:_EXAMPLES])
        with self._execution.active():
            result = compress(self._model, inputs, tolerance, evaluate=self._score)
        result = replace(result, score=self._task.figures[0])
        if save:
            recipe = Recipe.of(self._config, self._task)
            save_compressed(self._run.compressed(self._step, tolerance), recipe, result, self._model)
        before = self._run.compression()
        others = before[(before["step"] != self._step) | (before["tolerance"] != tolerance)]
        row = pd.DataFrame([{"step": self._step, **result.row()}])
        table = pd.concat([part for part in (others, row) if len(part)])
        self._run.write_compression(table.sort_values(["step", "tolerance"], kind="stable"))
        return result

    def _score(self, model: nn.Module) -> float:
        figures = evaluate(model, self._test, self._objective, self._execution.autocast)
        return figures[self._task.figures[0]]
