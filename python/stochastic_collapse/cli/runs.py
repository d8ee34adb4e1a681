"""`sc runs`: what runs there are, how they differ, and what of them may go."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .group import cli
from .options import common, note, print_json

if TYPE_CHECKING:
    import pandas as pd

    from ..runs import RunDirectory


@cli.command()
@click.argument("arguments", nargs=-1, metavar="[RUN|FOLDER]... [KEY=VALUE]...")
@click.option("--compare", is_flag=True, help="Only the settings in which the runs differ, a column for each run.")
@click.option("--show", is_flag=True, help="All about one run: settings, figures, checkpoints and other files.")
@click.option(
    "--prune",
    metavar="KEEP",
    help="Delete all checkpoints but last, last:3, every:10000, or steps such as 0,5000; asks first.",
)
@click.option("--remove", is_flag=True, help="Remove the runs with all their files; asks first.")
@click.option("--yes", is_flag=True, help="With --prune or --remove: do not ask.")
@click.option("--dry-run", is_flag=True, help="With --prune or --remove: say what would go, and do nothing.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with all columns, as in a pipe.")
@common
def runs(
    arguments: tuple[str, ...],
    compare: bool,
    show: bool,
    prune: str | None,
    remove: bool,
    yes: bool,
    dry_run: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List runs with the settings in which they differ and their last figures; compare, show, prune or remove them.

    RUN is a run directory, FOLDER one with runs in it (default: $SC_RUNS). KEY=VALUE takes the runs with that setting,
    state or figure; so do != < <= > >= (in quotes, for the shell) and KEY~PATTERN, a regular expression found in the
    value.

    KEEP may have several parts: last,every:10000. A run that is not finished keeps its last checkpoint, one that
    another process holds keeps all, and a checkpoint from which another run starts stays.

    \b
    Examples:
        sc runs optimizer.lr=0.1 'eval_accuracy>0.9'
        sc runs runs/demo-* --compare
        sc runs model.name~vgg --prune last,every:10000 --dry-run
        sc runs state=damaged --remove
    """
    modes = {"--compare": compare, "--show": show, "--prune": prune is not None, "--remove": remove}
    given = [option for option, is_given in modes.items() if is_given]
    if len(given) > 1:
        raise click.UsageError(f"give either {' or '.join(given)}")
    if (yes or dry_run) and not (remove or prune is not None):
        raise click.UsageError("--yes and --dry-run go with --prune or --remove")
    if as_csv and (as_json or given not in ([], ["--compare"])):
        raise click.UsageError("--csv goes with the list or --compare, and not with --json")
    if remove and not arguments:
        raise click.UsageError("--remove needs RUN, FOLDER or KEY=VALUE: which runs to remove")
    from .. import catalogue
    from ..errors import InputError
    from ..runs import RunDirectory

    paths = [argument for argument in arguments if not catalogue.is_filter(argument)]
    table = catalogue.load_runs(paths or None, *filter(catalogue.is_filter, arguments))
    found = [RunDirectory(Path(run)) for run in table["run"]]
    for option, fits, expected in (
        ("--show", len(found) == 1, "one run"),
        ("--compare", len(found) >= 2, "two or more runs"),
        ("--prune", found, "runs"),
        ("--remove", found, "runs"),
    ):
        if option in given and not fits:
            raise InputError(f"{option} takes {expected}, found {len(found) or 'none'}")
    as_csv = as_csv or not sys.stdout.isatty()
    if show:
        _show(found[0], table, as_json)
    elif prune is not None:
        _prune(found, prune, yes, dry_run, as_json)
    elif remove:
        _remove(found, yes, dry_run, as_json)
    elif compare:
        _compare(table, as_csv, as_json)
    else:
        _list(table, as_csv, as_json)


def _list(table: pd.DataFrame, as_csv: bool, as_json: bool) -> None:
    from ..catalogue import DASH, differing, figures_of, in_words
    from ..config import NOT_IDENTIFYING
    from ..terminal import print_table

    if as_json:
        print_json({"runs": _present(table)})
    elif as_csv:
        _print_csv([list(table.columns), *table.astype(object).to_numpy().tolist()])
    elif table.empty:
        click.echo("no runs")
    else:
        folder, names = _short(table["run"])
        steps = table[["state", "step", "max_steps"]].astype(object).to_numpy().tolist()
        about = {
            # A replicate's number is a setting, with a column of its own where it differs.
            "run": [re.sub(r"/replicate_\d+$", "", name) for name in names],
            "state": list(table["state"]),
            "step": [in_words(n) if state == "finished" else f"{in_words(n)}/{in_words(of)}" for state, n, of in steps],
        }
        figures = {name.replace("_", "_\n"): list(map(_figure, table[name])) for name in figures_of(table)}
        different = differing(table)
        settings = {
            name.replace(".", ".\n"): list(map(in_words, different[name]))
            for name in different.columns.difference([*NOT_IDENTIFYING - {"replicate"}, "max_steps"], sort=False)
        }
        order = sorted(settings, key=lambda name: DASH in settings[name])  # what all runs have tells more
        shown = _fitting({name: settings[name] for name in order}, {**about, **figures})
        columns = {**about, **{name: settings[name] for name in settings if name in shown}, **figures}
        print_table(f"{len(table)} runs in {folder}", list(columns), _escaped(zip(*columns.values(), strict=True)))
        if left := [name.replace("\n", "") for name in settings if name not in shown]:
            click.echo(f"they differ also in {', '.join(left)}; --csv and --compare have all")


def _compare(table: pd.DataFrame, as_csv: bool, as_json: bool) -> None:
    from ..catalogue import differing, figures_of, in_words
    from ..terminal import print_table

    different, figures = list(differing(table).columns), figures_of(table)
    columns = ["state", "step", *different, *figures]
    rows = {name: table[name].astype(object).tolist() for name in columns}
    if as_json:
        print_json({"runs": _present(table[["run", *columns]])})
    elif as_csv:
        _print_csv([["setting", *table["run"]], *([name, *values] for name, values in rows.items())])
    else:
        folder, names = _short(table["run"])
        narrow = [re.sub(r"/|-(?=[0-9a-f]{12}\b)", r"\g<0>\n", name) for name in names]
        cells = [[name, *map(_figure if name in figures else in_words, values)] for name, values in rows.items()]
        title = f"{len(table)} runs in {folder}{'' if different else ': no setting differs'}"
        print_table(title, ["", *narrow], _escaped(cells))


def _show(run: RunDirectory, table: pd.DataFrame, as_json: bool) -> None:
    from rich.filesize import decimal

    from ..catalogue import figures_of, files_of, in_words, problem, settings_of

    [about] = _present(table[["run", "identity", "state", "step", "seconds"]])
    [settings] = _present(table[settings_of(table)])
    [figures] = _present(table[figures_of(table)])
    files = files_of(run)
    if reason := problem(run) or run.status().get("message"):
        about["reason"] = reason
    if as_json:
        print_json({**about, "settings": settings, "figures": figures, "files": files})
        return
    sizes = {name: decimal(size) for name, size in files.items()}
    for title, lines in (
        (None, about),
        ("settings", settings),
        ("last figures", figures),
        (f"files, {decimal(sum(files.values()))}", sizes),
    ):
        if title is not None:
            click.echo(f"{title}:")
        for name, value in lines.items():
            click.echo(f"{'' if title is None else '  '}{name}: {in_words(value)}")


def _prune(found: Sequence[RunDirectory], keep: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    from rich.filesize import decimal

    from .. import catalogue

    say = note if as_json else click.echo
    plan = catalogue.plan_prune(found, keep)
    for run, files in plan.files.items():
        if files:
            say(f"{run}: {len(files)} of {len(run.checkpoints())} checkpoints, {decimal(sum(files.values()))}")
    for line in plan.spared:
        say(line)
    count = sum(map(len, plan.files.values()))
    if dry_run or not count:
        say(f"{count} checkpoints would go, {decimal(plan.bytes)}" if count else "no checkpoint would go")
    elif _agreed(f"Delete {count} checkpoints, {decimal(plan.bytes)}?", yes):
        planned, plan = plan, catalogue.prune(plan)
        for line in plan.spared[len(planned.spared) :]:
            say(line)
        say(f"freed {decimal(plan.bytes)}")
    else:
        return
    if as_json:
        paths = [str(path) for files in plan.files.values() for path in files]
        print_json({"dry_run": dry_run, "checkpoints": paths, "bytes": plan.bytes, "spared": list(plan.spared)})


def _remove(found: Sequence[RunDirectory], yes: bool, dry_run: bool, as_json: bool) -> None:
    from rich.filesize import decimal

    from .. import catalogue

    say = note if as_json else click.echo
    sizes = {run: sum(catalogue.files_of(run).values()) for run in found}
    for run, size in sizes.items():
        say(f"{run}: {decimal(size)}")
    for run, other in catalogue.starting_from(found).items():
        say(f"{run}: {other} starts from it")
    freed = sum(sizes.values())
    if dry_run:
        say(f"{len(found)} runs would go, {decimal(freed)}")
    elif _agreed(f"Remove {len(found)} runs, {decimal(freed)}?", yes):
        freed = catalogue.remove(found)
        say(f"freed {decimal(freed)}")
    else:
        return
    if as_json:
        print_json({"dry_run": dry_run, "runs": list(map(str, found)), "bytes": freed})


def _agreed(question: str, yes: bool) -> bool:
    """Whether the user wants it; `UsageError` where there is no one to ask."""
    if not (yes or sys.stdin.isatty()):
        raise click.UsageError("nobody to ask here; --yes does it without asking, --dry-run only says what would go")
    agreed = yes or click.confirm(question, err=True)
    if not agreed:
        note("nothing was deleted")
    return agreed


def _present(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON values, without empty cells; null also stands for what is infinite."""
    from ..catalogue import is_missing

    return [
        {
            str(key): None if value in (math.inf, -math.inf) else value
            for key, value in row.items()
            if not is_missing(value)
        }
        for row in table.to_dict("records")
    ]


def _print_csv(rows: Iterable[Sequence[Any]]) -> None:
    """An empty cell where a run has no such setting, null and lists as in YAML."""
    from ..catalogue import in_words, is_missing
    from ..runs import csv_line

    for row in rows:
        click.echo(csv_line("" if is_missing(cell) else in_words(cell) for cell in row), nl=False)


def _figure(value: float) -> str:
    from ..catalogue import DASH, is_missing

    return DASH if is_missing(value) else f"{value:.4g}"


def _short(paths: Iterable[str]) -> tuple[str, list[str]]:
    """The folder that all paths are in, and the paths in it."""
    resolved = [Path(path).resolve() for path in paths]
    folder = Path(os.path.commonpath([path.parent for path in resolved]))
    here = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    return str(here), [path.relative_to(folder).as_posix() for path in resolved]


def _fitting(columns: dict[str, list[str]], others: dict[str, list[str]]) -> set[str]:
    """The first of `columns` that fit on the terminal beside `others`."""
    from rich.console import Console

    def width(name: str, cells: Sequence[str]) -> int:
        return max(len(line) for text in (name, *cells) for line in text.split("\n")) + 3

    room = Console().width - 1 - sum(width(name, cells) for name, cells in others.items())
    fitting = set()
    for name, cells in columns.items():
        room -= width(name, cells)
        if room < 0:
            break
        fitting.add(name)
    return fitting


def _escaped(rows: Iterable[Sequence[str]]) -> list[list[str]]:
    """Cells in which rich sees no markup."""
    from rich.markup import escape

    return [[escape(cell) for cell in row] for row in rows]
