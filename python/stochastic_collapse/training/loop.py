"""The training loop: from settings to a finished run directory, through interruptions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..config import TrainConfig, identity
from ..data.dataset import Dataset
from ..data.datasets import load_dataset
from ..errors import InputError, Interrupted, RunLocked, StochasticCollapseError, TrainingDiverged
from ..interruption import stop_signals
from ..origin import required
from ..provenance import changed_since, located
from ..runs import RunDirectory, refuse_foreign
from ..scores import SCORES, scores_in_words
from ..terminal import steps_bar
from .execution import resolve
from .run import Report, Run
from .stack import StackedStep


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
    scores: Mapping[str, float]
    """On the test set at the end, by the names of their columns in metrics.csv: `eval_accuracy`, between 0 and 1, of
    classes and tokens, `eval_bits_per_token`, `eval_r2` of real targets."""
    collapse: pd.DataFrame
    """The last measurement, with the columns of collapse.csv."""
    already_finished: bool
    """Whether the run was finished before this call."""

    @property
    def eval_accuracy(self) -> float:
        """Of `scores`, between 0 and 1; not a number where the task has none."""
        return self.scores.get("eval_accuracy", math.nan)

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.directory}: {self.steps} steps in {self.seconds:.1f} s, "
            f"test {scores_in_words(self.scores)}, test loss {self.eval_loss:.4f}"
        )

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "run": str(self.directory),
            "steps": self.steps,
            "seconds": self.seconds,
            "train_loss": self.train_loss,
            "eval_loss": self.eval_loss,
            **self.scores,
            "already_finished": self.already_finished,
            "collapse": self.collapse.to_dict("records"),
        }


def train(config: TrainConfig, *, out: str | Path | None = None, report: Report | None = None) -> TrainResult:
    """Train one network and return how it ended; the run directory holds the rest.

    A finished run is not trained again, an unfinished one continues at its last checkpoint; on one machine's CPU it
    ends bit for bit as an uninterrupted one. `out` is a directory for this run in place of
    ``$SC_RUNS/<name>-<hash>/replicate_<k>``. While training, Ctrl-C and SIGTERM save a checkpoint and raise
    `Interrupted`. Raises `TrainingDiverged` when the loss stops being finite, `InputError` for settings that this
    machine, the data or the origin cannot serve, and `RunLocked` where another process trains in the same directory.
    """
    config = located(config)
    directory = RunDirectory(Path(out)) if out is not None else RunDirectory.of(config)
    [outcome] = _train_all([(config, directory)], report or (lambda line: None))
    if isinstance(outcome, StochasticCollapseError):
        raise outcome
    return outcome


def finetune(config: TrainConfig, *, out: str | Path | None = None, report: Report | None = None) -> TrainResult:
    """Train on from another run's checkpoint or a file of weights, ``from`` in the settings; see `train`.

    Only the weights are taken over: momenta start at zero, the steps at 0. The run is one of its own, and its identity
    includes its origin. Raises `InputError` also where the settings name no origin.
    """
    return train(required(config), out=out, report=report)


def train_replicates(
    config: TrainConfig, replicates: int | Sequence[int], *, report: Report | None = None
) -> list[TrainResult]:
    """Train replicates of one network, these or as many from 0 on, and return how each ended; see `train`.

    Small networks train together as one batched program (`stack`), which leaves each replicate as it is alone but for
    rounding; others one after another. A replicate that fails does not stop the others; the errors are raised when all
    have ended.
    """
    numbers = range(replicates) if isinstance(replicates, int) else replicates
    if not numbers:
        raise InputError(f"{config.name}: no replicate to train, expected 1 or more")
    configs = [located(config.model_copy(update={"replicate": k})) for k in numbers]
    outcomes = _train_all([(c, RunDirectory.of(c)) for c in configs], report or (lambda line: None))
    errors = [outcome for outcome in outcomes if isinstance(outcome, StochasticCollapseError)]
    if errors:
        # That a run is locked is the one error that waiting mends.
        worst = next((error for error in errors if isinstance(error, RunLocked)), errors[0])
        raise type(worst)("\n".join(str(error) for error in errors)) from worst
    return [outcome for outcome in outcomes if isinstance(outcome, TrainResult)]


Outcome = TrainResult | StochasticCollapseError


def _train_all(wanted: Sequence[tuple[TrainConfig, RunDirectory]], report: Report) -> list[Outcome]:
    """Train what is not finished of the replicates of one network, and say how each ended."""
    together = [wanted] if wanted[0][0].stackable else [[one] for one in wanted]
    return [outcome for part in together for outcome in _train_part(part, report)]


def _train_part(wanted: Sequence[tuple[TrainConfig, RunDirectory]], report: Report) -> list[Outcome]:
    """`_train_all` for those whose networks are all made first."""
    execution = resolve(wanted[0][0])
    errors: dict[Path, StochasticCollapseError] = {}
    runs: list[Run] = []
    dataset: Dataset | None = None
    with stop_signals() as stopped, torch.random.fork_rng(devices=execution.cuda_devices), ExitStack() as locks:
        for config, directory in wanted:
            try:
                if not _is_finished(directory, config, report):
                    dataset = dataset or load_dataset(config.data, report=report)
                    # Made before the directory is, so that bad input leaves nothing behind.
                    run = Run(config, directory, dataset, execution, report)
                    locks.enter_context(directory.lock())
                    if not _is_finished(directory, config, report):  # by another process since we looked
                        if not directory.exists:
                            _tell_of_changes(config, directory, report)
                            directory.write_config(config)
                        directory.write_task(dataset.task)
                        run.resume()
                        runs.append(run)
            except StochasticCollapseError as error:
                errors[directory.path] = error
        for group in _groups(runs):
            errors |= _go(group, stopped)
    trained = {run.directory.path for run in runs}
    return [
        errors.get(directory.path) or _result(directory, already_finished=directory.path not in trained)
        for _, directory in wanted
    ]


def _tell_of_changes(config: TrainConfig, directory: RunDirectory, report: Report) -> None:
    """Say so where a run of the same settings is there, and this is another for what its files held."""
    for place in directory.path.parent.parent.glob(f"{config.name}-*"):
        other = RunDirectory(place / directory.path.name)
        if config.sources and other.exists and (changed := changed_since(config, other.config())) is not None:
            report(f"{directory}: another run than {other}, since what it is made from has changed: {changed}")
            return


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that can go together: those at the same step."""
    groups: dict[int, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.step, []).append(run)
    return list(groups.values())


def _go(runs: Sequence[Run], stopped: Callable[[], bool]) -> dict[Path, StochasticCollapseError]:
    """Train runs that are at the same step to the end or to an interruption; the errors of those that diverged."""
    errors: dict[Path, StochasticCollapseError] = {}
    config, step, lr = runs[0].config, runs[0].step, runs[0].lr

    def alive() -> list[Run]:
        return [run for run in runs if run.directory.path not in errors]

    def each(act: Callable[[Run], None]) -> None:
        """A run that diverges leaves the others alone."""
        for run in alive():
            try:
                act(run)
            except TrainingDiverged as error:
                errors[run.directory.path] = error

    with runs[0].execution.active(), steps_bar() as bar:
        each(Run.begin)
        try:
            stack = StackedStep(runs) if len(runs) > 1 else None
            take_step = stack or runs[0].take_step
            first, began = step, time.perf_counter()
            task = bar.add_task(config.name, total=config.max_steps, completed=step, report="")
            while step < config.max_steps and alive() and not stopped():
                due = runs[0].next_due(step)
                try:
                    while step < due and not stopped():
                        take_step(lr(step))
                        step += 1
                finally:
                    for run in runs:
                        run.step = step
                if step < due:
                    continue
                if stack is not None and runs[0].due(config.checkpoint_every):
                    stack.before_saving()
                each(Run.after_step)
                if runs[0].due(config.log_every):
                    rate = (step - first) / (time.perf_counter() - began)
                    bar.update(task, completed=step, report=f"{runs[0].news()}{rate:.0f} steps/s")
            if step < config.max_steps and alive():
                if stack is not None:
                    stack.before_saving()
                each(Run.save)
                each(lambda run: run.write_status("interrupted"))
                raise Interrupted(_interrupted(alive()))
        except Interrupted:
            raise
        except KeyboardInterrupt:  # the second Ctrl-C: no time for a checkpoint
            each(lambda run: run.write_status("interrupted"))
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            each(lambda run: run.write_status("failed", message=message))
            raise
        each(lambda run: run.write_status("finished"))
    return errors


def _interrupted(runs: Sequence[Run]) -> str:
    where = ", ".join(str(run.directory) for run in runs)
    return (
        f"{where}: interrupted at step {runs[0].step} of {runs[0].config.max_steps} and saved; "
        "the same command continues"
    )


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
        scores={name: float(last[name]) for name in SCORES if name in last},
        collapse=collapse[collapse["step"] == status["step"]].reset_index(drop=True),
        already_finished=already_finished,
    )
