"""One's own data and weights: a folder of images beside the same images as arrays, and the memory of a large file.

    python benchmarks/own.py --out benchmarks/results

A folder of random photographs-to-be: seconds to decode it at its first use, and steps per second of a small VGG on it
afterwards, beside the same bytes as an array, both where they fit into memory and streamed from the memory map. Then
`sc analyze --weights` of a GPT of 600 MB in safetensors: its peak of memory beyond that of a tiny one,
beside the file's size.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from records import Figure, Results, parser
from stochastic_collapse.config import GPTSettings, TrainConfig
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.examples import Examples
from stochastic_collapse.data.loader import BatchLoader
from stochastic_collapse.models import build_model
from stochastic_collapse.task import Task
from timing import in_turns, seconds
from training import our_run, step_of

CPU = torch.device("cpu")


def photographs(folder: Path, count: int, side: int) -> None:
    """Files of random, smooth images in two classes, and the same bytes as an archive of arrays."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    images = np.stack(
        [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in small]
    )
    labels = np.arange(count) % 2
    for part, chosen in (("train", np.arange(count)), ("val", np.arange(64))):
        for k in chosen:
            path = folder / part / str(labels[k]) / f"{k:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[k]).save(path, compress_level=1)
    # In the order of a folder's files.
    seen, tested = (np.lexsort((np.arange(n), labels[:n])) for n in (count, 64))
    np.savez(
        folder.with_suffix(".npz"),
        x_train=images[seen],
        y_train=labels[seen],
        x_test=images[tested],
        y_test=labels[tested],
    )


def config(data: dict[str, Any]) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "name": "own",
            "model": {"name": "vgg11", "width": 0.125},
            "data": {**data, "crop_padding": 4, "flip": True},
            "optimizer": {"name": "sgd", "lr": 0.01},
            "max_steps": 10,
            "batch_size": 64,
        }
    )


def images(options: argparse.Namespace, results: Results) -> None:
    """The folder beside the arrays."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["SC_IMAGE_CACHE"] = f"{place}/cache"
        folder = Path(place) / "photographs"
        photographs(folder, options.images, options.side)
        title = f"a folder of {options.images:,} images of {options.side} × {options.side}"
        settings = {
            "folder": config({"name": "images", "path": str(folder)}),
            "arrays": config({"name": "arrays", "path": str(folder.with_suffix(".npz"))}),
        }
        first = seconds(lambda: load_dataset(settings["folder"].data), CPU)
        results.add(
            Figure.of("own/decoding", f"{title}, decoded at its first use", [options.images / first], "images/s")
        )
        sets = {name: load_dataset(one.data) for name, one in settings.items()}
        runs = {name: our_run(settings[name], one) for name, one in sets.items()}
        with step_of(runs["folder"]) as ours, step_of(runs["arrays"]) as theirs:
            both = {"folder": ours, "arrays": theirs}
            times = in_turns(both, CPU, repeats=options.repeats, block=options.block)
        compare(results, "own/steps", f"VGG-11, width 1/8, batch 64, on {title}", times, "steps/s", 1)
        batches = {}
        for name, one in sets.items():
            examples = Examples(one, device=CPU, crop_padding=4, flip=True, resident=False)
            batches[name] = BatchLoader(examples, 64, seed=1).next
        times = in_turns(batches, CPU, repeats=options.repeats, block=options.block / 4)
        compare(results, "own/streaming", f"batches of 64 of {title}, from the memory map", times, "images/s", 64)


def compare(results: Results, name: str, title: str, times: dict[str, list[float]], unit: str, each: int) -> None:
    theirs = each / statistics.median(times["arrays"])
    ours = [each / taken for taken in times["folder"]]
    ratio = statistics.median(ours) / theirs
    what = "the same images as arrays"
    results.add(Figure.of(name, title, ours, unit, alternative=what, alternative_value=theirs, ratio=ratio))


def weights(options: argparse.Namespace, results: Results) -> None:
    """The memory of measuring a large file."""
    with tempfile.TemporaryDirectory() as place:
        peaks, sizes = [], []
        for width, depth, vocabulary in ((64, 1, 100), (1024, 8, 24000)):
            path = Path(place) / f"gpt_{width}.safetensors"
            settings = GPTSettings(name="gpt", dim=width, depth=depth, heads=8)
            network = build_model(settings, Task((64,), vocabulary, "next_token", vocabulary))
            save_file(dict(network.state_dict()), path)
            del network
            sizes.append(path.stat().st_size)
            heads = ("--arguments", "{heads: 8}")
            start = time.perf_counter()
            peaks.append(peak([sys.executable, "-m", "stochastic_collapse", "analyze", "--weights", str(path), *heads]))
            taken = time.perf_counter() - start
        title = f"sc analyze --weights of a GPT of {sizes[1] / 1e6:.0f} MB in safetensors"
        results.add(Figure.of("own/weights/seconds", f"{title}, start included", [taken], "s"))
        beyond, size = (peaks[1] - peaks[0]) / 1e6, sizes[1] / 1e6
        results.add(
            Figure.of(
                "own/weights/memory",
                f"{title}, beyond a tiny one's",
                [beyond],
                "MB",
                alternative="the file",
                alternative_value=size,
                ratio=size / beyond,
            )
        )


def peak(command: list[str]) -> int:
    """Largest resident memory of a process, in bytes."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return usage.ru_maxrss * 1024


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--images", type=int, default=10_000)
    options_of.add_argument("--side", type=int, default=64, help="pixels")
    options_of.add_argument("--block", type=float, default=5.0, help="seconds of a measurement")
    options = options_of.parse_args()
    results = Results(options.out)
    images(options, results)
    weights(options, results)


if __name__ == "__main__":
    main()
