"""Products of matrices: layers, contractions, look-ups."""

from __future__ import annotations

from ..axes import Extent, couple, fix, unify
from .calls import Call, Result, Value, broadcast, mark_heads, reads, rule, take_together, unknown, writes


@rule("linear")
def linear(call: Call) -> Result:
    x, weight, bias = call.args[0], call.args[1], call.argument(2)
    unify(x.extents[-1], weight.extents[1])
    reads(call, weight, 1)
    writes(call, weight, 0)
    take_together(call, x, [len(x.extents) - 1])
    if bias is not None:
        unify(bias.extents[0], weight.extents[0])
    return [*x.extents[:-1], weight.extents[0]]


@rule("mm", "bmm", "matmul")
def matmul(call: Call) -> Result:
    a, b = call.args[0], call.args[1]
    return _product(call, a, b)


@rule("addmm", "baddbmm", "addbmm")
def addmm(call: Call) -> Result:
    bias, a, b = call.args[:3]
    result = _product(call, a, b)
    return broadcast([result, bias.extents], call.shape)


def _product(call: Call, a: Value, b: Value) -> list[Extent]:
    """Matrix product over the last axis of `a` and the last but one of `b`."""
    if len(a.extents) < 2 or len(b.extents) < 2:
        return list(unknown(call))
    unify(a.extents[-1], b.extents[-2])
    batch = broadcast([a.extents[:-2], b.extents[:-2]], call.shape[:-2])
    apart = [(), (a.extents[-1],), (a.extents[-2],), (b.extents[-1],)]
    call.findings.tensors += [(*batch, *extents) for extents in apart]
    if a.depends_on_input and b.depends_on_input:
        couple(a.extents[-1], call.coupling())
        mark_heads(batch)
    elif a.depends_on_input:
        reads(call, b, len(b.extents) - 2)
        writes(call, b, len(b.extents) - 1)
    elif b.depends_on_input:
        reads(call, a, len(a.extents) - 1)
        writes(call, a, len(a.extents) - 2)
    return [*batch, a.extents[-2], b.extents[-1]]


@rule("einsum")
def einsum(call: Call) -> Result:
    equation, operands = call.args[0].replace(" ", ""), call.args[1]
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in equation:
        return unknown(call)
    letters: dict[str, Extent] = {}
    for term, value in zip(terms, operands, strict=True):
        for letter, extent in zip(term, value.extents, strict=True):
            unify(letters.setdefault(letter, extent), extent)
    dependent = [value.depends_on_input for value in operands]
    for letter, extent in letters.items():
        among = [term.count(letter) for term in terms]
        if max(among) > 1:
            fix(extent, "a diagonal is taken along it")
        if letter not in right:
            if sum(n > 0 and d for n, d in zip(among, dependent, strict=True)) > 1 or sum(map(bool, among)) == 1:
                couple(extent, call.coupling())
            for n, value, term in zip(among, operands, terms, strict=True):
                if n and not value.depends_on_input and any(dependent):
                    reads(call, value, term.index(letter))
        elif sum(n > 0 and d for n, d in zip(among, dependent, strict=True)) > 1:
            mark_heads([extent])
        with_it = [other for other in letters if all(other in term for term in (*terms, right) if letter in term)]
        call.findings.tensors.append(tuple(letters[other] for other in with_it))
    return [letters[letter] for letter in right]


@rule("embedding")
def embedding(call: Call) -> Result:
    weight, indices = call.args[:2]
    fix(weight.extents[0], "tokens or positions are looked up in it by number")
    writes(call, weight, 1)
    return [*indices.extents, weight.extents[1]]
