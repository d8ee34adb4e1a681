"""What libraries of networks have in common: importing one, silence while it works, and one line where it fails."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import logging
import traceback
import warnings
from collections.abc import Iterator
from types import ModuleType

from ...errors import InputError, StochasticCollapseError
from ...task import Task

_EXTRAS = {"timm": "timm", "torchvision": "torchvision", "transformers": "huggingface"}


def imported(library: str, name: str) -> ModuleType:
    """The library; raises `InputError` where it is not installed or cannot be imported. `name` is the network's."""
    try:
        with _quiet():
            return importlib.import_module(library)
    except Exception as error:  # compiled libraries that do not fit each other raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == library:
            raise InputError(f"model.name: {name} needs {_missing(library)}") from None
        mixed = "; its torchvision is of another torch than is installed" if "torchvision::" in str(error) else ""
        raise InputError(f"model.name: {name}: importing {library} failed: {_last_line(error)}{mixed}") from error


def version_of(library: str) -> dict[str, str]:
    """Of what is installed, without importing it; raises `InputError` where it is not."""
    try:
        return {library: importlib.metadata.version(library)}
    except importlib.metadata.PackageNotFoundError:
        raise InputError(f"model.name: {library}: needs {_missing(library)}") from None


@contextlib.contextmanager
def making(name: str, library: str) -> Iterator[None]:
    """The library works in silence; whatever it raises becomes an `InputError` of one line."""
    try:
        with _quiet():
            yield
    except StochasticCollapseError:
        raise
    except Exception as error:
        raise InputError(f"model.name: {name}: {library} failed: {_last_line(error)}") from error


def images(task: Task, name: str) -> tuple[int, int, int]:
    """(channels, height, width) of the task's only input; raises `InputError` where that is no image."""
    if not task.has_images or task.named is not None:
        raise InputError(f"model.name: {name} takes images (channels, height, width), and {given(task)}")
    channels, height, width = task.input_shape
    return channels, height, width


def given(task: Task) -> str:
    """What inputs the data give, in words."""
    if task.named is not None:
        return f"the data have inputs by name: {', '.join(task.named)}"
    kind = "images" if task.has_images else "tokens" if task.vocabulary is not None else "numbers"
    return f"the data have {kind} of shape {task.input_shape}"


def _missing(library: str) -> str:
    return f"{library}, which is not installed: pip install 'stochastic-collapse[{_EXTRAS[library]}]'"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _last_line(error: BaseException) -> str:
    first, *others = "".join(traceback.format_exception_only(error)).strip().splitlines()
    return f"{first.partition(':')[0]}: {others[-1].strip()}" if others else first
