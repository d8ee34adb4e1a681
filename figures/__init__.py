"""The figures by name. Each is a module with `load(...) -> results` and `draw(results) -> Figure`, which is pure.

Those of shipped settings have more: `NEEDS`, what they are drawn from in each size (`needs.py`); `message(results)`,
what they say, as inequalities on the data (`messages.py`); and TITLE, CAPTION and, by size, DIFFERENCES from the
published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import find_runs, runs_root

from . import (
    batch_size,
    collapse,
    control,
    fig1,
    fig2,
    fig3,
    fig4,
    fig5,
    fig6,
    sources,
    students,
    students_theory,
    style,
    two_neurons,
)
from .needs import Report

SHIPPED: dict[str, Any] = {
    "students": students,
    "students-theory": students_theory,
    "fig1": fig1,
    "fig2": fig2,
    "fig3": fig3,
    "fig4": fig4,
    "batch-size": batch_size,
    "fig5": fig5,
    "fig6": fig6,
    "two-neurons": two_neurons,
}
"""The paper's and our own: from the best finished runs of shipped settings, or from runs that are named."""

ALL = {"collapse": collapse, "control": control, **SHIPPED}
"""With those drawn from the training runs that the user names, finished or not."""


def draw_named(arguments: Sequence[str], out: Path | None = None, report: Report = lambda line: None) -> list[Path]:
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
        runs = sources.find(name, SHIPPED[name].NEEDS, paths, report) if name in SHIPPED else _named(name, paths)
        with style.paper():
            figure = ALL[name].draw(ALL[name].load(runs))
            written += style.save(figure, (out or runs_root() / "figures") / name)
    return written


def _named(figure: str, paths: Sequence[str]) -> Any:
    if not paths:
        raise InputError(f"figure {figure}: name the runs to draw, such as: sc figures {figure} runs/digits-mlp-*")
    return find_runs(paths)
