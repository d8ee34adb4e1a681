"""The published families: sizes, names, initialization, what they compute, and the neurons that are found in them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse import measure_collapse
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import gpt, resize, resnet, vgg, vit
from stochastic_collapse.models.gpt import GPT
from stochastic_collapse.models.resnet import ResNet
from stochastic_collapse.models.vgg import VGG
from stochastic_collapse.models.vit import HEADS, ViT
from stochastic_collapse.neurons import trace


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """In double precision and evaluation mode, weights of order 1/√fan_in, vectors and variances about 1."""
    generator = torch.Generator().manual_seed(seed)
    tensors = (*model.double().eval().parameters(), *model.buffers())
    with torch.no_grad():
        for tensor in filter(torch.is_floating_point, tensors):
            draw = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(draw / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 1 + 0.3 * draw.clamp(-2, 2))
    return model


def parameters(model: nn.Module, kinds: Any = nn.Module) -> int:
    own = (module.parameters(recurse=False) for module in model.modules() if isinstance(module, kinds))
    return sum(parameter.numel() for listing in own for parameter in listing)


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def alike(like: Callable[..., Any], model: nn.Module, **told: int) -> tuple[nn.Module, tuple[int, ...]]:
    """What `like` makes of the network's weights, with these in it, and the shape of an example."""
    weights = model.state_dict()
    found, shape = like(weights=weights, **told)
    resize(found, weights)
    assert shapes(found) == shapes(model)
    return found.double().eval(), shape


# --- sizes and names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "expected"), [(11, 9_220_480), (13, 9_404_992), (16, 14_714_688), (19, 20_024_384)])
def test_vgg_has_the_published_convolutions(depth: int, expected: int) -> None:
    with torch.device("meta"):
        model = VGG((3, 32, 32), 10, depth)
    assert parameters(model, nn.Conv2d) == expected
    assert parameters(model, nn.Linear) == 512 * 513 + 512 * 513 + 10 * 513
    convolutions, linear = [f"conv{k}" for k in range(1, depth - 2)], [f"fc{k}" for k in range(depth - 2, depth + 1)]
    assert [name for name in model.state_dict() if name.endswith("weight")] == [
        f"{layer}.weight" for layer in convolutions + linear
    ]


RESNETS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize("depth", RESNETS)
def test_resnet_has_torchvisions_parameters(depth: int) -> None:
    with torch.device("meta"):
        model = ResNet(3, 1000, depth, stem="imagenet")
        assert parameters(model) == RESNETS[depth]
        torchvision = pytest.importorskip("torchvision")
        assert shapes(model) == shapes(getattr(torchvision.models, f"resnet{depth}")())


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_computes_what_torchvisions_does(depth: int) -> None:
    torchvision = pytest.importorskip("torchvision")
    theirs = randomized(getattr(torchvision.models, f"resnet{depth}")())
    ours = ResNet(3, 1000, depth, act="relu", stem="imagenet").double().eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 70, 64, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images))


def test_transformers_have_the_published_sizes() -> None:
    with torch.device("meta"):
        assert parameters(ViT((3, 224, 224), 1000, 16, 768, 12, 12)) == 86_567_656  # ViT-B/16
        assert parameters(GPT(50_257, 1024, 768, 12, 12, tied=True)) == 124_439_808  # GPT-2, its smallest
        untied = parameters(GPT(50_257, 1024, 768, 12, 12))
    assert untied == 124_439_808 + 50_257 * 768


@pytest.mark.parametrize("depth", RESNETS)
def test_resnet_without_batch_normalization_has_biases_instead(depth: int) -> None:
    with torch.device("meta"):
        plain, usual = ResNet(3, 10, depth, batch_norm=False), ResNet(3, 10, depth)
    assert not [module for module in plain.modules() if isinstance(module, nn.BatchNorm2d)]
    biases = {name: shape for name, shape in shapes(plain).items() if name.endswith("bias")}
    normed = {name: shape for name, shape in shapes(usual).items() if re.search(r"(bn\d|downsample\.1|fc)\.bias", name)}
    assert list(biases.values()) == list(normed.values())


# --- initialization -------------------------------------------------------------------------------------------------

# First numbers of weights that VGG-16 and ResNet-18 had of seed 0 before they were families, at width 0.1.
DRAWN: dict[str, tuple[Callable[[], nn.Module], dict[str, list[float]]]] = {
    "vgg16": (
        lambda: VGG((3, 32, 32), 10, width=0.1),
        {
            "conv1.weight": [-0.16520585119724274, -0.30577412247657776, 0.1183147206902504],
            "conv13.weight": [-0.05419451370835304, -0.07693546265363693, 0.04125688970088959],
            "fc14.weight": [0.13056491315364838, 0.12672674655914307, -0.19876445829868317],
            "fc16.weight": [0.18565943837165833, -0.22137536108493805, -0.040543608367443085],
        },
    ),
    "resnet18": (
        lambda: ResNet(3, 100, act="relu", width=0.1),
        {
            "conv1.weight": [0.4164735674858093, -0.06431596726179123, -0.25316572189331055],
            "layer2.0.downsample.0.weight": [-0.3153468668460846, 0.6949838399887085, 0.22052043676376343],
            "layer4.1.conv2.weight": [-0.0051674447022378445, 0.018040433526039124, 0.004873997997492552],
            "fc.weight": [0.29071876406669617, -0.1879311501979828, -0.161355659365654],
        },
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_the_first_networks_draw_the_numbers_that_they_always_did(name: str) -> None:
    build, expected = DRAWN[name]
    torch.manual_seed(0)
    weights = build().state_dict()
    for parameter, numbers in expected.items():
        torch.testing.assert_close(weights[parameter].flatten()[:3], torch.tensor(numbers))


TRANSFORMERS: dict[str, Callable[..., nn.Module]] = {
    "vit": lambda **more: ViT((3, 8, 12), 5, **{"patch": 4, "dim": 24, "depth": 3, **more}),
    "gpt": lambda **more: GPT(13, 9, **{"dim": 24, "depth": 3, **more}),
    "gpt-tied": lambda **more: GPT(13, 9, **{"dim": 24, "depth": 3, "tied": True, **more}),
}


def example(name: str, batch: int = 3) -> Tensor:
    if name == "vit":
        return torch.randn(batch, 3, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return torch.randint(0, 13, (batch, 7), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_begin_with_small_normal_weights(name: str) -> None:
    torch.manual_seed(0)
    for key, parameter in TRANSFORMERS[name](dim=256).named_parameters():
        if parameter.ndim == 1:
            assert bool((parameter == (1 if "norm" in key and key.endswith("weight") else 0)).all())
            continue
        into_stream = name != "vit" and key.endswith(("out.weight", "fc2.weight"))
        tolerance = 5 / math.sqrt(2 * parameter.numel())  # 5 standard errors: false alarms below 1e-6 a tensor
        assert parameter.std().item() == pytest.approx(0.02 / (6**0.5 if into_stream else 1), rel=tolerance), key


# --- what transformers compute --------------------------------------------------------------------------------------


def normalized(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    return torch.einsum("btc,dc->btd", x, weights[f"{name}.weight"]) + weights[f"{name}.bias"]


def attention(x: Tensor, weights: Mapping[str, Tensor], name: str, heads: int, causal: bool) -> Tensor:
    q, k, v = (linear(x, weights, f"{name}.{kind}").unflatten(2, (heads, -1)) for kind in "qkv")
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
    seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
    masked = scores.masked_fill(~seen.tril() if causal else ~seen, float("-inf")).exp()
    mixed = torch.einsum("bhqk,bkhd->bqhd", masked / masked.sum(-1, keepdim=True), v)
    return linear(mixed.flatten(2), weights, f"{name}.out")


def stream(x: Tensor, weights: Mapping[str, Tensor], heads: int, causal: bool, relu: bool = False) -> Tensor:
    """The residual stream behind all blocks, normalized."""
    for k in range(3):
        x = x + attention(normalized(x, weights, f"blocks.{k}.norm1"), weights, f"blocks.{k}.attention", heads, causal)
        inner = linear(normalized(x, weights, f"blocks.{k}.norm2"), weights, f"blocks.{k}.mlp.fc1")
        inner = inner.clamp(min=0) if relu else inner * (1 + torch.erf(inner / 2**0.5)) / 2
        x = x + linear(inner, weights, f"blocks.{k}.mlp.fc2")
    return normalized(x, weights, "norm")


@pytest.mark.parametrize("act", ["gelu", "relu"])
@pytest.mark.parametrize("heads", [1, 3, 4])
def test_vit_computes_what_is_written_out(heads: int, act: str) -> None:
    model, images = randomized(TRANSFORMERS["vit"](heads=heads, hidden=10, act=act)), example("vit")
    weights = model.state_dict()
    patches = torch.einsum(
        "bcipjq,dcpq->bijd", images.unflatten(3, (3, 4)).unflatten(2, (2, 4)), weights["patch_embedding.weight"]
    )
    tokens = patches.flatten(1, 2) + weights["patch_embedding.bias"]
    x = torch.cat([weights["class_token"].repeat(3, 1, 1), tokens], 1) + weights["position_embedding"]
    expected = linear(stream(x, weights, heads, False, act == "relu")[:, :1], weights, "head")[:, 0]
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("heads", [1, 3, 4])
def test_gpt_computes_what_is_written_out(heads: int, tied: bool) -> None:
    model, tokens = randomized(TRANSFORMERS["gpt"](heads=heads, hidden=10, tied=tied)), example("gpt")
    weights = model.state_dict()
    x = weights["token_embedding.weight"][tokens] + weights["position_embedding"][:7]
    head = weights["token_embedding.weight" if tied else "head.weight"]
    expected = torch.einsum("btc,vc->btv", stream(x, weights, heads, True), head)
    torch.testing.assert_close(model(tokens), expected)


def test_gpt_sees_no_later_token() -> None:
    model, tokens = randomized(TRANSFORMERS["gpt"]()), example("gpt")
    before = model(tokens)
    for place in range(7):
        changed = tokens.clone()
        changed[:, place] = (changed[:, place] + 1) % 13
        after = model(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place])
        assert bool(((after - before)[:, place:].abs().amax(2) > 1e-6).all())
    torch.testing.assert_close(model(tokens[:, :4]), before[:, :4])


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_dropout_acts_in_training_only_and_gradients_reach_all_weights(name: str) -> None:
    model, x = randomized(TRANSFORMERS[name](dropout=0.5)), example(name)
    assert torch.equal(model(x), model(x))
    assert not torch.equal(model.train()(x), model(x))
    model(x).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


# --- networks like given weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_a_vgg_like_given_weights_computes_the_same(depth: int, batch_norm: bool) -> None:
    model = randomized(VGG((2, 32, 96), 7, depth, batch_norm=batch_norm, width=0.06))
    found, shape = alike(vgg.like, model, depth=depth)
    assert shape == (2, 32, 96)
    images = torch.randn(2, *shape, dtype=torch.float64)
    torch.testing.assert_close(found(images), model(images))


@pytest.mark.parametrize(("stem", "batch_norm"), [("cifar", True), ("imagenet", True), ("cifar", False)])
@pytest.mark.parametrize("depth", RESNETS)
def test_a_resnet_like_given_weights_computes_the_same(depth: int, stem: resnet.Stem, batch_norm: bool) -> None:
    model = randomized(ResNet(2, 7, depth, width=0.06, stem=stem, batch_norm=batch_norm))
    found, shape = alike(resnet.like, model, depth=depth)
    assert shape == ((2, 32, 32) if stem == "cifar" else (2, 224, 224))
    images = torch.randn(2, 2, 33, 40, dtype=torch.float64)
    torch.testing.assert_close(found(images), model(images))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_like_given_weights_computes_the_same(name: str) -> None:
    model, x = randomized(TRANSFORMERS[name](hidden=10)), example(name)
    found, shape = alike(vit.like if name == "vit" else gpt.like, model, heads=HEADS)
    assert shape == ((3, 8, 12) if name == "vit" else (9,))
    torch.testing.assert_close(found(x), model(x))


@pytest.mark.parametrize("left", [1, 3])
def test_blocks_of_fewer_heads_keep_their_size(left: int) -> None:
    model, tokens = randomized(TRANSFORMERS["gpt"](heads=4)), example("gpt")
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    for kind in "qkv":
        for what in ("weight", "bias"):
            weights[f"blocks.1.attention.{kind}.{what}"] = weights[f"blocks.1.attention.{kind}.{what}"][: 6 * left]
    weights["blocks.1.attention.out.weight"] = weights["blocks.1.attention.out.weight"][:, : 6 * left]
    found, _ = gpt.like(weights, heads=4)
    resize(found, weights)
    with torch.no_grad():
        model.get_parameter("blocks.1.attention.out.weight")[:, 6 * left :] = 0
    torch.testing.assert_close(found.double().eval()(tokens), model(tokens))


def test_images_are_taken_to_be_square() -> None:
    assert vit.like(ViT((1, 24, 24), 2, patch=6, dim=8, depth=1).state_dict(), 4)[1] == (1, 24, 24)


def test_heads_are_those_of_the_first_block() -> None:
    def found(rows: Sequence[int], heads: int) -> tuple[int, int]:
        weights = {f"blocks.{k}.attention.q.weight": torch.empty(n, 1) for k, n in enumerate(rows)}
        return vit.depth_and_size(weights, heads, None)

    assert [found((128,), 4), found((96, 128), 3), found((3, 3, 3), 1)] == [(1, 32), (2, 32), (3, 3)]
    for rows, heads in [((128,), 3), ((128, 96, 100), 4), ((4,), 0), ((4,), 8)]:
        with pytest.raises(InputError, match=f"heads: expected a divisor of {rows[0]}, found {heads}"):
            found(rows, heads)


@pytest.mark.parametrize(
    "like", [partial(vgg.like, 11), partial(resnet.like, 18), partial(vit.like, heads=1), partial(gpt.like, heads=1)]
)
def test_other_weights_are_missing_something(like: Callable[..., Any]) -> None:
    with pytest.raises(KeyError):
        like(weights={"a.weight": torch.ones(2, 2)})


@pytest.mark.parametrize(
    ("like", "model", "message"),
    [
        (
            partial(vgg.like, 11),
            VGG((3, 32, 32), 10, 16, width=0.02),
            "a vgg11: they have 13 convolutions, expected 8",
        ),
        (
            partial(resnet.like, 34),
            ResNet(3, 10, width=0.06),
            r"a resnet34: they have \(2, 2, 2, 2\) blocks of the",
        ),
        (
            partial(resnet.like, 34),
            ResNet(3, 10, 50, width=0.06),
            "the kind Bottleneck, expected .* BasicBlock",
        ),
    ],
)
def test_weights_of_another_depth_are_refused(like: Callable[..., Any], model: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        like(weights=model.state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VGG((3, 32, 32), 10, 12), "depth: expected one of 11, 13, 16, 19, found 12"),
        (lambda: VGG((3, 31, 32), 10, 11), "vgg11 needs images of at least 32 × 32 pixels, found 31 × 32"),
        (lambda: ResNet(3, 10, 20), "depth: expected one of 18, 34, 50, 101, 152, found 20"),
        (lambda: ResNet(3, 10, stem="mnist"), "stem: expected cifar or imagenet, found mnist"),  # type: ignore[arg-type]
        (lambda: ViT((3, 32, 30), 10), "patch: expected a divisor of the images' 32 × 30 pixels, found 4"),
        (lambda: ViT((3, 32, 32), 10, heads=3), "heads: expected a divisor of dim = 128, found 3"),
        (lambda: GPT(10, 8, heads=3), "heads: expected a divisor of dim = 128, found 3"),
        (lambda: GPT(10, 8)(torch.zeros(1, 9, dtype=torch.int64)), "tokens: expected at most 8 in a sequence, found 9"),
        (
            lambda: resnet.like(
                18, {k: v for k, v in ResNet(3, 10, width=0.06).state_dict().items() if "4.1" not in k}
            ),
            r"not a resnet18: they have \(2, 2, 2, 1\) blocks of the kind BasicBlock",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


# --- neurons --------------------------------------------------------------------------------------------------------

# How many layers there are, by hand.
TRACED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "vgg11": (lambda: VGG((3, 32, 32), 5, 11, width=0.06), (3, 32, 32), 10),
    "vgg19-bn": (lambda: VGG((3, 32, 32), 5, 19, batch_norm=True, width=0.06), (3, 32, 32), 18),
    "resnet18": (lambda: ResNet(3, 5, width=0.06), (3, 16, 16), 12),  # 8 inside of blocks, 4 streams
    "resnet34-plain": (lambda: ResNet(3, 5, 34, width=0.06, batch_norm=False), (3, 16, 16), 20),
    # 2 inside of each of 16 bottlenecks, 4 streams, and the stem, which the first shortcut projects
    "resnet50": (lambda: ResNet(3, 5, 50, width=0.06, stem="imagenet"), (3, 64, 64), 37),
    "vit": (lambda: ViT((3, 8, 8), 5, dim=16, depth=2, hidden=20), (3, 8, 8), 5),  # 2 × (heads, mlp), the stream
    "gpt": (lambda: GPT(11, 8, dim=16, depth=2, hidden=20), (6,), 5),
    "gpt-tied": (lambda: GPT(11, 8, dim=16, depth=2, hidden=20, tied=True), (6,), 5),
}


@pytest.mark.parametrize("name", TRACED)
def test_all_neurons_are_found_and_measured(name: str) -> None:
    build, shape, layers = TRACED[name]
    torch.manual_seed(0)
    model = build()
    x = torch.randint(0, 11, (2, *shape)) if "gpt" in name else torch.randn(2, *shape)
    neurons = trace(model, x)
    assert {one.what for one in neurons.skipped} <= {"head.bias", "fc.bias", "fc11.bias", "fc19.bias"}  # of the logits
    assert neurons.coverage(model) == 1
    assert len(neurons.layers) == layers
    if name in ("vit", "gpt", "gpt-tied"):
        assert {layer.name: layer.neurons for layer in neurons.layers} == {
            **{f"blocks.{k}.attention.heads": 4 for k in (0, 1)},
            **{f"blocks.{k}.mlp.fc1": 20 for k in (0, 1)},
            "stream": 16,
        }
    table = measure_collapse(model, x)
    assert list(table["layer"]) == [layer.name for layer in neurons.layers]
    assert bool((table["effective_rank"] >= 1).all())
