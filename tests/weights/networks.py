"""A small network whose weights the tests of reading write to files, and what would show that a file's code ran."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

BOMBED = Path(tempfile.gettempdir()) / f"stochastic_collapse_ran_code_{os.getpid()}"


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (BOMBED,))


def network() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))


def trained_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Of which every parameter has moments."""
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()
    return optimizer


def same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Whether names, dtypes and values are equal."""
    return found.keys() == expected.keys() and all(
        found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in expected.items()
    )
