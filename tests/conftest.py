"""Shared by all tests: a private runs root, and a run small enough to train in a fraction of a second."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stochastic_collapse.config import TrainConfig, load_config

from . import torchvision_operators

torchvision_operators.declare()  # before any test imports what imports torchvision

TINY = """
name: tiny
seed: 3
model: {name: mlp, widths: [8, 6]}
data: {name: synthetic, train_size: 60, test_size: 30, shape: [1, 4, 4], num_classes: 3}
batch_size: 8
max_steps: 40
optimizer: {name: sgd, lr: 0.05, momentum: 0.9, weight_decay: 5e-4}
schedule: {name: constant, warmup_steps: 5}
eval_every: 10
log_every: 5
checkpoint_every: 15
collapse: {every: 20}
device: cpu
"""


CUDA_TEST_SECONDS = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture(autouse=True)
def _limited(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test on a GPU, which may be lent for minutes, fails where it takes too long, and the next has its turn."""
    if request.node.get_closest_marker("cuda") is None:
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"not finished after {CUDA_TEST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(CUDA_TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _private_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SC_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SC_DATA", str(tmp_path / "data"))


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """Settings of a tiny run, as a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def tiny(tiny_file: Path) -> Callable[..., TrainConfig]:
    """Settings of a tiny run with the given overrides."""
    return lambda *overrides: load_config(tiny_file, overrides)
