"""Whole runs removed from the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from ..errors import RunLocked
from ..runs import RunDirectory
from .reading import CONFIG, REPLICATE, STATUS, files_of
from .starts import Starts

_REMOVED = ".sc-removed"  # ends the names of directories on their way out


def starting_from(runs: Collection[RunDirectory]) -> dict[RunDirectory, RunDirectory]:
    """Those of `runs` from which another run starts, none of them but in $SC_RUNS or beside them → such a run."""
    starts = Starts(runs, without=runs)
    return {run: others[0] for run in runs if (others := starts.anywhere_in(run))}


def remove(runs: Iterable[RunDirectory]) -> int:
    """Remove whole run directories, and the folders of experiments that have no more runs; returns the bytes freed.

    Raises `RunLocked`, and removes nothing, where another process holds one of them. A directory is renamed before its
    files go, so that a removal that is killed leaves no half run; the next removal beside it clears what was left.
    """
    runs = list(runs)
    for run in runs:
        if run.is_locked():
            raise RunLocked(f"{run}: another process holds it; nothing was removed")
    freed = 0
    for run in runs:
        path = Path(os.path.realpath(run.path))
        with run.lock():
            freed += sum(files_of(run).values())
            aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_REMOVED, dir=path.parent))
            path.replace(aside)
            for name in (STATUS, CONFIG):  # what makes a directory a run
                (aside / name).unlink(missing_ok=True)
        for left in path.parent.glob(f".*{_REMOVED}"):
            shutil.rmtree(left)
        if path.name.startswith(REPLICATE):
            with contextlib.suppress(OSError):  # it holds more
                path.parent.rmdir()
    return freed
