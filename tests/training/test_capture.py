"""A step captured as on CUDA, by the stand-ins of captured.py: its rules, and that replays are the eager steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.loader import Batch
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.training import step as step_module
from stochastic_collapse.training.execution import resolve
from stochastic_collapse.training.run import Run
from stochastic_collapse.training.stack import StackedStep

from .captured import Graph, Waits, stand_in

Tiny = Callable[..., TrainConfig]

STEPS = 9
"""Three eager, one that captures and replays, five that replay."""


def make_run(config: TrainConfig, *, captured: bool) -> Run:
    execution = replace(resolve(config), cuda_graphs=captured)
    return Run(config, RunDirectory(Path("unused")), load_dataset(config.data), execution, print)


def rate(step: int) -> float:
    return 0.05 / (step + 1)


def state(run: Run) -> list[Tensor]:
    momenta = [value for entry in run.optimizer.state.values() for value in entry.values()]
    return [*run.model.state_dict().values(), *momenta, run.loss_sum]


SETTINGS: dict[str, Sequence[str]] = {
    "sgd": ("data.label_noise=0.3",),
    "adamw, clipped": ("optimizer={name: adamw, lr: 0.01}", "optimizer.gradient_clip=0.1"),
    "targets": ("loss=mse", "data.target_noise=0.2"),
    "in parts": ("batch_size=full", "data.label_noise=0.3", "micro_batch=25"),
    "isotropic": ("gradient_noise=isotropic", "data.label_noise=0.3"),
    "no noise": ("gradient_noise=none", "data.label_noise=0.3"),
    "vgg16": (
        "model={name: vgg16, width: 0.05, batch_norm: true}",
        "data={name: synthetic, train_size: 32, test_size: 8, crop_padding: 2, flip: true}",
    ),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_replays_are_the_eager_steps(tiny: Tiny, settings: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    config = tiny(*settings)
    eager, captured = (make_run(config, captured=captured) for captured in (False, True))
    places = [p.data_ptr() for p in captured.model.parameters()]
    for k in range(STEPS):
        eager.take_step(rate(k))
        captured.take_step(rate(k))
    assert Graph.replays == STEPS - 3
    for one, other in zip(state(captured), state(eager), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert places == [p.data_ptr() for p in captured.model.parameters()]


def test_a_stacks_replays_are_its_eager_steps(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    ends = []
    for captured in (False, True):
        runs = [make_run(tiny(f"replicate={k}", "data.label_noise=0.3"), captured=captured) for k in range(3)]
        stack = StackedStep(runs)
        for k in range(STEPS):
            stack(rate(k))
        stack.before_saving()
        ends.append([value for run in runs for value in state(run)])
    assert Graph.replays == STEPS - 3
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


# --- the stand-ins find what breaks the rules ---


def test_a_step_that_waits_for_the_device_is_refused(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        logits = model(batch.inputs)
        loss = nn.functional.cross_entropy(logits, batch.targets)
        return logits, loss / max(1.0, loss.item())

    stand_in(monkeypatch)
    run = make_run(tiny(), captured=True)
    run._take_step._objective = waiting
    for k in range(3):
        run.take_step(rate(k))
    with pytest.raises(Waits, match="_local_scalar_dense in a captured step waits"):
        run.take_step(rate(3))


def test_a_number_of_pythons_in_a_step_is_found(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate that is not on the device stays what it was at the capture."""
    original = step_module.make_optimizer
    monkeypatch.setattr(
        "stochastic_collapse.training.run.make_optimizer", lambda *a, capturable: original(*a, capturable=False)
    )
    stand_in(monkeypatch)
    eager, captured = (make_run(tiny(), captured=captured) for captured in (False, True))
    for k in range(STEPS):
        eager.take_step(rate(k))
        captured.take_step(rate(k))
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(state(captured), state(eager), strict=True))
