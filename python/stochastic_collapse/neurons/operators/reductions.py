"""Operators whose result has fewer numbers: over axes, or over windows."""

from __future__ import annotations

import re

from ..axes import Extent, couple
from .calls import Call, Result, axes_list, rule
from .convolutions import resampled


@rule("mean", "sum", "amax", "amin", "var", "std", "norm", "linalg_vector_norm", "logsumexp", "prod", "all", "any",
      "var_mean", "std_mean")  # fmt: skip
def reduction(call: Call) -> Result:
    """Symmetric in what it goes over."""
    x = call.args[0]
    place = 2 if call.name in ("norm", "linalg_vector_norm") else 1
    over = set(axes_list(call.argument(place), len(x.extents)))
    for k in over:
        couple(x.extents[k], call.coupling())
    kept = [extent for k, extent in enumerate(x.extents) if k not in over]
    with_ones = [() if k in over else extent for k, extent in enumerate(x.extents)]
    result: list[Extent] = with_ones if len(call.shape) == len(x.extents) else kept
    return [result] * call.results if call.results is not None else result


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
      "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
      "max_pool2d_with_indices", "upsample_nearest1d", "upsample_nearest2d", "upsample_bilinear2d",
      "upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa")  # fmt: skip
def pooling(call: Call) -> Result:
    """Each channel by itself, over neighbourhoods of places."""
    x = call.args[0]
    digits = re.search(r"(\d)d", call.name)
    spatial = int(digits[1]) if digits else 2
    result = [*x.extents[:-spatial], *resampled(x.extents[-spatial:], call.shape[-spatial:])]
    return [result] * call.results if call.results is not None else result
