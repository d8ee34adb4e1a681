"""Attention as one operator."""

from __future__ import annotations

from ..axes import couple, free, size, unify
from .calls import Call, Result, broadcast, fix_all, mark_heads, rule


@rule("scaled_dot_product_attention")
def attention(call: Call) -> Result:
    """softmax(q kᵀ) v for each head, the axis before the last two; that of k and v may count groups of heads."""
    q, k, v, mask = *call.args[:3], call.argument(3)
    heads = q.extents[:-2]
    for theirs in (k.extents[:-2], v.extents[:-2]):
        for mine, other in zip(heads, theirs, strict=True):
            grouped = size(other) > 1 and size(mine) != size(other)
            unify(mine, (*other, *free(size(mine) // size(other))) if grouped else other)
    mark_heads(heads)
    scores = (*heads, q.extents[-2], k.extents[-2])
    if mask is not None:
        broadcast([scores, mask.extents], [size(extent) for extent in scores])
    for one, other in ((q.extents[-1], k.extents[-1]), (k.extents[-2], v.extents[-2])):
        unify(one, other)
        couple(one, call.coupling())
    if call.argument(5, False):
        fix_all(scores[-2:], "causal attention goes along it")
    apart = [(), *((extent,) for extent in (*scores[-2:], q.extents[-1], v.extents[-1]))]
    call.findings.tensors += [scores, *((*heads, *extents) for extents in apart)]
    return [*heads, q.extents[-2], v.extents[-1]]
