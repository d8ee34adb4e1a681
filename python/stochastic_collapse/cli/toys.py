"""`sc simulate-toy`, `sc teacher-student` and `sc two-neurons`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from .group import cli
from .options import F, common, need_settings, note, print_json, settings

_FIG2, _FIG5, _TWO_NEURONS = (f"configs/toys/{name}.yaml" for name in ("fig2_quick", "fig5_quick", "two_neurons"))


def _of_toys(example: str) -> Callable[[F], F]:
    """What the commands that simulate toy problems have in common."""

    def decorate(command: F) -> F:
        for option in reversed(
            [
                settings(example),
                click.option(
                    "--engine",
                    default="auto",
                    show_default=True,
                    help="juliacall, julia, torch, or the first that runs here.",
                ),
                click.option(
                    "--julia",
                    metavar="PATH",
                    help="The program of the engine julia, instead of $SC_JULIA or julia on PATH.",
                ),
                click.option(
                    "--out",
                    type=click.Path(path_type=Path),
                    metavar="DIR",
                    help="Directory of this run; of several ensembles, a folder for each in it.",
                ),
                common,
            ]
        ):
            command = option(command)
        return command

    return decorate


def _simulate(
    problem: str | Sequence[str], example: str, file: str | None, overrides: tuple[str, ...], as_json: bool, **how: Any
) -> None:
    from ..toys import load_toys
    from ..toys.simulation import simulate_all

    need_settings(file, overrides, example)
    runs = simulate_all(load_toys(file, overrides, problem), report=note, **how)
    if as_json:
        print_json({"runs": [run.to_json() for run in runs]})
    else:
        from ..terminal import print_students
        from ..toys import before_drop, summarize

        for run in runs:
            click.echo(run.summary())
            if run.spec["problem"] == "students":
                print_students(summarize(run), drops=before_drop(run) < len(run.time) - 1)


@cli.command("simulate-toy")
@click.argument("problem", metavar="PROBLEM")
@_of_toys(_FIG2)
def simulate_toy(problem: str, **options: Any) -> None:
    """Simulate a toy problem.

    PROBLEM is an SDE, single-neuron or quartic-well, or a recursion of SGD: students, teacher-student,
    teacher-student-general or two-neurons (see `sc teacher-student` and `sc two-neurons`).

    A finished run is not simulated again; an interrupted one (Ctrl-C, SIGTERM, kill -9) continues with the same
    command after its finished noise levels. `sc doctor` lists the engines.

    \b
    Examples:
        sc simulate-toy students -f configs/toys/students.yaml
        sc simulate-toy single-neuron -f configs/toys/fig2_quick.yaml
        sc simulate-toy quartic-well -f configs/toys/fig1.yaml --engine julia ensembles.paths.trajectories=20
    """
    _simulate(problem, _FIG2, **options)


@cli.command("teacher-student")
@_of_toys(_FIG5)
def teacher_student(**options: Any) -> None:
    """Train linear students with noisy SGD: which modes of the data survive (Figure 5).

    The problem is teacher-student, the diagonal form with label noise, or teacher-student-general, full matrices with
    mini-batches. A finished run is not computed again; an interrupted one (Ctrl-C, SIGTERM, kill -9) continues with the
    same command after its finished noise levels.

    \b
    Examples:
        sc teacher-student -f configs/toys/fig5_quick.yaml
        sc teacher-student -f configs/toys/fig5.yaml trajectories=64
        sc teacher-student -f configs/toys/fig5_general_quick.yaml
    """
    _simulate(("teacher-student", "teacher-student-general"), _FIG5, **options)


@cli.command("two-neurons")
@_of_toys(_TWO_NEURONS)
def two_neurons(**options: Any) -> None:
    """Train two neurons with label noise until they are copies of one another.

    All learning rates, noise levels and seeds are one batch, so an interrupted run starts anew; a finished one is not
    computed again.

    \b
    Example:
        sc two-neurons -f configs/toys/two_neurons.yaml
    """
    _simulate("two-neurons", _TWO_NEURONS, **options)
