"""Checkpoints: all that a run needs to continue as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from ..runs import write_atomically
from ..weights.files import load_file
from .inputs import Stream

FORMAT = 1


def save_checkpoint(
    path: Path,
    *,
    step: int,
    seconds: float,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: Stream,
    loss_sum: torch.Tensor,
    lr: float,
) -> None:
    """Write the state after `step` steps; loads with ``torch.load(weights_only=True)``."""
    generators = {"cpu": torch.get_rng_state()}
    if next(model.parameters()).is_cuda:
        generators["cuda"] = torch.cuda.get_rng_state(next(model.parameters()).device)
    content = {
        "format": FORMAT,
        "step": step,
        "seconds": seconds,
        # Clones, since of a tensor that is part of a larger one, as in a stack, torch.save writes all of the larger.
        "model": {name: value.clone() for name, value in model.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "schedule": {"step": step, "lr": lr},
        "generators": generators,
        "loader": loader.state_dict(),
        "loss_sum": loss_sum,
    }
    with write_atomically(path) as temporary:
        torch.save(content, temporary)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint; `InputError` where the file cannot be read or is of another format."""
    content = load_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not a checkpoint of this version (format {FORMAT}); delete it to start over")
    return content


def load_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: Stream,
    loss_sum: torch.Tensor,
) -> dict[str, Any]:
    """Put the state in `path` into the given objects, and return the checkpoint; raises as `read_checkpoint` does."""
    content = read_checkpoint(path)
    model.load_state_dict(content["model"])
    # The momenta are the checkpoint's; the settings are the run's own, in the form that this device wants them.
    optimizer.load_state_dict(
        {"state": content["optimizer"]["state"], "param_groups": optimizer.state_dict()["param_groups"]}
    )
    # load_state_dict keeps the checkpoint's memory layout, which may be another than the parameters' here, and the
    # fused optimizers take it that both are the same.
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)
    loader.load_state_dict(content["loader"])
    loss_sum.copy_(content["loss_sum"])
    torch.set_rng_state(content["generators"]["cpu"])
    device = next(model.parameters()).device
    if device.type == "cuda" and "cuda" in content["generators"]:
        torch.cuda.set_rng_state(content["generators"]["cuda"], device)
    return content
