"""The training loop from outside: what it leaves on disk, and what survives interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from stochastic_collapse import train
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.dataset import first
from stochastic_collapse.errors import InputError, Interrupted, TrainingDiverged
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.training.run import Run
from stochastic_collapse.training.step import TrainingStep

Tiny = Callable[..., TrainConfig]
TABLES = ("metrics.csv", "collapse.csv", "config.yaml")


def weights(run: RunDirectory, step: int) -> dict[str, torch.Tensor]:
    return dict(torch.load(run.checkpoint(step), weights_only=True)["model"])


def assert_same_run(a: RunDirectory, b: RunDirectory, step: int = 40) -> None:
    for table in TABLES:
        assert (a.path / table).read_bytes() == (b.path / table).read_bytes(), table
    assert list(a.checkpoints()) == list(b.checkpoints())
    first, second = weights(a, step), weights(b, step)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_a_run_leaves(tiny: Tiny) -> None:
    config = tiny()
    result = train(config)
    run = RunDirectory(result.directory)
    assert run.path.parent.name.startswith("tiny-")
    assert run.path.name == "replicate_0"
    assert run.config() == config
    metrics = run.metrics()
    assert list(metrics["step"]) == [5, 10, 15, 20, 25, 30, 35, 40]
    assert list(metrics["epoch"]) == [step / 7 for step in metrics["step"]]  # 60 examples, batches of 8
    assert list(metrics["lr"]) == [0.05] * 8
    assert list(metrics.dropna()["step"]) == [10, 20, 30, 40]
    assert metrics["train_loss"].iloc[-1] < metrics["train_loss"].iloc[0]
    assert list(run.checkpoints()) == [15, 30, 40]
    status = run.status()
    assert (status["state"], status["step"]) == ("finished", 40)
    assert status["versions"]["torch"] == torch.__version__
    assert result.eval_accuracy == metrics["eval_accuracy"].iloc[-1]
    assert list(result.collapse["layer"]) == ["fc1", "fc2"]
    assert not list(run.path.rglob(".*tmp"))


def test_the_evaluation_is_over_the_whole_test_set(tiny: Tiny) -> None:
    from stochastic_collapse.data.datasets import load_dataset
    from stochastic_collapse.models import build_model

    config = tiny()
    result = train(config)
    dataset = load_dataset(config.data)
    model = build_model(config.model, dataset.task)
    model.load_state_dict(weights(RunDirectory(result.directory), 40))
    logits = model((first(dataset.test.inputs).float() - 127.5) / 52.0)
    assert result.eval_accuracy == (logits.argmax(1) == dataset.test.targets).double().mean().item()
    assert result.eval_loss == pytest.approx(
        torch.nn.functional.cross_entropy(logits, dataset.test.targets).item(), rel=1e-5
    )


def test_a_finished_run_is_not_trained_again(tiny: Tiny) -> None:
    first = train(tiny())
    stamp = (first.directory / "status.json").stat().st_mtime_ns
    said: list[str] = []
    second = train(tiny(), report=said.append)
    assert second.already_finished
    assert not first.already_finished
    assert "already finished" in said[0]
    assert (first.directory / "status.json").stat().st_mtime_ns == stamp
    assert second.collapse.equals(first.collapse)


def test_replicates_and_seeds_differ_and_repeat(tiny: Tiny, tmp_path: Path) -> None:
    base = RunDirectory(train(tiny()).directory)
    again = RunDirectory(train(tiny(), out=tmp_path / "again").directory)
    assert_same_run(base, again)
    other = RunDirectory(train(tiny("replicate=1")).directory)
    assert other.path.parent == base.path.parent
    assert not torch.equal(weights(base, 40)["fc1.weight"], weights(other, 40)["fc1.weight"])


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process SIGINT after so many steps."""
    taken = 0
    original = TrainingStep.__call__

    def counted(self: TrainingStep, *args: object) -> None:
        nonlocal taken
        taken += 1
        original(self, *args)  # type: ignore[arg-type]
        if taken == steps:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingStep, "__call__", counted)


@pytest.mark.parametrize("at", [1, 13, 15, 22, 39])
@pytest.mark.parametrize(
    "settings",
    [
        ("data.label_noise=0.3",),
        ("loss=mse", "data.target_noise=0.2", "optimizer={name: adam, lr: 0.01}", "schedule.name=cosine"),
        ("batch_size=full", "data.label_noise=0.3"),
        ("gradient_noise=none", "data.label_noise=0.3", "data.crop_padding=1", "data.flip=true"),
        ("gradient_noise=isotropic", "data.label_noise=0.3", "micro_batch=25"),
    ],
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, settings: tuple[str, ...]
) -> None:
    whole = RunDirectory(train(tiny(*settings), out=tmp_path / "whole").directory)
    with monkeypatch.context() as patched:
        stop_after(at, patched)
        with pytest.raises(Interrupted, match=f"interrupted at step {at} of 40 and saved"):
            train(tiny(*settings), out=tmp_path / "parts")
    parts = RunDirectory(tmp_path / "parts")
    assert parts.status()["state"] == "interrupted"
    said: list[str] = []
    train(tiny(*settings), out=tmp_path / "parts", report=said.append)
    assert f"continues at step {at} of 40" in said[0]
    if at not in (15, 30, 40):
        parts.checkpoint(at).unlink()  # the one more that the interruption wrote
    assert_same_run(whole, parts)


def test_batches_of_any_size_continue_exactly(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bits of a matrix product may depend on where in memory a batch lies."""
    settings = (
        "batch_size=3",
        "model.widths=[250,31]",
        "data={name: synthetic, shape: [1, 13, 13], train_size: 60, test_size: 9}",
        "max_steps=12",
    )
    whole = RunDirectory(train(tiny(*settings), out=tmp_path / "whole").directory)
    for at in (1, 2, 5):
        with monkeypatch.context() as patched:
            stop_after(at, patched)
            with pytest.raises(Interrupted):
                train(tiny(*settings), out=tmp_path / f"parts-{at}")
        parts = RunDirectory(train(tiny(*settings), out=tmp_path / f"parts-{at}").directory)
        parts.checkpoint(at).unlink()
        assert_same_run(whole, parts, step=12)


def test_an_interruption_before_the_first_step_measures_step_0_once(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Run.begin

    def interrupted(self: Run) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        original(self)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "begin", interrupted)
        with pytest.raises(Interrupted, match="at step 0 of 40"):
            train(tiny())
    result = train(tiny())
    assert list(RunDirectory(result.directory).collapse()["step"]) == [0, 0, 20, 20, 40, 40]


@pytest.mark.parametrize(("first", "second"), [("true", "false"), ("false", "true")])
def test_a_run_may_continue_in_another_memory_layout(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    """Up to rounding: 1e-4 of the largest weight; scrambled momenta make it 1e-1."""
    settings = (
        "model={name: vgg16, width: 0.1}",
        "data={name: synthetic, train_size: 64, test_size: 8}",
        "max_steps=8",
        "schedule.warmup_steps=0",
    )
    whole = RunDirectory(train(tiny(*settings), out=tmp_path / "whole").directory)
    with monkeypatch.context() as patched:
        stop_after(4, patched)
        with pytest.raises(Interrupted):
            train(tiny(*settings, f"channels_last={first}"), out=tmp_path / "parts")
    parts = RunDirectory(train(tiny(*settings, f"channels_last={second}"), out=tmp_path / "parts").directory)
    a, b = weights(whole, 8), weights(parts, 8)
    assert max(((a[n] - b[n]).abs().max() / a[n].abs().max()).item() for n in a if n.endswith("weight")) < 1e-4


def test_dropout_continues_exactly(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (
        "model={name: vgg16, width: 0.05, dropout: 0.5, batch_norm: true}",
        "data={name: synthetic, train_size: 32, test_size: 8, flip: true, crop_padding: 2}",
        "max_steps=6",
        "checkpoint_every=0",
    )
    whole = RunDirectory(train(tiny(*settings), out=tmp_path / "whole").directory)
    with monkeypatch.context() as patched:
        stop_after(3, patched)
        with pytest.raises(Interrupted):
            train(tiny(*settings), out=tmp_path / "parts")
    parts = RunDirectory(train(tiny(*settings), out=tmp_path / "parts").directory)
    parts.checkpoint(3).unlink()
    assert_same_run(whole, parts, step=6)


LONG = ("max_steps=100000", "checkpoint_every=50", "eval_every=500", "log_every=100", "collapse.every=0")


@pytest.fixture
def long_run(tiny_file: Path, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    processes = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "stochastic_collapse", "train", "-f", str(tiny_file), *LONG]
        process = subprocess.Popen(
            [*command, "--out", str(tmp_path / "run")], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        deadline = time.monotonic() + 60
        while len(RunDirectory(tmp_path / "run").checkpoints()) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no checkpoint within a minute"
            time.sleep(0.01)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_exit_130(
    long_run: Callable[[], subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    process = long_run()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "interrupted at step" in err
    assert "Traceback" not in err
    run = RunDirectory(tmp_path / "run")
    status = run.status()
    assert status["state"] == "interrupted"
    assert status["step"] == max(run.checkpoints())


@pytest.mark.parametrize("batches", [(), ("batch_size=full", "data.label_noise=0.3")])
def test_kill_9_leaves_whole_files_and_the_run_ends_as_an_uninterrupted_one(
    tiny_file: Path, tmp_path: Path, batches: tuple[str, ...]
) -> None:
    steps = ("max_steps=1200", "checkpoint_every=50", "eval_every=100", "log_every=20", "collapse.every=100")
    settings = (*steps, *batches)
    whole, killed = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "killed")

    def start(run: RunDirectory) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "stochastic_collapse", "train", "-f", str(tiny_file), *settings]
        return subprocess.Popen([*command, "--out", str(run)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    assert start(whole).wait() == 0
    for kill_at in (150, 600):
        process = start(killed)
        deadline = time.monotonic() + 60
        while not (checkpoints := killed.checkpoints()) or max(checkpoints) < kill_at:
            assert time.monotonic() < deadline, "no progress within a minute"
            time.sleep(0.002)
        process.kill()
        process.wait()
        assert killed.status()["state"] in ("running", "finished")
        for path in killed.checkpoints().values():
            torch.load(path, weights_only=True)
        killed.metrics(), killed.collapse(), killed.config()
    assert start(killed).wait() == 0
    assert_same_run(whole, killed, step=1200)
    assert not list(killed.path.rglob(".*tmp"))


def test_a_diverging_run_stops_and_keeps_the_last_good_checkpoint(tiny: Tiny) -> None:
    config = tiny("optimizer.lr=1e6", "schedule.warmup_steps=40", "loss=mse", "checkpoint_every=1", "log_every=4")
    with pytest.raises(TrainingDiverged, match=r"diverged: .*the checkpoint of step \d+ is kept\. Try a lower"):
        train(config)
    run = RunDirectory.of(config)
    assert run.status()["state"] == "diverged"
    last = max(run.checkpoints())
    assert all(value.isfinite().all() for value in weights(run, last).values())
    with pytest.raises(TrainingDiverged, match="diverged before"):
        train(config)


def test_divergence_is_noticed_without_checkpoints(tiny: Tiny) -> None:
    config = tiny("optimizer.lr=1e30", "schedule.warmup_steps=0", "loss=mse", "checkpoint_every=0", "collapse.every=2")
    with pytest.raises(TrainingDiverged, match="no checkpoint had been written"):
        train(config)


def test_another_runs_directory_is_not_touched(tiny: Tiny, tmp_path: Path) -> None:
    train(tiny(), out=tmp_path / "run")
    with pytest.raises(InputError, match="holds another run"):
        train(tiny("seed=9"), out=tmp_path / "run")


def test_a_directory_of_other_things_is_not_touched(tiny: Tiny, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    (home / "work" / ".draft.tmp").touch()
    with pytest.raises(InputError, match=r"is not empty and holds no run \(work, …\)"):
        train(tiny(), out=home)
    assert (home / "work" / ".draft.tmp").exists()


def test_bad_input_leaves_no_directory(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="batch_size"):
        train(tiny("batch_size=61"))
    with pytest.raises(InputError, match="missing"):
        train(tiny("data={name: cifar10}"))
    assert not (tmp_path / "runs").exists()


def test_training_leaves_the_callers_generator_and_threads_alone(tiny: Tiny) -> None:
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tiny("threads=1"))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_bfloat16_on_a_cpu_that_has_it(tiny: Tiny) -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(InputError, match="precision: bfloat16 asked for, but this cpu device cannot"):
            train(tiny("precision=bfloat16"))
        return
    exact, rounded = train(tiny()), train(tiny("precision=bfloat16"))
    assert rounded.eval_loss != exact.eval_loss
    assert rounded.eval_loss == pytest.approx(exact.eval_loss, rel=0.1)


@pytest.mark.cuda
@pytest.mark.parametrize("options", [("compile=false", "cuda_graphs=false"), ("compile=false",), ()])
def test_cuda_agrees_with_the_cpu(tiny: Tiny, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Float32 rounding only: the batches and the initialization are the same."""
    on_cpu = train(tiny("precision=float32"), out=tmp_path / "cpu")
    on_cuda = train(tiny("device=cuda", "precision=float32", *options), out=tmp_path / "cuda")
    assert on_cuda.eval_loss == pytest.approx(on_cpu.eval_loss, rel=1e-3)


@pytest.mark.cuda
@pytest.mark.parametrize(
    "settings",
    [
        ("model={name: vgg16, width: 0.1}",),
        # Normalized over so few numbers it amplifies a rounding 30,000-fold in 12 steps; in 6 gentle ones, of which 3
        # are replayed, 10-fold.
        ("model={name: vgg16, width: 0.1, batch_norm: true}", "max_steps=6", "optimizer.lr=0.005"),
        ("model={name: resnet18, width: 0.1}",),
        ("optimizer={name: adamw, lr: 0.01}", "optimizer.gradient_clip=1"),
        ("batch_size=full", "data.label_noise=0.3", "micro_batch=25"),
        ("gradient_noise=isotropic", "data.label_noise=0.3"),
    ],
)
def test_a_captured_step_is_the_eager_step(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    """With cuDNN, fused updates and normalization in the graph; up to the order of additions over 12 steps."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # 10-bit rounding that one algorithm has, one not
    common = (
        "device=cuda",
        "precision=float32",
        "compile=false",
        "data={name: synthetic, train_size: 64, test_size: 32}",
        "max_steps=12",
        *settings,
    )
    eager = train(tiny(*common, "cuda_graphs=false"), out=tmp_path / "eager")
    captured = train(tiny(*common), out=tmp_path / "captured")
    assert captured.train_loss == pytest.approx(eager.train_loss, rel=1e-2)
    assert captured.eval_loss == pytest.approx(eager.eval_loss, rel=1e-2)


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", ["{name: sgd, lr: 0.05, momentum: 0.9}", "{name: adam, lr: 0.01}"])
def test_a_captured_run_continues(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    settings = ("device=cuda", "precision=float32", "compile=false", f"optimizer={optimizer}")
    whole = train(tiny(*settings), out=tmp_path / "whole")
    with monkeypatch.context() as patched:
        stop_after(22, patched)
        with pytest.raises(Interrupted):
            train(tiny(*settings), out=tmp_path / "parts")
    parts = train(tiny(*settings), out=tmp_path / "parts")
    assert parts.eval_loss == pytest.approx(whole.eval_loss, rel=1e-3)
    for name, value in weights(RunDirectory(whole.directory), 40).items():
        torch.testing.assert_close(weights(RunDirectory(parts.directory), 40)[name], value, rtol=1e-3, atol=1e-4)
