"""The layers that tracing finds, for each kind of layer, against what is written by hand in `kinds`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse.config import MLPSettings, ResNetSettings, VGGSettings
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.neurons import ExampleInput, Neurons, neuron_vectors, trace
from stochastic_collapse.task import Task

from .kinds import KINDS, Apply, Found


def described(neurons: Neurons) -> list[Found]:
    return [
        Found(
            layer.name,
            layer.neurons,
            " ".join(part.parameter for part in layer.incoming),
            " ".join(part.parameter for part in layer.outgoing),
            layer.blocks,
        )
        for layer in neurons.layers
    ]


def network(name: str) -> tuple[nn.Module, Tensor]:
    kind = KINDS[name]
    torch.manual_seed(0)
    return kind.build().eval(), kind.draw(*kind.shape)


@pytest.mark.parametrize("name", KINDS)
def test_layers_are_those_written_by_hand(name: str) -> None:
    neurons = trace(*network(name))
    assert described(neurons) == list(KINDS[name].layers)
    assert not [one for one in neurons.skipped if one.what.startswith("layer ")]


@pytest.mark.parametrize("name", KINDS)
def test_all_weights_are_covered(name: str) -> None:
    model, example = network(name)
    assert trace(model, example).coverage(model) == pytest.approx(KINDS[name].coverage, rel=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_the_check_would_show_a_part_that_is_missing(name: str) -> None:
    """Permuting all of a layer's parts but one changes the output: the check of symmetry is never empty."""
    model, example = network(name)
    neurons = trace(model, example)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for tensor in tensors.values():  # nothing may be zero or equal
            if tensor.is_floating_point():
                tensor.add_(0.3 * torch.rand(tensor.shape, dtype=tensor.dtype))
        expected = model(example)
        for layer in neurons.layers:
            each = layer.neurons // layer.blocks
            order = torch.arange(layer.neurons).view(-1, each).roll(1, dims=1).flatten()
            part = layer.parts[0]
            before = tensors[part.parameter].clone()
            view = part.view(tensors[part.parameter])
            view.copy_(part.vectors(tensors[part.parameter])[order].reshape(view.shape))
            assert not torch.allclose(model(example), expected, rtol=1e-4, atol=0), layer.name
            tensors[part.parameter].copy_(before)


def test_what_normalization_records_is_permuted_with_the_neurons() -> None:
    (layer,) = trace(*network("batch norm")).layers
    assert {part.parameter for part in layer.statistics} == {"1.running_mean", "1.running_var"}


def test_tied_weights_are_told() -> None:
    layers = trace(*network("tied embedding")).layers
    assert [layer.shared for layer in layers] == [(), ("embed.weight",)]
    layers = trace(*network("a module used twice")).layers
    assert [layer.shared for layer in layers] == [()]  # read and written along different axes


def test_what_depends_on_the_number_of_neurons_is_told() -> None:
    def couplings(name: str) -> list[list[str]]:
        return [[str(coupling) for coupling in layer.couplings] for layer in trace(*network(name)).layers]

    assert couplings("linear") == [[], []]
    assert couplings("layer norm") == [["layer_norm in 1"]]
    assert couplings("group norm") == [["group_norm in 1"]]
    assert couplings("group norm of single channels") == [[]]
    assert couplings("tokens that are compared") == [["softmax in the network", "matmul in the network"], [
        "matmul in the network"]]  # fmt: skip


# --- the built-in networks ------------------------------------------------------------------------------------------

BUILT_IN: dict[str, tuple[Any, tuple[int, int, int]]] = {
    "mlp": (MLPSettings(name="mlp", widths=(7, 5, 6)), (1, 4, 4)),
    "mlp-relu": (MLPSettings(name="mlp", widths=(7,), activation="relu"), (1, 4, 4)),
    "vgg16": (VGGSettings(name="vgg16", width=0.1), (3, 32, 32)),
    "vgg16-bn-relu": (VGGSettings(name="vgg16", width=0.1, batch_norm=True, activation="relu"), (3, 32, 32)),
    "vgg16-large-images": (VGGSettings(name="vgg16", width=0.1), (3, 64, 96)),
    "resnet18": (ResNetSettings(name="resnet18", width=0.1), (3, 32, 32)),
    "resnet18-relu": (ResNetSettings(name="resnet18", width=0.07, activation="relu"), (3, 16, 16)),
}
_VGG_LAYERS = [*(f"conv{k}" for k in range(1, 14)), "fc14", "fc15"]
_RESNET_LAYERS = [
    "layer1.0.conv1", "layer1.1.conv1", "layer1.stream", "layer2.0.conv1", "layer2.1.conv1", "layer2.stream",
    "layer3.0.conv1", "layer3.1.conv1", "layer3.stream", "layer4.0.conv1", "layer4.1.conv1", "layer4.stream",
]  # fmt: skip


def built_in(name: str) -> tuple[nn.Module, Tensor]:
    settings, shape = BUILT_IN[name]
    torch.manual_seed(0)
    return build_model(settings, Task(shape, 10)).eval(), torch.randn(2, *shape)


@pytest.mark.parametrize("name", BUILT_IN)
def test_layers_of_the_built_in_networks_are_the_published_ones(name: str) -> None:
    names = [layer.name for layer in trace(*built_in(name)).layers]
    match name.split("-")[0]:
        case "mlp":
            assert names == [f"fc{k + 1}" for k in range(len(BUILT_IN[name][0].widths))]
        case "vgg16":
            assert names == _VGG_LAYERS
        case _:
            assert names == _RESNET_LAYERS


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_weight_but_the_ends_is_in_exactly_one_layer_for_each_axis(name: str) -> None:
    """Each hidden neuron's writers and readers are all there."""
    model, image = built_in(name)
    neurons = trace(model, image)
    found = {key: torch.zeros(p.shape, dtype=torch.int64) for key, p in model.named_parameters()}
    for layer in neurons.layers:
        for part in layer.parts:
            part.view(found[part.parameter]).add_(1)
    matrices = [key for key, p in model.named_parameters() if p.ndim > 1]
    for key, times in found.items():
        ends = (key == matrices[0]) + (key == matrices[-1])  # the axes of the network's input and of its output
        expected = 2 - ends if key in matrices else int(key != matrices[-1].replace("weight", "bias"))
        assert (times == expected).all(), key
    assert [one.what for one in neurons.skipped] == [matrices[-1].replace("weight", "bias")]


# --- the model, its input, and errors -------------------------------------------------------------------------------


def _frozen_in_training() -> tuple[nn.Module, Tensor]:
    model, image = built_in("vgg16-bn-relu")
    model.train()
    next(iter(model.children())).eval()
    next(iter(model.parameters())).requires_grad_(False)
    return model, image


def test_the_model_is_left_as_it_was() -> None:
    model, image = _frozen_in_training()
    model.register_buffer("scale", torch.ones(3), persistent=False)
    names = [name for name, _ in model.named_modules()]
    tensors = {key: value.clone() for key, value in (*model.named_parameters(), *model.named_buffers())}
    identities = {key: id(value) for key, value in (*model.named_parameters(), *model.named_buffers())}
    flags = {name: module.training for name, module in model.named_modules()}
    frozen = {key: p.requires_grad for key, p in model.named_parameters()}
    attributes = {name: {*vars(module)} for name, module in model.named_modules()}
    generator, precision = torch.get_rng_state(), torch.get_default_dtype()
    given = image.clone()

    assert [layer.name for layer in trace(model, image).layers] == _VGG_LAYERS

    assert names == [name for name, _ in model.named_modules()]
    now = dict((*model.named_parameters(), *model.named_buffers()))
    assert {key: id(value) for key, value in now.items()} == identities
    assert all(torch.equal(now[key], value) for key, value in tensors.items())
    assert {name: module.training for name, module in model.named_modules()} == flags
    assert {key: p.requires_grad for key, p in model.named_parameters()} == frozen
    assert all(p.grad is None for p in model.parameters())
    assert {name: {*vars(module)} for name, module in model.named_modules()} == attributes
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.get_default_dtype() is precision
    assert torch.equal(image, given)


def test_layers_do_not_depend_on_mode_or_weights() -> None:
    expected = trace(*built_in("resnet18"))
    model, image = built_in("resnet18")
    model.train()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    found = trace(model, torch.zeros_like(image))
    assert found.layers == expected.layers
    assert found.skipped == expected.skipped


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_models_of_any_precision_are_traced(dtype: torch.dtype) -> None:
    model, images = built_in("resnet18")
    model, images = model.to(dtype), images.to(dtype)
    assert [layer.name for layer in trace(model, images).layers] == _RESNET_LAYERS
    assert all(p.dtype is dtype for p in model.parameters())


def _two_inputs(m: Any, left: Tensor, right: Tensor, scale: float = 1.0) -> dict[str, Any]:
    return {"unused": None, "result": [m.head(torch.relu(m.left(left) + m.right(right) * scale))]}


@pytest.mark.parametrize(
    "example",
    [
        (torch.ones(4, 2), torch.ones(4, 3)),
        [torch.ones(4, 2), torch.ones(4, 3), 2.0],
        {"right": torch.ones(4, 3), "left": torch.ones(4, 2)},
    ],
    ids=["tuple", "list", "mapping"],
)
def test_the_input_may_be_several_tensors_and_the_output_a_container(example: ExampleInput) -> None:
    model = Apply(_two_inputs, left=nn.Linear(2, 5), right=nn.Linear(3, 5, bias=False), head=nn.Linear(5, 2))
    assert described(trace(model, example)) == [Found("stream", 5, "left.weight left.bias right.weight", "head.weight")]


def test_a_branch_behind_a_gate_that_is_zero_is_checked() -> None:
    """What a parameter of no axes multiplies would not be seen in the output."""

    def gated(m: Any, x: Tensor) -> Tensor:
        x = m.stem(x)
        return m.head(x + m.gate * m.second(torch.tanh(m.first(x))))

    def model() -> nn.Module:
        torch.manual_seed(0)
        return Apply(gated, stem=nn.Linear(3, 4), first=nn.Linear(4, 5), second=nn.Linear(5, 4), head=nn.Linear(4, 2),
                     gate=nn.Parameter(torch.zeros(())))  # fmt: skip

    from stochastic_collapse.neurons.layers import NeuronLayer, Part
    from stochastic_collapse.neurons.symmetry import asymmetric

    wrong = NeuronLayer("first", 5, (Part("first.weight", (0,)),), (Part("second.weight", (1,)),))  # no bias
    assert "first" in asymmetric(model(), torch.ones(2, 3), [wrong])


def test_a_network_that_draws_numbers_of_its_own_is_checked_with_the_same_ones() -> None:
    def noisy(m: Any, x: Tensor) -> Tensor:
        return m.head(torch.relu(m.stem(x + torch.randn(x.shape))))

    neurons = trace(Apply(noisy, stem=nn.Linear(3, 4), head=nn.Linear(4, 2)), torch.ones(2, 3))
    assert described(neurons) == [Found("stem", 4, "stem.weight stem.bias", "head.weight")]


def test_two_neurons_are_never_checked_by_leaving_them_in_place() -> None:
    from stochastic_collapse.neurons.layers import NeuronLayer, Part
    from stochastic_collapse.neurons.symmetry import asymmetric

    for seed in range(8):
        torch.manual_seed(seed)
        model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))
        wrong = [
            NeuronLayer(f"{k}", 2, (Part(f"{k}.weight", (0,)),), (Part(f"{k + 1}.weight", (0,)),)) for k in range(3)
        ]
        assert len(asymmetric(model, torch.ones(3, 2), wrong)) == 3


def _by_sign(m: Any, x: Tensor) -> Tensor:
    return m.head(x if x.sum() > 0 else -x)


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (Apply(_by_sign, head=nn.Linear(3, 2)), torch.ones(2, 3)),
        (nn.Linear(3, 2), torch.ones(2, 4)),
        (nn.Linear(3, 2), (torch.ones(2, 3), torch.ones(2, 3))),
        (nn.Linear(3, 2), {"images": torch.ones(2, 3)}),
        (Apply(lambda m, x: m.head(x).shape, head=nn.Linear(3, 2)), torch.ones(2, 3)),
    ],
    ids=["depends on numbers", "wrong shape", "too many", "wrong name", "no tensor"],
)
def test_what_cannot_be_traced_is_one_line(model: nn.Module, example: ExampleInput) -> None:
    with pytest.raises(InputError) as error:
        trace(model, example)
    assert "\n" not in str(error.value)
    assert 20 < len(str(error.value)) < 450


def test_a_network_that_cannot_be_checked_claims_nothing() -> None:
    def only_single(m: Any, x: Tensor) -> Tensor:
        torch._check(x.dtype is torch.float32)
        return m.head(torch.relu(m.stem(x)))

    neurons = trace(Apply(only_single, stem=nn.Linear(3, 4), head=nn.Linear(4, 2)), torch.ones(2, 3))
    assert neurons.layers == ()
    assert neurons.skipped[0].what == "layer stem"
    assert neurons.skipped[0].reason.startswith("it cannot be checked: RuntimeError: ")


def test_vectors_have_all_weights_of_each_neuron() -> None:
    model, example = network("grouped convolution and flatten")
    (layer,) = trace(model, example).layers
    parameters = dict(model.named_parameters())
    vectors = neuron_vectors(parameters, layer)
    assert vectors.shape == (6, 2 * 3 + 1 + 3 * 2)  # inputs × kernel, bias, places × outputs
    expected = torch.cat(
        [
            parameters["0.weight"].flatten(1),
            parameters["0.bias"][:, None],
            parameters["3.weight"].unflatten(1, (6, 3)).permute(1, 2, 0).flatten(1),
        ],
        dim=1,
    )
    torch.testing.assert_close(vectors.sort(1).values, expected.sort(1).values, rtol=0, atol=0)


@pytest.mark.parametrize(
    "grouped",
    [nn.Conv2d(6, 6, 1, groups=2), nn.ConvTranspose2d(6, 6, 1, groups=2), nn.Conv2d(6, 6, 1, groups=2, bias=False)],
)
def test_a_grouped_convolution_added_to_its_input_leaves_its_groups_apart(grouped: nn.Module) -> None:
    """Its weight has the channels of a group twice and the groups once."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grouped = grouped

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = x + self.grouped(x)
            return out

    model = nn.Sequential(nn.Conv2d(3, 6, 1), Residual(), nn.GELU(), nn.Conv2d(6, 2, 1))
    neurons = trace(model, torch.randn(2, 3, 4, 4))
    assert [(layer.name, layer.neurons, layer.blocks) for layer in neurons.layers] == [("1.stream", 6, 2)]
    assert [one.what for one in neurons.skipped] == ["3.bias"]
