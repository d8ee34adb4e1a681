"""The executor `local`: several processes on this machine, its threads and GPUs divided among them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .plan import PlannedRun
from .tasks import Outcome


class LocalExecutor:
    """At most `jobs` processes at a time (default: one for each GPU, or for each core without GPUs).

    The cores are divided among as many processes as there will be, of `tasks` in all. `logs` is a folder for what they
    write.
    """

    def __init__(self, logs: Path, tasks: int, jobs: int | None = None) -> None:
        self._logs = logs
        self._gpus = _gpus()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.capacity: int = min(jobs or len(self._gpus) or cores, tasks)
        self.threads = max(1, cores // self.capacity)
        self._slots: list[_Process | None] = [None] * self.capacity

    def start(self, runs: tuple[PlannedRun, ...]) -> _Process:
        slot = next(k for k, process in enumerate(self._slots) if process is None or process.outcome())
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        if self._gpus and runs[0].config.device in ("auto", "cuda"):
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{runs[0].directory.path.parent.name}-{runs[0].config.replicate}.log"
        process = self._slots[slot] = _Process(runs, environment, log)
        return process

    def close(self) -> None:
        pass


class _Process:
    """A worker process; it ends when we close its stdin, or are no more."""

    def __init__(self, runs: tuple[PlannedRun, ...], environment: dict[str, str], log: Path) -> None:
        self._log = log
        self._outcome: Outcome | None = None
        task = {
            "settings": runs[0].config.model_dump(mode="json"),
            "replicates": [run.config.replicate for run in runs],
        }
        with log.open("a") as stderr:  # another sweep may be waiting for the same run
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stochastic_collapse.sweeps.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                start_new_session=True,  # a terminal's Ctrl-C is for the sweep, which tells its workers
                text=True,
            )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended at once; error() says how

    def outcome(self) -> Outcome | None:
        if self._outcome is None and self._process.poll() is not None:
            self._outcome = self._end()
        return self._outcome

    def _end(self) -> Outcome:
        assert self._process.stdout is not None
        out = self._process.stdout.read()
        self._process.stdout.close()
        self.stop()
        try:
            return Outcome(*json.loads(out))
        except ValueError:
            status = self._process.returncode
            how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
            last = next((line for line in reversed(self._log.read_text().splitlines()) if line.strip()), "no message")
            return Outcome(f"its process ended without a result ({how}): {last}; see {self._log}", 0)

    def stop(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def kill(self) -> None:
        self._process.kill()


def _gpus() -> list[str]:
    """The CUDA devices that PyTorch may use here, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(k) for k in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]
