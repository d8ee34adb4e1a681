"""The `sc` command: parse, call one function, print. No logic (docs/architecture.md#exit-statuses).

Torch and Julia are imported inside the commands that need them, so that `sc --help` starts at once.
"""

from __future__ import annotations

import json
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import __version__
from .errors import StochasticCollapseError

if TYPE_CHECKING:
    from .config import TrainConfig
    from .sweeps import ControlSet

F = TypeVar("F", bound=Callable[..., Any])


def _note(line: str) -> None:
    """Log to stderr; stdout is for results."""
    click.echo(line, err=True)


def _print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2))


def _common(command: F) -> F:
    """Options that every command has."""
    command = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on stdout; logs go to stderr."
    )(command)
    return click.option(
        "--verbose", is_flag=True, expose_value=False, help="Show the stack when something goes wrong."
    )(command)


def _settings(example: str) -> Callable[[F], F]:
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


def _need_settings(file: str | None, overrides: tuple[str, ...], example: str) -> None:
    if file is None and not overrides:
        raise click.UsageError(f"settings needed: -f FILE, such as -f {example}")


class _Commands(click.Group):
    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        command = super().get_command(ctx, name)
        if command is None:
            ctx.fail(f"no such command {name!r}; the commands are {', '.join(self.list_commands(ctx))}")
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sc")
def cli() -> None:
    """stochastic-collapse: how SGD noise drives networks to simpler subnetworks.

    \b
    Train a network and measure how far it has collapsed:
        sc train -f configs/digits/mlp_gelu.yaml optimizer.lr=0.1

    Runs are kept under $SC_RUNS (default ./runs), datasets under $SC_DATA (default ./data).
    """


_OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory of this run, instead of one under $SC_RUNS.",
)
_REPLICATES = click.option(
    "--replicates",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train the replicates 0 to N-1, small networks as one batched program.",
)
_DIGITS = "configs/digits/mlp_gelu.yaml"


@cli.command()
@_settings(_DIGITS)
@_REPLICATES
@_OUT
@click.option("--print-config", is_flag=True, help="Print the resolved settings as YAML and do nothing.")
@click.option(
    "--print-schema", is_flag=True, help="Print the JSON schema of settings files, for editors, and do nothing."
)
@_common
def train(
    file: str | None,
    overrides: tuple[str, ...],
    replicates: int | None,
    out: Path | None,
    print_config: bool,
    print_schema: bool,
    as_json: bool,
) -> None:
    """Train one network, measuring its collapse.

    A finished run is not trained again; an interrupted one (Ctrl-C, SIGTERM, kill -9) continues with the same command.

    \b
    Examples:
        sc train -f configs/digits/mlp_gelu.yaml optimizer.lr=0.1 data.label_noise=0.2
        sc train -f configs/digits/mlp_gelu.yaml --replicates 4
    """
    from .config import TrainConfig, dump_yaml, json_schema, load_config

    if print_schema:
        _print_json(json_schema(TrainConfig))
        return
    _need_settings(file, overrides, _DIGITS)
    config = load_config(file, overrides)
    if print_config:
        if as_json:
            _print_json(config.model_dump(mode="json"))
        else:
            click.echo(dump_yaml(config), nl=False)
        return
    _train(config, replicates, out, as_json)


@cli.command()
@_settings("configs/cifar10/vgg16_gelu_finetune.yaml")
@_REPLICATES
@_OUT
@_common
def finetune(
    file: str | None, overrides: tuple[str, ...], replicates: int | None, out: Path | None, as_json: bool
) -> None:
    """Train on from the weights of a run's checkpoint, as a run of its own.

    The origin is from.run, a run directory or an experiment's (then replicate k starts from its replicate k), with
    from.step (default: the last); or from.weights, any file of weights of the same network. Momenta start at zero.

    \b
    Examples:
        sc finetune -f configs/cifar10/vgg16_gelu_finetune.yaml from.run=runs/cifar10-vgg16-… from.step=20000
        sc finetune -f configs/digits/mlp_gelu.yaml from.weights=state.pt optimizer.lr=0.01 max_steps=5000
    """
    from .config import load_config
    from .origin import required

    _need_settings(file, overrides, "configs/cifar10/vgg16_gelu_finetune.yaml")
    _train(required(load_config(file, overrides)), replicates, out, as_json)


def _train(config: TrainConfig, replicates: int | None, out: Path | None, as_json: bool) -> None:
    """Train, and print how it ended."""
    from . import training
    from .terminal import print_collapse

    if replicates is None:
        results = [training.train(config, out=out, report=_note)]
    elif out is not None:
        raise click.UsageError("--out names the directory of one run, and --replicates trains several")
    elif config.replicate:
        raise click.UsageError(f"give either --replicates {replicates} or replicate={config.replicate}")
    else:
        results = training.train_replicates(config, replicates, report=_note)
    if as_json:
        _print_json(results[0].to_json() if replicates is None else {"runs": [r.to_json() for r in results]})
    else:
        for result in results:
            print_collapse(result.summary(), result.collapse)


def _several_runs(command: F) -> F:
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


@cli.command()
@_settings("configs/sweeps/learning_rate.yaml")
@click.option("--size", metavar="NAME", help="Which of the file's sizes, such as quick or paper; default: the first.")
@click.option("--replicates", type=click.IntRange(min=1), metavar="N", help="Replicates, instead of the file's number.")
@_several_runs
@_common
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
    from . import sweeps
    from .terminal import print_sweep

    if file is None:
        raise click.UsageError("a sweep's file needed: -f FILE, such as -f configs/sweeps/learning_rate.yaml")
    plan = sweeps.load_sweep(file, size, overrides, replicates=replicates)
    if status and not as_json:
        print_sweep(plan.name, [sweeps.news(run) for run in plan.runs])
    elif dry_run or status:
        planned = sweeps.planned(plan)
        if as_json:
            _print_json(planned)
        else:
            for run in planned["runs"]:
                click.echo(f"{run['state']}: {run['command']}")
    else:
        result = sweeps.run_sweep(plan, sweeps.make_executor(executor, plan, report=_note, **where), report=_note)
        if as_json:
            _print_json(result.to_json())
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
@_several_runs
@_common
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
    from . import sweeps
    from .terminal import print_sweep

    names = only.split(",") if only is not None else [sweeps.ALL]
    how: dict[str, Any] = {"replicates": replicates, "factor": factor, "average": average}
    if file is None:
        sets = sweeps.controls_of_runs(arguments, names, **how)
    else:
        sets = [sweeps.controls_of_file(file, arguments, names, **how)]
    for note in (note for one in sets for note in one.notes):
        _note(note)
    if status and not as_json:
        for one in sets:
            print_sweep(one.sweep.name, [sweeps.news(run) for run in one.sweep.runs])
        return 0
    if dry_run or status:
        planned = [(one, sweeps.planned(one.sweep), sweeps.costs(one.sweep)) for one in sets]
        if as_json:
            rows = [{**runs, "notes": one.notes, "costs": [c.to_json() for c in costs]} for one, runs, costs in planned]
            _print_json({"controls": rows})
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
        _print_json({"controls": results})
    return 1 if any(result["failures"] for result in results) else 0


def _control(one: ControlSet, executor: str, where: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """Train what is not finished of a run and its twins, and compare them."""
    from . import sweeps
    from .terminal import print_controls

    for cost in sweeps.costs(one.sweep):
        if cost.left:
            _note(cost.summary())
    there = sweeps.make_executor(executor, one.sweep, report=_note, **where)
    result = sweeps.run_sweep(one.sweep, there, report=_note)
    comparison = sweeps.compare(sweeps.measured(sweeps.SweepDirectory(result.directory).runs()))
    if not as_json:
        click.echo(result.summary())
        print_controls(one.title, comparison)
    return {**result.to_json(), "notes": one.notes, **comparison.to_json()}


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--steps", metavar="N,N,…", help="Measure the checkpoints of these steps (default: the last).")
@click.option("--every-checkpoint", is_flag=True, help="Measure all checkpoints.")
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE", help="Measure a file of weights instead of a run."
)
@click.option("--model", metavar="NAME", help="With --weights: which built-in network it is (mlp, vgg16, resnet18).")
@click.option("--attractivity", is_flag=True, help="Predict instead which neurons SGD draws to vanish or to merge.")
@click.option(
    "--neurons",
    metavar="N",
    type=click.IntRange(min=1),
    help="With --attractivity: neurons, also pairs, per layer (default 8).",
)
@click.option(
    "--examples",
    metavar="N",
    type=click.IntRange(min=2),
    help="With --attractivity: training examples (default 512).",
)
@_common
def analyze(
    runs: tuple[str, ...],
    steps: str | None,
    every_checkpoint: bool,
    weights: Path | None,
    model: str | None,
    attractivity: bool,
    neurons: int | None,
    examples: int | None,
    as_json: bool,
) -> None:
    """Count the independent neurons of each layer, in runs or in any file of weights.

    RUN is a run directory, or a folder of them. The measurements are added to the run's collapse.csv. With several
    runs a table compares them. With --attractivity the run's data, learning rate and batch size tell for the neurons
    nearest to vanishing, and the pairs nearest to each other, whether theory predicts that SGD takes them there; the
    rows are added to the run's attractivity.csv, checkpoint by checkpoint. Where the learning rate has ended at 0
    (cosine, linear), name earlier checkpoints with --steps.

    \b
    Examples:
        sc analyze runs/digits-mlp-0e0b1270c3fa --every-checkpoint
        sc analyze runs/digits-mlp-0e0b1270c3fa --attractivity --steps 5000,20000
        sc analyze --weights state_100000ba.pt --model vgg16
    """
    if bool(runs) == bool(weights) or bool(weights) != bool(model):
        raise click.UsageError("give either RUN directories, or --weights FILE with --model NAME")
    if weights is not None and attractivity:
        raise click.UsageError("--attractivity needs a RUN: its data, learning rate and batch size")
    if not attractivity and (neurons is not None or examples is not None):
        raise click.UsageError("--neurons and --examples go with --attractivity")
    from . import collapse
    from .runs import find_runs, labelled
    from .terminal import print_attractivity, print_collapse, print_comparison

    if weights is not None and model is not None:
        table = collapse.analyze_weights(weights, model)
        if as_json:
            _print_json({"weights": str(weights), "model": model, "collapse": table.to_dict("records")})
        else:
            print_collapse(str(weights), table)
        return
    if every_checkpoint and steps is not None:
        raise click.UsageError("give either --steps or --every-checkpoint")
    which: collapse.Steps = "all" if every_checkpoint else _steps(steps) if steps is not None else "last"
    if attractivity:
        from . import training

        sizes = {key: n for key, n in (("neurons", neurons), ("examples", examples)) if n is not None}
        found = find_runs(runs)
        for run in found:  # before minutes of work on the others
            training.check_probe(run)
        probed = [(str(run), training.probe_run(run, which, **sizes)) for run in found]
        if as_json:
            _print_json({"runs": [{"run": run, "attractivity": rows.to_dict("records")} for run, rows in probed]})
        else:
            for title, rows in probed:
                print_attractivity(title, rows)
        return
    named = labelled(find_runs(runs))
    tables = [collapse.analyze_run(run, which) for run, _ in named]
    if as_json:
        records = [(str(run), table.to_dict("records")) for (run, _), table in zip(named, tables, strict=True)]
        _print_json({"runs": [{"run": run, "collapse": rows} for run, rows in records]})
    elif len(named) == 1:
        print_collapse(str(named[0][0]), tables[0])
    else:
        print_comparison([(name, run, table) for (run, name), table in zip(named, tables, strict=True)])


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Fraction of the largest norm, and normalized distance, below which neurons go; 0: only exact collapses.",
)
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="The checkpoint (default: the last).")
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE", help="Compress a file of weights instead of a run."
)
@click.option("--model", metavar="NAME", help="With --weights: which built-in network it is (mlp, vgg16, resnet18).")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="With --weights: where to write.")
@_common
def compress(
    runs: tuple[str, ...],
    tolerance: float,
    step: int | None,
    weights: Path | None,
    model: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Remove a network's vanished neurons and merge its redundant ones.

    RUN is a run directory, or a folder of them. The smaller network is written to compressed/ in the run directory,
    what it costs and what it still gets right to compression.csv; of a file of weights, beside the file.

    \b
    Examples:
        sc compress runs/demo-*
        sc compress runs/digits-mlp-0e0b1270c3fa --tolerance 0.05 --step 10000
        sc compress --weights state_100000ba.pt --model vgg16
    """
    if bool(runs) == bool(weights) or bool(weights) != bool(model):
        raise click.UsageError("give either RUN directories, or --weights FILE with --model NAME")
    if weights is None and out is not None:
        raise click.UsageError("--out goes with --weights; a run's compressed network lies in its directory")
    if weights is not None and step is not None:
        raise click.UsageError("--step goes with a RUN")
    from . import training
    from .runs import find_runs
    from .terminal import print_compression

    done = []
    if weights is not None and model is not None:
        result, path = training.compress_weights(weights, model, tolerance, out)
        done.append((str(weights), path, result))
    for run in find_runs(runs):
        result = training.compress_run(run, tolerance, step)
        at = max(run.checkpoints()) if step is None else step
        done.append((str(run), run.compressed(at, tolerance), result))
    if as_json:
        _print_json({"networks": [{"from": name, "file": str(p), **result.to_json()} for name, p, result in done]})
    else:
        for name, path, result in done:
            print_compression(f"{name}, tolerance {tolerance:g}", result)
            click.echo(str(path))


def _steps(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"expected step numbers such as 10000,20000, found {text!r}", param_hint="--steps"
        ) from None


@cli.command()
@click.argument("name", required=False)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Import an archive or a folder that you have.",
)
@_common
def data(name: str | None, source: Path | None, as_json: bool) -> None:
    """Download or import a dataset; without a name, list what is there and what is missing.

    Files lie under $SC_DATA (default ./data) and are checked by SHA-256.

    \b
    Examples:
        sc data
        sc data cifar10
        sc data cifar10 --from ~/Downloads/cifar-10-binary.tar.gz
    """
    from .data import files
    from .terminal import print_table

    if name is None:
        if source is not None:
            raise click.UsageError(f"--from needs a dataset's name: {', '.join(files.ARCHIVES)}")
        listing = files.listing()
        if as_json:
            _print_json({"root": str(files.data_root()), "datasets": listing})
        else:
            print_table(
                f"datasets in {files.data_root()}", ["dataset", "state"], [[d["name"], d["state"]] for d in listing]
            )
        return
    folder = files.provide(name, source, _note)
    if as_json:
        _print_json({"dataset": name, "folder": str(folder)})
    else:
        click.echo(f"{name}: complete in {folder}")


def _of_toys(example: str) -> Callable[[F], F]:
    """What the commands that simulate toy problems have in common."""

    def decorate(command: F) -> F:
        for option in reversed(
            [
                _settings(example),
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
                _common,
            ]
        ):
            command = option(command)
        return command

    return decorate


def _simulate(
    problem: str | Sequence[str], example: str, file: str | None, overrides: tuple[str, ...], as_json: bool, **how: Any
) -> None:
    from .toys import load_toys
    from .toys.simulation import simulate_all

    _need_settings(file, overrides, example)
    runs = simulate_all(load_toys(file, overrides, problem), report=_note, **how)
    if as_json:
        _print_json({"runs": [run.to_json() for run in runs]})
    else:
        from .terminal import print_students
        from .toys import before_drop, summarize

        for run in runs:
            click.echo(run.summary())
            if run.spec["problem"] == "students":
                print_students(summarize(run), drops=before_drop(run) < len(run.time) - 1)


_FIG2, _FIG5, _TWO_NEURONS = (f"configs/toys/{name}.yaml" for name in ("fig2_quick", "fig5_quick", "two_neurons"))


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


@cli.command()
@click.option("--julia", metavar="PATH", help="The program of the engine julia, instead of $SC_JULIA or julia on PATH.")
@_common
def doctor(julia: str | None, as_json: bool) -> None:
    """List what this machine has: engines of the toy simulations, versions, threads, GPUs.

    \b
    Example:
        sc doctor --json
    """
    from .doctor import examine
    from .terminal import print_doctor

    findings = examine(julia)
    if as_json:
        _print_json(findings)
    else:
        print_doctor(findings)


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
@_common
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
        from .figures.everything import regenerate

        result = regenerate(only=only.split(",") if only is not None else (), out=out, report=_note, **given)
        if as_json:
            _print_json(result.to_json())
        else:
            click.echo(result.summary())
        return 1 if result.failures else 0
    if not arguments:
        raise click.UsageError("a figure needed, such as: sc figures fig2; or --all")
    if only is not None or given:
        raise click.UsageError("--size, --only, --from, --engine and --executor go with --all")
    from .figures import draw_named

    written = draw_named(arguments, out, _note)
    if as_json:
        _print_json({"figures": [str(path) for path in written]})
    else:
        for path in written:
            click.echo(str(path))
    return 0


@cli.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The page (default: report.html in the run's directory; of several runs, in $SC_RUNS).",
)
@_common
def report(runs: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Write one HTML page about a run, or one that compares several; it needs no server and no network.

    Accuracy and loss, the collapse of each layer step by step, distances between neurons, what compression costs,
    settings and versions. RUN is a run directory, or a folder of them. Checkpoints that are not in collapse.csv are
    measured for the page alone: `sc analyze --every-checkpoint` would keep what it measures.

    \b
    Examples:
        sc report runs/digits-mlp-0e0b1270c3fa
        sc report runs/demo-* --out demo.html
    """
    from .report import write_report
    from .runs import find_runs

    path = write_report(find_runs(runs), out, _note)
    if as_json:
        _print_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(str(path))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status: 0 done, 1 failed, 2 bad usage or input, 130 interrupted."""
    try:
        # Without standalone mode click leaves errors and exit statuses to us.
        status = cli.main(list(arguments), prog_name="sc", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _note("sc: interrupted")
        return 130
    except Exception as error:
        if "--verbose" in arguments:
            traceback.print_exc()
        if isinstance(error, StochasticCollapseError):
            for line in str(error).splitlines():
                _note(f"sc: {line}")
            return error.exit_code
        reason = " ".join(str(error).split())
        hint = "" if isinstance(error, OSError) else "; --verbose shows where"
        _note(f"sc: {type(error).__name__}: {reason}{hint}")
        return 1


def main() -> None:
    """Entry point of the `sc` command."""

    def on_terminate(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, on_terminate)
    sys.exit(run(sys.argv[1:]))
