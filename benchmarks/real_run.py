"""A real run for as long as there is time: VGG-16 on CIFAR-10 as the paper trains it, its accuracy and its collapse.

    python benchmarks/real_run.py --seconds 60 [--out FOLDER]

The settings are those of configs/cifar10/vgg16_gelu.yaml with as many steps as fit, the schedule scaled along. The
data must lie where runs find them (docs/how-to/own-data-and-settings.md). Exit status 3 with one line where they do
not.
"""

from __future__ import annotations

import statistics
import sys
import time
from tempfile import TemporaryDirectory

from records import Figure, Results, parser
from stochastic_collapse import load_config, train
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.errors import InputError
from timing import in_turns
from training import our_run, step_of

SKIPPED = 3

FOR_TRAINING = 0.7
"""Of the time that is left when a step's is known; the rest is for compiling again, evaluating and saving."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, required=True)
    arguments.add_argument("--width", type=float, default=1.0)
    options = arguments.parse_args()
    began = time.perf_counter()
    config = settings(options.width)
    try:
        run = our_run(config, load_dataset(config.data))
    except InputError as error:
        print(f"real_run: {error}", file=sys.stderr)
        sys.exit(SKIPPED)
    with step_of(run) as step:
        [times] = in_turns({"": step}, run.execution.device, repeats=3, block=0.5).values()
    left = options.seconds - (time.perf_counter() - began)
    steps = int(FOR_TRAINING * left / statistics.median(times))
    if steps < 100:
        print(f"real_run: {options.seconds:.0f} s are not enough for 100 steps", file=sys.stderr)
        sys.exit(SKIPPED)
    del run

    every = [f"{name}={max(1, steps // 4)}" for name in ("eval_every", "checkpoint_every", "collapse.every")]
    with TemporaryDirectory() as folder:
        result = train(settings(options.width, f"max_steps={steps}", *every), out=folder)
    results = Results(options.out)
    what = (
        f"VGG-16, width {options.width:g}, CIFAR-10, {steps:,} steps of {config.batch_size} in {result.seconds:.0f} s"
    )
    independent = float(result.collapse["independent"].sum() / result.collapse["neurons"].sum())
    results.add(Figure.of("run/vgg16/accuracy", f"{what}, test accuracy", [100 * result.eval_accuracy], "%"))
    results.add(Figure.of("run/vgg16/independent", f"{what}, independent neurons", [100 * independent], "%"))
    results.add(Figure.of("run/vgg16/steps", f"{what}, with all that a run does", [steps / result.seconds], "steps/s"))


def settings(width: float, *overrides: str) -> TrainConfig:
    return load_config("configs/cifar10/vgg16_gelu.yaml", [f"model.width={width}", *overrides])


if __name__ == "__main__":
    main()
