"""What pydantic says of a mistake in one line that names the key, where it stands, and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from .base import Settings, names_of

Place = Callable[[Sequence[int | str]], str]
"""Where keys were written, with ": "; empty if nowhere."""


def is_of_elements(mistake: Any) -> bool:
    """Whether a list seems too short only since elements of it are wrong, which have mistakes of their own."""
    return mistake["type"] == "too_short" and len(mistake["input"]) >= mistake["ctx"]["min_length"]


def explain(kind: type[Settings], mistake: Any, place_of: Place, homes: Mapping[str, Sequence[str]]) -> str:
    """One line for one pydantic error of settings of `kind`: place, key, rule; `homes` as for `Written.check`."""
    keys, parent = _resolve(kind, mistake["loc"])
    keys = [*_home(keys, homes), *keys]
    dotted = ".".join(map(str, keys))
    place = place_of(keys)
    found = "" if isinstance(mistake["input"], Mapping) else f", found {mistake['input']!r}"
    match mistake["type"]:
        case "extra_forbidden":
            valid = list(_fields(parent))
            near = difflib.get_close_matches(str(keys[-1]), valid, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"{place}{dotted}: unknown setting{hint} (valid here: {', '.join(valid)})"
        case "missing":
            return f"{place}{dotted}: missing, and it has no default"
        case "union_tag_not_found":
            return f"{place}{dotted}.name: missing; expected one of {', '.join(_tags(parent, keys[-1]))}"
        case "union_tag_invalid":
            valid, tag = _tags(parent, keys[-1]), str(mistake["ctx"]["tag"])
            near = difflib.get_close_matches(tag, valid, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            return f"{place}{dotted}.name: expected one of {', '.join(valid)}, found {tag!r}{hint}"
        case "model_type" | "model_attributes_type" if str(keys[-1]) not in _fields(parent):  # of a dictionary
            return f"{place}{dotted}: expected settings such as {dotted}.{next(iter(_fields(parent)))}=…{found}"
        case "model_type" | "model_attributes_type" if _fields(parent)[str(keys[-1])].discriminator:
            return f"{place}{dotted}: expected settings such as {dotted}.name={_tags(parent, keys[-1])[0]}{found}"
        case "model_type" | "model_attributes_type":
            field = _fields(parent)[str(keys[-1])]
            member = _members(field)[0]
            return f"{place}{dotted}: expected settings such as {dotted}.{next(iter(_fields(member)))}=…{found}"
        case "string_pattern_mismatch" if not _plain_choices(_fields(parent)[str(keys[-1])]):
            meaning = " ".join((_fields(parent)[str(keys[-1])].description or mistake["msg"]).split())
            return f"{place}{dotted}: {mistake['input']!r} is not valid; {meaning}"
        case "value_error":
            return f"{place}{dotted}{': ' if dotted else ''}{mistake['ctx']['error']}"
        case _ if choices := _plain_choices(_fields(parent).get(str(keys[-1]))):
            return f"{place}{dotted}: expected {', or '.join(choices)}{found}"
        case _:
            rule = mistake["msg"][0].lower() + mistake["msg"][1:]
            return f"{place}{dotted}: {rule}{found}"


def _home(keys: Sequence[int | str], homes: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """What the user wrote before `keys`: of the setting itself, or of one that a rule about several is about."""
    for end in range(len(keys), 0, -1):
        if home := homes.get(".".join(map(str, keys[:end]))):
            return home
    inside = "".join(f"{key}." for key in keys)
    return next((home for key, home in homes.items() if key.startswith(inside)), ())


def _resolve(kind: type[Settings], location: tuple[int | str, ...]) -> tuple[list[int | str], type[Settings]]:
    """The keys as the user writes them (without pydantic's union tags), and the settings class that holds the last."""
    keys: list[int | str] = []
    parts = list(location)
    while parts:
        part = parts.pop(0)
        keys.append(part)
        field = _fields(kind).get(str(part))
        if field is None or not parts:
            break
        if get_origin(field.annotation) is dict:
            keys.append(parts.pop(0))
        members = _members(field)
        if field.discriminator and (tag := parts.pop(0)):
            kind = next(m for m in members if tag in names_of(m))
        elif members:
            kind = members[0]
        else:  # a list element, or a member of a union of plain types, which the user did not write
            keys.extend(p for p in parts if isinstance(p, int))
            break
    return keys, kind


def _plain_choices(field: FieldInfo | None) -> list[str]:
    """What may stand in a field that is a union of plain types, in words; empty for any other field."""
    is_union = field is not None and get_origin(field.annotation) in (Union, UnionType)
    members = get_args(field.annotation) if field is not None and is_union else ()
    if type(None) in members or any(_is_settings(member) for member in members):
        return []
    return [_in_words(TypeAdapter(member).json_schema()) for member in members]


def _in_words(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return ", ".join(map(repr, schema["enum"]))
    if "pattern" in schema:  # of a reference
        return "python:MODULE:CALLABLE"
    kind = {"integer": "a whole number", "number": "a number"}.get(schema["type"], f"a {schema['type']}")
    return f"{kind} of {schema['minimum']} or more" if "minimum" in schema else kind


def _fields(kind: type[Settings]) -> dict[str, FieldInfo]:
    """The fields by the names that users write."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def _is_settings(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Settings)


def _members(field: FieldInfo) -> list[type[Settings]]:
    """The kinds of settings that may stand in a field, one or a union of them."""
    found = get_args(field.annotation) or (field.annotation,)
    return [kind for member in found if _is_settings(kind := getattr(member, "__origin__", member))]


def _tags(parent: type[Settings], key: int | str) -> list[str]:
    """The names that the members of a union of settings go by."""
    return [name for member in _members(parent.model_fields[str(key)]) for name in names_of(member)]
