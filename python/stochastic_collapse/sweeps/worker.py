"""What one process of a sweep does: train a run, or replicates of one, wherever the process is.

``python -m stochastic_collapse.sweeps.worker`` reads the work as one line of JSON from stdin and prints how it ended
as one line on stdout. When its stdin closes, because the sweep stops or is no more, it saves a checkpoint and ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from ..config import TrainConfig
from ..errors import InputError, Interrupted, RunLocked, StochasticCollapseError


def work(settings: dict[str, Any], replicates: Sequence[int]) -> str | None:
    """Train these replicates of the run with `settings`; what failed, or None.

    Where another process is training a run, waits for it: then the run is finished, or can be continued. Raises
    `Interrupted` on SIGINT and SIGTERM, a checkpoint saved.
    """
    from ..training import train_replicates

    config = TrainConfig.model_validate(settings)
    while True:
        try:
            train_replicates(config, replicates, report=_note)
            return None
        except RunLocked:
            time.sleep(1)
        except Interrupted:
            raise
        except (StochasticCollapseError, OSError) as error:
            return str(error)


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
    try:
        error = work(task["settings"], task["replicates"])
    except Interrupted as interruption:
        error = str(interruption)
    print(json.dumps({"error": error}), flush=True)


if __name__ == "__main__":
    main()
