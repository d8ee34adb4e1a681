"""`sc doctor`."""

from __future__ import annotations

import click

from .group import cli
from .options import common, print_json


@cli.command()
@click.option("--julia", metavar="PATH", help="The program of the engine julia, instead of $SC_JULIA or julia on PATH.")
@common
def doctor(julia: str | None, as_json: bool) -> None:
    """List what this machine has: engines of the toy simulations, versions, threads, GPUs.

    \b
    Example:
        sc doctor --json
    """
    from ..doctor import examine
    from ..terminal import print_doctor

    findings = examine(julia)
    if as_json:
        print_json(findings)
    else:
        print_doctor(findings)
