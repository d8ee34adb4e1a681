"""The executors by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import InputError
from .directory import SweepDirectory
from .local import LocalExecutor
from .plan import Sweep
from .ray_ import RayExecutor
from .tasks import Executor


def make_executor(
    name: str,
    sweep: Sweep,
    *,
    jobs: int | None = None,
    address: str | None = None,
    cpus_per_run: float | None = None,
    gpus_per_run: float | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Executor:
    """The executor of that name for `sweep`: local (`jobs`) or ray (the others); see their classes.

    Raises `InputError` for options of the other one.
    """
    foreign: dict[str, Any] = {"address": address, "cpus_per_run": cpus_per_run, "gpus_per_run": gpus_per_run}
    if name != "local":
        foreign = {"jobs": jobs}
    if given := [option for option, value in foreign.items() if value is not None]:
        raise InputError(f"executor {name}: --{given[0].replace('_', '-')} is an option of the other executor")
    if name == "local":
        return LocalExecutor(SweepDirectory(sweep.directory).logs, len(sweep.together()), jobs)
    return RayExecutor(address, cpus_per_run=cpus_per_run or 1, gpus_per_run=gpus_per_run, report=report)
