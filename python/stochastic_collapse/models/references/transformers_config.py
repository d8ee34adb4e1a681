"""Configurations of transformers: from a folder, or of a type, with the sizes that the task asks for."""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from ...config.models import TransformersSettings
from ...errors import InputError, nearest
from ...task import Task
from . import library

CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length")
"""What configurations call how many tokens a network takes."""
_BESIDE = {"num_labels", "id2label", "label2id", "problem_type", "architectures", "attn_implementation"}
"""What configurations take besides what those of the type list."""
_NOT_SETTINGS = {"model_type", "auto_map", "transformers_version", "dtype", "torch_dtype"}
"""What they list and nobody sets; the numbers' precision is a setting of the run."""


def configuration(transformers: ModuleType, settings: TransformersSettings, task: Task) -> tuple[Any, bool]:
    """The configuration that the settings' name leads to, and whether its context is as long as the task's examples,
    for want of another. Arguments go before what the task asks for, and that before what a folder says; of a folder
    sizes stay as they are.

    Raises `InputError` where there is none, it is of code of its own, or has no such argument.
    """
    reference = settings.name.partition(":")[2]
    file = _file(reference)
    types = list(transformers.CONFIG_MAPPING.keys())
    if file is None:
        if reference not in types:
            raise InputError(f"model.name: {settings.name}: {_neither(reference, types)}")
    else:
        _check_file(file, settings.name, types)

    def make(**arguments: Any) -> Any:
        if file is None:
            return transformers.AutoConfig.for_model(reference, **arguments)
        return transformers.AutoConfig.from_pretrained(str(file), local_files_only=True, **arguments)

    with library.making(settings.name, "transformers"):
        like = make()
        renamed = getattr(like, "attribute_map", {})
        known = {*like.to_dict(), *renamed, *_BESIDE} - _NOT_SETTINGS
        for key in settings.arguments:
            if key not in known:
                raise InputError(
                    f"model.arguments.{key}: the configuration of {settings.name} has no such entry"
                    f"{nearest(key, known)}"
                )
        given = {renamed.get(key, key): value for key, value in settings.arguments.items()}
        context = next((renamed.get(key, key) for key in CONTEXT if key in known), None)
        filled = _of_task(known, task)
        if file is None:
            filled |= _sizes(known, context, task)
            if task.vocabulary is not None and (getattr(like, "pad_token_id", None) or 0) >= task.vocabulary:
                filled["pad_token_id"] = None  # the type's own is of another vocabulary
        if {"id2label", "label2id"} & given.keys():
            filled.pop("num_labels", None)
        config = make(**{**filled, **given})
        for part in (config, config.get_text_config()):
            part.dtype = torch.float32  # of weights a folder has, which these are not
    return config, context in filled and context not in given


def _of_task(known: Set[str], task: Task) -> dict[str, Any]:
    filled: dict[str, Any] = {"use_cache": False} if "use_cache" in known else {}
    if task.kind == "next_token":
        # Without it the BERT family reads the tokens that it is to predict.
        return filled | ({"is_decoder": True} if "is_decoder" in known else {})
    filled["num_labels"] = task.outputs
    filled["problem_type"] = "regression" if task.kind == "regression" else "single_label_classification"
    return filled


def _sizes(known: Set[str], context: str | None, task: Task) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    if task.has_images:
        channels, height, width = task.input_shape
        filled = {"num_channels": channels, "image_size": height if height == width else (height, width)}
    elif context is not None:
        filled = {"vocab_size": task.vocabulary, context: task.input_shape[0]}
    else:
        filled = {"vocab_size": task.vocabulary}
    return {key: value for key, value in filled.items() if key in known}


def _file(reference: str) -> Path | None:
    path = Path(reference).expanduser()
    if path.is_dir() and (path / "config.json").is_file():
        return path / "config.json"
    return path if path.is_file() else None


def _neither(reference: str, types: list[str]) -> str:
    path = Path(reference).expanduser()
    if path.is_dir():
        return f"no config.json in {path}"
    if "/" in reference or path.suffix == ".json":
        return f"no folder {path} with a config.json; nothing is fetched here, but by hf download --local-dir FOLDER"
    return f"neither a folder with a config.json nor a type of transformers{nearest(reference, types)}"


def _check_file(file: Path, name: str, types: list[str]) -> None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"model.name: {name}: {file} is no JSON: {error}") from error
    kind = values.get("model_type") if isinstance(values, dict) else None
    if not isinstance(kind, str):
        raise InputError(f"model.name: {name}: {file} has no model_type, which a config.json of transformers has")
    if values.get("auto_map"):
        raise InputError(
            f"model.name: {name}: {file} is of code of its own (auto_map), which is not run; name that code by "
            "python:path/to/file.py:callable"
        )
    if kind not in types:
        near = nearest(kind, types)
        raise InputError(f"model.name: {name}: {file} is of type {kind!r}, which this transformers does not know{near}")
