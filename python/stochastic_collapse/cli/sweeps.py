"""`sc sweep` and `sc control`: many runs, and the twins of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .group import cli
from .options import common, note, print_json, settings, several_runs

if TYPE_CHECKING:
    from ..sweeps import ControlSet


@cli.command()
@settings("configs/sweeps/learning_rate.yaml")
@click.option("--size", metavar="NAME", help="Which of the file's sizes, such as quick or paper; default: the first.")
@click.option("--replicates", type=click.IntRange(min=1), metavar="N", help="Replicates, instead of the file's number.")
@several_runs
@common
def sweep(
    file: str | None,
    overrides: tuple[str, ...],
    size: str | None,
    replicates: int | None,
    executor: str,
    dry_run: bool,
    status: bool,
    as_json: bool,
    **where: Any,
) -> int:
    """Train all runs of a sweep: a grid over settings, times replicates.

    Runs are found by their settings: what is finished is not trained again, what was interrupted continues, and a
    value added to the file trains only what is new. Overrides hold for all runs. A run that fails does not stop the
    others. Results: $SC_RUNS/sweeps/NAME-SIZE/sweep.csv, a row for each run and layer (with a hash in the name where
    overrides make other runs than the file's).

    \b
    Examples:
        sc sweep -f configs/sweeps/learning_rate.yaml --size quick
        sc sweep -f configs/sweeps/learning_rate.yaml --size paper --executor ray --gpus-per-run 0.5
    """
    from .. import sweeps
    from ..terminal import print_sweep

    if file is None:
        raise click.UsageError("a sweep's file needed: -f FILE, such as -f configs/sweeps/learning_rate.yaml")
    plan = sweeps.load_sweep(file, size, overrides, replicates=replicates)
    if status and not as_json:
        print_sweep(plan.name, [sweeps.news(run) for run in plan.runs])
    elif dry_run or status:
        planned = sweeps.planned(plan)
        if as_json:
            print_json(planned)
        else:
            for run in planned["runs"]:
                click.echo(f"{run['state']}: {run['command']}")
    else:
        result = sweeps.run_sweep(plan, sweeps.make_executor(executor, plan, report=note, **where), report=note)
        if as_json:
            print_json(result.to_json())
        else:
            click.echo(result.summary())
        return 1 if result.failures else 0
    return 0


@cli.command()
@click.argument("arguments", nargs=-1, metavar="[RUN]... | [KEY.SUB=VALUE]...")
@click.option("-f", "--file", metavar="FILE", help="Settings of a run, as for sc train, instead of RUN.")
@click.option("--only", metavar="NAME,NAME", help="These controls; default: all that make sense for the run.")
@click.option("--replicates", type=click.IntRange(min=1), metavar="N", help="Replicates 0 to N-1 of run and twins.")
@click.option(
    "--factor",
    type=click.FloatRange(min=1, min_open=True),
    default=4.0,
    show_default=True,
    help="Between the batch sizes, or learning rates, of the run and its twins.",
)
@click.option(
    "--average",
    type=click.IntRange(min=2),
    metavar="M",
    help="Instead of no noise, M times less of its power: the mean over M batches, not over the whole set.",
)
@several_runs
@common
def control(
    arguments: tuple[str, ...],
    file: str | None,
    only: str | None,
    replicates: int | None,
    factor: float,
    average: int | None,
    executor: str,
    dry_run: bool,
    status: bool,
    as_json: bool,
    **where: Any,
) -> int:
    """Train twins of a run, alike but for one thing, and say how much of its collapse remains without the noise.

    RUN is a run directory, whose replicate the twins have, or an experiment's with several. What the twins cost is said
    first. They are plain runs, found by their settings: what is finished is not trained again, and what was interrupted
    continues; so does the run itself. The controls are

    \b
        no-noise              the gradient of the whole training set
        isotropic             the same, plus Gaussian noise of the batches' power, alike in all parameters
        larger-batch-steps    a larger batch (--factor) at equal steps
        larger-batch-epochs   and at equal epochs
        smaller-batch-steps   a smaller batch at equal steps
        smaller-batch-epochs  and at equal epochs
        no-label-noise        without label and target noise
        no-weight-decay       without weight decay
        lower-rate            a lower learning rate at equal learning rate × steps

    \b
    Examples:
        sc control runs/digits-mlp-0e0b1270c3fa --dry-run
        sc control -f configs/digits/mlp_gelu.yaml optimizer.lr=0.1 --only no-noise,isotropic --replicates 4
    """
    if file is None and not arguments:
        raise click.UsageError("a run needed: RUN, or its settings with -f FILE")
    from .. import sweeps
    from ..terminal import print_sweep

    names = only.split(",") if only is not None else [sweeps.ALL]
    how: dict[str, Any] = {"replicates": replicates, "factor": factor, "average": average}
    if file is None:
        sets = sweeps.controls_of_runs(arguments, names, **how)
    else:
        sets = [sweeps.controls_of_file(file, arguments, names, **how)]
    for line in (line for one in sets for line in one.notes):
        note(line)
    if status and not as_json:
        for one in sets:
            print_sweep(one.sweep.name, [sweeps.news(run) for run in one.sweep.runs])
        return 0
    if dry_run or status:
        planned = [(one, sweeps.planned(one.sweep), sweeps.costs(one.sweep)) for one in sets]
        if as_json:
            rows = [{**runs, "notes": one.notes, "costs": [c.to_json() for c in costs]} for one, runs, costs in planned]
            print_json({"controls": rows})
            return 0
        for _, runs, costs in planned:
            for cost in costs:
                click.echo(cost.summary())
                for run in runs["runs"]:
                    if run["experiment"] == cost.experiment:
                        click.echo(f"  {run['state']}: {run['command']}")
        return 0
    results = [_control(one, executor, where, as_json) for one in sets]
    if as_json:
        print_json({"controls": results})
    return 1 if any(result["failures"] for result in results) else 0


def _control(one: ControlSet, executor: str, where: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """Train what is not finished of a run and its twins, and compare them."""
    from .. import sweeps
    from ..terminal import print_controls

    for cost in sweeps.costs(one.sweep):
        if cost.left:
            note(cost.summary())
    there = sweeps.make_executor(executor, one.sweep, report=note, **where)
    result = sweeps.run_sweep(one.sweep, there, report=note)
    comparison = sweeps.compare(sweeps.measured(sweeps.SweepDirectory(result.directory).runs()))
    if not as_json:
        click.echo(result.summary())
        print_controls(one.title, comparison)
    return {**result.to_json(), "notes": one.notes, **comparison.to_json()}
