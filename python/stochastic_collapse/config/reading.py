"""Settings from YAML files with dotted overrides, and back.

A settings file is YAML 1.2. An override is ``key.sub=value`` with the value written as in YAML. Every mistake is an
`InputError` that names the key, where it stands, and what was expected.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..errors import InputError
from ..resources import shipped
from .base import Settings
from .mistakes import explain, is_of_elements
from .run import TrainConfig

S = TypeVar("S", bound=Settings)


def load_config(file: str | Path | None, overrides: Sequence[str] = ()) -> TrainConfig:
    """Settings of a training run from a YAML file and overrides such as ``"optimizer.lr=0.1"``.

    `file` is a path, or the path of a configuration shipped with the package (``configs/digits/mlp_gelu.yaml``).
    Raises `InputError` with one line per mistake.
    """
    return load_settings(TrainConfig, file, overrides)


def load_settings(kind: type[S], file: str | Path | None, overrides: Sequence[str] = ()) -> S:
    """Settings of any kind from a YAML file and overrides; see `load_config`."""
    written = read_settings(file, overrides)
    return written.check(kind, written.values)


@dataclass(frozen=True)
class Written:
    """What the user wrote, in a file and in overrides, not checked yet."""

    values: dict[str, Any]
    path: Path | None
    text: str
    overrides: Sequence[str]

    def check(self, kind: type[S], values: Mapping[str, Any], homes: Mapping[str, Sequence[str]] | None = None) -> S:
        """Settings of `kind` from `values`, by default keys of the same names in `self.values`.

        `homes` says of a dotted key in `values` under which keys the user wrote it, where that is not the top. Raises
        `InputError` with one line per mistake.
        """
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            # Each member of a union of plain types has its own mistake, all explained by the same line. A list is too
            # short where elements of it are wrong, which have mistakes of their own.
            mistakes = [m for m in error.errors() if not is_of_elements(m)]
            lines = dict.fromkeys(explain(kind, mistake, self.place, homes or {}) for mistake in mistakes)
            raise InputError("\n".join(lines)) from None

    def place(self, keys: Sequence[int | str]) -> str:
        """Where `keys` were written: the override, or the file and line, with ": "; empty if written nowhere."""
        names = [k for k in keys if isinstance(k, str)]
        for override in reversed(self.overrides):  # the last one is in force
            written = override.partition("=")[0].split(".")
            if names and written[: len(names)] == names[: len(written)]:
                return f"override {override!r}: "
        if self.path is None:
            return ""
        node: Any = YAML(typ="rt", pure=True).load(self.text)  # its mappings know the line of each key
        line = None
        for key in names:
            if not isinstance(node, Mapping) or key not in node:
                break
            lines: Any = node
            if key in lines.lc.data:  # what a YAML merge brings in stands elsewhere
                line = lines.lc.key(key)[0] + 1
            node = node[key]
        return f"{self.path}:{line}: " if line is not None else f"{self.path}: "


def read_settings(file: str | Path | None, overrides: Sequence[str] = ()) -> Written:
    """Read a YAML file and apply overrides, without checking what they mean; see `load_config`."""
    path = find_config(file) if file is not None else None
    text = _read(path) if path is not None else ""
    values = _parse(text, path)
    for override in overrides:
        _apply(values, override)
    return Written(values, path, text, overrides)


def find_config(file: str | Path) -> Path:
    """The path itself where it exists, else the shipped configuration of that name."""
    path = Path(file)
    if path.exists():
        return path
    candidate = shipped(str(path) if path.parts[:1] == ("configs",) else f"configs/{path}")
    if not path.is_absolute() and ".." not in path.parts and candidate.is_file():
        return candidate
    raise InputError(f"{path}: no such file, and no shipped configuration has this name (shipped: {_list_shipped()})")


def _list_shipped() -> str:
    root = shipped("configs")
    return ", ".join(sorted(str(p.relative_to(root.parent)) for p in root.rglob("*.yaml"))) or "none"


def dump_yaml(config: Settings | Mapping[str, Any]) -> str:
    """Settings as YAML, defaults included; `load_settings` reads it back. Or a mapping of JSON values."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # keep the order of the classes
    stream = io.StringIO()
    yaml.dump(config.model_dump(mode="json") if isinstance(config, Settings) else dict(config), stream)
    return stream.getvalue()


def json_schema(kind: type[Settings] = TrainConfig) -> dict[str, Any]:
    """JSON schema of a kind of settings, for editors that complete and check YAML files."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **kind.model_json_schema()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _parse(text: str, place: Path | str | None) -> dict[str, Any]:
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = (getattr(error, "problem", None) or str(error)).splitlines()[0]
        raise InputError(f"{place}{line}: not valid YAML: {problem}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{place}: expected settings, one 'key: value' a line, found {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one dotted key in nested `values`."""
    key, sign, text = override.partition("=")
    if not sign or not re.fullmatch(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*", key):
        hint = "; a settings file goes after -f" if override.endswith((".yaml", ".yml")) else ""
        raise InputError(f"override {override!r}: expected key.sub=value, such as optimizer.lr=0.1{hint}")
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise InputError(f"override {override!r}: the value is not valid YAML") from None
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise InputError(f"override {override!r}: {parent!r} holds a single value, so it has no {last!r}")
    values[last] = value
