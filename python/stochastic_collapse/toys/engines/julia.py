"""The engine `julia`: any Julia program of version 1.5 or newer, in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ...resources import shipped
from ..directory import ToyDirectory
from .base import Availability, OnProgress, Report
from .child import run_child

_SIMULATE = "using StochasticCollapse; StochasticCollapse.simulate(ARGS[1])"
_OLDEST = (1, 5)
_ADVICE = "install Julia 1.10 or newer, or name its program with --julia PATH or SC_JULIA"


@dataclass(frozen=True)
class JuliaEngine:
    """Starts the Julia at `executable`, else the one that $SC_JULIA names, else `julia` on PATH."""

    executable: str | Path | None = None
    name: str = "julia"
    stream: str = "julia"

    def availability(self) -> Availability:
        """Available where the program runs and is new enough."""
        if os.name != "posix":
            return Availability(False, "needs process groups, which Windows lacks", "use WSL")
        wanted, origin = self._wanted()
        found = shutil.which(wanted)
        if found is None:
            missing = "no julia on PATH" if origin == "PATH" else f"{origin} {wanted} is no executable file"
            return Availability(False, missing, _ADVICE)
        try:
            answer = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Availability(False, f"{found} does not run: {error}", _ADVICE)
        version = re.match(r"julia version ((\d+)\.(\d+)\S*)", answer.stdout)
        if version is None:
            return Availability(False, f"{found} --version does not answer as Julia does", _ADVICE)
        if (int(version[2]), int(version[3])) < _OLDEST:
            return Availability(False, f"{found} is Julia {version[1]}, too old", _ADVICE)
        details = {"julia": version[1], "executable": found, "threads": os.cpu_count() or 1}
        return Availability(True, f"Julia {version[1]} at {found}", details=details)

    def run(self, directory: ToyDirectory, on_progress: OnProgress, report: Report) -> None:
        """See `Engine.run`."""
        wanted, _ = self._wanted()
        run_child(
            [
                shutil.which(wanted) or wanted,
                "--startup-file=no",
                "--threads=auto",
                f"--project={shipped('julia')}",
                "-e",
                _SIMULATE,
                str(directory.path.resolve()),
            ],
            directory,
            engine=self.name,
            on_progress=on_progress,
            report=report,
        )

    def _wanted(self) -> tuple[str, str]:
        """The program, and who named it."""
        if self.executable is not None:
            return str(self.executable), "--julia"
        if os.environ.get("SC_JULIA"):
            return os.environ["SC_JULIA"], "SC_JULIA"
        return "julia", "PATH"
