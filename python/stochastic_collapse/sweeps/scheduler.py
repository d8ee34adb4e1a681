"""Training the runs of a sweep: each once, an experiment's origin before it, a failure without harm to the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, Interrupted
from ..interruption import stop_signals
from ..terminal import RunNews, sweep_display
from .directory import SweepDirectory
from .plan import PlannedRun, Sweep
from .tasks import Executor, Task

_POLL_SECONDS = 0.2
_DISPLAY_SECONDS = 1.0
_GRACE_SECONDS = 60.0
"""That a task has for its checkpoint when the sweep is stopped."""
_TABLE_SECONDS = 30.0
"""Between two writings of sweep.csv, which reads the tables of all runs."""


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended."""

    directory: Path
    runs: int
    finished: int
    """Of which some may have been finished before."""
    trained: int
    """By this call."""
    failures: dict[str, str]
    """Why each run that failed did, by its title."""

    def summary(self) -> str:
        """Lines for people."""
        first = f"{self.directory}: {self.finished} of {self.runs} runs finished, {self.trained} of them now; sweep.csv"
        return "\n".join([first, *(f"failed: {title}: {error}" for title, error in self.failures.items())])

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "sweep": str(self.directory),
            "table": str(SweepDirectory(self.directory).table_path),
            "runs": self.runs,
            "finished": self.finished,
            "trained": self.trained,
            "failures": self.failures,
        }


def news(run: PlannedRun) -> RunNews:
    """How a run stands, from its directory."""
    try:
        status = run.directory.status()
    except InputError:  # damaged: the message is for when it is trained
        status = {"state": "failed"}
    state = status.get("state", "waiting")
    if state == "running" and not run.directory.is_locked():  # its process was killed
        state = "interrupted"
    return RunNews(
        title=run.title,
        state=state,
        step=status.get("step", 0),
        steps=run.config.max_steps,
        seconds=status.get("seconds", 0.0),
        loss=status.get("train_loss"),
    )


def planned(sweep: Sweep) -> dict[str, Any]:
    """What a sweep consists of, how its runs stand, and the commands that train them, as JSON values."""
    runs = []
    for run in sweep.runs:
        now = news(run)
        about = {"run": str(run.directory), "experiment": run.experiment, "state": now.state, "step": now.step}
        runs.append({**about, "command": run.command})
    return {"sweep": str(sweep.directory), "runs": runs}


def run_sweep(sweep: Sweep, executor: Executor, *, report: Callable[[str], None] = lambda line: None) -> SweepResult:
    """Train what is not finished of `sweep`, and gather the results in its sweep.csv.

    A run that fails does not stop the others; one that diverged before is not tried again. On Ctrl-C and SIGTERM the
    runs save their checkpoints, and `Interrupted` is raised: the same call continues.
    """
    directory = SweepDirectory(sweep.directory)
    directory.write_record(sweep.runs, grows=sweep.grows)
    work = _Work(sweep, executor, report)
    try:
        with stop_signals() as stopped, sweep_display(sweep.name) as show:
            shown = 0.0
            while work.advance() and not stopped():
                if time.monotonic() - shown > _DISPLAY_SECONDS:
                    show([work.news(run) for run in sweep.runs])
                    shown = time.monotonic()
                time.sleep(_POLL_SECONDS)
            if stopped():
                work.stop()
                raise Interrupted(f"{directory}: interrupted, {work.done()} runs finished; the same command continues")
    except Interrupted:
        raise
    except Exception:
        work.stop()
        raise
    finally:
        work.kill()  # what is left after a second Ctrl-C
        executor.close()
        work.gather()
    return SweepResult(sweep.directory, len(sweep.runs), work.done(), work.trained, work.failures)


class _Work:
    """The portions of a sweep: waiting, running, ended."""

    def __init__(self, sweep: Sweep, executor: Executor, report: Callable[[str], None]) -> None:
        self._sweep, self._executor, self._report = sweep, executor, report
        self._waiting = list(sweep.together())
        self._running: list[tuple[tuple[PlannedRun, ...], Task]] = []
        self._ended: dict[Path, RunNews] = {}
        self.failures: dict[str, str] = {}
        self.trained = 0
        self._gathered = time.monotonic()
        for portion in list(self._waiting):
            for run in portion:
                if (now := news(run)).state in ("finished", "diverged"):
                    self._ended[run.directory.path] = now
                if now.state == "diverged":
                    self.failures[run.title] = f"{run.directory}: diverged before; lower optimizer.lr, or delete it"

    def news(self, run: PlannedRun) -> RunNews:
        return self._ended.get(run.directory.path) or news(run)

    def done(self) -> int:
        return sum(self.news(run).state == "finished" for run in self._sweep.runs)

    def advance(self) -> bool:
        """Take in what has ended and start what can start; whether anything is left."""
        for portion, task in list(self._running):
            if (outcome := task.outcome()) is not None:
                self._running.remove((portion, task))
                self.trained += outcome.trained
                self._take_in(portion, outcome.error)
        for portion in list(self._waiting):
            left = tuple(run for run in portion if run.directory.path not in self._ended)
            if not left:
                self._waiting.remove(portion)
            elif failed := [run for run in left if self._origin_state(run) not in (None, "finished", "waiting")]:
                for run in failed:
                    self._end(run, f"not started, since {run.origin}, from which it starts, is not finished")
            elif all(self._origin_state(run) in (None, "finished") for run in left) and self._has_room():
                self._waiting.remove(portion)
                self._running.append((left, self._executor.start(left)))
        return bool(self._waiting or self._running)

    def _has_room(self) -> bool:
        return self._executor.capacity is None or len(self._running) < self._executor.capacity

    def _origin_state(self, run: PlannedRun) -> str | None:
        """Of the run's origin: finished, failed, or waiting, that is not ended yet; None without an origin."""
        if run.origin is None:
            return None
        ended = self._ended.get(run.origin.path)
        return "waiting" if ended is None else "finished" if ended.state == "finished" else "failed"

    def _take_in(self, portion: Sequence[PlannedRun], error: str | None) -> None:
        for run in portion:
            if news(run).state == "finished":
                self._end(run, None)
            else:
                mine = [line for line in (error or "").splitlines() if str(run.directory) in line]
                self._end(run, "; ".join(mine) or error or "ended unfinished")
        if time.monotonic() - self._gathered > _TABLE_SECONDS:
            self.gather()

    def gather(self) -> None:
        """Write what there is to sweep.csv; runs whose tables cannot be read have failed."""
        self._gathered = time.monotonic()
        unreadable = SweepDirectory(self._sweep.directory).write_table()
        for run in self._sweep.runs:
            if run.directory.path in unreadable and run.title not in self.failures:
                self.failures[run.title] = unreadable[run.directory.path]

    def _end(self, run: PlannedRun, error: str | None) -> None:
        now = news(run)
        if error is not None:
            now = now._replace(state=now.state if now.state == "diverged" else "failed")
            self.failures[run.title] = " ".join(error.split())
        self._ended[run.directory.path] = now
        self._report(f"{now.state}: {run.title}" + (f": {self.failures[run.title]}" if error is not None else ""))

    def stop(self) -> None:
        """Have all tasks save and end."""
        for _, task in self._running:
            task.stop()
        until = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < until and not all(task.outcome() for _, task in self._running):
            time.sleep(_POLL_SECONDS)
        self._running = [(portion, task) for portion, task in self._running if not task.outcome()]

    def kill(self) -> None:
        for _, task in self._running:
            task.kill()
