"""The reference of the `sc` command: the help of every command, from its definition."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from stochastic_collapse.cli import cli


def reference() -> str:
    """Markdown of all commands, in the order in which `cli` defines them."""
    lines: list[str] = []
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=f"sc {name}")
        usage = " ".join(["sc", name, *command.collect_usage_pieces(context)])
        lines += ["", f"## sc {name} {{ #{name} }}", "", "```text", usage, "```", "", *_help(command.help or "")]
        lines += ["", "| option | meaning |", "| --- | --- |", *_options(command, context)]
    return "\n".join(lines)


def _help(text: str) -> Iterator[str]:
    """Paragraphs of a command's help; what stands below "Examples:" as code."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        head, *rest = paragraph.removeprefix("\b\n").splitlines()
        if head.endswith(":") and rest and all(line.startswith("    ") for line in rest):
            yield from (head, "", "```sh", *(line[4:] for line in rest), "```", "")
        else:
            yield from (" ".join([head, *rest]), "")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1]:  # arguments stand in the usage line
            names, meaning = (part.replace("|", "\\|") for part in record)
            yield f"| `{names}` | {meaning} |"
