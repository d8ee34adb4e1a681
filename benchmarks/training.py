"""Steps per second of our loop beside a plain PyTorch loop: same network, data, batch size and optimizer, same run.

    python benchmarks/training.py [--case digits-mlp,vgg16,resnet18] [--steps N] [--repeats 3] [--workers 2] [--json]

The plain loop is what a tutorial writes: a Dataset whose items are transformed one by one (crop, flip, normalize), a
DataLoader with workers (none for digits, where they would only cost), eager steps, mixed precision on CUDA. On CUDA
the bf16 matrix rate of the device is measured too, and the model's share of it. Data are random numbers of the
datasets' shapes. Both loops are warmed up first, then timed in turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from machine import describe, print_machine
from stochastic_collapse.config import SyntheticSettings, TrainConfig
from stochastic_collapse.data.datasets import Dataset, load_dataset
from stochastic_collapse.data.loader import Batch
from stochastic_collapse.models import build_model
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.training.execution import Execution, resolve
from stochastic_collapse.training.losses import LOSSES
from stochastic_collapse.training.run import Run


@dataclass(frozen=True)
class Case:
    model: dict[str, Any]
    data: dict[str, Any]
    batch_size: int
    steps: int
    """Timed at a time."""
    cuda_steps: int
    workers: bool = True


DIGITS = {"shape": (1, 8, 8), "train_size": 1437}
CIFAR = {"train_size": 50_000, "crop_padding": 4, "flip": True}
CASES = {
    "digits-mlp": Case({"name": "mlp"}, DIGITS, batch_size=32, steps=2000, cuda_steps=2000, workers=False),
    "vgg16": Case({"name": "vgg16"}, CIFAR, batch_size=128, steps=10, cuda_steps=300),
    "resnet18": Case({"name": "resnet18"}, CIFAR | {"num_classes": 100}, batch_size=256, steps=4, cuda_steps=100),
}


class PlainDataset(TorchDataset[tuple[Tensor, Tensor]]):
    """One example at a time, as transforms do it."""

    def __init__(self, dataset: Dataset, padding: int, flip: bool) -> None:
        self.dataset, self.padding, self.flip = dataset, padding, flip
        self.mean, self.std = (torch.tensor(v).view(-1, 1, 1) for v in (dataset.mean, dataset.std))

    def __len__(self) -> int:
        return len(self.dataset.train.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.dataset.train.images[index].float()
        if self.padding:
            _, height, width = self.dataset.image_shape
            top, left = torch.randint(2 * self.padding + 1, (2,)).tolist()
            image = nn.functional.pad(image, (self.padding,) * 4)[:, top : top + height, left : left + width]
        if self.flip and torch.rand(()) < 0.5:
            image = image.flip(-1)
        return (image - self.mean) / self.std, self.dataset.train.labels[index]


def plain_loop(
    case: Case, config: TrainConfig, dataset: Dataset, device: torch.device, workers: int
) -> Callable[[], None]:
    """A function that takes one plain step."""
    model = build_model(config.model, dataset.image_shape, dataset.num_classes).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    items = PlainDataset(dataset, case.data.get("crop_padding", 0), case.data.get("flip", False))
    on_cuda = device.type == "cuda"
    loader = DataLoader(
        items,
        len(items) if config.batch_size == "full" else config.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers if case.workers else 0,
        persistent_workers=case.workers and workers > 0,
        pin_memory=on_cuda,
    )

    def endless() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    batches = endless()

    def step() -> None:
        images, labels = (part.to(device, non_blocking=True) for part in next(batches))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=on_cuda):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_loop(config: TrainConfig, dataset: Dataset) -> tuple[Callable[[], None], Execution]:
    """A function that takes one step of ours, and how it runs."""
    run = Run(config, RunDirectory(Path("unused")), dataset, resolve(config), print)
    return lambda: run.take_step(1e-3), run.execution


def seconds_per_step(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Mean over `steps`, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / steps


def step_times(step: Callable[[], None], steps: int) -> list[float]:
    """Seconds of each of `steps` on a CUDA device, by events."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        step()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / 1e3 for a, b in itertools.pairwise(events)]


def matmul_rate(device: torch.device, size: int = 8192) -> float:
    """bf16 matrix product of random numbers, in operations per second."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    times = []
    for _ in range(10):
        times.append(seconds_per_step(lambda: a @ b, 1, device))
    return 2 * size**3 / statistics.median(times)


def operations_per_step(config: TrainConfig, dataset: Dataset) -> float:
    """Multiplications and additions of the forward and backward pass of one batch."""
    from torch.utils.flop_counter import FlopCounterMode

    model = build_model(config.model, dataset.image_shape, dataset.num_classes)
    batch = Batch(torch.zeros(2, *dataset.image_shape), torch.zeros(2, dtype=torch.int64), None)
    with FlopCounterMode(display=False) as counter:
        LOSSES["cross_entropy"](model(batch.images), batch).backward()
    return counter.get_total_flops() / 2 * config.batch_size


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    case = CASES[name]
    data = {"name": "synthetic", **case.data}
    dataset = load_dataset(SyntheticSettings.model_validate(data))
    config = TrainConfig.model_validate(
        {
            "name": "benchmark",
            "model": case.model | ({} if case.model["name"] == "mlp" else {"width": options.width}),
            "data": data,
            "batch_size": case.batch_size,
            "max_steps": 1,
            "optimizer": {"name": "sgd", "lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4},
        }
    )
    ours, execution = our_loop(config, dataset)
    on_cuda = execution.device.type == "cuda"
    steps = options.steps or (case.cuda_steps if on_cuda else case.steps)
    loops = {
        "ours": ours,
        "plain": plain_loop(case, config, dataset, execution.device, options.workers),
    }
    threads = torch.get_num_threads()
    times: dict[str, list[float]] = {which: [] for which in loops}
    for repeat in range(-1, options.repeats):  # the first is the warm-up
        for which, step in loops.items():
            torch.set_num_threads((execution.threads if which == "ours" else None) or threads)
            taken = seconds_per_step(
                step, steps if repeat >= 0 else max(30 if on_cuda else 2, steps // 10), execution.device
            )
            if repeat >= 0:
                times[which].append(taken)
    torch.set_num_threads(threads)
    best = {which: 1 / statistics.median(values) for which, values in times.items()}
    result = {
        "case": name,
        "batch_size": case.batch_size,
        "width": getattr(config.model, "width", 1.0),
        "steps": steps,
        "n": options.repeats,
        "ours_steps_per_second": best["ours"],
        "plain_steps_per_second": best["plain"],
        "ratio": best["ours"] / best["plain"],
    }
    if on_cuda:
        rate = matmul_rate(execution.device)
        each = step_times(loops["ours"], steps)
        result |= {
            "matmul_tflops": rate / 1e12,
            "share_of_matmul_rate": operations_per_step(config, dataset) * best["ours"] / rate,
            "slowest_step_over_median": max(each) / statistics.median(each),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default=",".join(CASES))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--width", type=float, help="multiplier of VGG-16 and ResNet-18; default: 1 on CUDA, else 0.25")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.width = options.width or (1.0 if torch.cuda.is_available() else 0.25)
    if unknown := set(options.case.split(",")) - set(CASES):
        parser.error(f"--case: unknown {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    results = [measure(name, options) for name in options.case.split(",")]
    if options.json:
        print(json.dumps({"machine": describe(), "results": results}))
        return
    print_machine()
    for r in results:
        print(
            f"{r['case']:>10} width {r['width']:g} batch {r['batch_size']:>3}: "
            f"ours {r['ours_steps_per_second']:.2f} steps/s, plain {r['plain_steps_per_second']:.2f} steps/s, "
            f"ratio {r['ratio']:.2f} (median of {r['n']} × {r['steps']} steps)"
        )
        if "share_of_matmul_rate" in r:
            print(
                f"{'':>10} {r['share_of_matmul_rate']:.0%} of the bf16 matrix rate ({r['matmul_tflops']:.0f} TFLOP/s), "
                f"slowest step {r['slowest_step_over_median']:.2f} × the median"
            )


if __name__ == "__main__":
    main()
