"""Errors a user can do something about: each is one clear line, and each has its exit status."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StochasticCollapseError(Exception):
    """Base of all errors raised on purpose. The `sc` command prints the message and exits with `exit_code`."""

    exit_code = 1


class InputError(StochasticCollapseError, ValueError):
    """Bad usage or bad input: a setting, a file, an argument."""

    exit_code = 2


class TrainingDiverged(StochasticCollapseError):
    """The training loss stopped being a finite number."""


class RunLocked(StochasticCollapseError):
    """Another process is working in the same run directory."""


class EngineUnavailable(InputError):
    """The engine that was asked for cannot run here; the message says what is missing and how to get it."""


class EngineFailed(StochasticCollapseError):
    """An engine broke off; the noise levels it finished are kept."""


class Interrupted(StochasticCollapseError):
    """Ctrl-C or SIGTERM arrived; what was done so far is saved and the same call continues it."""

    exit_code = 130


def nearest(name: str, names: Iterable[str], where: str = "") -> str:
    """A clause with the nearest of `names`, to end a message with; `where` they are; empty where none is near."""
    near = difflib.get_close_matches(name, list(names), 3)
    return f"; the nearest names{where} are {', '.join(near)}" if near else ""
