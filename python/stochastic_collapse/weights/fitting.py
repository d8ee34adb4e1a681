"""Putting the tensors of a state dict into a network, whatever wrappers have put before their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .files import LazyState, shapes

# Parts that torch.compile, FSDP and activation checkpointing put into names, wherever the wrapped module stands.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_DDP = "module."
# Buffers that are counters, or follow from the network's sizes, and may be in a file though the network has none.
_FOLLOWING = (
    "num_batches_tracked", "n_averaged", "inv_freq", "position_ids", "relative_position_index", "attn.masked_bias",
    "total_ops", "total_params",
)  # fmt: skip
_QUANTIZED = ("SCB", "weight_format", "qweight", "qzeros", "quant_state")
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

Shape = tuple[int, ...]
Renamed = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def names_of(state: Mapping[str, Shape]) -> dict[str, Shape]:
    """Names without wrappers' parts and without first parts that all of them share, such as ``model.``."""
    found = {_unwrapped(name): shape for name, shape in state.items()}
    while True:
        heads = {name.partition(".")[0] for name in found}
        if len(heads) != 1 or any("." not in name for name in found) or all(n.count(".") == 1 for n in found):
            return found
        found = {name.partition(".")[2]: shape for name, shape in found.items()}


def fit(
    network: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    *,
    renamed: Renamed | None = None,
    called: str = "the network",
) -> str:
    """Put `state` into `network`, in place and tensor by tensor, and say what was done, `source` first.

    Wrappers' parts are removed from names, and one prefix removed or added where more names fit then. Tied weights may
    be in the file once. Buffers that are not in the file stay as they are; those that follow from a network's sizes,
    and names of the file outside of the prefix, are left out. `renamed` maps names of published code to ours. Numbers
    are converted to the network's type.

    Raises `InputError`, and changes nothing, where parameters are missing, names are unknown or shapes differ, naming
    the first of them on both sides, and the network as it is `called`; for quantized weights, and for numbers that are
    not finite.
    """
    own = dict(network.state_dict())
    there = {_unwrapped(name): name for name in state}
    if renamed is not None:
        there = dict(renamed(there))
    prefix, added = _prefix(own, there)
    outside = [name for name in there if not name.startswith(prefix)]
    there = {f"{added}{name.removeprefix(prefix)}": at for name, at in there.items() if name.startswith(prefix)}
    sizes = shapes(state)
    there_sizes = {name: sizes[at] for name, at in there.items()}
    unfit = f"{source}{f' under {prefix}' if prefix else ''} does not fit {called}"
    missing, following = _check(network, own, there, there_sizes, unfit, source)
    converted = _copy(own, there, state, source)
    done = [source]
    done += [f"{part} removed from names" for part in _wrappers(state)]
    if prefix:
        done.append(f"prefix {prefix} removed")
    if added:
        done.append(f"prefix {added} added")
    if missing:
        done.append(f"{_counted(missing, 'buffer')} not in the file")
    if following:
        done.append(f"{_counted(following, 'buffer')} of the file left out")
    if outside:
        done.append(f"{_counted(len(outside), 'name')} outside {prefix} left out")
    done += [f"{kind} converted to {to}" for kind, to in sorted(converted)]
    return ", ".join(done)


def aligned(network: nn.Module, state: Mapping[str, Shape]) -> dict[str, Shape]:
    """Shapes of a state dict by the names that `fit` would bring them to."""
    there = {_unwrapped(name): shape for name, shape in state.items()}
    prefix, added = _prefix(network.state_dict(), there)
    return {f"{added}{name.removeprefix(prefix)}": shape for name, shape in there.items() if name.startswith(prefix)}


def _unwrapped(name: str) -> str:
    name = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
    while name.startswith(_DDP):
        name = name.removeprefix(_DDP)
    return name


def _wrappers(names: Iterable[str]) -> list[str]:
    """What `_unwrapped` removes from any of `names`."""
    parts = {part for name in names for part in name.split(".") if part in _WRAPPERS}
    plain = (".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in names)
    return [*([_DDP] if any(name.startswith(_DDP) for name in plain) else []), *(f"{part}." for part in sorted(parts))]


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _prefix(own: Mapping[str, Tensor], there: Mapping[str, Any]) -> tuple[str, str]:
    """What to remove from names there, and what to add to them, so that as many as can be are names of our own."""
    best = (sum(name in own for name in there), "", "")
    for prefix in _prefixes(there):
        best = max(best, (sum(f"{prefix}{name}" in there for name in own), prefix, ""), key=lambda one: one[0])
    for prefix in _prefixes(own):
        best = max(best, (sum(f"{prefix}{name}" in own for name in there), "", prefix), key=lambda one: one[0])
    return best[1], best[2]


def _prefixes(names: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for k in range(1, min(4, len(parts))):
            found[".".join(parts[:k]) + "."] = None
    return list(found)


def _check(
    network: nn.Module,
    own: Mapping[str, Tensor],
    there: Mapping[str, str],
    sizes: Mapping[str, Shape],
    unfit: str,
    source: str,
) -> tuple[int, int]:
    """Raise `InputError` where names or shapes do not fit; returns how many buffers the file lacks, and has beyond."""
    quantized = [name for name in there if name.rpartition(".")[2] in _QUANTIZED]
    if quantized:
        raise InputError(f"{source}: quantized weights ({quantized[0]}); save them as floating-point numbers first")
    parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    tied = _tied(own)
    missing = [name for name in own if name not in there]
    lacking = [name for name in missing if name in parameters and not any(other in there for other in tied[name])]
    beyond = [name for name in there if name not in own]
    extra = [name for name in beyond if not _follows(name, sizes[name])]
    if lacking or extra:
        theirs = f"it has {_listed(extra, sizes)}, which the network lacks" if extra else ""
        ours = f"the network has {_listed(lacking, {n: tuple(t.shape) for n, t in own.items()})}, which it lacks"
        raise InputError(f"{unfit}: {'; '.join(filter(None, (theirs, ours if lacking else '')))}")
    unlike = [name for name in there if name in own and sizes[name] != tuple(own[name].shape)]
    if unlike:
        shown = ", ".join(f"{name} is {sizes[name]} there, expected {tuple(own[name].shape)}" for name in unlike[:3])
        more = f", and {len(unlike) - 3} more" if len(unlike) > 3 else ""
        hint = ""
        if all(sizes[name][1:] == tuple(own[name].shape)[1:] for name in unlike) and len(unlike) <= 2:
            hint = f": the file has {sizes[unlike[0]][0]} outputs, the network {own[unlike[0]].shape[0]}"
        raise InputError(f"{unfit}: {shown}{more}{hint}")
    return sum(name not in parameters for name in missing), len(beyond)


def _follows(name: str, shape: Shape) -> bool:
    """Whether a buffer follows from the sizes of its network."""
    is_mask = name.endswith("attn.bias") and len(shape) == 4  # of GPT-2: which tokens see which
    return is_mask or name.endswith(_FOLLOWING)


def _tied(own: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Of each name those whose tensor is the same."""
    groups: dict[tuple[int, Shape], list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault((tensor.data_ptr(), tuple(tensor.shape)), []).append(name)
    return {name: group for group in groups.values() for name in group}


def _copy(
    own: Mapping[str, Tensor], there: Mapping[str, str], state: Mapping[str, Tensor], source: str
) -> set[tuple[str, str]]:
    """Copy after a look at every tensor, so that nothing is changed where one cannot be used."""
    wanted = [name for name in there if name in own]
    is_lazy = isinstance(state, LazyState)
    for name in wanted:
        tensor = state[there[name]]
        if tensor.is_meta or tensor.layout != torch.strided:
            kind = "on the device meta, without numbers" if tensor.is_meta else f"of layout {tensor.layout}"
            raise InputError(f"{source}: {name} is {kind}; save it as a plain tensor")
        if own[name].is_floating_point() and tensor.dtype not in _FLOATS:
            raise InputError(f"{source}: {name} is of {tensor.dtype}, quantized or no weights; save them as float32")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InputError(f"{source}: {name} has numbers that are not finite")
    converted = set()
    with torch.no_grad():
        for name in wanted:
            tensor = state[there[name]]
            if tensor.dtype != own[name].dtype:
                converted.add((str(tensor.dtype).removeprefix("torch."), str(own[name].dtype).removeprefix("torch.")))
            own[name].copy_(tensor)
            if is_lazy:
                del tensor
    return converted


def _listed(names: list[str], sizes: Mapping[str, Shape]) -> str:
    shown = ", ".join(f"{name} {sizes[name]}" for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
