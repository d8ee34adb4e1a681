"""Networks of transformers, from a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ...config.models import TransformersSettings
from ...errors import InputError, nearest
from ...task import Task
from ..calling import call
from . import library
from .transformers_config import CONTEXT, configuration

_HEADS = {
    "images": ("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING", "the classification of images"),
    "tokens": ("MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING", "the classification of tokens"),
    "next_token": ("MODEL_FOR_CAUSAL_LM_MAPPING", "predicting the next token"),
}
"""The library's table of networks by configuration, and what they are for."""


def version() -> dict[str, str]:
    """Of transformers; raises `InputError` where it is not installed."""
    return library.version_of("transformers")


def build(settings: TransformersSettings, task: Task) -> nn.Module:
    """The network of that configuration with the head that the task asks for, freshly initialized.

    Raises `InputError` where transformers is missing, has no such type, head or argument, or fails to make it, where
    a folder has no configuration or one of code of its own, where inputs are neither images nor tokens or go by names
    that the network does not take, and where its vocabulary or context is too small.
    """
    mapping, purpose = _HEADS[_head(settings, task)]
    transformers = library.imported("transformers", settings.name)
    config, fits = configuration(transformers, settings, task)
    with library.making(settings.name, "transformers"):
        kind, config = _kind(getattr(transformers, mapping), config, settings, purpose)
        _check_names(kind, settings, task)
        model = _make(kind, config, task, fits)
        _check_sizes(model, config, settings, task)
        _check_patches(model, settings)
        _pool_the_last_token(model, settings, task)
    return model


def _head(settings: TransformersSettings, task: Task) -> str:
    if task.kind == "next_token" and task.vocabulary is not None:
        return "next_token"
    if task.has_images:
        return "images"
    if task.vocabulary is None:
        raise InputError(f"model.name: {settings.name} takes images or tokens, and {library.given(task)}")
    return "tokens"


def _kind(mapping: Mapping[type, Any], config: Any, settings: TransformersSettings, purpose: str) -> tuple[Any, Any]:
    """The class of the network, the one that the configuration names where that fits, and its configuration."""
    if type(config) not in mapping:
        raise InputError(
            f"model.name: {settings.name}: transformers has no network of type {config.model_type} for {purpose}"
        )
    fitting = mapping[type(config)]
    kinds = {one.__name__: one for one in (fitting if isinstance(fitting, (list, tuple)) else [fitting])}
    named = [kinds[name] for name in config.architectures or () if name in kinds]
    kind = (named or [*kinds.values()])[0]
    if kind.config_class is not type(config) and kind.config_class is type(config.get_text_config()):
        return kind, config.get_text_config()
    return kind, config


def _check_names(kind: Any, settings: TransformersSettings, task: Task) -> None:
    takes = [name for name in inspect.signature(kind.forward).parameters if name not in ("self", "kwargs")]
    for name in task.named or ():
        if name not in takes:
            raise InputError(
                f"model.name: {settings.name}: {kind.__name__} takes no input {name!r}"
                f"{nearest(name, takes)}; {library.given(task)}"
            )


def _make(kind: Any, config: Any, task: Task, fits: bool) -> nn.Module:
    """The network, in training mode; where its context only `fits`, with room for rows before the first place."""
    state = torch.get_rng_state()
    model: nn.Module = kind(config)
    if fits and (before := _before_the_first_place(model)):
        config.max_position_embeddings = task.input_shape[0] + before
        torch.set_rng_state(state)
        model = kind(config)
    return model.train()


def _before_the_first_place(model: nn.Module) -> int:
    """Rows of the table of positions that are for no position, as the RoBERTa family counts from its padding on."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx + 1
    return 0


def _check_sizes(model: nn.Module, config: Any, settings: TransformersSettings, task: Task) -> None:
    """Raise `InputError` where there are more tokens than the network knows, or more places than it tells apart."""
    if task.vocabulary is None:
        return
    text, length = config.get_text_config(), task.input_shape[0]
    known = getattr(text, "vocab_size", None)
    if known is not None and known < task.vocabulary:
        raise InputError(
            f"model.name: {settings.name} knows {known} tokens, and the data have {task.vocabulary}: give it as many "
            "by model.arguments.vocab_size"
        )
    name, places = next(((key, getattr(text, key)) for key in CONTEXT if hasattr(text, key)), ("", None))
    before = _before_the_first_place(model)
    if isinstance(places, int) and 0 < places < length + before:
        raise InputError(
            f"model.name: {settings.name} has a context of {places - before} tokens, and the data's are of {length}: "
            f"give it {length + before} by model.arguments.{name}"
        )


def _check_patches(model: nn.Module, settings: TransformersSettings) -> None:
    """Raise `InputError` where patches leave a border of images out, which the library does without a word."""
    for module in model.modules():
        image, patch = getattr(module, "image_size", None), getattr(module, "patch_size", None)
        if image is None or patch is None or not hasattr(module, "num_patches") or hasattr(module, "maybe_pad"):
            continue
        (height, width), (rows, columns) = (
            one if isinstance(one, (list, tuple)) else (one, one) for one in (image, patch)
        )
        if height % rows or width % columns:
            raise InputError(
                f"model.name: {settings.name}: patches of {rows} × {columns} pixels do not divide images of {height} × "
                f"{width}; choose others by model.arguments.patch_size"
            )


def _pool_the_last_token(model: Any, settings: TransformersSettings, task: Task) -> None:
    """Let a network that classifies by the last token, and refuses batches for want of a padding token, do without.

    Raises `InputError` where inputs have a mask and so may be padded: it would read padding.
    """
    if task.kind == "next_token" or task.vocabulary is None or not _refuses_batches(model, task):
        return
    if task.named is not None and "attention_mask" in task.named:
        raise InputError(
            f"model.name: {settings.name} reads the last token that is no padding: say which one is padding by "
            "model.arguments.pad_token_id"
        )
    model.config.get_text_config().pad_token_id = -1  # which no token is


def _refuses_batches(model: Any, task: Task) -> bool:
    if model.config.get_text_config().pad_token_id is not None:
        return False
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            call(model.eval(), task.example(2))
    except ValueError as error:
        return "padding token" in str(error)
    finally:
        model.train()
    return False
