"""The graph of a network's operations, and the axes of all tensors in it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import InputError
from .axes import Extent, fix, fixed, free
from .operators import Call, Findings, Value, apply

ExampleInput = Tensor | Sequence[Any] | Mapping[str, Any]
"""What a network is called with: one tensor, a sequence of arguments, or a mapping of named ones."""

_FEW = 2

# Entries of a model output in the style of the transformers library that are no part of the network's function.
_BY_THE_WAY = frozenset({"past_key_values", "hidden_states", "attentions", "cross_attentions"})


def arguments(example_input: ExampleInput) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments of a call of the network."""
    if isinstance(example_input, Tensor):
        return (example_input,), {}
    if isinstance(example_input, Mapping):
        return (), dict(example_input)
    if isinstance(example_input, Sequence):
        return tuple(example_input), {}
    raise InputError(
        f"example_input: expected a tensor, a sequence of arguments or a mapping of named ones, found {example_input!r}"
    )


def outputs(result: Any) -> list[Tensor]:
    """The tensors that a network returns, of all kinds of containers."""
    if dataclasses.is_dataclass(result) and not isinstance(result, Mapping):
        result = vars(result)
    if isinstance(result, Mapping):
        result = {name: value for name, value in result.items() if name not in _BY_THE_WAY}
    tensors = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
    if not tensors:
        raise InputError(f"the network returns no tensor in a list, tuple, mapping or dataclass, but {result!r}"[:300])
    return tensors


def few_examples(model: nn.Module, example_input: ExampleInput) -> ExampleInput:
    """The first two examples where the input's first axis counts examples, else all of it: what is enough to trace.

    It counts them if the outputs for the first two are the first two of the outputs for all.
    """
    args, kwargs = arguments(example_input)
    lengths = {leaf.shape[:1] for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
    if len(lengths) != 1 or lengths == {()} or min(lengths)[0] <= _FEW:
        return example_input
    first_args, first_kwargs = pytree.tree_map_only(Tensor, lambda tensor: tensor[:_FEW], (args, kwargs))
    with torch.no_grad(), evaluating(model):
        try:
            pairs = zip(outputs(model(*first_args, **first_kwargs)), outputs(model(*args, **kwargs)), strict=True)
            alike = all(
                first.shape[:1] == (_FEW,) and torch.allclose(first, every[:_FEW], rtol=1e-3, atol=1e-5)
                for first, every in pairs
            )
        except Exception:  # whatever the network's own code raises
            alike = False
    if not alike:
        return example_input
    return first_kwargs if isinstance(example_input, Mapping) else first_args


class _Function(nn.Module):
    """A network as a function from its arguments to a list of tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        return outputs(self.model(*args, **kwargs))


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put all modules into evaluation mode, and each back afterwards; calls move no generator and change no buffer."""
    buffers = [(module, name, buffer, buffer.clone()) for module, name, buffer in _buffers(model)]
    training = {module: module.training for module in model.modules()}
    devices = {parameter.device for parameter in model.parameters() if parameter.is_cuda}
    model.eval()
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        for module, was in training.items():
            module.training = was
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                module._buffers[name] = buffer
                if not torch.equal(buffer, value):  # leaves the version that autograd counts alone
                    buffer.copy_(value)


def _buffers(model: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None:
                yield module, name, buffer


class _InDoublePrecision(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_mutable = func._schema.is_mutable

        def wider(value: Any) -> Any:
            if isinstance(value, torch.dtype) and value.is_floating_point:
                return torch.float64
            if isinstance(value, Tensor) and value.is_floating_point() and not is_mutable:
                return value.double()
            return value

        if func is torch.ops.aten.embedding.default:  # of a large table a few rows
            return func(*args, **(kwargs or {})).double()
        return func(*pytree.tree_map(wider, args), **pytree.tree_map(wider, kwargs or {}))


@contextlib.contextmanager
def in_double_precision() -> Iterator[None]:
    """Compute in double precision, also where numbers are kept in a lower one, or a network asks for it on its way."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _InDoublePrecision():
            yield
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True)
class Graph:
    """What tracing found: the axes of each parameter and buffer, and what the operators said beside that."""

    parameters: dict[str, tuple[Extent, ...]]
    """Of each parameter that the network uses, in the order of first use; one name for tensors that are shared."""
    buffers: dict[str, tuple[Extent, ...]]
    findings: Findings


def trace_graph(model: nn.Module, example_input: ExampleInput) -> Graph:
    """Trace the network in evaluation mode with `torch.export` and follow the axes through its operators.

    Raises `InputError` where the network cannot be called with the example, or cannot be exported: where its
    operations depend on the numbers in its input.
    """
    args, kwargs = arguments(example_input)
    with evaluating(model), warnings.catch_warnings(), without_fast_path():
        warnings.simplefilter("ignore")
        try:
            with _silent():
                program = torch.export.export(_Function(model), args, kwargs, strict=False)
        except InputError:
            raise
        except Exception as error:  # whatever the network's own code or the exporter raises
            reason = " ".join(str(error).split())[:300]
            hint = " (operations that depend on the numbers in the input cannot)" if "DataDependent" in reason else ""
            raise InputError(
                f"{type(model).__name__} cannot be traced on this example input{hint}: {type(error).__name__}: {reason}"
            ) from error
    program.graph.eliminate_dead_code()  # what nobody uses, such as averaged attention weights, says nothing
    names = _canonical(model)
    return _Tracer(names).follow(program)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """No log of the exporter, which lists whole graphs where it fails."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside `torch.compile` and the data-parallel wrappers, whose parameters have its own names."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):  # what torch.compile returns
            model = inner
        else:
            return model


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """Transformer layers as the operators that they consist of, not as one."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _canonical(model: nn.Module) -> dict[str, str]:
    """For each name of a parameter or buffer the first name of the same tensor."""
    names: dict[str, str] = {}
    for listing in (model.named_parameters, model.named_buffers):
        first: dict[int, str] = {}
        for name, tensor in listing(remove_duplicate=False):
            names[name] = first.setdefault(id(tensor), name)
    return names


class _Tracer:
    """Follows the axes through an exported program, operator by operator."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._findings = Findings()
        self._parameters: dict[str, Value] = {}
        self._buffers: dict[str, Value] = {}
        self._used: list[str] = []

    def follow(self, program: Any) -> Graph:
        signature = program.graph_signature
        values: dict[fx.Node, Any] = {}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                name = node.name
                if name in signature.inputs_to_parameters:
                    values[node] = self._parameter(signature.inputs_to_parameters[name], node.meta["val"])
                elif name in signature.inputs_to_buffers:
                    values[node] = self._buffer(signature.inputs_to_buffers[name], node.meta["val"])
                else:
                    values[node] = self._input(node.meta.get("val"), name in signature.user_inputs)
        for result in self._run(program.graph_module, values):
            if isinstance(result, Value):
                for extent in result.extents:
                    fix(extent, "it is an axis of the network's output")
        return Graph(
            {name: self._parameters[name].extents for name in self._used if name in self._parameters},
            {name: value.extents for name, value in self._buffers.items()},
            self._findings,
        )

    def _parameter(self, name: str, example: Tensor) -> Value:
        name = self._names.get(name.removeprefix("model."), name)
        if name not in self._parameters:
            extents = tuple(free(int(length)) for length in example.shape)
            self._parameters[name] = Value(extents, frozenset({name}), tuple(range(len(extents))))
            self._findings.tensors.append(extents)
        return self._parameters[name]

    def _buffer(self, name: str, example: Tensor) -> Value:
        name = self._names.get(name.removeprefix("model."), name)
        if name not in self._buffers:
            extents = tuple(free(int(length)) for length in example.shape)
            self._buffers[name] = Value(extents, frozenset({name}), is_statistic=True)
            self._findings.tensors.append(extents)
        return self._buffers[name]

    def _input(self, example: Any, is_user_input: bool) -> Any:
        if not isinstance(example, Tensor):
            return example
        reason = "it is an axis of the network's input" if is_user_input else "a constant goes with it"
        extents = tuple(fixed(int(length), reason) for length in example.shape)
        return Value(extents, None if is_user_input else frozenset())

    def _run(self, module: fx.GraphModule, values: dict[fx.Node, Any]) -> list[Any]:
        """Values of all nodes of a graph, given those of its placeholders; returns those of its results."""
        for node in module.graph.nodes:
            if node.op == "call_function":
                values[node] = self._call(module, node, values)
            elif node.op == "get_attr":
                values[node] = self._attribute(module, node)
            elif node.op == "output":
                return [values[n] if isinstance(n, fx.Node) else n for n in pytree.tree_leaves(node.args[0])]
        return []

    def _attribute(self, module: fx.GraphModule, node: fx.Node) -> Any:
        target = operator.attrgetter(str(node.target))(module)
        return self._input(target, False) if isinstance(target, Tensor) else target

    def _call(self, module: fx.GraphModule, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        def value(argument: Any) -> Any:
            if isinstance(argument, fx.Node):
                return values[argument]
            if isinstance(argument, list | tuple):
                return (
                    type(argument)(map(value, argument))
                    if type(argument) in (list, tuple)
                    else list(map(value, argument))
                )
            return argument

        target: Any = node.target
        if target is operator.getitem:
            return values[node.args[0]][node.args[1]]  # type: ignore[index]
        for used in node.all_input_nodes:
            found = values[used]
            if isinstance(found, Value):
                self._used += [name for name in found.parameters or () if name not in self._used]
        args = [value(argument) for argument in node.args]
        graphs = [argument for argument in args if isinstance(argument, fx.GraphModule)]
        if graphs:  # a part that is run under other conditions, such as without gradients
            (part,) = graphs
            given = args[args.index(part) + 1 :]
            names = [n for n in part.graph.nodes if n.op == "placeholder"]
            return self._run(part, dict(zip(names, given[-len(names) :], strict=True)))
        schema = getattr(target, "_schema", None)
        if schema is not None:
            for k, argument in enumerate(schema.arguments):
                if k >= len(args):
                    args.append(
                        value(node.kwargs[argument.name]) if argument.name in node.kwargs else argument.default_value
                    )
        example = node.meta.get("val")
        several = isinstance(example, list | tuple)
        examples: list[Any] = [e for e in example if isinstance(e, Tensor)] if several else [example]  # type: ignore[union-attr]
        if not all(isinstance(e, Tensor) for e in examples):
            return None
        shapes = tuple(tuple(int(length) for length in e.shape) for e in examples)
        call = Call(
            name=str(getattr(target, "_opname", getattr(target, "__name__", target))),
            args=tuple(args),
            shape=shapes[0] if shapes else (),
            results=len(shapes) if several else None,
            shapes=shapes,
            module=_module(node),
            findings=self._findings,
        )
        found = apply(call, target)
        return found if several else found[0]


def _module(node: fx.Node) -> str:
    """Name of the innermost module in whose forward pass the node was made."""
    stack = node.meta.get("nn_module_stack") or {}
    names = [str(entry[0]) for entry in stack.values()]
    return names[-1].removeprefix("model").removeprefix(".") if names else ""
