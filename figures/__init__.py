"""The figures by name. Each is a module with `load(...) -> results`, and `draw(results) -> Figure`, which is pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import find_runs, runs_root
from stochastic_collapse.toys import ToyDirectory, ToyRun, load_toy, load_toys

from . import batch_size, collapse, fig1, fig2, fig3, fig4, fig5, fig6, sources, style, two_neurons

OF_RUNS: dict[str, Any] = {"collapse": collapse}
"""Figures drawn from the training runs that the user names, finished or not."""

OF_TRAINED: dict[str, Any] = {"fig3": fig3}
"""Figures drawn from finished training runs of shipped configurations, CONFIGS, the best first, or of those named."""

OF_SWEEPS: dict[str, Any] = {"fig4": fig4, "batch-size": batch_size, "fig6": fig6}
"""Figures drawn from finished runs of the shipped sweeps, SWEEPS, or of those named."""

OF_TOYS: dict[str, Any] = {"fig1": fig1, "fig2": fig2, "fig5": fig5, "two-neurons": two_neurons}
"""Figures drawn from the toy runs of shipped configurations, CONFIGS, the best first, or from those named."""

ALL = {**OF_RUNS, **OF_TRAINED, **OF_SWEEPS, **OF_TOYS}


def draw_named(
    arguments: Sequence[str], out: Path | None = None, report: Callable[[str], None] = lambda line: None
) -> list[Path]:
    """Draw the figures that the first of `arguments` name, from the runs or sweeps that the others name.

    Writes PNG and PDF into `out`, default ``$SC_RUNS/figures``, and returns their paths; `report` is called with a
    line about each choice of runs, and one about what is missing. Raises `InputError` for an unknown figure, and where
    a figure has no runs to draw.
    """
    names = [name for k, name in enumerate(arguments) if name in ALL and set(arguments[:k]) <= set(ALL)]
    paths = arguments[len(names) :]
    if not names:
        raise InputError(f"{arguments[0]}: no such figure; there are: {', '.join(ALL)}")
    written = []
    for name in names:
        runs = _find(name, paths, report)
        with style.paper():
            figure = ALL[name].draw(ALL[name].load(runs))
            written += style.save(figure, (out or runs_root() / "figures") / name)
    return written


def _find(name: str, paths: Sequence[str], report: Callable[[str], None]) -> Any:
    """What the figure's `load` takes."""
    if name in OF_TOYS:
        return _toys(name, paths, report)
    if name in OF_SWEEPS:
        return sources.swept(name, OF_SWEEPS[name].SWEEPS, paths, report)
    if name in OF_TRAINED:
        return sources.trained(name, OF_TRAINED[name].CONFIGS, paths, report)
    if not paths:
        raise InputError(f"figure {name}: name the runs to draw, such as: sc figures {name} runs/digits-mlp-*")
    return find_runs(paths)


def _toys(name: str, paths: Sequence[str], report: Callable[[str], None]) -> list[ToyRun]:
    """Those of `paths` that are of the figure's problem; without paths, those of the best configuration there is."""
    module = OF_TOYS[name]
    if paths:
        runs = [load_toy(path) for path in paths]
        chosen = [run for run in runs if run.spec["problem"] == module.PROBLEM]
        if not chosen:
            found = ", ".join(f"{run.directory} (a run of {run.spec['problem']})" for run in runs)
            raise InputError(f"figure {name} is drawn from runs of {module.PROBLEM}, found only {found}")
        return chosen
    for file in module.CONFIGS:
        directories = [ToyDirectory.of(config) for config in load_toys(file)]
        if all(directory.is_finished for directory in directories):
            report(f"figure {name}: from {', '.join(map(str, directories))}, the runs of {file}")
            return [directory.load() for directory in directories]
    command = f"{module.COMMAND} -f {module.CONFIGS[-1]}"
    raise InputError(f"figure {name}: not simulated yet in {runs_root()}; run: {command}")
