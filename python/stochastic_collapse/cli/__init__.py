"""The `sc` command: parse, call one function, print. No logic (docs/architecture.md#exit-statuses).

A module for each group of commands. Torch and Julia are imported inside the commands that need them, so that
`sc --help` starts at once.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence

import click

from ..errors import StochasticCollapseError
from . import data, drawing, machine, networks, runs, sweeps, toys, training
from .group import cli
from .options import note

__all__ = ["cli", "main", "run"]

GROUPS = (training, sweeps, runs, networks, data, toys, drawing, machine)
"""The modules of commands; importing one adds its commands to `cli`."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status: 0 done, 1 failed, 2 bad usage or input, 130 interrupted."""
    try:
        # Without standalone mode click leaves errors and exit statuses to us.
        status = cli.main(list(arguments), prog_name="sc", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        note("sc: interrupted")
        return 130
    except Exception as error:
        if "--verbose" in arguments:
            traceback.print_exc()
        if isinstance(error, StochasticCollapseError):
            for line in str(error).splitlines():
                note(f"sc: {line}")
            return error.exit_code
        reason = " ".join(str(error).split())
        hint = "" if isinstance(error, OSError) else "; --verbose shows where"
        note(f"sc: {type(error).__name__}: {reason}{hint}")
        return 1


def main() -> None:
    """Entry point of the `sc` command."""

    def on_terminate(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, on_terminate)
    sys.exit(run(sys.argv[1:]))
