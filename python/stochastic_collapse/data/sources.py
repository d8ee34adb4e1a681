"""What data sets depend on beside their settings: digests of the files that settings name, wherever they lie."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from .. import user_code
from ..config import ArraysSettings, DataSettings, ImagesSettings, PythonDataSettings, TabularSettings, TextSettings
from ..errors import InputError
from . import checks, image_folder, text


def sources_of(settings: DataSettings) -> dict[str, str]:
    """``sha256:…`` of what the files hold that `settings` name, by dotted setting; empty for sets with their own name.

    Of images it counts names, classes and sizes (`image_folder.contents_digest`), of code the file that it is in.
    Raises `InputError` where nothing lies there, or it cannot be read.
    """
    match settings:
        case ImagesSettings(path=str(path)):
            return {"data.path": image_folder.contents_digest(checks.expanded(path, "data.path"))}
        case ArraysSettings(path=path, targets=targets):
            digests = {"data.path": digest_of_path(checks.file_at(path, "data.path"), "data.path")}
            if targets is not None:
                digests["data.targets"] = digest_of_path(checks.file_at(targets, "data.targets"), "data.targets")
            return digests
        case TabularSettings(path=path):
            return {"data.path": digest_of_path(checks.file_at(path, "data.path"), "data.path")}
        case TextSettings(path=path):
            files = text.files_of(settings)
            if checks.expanded(path, "data.path").is_dir():
                return {"data.path": _digest_of_files(files, "data.path")}
            return {"data.path": digest_of_path(next(iter(files.values())), "data.path")}
        case PythonDataSettings(name=name):
            return {"data.name": user_code.digest_of(name, "data.name")}
    return {}


def digest_of_path(path: Path, setting: str) -> str:
    """``sha256:…`` of a file's content, or of the names and contents of all files in a folder that are not hidden.

    Raises `InputError`, which begins with `setting`, where there is none, or it cannot be read.
    """
    if not path.is_dir():
        return f"sha256:{_digest(checks.file_at(str(path), setting), setting)}"
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    files = {name: file for name, file in files.items() if not any(p.startswith(".") for p in name.split("/"))}
    if not files:
        raise InputError(f"{setting}: {path}: no file in this folder")
    return _digest_of_files(dict(sorted(files.items())), setting)


def _digest_of_files(files: Mapping[str, Path], setting: str) -> str:
    whole = hashlib.sha256()
    for name, path in files.items():
        whole.update(f"{name}\0{_digest(path, setting)}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{whole.hexdigest()}"


def _digest(path: Path, setting: str) -> str:
    try:
        stat = path.stat()
        return _read(path.resolve(), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{setting}: {path}: {error.strerror}") from None


@functools.lru_cache(maxsize=4096)
def _read(path: Path, size: int, modified: int) -> str:
    """Hexadecimal SHA-256 of a file that has this size, and was modified then."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
