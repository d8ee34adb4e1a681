"""`sc analyze`, `sc compress` and `sc report`: what became of networks."""

from __future__ import annotations

from pathlib import Path

import click

from .group import cli
from .options import common, note, print_json
from .weights import Weights, numbers, of_weights


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--steps",
    metavar="N,N,…",
    help="Measure the checkpoints of these steps (default: the last); with --weights: the step of each file.",
)
@click.option("--every-checkpoint", is_flag=True, help="Measure all checkpoints.")
@of_weights
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="With --weights: write collapse.csv and weights.json there.",
)
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
@common
def analyze(
    runs: tuple[str, ...],
    steps: str | None,
    every_checkpoint: bool,
    weights: Weights,
    out: Path | None,
    attractivity: bool,
    neurons: int | None,
    examples: int | None,
    as_json: bool,
) -> None:
    """Count the independent neurons of each layer, in runs or in files of weights of any network.

    RUN is a run directory, or a folder of them. The measurements are added to the run's collapse.csv. With several
    runs a table compares them. With --attractivity the run's data, learning rate and batch size tell for the neurons
    nearest to vanishing, and the pairs nearest to each other, whether theory predicts that SGD takes them there; the
    rows are added to the run's attractivity.csv, checkpoint by checkpoint. Where the learning rate has ended at 0
    (cosine, linear), name earlier checkpoints with --steps.

    --weights takes what people have: files of torch.save or safetensors, checkpoints of Lightning, timm and others,
    shards with an index, folders of Hugging Face and of torch.distributed.checkpoint. Nothing in them is run.

    \b
    Examples:
        sc analyze runs/digits-mlp-0e0b1270c3fa --every-checkpoint
        sc analyze runs/digits-mlp-0e0b1270c3fa --attractivity --steps 5000,20000
        sc analyze --weights state_100000ba.pt --model vgg16
        sc analyze --weights a-hugging-face-folder
        sc analyze --weights last.ckpt --model timm:resnet18 --state ema --out measured
    """
    if weights and attractivity:
        raise click.UsageError("--attractivity needs a RUN: its data, learning rate and batch size")
    if weights and every_checkpoint:
        raise click.UsageError("--every-checkpoint goes with RUN directories")
    if not weights and out is not None:
        raise click.UsageError("--out goes with --weights; what is measured of a run lies in its directory")
    if not attractivity and (neurons is not None or examples is not None):
        raise click.UsageError("--neurons and --examples go with --attractivity")
    from .. import collapse
    from ..runs import find_runs, labelled
    from ..terminal import print_attractivity, print_collapse, print_comparison

    if weights:
        measured = collapse.analyze_weights(weights.paths, weights.model, steps=weights.steps, **weights.how)
        for line in measured.said:
            note(line)
        if out is not None:
            measured.write(out)
        if as_json:
            print_json(measured.to_json())
        else:
            for step, path in measured.files.items():
                print_collapse(str(path), measured.collapse[measured.collapse["step"] == step])
        return
    if every_checkpoint and steps is not None:
        raise click.UsageError("give either --steps or --every-checkpoint")
    which: collapse.Steps = (
        "all" if every_checkpoint else numbers(steps, "--steps", "10000,20000") if steps is not None else "last"
    )
    if attractivity:
        from .. import training

        sizes = {key: n for key, n in (("neurons", neurons), ("examples", examples)) if n is not None}
        found = find_runs(runs)
        for run in found:  # before minutes of work on the others
            training.check_probe(run)
        probed = [(str(run), training.probe_run(run, which, **sizes)) for run in found]
        if as_json:
            records = [(run, rows.astype(object).where(rows.notna(), None).to_dict("records")) for run, rows in probed]
            print_json({"runs": [{"run": run, "attractivity": rows} for run, rows in records]})
        else:
            for title, rows in probed:
                print_attractivity(title, rows)
        return
    named = labelled(find_runs(runs))
    tables = [collapse.analyze_run(run, which) for run, _ in named]
    if as_json:
        records = [(str(run), table.to_dict("records")) for (run, _), table in zip(named, tables, strict=True)]
        print_json({"runs": [{"run": run, "collapse": rows} for run, rows in records]})
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
@click.option("--steps", metavar="N,N,…", help="With --weights: the step of each file.")
@of_weights
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --weights: where to write; of several a folder, which gets a compression.csv too.",
)
@common
def compress(
    runs: tuple[str, ...],
    tolerance: float,
    step: int | None,
    steps: str | None,
    weights: Weights,
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
        sc compress --weights a-hugging-face-folder --out smaller.pt
    """
    if not weights and out is not None:
        raise click.UsageError("--out goes with --weights; a run's compressed network lies in its directory")
    if weights and step is not None:
        raise click.UsageError("--step goes with a RUN")
    if not weights and steps is not None:
        raise click.UsageError("--steps goes with --weights; --step names a run's checkpoint")
    from .. import compression, training
    from ..runs import find_runs
    from ..terminal import print_compression

    done = []
    if weights:
        compressed = compression.compress_files(
            weights.paths, weights.model, tolerance, out, steps=weights.steps, **weights.how
        )
        for file, path, said, result in compressed:
            note(said)
            done.append((str(file), path, result))
    for run in find_runs(runs):
        result = training.compress_run(run, tolerance, step)
        at = max(run.checkpoints()) if step is None else step
        done.append((str(run), run.compressed(at, tolerance), result))
    if as_json:
        print_json({"networks": [{"from": name, "file": str(p), **result.to_json()} for name, p, result in done]})
    else:
        for name, path, result in done:
            print_compression(f"{name}, tolerance {tolerance:g}", result)
            click.echo(str(path))


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The page (default: report.html in the run's directory; of several runs, in $SC_RUNS; of weights, here).",
)
@click.option("--steps", metavar="N,N,…", help="With --weights: the step of each file.")
@of_weights
@common
def report(runs: tuple[str, ...], out: Path | None, steps: str | None, weights: Weights, as_json: bool) -> None:
    """Write one HTML page about a run, or one that compares several; it needs no server and no network.

    Accuracy and loss, the collapse of each layer step by step, distances between neurons, what compression costs,
    settings and versions. RUN is a run directory, or a folder of them. Checkpoints that are not in collapse.csv are
    measured for the page alone: `sc analyze --every-checkpoint` would keep what it measures.

    \b
    Examples:
        sc report runs/digits-mlp-0e0b1270c3fa
        sc report runs/demo-* --out demo.html
        sc report --weights checkpoints/ --model timm:resnet18 --out training.html
    """
    if not weights and steps is not None:
        raise click.UsageError("--steps goes with --weights; a report has all checkpoints of a run")
    from ..report import write_report, write_weights_report
    from ..runs import find_runs

    if weights:
        path = write_weights_report(weights.paths, weights.model, out, note, steps=weights.steps, **weights.how)
    else:
        path = write_report(find_runs(runs), out, note)
    if as_json:
        print_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(str(path))
