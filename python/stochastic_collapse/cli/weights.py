"""What `sc analyze`, `sc compress` and `sc report` share where they take files of weights instead of runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from ..errors import InputError

F = TypeVar("F", bound=Callable[..., Any])


class Weights(NamedTuple):
    """What a command was given of files of weights."""

    paths: tuple[Path, ...]
    model: str | None
    how: dict[str, Any]
    """Keywords of `networks.subject_of`."""
    steps: list[int] | None

    def __bool__(self) -> bool:
        return bool(self.paths)


def of_weights(command: F) -> F:
    """Options that name files of weights and their network; the command gets them as one `weights`."""

    @functools.wraps(command)  # with the options that it has already
    def wrapped(**given: Any) -> Any:
        weights = _collected(
            given.pop("weights"), given.pop("model"), given.pop("arguments"), given.pop("input_shape"),
            given.pop("vocabulary"), given.pop("state"), given.get("steps"),
        )  # fmt: skip
        runs = given.get("runs", ())
        if bool(runs) == bool(weights):
            raise click.UsageError("give either RUN directories, or --weights FILE")
        return command(**given, weights=weights)

    for option in (
        click.option("--state", metavar="NAME", help="With --weights: which state dict of the file, such as ema."),
        click.option(
            "--vocabulary",
            type=click.IntRange(min=1),
            metavar="N",
            help="With --weights: inputs are tokens, of so many kinds.",
        ),
        click.option(
            "--input",
            "input_shape",
            metavar="N,N,N",
            help="With --weights: the shape of an input, such as 3,32,32, where the network has none of its own.",
        ),
        click.option(
            "--arguments", metavar="YAML", help="With --weights: what the network is made with, as model.arguments."
        ),
        click.option(
            "--model",
            metavar="REFERENCE",
            help="With --weights: the network, such as vgg16 or timm:NAME (default: the one that the file says).",
        ),
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            multiple=True,
            metavar="FILE",
            help="A file or folder of weights instead of a run; several of one training: name it several times, or a "
            "folder of them.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


def numbers(text: str, option: str, example: str) -> list[int]:
    """The whole numbers in N,N,N; a usage error where there is something else."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"expected numbers such as {example}, found {text!r}", param_hint=option) from None


def _collected(
    paths: tuple[Path, ...],
    model: str | None,
    arguments: str | None,
    input_shape: str | None,
    vocabulary: int | None,
    state: str | None,
    steps: str | None,
) -> Weights:
    given = {"--model": model, "--arguments": arguments, "--input": input_shape, "--vocabulary": vocabulary}
    if not paths:
        if alone := [name for name, value in {**given, "--state": state}.items() if value is not None]:
            raise click.UsageError(f"{alone[0]} goes with --weights")
        return Weights((), None, {}, None)
    how = {
        "arguments": _mapping(arguments),
        "input_shape": None if input_shape is None else _shape(input_shape),
        "vocabulary": vocabulary,
        "state": state,
    }
    return Weights(paths, model, how, None if steps is None else numbers(steps, "--steps", "1000,2000"))


def _shape(text: str) -> tuple[int, ...]:
    shape = tuple(numbers(text, "--input", "3,32,32"))
    if min(shape) < 1:
        raise click.BadParameter(f"expected numbers of at least 1, found {text!r}", param_hint="--input")
    return shape


def _mapping(text: str | None) -> dict[str, Any]:
    from ..config import read_settings

    if text is None:
        return {}
    try:
        found = read_settings(None, [f"arguments={text}"]).values["arguments"]
    except InputError:
        found = None
    if not isinstance(found, dict):
        raise click.BadParameter(f"expected YAML such as {{width: 64}}, found {text!r}", param_hint="--arguments")
    return found
