"""What a CollapseMonitor costs: a plain PyTorch loop with it beside the same loop without, same network, in turns.

    python benchmarks/monitor.py [--case digits-mlp,vgg16] [--every 500] [--repeats N] [--out FOLDER]

Batches lie ready on the device, so a step is forward, backward and update only: other loops' steps take longer, and the
share is smaller. Blocks of steps without and with the monitor take turns, a block with it holds one measurement and
ends when that is finished, and the ratio is the median over the pairs of blocks, with its standard error. Where steps
are slow the blocks are shorter than `every`, and the extra time of a block is said as a share of `every` steps, on
CUDA too, where eager steps are as uneven as the host that launches them.
Besides, one measurement alone: how long it holds up the loop, and how long it takes in all.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import torch
from torch import nn

from records import Figure, Results, chosen, parser
from stochastic_collapse import CollapseMonitor
from stochastic_collapse.config import MLPSettings, VGGSettings
from stochastic_collapse.models import build_model
from stochastic_collapse.task import Task
from timing import repeated, seconds


@dataclass(frozen=True)
class Case:
    title: str
    settings: MLPSettings | VGGSettings
    shape: tuple[int, int, int]
    batch_size: int
    steps: int | None
    """Of a block on a CPU, where steps are too slow for `every`."""
    repeats: int
    """Pairs of blocks on a CPU."""


CASES = {
    "digits-mlp": Case("digits MLP", MLPSettings(name="mlp"), (1, 8, 8), 32, None, 60),
    "vgg16": Case("VGG-16", VGGSettings(name="vgg16", width=0.25), (3, 32, 32), 128, 10, 12),
}


CUDA_STEPS, CUDA_REPEATS = 50, 40
"""Of a block of such steps on CUDA, in half of which a measurement ends, and pairs of blocks of any."""


def plain_step(model: nn.Module, case: Case, device: torch.device) -> Callable[[], None]:
    """A function that takes one plain step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    images = torch.randn(case.batch_size, *case.shape, device=device)
    labels = torch.randint(10, (case.batch_size,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def measure(name: str, every: int, repeats: int | None, out: str, results: Results) -> None:
    case = CASES[name]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_cuda = device.type == "cuda"
    steps = every if case.steps is None else CUDA_STEPS if on_cuda else case.steps
    pairs_wanted = repeats or (CUDA_REPEATS if on_cuda else case.repeats)
    torch.manual_seed(0)
    model = build_model(case.settings, Task(case.shape, 10)).to(device)
    step = plain_step(model, case, device)
    # Half a block ahead, so that the measurement has the second half of its block to finish in.
    monitor = CollapseMonitor(
        model, torch.zeros(2, *case.shape), every=steps, out=f"{out}/{name}", start_step=steps - steps // 2
    )

    def watched() -> None:
        step()
        monitor.step()

    def with_monitor() -> None:
        repeated(watched, steps)()
        monitor.table()

    without = repeated(step, steps)
    pairs = [(seconds(without, device), seconds(with_monitor, device)) for _ in range(pairs_wanted + 1)]
    pairs = pairs[1:]  # the first is the warm-up
    shares = [100 * (b / a - 1) * steps / every for a, b in pairs]
    # Of a median: 1.25 times that of a mean, with the spread taken from the quartiles, which outliers leave alone.
    low, _, high = statistics.quantiles(shares, n=4)
    error = 1.25 * (high - low) / 1.35 / len(shares) ** 0.5
    holding, whole = [], []
    for _ in range(20):
        start = time.perf_counter()
        monitor.measure()
        holding.append(1e3 * (time.perf_counter() - start))
        monitor.table()
        whole.append(1e3 * (time.perf_counter() - start))
    monitor.close()
    one = 1e3 * statistics.median(a for a, _ in pairs) / steps
    title = f"{case.title}, batch {case.batch_size}, {len(monitor.layers)} layers, a step of {one:.3g} ms"
    results.add(
        Figure(
            f"monitor/{name}",
            f"CollapseMonitor every {every} steps of {title}, in % of the step time, with its standard error",
            statistics.median(shares),
            "%",
            len(pairs),
            (statistics.median(shares) - error, statistics.median(shares) + error),
        )
    )
    results.add(Figure.of(f"monitor/{name}/holds", f"a measurement of {case.title} holds up the loop", holding, "ms"))
    results.add(Figure.of(f"monitor/{name}/measurement", f"a measurement of {case.title} takes", whole, "ms"))


def main() -> None:
    arguments = parser(__doc__)
    arguments.set_defaults(repeats=None)  # pairs of blocks, a number for each case
    arguments.add_argument("--case", default=",".join(CASES))
    arguments.add_argument("--every", type=int, default=500)
    options = arguments.parse_args()
    names = chosen(arguments, options.case, list(CASES))
    results = Results(options.out)
    with TemporaryDirectory() as out:
        for name in names:
            measure(name, options.every, options.repeats, out, results)


if __name__ == "__main__":
    main()
