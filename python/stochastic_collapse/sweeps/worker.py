"""What one process of a sweep does: train a run, or replicates of one, wherever the process is.

``python -m stochastic_collapse.sweeps.worker`` reads the work as one line of JSON from stdin and prints how it ended
as one line on stdout. When its stdin closes, because the sweep stops or is no more, it saves a checkpoint and ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from ..config import TrainConfig
from ..errors import InputError, RunLocked, StochasticCollapseError
from ..runs import RunDirectory
from .tasks import Outcome


def work(settings: dict[str, Any], replicates: Sequence[int]) -> Outcome:
    """Train these replicates of the run with `settings`, and say how that ended, also when it was interrupted.

    Where another process is training a run, waits for it: then the run is finished, or can be continued. SIGINT and
    SIGTERM save a checkpoint.
    """
    from ..training import train_replicates

    config = TrainConfig.model_validate(settings)
    runs = [RunDirectory.of(config.model_copy(update={"replicate": k})) for k in replicates]
    while True:
        try:
            results = train_replicates(config, replicates, report=_note)
            return Outcome(None, sum(not result.already_finished for result in results))
        except RunLocked:
            while any(run.is_locked() for run in runs):
                time.sleep(1)
        except (StochasticCollapseError, OSError) as error:
            return Outcome(str(error), sum(map(_is_finished, runs)))


def work_in(folder: str, settings: dict[str, Any], replicates: Sequence[int]) -> Outcome:
    """`work` in that folder, from which relative paths in settings lead on, to data, code and weights."""
    try:
        os.chdir(folder)
    except OSError as error:
        return Outcome(f"{folder}: {error.strerror} on {socket.gethostname()}; nodes have to share it", 0)
    return work(settings, replicates)


def _is_finished(run: RunDirectory) -> bool:
    try:
        return bool(run.status().get("state") == "finished")
    except InputError:  # damaged, which is among the errors
        return False


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _end_with_stdin() -> None:
    # Not sys.stdin: a thread that reads it holds its lock at exit.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1 << 16)
        if not part:
            sys.exit(InputError.exit_code)
        line += part
    task = json.loads(line)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    print(json.dumps(work(task["settings"], task["replicates"])), flush=True)


if __name__ == "__main__":
    main()
