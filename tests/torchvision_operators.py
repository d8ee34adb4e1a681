"""What torchvision needs to be imported beside a torch for another device, as timm and transformers do."""

from __future__ import annotations

import torch


def declare() -> None:
    """Declare the operators that torchvision wants to register more of at import: its own library, which has them,
    does not load beside a torch for another device. Nothing here calls them. A torch for CUDA has a torchvision that
    loads."""
    if torch.version.cuda is not None and torch.cuda.is_available():
        return
    for name in ("nms", "qnms"):
        try:
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        except RuntimeError:  # declared already
            return
