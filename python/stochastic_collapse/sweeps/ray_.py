"""The executor `ray`: the runs of a sweep on a Ray cluster whose nodes share the folder of the runs.

Ray queues the runs, packs several on a GPU, and starts a run anew on another node when its node is lost; there it
continues from its last checkpoint. Optional: ``pip install 'stochastic-collapse[ray]'`` on every node.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..data.files import data_root
from ..errors import InputError
from ..runs import runs_root
from .plan import PlannedRun
from .tasks import Outcome
from .worker import work_in

_RETRIES = 10
"""Of a run whose node was lost, or whose process was killed."""


class RayExecutor:
    """Runs as tasks of the Ray cluster at `address` (default: $RAY_ADDRESS, or the one that runs on this machine).

    Each run is given `cpus_per_run` CPUs and `gpus_per_run` GPUs, fractions too (default: one GPU where the cluster has
    any; a run that is given none sees none). $SC_RUNS and $SC_DATA of this process must be folders that all nodes
    share. Raises `InputError` where Ray is not installed or there is no cluster.
    """

    capacity = None  # Ray has a queue of its own

    def __init__(
        self,
        address: str | None = None,
        *,
        cpus_per_run: float = 1,
        gpus_per_run: float | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        try:
            import ray
        except ImportError:
            raise InputError(
                "executor ray: Ray is not installed here; pip install 'stochastic-collapse[ray]', or --executor local"
            ) from None
        self._ray: Any = ray
        folders = {"SC_RUNS": str(runs_root().resolve()), "SC_DATA": str(data_root().resolve())}
        if cache := os.environ.get("SC_IMAGE_CACHE"):
            folders["SC_IMAGE_CACHE"] = str(Path(cache).resolve())
        self._held = contextlib.ExitStack()
        if not ray.is_initialized():
            # Ray prints its news of the cluster on stdout, which is for results.
            self._held.enter_context(contextlib.redirect_stdout(sys.stderr))
            self._held.callback(ray.shutdown)
            address = address or os.environ.get("RAY_ADDRESS") or "auto"
            try:
                _reach(address)
                ray.init(address=address, log_to_driver=False)
            except (OSError, ValueError, RuntimeError) as error:
                self._held.close()
                reason = " ".join(str(error).split())
                raise InputError(
                    f"executor ray: no cluster found ({reason}); `ray start --head` begins one, --address names one"
                ) from None
        there = ray.cluster_resources()
        gpus_per_run = min(1, there.get("GPU", 0)) if gpus_per_run is None else gpus_per_run
        for what, wanted in (("CPU", cpus_per_run), ("GPU", gpus_per_run)):
            largest = max((node["Resources"].get(what, 0) for node in ray.nodes() if node["Alive"]), default=0)
            if wanted > largest:
                report(
                    f"executor ray: a run wants {wanted:g} {what}, no node has more than {largest:g}; waiting for one"
                )
        self._train = ray.remote(
            num_cpus=cpus_per_run,
            num_gpus=gpus_per_run,
            max_retries=_RETRIES,
            runtime_env={"env_vars": {**folders, "OMP_NUM_THREADS": str(max(1, round(cpus_per_run)))}},
        )(work_in)
        self._folder = str(Path.cwd())

    def start(self, runs: tuple[PlannedRun, ...]) -> _RayTask:
        settings = runs[0].config.model_dump(mode="json")
        replicates = [run.config.replicate for run in runs]
        return _RayTask(self._ray, self._train.remote(self._folder, settings, replicates))

    def close(self) -> None:
        self._held.close()


class _RayTask:
    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference

    def outcome(self) -> Outcome | None:
        ready, _ = self._ray.wait([self._reference], timeout=0)
        if not ready:
            return None
        try:
            return Outcome(*self._ray.get(self._reference))
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error  # what was raised in the task, without Ray's stack of it
            return Outcome(f"{type(cause).__name__}: {' '.join(str(cause).split())}", 0)

    def stop(self) -> None:
        # As Ctrl-C in the worker, which saves and ends; a task in the queue is dropped.
        self._ray.cancel(self._reference, force=False)

    def kill(self) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.cancel(self._reference, force=True)


def _reach(address: str) -> None:
    """Raise `OSError` where nobody listens at HOST:PORT, for which Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()
