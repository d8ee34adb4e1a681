"""The network of a file of weights: which one it is, as told or as the file says, and its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models import FAMILIES, family, is_built_in, renamed
from ..neurons import ExampleInput, NeuronLayer, trace
from ..provenance import model_source
from ..runs import RunDirectory
from ..task import Task
from ..weights import Contents, aligned, choose, names_of, read, shapes
from ..weights.files import load_file
from ..weights.formats import SUFFIXES
from .compressed import opened, recipe_in
from .loading import load_weights
from .network import Network
from .recipe import Recipe, of_settings

_OUTPUTS, _IMAGE = 1000, (3, 224, 224)  # of ImageNet, which networks without other sizes are for
Shape = tuple[int, ...]
_HINTS = ("arch", "architecture", "model_name", "model", "model_arch")
"""Where checkpoints say which network they are of."""


@dataclass(frozen=True)
class Subject:
    """A network with the weights of a file, which can take those of others."""

    network: Network
    recipe: Recipe
    said: str
    """What was taken of the file, for people."""
    state: str | None
    is_compressed: bool = False
    """Whether other files are of networks with other sizes."""

    def load(self, path: Path) -> str:
        """Take the weights of another file of the same network instead; returns what was taken of it."""
        return _taken(self.network.model, read(path), self.recipe.name, self.state)

    def weights(self) -> dict[str, Tensor]:
        """The state dict that it has now."""
        return self.network.model.state_dict()


def subject_of(
    path: Path,
    reference: str | None = None,
    *,
    arguments: Mapping[str, Any] | None = None,
    input_shape: tuple[int, ...] | None = None,
    vocabulary: int | None = None,
    state: str | None = None,
) -> Subject:
    """The network whose weights `path` has, a file or a folder in any form that people have, with these weights.

    `reference` is a built-in name or what `model.name` of settings takes, with `arguments` as for `model.arguments`;
    without it the network is the one that the file says: the compressed one, that of the run whose checkpoint it is,
    that of a config.json, of transformers or timm, that which the checkpoint names; or the built-in one whose
    names the weights have. Users' code runs only where `reference` or the settings of a run name it.
    `input_shape` is that of an input, for networks that have no size of their own; where `vocabulary` is given, of
    tokens. `state` chooses among the state dicts of the file (`weights.choose`).

    Raises `InputError` where there is no such file or network, where the file does not tell which it is of, where its
    weights do not fit, and where the network cannot be traced.
    """
    contents = read(path)
    if isinstance(contents.about.get("compressed"), Mapping) and (found := _compressed(path, reference)) is not None:
        return found
    if reference is None and (run := _run_of(path)) is not None and (recipe := Recipe.of_run(run)) is not None:
        return _traced(recipe, contents, state)
    given = dict(arguments or {})
    if reference is not None:
        return _opened(contents, reference, given, input_shape, vocabulary, state)
    failures: list[str] = []
    for told in _told(contents, state):
        try:
            shape = input_shape or told.input_shape
            return _opened(contents, told.name, {**told.arguments, **given}, shape, vocabulary, state)
        except InputError as error:
            if told.said:
                failures.append(f"{path} says that it is of {told.said!r}, and {error}; name its network by --model")
            else:
                failures.append(str(error))
    if failures:
        raise InputError(failures[0])
    raise InputError(
        f"{path}: does not say which network its weights are of ({', '.join([*_shapes(contents, state)][:3])}, …); "
        f"name it: --model with one of {', '.join(FAMILIES)}, timm:NAME, torchvision:NAME, transformers:FOLDER, "
        "python:MODULE:CALLABLE"
    )


def subjects(
    files: Sequence[tuple[int, Path]], reference: str | None = None, **how: Any
) -> Iterator[tuple[Subject, int, Path, str]]:
    """The network with the weights of each of several files in turn: it, the file's step, the file, what was taken.

    See `subject_of` for `how`; the network is that of the first file, of compressed ones each file's own. Raises
    `InputError` as it does.
    """
    subject = None
    for step, path in files:
        if subject is None or subject.is_compressed:
            subject = subject_of(path, reference, **how)
            yield subject, step, path, subject.said
        else:
            yield subject, step, path, subject.load(path)


def _run_of(path: Path) -> RunDirectory | None:
    run = RunDirectory(path.resolve().parent.parent)
    return run if path.resolve().parent.name == "checkpoints" and run.exists else None


class _Told(NamedTuple):
    """What a file says of the network that its weights are of."""

    name: str
    arguments: Mapping[str, Any] = MappingProxyType({})
    input_shape: tuple[int, ...] | None = None
    said: str = ""
    """In its own words, which may be of no network that is known here."""


def _told(contents: Contents, state: str | None) -> Iterator[_Told]:
    """The networks that the file may be of, the likeliest first."""
    config = contents.config or {}
    if "model_type" in config:
        folder = contents.path if contents.path.is_dir() else contents.path.parent
        yield _Told(f"transformers:{folder}")
        return
    if isinstance(config.get("architecture"), str):
        yield _told_by_timm(config)
        return
    for place in (contents.about, contents.about.get("hyper_parameters"), contents.about.get("args")):
        for key in _HINTS:
            said = place.get(key) if isinstance(place, Mapping) else None
            if isinstance(said, str) and said and not said.startswith("python:"):  # a file has no code run
                names = [said] if ":" in said or said in FAMILIES else []
                names += [f"{source}:{said}" for source in ("torchvision", "timm") if ":" not in said]
                yield from (_Told(name, said=said) for name in names)
    readings = _readings(contents, state)
    yield from (_Told(name) for name in FAMILIES if any(_is_like(name, names) for names in readings))


def _told_by_timm(config: Mapping[str, Any]) -> _Told:
    """By a config.json that timm wrote; classes and channels are those of the weights."""
    made_with, own = (one if isinstance(one, dict) else {} for one in map(config.get, ("model_args", "pretrained_cfg")))
    arguments = {key: value for key, value in made_with.items() if key not in ("num_classes", "in_chans")}
    if config.get("num_classes") == 0:  # no classifier
        arguments["num_classes"] = 0
    size = own.get("input_size")
    is_size = isinstance(size, list) and len(size) == len(_IMAGE) and all(isinstance(n, int) and n > 0 for n in size)
    return _Told(f"timm:{config['architecture'].partition('.')[0]}", arguments, tuple(size or ()) if is_size else None)


def _shapes(contents: Contents, state: str | None) -> Mapping[str, Shape]:
    """Names and shapes of the tensors that would be taken, as they are in the file."""
    return shapes(choose(contents, state)[1])


def _readings(contents: Contents, state: str | None) -> list[Mapping[str, Shape]]:
    """Which tensors those of a network may be: all, or those of one part, such as of a module beside its loss."""
    there = _shapes(contents, state)
    heads = dict.fromkeys(name.partition(".")[0] for name in there)
    parts = ({name: shape for name, shape in there.items() if name.startswith(f"{head}.")} for head in heads)
    return [names_of(one) for one in (there, *parts) if one]


def _is_like(name: str, names: Mapping[str, Shape]) -> bool:
    told = {untold: 1} if (untold := FAMILIES[name].untold) else {}
    try:
        with torch.random.fork_rng(devices=[]):
            tensors = {key: torch.empty(shape, device="meta") for key, shape in names.items()}
            like, _ = FAMILIES[name].like(tensors, **told)
    except Exception:  # whatever names and shapes of others lead to
        return False
    return {key for key, _ in like.named_parameters()} <= names.keys() <= like.state_dict().keys()


def _opened(
    contents: Contents,
    name: str,
    arguments: dict[str, Any],
    input_shape: tuple[int, ...] | None,
    vocabulary: int | None,
    state: str | None,
) -> Subject:
    if is_built_in(name):
        untold = family(name).untold
        if others := [key for key in arguments if key != untold]:
            raise InputError(f"model.arguments: {name} takes {untold or 'none'}, found {others[0]}")
        if untold and untold not in arguments:
            raise InputError(
                f"{contents.path}: the weights of a {name} do not tell its {untold}; say it by --arguments "
                f"'{{{untold}: N}}'"
            )
        return _traced(Recipe({"name": name, **arguments}, None, None), contents, state)
    return _traced(_recipe(name, arguments, input_shape, vocabulary, _shapes(contents, state)), contents, state)


def _recipe(
    name: str,
    arguments: dict[str, Any],
    input_shape: tuple[int, ...] | None,
    vocabulary: int | None,
    there: Mapping[str, Shape],
) -> Recipe:
    """With the numbers of outputs and channels that the weights have."""
    source, settings = model_source(name), {"name": name, "arguments": arguments}
    if name.startswith("transformers:") and (Path(name.partition(":")[2]).expanduser() / "config.json").is_file():
        if arguments:
            raise InputError(f"model.arguments: {name} is made as its config.json says, found {next(iter(arguments))}")
        return Recipe(settings, None, source)
    if vocabulary is not None:
        task = Task(input_shape or (16,), vocabulary, "next_token", vocabulary)
        return Recipe(settings, task, source)
    task = Task(input_shape or _IMAGE, _OUTPUTS)
    with torch.random.fork_rng(devices=[]):
        model = of_settings(settings, task)
    if input_shape is None:
        own = getattr(model, "pretrained_cfg", None) or {}
        task = task._replace(input_shape=tuple(own.get("input_size") or _IMAGE))
    outputs, channels, names = task.outputs, task.input_shape[0], aligned(model, there)
    for key, tensor in model.named_parameters():
        ours, theirs = tuple(tensor.shape), names.get(key)
        if theirs is None or ours == theirs or len(ours) != len(theirs):
            continue
        if ours[0] == _OUTPUTS and ours[1:] == theirs[1:]:
            outputs = theirs[0]
        elif len(ours) > 2 and ours[1] == channels and (ours[0], *ours[2:]) == (theirs[0], *theirs[2:]):
            channels = theirs[1]
    return Recipe(settings, Task((channels, *task.input_shape[1:]), outputs), source)


def _compressed(path: Path, reference: str | None) -> Subject | None:
    """The network in a file that `sc compress` wrote; None where `reference` is to another than it was made of.

    Raises `InputError` as `opened` does.
    """
    path = path.expanduser()
    file = next(one for one in sorted(path.iterdir()) if one.suffix in SUFFIXES) if path.is_dir() else path
    content = load_file(file)
    name = recipe_in(file, content).name
    if reference is not None and reference != name:
        return None
    model, example, recipe = opened(file, content, reference)
    network = Network(model, example, _layers(model, example, name))
    return Subject(network, recipe, f"{name}, compressed: {path}", None, is_compressed=True)


def _taken(model: nn.Module, contents: Contents, name: str, state: str | None) -> str:
    return f"{name}: weights of {load_weights(model, contents, name, state=state)}"


def _layers(model: nn.Module, example: ExampleInput, name: str) -> list[NeuronLayer]:
    with torch.random.fork_rng(devices=[]):
        layers = list(trace(model, example).layers)
    if not layers:
        raise InputError(f"{name}: no layer of interchangeable neurons was found in this network")
    return layers


def _traced(recipe: Recipe, contents: Contents, state: str | None) -> Subject:
    """The network of a recipe with the weights of a file."""
    named, plain = renamed(recipe.name), {}
    if recipe.task is None and is_built_in(recipe.name):
        readings = _readings(contents, state)
        names = next((one for one in readings if _is_like(recipe.name, one)), readings[0])
        plain = {key: torch.empty(shape) for key, shape in names.items()}
    model, example = recipe.build(named(plain) if named is not None else plain)
    del plain
    if "heads" in recipe.settings and recipe.task is None:  # of which fewer may be left, and of their size not
        size = model.get_submodule("blocks.0.attention").size
        recipe = Recipe({"name": recipe.name, "head_size": size}, None, recipe.source)
    layers = _layers(model, example, recipe.name)
    said = _taken(model, contents, recipe.name, state)
    return Subject(Network(model, example, layers), recipe, said, state)
