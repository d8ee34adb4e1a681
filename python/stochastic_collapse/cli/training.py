"""`sc train` and `sc finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .group import cli
from .options import DIGITS, OUT, REPLICATES, common, need_settings, note, print_json, settings

if TYPE_CHECKING:
    from ..config import TrainConfig


@cli.command()
@settings(DIGITS)
@REPLICATES
@OUT
@click.option("--print-config", is_flag=True, help="Print the resolved settings as YAML and do nothing.")
@click.option(
    "--print-schema", is_flag=True, help="Print the JSON schema of settings files, for editors, and do nothing."
)
@common
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
    from ..config import TrainConfig, dump_yaml, json_schema, load_config

    if print_schema:
        print_json(json_schema(TrainConfig))
        return
    need_settings(file, overrides, DIGITS)
    config = load_config(file, overrides)
    if print_config:
        if as_json:
            print_json(config.model_dump(mode="json"))
        else:
            click.echo(dump_yaml(config), nl=False)
        return
    _train(config, replicates, out, as_json)


@cli.command()
@settings("configs/cifar10/vgg16_gelu_finetune.yaml")
@REPLICATES
@OUT
@common
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
    from ..config import load_config
    from ..origin import required

    need_settings(file, overrides, "configs/cifar10/vgg16_gelu_finetune.yaml")
    _train(required(load_config(file, overrides)), replicates, out, as_json)


def _train(config: TrainConfig, replicates: int | None, out: Path | None, as_json: bool) -> None:
    """Train, and print how it ended."""
    from .. import training
    from ..terminal import print_collapse

    if replicates is None:
        results = [training.train(config, out=out, report=note)]
    elif out is not None:
        raise click.UsageError("--out names the directory of one run, and --replicates trains several")
    elif config.replicate:
        raise click.UsageError(f"give either --replicates {replicates} or replicate={config.replicate}")
    else:
        results = training.train_replicates(config, replicates, report=note)
    if as_json:
        print_json(results[0].to_json() if replicates is None else {"runs": [r.to_json() for r in results]})
    else:
        for result in results:
            print_collapse(result.summary(), result.collapse)
