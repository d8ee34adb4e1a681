"""Steps per second of our loop beside plain PyTorch loops: same network, data, batch size and optimizer, same run.

    python benchmarks/training.py [--case digits-mlp,vgg16,resnet18] [--repeats 3] [--block 3] [--out FOLDER]

The plain loop is what a tutorial writes: a Dataset whose items are transformed one by one (crop, flip, normalize), a
DataLoader with workers (none for digits, where they would only cost), eager steps, mixed precision on CUDA. On CUDA two
more have their batches ready on the device, so that only steps are compared, one of them with torch.compile. There our
loop is also taken with each part of its automatic form off, and its operations per second are compared with those of
a large bfloat16 matrix product. Data are random numbers of the data sets' shapes.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.flop_counter import FlopCounterMode

from records import Figure, Results, chosen, parser
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.dataset import Dataset, first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.loader import Batch
from stochastic_collapse.models import build_model
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.training.execution import resolve
from stochastic_collapse.training.losses import LOSSES
from stochastic_collapse.training.run import Run
from timing import in_turns, repeated, seconds


@dataclass(frozen=True)
class Case:
    title: str
    model: dict[str, Any]
    data: dict[str, Any]
    batch_size: int
    workers: bool = True

    def config(self, width: float, **changes: Any) -> TrainConfig:
        model = self.model | ({} if self.model["name"] == "mlp" else {"width": width})
        return TrainConfig.model_validate(
            {
                "name": "benchmark",
                "model": model,
                "data": {"name": "synthetic", **self.data},
                "batch_size": self.batch_size,
                "max_steps": 1,
                "optimizer": {"name": "sgd", "lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4},
                **changes,
            }
        )


DIGITS = {"shape": (1, 8, 8), "train_size": 1437}
CIFAR = {"train_size": 50_000, "crop_padding": 4, "flip": True}
CASES = {
    "digits-mlp": Case("digits MLP", {"name": "mlp"}, DIGITS, batch_size=32, workers=False),
    "vgg16": Case("VGG-16", {"name": "vgg16"}, CIFAR, batch_size=256),
    "resnet18": Case("ResNet-18", {"name": "resnet18"}, CIFAR | {"num_classes": 100}, batch_size=128),
}

PARTS: dict[str, dict[str, Any]] = {
    "cuda_graphs": {"cuda_graphs": False},
    "compile": {"compile": False},
    "channels_last": {"channels_last": False},
    "precision": {"precision": "float32"},
}
"""Of our loop's automatic form on CUDA, and the setting that switches each off."""


class PlainDataset(TorchDataset[tuple[Tensor, Tensor]]):
    """One example at a time, as transforms do it."""

    def __init__(self, dataset: Dataset, padding: int, flip: bool) -> None:
        self.dataset, self.padding, self.flip = dataset, padding, flip
        self.mean, self.std = (torch.tensor(v).view(-1, 1, 1) for v in (dataset.mean, dataset.std))

    def __len__(self) -> int:
        return len(self.dataset.train.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = first(self.dataset.train.inputs)[index].float()
        if self.padding:
            _, height, width = self.dataset.image_shape
            top, left = torch.randint(2 * self.padding + 1, (2,)).tolist()
            image = nn.functional.pad(image, (self.padding,) * 4)[:, top : top + height, left : left + width]
        if self.flip and torch.rand(()) < 0.5:
            image = image.flip(-1)
        return (image - self.mean) / self.std, self.dataset.train.targets[index]


def loaded(case: Case, dataset: Dataset, device: torch.device, workers: int) -> Iterator[list[Tensor]]:
    """Batches as a tutorial loads them, without end."""
    items = PlainDataset(dataset, case.data.get("crop_padding", 0), case.data.get("flip", False))
    loader = DataLoader(
        items,
        case.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers if case.workers else 0,
        persistent_workers=case.workers and workers > 0,
        pin_memory=device.type == "cuda",
    )
    while True:
        for batch in loader:
            yield [part.to(device, non_blocking=True) for part in batch]


def plain_step(
    config: TrainConfig, dataset: Dataset, device: torch.device, batches: Iterator[list[Tensor]], *, compiled: bool
) -> Callable[[], None]:
    """A function that takes one plain step."""
    model = build_model(config.model, dataset.task).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    network = cast(nn.Module, torch.compile(model)) if compiled else model

    def step() -> None:
        images, labels = next(batches)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_run(config: TrainConfig, dataset: Dataset) -> Run:
    """Whose `take_step(lr)` is a step of ours."""
    return Run(config, RunDirectory(Path("unused")), dataset, resolve(config), print)


@contextlib.contextmanager
def step_of(run: Run) -> Iterator[Callable[[], None]]:
    """A step of ours as the training loop takes it, with the run's threads and choice of algorithms."""
    with run.execution.active():
        yield lambda: run.take_step(1e-3)


def step_times(step: Callable[[], None], steps: int) -> list[float]:
    """Seconds of each of `steps` on a CUDA device, by events."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1e3 for a, b in itertools.pairwise(events)]


def matmul_rates(device: torch.device, size: int = 8192) -> list[float]:
    """bf16 matrix products of random numbers, in operations per second."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    repeated(lambda: a @ b, 3)()
    return [2 * size**3 / (seconds(repeated(lambda: a @ b, 5), device) / 5) for _ in range(5)]


def operations_per_step(config: TrainConfig, dataset: Dataset) -> float:
    """Multiplications and additions of the forward and backward pass of one batch."""
    assert config.batch_size != "full"
    model = build_model(config.model, dataset.task)
    batch = Batch(torch.zeros(2, *dataset.image_shape), torch.zeros(2, dtype=torch.int64), None)
    with FlopCounterMode(display=False) as counter:
        LOSSES["cross_entropy"](model(batch.inputs), batch).backward()
    return counter.get_total_flops() / 2 * config.batch_size


def measure(name: str, options: argparse.Namespace, results: Results) -> None:
    case = CASES[name]
    config = case.config(options.width)
    dataset = load_dataset(config.data)
    run = our_run(config, dataset)
    device = run.execution.device
    width = getattr(config.model, "width", 1.0)
    title = f"{case.title}, {'' if case.model['name'] == 'mlp' else f'width {width:g}, '}batch {case.batch_size}"

    def beside(label: str, what: str, plain: Callable[[], None]) -> list[float]:
        """Time ours and a plain loop in turns; seconds per step of ours."""
        with step_of(run) as ours:
            times = in_turns({"ours": ours, "plain": plain}, device, repeats=options.repeats, block=options.block)
        ours_rate, plain_rate = (1 / statistics.median(times[which]) for which in ("ours", "plain"))
        figure = Figure.of(
            label,
            title,
            [1 / taken for taken in times["ours"]],
            "steps/s",
            alternative=what,
            alternative_value=plain_rate,
            ratio=ours_rate / plain_rate,
        )
        results.add(figure)
        return times["ours"]

    if device.type == "cuda":
        batch = next(loaded(case, dataset, device, 0))
        compiled = plain_step(config, dataset, device, itertools.repeat(batch), compiled=True)
        taken = beside(
            f"training/{name}/compiled", "plain loop with torch.compile, batches ready on the device", compiled
        )
        shares(name, title, options.matmul, operations_per_step(config, dataset), taken, results)
        with step_of(run) as ours:
            each = step_times(ours, 100)
        slowest = max(each) / statistics.median(each)
        results.add(Figure.of(f"training/{name}/slowest", f"{title}, slowest of 100 steps", [slowest], "× the median"))
        for part, off in PARTS.items():
            without_part(
                name, title, part, our_run(case.config(options.width, **off), dataset), taken, options, results
            )
        eager = plain_step(config, dataset, device, itertools.repeat(batch), compiled=False)
        beside(f"training/{name}/eager", "plain loop, batches ready on the device", eager)
    workers = f" of {options.workers} workers" if case.workers else ""
    plain = plain_step(config, dataset, device, loaded(case, dataset, device, options.workers), compiled=False)
    beside(f"training/{name}", f"plain loop with a DataLoader{workers}", plain)


def shares(name: str, title: str, matmul: list[float], operations: float, taken: list[float], results: Results) -> None:
    """Our operations per second beside those of a matrix product."""
    rate = statistics.median(matmul)
    figure = Figure.of(
        f"training/{name}/share",
        title,
        [operations / t / 1e12 for t in taken],
        "TFLOP/s",
        alternative="a bfloat16 matrix product of 8192 × 8192",
        alternative_value=rate / 1e12,
        ratio=operations / statistics.median(taken) / rate,
    )
    results.add(figure)


def without_part(
    name: str,
    title: str,
    part: str,
    run: Run,
    automatic: list[float],
    options: argparse.Namespace,
    results: Results,
) -> None:
    """Our loop with one part of its automatic form off."""
    with step_of(run) as step:
        [times] = in_turns({"": step}, run.execution.device, repeats=options.repeats, block=options.block).values()
    auto = statistics.median(automatic)
    figure = Figure.of(
        f"training/{name}/without-{part}",
        f"{title}, {part} off",
        [1 / taken for taken in times],
        "steps/s",
        alternative="the automatic form",
        alternative_value=1 / auto,
        ratio=auto / statistics.median(times),
    )
    results.add(figure)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--case", default=",".join(CASES))
    arguments.add_argument("--block", type=float, default=3.0, help="seconds for which a loop has its turn")
    arguments.add_argument("--width", type=float, help="of VGG-16 and ResNet-18; default: 1 on CUDA, else 0.25")
    arguments.add_argument("--workers", type=int, default=2)
    options = arguments.parse_args()
    names = chosen(arguments, options.case, list(CASES))
    results = Results(options.out)
    on_cuda = torch.cuda.is_available()
    options.width = options.width or (1.0 if on_cuda else 0.25)
    if on_cuda:
        options.matmul = matmul_rates(torch.device("cuda"))
        rates = [rate / 1e12 for rate in options.matmul]
        results.add(Figure.of("matmul", "bfloat16 matrix product of 8192 × 8192", rates, "TFLOP/s"))
    for name in names:
        measure(name, options, results)


if __name__ == "__main__":
    main()
