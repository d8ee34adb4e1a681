"""The engine `torch`: SDEs on the CPU in float64 or in one CUDA kernel in float32, SGD on either in float64."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__
from ...errors import EngineUnavailable, InputError, Interrupted
from ...interruption import stop_signals
from ..arrays import Array
from ..directory import ToyDirectory
from ..problems import SGD_PROBLEMS
from .base import Availability, OnProgress, Progress, Report

if TYPE_CHECKING:
    from .torch_equations import Equations

_BATCH = 1 << 14
"""Numbers that one operation advances: enough to hide its cost, few enough for the cache."""

_CHUNK = 16
"""Steps for which normals are drawn at once."""

_STATES = 1 << 25
"""Numbers that the snapshots of levels simulated together may have, where a level alone does not have more."""

_ACTIVATIONS = {"single-neuron": ("tanh",)}
"""Of problems whose settings name more than this engine knows."""

_LOOK_EVERY = 0.1  # seconds between looks at the threads


@dataclass(frozen=True)
class TorchEngine:
    """Runs in this process, on a CUDA device where PyTorch finds one, else on all cores.

    SDEs, and a `problem` that is not named, run on a CUDA device only where Triton is installed: their kernel needs it.
    """

    problem: str | None = None
    name: str = "torch"

    @property
    def stream(self) -> str:
        """Devices differ in random numbers and precision."""
        return f"torch {self._device()[0]}"

    def _device(self) -> tuple[str, str]:
        return _device(by_kernel=self.problem not in SGD_PROBLEMS)

    def availability(self) -> Availability:
        """Available where torch can be imported."""
        if importlib.util.find_spec("torch") is None:
            return Availability(False, "the Python package torch is not installed", "pip install torch")
        try:
            import torch
        except (ImportError, OSError) as error:
            return Availability(False, f"torch cannot be imported: {' '.join(str(error).split())}")
        device, description = self._device()
        details: dict[str, Any] = {"torch": torch.__version__, "device": device, "threads": torch.get_num_threads()}
        if device == "cuda":
            details["gpu"] = torch.cuda.get_device_name()
            if importlib.util.find_spec("triton") is not None:
                details["triton"] = importlib.metadata.version("triton")
        return Availability(True, f"torch {torch.__version__} on {description}", details=details)

    def run(self, directory: ToyDirectory, on_progress: OnProgress, report: Report) -> None:
        """See `Engine.run`."""
        spec = directory.spec()
        engine = replace(self, problem=spec["problem"])
        if not (state := engine.availability()).available:
            raise EngineUnavailable(f"engine torch: {state.explain()}")
        activation = spec["parameters"].get("activation", "tanh")
        if activation not in (known := _ACTIVATIONS.get(spec["problem"], (activation,))):
            raise InputError(
                f"engine torch: activation {activation!r} is not among {', '.join(known)}; use a Julia engine"
            )
        device = state.details["device"]
        from .torch_kernel import in_a_kernel

        with stop_signals() as stopped:
            run = TorchRun(directory, spec, on_progress, report, stopped)
            directory.write_stream(engine.stream)
            if device == "cpu" or spec["problem"] in SGD_PROBLEMS:
                _step_by_step(run, device)
            else:
                in_a_kernel(run)
        run.finish({"engine": self.name, **state.details})


def _equations(spec: dict[str, Any], data: dict[str, Array]) -> Equations:
    """Those of the problem of `spec`."""
    from . import torch_sgd, torch_steps, torch_students

    known: dict[str, Callable[..., Equations]] = {
        "teacher-student": torch_sgd.TeacherStudent,
        "teacher-student-general": torch_sgd.TeacherStudentGeneral,
        "two-neurons": torch_students.TwoNeurons,
        "students": torch_students.Students,
    }
    return known.get(spec["problem"], torch_steps.SDE)(spec, data)


def _device(*, by_kernel: bool) -> tuple[str, str]:
    """cpu or cuda, and a description for people that says why it is not the other where one may wonder.

    `by_kernel`: for what runs on a GPU as a kernel of Triton.
    """
    import torch

    threads = torch.get_num_threads()
    cpu = f"{threads} CPU thread{'s' if threads > 1 else ''}"
    if not torch.cuda.is_available():
        return "cpu", cpu
    gpu = torch.cuda.get_device_name()
    if by_kernel and importlib.util.find_spec("triton") is None:
        return "cpu", f"{cpu} (not on {gpu}, for which SDEs need Triton: pip install triton)"
    if by_kernel and torch.version.cuda is not None and torch.cuda.get_device_capability() < (7, 0):
        return "cpu", f"{cpu} (not on {gpu}, which is too old for Triton, which SDEs need)"
    return "cuda", gpu


class TorchRun:
    """What the ways to simulate have in common: which levels are missing, progress, files."""

    def __init__(
        self,
        directory: ToyDirectory,
        spec: dict[str, Any],
        on_progress: OnProgress,
        report: Report,
        stopped: Callable[[], bool],
    ) -> None:
        self.directory, self.spec, self.data = directory, spec, directory.data()
        self.report, self.stopped = report, stopped
        self._on_progress = on_progress
        self.noise: list[float] = spec["noise"]
        self.trajectories: int = spec["trajectories"]
        self.snapshots: list[int] = spec["snapshots"]
        self.equations = _equations(spec, self.data)
        self.dimension = self.equations.dimension
        self.steps_of_level = self.trajectories * self.snapshots[-1]
        self._lock = threading.Lock()
        self._seconds_before, self._started = directory.seconds(), time.perf_counter()
        self._levels_done = directory.levels_done()
        self._steps_done = self._levels_done * self.steps_of_level

    def groups(self, batch: int) -> Iterator[range]:
        """Consecutive levels that are simulated together, as many as give a batch of trajectories, if not finished.

        A group is simulated as a whole, or not at all. So numbers do not depend on where a run was interrupted, not
        even in the last bit, which in vector code can depend on a trajectory's place in the batch.
        """
        fit = _STATES // (len(self.snapshots) * self.dimension)
        size = max(1, min(batch, fit) // self.trajectories)
        for first in range(0, len(self.noise), size):
            group = range(first, min(first + size, len(self.noise)))
            if not all(self.directory.level(k).is_file() for k in group):
                yield group

    @property
    def seconds(self) -> float:
        """Spent on this run so far, over all calls."""
        return self._seconds_before + time.perf_counter() - self._started

    def count(self, steps: int) -> None:
        """So many more steps of single trajectories are done; from any thread."""
        with self._lock:
            self._steps_done += steps

    def show(self) -> None:
        with self._lock:
            total = len(self.noise) * self.steps_of_level
            done = Progress(self._levels_done, len(self.noise), min(self._steps_done, total), total)
        self._on_progress(done)

    def save(self, levels: range, states: Array) -> None:
        """Write the states (levels, S, N, D) of a group; from any thread."""
        for k, state in zip(levels, states, strict=True):
            diverged = int((~np.isfinite(state[-1]).all(axis=-1)).sum())
            if diverged:
                size = f"lr = {self.spec['lr'][k]}" if "lr" in self.spec else f"dt = {self.spec['dt']}"
                self.report(
                    f"noise level {self.noise[k]}: {diverged} of {self.trajectories} trajectories diverged; "
                    f"{size} may be too large"
                )
            self.directory.write_array(f"levels/{self.directory.level(k).name}", state)
        with self._lock:
            self._levels_done = self.directory.levels_done()
            self.directory.write_seconds(self.seconds)

    def interrupted(self) -> Interrupted:
        done = self.directory.levels_done()
        return Interrupted(
            f"{self.directory}: interrupted, {done} noise levels are finished; the same command continues"
        )

    def finish(self, provenance: dict[str, Any]) -> None:
        """Write the results, state.npy last."""
        spec = self.spec
        self.directory.write_array("time.npy", np.asarray(self.snapshots) * spec.get("dt", 1.0))
        self.directory.write_array("noise.npy", np.asarray(self.noise, np.float64))
        self.directory.write_provenance(
            {
                **provenance,
                "python": platform.python_version(),
                "package": __version__,
                "cpu": _cpu_name(),
                "seconds": self.seconds,
                "steps": len(self.noise) * self.steps_of_level,
                "inputs": spec,
            }
        )
        shape = (len(self.noise), len(self.snapshots), self.trajectories, self.dimension)
        self.directory.collect_levels(shape)


# --- step by step -----------------------------------------------------------------------------------------------------


def _step_by_step(run: TorchRun, device: str) -> None:
    """Groups of noise levels, each with a thread that takes steps and one that draws their random numbers.

    Operations on a batch are so short that more threads would spend their time on Python's lock.
    """
    import torch

    batch = max(1, _BATCH // run.equations.width)
    halt = threading.Event()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # A collapsed trajectory decays for ever, and processors calculate slowly with numbers below 2.3e-308.
        workers = max(1, threads // 2)
        with ThreadPoolExecutor(workers, initializer=torch.set_flush_denormal, initargs=(True,)) as pool:
            pending = {pool.submit(_simulate_group, run, device, levels, batch, halt) for levels in run.groups(batch)}
            try:
                while pending and not run.stopped():
                    done, pending = wait(pending, timeout=_LOOK_EVERY, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()  # raises what went wrong in the thread
                    run.show()
            finally:
                halt.set()
                pool.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(threads)
    if run.stopped():
        raise run.interrupted()


def _simulate_group(run: TorchRun, device: str, levels: range, batch: int, halt: threading.Event) -> None:
    states = np.empty((len(levels), len(run.snapshots), run.trajectories, run.dimension))
    everything = range(run.trajectories)
    for block, first in enumerate(range(0, run.trajectories, batch)):
        trajectories = everything[first : first + batch]
        part = states[:, :, trajectories.start : trajectories.stop]
        if not _simulate_block(run, device, levels, block, trajectories, part, halt):
            return
    run.save(levels, states)


def _simulate_block(
    run: TorchRun,
    device: str,
    levels: Sequence[int],
    block: int,
    trajectories: range,
    out: Array,
    halt: threading.Event,
) -> bool:
    """Simulate `trajectories` into `out`, (levels, S, trajectories, D); False if halted on the way."""
    from .torch_equations import normals_of

    streams = [normals_of(run.spec["seed"], level, block) for level in levels]
    equations = run.equations
    state = equations.start(streams, trajectories).to(device)
    step = equations.stepper(state, levels, trajectories)
    at = 0
    with _Drawn(equations, levels, streams, len(trajectories), device) as drawn:
        for s, snapshot in enumerate(run.snapshots):
            while at < snapshot:
                if at % _CHUNK == 0:
                    if halt.is_set():
                        return False
                    equations.check(state, levels, trajectories, at)
                    chunk = drawn.next()
                    run.count(min(_CHUNK, run.snapshots[-1] - at) * len(levels) * len(trajectories))
                step(chunk[at % _CHUNK], at)
                at += 1
            out[:, s] = equations.observe(state, trajectories).cpu().numpy().transpose(1, 2, 0)
        equations.check(state, levels, trajectories, at)
    return True


class _Drawn:
    """The random numbers of a batch, a chunk of steps drawn while the one before is used."""

    def __init__(
        self,
        equations: Equations,
        levels: Sequence[int],
        streams: Sequence[np.random.Generator],
        trajectories: int,
        device: str,
    ) -> None:
        """A stream for each level."""
        import torch

        self.equations, self.device = equations, device
        self.levels = list(zip(levels, streams, strict=True))
        self.buffers = [np.zeros((len(streams), _CHUNK, equations.draws, trajectories)) for _ in range(2)]
        # Views are made once: making them would count, so short are the steps.
        self.steps = [[torch.from_numpy(b[:, k].swapaxes(0, 1)) for k in range(_CHUNK)] for b in self.buffers]
        self.pool = ThreadPoolExecutor(1)
        self.turn = 0
        self.drawn = self.pool.submit(self._draw, 0)

    def __enter__(self) -> _Drawn:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()

    def next(self) -> list[Any]:
        """Tensors (draws, levels, trajectories) of the steps of the next chunk, until the call after this."""
        self.drawn.result()
        ready, self.turn = self.turn, 1 - self.turn
        self.drawn = self.pool.submit(self._draw, self.turn)
        steps = self.steps[ready]
        return steps if self.device == "cpu" else [step.to(self.device) for step in steps]

    def _draw(self, which: int) -> None:
        for (level, stream), buffer in zip(self.levels, self.buffers[which], strict=True):
            self.equations.draw(level, stream, buffer)


def _cpu_name() -> str:
    """What the processor calls itself, where that can be known."""
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
