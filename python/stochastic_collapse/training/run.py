"""One training run while it trains: its network, its data, its tables, and what it does at some steps."""

from __future__ import annotations

import hashlib
import math
import platform
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import __version__
from ..collapse import measure_layers
from ..config import TrainConfig
from ..data.dataset import Dataset
from ..data.examples import Examples
from ..data.loader import EvaluationBatches
from ..errors import TrainingDiverged
from ..models import build_model, library_versions
from ..networks import layers_of
from ..runs import METRICS, RunDirectory
from ..schedule import learning_rate
from ..scores import scores_in_words
from .checkpoint import load_checkpoint, save_checkpoint
from .evaluation import evaluate
from .execution import Execution, suited_to
from .inputs import stream_of
from .objective import objective_of
from .origin import load_origin
from .step import TrainingStep, make_optimizer

Report = Callable[[str], None]
"""Called with one line of news for the user."""

# Between two writings of the tables and of status.json while a run trains, for those who watch it.
_NEWS_SECONDS = 2.0


class Run:
    """The state of a run while it trains; making it touches nothing on disk."""

    def __init__(
        self, config: TrainConfig, directory: RunDirectory, dataset: Dataset, execution: Execution, report: Report
    ) -> None:
        self.config, self.directory, self.report = config, directory, report
        seeds = np.random.SeedSequence(_entropy(config)).generate_state(5, np.uint64).tolist()
        torch.manual_seed(seeds[0])
        self.task = dataset.task
        self.model = build_model(config.model, self.task)  # on the CPU: the same everywhere
        self.layers, self.untraced = layers_of(self.model, config, self.task)
        if not directory.checkpoints():  # else the run has weights of its own
            load_origin(config, self.model, report)
        execution = suited_to(
            self.model, execution, config, examples=len(dataset.train), has_images=self.task.has_images
        )
        self.execution = execution
        self.model.to(execution.device, memory_format=execution.memory_format)  # type: ignore[call-overload]
        torch.manual_seed(seeds[1])  # dropout
        self.optimizer = make_optimizer(config.optimizer, self.model, capturable=execution.cuda_graphs)
        examples = Examples.of(config.data, dataset, device=execution.device, memory_format=execution.memory_format)
        parameters = sum(p.numel() for p in self.model.parameters())
        self.loader = stream_of(config, examples, seeds[2:], parameters)
        self.objective = objective_of(config, dataset, self.model)
        self.loss_sum = torch.zeros((), device=execution.device)
        """Of the training losses since the last row of the metrics."""
        self._take_step = TrainingStep(
            cast(nn.Module, torch.compile(self.model)) if execution.compile else self.model,
            self.optimizer,
            self.objective,
            autocast=execution.autocast,
            gradient_clip=config.optimizer.gradient_clip,
            cuda_graph=execution.cuda_graphs,
            loss_sum=self.loss_sum,
            micro_batch=config.micro_batch,
        )
        self.test = EvaluationBatches(
            dataset,
            dataset.test,
            device=execution.device,
            batch_size=execution.evaluation_batch,
            memory_format=execution.memory_format,
        )
        self.step, self.seconds_before, self.started = 0, 0.0, time.perf_counter()
        self.news_seconds = _NEWS_SECONDS
        self._news_due, self._evaluated = 0.0, False  # on the clock of time.perf_counter; since the tables were written
        self.metrics: list[dict[str, Any]] = []
        self.collapse: list[pd.DataFrame] = []

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.started

    def take_step(self, lr: float) -> None:
        """One optimization step, without waiting for the device; `step` is the loop's to count."""
        self._take_step(self.loader.next(), lr)

    def lr(self, step: int) -> float:
        """Learning rate of optimization step `step`, counted from 0."""
        return learning_rate(self.config.schedule, self.config.optimizer.lr, step, self.config.max_steps)

    def due(self, every: int) -> bool:
        """Whether what is done every so many steps, and at the end, is due now."""
        return self.step == self.config.max_steps or (every > 0 and self.step % every == 0)

    def next_due(self, step: int) -> int:
        """The first step after `step` at which something is due."""
        config = self.config
        periods = (config.log_every, config.eval_every, config.collapse.every, config.checkpoint_every)
        return min(config.max_steps, *((step // every + 1) * every for every in periods if every > 0))

    def news(self) -> str:
        """What the progress bar says."""
        scores = (f"{scores_in_words(row)} " for row in reversed(self.metrics) if _evaluated(row))
        return f"loss {self.metrics[-1]['train_loss']:.4f} {next(scores, '')}" if self.metrics else ""

    # --- what happens at some steps ---

    def begin(self) -> None:
        """What is done before the first step of this session."""
        self.started = time.perf_counter()
        self.write_status("running")
        if self.untraced is not None:
            self.report(f"{self.directory}: trains, but its collapse cannot be measured: {self.untraced}")
        if self.step == 0 and self.config.collapse.every and not self.collapse:
            self._measure()

    def after_step(self) -> None:
        """Log, measure and save where it is due."""
        config = self.config
        if self.due(config.log_every) or self.due(config.eval_every):
            self._log()
        if self.due(config.collapse.every):
            self._measure()
        if self.due(config.checkpoint_every):
            self.save()

    def _log(self) -> None:
        """Append a row to the metrics; the only place where the loop waits for the device."""
        since = self.metrics[-1]["step"] if self.metrics else 0
        loss = self.loss_sum.item() / (self.step - since)
        if not math.isfinite(loss):
            self._diverged(f"the training loss became {loss} between steps {since} and {self.step}")
        self.loss_sum.zero_()
        row: dict[str, Any] = {
            "step": self.step,
            "epoch": self.step / self.loader.steps_per_epoch,
            "lr": self.lr(self.step - 1),
            "train_loss": loss,
            "eval_loss": None,
            **dict.fromkeys(self.task.figures),
        }
        if self.due(self.config.eval_every):
            row |= evaluate(self.model, self.test, self.objective, self.execution.autocast)
            self._evaluated = True
        self.metrics.append(row)
        if time.perf_counter() > self._news_due:
            if self._evaluated:
                self._write_tables()
            self.write_status("running")

    def _measure(self) -> None:
        self._check_finite()
        if self.untraced is not None:
            return
        self.collapse.append(measure_layers(dict(self.model.named_parameters()), self.layers, self.step))

    def save(self) -> None:
        """Tables first, then the checkpoint, so that on disk a checkpoint's tables are never behind it."""
        self._check_finite()
        self._write_tables()
        save_checkpoint(
            self.directory.checkpoint(self.step),
            step=self.step,
            seconds=self.seconds,
            model=self.model,
            optimizer=self.optimizer,
            loader=self.loader,
            loss_sum=self.loss_sum,
            lr=self.lr(max(0, self.step - 1)),
        )
        self.write_status("running")

    def resume(self) -> None:
        """Continue at the last checkpoint, if there is one."""
        checkpoints = self.directory.checkpoints()
        if not checkpoints:
            return
        step, path = max(checkpoints.items())
        content = load_checkpoint(
            path, model=self.model, optimizer=self.optimizer, loader=self.loader, loss_sum=self.loss_sum
        )
        self.step, self.seconds_before = step, content["seconds"]
        # Rows written after the checkpoint will be written again.
        metrics = self.directory.metrics()
        self.metrics = metrics[metrics["step"] <= step].to_dict("records")
        collapse = self.directory.collapse()
        self.collapse = [collapse[collapse["step"] <= step]]
        self.report(f"{self.directory}: continues at step {step} of {self.config.max_steps}")

    def _write_tables(self) -> None:
        self.directory.write_metrics(pd.DataFrame(self.metrics, columns=[*METRICS, *self.task.figures]))
        if self.collapse:
            self.directory.write_collapse(pd.concat(self.collapse, ignore_index=True))
        self._evaluated = False

    def write_status(self, state: Any, **details: Any) -> None:
        versions = {
            "stochastic_collapse": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            **library_versions(self.config.model.name),
        }
        execution = self.execution.describe()
        loss = self.metrics[-1]["train_loss"] if self.metrics else None
        self.directory.write_status(
            state, self.step, self.seconds, **details, train_loss=loss, versions=versions, execution=execution
        )
        self._news_due = time.perf_counter() + self.news_seconds

    def _check_finite(self) -> None:
        """Stop here, before weights that are not finite reach a checkpoint or a measurement."""
        if not (self.loss_sum.isfinite() and all(p.isfinite().all() for p in self.model.parameters())):
            self._diverged(f"the weights stopped being finite at or before step {self.step}")

    def _diverged(self, what: str) -> None:
        self._write_tables()
        self.write_status("diverged", message=what)
        last = max(self.directory.checkpoints(), default=None)
        kept = f"the checkpoint of step {last} is kept" if last is not None else "no checkpoint had been written"
        raise TrainingDiverged(f"{self.directory}: diverged: {what}; {kept}. Try a lower optimizer.lr")


def _evaluated(row: dict[str, Any]) -> bool:
    return bool(pd.notna(row["eval_loss"]))


def _entropy(config: TrainConfig) -> list[int]:
    """What the run's randomness comes from; fine-tuning must not see its origin's batches again in the same order."""
    if config.model.weights is not None:
        start = f"{config.sources['model.weights']} {config.model.state}"
    elif config.origin is not None:
        start = f"{config.origin.identity} {config.origin.step}"
    else:
        return [config.replicate_seed]
    origin = hashlib.sha256(start.encode()).digest()
    return [config.replicate_seed, int.from_bytes(origin[:8], "big")]
