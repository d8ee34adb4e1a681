"""`sc figures`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .group import cli
from .options import common, note, print_json


@cli.command()
@click.argument("arguments", nargs=-1, metavar="FIGURE... [RUN|SWEEP]...")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to write (default: $SC_RUNS/figures)."
)
@click.option("--all", "everything", is_flag=True, help="Make the runs that are missing, draw all, write index.html.")
@click.option("--size", type=click.Choice(["quick", "paper"]), help="With --all: the size of the runs; default: quick.")
@click.option("--only", metavar="NAME,NAME", help="With --all: these figures.")
@click.option(
    "--from",
    "runs",
    type=click.Path(path_type=Path),
    metavar="RUNS",
    help="With --all: where runs are taken from and made, instead of $SC_RUNS.",
)
@click.option("--engine", metavar="NAME", help="With --all: of the toy runs, as for sc simulate-toy.")
@click.option("--executor", type=click.Choice(["local", "ray"]), help="With --all: of the sweeps, as for sc sweep.")
@common
def figures(
    arguments: tuple[str, ...], out: Path | None, everything: bool, only: str | None, as_json: bool, **how: Any
) -> int:
    """Draw figures as PNG and PDF, from what is finished; what is missing is named with the command that makes it.

    collapse RUN... draws the fraction of independent neurons per layer over the steps, one colour per run; control RUN
    a run beside its twins, of sc control, and how much of its collapse remains without the noise. The others are
    drawn from the runs of the shipped configurations and sweeps, or from those named. Of the paper: fig1, fig2, fig5
    (toy problems), fig3 (distances between neurons), fig4 (learning rate and label noise), batch-size (its supplement),
    fig6 (drop of the learning rate), two-neurons. Our own: students (label noise alone), students-theory.

    With --all, runs of the shipped settings that are missing are made first, minutes of the quick size on 2 cores; what
    is finished is not made again, and an interrupted call continues. index.html shows the figures, what each says, and
    what is behind it.

    \b
    Examples:
        sc figures collapse runs/digits-mlp-*
        sc figures students fig2 fig4
        sc figures fig4 runs/sweeps/mine
        sc figures --all --size quick --only fig4,fig6
    """
    given = {option: value for option, value in how.items() if value is not None}
    if everything:
        if arguments:
            raise click.UsageError(f"--all draws all figures; name some with --only, not {arguments[0]!r}")
        from ..figures.everything import regenerate

        result = regenerate(only=only.split(",") if only is not None else (), out=out, report=note, **given)
        if as_json:
            print_json(result.to_json())
        else:
            click.echo(result.summary())
        return 1 if result.failures else 0
    if not arguments:
        raise click.UsageError("a figure needed, such as: sc figures fig2; or --all")
    if only is not None or given:
        raise click.UsageError("--size, --only, --from, --engine and --executor go with --all")
    from ..figures import draw_named

    written = draw_named(arguments, out, note)
    if as_json:
        print_json({"figures": [str(path) for path in written]})
    else:
        for path in written:
            click.echo(str(path))
    return 0
