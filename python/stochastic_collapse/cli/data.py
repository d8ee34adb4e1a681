"""`sc data`."""

from __future__ import annotations

from pathlib import Path

import click

from .group import cli
from .options import common, note, print_json


@cli.command()
@click.argument("name", required=False)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Import an archive or a folder that you have.",
)
@common
def data(name: str | None, source: Path | None, as_json: bool) -> None:
    """Download or import a dataset; without a name, list what is there and what is missing.

    Files lie under $SC_DATA (default ./data) and are checked by SHA-256.

    \b
    Examples:
        sc data
        sc data cifar10
        sc data cifar10 --from ~/Downloads/cifar-10-binary.tar.gz
    """
    from ..data import files
    from ..terminal import print_table

    if name is None:
        if source is not None:
            raise click.UsageError(f"--from needs a dataset's name: {', '.join(files.ARCHIVES)}")
        listing = files.listing()
        if as_json:
            print_json({"root": str(files.data_root()), "datasets": listing})
        else:
            print_table(
                f"datasets in {files.data_root()}", ["dataset", "state"], [[d["name"], d["state"]] for d in listing]
            )
        return
    folder = files.provide(name, source, note)
    if as_json:
        print_json({"dataset": name, "folder": str(folder)})
    else:
        click.echo(f"{name}: complete in {folder}")
