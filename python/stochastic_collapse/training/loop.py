"""The training loop: from settings to a finished run directory, through interruptions."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import __version__
from ..collapse import measure_layers
from ..config import TrainConfig, identity
from ..data.datasets import Dataset, load_dataset
from ..data.loader import BatchLoader, EvaluationBatches
from ..errors import InputError, Interrupted, TrainingDiverged
from ..interruption import stop_signals
from ..models import build_model, layers_of
from ..runs import METRICS, RunDirectory, refuse_foreign
from ..schedule import learning_rate
from ..terminal import steps_bar
from .checkpoint import load_checkpoint, save_checkpoint
from .execution import Execution, resolve, single_threaded_if_small
from .losses import LOSSES
from .step import TrainingStep, evaluate, make_optimizer

Report = Callable[[str], None]
"""Called with one line of news for the user."""


@dataclass(frozen=True)
class TrainResult:
    """A finished run: where it is, how it ended."""

    directory: Path
    steps: int
    seconds: float
    """Time spent training, over all sessions."""
    train_loss: float
    """Mean over the steps since the row of metrics.csv before the last."""
    eval_loss: float
    eval_accuracy: float
    """Between 0 and 1."""
    collapse: pd.DataFrame
    """The last measurement, with the columns of collapse.csv."""
    already_finished: bool
    """Whether the run was finished before this call."""

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.directory}: {self.steps} steps in {self.seconds:.1f} s, "
            f"test accuracy {self.eval_accuracy:.1%}, test loss {self.eval_loss:.4f}"
        )

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "run": str(self.directory),
            "steps": self.steps,
            "seconds": self.seconds,
            "train_loss": self.train_loss,
            "eval_loss": self.eval_loss,
            "eval_accuracy": self.eval_accuracy,
            "already_finished": self.already_finished,
            "collapse": self.collapse.to_dict("records"),
        }


def train(config: TrainConfig, *, out: str | Path | None = None, report: Report | None = None) -> TrainResult:
    """Train one network and return how it ended; the run directory holds the rest (DESIGN §3).

    A finished run is not trained again, an unfinished one continues at its last checkpoint; on one machine's CPU it
    ends bit for bit as an uninterrupted one. `out` is a directory for this run in place of
    ``$SC_RUNS/<name>-<hash>/replicate_<k>``. While training, Ctrl-C and SIGTERM save a checkpoint and raise
    `Interrupted`. Raises `TrainingDiverged` when the loss stops being finite, `InputError` for settings that this
    machine or the data cannot serve, and `RunLocked` where another process trains in the same directory.
    """
    directory = RunDirectory(Path(out)) if out is not None else RunDirectory.of(config)
    report = report or (lambda line: None)
    execution = resolve(config)
    if _is_finished(directory, config, report):
        return _result(directory, already_finished=True)
    dataset = load_dataset(config.data)
    with stop_signals() as stopped, torch.random.fork_rng(devices=execution.cuda_devices):
        # Made before the directory is, so that bad input leaves nothing behind.
        run = Run(config, directory, dataset, execution, report)
        with directory.lock():
            if _is_finished(directory, config, report):  # by another process since we looked
                return _result(directory, already_finished=True)
            if not directory.exists:
                directory.write_config(config)
            run.go(stopped)
    return _result(directory, already_finished=False)


def _is_finished(directory: RunDirectory, config: TrainConfig, report: Report) -> bool:
    """Whether the run in `directory` is finished; raises where it is another run, or one that diverged."""
    if not directory.exists:
        refuse_foreign(directory.path)
        return False
    there = directory.config()
    if (identity(there), there.replicate) != (identity(config), config.replicate):
        raise InputError(
            f"{directory}: holds another run ({there.name}, identity {identity(there)}, replicate {there.replicate}; "
            f"asked for identity {identity(config)}, replicate {config.replicate}); choose another --out"
        )
    status = directory.status()
    if status.get("state") == "diverged":
        raise TrainingDiverged(
            f"{directory}: this run diverged before ({status.get('message')}). "
            "Lower optimizer.lr, or delete the directory to try once more"
        )
    finished = status.get("state") == "finished"
    if finished:
        report(f"{directory}: already finished")
    return finished


def _result(directory: RunDirectory, *, already_finished: bool) -> TrainResult:
    status, last = directory.status(), directory.metrics().iloc[-1]
    collapse = directory.collapse()
    return TrainResult(
        directory=directory.path,
        steps=status["step"],
        seconds=status["seconds"],
        train_loss=float(last["train_loss"]),
        eval_loss=float(last["eval_loss"]),
        eval_accuracy=float(last["eval_accuracy"]),
        collapse=collapse[collapse["step"] == status["step"]].reset_index(drop=True),
        already_finished=already_finished,
    )


class Run:
    """The state of a run while it trains; making it touches nothing on disk."""

    def __init__(
        self, config: TrainConfig, directory: RunDirectory, dataset: Dataset, execution: Execution, report: Report
    ) -> None:
        self.config, self.directory, self.report = config, directory, report
        seeds = np.random.SeedSequence(config.replicate_seed).generate_state(3, np.uint64).tolist()
        torch.manual_seed(seeds[0])
        self.model = build_model(config.model, dataset.image_shape, dataset.num_classes)  # on the CPU: same everywhere
        execution = single_threaded_if_small(execution, config, self.model)
        self.execution = execution
        self.model.to(execution.device, memory_format=execution.memory_format)  # type: ignore[call-overload]
        torch.manual_seed(seeds[1])  # dropout
        self.optimizer = make_optimizer(config.optimizer, self.model, capturable=execution.cuda_graphs)
        self.loader = BatchLoader.of(
            config.data,
            dataset,
            config.batch_size,
            seed=seeds[2],
            device=execution.device,
            memory_format=execution.memory_format,
        )
        self.loss = LOSSES[config.loss]
        self.take_step = TrainingStep(
            cast(nn.Module, torch.compile(self.model)) if execution.compile else self.model,
            self.optimizer,
            self.loss,
            autocast=execution.autocast,
            gradient_clip=config.optimizer.gradient_clip,
            cuda_graph=execution.cuda_graphs,
        )
        self.test = EvaluationBatches(
            dataset, dataset.test, device=execution.device, memory_format=execution.memory_format
        )
        self.layers = layers_of(self.model)
        self.step, self.seconds_before, self.started = 0, 0.0, time.perf_counter()
        self.metrics: list[dict[str, Any]] = []
        self.collapse: list[pd.DataFrame] = []

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.started

    def go(self, stopped: Callable[[], bool]) -> None:
        """Train to the end, or to an interruption."""
        config = self.config
        with self.execution.active():
            self._resume()
            self._write_status("running")
            try:
                with steps_bar() as bar:
                    task = bar.add_task(config.name, total=config.max_steps, completed=self.step, report="")
                    first, began = self.step, time.perf_counter()
                    if self.step == 0 and config.collapse.every and not self.collapse:
                        self._measure()
                    while self.step < config.max_steps and not stopped():
                        self.take_step(self.loader.next(), self._lr(self.step))
                        self.step += 1
                        if self._due(config.log_every) or self._due(config.eval_every):
                            self._log()
                            rate = (self.step - first) / (time.perf_counter() - began)
                            bar.update(task, completed=self.step, report=_news(self.metrics, rate))
                        if self._due(config.collapse.every):
                            self._measure()
                        if self._due(config.checkpoint_every):
                            self._save()
                if self.step < config.max_steps:
                    self._interrupted()
            except (TrainingDiverged, Interrupted):
                raise
            except KeyboardInterrupt:  # the second Ctrl-C: no time for a checkpoint
                self._write_status("interrupted")
                raise
            except Exception as error:
                self._write_status("failed", message=f"{type(error).__name__}: {error}")
                raise
            self._write_status("finished")

    # --- what happens at some steps ---

    def _due(self, every: int) -> bool:
        return self.step == self.config.max_steps or (every > 0 and self.step % every == 0)

    def _lr(self, step: int) -> float:
        return learning_rate(self.config.schedule, self.config.optimizer.lr, step, self.config.max_steps)

    def _log(self) -> None:
        """Append a row to the metrics; the only place where the loop waits for the device."""
        since = self.metrics[-1]["step"] if self.metrics else 0
        loss = self.take_step.loss_sum.item() / (self.step - since)
        if not math.isfinite(loss):
            self._diverged(f"the training loss became {loss} between steps {since} and {self.step}")
        self.take_step.loss_sum.zero_()
        row: dict[str, Any] = {
            "step": self.step,
            "epoch": self.step / self.loader.steps_per_epoch,
            "lr": self._lr(self.step - 1),
            "train_loss": loss,
            "eval_loss": None,
            "eval_accuracy": None,
        }
        if self._due(self.config.eval_every):
            row["eval_loss"], row["eval_accuracy"] = evaluate(self.model, self.test, self.loss, self.execution.autocast)
        self.metrics.append(row)
        if self._due(self.config.eval_every):  # for those who watch the run
            self._write_tables()
            self._write_status("running")

    def _measure(self) -> None:
        self._check_finite()
        self.collapse.append(measure_layers(dict(self.model.named_parameters()), self.layers, self.step))

    def _save(self) -> None:
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
            loss_sum=self.take_step.loss_sum,
            lr=self._lr(max(0, self.step - 1)),
        )
        self._write_status("running")

    def _resume(self) -> None:
        """Continue at the last checkpoint, if there is one."""
        checkpoints = self.directory.checkpoints()
        if not checkpoints:
            return
        step, path = max(checkpoints.items())
        content = load_checkpoint(
            path, model=self.model, optimizer=self.optimizer, loader=self.loader, loss_sum=self.take_step.loss_sum
        )
        self.step, self.seconds_before = step, content["seconds"]
        # Rows written after the checkpoint will be written again.
        metrics = self.directory.metrics()
        self.metrics = metrics[metrics["step"] <= step].to_dict("records")
        collapse = self.directory.collapse()
        self.collapse = [collapse[collapse["step"] <= step]]
        self.report(f"{self.directory}: continues at step {step} of {self.config.max_steps}")

    def _write_tables(self) -> None:
        self.directory.write_metrics(pd.DataFrame(self.metrics, columns=list(METRICS)))
        if self.collapse:
            self.directory.write_collapse(pd.concat(self.collapse, ignore_index=True))

    def _write_status(self, state: Any, **details: Any) -> None:
        versions = {"stochastic_collapse": __version__, "torch": torch.__version__, "python": platform.python_version()}
        execution = self.execution.describe()
        self.directory.write_status(state, self.step, self.seconds, **details, versions=versions, execution=execution)

    def _interrupted(self) -> None:
        self._save()
        self._write_status("interrupted")
        raise Interrupted(
            f"{self.directory}: interrupted at step {self.step} of {self.config.max_steps} and saved; "
            "the same command continues"
        )

    def _check_finite(self) -> None:
        """Stop here, before weights that are not finite reach a checkpoint or a measurement."""
        if not (self.take_step.loss_sum.isfinite() and all(p.isfinite().all() for p in self.model.parameters())):
            self._diverged(f"the weights stopped being finite at or before step {self.step}")

    def _diverged(self, what: str) -> None:
        self._write_tables()
        self._write_status("diverged", message=what)
        last = max(self.directory.checkpoints(), default=None)
        kept = f"the checkpoint of step {last} is kept" if last is not None else "no checkpoint had been written"
        raise TrainingDiverged(f"{self.directory}: diverged: {what}; {kept}. Try a lower optimizer.lr")


def _news(metrics: list[dict[str, Any]], rate: float) -> str:
    """What the progress bar says."""
    accuracy = next((f"acc {row['eval_accuracy']:.1%} " for row in reversed(metrics) if _evaluated(row)), "")
    return f"loss {metrics[-1]['train_loss']:.4f} {accuracy}{rate:.0f} steps/s"


def _evaluated(row: dict[str, Any]) -> bool:
    return bool(pd.notna(row["eval_accuracy"]))
