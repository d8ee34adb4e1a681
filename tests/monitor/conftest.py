"""A network in training, for all tests of the monitor."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

Batches = Iterator[tuple[Tensor, Tensor]]


def make_network() -> nn.Sequential:
    """Layers "0" of 12 neurons and "3" of 10, and the head "5"."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Dropout(0.2), nn.Linear(12, 10), nn.GELU(), nn.Linear(10, 3))


def linear(network: nn.Module, name: str) -> nn.Linear:
    found = network.get_submodule(name)
    assert isinstance(found, nn.Linear)
    return found


def make_step(model: nn.Module, lr: float = 0.05) -> Callable[[], None]:
    """A function that takes one step of SGD on random data."""
    device = next(model.parameters()).device
    data = torch.Generator().manual_seed(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)

    def step() -> None:
        x, y = torch.randn(8, 6, generator=data), torch.randint(3, (8,), generator=data)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
        optimizer.step()

    return step


@pytest.fixture
def network() -> nn.Sequential:
    return make_network()


@pytest.fixture
def example() -> Tensor:
    return torch.zeros(2, 6)
