"""Replicates trained as one batched program are, but for rounding, the runs they are alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stochastic_collapse import train, train_replicates
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.errors import InputError, Interrupted, TrainingDiverged
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.training.run import Run
from stochastic_collapse.training.stack import StackedStep

Tiny = Callable[..., TrainConfig]

# float32 rounding, 1.2e-7 a product, over 40 steps of a network that amplifies it little.
TOLERANCE = 1e-5


def state(run: RunDirectory, step: int) -> dict[str, torch.Tensor]:
    content = torch.load(run.checkpoint(step), weights_only=True, map_location="cpu")
    momenta = {
        f"{name} of {k}": value for k, entry in content["optimizer"]["state"].items() for name, value in entry.items()
    }
    return {**content["model"], **momenta, "loss_sum": content["loss_sum"]}


def assert_close(a: RunDirectory, b: RunDirectory, step: int = 40, tolerance: float = TOLERANCE) -> None:
    first, second = state(a, step), state(b, step)
    assert list(first) == list(second)
    for name in first:
        scale = max(1.0, first[name].abs().max().item())
        assert (first[name] - second[name]).abs().max().item() <= tolerance * scale, name
    metrics, others = a.metrics(), b.metrics()
    assert list(metrics["step"]) == list(others["step"])
    assert metrics["train_loss"].to_list() == pytest.approx(others["train_loss"].to_list(), rel=1e-4)
    assert a.collapse()["effective_rank"].to_list() == pytest.approx(b.collapse()["effective_rank"].to_list(), rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        ("data.label_noise=0.3",),
        ("loss=mse", "data.target_noise=0.2", "optimizer={name: adam, lr: 0.01}", "schedule.name=cosine"),
        ("loss=bce", "optimizer={name: sgd, lr: 0.05}", "model.activation=relu"),
    ],
)
def test_each_replicate_equals_its_lone_run(tiny: Tiny, tmp_path: Path, settings: tuple[str, ...]) -> None:
    results = train_replicates(tiny(*settings), 3)
    for k, result in enumerate(results):
        lone = train(tiny(*settings, f"replicate={k}"), out=tmp_path / f"lone_{k}")
        assert result.directory.name == f"replicate_{k}"
        assert_close(RunDirectory(result.directory), RunDirectory(lone.directory))
    assert len({result.train_loss for result in results}) == 3


def test_only_what_is_missing_is_trained(tiny: Tiny) -> None:
    lone = train(tiny("replicate=1"))
    stamp = (lone.directory / "status.json").stat().st_mtime_ns
    results = train_replicates(tiny(), 3)
    assert [result.already_finished for result in results] == [False, True, False]
    assert (lone.directory / "status.json").stat().st_mtime_ns == stamp


def interrupt_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    original = StackedStep.__call__

    def counted(self: StackedStep, lr: float) -> None:
        nonlocal taken
        taken += 1
        original(self, lr)
        if taken == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(StackedStep, "__call__", counted)


@pytest.mark.parametrize("optimizer", ["{name: sgd, lr: 0.05, momentum: 0.9}", "{name: adamw, lr: 0.01}"])
def test_an_interrupted_stack_continues(tiny: Tiny, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    settings = (f"optimizer={optimizer}",)
    whole = [RunDirectory(r.directory) for r in train_replicates(tiny("name=whole", *settings), 2)]
    with monkeypatch.context() as patched:
        interrupt_after(22, patched)
        with pytest.raises(Interrupted, match=r"replicate_0, .*replicate_1: interrupted at step 22 of 40 and saved"):
            train_replicates(tiny(*settings), 2)
    parts = [RunDirectory(r.directory) for r in train_replicates(tiny(*settings), 2)]
    for one, other in zip(whole, parts, strict=True):
        assert max(other.checkpoints()) == 40
        assert 22 in other.checkpoints()
        assert_close(one, other, tolerance=0)  # the same operations on the same numbers


def test_a_stack_and_a_lone_run_continue_each_other(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicate 0 of an interrupted stack goes on alone, replicate 1 in a stack of one step behind another."""
    with monkeypatch.context() as patched:
        interrupt_after(22, patched)
        with pytest.raises(Interrupted):
            train_replicates(tiny(), 2)
    alone = RunDirectory(train(tiny()).directory)
    assert_close(alone, RunDirectory(train(tiny(), out=tmp_path / "lone").directory))
    results = train_replicates(tiny(), 3)
    assert [result.already_finished for result in results] == [True, False, False]
    for k in (1, 2):
        lone = RunDirectory(train(tiny(f"replicate={k}"), out=tmp_path / f"lone_{k}").directory)
        assert_close(RunDirectory(results[k].directory), lone)


def test_one_that_diverges_leaves_the_others_alone(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Run.begin

    def spoiled(self: Run) -> None:
        original(self)
        if self.config.replicate == 1:
            with torch.no_grad():
                self.model.get_parameter("fc1.weight").fill_(float("nan"))

    monkeypatch.setattr(Run, "begin", spoiled)
    with pytest.raises(TrainingDiverged, match="replicate_1: diverged") as raised:
        train_replicates(tiny(), 3)
    assert "replicate_0" not in str(raised.value)
    experiment = RunDirectory.of(tiny()).path.parent
    states = [RunDirectory(experiment / f"replicate_{k}").status()["state"] for k in range(3)]
    assert states == ["finished", "diverged", "finished"]
    monkeypatch.undo()
    for k in (0, 2):
        lone = RunDirectory(train(tiny(f"replicate={k}"), out=tmp_path / f"lone_{k}").directory)
        assert_close(RunDirectory(experiment / f"replicate_{k}"), lone)


def test_settings_that_do_not_stack(tiny: Tiny) -> None:
    assert tiny().stackable
    for other in ("optimizer.gradient_clip=1", "compile=true", "model={name: vgg16}"):
        assert not tiny(other).stackable
    with pytest.raises(InputError, match="tiny: no replicate to train"):
        train_replicates(tiny(), 0)


def test_networks_that_do_not_stack_are_exactly_their_lone_runs(tiny: Tiny, tmp_path: Path) -> None:
    """Dropout draws from the global generator, which each run must find as it would alone."""
    settings = (
        "model={name: vgg16, width: 0.05, dropout: 0.3}",
        "data={name: synthetic, train_size: 32, test_size: 8}",
        "max_steps=4",
        "checkpoint_every=0",
        "eval_every=0",
    )
    for k, result in enumerate(train_replicates(tiny(*settings), 2)):
        lone = train(tiny(*settings, f"replicate={k}"), out=tmp_path / f"lone_{k}")
        assert_close(RunDirectory(result.directory), RunDirectory(lone.directory), step=4, tolerance=0)


def test_a_checkpoint_of_a_stack_holds_one_network(tiny: Tiny) -> None:
    stacked = RunDirectory(train_replicates(tiny("model.widths=[200]"), 4)[0].directory)
    lone = RunDirectory(train(tiny("model.widths=[200]", "seed=4")).directory)
    sizes = [run.checkpoint(40).stat().st_size for run in (stacked, lone)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


@pytest.mark.cuda
def test_a_stack_on_a_gpu_is_the_stack_on_the_cpu(tiny: Tiny, tmp_path: Path) -> None:
    """Captured in a CUDA graph, in float32, up to other kernels' rounding."""
    settings = ("precision=float32", "compile=false", "name=gpu", "device=cuda")
    for k, result in enumerate(train_replicates(tiny(*settings), 2)):
        lone = train(tiny(f"replicate={k}"), out=tmp_path / f"lone_{k}")
        assert_close(RunDirectory(result.directory), RunDirectory(lone.directory), tolerance=1e-3)
