"""Toy run directories: the only Python code that knows the names of their files (docs/reference/run-directory.md#toys).

    runs/<name>-<hash12>/
        spec.toml  x.npy  y.npy  …                          written here: what to simulate
        time.npy  noise.npy  state.npy  provenance.toml     written by an engine; state.npy comes last
        levels/level_00012.npy                              noise levels finished so far, while there is no state.npy

Julia's half of this contract is `simulate` of julia/src/simulate.jl.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from filelock import FileLock, Timeout
from tomlkit.exceptions import TOMLKitError

from ..errors import InputError, RunLocked
from ..runs import refuse_foreign, remove_left_overs, runs_root, write_atomically
from .arrays import Array
from .problems import ToyConfig, data_of, spec_of, toy_identity

ENGINE_LOCK = ".engine.lock"
"""Held by the process that an engine runs in, which may live some seconds longer than the one that started it."""

_DATA = ("x", "y", "s_star", "teacher", "v", "u", "x_test", "y_test", "start", "rate")

_FAREWELL = 15.0  # seconds within which an engine whose starter was killed is gone


def _alike(one: Array, other: Array) -> bool:
    return one.shape == other.shape and np.allclose(one, other)


@dataclass(frozen=True)
class ToyRun:
    """A finished toy simulation; S snapshots of N trajectories at each of K noise levels, D numbers in a state."""

    directory: Path
    spec: dict[str, Any]
    """What was simulated: problem, method, seed, dt or lr, trajectories, noise, snapshots, parameters."""
    provenance: dict[str, Any]
    """How: engine, why that one, versions, threads, seconds, steps, and a copy of the inputs."""
    time: Array
    """(S,): times of the snapshots, of a recursion of SGD their steps."""
    noise: Array
    """(K,): η of the single neuron, ζ of the quartic well, σ or the mini-batch size of a recursion of SGD."""
    state: Array
    """(K, S, N, D), read from disk where it is used: (w1, w2) of the neuron, θ of the well, (u, v) of all modes of the
    teacher–student, (V, U) of its general form, weights and momenta of the two neurons, weights, training and test
    error of students."""
    data: dict[str, Array]
    """By name: x and y, each (m,), of the single neuron; of the others see `data` of their settings, and `data_of`."""

    def probability_within(self, radius: float) -> Array:
        """P(‖state‖ < radius) at each noise level and snapshot, (K, S): the fraction of the trajectories."""
        return np.stack([(np.linalg.norm(level, axis=-1) < radius).mean(axis=-1) for level in self.state])

    @property
    def nanoseconds_per_step(self) -> float:
        """Nanoseconds of wall time per step of one trajectory."""
        return 1e9 * float(self.provenance["seconds"]) / max(1, self.provenance["steps"])

    def summary(self) -> str:
        """One line for people."""
        levels, _, trajectories, _ = self.state.shape
        steps, taken = self.spec["snapshots"][-1], self.nanoseconds_per_step
        return (
            f"{self.directory}: {_count(levels, 'noise level')} × {_count(trajectories, 'trajectory')} × "
            f"{_count(steps, 'step')} "
            f"in {self.provenance['seconds']:.1f} s ({taken:.{1 if taken >= 1 else 3}f} ns per trajectory-step) "
            f"with the engine {self.provenance['engine']}"
        )

    def to_json(self) -> dict[str, Any]:
        """The run as JSON values, without the states."""
        provenance = {key: value for key, value in self.provenance.items() if key != "inputs"}
        return {"run": str(self.directory), "spec": self.spec, "provenance": provenance, "shape": self.state.shape}


def _count(number: int, what: str) -> str:
    """Such as 1 trajectory, 2 trajectories."""
    return f"{number} {what if number == 1 else what.removesuffix('y') + 'ies' if what.endswith('y') else what + 's'}"


def load_toy(path: str | Path) -> ToyRun:
    """Read a finished toy run. Raises `InputError` where there is none, or an unfinished or broken one."""
    return ToyDirectory(Path(path)).load()


@dataclass(frozen=True)
class ToyDirectory:
    """One toy simulation on disk."""

    path: Path

    @classmethod
    def of(cls, config: ToyConfig) -> ToyDirectory:
        """The directory that the identity of `config` names."""
        return cls(runs_root() / f"{config.name}-{toy_identity(config)}")

    def __str__(self) -> str:
        return str(self.path)

    # --- what to simulate ---

    def prepare(self, config: ToyConfig) -> bool:
        """Write the inputs, spec.toml last, and return True; where there are some, see that they are of `config`."""
        spec, data = spec_of(config), data_of(config)
        if self._file("spec.toml").is_file():
            there = self.spec()
            differing = sorted(key for key in {*there, *spec} if there.get(key) != spec.get(key))
            if not differing:
                found = self.data()
                differing = [name for name in data if name not in found or not _alike(found[name], data[name])]
            if differing:
                raise InputError(
                    f"{self}: holds another simulation (differs in {', '.join(differing)}); choose another --out"
                )
            return False
        # A call that was killed here may have left the data, since spec.toml comes last.
        refuse_foreign(self.path, (".lock", ENGINE_LOCK, *(f"{name}.npy" for name in data)))
        for name, values in data.items():
            self.write_array(f"{name}.npy", values)
        self._write_toml("spec.toml", spec)
        return True

    def discard(self) -> None:
        """Remove all of it, which is ours: `prepare` found nothing else here. Windows keeps its lock, which is held."""
        shutil.rmtree(self.path, ignore_errors=True)

    def spec(self) -> dict[str, Any]:
        return self._read_toml("spec.toml")

    def data(self) -> dict[str, Array]:
        """What the problem has: see its settings' `data`, and `data_of`."""
        return {name: self._read_array(f"{name}.npy") for name in _DATA if self._file(f"{name}.npy").is_file()}

    # --- results ---

    @property
    def is_finished(self) -> bool:
        return self._file("state.npy").is_file() and self._file("provenance.toml").is_file()

    def load(self) -> ToyRun:
        """See `load_toy`."""
        if not self._file("spec.toml").is_file():
            raise InputError(f"{self}: no toy run here: expected a directory with spec.toml")
        spec = self.spec()
        if not self.is_finished:
            done, levels = self.levels_done(), len(spec["noise"])
            raise InputError(
                f"{self}: not finished ({done} of {levels} noise levels); the command that began it continues it"
            )
        run = ToyRun(
            directory=self.path,
            spec=spec,
            provenance=self.provenance(),
            time=self._read_array("time.npy"),
            noise=self._read_array("noise.npy"),
            state=self._read_array("state.npy", mapped=True),
            data=self.data(),
        )
        expected = (len(spec["noise"]), len(spec["snapshots"]), spec["trajectories"])
        found = run.state.shape[:3]
        if found != expected or run.noise.shape != expected[:1] or run.time.shape != expected[1:2]:
            raise InputError(f"{self}: state.npy has the shape {run.state.shape}, and spec.toml says {expected}")
        return run

    def provenance(self) -> dict[str, Any]:
        return self._read_toml("provenance.toml")

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        self._write_toml("provenance.toml", provenance)

    # --- what an engine leaves on the way ---

    @property
    def levels(self) -> Path:
        return self.path / "levels"

    def level(self, k: int) -> Path:
        """The file of noise level k, (S, N, D)."""
        return self.levels / f"level_{k:05d}.npy"

    def levels_done(self) -> int:
        """How many noise levels are finished, where the run is not."""
        return len(list(self.levels.glob("level_*.npy")))

    def claim_levels(self, stream: str) -> int:
        """Keep the finished noise levels if they are made of random numbers of this `stream`, and return their number.

        Else they are removed: a run is of one stream, so that it equals the uninterrupted one. Engines other than
        Julia note theirs with `write_stream`.
        """
        note = self.levels / "stream"
        if self.levels.is_dir() and stream != (note.read_text() if note.is_file() else "julia"):
            shutil.rmtree(self.levels)
        return self.levels_done()

    def write_stream(self, stream: str) -> None:
        """Note whose random numbers the noise levels are made of."""
        with write_atomically(self.levels / "stream") as temporary:
            temporary.write_text(stream)

    def seconds(self) -> float:
        """Seconds spent on the noise levels in `levels`, over all calls; both engines keep them in the same file."""
        file = self.levels / "seconds"
        return float(file.read_text()) if file.is_file() else 0.0

    def write_seconds(self, seconds: float) -> None:
        with write_atomically(self.levels / "seconds") as temporary:
            temporary.write_text(str(seconds))

    def write_array(self, name: str, values: Array) -> None:
        with write_atomically(self._file(name)) as temporary, temporary.open("wb") as file:
            np.save(file, values)

    def collect_levels(self, shape: tuple[int, ...]) -> None:
        """Make state.npy of the noise levels, one in memory at a time, and remove these."""
        with write_atomically(self._file("state.npy")) as temporary:
            state = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float64, shape=shape)
            for k in range(len(state)):
                state[k] = np.load(self.level(k))
            state.flush()
        self.remove_levels()

    def remove_levels(self) -> None:
        shutil.rmtree(self.levels, ignore_errors=True)

    # --- one process at a time ---

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for this process; `RunLocked` where another process holds it.

        An engine whose starter was killed ends within seconds; until it has, this waits.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self._locked(".lock", 0, "another process simulates in this directory; wait for it or stop it"):
            with self._locked(ENGINE_LOCK, _FAREWELL, "an engine of an earlier call still runs here; stop it"):
                remove_left_overs(self.path, self.levels)
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, timeout: float, why_not: str) -> Iterator[None]:
        lock = FileLock(self._file(name))
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise RunLocked(f"{self}: {why_not}") from None
        try:
            yield
        finally:
            lock.release()

    # --- plain files ---

    def _file(self, name: str) -> Path:
        return self.path / name

    def _read_array(self, name: str, *, mapped: bool = False) -> Array:
        try:
            values = np.load(self._file(name), mmap_mode="r" if mapped else None)
        except (OSError, ValueError) as error:
            raise InputError(f"{self._file(name)}: cannot be read: {error}") from None
        if values.dtype != np.float64:
            raise InputError(f"{self._file(name)}: holds {values.dtype} values, expected float64")
        return values

    def _read_toml(self, name: str) -> dict[str, Any]:
        try:
            return tomlkit.parse(self._file(name).read_text(encoding="utf-8")).unwrap()
        except (OSError, UnicodeDecodeError, TOMLKitError) as error:
            raise InputError(f"{self._file(name)}: cannot be read: {error}") from None

    def _write_toml(self, name: str, content: dict[str, Any]) -> None:
        with write_atomically(self._file(name)) as temporary:
            temporary.write_text(tomlkit.dumps(content), encoding="utf-8")
