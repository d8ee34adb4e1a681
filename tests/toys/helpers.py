"""What tests of running engines need."""

from __future__ import annotations

import functools
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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
    """Skip the test where `engine` is not available, and say why."""
    state = availability()[engine]
    if not state.available:
        pytest.skip(f"engine {engine} is not available: {state.reason}")


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
