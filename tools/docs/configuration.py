"""The configuration reference: tables of every setting, from the settings' JSON schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from stochastic_collapse.config import Settings, TrainConfig, json_schema
from stochastic_collapse.sweeps.plan import SweepSettings
from stochastic_collapse.toys.problems import SDEConfig, SGDConfig

Schema = Mapping[str, Any]

KINDS: dict[str, type[Settings]] = {"train": TrainConfig, "sde": SDEConfig, "sgd": SGDConfig, "sweep": SweepSettings}
"""By the names that reference/configuration.md uses: {{ settings: train }}."""

_HEADER = ["| setting | value | default | meaning |", "| --- | --- | --- | --- |"]


def reference(kind: str, level: int = 3) -> str:
    """Markdown of all settings of a kind; `level` is that of the headings of their parts."""
    schema = json_schema(KINDS[kind])
    return "\n".join(_tables(schema, schema, "", kind, level))


def _tables(root: Schema, settings: Schema, prefix: str, anchor: str, level: int) -> Iterator[str]:
    """A table of `settings`, and below it a section for each group of settings in it."""
    rows, sections = [], []
    for key, field in settings["properties"].items():
        name = prefix + key
        default = _default(field, key in settings.get("required", ()))
        members = _members(root, field)
        if len(members) > 1:  # one of several groups, which their `name` tells apart
            choices = ", ".join(f"`{choice}`" for member in members for choice in _names(member))
            rows.append((f"{name}.name", choices, default, field.get("description", "")))
        elif members and "additionalProperties" in field:
            rows.append((name, "groups of settings by name, [below](#{anchor})", default, field.get("description", "")))
        elif members:
            rows.append((name, "settings, [below](#{anchor})", default, field.get("description", "")))
        elif not (key == "name" and prefix and _names(settings)):  # that is the heading
            rows.append((name, _type(field), default, field.get("description", "")))
            continue
        for member in members:
            inside = f"{name}.<name>" if "additionalProperties" in field else name
            title = f"{name}.name: {', '.join(_names(member))}" if len(members) > 1 else inside
            place = "-".join([anchor, *name.split("."), *(_names(member) if len(members) > 1 else ())])
            if len(members) == 1:
                rows[-1] = (name, rows[-1][1].format(anchor=place), *rows[-1][2:])
            sections += ["", f"{'#' * level} `{title}` {{ #{place} }}", "", _prose(member.get("description", ""))]
            sections += ["", *_tables(root, member, f"{inside}.", place, level + 1)]
    if rows:
        yield from _HEADER
        for name, kind, default, meaning in rows:
            yield f"| `{name}` | {_cell(kind)} | {_cell(default)} | {_cell(_prose(meaning))} |"
    yield from sections


def _members(root: Schema, field: Schema) -> list[Schema]:
    """The groups of settings that a setting is one of; none if it is a plain value."""
    if isinstance(field.get("additionalProperties"), Mapping):
        return _members(root, field["additionalProperties"])
    options = [field, *field.get("oneOf", ()), *field.get("anyOf", ())]
    return [root["$defs"][option["$ref"].rpartition("/")[2]] for option in options if "$ref" in option]


def _names(settings: Schema) -> list[str]:
    """The values of `name` by which a group of settings is chosen."""
    name = settings["properties"].get("name", {})
    return [name["const"]] if "const" in name else list(name.get("enum", ()))


def _default(field: Schema, required: bool) -> str:
    if required:
        return "required"
    value = field.get("default")
    if isinstance(value, Mapping):  # of a group of settings: the defaults of its parts say the rest
        return f"`{value['name']}`" if "name" in value else ""
    return f"`{_yaml(value)}`" if "default" in field else "none"


def _yaml(value: Any) -> str:
    """As a settings file has it, numbers as short as they can be."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def _type(field: Schema) -> str:
    """What values a plain setting takes, in words."""
    if "const" in field:
        return f"`{_yaml(field['const'])}`"
    if "enum" in field:
        return ", ".join(f"`{_yaml(value)}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(map(_type, field["anyOf"])))
    match field.get("type"):
        case "array" if "prefixItems" in field:
            return f"list of {len(field['prefixItems'])}: {_type(field['prefixItems'][0])}"
        case "array":
            return f"list: {_type(field['items'])}" if field.get("items") else "list"
        case "object" if "properties" in field:
            return f"`{{{', '.join(field['properties'])}}}`"
        case "object" if isinstance(field.get("additionalProperties"), Mapping):
            return f"mapping, each a {_type(field['additionalProperties'])}"
        case "object":
            return "mapping"
        case "integer" | "number" as name:
            return " ".join([name, *_bounds(field)])
        case "boolean":
            return "`true`, `false`"
        case "string":
            return "text"
        case "null":
            return "`null`"
        case _:
            return "anything"


def _bounds(field: Schema) -> list[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {field[key]:g}" for key, sign in signs.items() if key in field]
    return [", ".join(found)] if found else []


def _prose(text: str) -> str:
    """A description from the code as Markdown: one line, a full stop at its end, asterisks as they are."""
    line = " ".join(text.split()).replace("*", "\\*")
    return line if not line or line.endswith((".", "?")) else f"{line}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
