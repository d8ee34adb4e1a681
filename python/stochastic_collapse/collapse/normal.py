"""Per-example gradients beside an invariant set, in the coordinates normal to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import InputError
from ..neurons import NeuronLayer, neuron_vectors

Loss = Callable[..., Tensor]
"""From the network's output for one example, and that example's targets, each with a first axis of 1, to a scalar."""

# The step away from the set. Small against weights and activations of order 1, and in double precision still 1e10
# rounding errors, so that linearising costs a relative error of about 1e-6.
_STEP = 1e-6
_NUMBERS_AT_ONCE = 1 << 25
_EXAMPLES_AT_ONCE = 128


class Place(NamedTuple):
    """A neuron, whose sign set is meant, or a pair of neurons of one layer, whose permutation set is meant."""

    layer: NeuronLayer
    members: tuple[int, ...]

    def __str__(self) -> str:
        what = "neuron" if len(self.members) == 1 else "neurons"
        return f"layer {self.layer.name}, {what} {' and '.join(map(str, self.members))}"


class Examples:
    """A network in double precision and evaluation mode, and n examples with their losses.

    `inputs` has shape (n, …), and so has each of `targets`; `loss` is called on one example at a time. Raises
    `InputError` where these do not fit together, and for batch normalization: there an example has no gradient of its
    own.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Sequence[Tensor], loss: Loss) -> None:
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
            raise InputError("attractivity needs gradients per example, and batch normalization mixes the examples")
        if len(inputs) < 2 or any(len(target) != len(inputs) for target in targets):
            sizes = ", ".join(str(len(part)) for part in (inputs, *targets))
            raise InputError(f"attractivity needs two or more examples, as many inputs as targets; found {sizes}")
        self.model = copy.deepcopy(model).double().eval()
        self.parameters = {name: p.detach() for name, p in self.model.named_parameters()}
        self.device = next(iter(self.parameters.values())).device
        self.inputs = _double(inputs).to(self.device)
        self.targets = tuple(_double(target).to(self.device) for target in targets)
        self.loss = loss

    def __len__(self) -> int:
        return len(self.inputs)


class NotInvariant(InputError):
    """A set that gradients lead away from: SGD has no reason to stay on it."""


class NormalGradients:
    """The gradients of the examples' losses normal to the invariant set of `place`, linearised at the set.

    The base point is the point of the set that is nearest to the present weights: the neuron's vector zero, or both
    vectors the pair's mean; all other weights are as they are. Normal coordinates u ∈ R^d are the neuron's vector w_i,
    or (w_i − w_j)/√2: an isometry, so that a gradient in u is the normal part of the gradient. `displacement` (d,) is
    the network's present u.
    """

    def __init__(self, examples: Examples, place: Place) -> None:
        self._examples, self._place = examples, place
        vectors = neuron_vectors(examples.parameters, place.layer)
        self._members = torch.tensor(place.members, device=examples.device)
        if len(place.members) == 1:
            signs = [1.0]
            self._base = torch.zeros_like(vectors[self._members])
        else:
            signs = [0.5**0.5, -(0.5**0.5)]
            self._base = vectors[self._members].mean(dim=0).expand(2, -1)
        self._signs = vectors.new_tensor(signs)[:, None]
        self.displacement = (self._signs * vectors[self._members]).sum(dim=0)
        touched = {part.parameter for part in place.layer.parts}
        numbers = sum(examples.parameters[name].numel() for name in touched)
        chunk = max(1, min(_EXAMPLES_AT_ONCE, _NUMBERS_AT_ONCE // numbers))
        self._gradients = vmap(grad(self._loss), in_dims=(None, 0, 0), chunk_size=chunk)

    def along(self, direction: Tensor) -> Tensor:
        """(n, d): the examples' normal gradients at distance r from the set in `direction`, a unit vector, over r.

        That is H_i s for the examples' Hessians H_i where the loss is smooth there, and the one-sided derivative
        where it has a kink, as ReLU and max-pooling have at a vanished neuron.
        """
        return self._at(_STEP * direction) / _STEP

    def check_invariance(self, direction: Tensor) -> None:
        """Raise `NotInvariant` unless the normal gradient vanishes at the set, as it must for SGD never to leave it."""
        on_the_set, beside_it = self._at(0 * direction).norm(), self._at(_STEP * direction).norm()
        if on_the_set > 1e-3 * beside_it and on_the_set > 1e-12:
            raise NotInvariant(
                f"{self._place}: not an invariant set: the gradient on it has a normal part. A sign set needs an "
                "activation with φ(0) = 0 (GELU, ReLU, tanh, not sigmoid) and no normalization over neurons, a "
                "permutation set interchangeable neurons"
            )

    def _at(self, u: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):  # the others have no gradients of an example at a time
            return self._gradients(u, self._examples.inputs, self._examples.targets)

    def _loss(self, u: Tensor, x: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
        examples = self._examples
        parameters = _with_vectors(examples.parameters, self._place.layer, self._members, self._base + self._signs * u)
        output = functional_call(examples.model, parameters, (x[None],))
        return examples.loss(output, *(target[None] for target in targets))


def _with_vectors(
    parameters: dict[str, Tensor], layer: NeuronLayer, members: Tensor, vectors: Tensor
) -> dict[str, Tensor]:
    """`parameters` with the vectors of `members` replaced by the rows of `vectors`: `neuron_vectors` backwards."""
    changed, start = dict(parameters), 0
    for part in layer.parts:
        tensor = changed[part.parameter]
        numbers = torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape)
        places = part.vectors(numbers)[members]
        stop = start + places.shape[1]
        flat = tensor.flatten().index_put((places.flatten(),), vectors[:, start:stop].flatten())
        changed[part.parameter] = flat.view(tensor.shape)
        start = stop
    return changed


def _double(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values
