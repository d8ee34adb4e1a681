"""Checkpoints deleted from the disk, but for those that another run or process needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError, RunLocked
from ..runs import RunDirectory
from .reading import standing
from .starts import Starts


@dataclass(frozen=True)
class PrunePlan:
    """Which checkpoints go, or went."""

    keep: str
    """What to keep, as `plan_prune` takes it."""
    files: Mapping[RunDirectory, Mapping[Path, int]]
    """Of each run the checkpoints that go, and their sizes in bytes."""
    spared: Sequence[str]
    """What stays although `keep` does not name it: a line for each, with the reason."""

    @property
    def bytes(self) -> int:
        """What is freed."""
        return sum(size for files in self.files.values() for size in files.values())


def plan_prune(runs: Iterable[RunDirectory], keep: str) -> PrunePlan:
    """Which checkpoints of `runs` would go if only those that `keep` names stayed; deletes nothing.

    `keep` has one or several of these, with commas: ``last``, ``last:N`` (the last N), ``every:N`` (of steps that N
    divides), and step numbers. Beyond these stay the last checkpoint of a run that is not finished, each from which
    another run starts (of those in $SC_RUNS, or beside `runs`), all of a run that a process holds, and the last one
    where none would be left; `PrunePlan.spared` says so. Raises `InputError` for a malformed `keep`, and for a step of
    which no run has a checkpoint.
    """
    runs = list(runs)
    steps = {step for run in runs for step in run.checkpoints()}
    for step in _Keep.parse(keep).steps:
        if step not in steps:  # a slip of the hand must not cost all others
            there = ", ".join(map(str, sorted(steps))) or "none"
            raise InputError(f"keep {keep!r}: no run has a checkpoint of step {step}; there are {there}")
    starts = Starts(runs)
    files: dict[RunDirectory, Mapping[Path, int]] = {}
    spared: list[str] = []
    for run in runs:
        if run.is_locked():
            spared.append(_held(run))
        else:
            files[run], lines = _superfluous(run, keep, starts)
            spared += lines
    return PrunePlan(keep, files, spared)


def prune(plan: PrunePlan) -> PrunePlan:
    """Delete what `plan` says and return what was deleted.

    Each run is looked at again while it is locked, so that nothing goes which has come to be needed since.
    """
    starts = Starts(plan.files)
    deleted: dict[RunDirectory, Mapping[Path, int]] = {}
    spared = list(plan.spared)
    for run, planned in plan.files.items():
        if not planned:
            continue
        try:
            with run.lock():
                still, lines = _superfluous(run, plan.keep, starts)
                spared += [line for line in lines if line not in spared]
                deleted[run] = {path: size for path, size in still.items() if path in planned}
                for path in deleted[run]:
                    path.unlink()
        except RunLocked:
            spared.append(_held(run))
    return replace(plan, files=deleted, spared=spared)


def _held(run: RunDirectory) -> str:
    return f"{run}: another process holds it, all of it stays"


class _Keep(NamedTuple):
    """Which checkpoints a user wants to keep."""

    last: int
    periods: list[int]
    steps: list[int]

    @classmethod
    def parse(cls, keep: str) -> _Keep:
        last, periods, steps = 0, [], []
        for part in keep.split(","):
            match = re.fullmatch(r"(last)(?::(0*[1-9]\d*))?|every:(0*[1-9]\d*)|(\d+)", part.strip())
            if not match:
                raise InputError(
                    f"keep {keep!r}: expected last, last:3, every:10000 or steps such as 0,5000, found {part!r}"
                )
            if match[1]:
                last = max(last, int(match[2] or 1))
            elif match[3]:
                periods.append(int(match[3]))
            else:
                steps.append(int(match[4]))
        return cls(last, periods, steps)

    def of(self, steps: Sequence[int]) -> set[int]:
        """Those of `steps`, which increase, that stay."""
        named = {s for s in steps if s in self.steps or any(s % period == 0 for period in self.periods)}
        return named.union(steps[-self.last :] if self.last else ())


def _superfluous(run: RunDirectory, keep: str, starts: Starts) -> tuple[dict[Path, int], list[str]]:
    """The checkpoints of `run` that may go, with their sizes in bytes, and lines about what must stay."""
    there = run.checkpoints()
    if not there:
        return {}, []
    last, kept = max(there), _Keep.parse(keep).of(list(there))
    reasons = {step: f"{other} starts from it" for step, other in starts.steps_of(run).items()}
    if not _is_finished(run):
        reasons[last] = "the run is not finished"
    if not kept and not reasons:
        reasons[last] = "the run would have none left"
    goes = {path: path.stat().st_size for step, path in there.items() if step not in kept and step not in reasons}
    return goes, [f"{run}: step {s} stays: {why}" for s, why in sorted(reasons.items()) if s in there.keys() - kept]


def _is_finished(run: RunDirectory) -> bool:
    try:
        return bool(standing(run)["state"] == "finished")
    except ValueError:  # damaged
        return False
