"""The engine `juliacall`: Julia inside a Python worker process, so that it cannot harm ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from ..directory import ToyDirectory
from .base import Availability, OnProgress, Report
from .child import run_child

_HERE = __package__ or ""
_DEADLINE = 12.0  # seconds for finding out


@dataclass(frozen=True)
class JuliaCallEngine:
    """Starts juliacall_worker.py, which lets juliacall find Julia."""

    name: str = "juliacall"
    stream: str = "julia"

    def availability(self) -> Availability:
        """Available where juliacall has a Julia, or can fetch one; asked in a process that has a deadline."""
        if os.name != "posix":
            return Availability(False, "needs process groups, which Windows lacks", "use WSL")
        try:
            answer = subprocess.run(
                [sys.executable, "-m", f"{_HERE}.juliacall_probe"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_DEADLINE,
            )
        except subprocess.TimeoutExpired:
            return Availability(False, f"juliapkg did not find out within {_DEADLINE:.0f} s where to get Julia from")
        try:
            return Availability(**json.loads(answer.stdout.splitlines()[-1]))
        except (IndexError, ValueError, TypeError):
            reason = (answer.stderr.strip() or "no answer").splitlines()[-1]
            return Availability(False, f"looking for juliacall failed: {reason}")

    def run(self, directory: ToyDirectory, on_progress: OnProgress, report: Report) -> None:
        """See `Engine.run`."""
        run_child(
            [sys.executable, "-m", f"{_HERE}.juliacall_worker", str(directory.path.resolve())],
            directory,
            engine=self.name,
            on_progress=on_progress,
            report=report,
        )
