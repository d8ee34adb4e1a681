"""A sweep of tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SWEEP = """
name: rates
replicates: 2
experiments:
  mlp:
    base: tiny.yaml
    settings: {max_steps: 30}
    grid:
      optimizer.lr: [0.01, 0.1]
"""


@pytest.fixture
def sweep_file(tiny_file: Path) -> Callable[[str], Path]:
    """Writes a sweep's file beside tiny.yaml, its base."""

    def write(text: str = SWEEP) -> Path:
        path = tiny_file.with_name("sweep.yaml")
        path.write_text(text)
        return path

    return write
