"""An engine in a process of its own, and the protocol that both Julia engines speak (docs/architecture.md#engines).

The child gets the directory, prints one JSON object a line on stdout, logs on stderr, and stops where a file `stop`
appears in the directory. It runs under guard.py in a process group of its own, so that a terminal's Ctrl-C reaches us
alone, and no child outlives us by more than `GRACE` seconds, however we end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import EngineFailed, EngineUnavailable, InputError, Interrupted
from ...interruption import stop_signals
from ..directory import ToyDirectory
from .base import OnProgress, Progress, Report

GRACE = 10.0
"""Seconds that a child has to stop before it is killed."""

_GUARD = Path(__file__).with_name("guard.py")
_SHOWN = ("StochasticCollapse: ", "[juliapkg] ")  # log lines for the user; the others are for --verbose
_KEPT = 200  # log lines


class ChildLog(Exception):
    """What a child that failed wrote to stderr; shown by --verbose as the cause of the error."""


def run_child(
    command: Sequence[str], directory: ToyDirectory, *, engine: str, on_progress: OnProgress, report: Report
) -> None:
    """Run `command` on `directory` to its end; see `Engine.run` for what it raises."""
    child = _Child(engine, directory, report)
    with stop_signals(child.stop) as stopped:
        child.start(command)
        try:
            if stopped():  # before there was anything to stop
                child.stop()
            child.listen(on_progress)
        except BaseException:  # a second Ctrl-C
            child.kill()
            raise
        finally:
            child.end()
    child.judge(interrupted=stopped())


class _Child:
    def __init__(self, engine: str, directory: ToyDirectory, report: Report) -> None:
        self.engine, self.directory, self.report = engine, directory, report
        self.leash: int | None = None  # our end of the guard's stdin
        self.log: deque[str] = deque(maxlen=_KEPT)
        self.heard = False  # whether it has begun: start-up failures are the engine's, later ones the run's
        self.last: dict[str, Any] = {}  # the event that tells how it ended

    def start(self, command: Sequence[str]) -> None:
        guard = [sys.executable, "-I", "-S", str(_GUARD), str(GRACE), str(self.directory.path.resolve())]
        stdin, self.leash = os.pipe()
        try:
            self.process = subprocess.Popen(
                [*guard, *command],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "SC_ENGINE": self.engine},
                start_new_session=True,
                encoding="utf-8",
                errors="replace",
            )
        finally:
            os.close(stdin)
        self.logger = threading.Thread(target=self._collect_log, daemon=True)
        self.logger.start()

    def stop(self) -> None:
        """Have the guard end the child. Called in a signal handler too, so at any moment."""
        leash, self.leash = self.leash, None
        if leash is not None:
            os.close(leash)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def listen(self, on_progress: OnProgress) -> None:
        """Follow the child's events until it closes its stdout."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = _parse(line)
            match event.get("event"):
                case None:
                    self.log.append(line.rstrip("\n"))
                    continue
                case "progress":
                    counts = [event.get(key) for key in ("levels_done", "levels", "steps_done", "steps")]
                    if all(isinstance(count, int) for count in counts):
                        on_progress(Progress(*counts))  # type: ignore[arg-type]
                case "error" if self.last.get("event") == "error":
                    pass  # the first one tells the cause
                case _:
                    self.last = event
            self.heard = True

    def end(self) -> None:
        """Make sure that nothing of the child is left."""
        self.stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE + 2)
        if self.process.returncode is None or self.process.returncode < 0:  # the guard hangs, or was killed
            self.kill()
            self.process.wait()
        self.logger.join(timeout=5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def judge(self, *, interrupted: bool) -> None:
        """Raise what the way it ended calls for."""
        done, ending = self.directory.levels_done(), self.last.get("event")
        finished = ending == "finished" and self.directory.is_finished
        if finished and not interrupted:
            return
        if interrupted or ending == "stopped":
            state = "finished" if finished else f"{done} noise levels are finished; the same command continues"
            raise Interrupted(f"{self.directory}: interrupted, {state}")
        log = ChildLog("\n".join(self.log))
        if ending == "error":
            message = " ".join(str(self.last.get("message", "no message")).split())
            if message.startswith("spec.toml:"):
                raise InputError(f"engine {self.engine}: {message}") from log
            raise EngineFailed(f"{self.directory}: engine {self.engine}: {message}") from log
        status = self.process.returncode
        how = f"ended by signal {status - 128}" if status > 128 else f"exit status {status}"
        if not self.heard:
            reason = next((line for line in self.log if line.startswith("ERROR")), self.log[-1] if self.log else how)
            raise EngineUnavailable(f"engine {self.engine} does not start: {' '.join(reason.split())}") from log
        raise EngineFailed(
            f"{self.directory}: engine {self.engine} broke off ({how}), {done} noise levels are finished; "
            "the same command continues"
        ) from log

    def _collect_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            if line.startswith(_SHOWN):
                self.report(line.rstrip("\n"))


def _parse(line: str) -> dict[str, Any]:
    """The event of a line; empty where it is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
