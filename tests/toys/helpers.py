"""What tests of running engines need."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stochastic_collapse import ToyConfig, ToyRun, load_toy
from stochastic_collapse.resources import shipped
from stochastic_collapse.toys import ToyDirectory
from stochastic_collapse.toys.engines import Availability, all_engines

CHECKOUT = Path(__file__).resolve().parents[2]


@functools.cache
def find_julia() -> str | None:
    """$SC_JULIA, julia on PATH, or the one that tools/get_julia.py has put into the checkout."""
    private = CHECKOUT / ".cache/julia/bin/julia"
    return os.environ.get("SC_JULIA") or shutil.which("julia") or (str(private) if private.exists() else None)


@functools.cache
def availability() -> dict[str, Availability]:
    """Of each engine, with the Julia of `find_julia`."""
    return {engine.name: engine.availability() for engine in all_engines(find_julia())}


def need(engine: str) -> None:
    """Skip the test where `engine` is not available, and say why; fail where $SC_TESTS_NEED names it."""
    state = availability()[engine]
    if not state.available and engine in os.environ.get("SC_TESTS_NEED", "").split(","):
        pytest.fail(f"engine {engine} is needed here, and is not available: {state.reason}")
    if not state.available:
        pytest.skip(f"engine {engine} is not available: {state.reason}")


def in_one_julia(julia: str, configs: Sequence[ToyConfig], out: Path) -> list[ToyRun]:
    """What the engine julia makes of each, without the starts of Julia that are most of the time of small ones."""
    places = [out / f"julia{k}" for k in range(len(configs))]
    for place, config in zip(places, configs, strict=True):
        ToyDirectory(place).prepare(config)
    command = [julia, "--startup-file=no", "--threads=2", f"--project={shipped('julia')}", "-e"]
    simulate = "using StochasticCollapse; foreach(StochasticCollapse.simulate, ARGS)"
    environment = {**os.environ, "SC_ENGINE": "julia"}
    done = subprocess.run([*command, simulate, *map(str, places)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return [load_toy(place) for place in places]


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return when `condition` holds; fail where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process is running (and no zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
