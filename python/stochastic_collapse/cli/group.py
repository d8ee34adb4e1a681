"""The group that all commands belong to; Torch and Julia are imported inside those that need them."""

from __future__ import annotations

import click

from .. import __version__


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
