"""Users' own code by reference: python:package.module:callable, or python:path/to/file.py:callable."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import InputError, StochasticCollapseError, nearest

_PREFIX = "python:"
_LONGEST = 400  # characters of what users' code raised, in an error of one line


def source_of(reference: str, where: str) -> Path:
    """The file of the code that `reference` names; `where` is the setting's name, for errors.

    Raises `InputError` where there is none.
    """
    module, _ = _parts(reference, where)
    if _is_file(module):
        try:
            path = Path(module).expanduser()
            if not path.is_file():
                looked = "" if path.is_absolute() else f" in {Path.cwd()}"
                raise InputError(f"{where}: {reference}: no file {path}{looked}{_near(path)}")
        except (RuntimeError, OSError) as error:
            raise InputError(f"{where}: {reference}: no file {module}: {error}") from None
        if path.suffix != ".py":
            raise InputError(f"{where}: {reference}: {path} is no .py file")
        return path
    with _Here():
        try:
            spec = importlib.util.find_spec(module)
        except ModuleNotFoundError as error:
            raise InputError(f"{where}: {reference}: no module {error.name}") from None
        except Exception as error:  # of a package that the module is in
            raise InputError(f"{where}: {reference}: importing {module} failed: {_last_line(error)}") from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise InputError(f"{where}: {reference}: no module {module}; looked in {Path.cwd()} and in what is installed")
    return Path(spec.origin)


def digest_of(reference: str, where: str) -> str:
    """SHA-256 of that file, which stands for what the code does."""
    path = source_of(reference, where)
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        raise InputError(f"{where}: {reference}: {path}: {error.strerror}") from None


def load(reference: str, where: str) -> Callable[..., Any]:
    """The callable that `reference` names; its module is imported, and so run, once.

    Raises `InputError` where there is no such module or callable (with the nearest names), and with the last line of
    whatever the module raises, and where.
    """
    module_name, name = _parts(reference, where)
    path = source_of(reference, where)
    try:
        with _Here(path.parent if _is_file(module_name) else None), contextlib.redirect_stdout(sys.stderr):
            module = _from_file(path) if _is_file(module_name) else importlib.import_module(module_name)
    except StochasticCollapseError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}: {reference}: importing {path} failed: {_last_line(error)}") from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            public = [one for one in dir(found) if not one.startswith("_")]
            raise InputError(f"{where}: {reference}: no {part!r} in {path}{nearest(part, public, ' there')}")
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"{where}: {reference}: {name} is a {type(found).__name__}, expected something to call")
    return found


def call(function: Callable[..., Any], where: str, /, **arguments: Any) -> Any:
    """What `function` returns; whatever it raises becomes an `InputError` of one line that tells where."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            return function(**arguments)
    except StochasticCollapseError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{where}: {_last_line(error)}") from error


def _parts(reference: str, where: str) -> tuple[str, str]:
    module, _, name = reference.removeprefix(_PREFIX).rpartition(":")
    if not module or not name:
        raise InputError(
            f"{where}: expected python:package.module:callable or python:path/to/file.py:callable, found {reference}"
        )
    return module, name


def _is_file(module: str) -> bool:
    return module.endswith(".py") or "/" in module


def _from_file(path: Path) -> ModuleType:
    resolved = path.resolve()
    # Named after its content too, so that a file that has changed in between is not mistaken for what it was.
    content = hashlib.sha256(str(resolved).encode() + resolved.read_bytes()).hexdigest()[:12]
    name = f"{path.stem}_{content}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Here:
    """The current directory, and that of a file, among the places that imports look in, as for ``python FILE``."""

    def __init__(self, folder: Path | None = None) -> None:
        self._paths = [str(path) for path in (folder and folder.resolve(), Path.cwd()) if path is not None]

    def __enter__(self) -> None:
        sys.path[:0] = self._paths
        importlib.invalidate_caches()

    def __exit__(self, *exception: object) -> None:
        for path in self._paths:
            with contextlib.suppress(ValueError):  # users' code may have removed it
                sys.path.remove(path)


def _near(path: Path) -> str:
    there = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
    return nearest(path.name, there, " there")


def _last_line(error: BaseException) -> str:
    """``file:line: Kind: message``, of the innermost line of users' code that the error passed."""
    lines = traceback.format_exception_only(error)
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}:{error.lineno}: {lines[-1].strip()}"
    last = textwrap.shorten("".join(lines), _LONGEST, placeholder=" …")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    own = [frame for frame in frames if _is_users(frame.filename)]
    at = (own or frames)[-1:]
    return "".join(f"{frame.filename}:{frame.lineno}: " for frame in at) + last


def _is_users(filename: str) -> bool:
    """Whether a line in that file, which is not ours, is no library's either."""
    path = Path(filename)
    inside = path.is_relative_to(sys.prefix) or path.is_relative_to(sys.base_prefix)
    return not (inside or filename.startswith("<"))


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(Path(__file__).parent)
