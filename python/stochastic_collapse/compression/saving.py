"""Writing compressed networks; `networks.compressed` reads them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ..networks.compressed import FORMAT, differences
from ..networks.recipe import Recipe
from ..runs import write_atomically
from .compress import Compression


def save_compressed(path: Path, recipe: Recipe, result: Compression, plain: nn.Module) -> None:
    """Write a compressed network, and what `load_compressed` needs to build it again.

    `plain` is the network that it was made of, and `recipe` how that is built.
    """
    content = {
        "format": FORMAT,
        "compressed": {
            "tolerance": result.tolerance,
            "recipe": recipe.to_json(),
            "differences": differences(result.model, plain),
        },
        "model": {key: value.detach().cpu() for key, value in result.model.state_dict().items()},
    }
    with write_atomically(path) as temporary:
        torch.save(content, temporary)
