"""Networks of transformers as they were saved, with the head that they had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import InputError
from . import library

_TOKENS = 16  # of an example, where the network takes so many


def saved(folder: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network of the configuration in `folder`, without its weights, and two inputs by name that it takes.

    Raises `InputError` where transformers is missing or fails to make it, or the folder has code of its own.
    """
    name = f"transformers:{folder}"
    transformers = library.imported("transformers", name)
    with library.making(name, "transformers"):
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
        if getattr(config, "auto_map", None):
            raise InputError(f"{folder}: its network is made by code of its own, which is not run here")
        config.dtype = torch.float32
        kind = next((getattr(transformers, one, None) for one in config.architectures or ()), None)
        model: Any = transformers.AutoModel.from_config(config) if kind is None else kind(config)
        model.config.use_cache = False
        return model, _example(model)


def _example(model: Any) -> dict[str, Tensor]:
    config, main = model.config, model.main_input_name
    if main == "pixel_values":
        vision = getattr(config, "vision_config", config)
        size = getattr(vision, "image_size", None) or 224
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        return {main: torch.zeros(2, getattr(vision, "num_channels", 3), height, width)}
    if main != "input_ids":
        return dict(model.dummy_inputs)
    places = getattr(config.get_text_config(), "max_position_embeddings", None)
    length = min(_TOKENS, places) if isinstance(places, int) and places > 0 else _TOKENS
    tokens = torch.zeros(2, length, dtype=torch.int64)
    return {main: tokens, **({"decoder_input_ids": tokens.clone()} if config.is_encoder_decoder else {})}
