"""The process of the engine `juliacall`: makes the one call of Julia's half, with one string.

Started as ``python -m stochastic_collapse.toys.engines.juliacall_worker DIRECTORY``; speaks the protocol of child.py.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import Any

from ...resources import shipped

# Threads need both, before juliacall is first imported; a user's own settings count more.
SETTINGS = {"PYTHON_JULIACALL_HANDLE_SIGNALS": "yes", "PYTHON_JULIACALL_THREADS": "auto"}


def main(directory: str) -> int:
    """Simulate in `directory`; the exit status."""
    if "juliacall" in sys.modules and any(name not in os.environ for name in SETTINGS):
        names = " and ".join(f"{name}={value}" for name, value in SETTINGS.items())
        print(f"StochasticCollapse: juliacall was imported before {names} were set: one thread only", file=sys.stderr)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        julia = _start()
        julia.seval("path -> push!(LOAD_PATH, path)")(str(shipped("julia")))
        julia.seval("using StochasticCollapse")
        julia.StochasticCollapse.simulate(directory)
    except Exception as error:  # a Julia error has told its story on stdout, if it got so far; --verbose shows stderr
        traceback.print_exc()
        print(f"ERROR: {' '.join(str(error).split())[:300]}", file=sys.stderr)
        return 1
    return 0


def _start() -> Any:
    """Julia's module Main. While juliapkg installs what is missing, its and its children's messages go to stderr."""
    if not os.environ.get("PYTHON_JULIACALL_EXE"):
        import juliapkg

        stdout = os.dup(1)
        os.dup2(2, 1)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                juliapkg.resolve()
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
    from juliacall import Main

    return Main


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
