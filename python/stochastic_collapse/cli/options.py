"""What commands have in common: options, and how they print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DIGITS = "configs/digits/mlp_gelu.yaml"

OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory of this run, instead of one under $SC_RUNS.",
)
REPLICATES = click.option(
    "--replicates",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train the replicates 0 to N-1, small networks as one batched program.",
)


def note(line: str) -> None:
    """Log to stderr; stdout is for results."""
    click.echo(line, err=True)


def print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2))


def common(command: F) -> F:
    """Options that every command has."""
    command = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on stdout; logs go to stderr."
    )(command)
    return click.option(
        "--verbose", is_flag=True, expose_value=False, help="Show the stack when something goes wrong."
    )(command)


def settings(example: str) -> Callable[[F], F]:
    """A file of settings and overrides, the first of which must be given."""

    def decorate(command: F) -> F:
        command = click.argument("overrides", nargs=-1, metavar="[KEY.SUB=VALUE]...")(command)
        return click.option(
            "-f",
            "--file",
            metavar="FILE",
            help=f"YAML settings: a path, or a shipped configuration's, such as {example}.",
        )(command)

    return decorate


def need_settings(file: str | None, overrides: tuple[str, ...], example: str) -> None:
    if file is None and not overrides:
        raise click.UsageError(f"settings needed: -f FILE, such as -f {example}")


def several_runs(command: F) -> F:
    """Options of commands that train the runs of a sweep: where, or only to see what that would be."""
    for option in (
        click.option("--status", is_flag=True, help="Show how the runs stand, and do nothing."),
        click.option(
            "--dry-run", is_flag=True, help="List the runs and the commands that would train them, and do nothing."
        ),
        click.option(
            "--gpus-per-run",
            type=click.FloatRange(min=0),
            help="ray: GPUs of a run; 0.25: four runs share one; default: 1 where there are any.",
        ),
        click.option("--cpus-per-run", type=click.FloatRange(min=0), help="ray: CPUs of a run; default: 1."),
        click.option(
            "--address", metavar="HOST:PORT", help="ray: the cluster's; default: $RAY_ADDRESS, or the one found here."
        ),
        click.option(
            "--jobs",
            type=click.IntRange(min=1),
            metavar="N",
            help="local: processes at a time; default: one for each GPU, or for each core.",
        ),
        click.option("--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True),
    ):
        command = option(command)
    return command
