"""Small toy simulations, the engines that this machine has, and a program that pretends to be Julia."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stochastic_collapse import ToyConfig, load_toys

from .helpers import availability, need

FAKE = Path(__file__).with_name("fake_julia.py")

NEURON = """
name: neuron
problem: {name: single-neuron, points: 8}
dt: 0.01
noise: [0.5, 2, 4]
trajectories: 6
snapshots: [0, 5, 20]
"""
WELL = """
name: well
problem: {name: quartic-well}
dt: 0.01
noise: [0.5, 2.5]
trajectories: 6
snapshots: [0, 5, 20]
"""
STUDENT = """
name: student
problem: {name: teacher-student, points: 64, inputs: 6, outputs: 5, teacher: [0.8, 1.2]}
lr: 0.64
noise: [0, 3, 12]
trajectories: 6
snapshots: [0, 5, 20]
"""
GENERAL = """
name: general
problem: {name: teacher-student-general, points: 32, inputs: 5, outputs: 4, teacher: [0.8, 1.2]}
lr: 0.5
noise: [1, 4, 32]
trajectories: 2
snapshots: [0, 5, 20]
"""
NEURONS = """
name: neurons
seed: 4
problem: {name: two-neurons}
lr: [0.1, 0.3, 0.1]
noise: [0.1, 0.1, 0]
trajectories: 3
snapshots: [0, 5, 20]
"""
STUDENTS = """
name: students
problem: {name: students, inputs: 3, points: 9, teacher: 2, teachers: 2, widths: [5], test_points: 20}
lr: 0.1
noise: [0, 0.4]
trajectories: 4
snapshots: [0, 5, 20]
"""


@pytest.fixture
def julia() -> str:
    """A real Julia."""
    need("julia")
    return str(availability()["julia"].details["executable"])


def config_of(text: str, *overrides: str) -> ToyConfig:
    (config,) = load_toys(None, [f"{k}={v}" for k, v in _pairs(text)] + list(overrides))
    return config


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.strip().splitlines():
        key, _, value = line.partition(": ")
        yield key, value


@pytest.fixture
def neuron() -> Callable[..., ToyConfig]:
    """Settings of a tiny single-neuron run with the given overrides."""
    return functools.partial(config_of, NEURON)


@pytest.fixture
def well() -> Callable[..., ToyConfig]:
    """Settings of a tiny quartic-well run with the given overrides."""
    return functools.partial(config_of, WELL)


@pytest.fixture
def student() -> Callable[..., ToyConfig]:
    """Settings of a tiny teacher–student run, diagonal form, with the given overrides."""
    return functools.partial(config_of, STUDENT)


@pytest.fixture
def general() -> Callable[..., ToyConfig]:
    """Settings of a tiny teacher–student run, general form, with the given overrides."""
    return functools.partial(config_of, GENERAL)


@pytest.fixture
def neurons() -> Callable[..., ToyConfig]:
    """Settings of a tiny two-neuron run with the given overrides."""
    return functools.partial(config_of, NEURONS)


@pytest.fixture
def students() -> Callable[..., ToyConfig]:
    """Settings of a tiny run of nonlinear students with the given overrides."""
    return functools.partial(config_of, STUDENTS)


@pytest.fixture
def fake_julia(tmp_path: Path) -> Path:
    """The program that pretends to be Julia."""
    path = tmp_path / "fake" / "julia"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def start_sc() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `sc simulate-toy` in a process; whatever is left of it afterwards is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(config: ToyConfig, *arguments: object, grace: float = 10.0) -> subprocess.Popen[str]:
        overrides = [f"{key}={value}" for key, value in config.model_dump(mode="json").items()]
        script = (
            "import sys, stochastic_collapse.toys.engines.child as child; from stochastic_collapse import cli; "
            f"child.GRACE = {grace}; sys.argv[0] = 'sc'; cli.main()"
        )
        command = [sys.executable, "-c", script, "simulate-toy", config.problem.name, *overrides, *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
