"""Compression: exact on planted collapses of random networks, and an ordinary module after it."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stochastic_collapse import Compression, compress, measure_collapse
from stochastic_collapse.errors import InputError

from .architectures import Mean, Residual, Tokens, convolutional, plant, randomize, transformer

_IMAGES = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
_KINDS = ["plain", "batch_norm", "group_norm", "layer_norm", "grouped", "depthwise", "residual", "concatenated"]
_KINDS += ["excited", "pooled"]

several = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def assert_exact(model: nn.Module, left: dict[str, int] | None, images: Tensor = _IMAGES) -> Compression:
    """At tolerance 0 exactly the planted neurons go, and outputs agree to 1e-5 of the largest."""
    before = model(images).detach()
    result = compress(model, images, 0)
    if left is not None:
        assert dict(zip(result.layers["layer"], result.layers["neurons_after"], strict=True)) == left
        assert result.skipped == ()
    after = result.model(images)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5 * float(before.abs().max()))
    assert result.largest_change <= 1e-5 * float(before.abs().max())
    return result


@several
@given(
    kinds=st.lists(st.sampled_from(_KINDS), min_size=1, max_size=4),
    width=st.sampled_from([8, 12]),
    head=st.sampled_from(["flatten", "pool"]),
    duplicates=st.integers(0, 3),
    vanished=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_planted_collapses_of_convolutional_networks_go(
    kinds: list[str], width: int, head: str, duplicates: int, vanished: int, seed: int
) -> None:
    model = convolutional(kinds, width, head).eval()
    randomize(model, seed)
    assert_exact(model, dict(plant(model, _IMAGES, duplicates, vanished, seed)))


@several
@given(
    kinds=st.lists(st.sampled_from(["attention", "mlp", "torch"]), min_size=1, max_size=3),
    heads=st.sampled_from([3, 4, 5]),
    duplicates=st.integers(0, 2),
    vanished=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_planted_collapses_of_transformers_go(
    kinds: list[str], heads: int, duplicates: int, vanished: int, seed: int
) -> None:
    model = transformer(kinds, 4 * heads, heads).eval()
    randomize(model, seed)
    assert_exact(model, dict(plant(model, _IMAGES, duplicates, vanished, seed)))


@pytest.mark.parametrize("kind", [*_KINDS, "attention", "mlp", "torch"])
def test_each_kind_of_layer(kind: str) -> None:
    """The same for each kind alone, and what is measured beforehand is what stays at the definition's tolerance."""
    is_transformer = kind in ("attention", "mlp", "torch")
    model = (transformer([kind], 20, 5) if is_transformer else convolutional([kind], 8, "flatten")).eval()
    randomize(model, 1)
    left = dict(plant(model, _IMAGES, 1, 1, 1))
    assert all(n > 0 for n in left.values())
    result = assert_exact(model, left)
    measured = measure_collapse(model, _IMAGES)
    assert dict(zip(measured["layer"], measured["independent"], strict=True)) == left
    assert list(measure_collapse(result.model, _IMAGES)["neurons"]) == list(left.values())
    assert result.after.parameters < result.before.parameters
    assert result.after.flops < result.before.flops
    assert result.before.neurons == sum(measured["neurons"])
    assert result.after.neurons == sum(left.values())


def test_nothing_collapsed_leaves_the_network_as_it_is() -> None:
    model = convolutional(["batch_norm", "grouped"], 8, "pool").eval()
    randomize(model, 0)
    result = assert_exact(model, None)
    assert [tuple(p.shape) for p in result.model.parameters()] == [tuple(p.shape) for p in model.parameters()]
    assert (result.layers[["vanished", "merged"]] == 0).all(axis=None)


def test_the_model_is_left_alone_and_the_result_shares_nothing_with_it() -> None:
    model = convolutional(["residual", "batch_norm"], 8, "pool").train()
    model[0].eval()
    model[0].get_parameter("weight").requires_grad_(False)
    randomize(model, 0)
    plant(model, _IMAGES, 1, 1, 0)
    before, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    small = compress(model, _IMAGES, 0).model
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert [m.training for m in small.modules()] == [m.training for m in model.modules()]
    assert not small.get_parameter("0.weight").requires_grad
    theirs = {p.data_ptr() for p in model.parameters()}
    assert not theirs & {p.data_ptr() for p in small.parameters()}


@pytest.mark.parametrize("kind", ["batch_norm", "group_norm", "grouped", "attention", "torch"])
def test_the_result_saves_loads_and_trains_on(kind: str, tmp_path: Path) -> None:
    is_transformer = kind in ("attention", "torch")
    model = transformer([kind], 12, 3) if is_transformer else convolutional([kind], 8, "pool")
    randomize(model, 0)
    plant(model, _IMAGES, 1, 1, 0)
    small = compress(model, _IMAGES, 0).model
    torch.save(small, tmp_path / "whole.pt")
    loaded = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert torch.equal(loaded.eval()(_IMAGES), small.eval()(_IMAGES))
    torch.save(small.state_dict(), tmp_path / "state.pt")
    other = copy.deepcopy(small)
    randomize(other, 5)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other(_IMAGES), small(_IMAGES))

    optimizer = torch.optim.SGD(loaded.train().parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(loaded(_IMAGES), torch.tensor([0, 1, 2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_it_can_be_compressed_again() -> None:
    model = transformer(["torch", "attention", "mlp"], 16, 4).eval()
    randomize(model, 0)
    plant(model, _IMAGES, 1, 0, 0)
    once = compress(model, _IMAGES, 0).model
    left = plant(once, _IMAGES, 1, 0, 1)
    result = compress(once, _IMAGES, 0)
    assert dict(zip(result.layers["layer"], result.layers["neurons_after"], strict=True)) == left
    before = once(_IMAGES).detach()
    torch.testing.assert_close(result.model(_IMAGES), before, rtol=0, atol=1e-5 * float(before.abs().max()))


def test_merging_adds_outgoing_weights_and_keeps_the_representatives_incoming_ones() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    first, last = model[0], model[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        first.weight[2], first.bias[2], last.weight[:, 2] = first.weight[0] + 0.01, first.bias[0], last.weight[:, 0]
    small = compress(model, torch.randn(2, 3), 0.1).model
    assert torch.equal(small.get_parameter("0.weight"), first.weight[:2])
    expected = torch.stack([last.weight[:, 0] + last.weight[:, 2], last.weight[:, 1]], dim=1)
    torch.testing.assert_close(small.get_parameter("2.weight"), expected)
    assert compress(model, torch.randn(2, 3), 0).layers["merged"].sum() == 0


def test_equal_incoming_weights_alone_are_no_exact_collapse() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        for name in ("0.weight", "0.bias"):
            model.get_parameter(name)[1] = model.get_parameter(name)[0]
    assert compress(model, torch.randn(2, 3), 0).after.neurons == 4


def test_a_layer_keeps_one_neuron_at_least() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    for name in ("0.weight", "0.bias", "2.weight"):
        nn.init.zeros_(model.get_parameter(name))
    result = compress(model, torch.randn(2, 3), 0)
    assert result.after.neurons == 1
    assert torch.equal(result.model(torch.ones(1, 3))[0], model.get_parameter("2.bias"))


# --- what cannot be done --------------------------------------------------------------------------------------------


class MeanOverChannels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True)


def test_operations_over_the_neurons_are_obstacles() -> None:
    model = nn.Sequential(nn.Linear(3, 6), MeanOverChannels(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 2))
    randomize(model, 0)
    x = torch.randn(2, 3)
    plant(model, x, 1, 1, 0)
    result = assert_exact(model, None, x)
    assert list(result.layers["neurons_after"]) == [6, 3]
    (one,) = result.skipped
    assert one.what == "0"
    assert one.reason == "mean in 1 goes over its neurons, and depends on how many there are"


class TiedEmbedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.inner = (
            nn.Embedding(11, 8),
            Residual(nn.Sequential(nn.Linear(8, 9), nn.GELU(), nn.Linear(9, 8))),
        )
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.inner(self.embedding(tokens)))
        return out


def test_tied_embeddings_lose_vanished_neurons_and_stay_tied() -> None:
    model = TiedEmbedding()
    randomize(model, 0)
    tokens = torch.randint(0, 11, (2, 5))
    plant(model, tokens, 1, 1, 0)
    result = assert_exact(model, None, tokens)
    assert dict(zip(result.layers["layer"], result.layers["neurons_after"], strict=True)) == {
        "inner.inner.0": 7,
        "inner.inner.stream": 7,
    }
    assert [one.reason for one in result.skipped] == [
        "its redundant neurons stay: embedding.weight makes them and reads them"
    ]
    small = result.model
    assert isinstance(small, TiedEmbedding)
    assert small.head.weight is small.embedding.weight
    assert (small.embedding.embedding_dim, small.head.in_features) == (7, 7)


class Mixer(nn.Module):
    """Mixes tokens with biases, which write into every channel alike, also into a vanished one."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), Tokens())
        self.mix = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4))
        self.head = nn.Sequential(nn.LayerNorm(8), Mean(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        out: Tensor = self.head(x + self.mix(x.mT).mT)
        return out


def test_vanished_neurons_stay_where_something_else_writes_into_them() -> None:
    model = Mixer()
    randomize(model, 0)
    plant(model, _IMAGES, 1, 1, 0)
    result = assert_exact(model, None)
    row = result.layers.set_index("layer").loc["patches.0"]
    assert (row.vanished, row.merged, row.neurons_after) == (0, 1, 7)
    assert result.skipped[0].reason.startswith("its vanished neurons stay: the smaller network's output differs by")


class Ambiguous(nn.Module):
    """Attention whose heads are as many as each has numbers, and a module that keeps both in attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = self.size = self.unrelated = 4
        self.qkv, self.proj = nn.Linear(5, 48), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(x.shape[0], x.shape[1], 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(x.transpose(1, 2).reshape(x.shape[0], x.shape[2], self.heads * self.size))
        return out


def test_sizes_of_equal_value_are_told_apart_by_trying() -> None:
    model = Ambiguous()
    randomize(model, 0)
    x = torch.randn(2, 7, 5)
    assert_exact(model, dict(plant(model, x, 1, 1, 0)), x)
    small = compress(model, x, 0).model
    assert isinstance(small, Ambiguous)
    assert (small.heads, small.size) == (2, 4)


class Hidden(nn.Module):
    """A size that no attribute keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(x).view(-1, 6))
        return out


def test_a_size_that_is_written_out_is_an_obstacle() -> None:
    model = Hidden()
    randomize(model, 0)
    x = torch.randn(2, 3)
    plant(model, x, 1, 1, 0)
    result = assert_exact(model, None, x)
    assert result.after.neurons == 6
    assert result.skipped[0].reason.startswith("its modules do not fit then: ")


@pytest.mark.parametrize("tolerance", [-0.1, 1.5, float("nan")])
def test_tolerances_out_of_range_are_refused(tolerance: float) -> None:
    with pytest.raises(InputError, match="tolerance: expected a number from 0 to 1, found"):
        compress(nn.Linear(2, 2), torch.zeros(1, 2), tolerance)


def test_larger_tolerances_keep_fewer_neurons() -> None:
    """Of vectors that shrink geometrically, and near copies."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.GELU(), nn.Linear(40, 5))
    with torch.no_grad():
        for k in range(40):
            model.get_parameter("0.weight")[k] *= 0.9**k
            model.get_parameter("0.bias")[k] *= 0.9**k
            model.get_parameter("2.weight")[:, k] *= 0.9**k
    x = torch.randn(8, 6)
    kept = [compress(model, x, tolerance).after.neurons for tolerance in (0, 0.05, 0.1, 0.3)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 40
    norms = measure_collapse(model, x)
    assert kept[2] == norms["independent"].sum()
    assert np.diff(kept).min() < 0


# --- found by a review ----------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 12, batch_first=True)
        self.first, self.encoder, self.last = nn.Linear(5, 16), nn.TransformerEncoder(layer, 2), nn.Linear(16, 3)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        out: Tensor = self.last(self.encoder(self.first(x), src_key_padding_mask=mask))
        return out


@pytest.mark.filterwarnings("ignore:.*nested tensors")
def test_a_compressed_encoder_takes_padding_masks() -> None:
    """Also in evaluation without gradients, where PyTorch's own takes nested tensors."""
    model = Encoder().eval()
    randomize(model, 0)
    x = torch.randn(2, 6, 5)
    mask = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]]).bool()
    left = plant(model, x, 1, 1, 0)
    for example in (x, {"x": x, "mask": mask}):
        result = compress(model, example, 0)
        assert dict(zip(result.layers["layer"], result.layers["neurons_after"], strict=True)) == left
        with torch.no_grad():
            torch.testing.assert_close(result.model(x, mask)[0, :4], model(x, mask)[0, :4], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(result.model(x, mask)[1], model(x, mask)[1], rtol=1e-4, atol=1e-5)


class PlainCall(nn.Module):
    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x)[0]
        return out


def test_attention_whose_averaged_weights_nobody_uses() -> None:
    model = nn.Sequential(nn.Linear(5, 16), PlainCall(), nn.Linear(16, 3)).eval()
    randomize(model, 0)
    x = torch.randn(2, 6, 5)
    assert_exact(model, dict(plant(model, x, 1, 1, 0)), x)


def test_only_the_input_of_attention_collapses() -> None:
    model = nn.Sequential(nn.Linear(5, 16), PlainCall(), nn.Linear(16, 3)).eval()
    randomize(model, 0)
    with torch.no_grad():
        for tensor in (model.get_parameter("0.weight"), model.get_parameter("0.bias")):
            tensor[3] = tensor[2]
        weight = model.get_parameter("1.attention.in_proj_weight")
        weight[:, 3] = weight[:, 2]
    result = assert_exact(model, None, torch.randn(2, 6, 5))
    assert list(result.layers["merged"]) == [1, 0, 0]
    assert result.skipped == ()


@pytest.mark.parametrize("option", ["add_bias_kv", "add_zero_attn"])
def test_attention_with_more_keys_stays(option: str) -> None:
    model = nn.Sequential(nn.Linear(5, 16), PlainCall(**{option: True}), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 3))
    randomize(model, 0)
    x = torch.randn(2, 6, 5)
    plant(model, x, 1, 1, 0)
    result = assert_exact(model.eval(), None, x)
    assert result.layers.set_index("layer").loc["2", "neurons_after"] == 6
    assert any("has bias_k or add_zero_attn" in one.reason for one in result.skipped)


class Casting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(torch.tanh(self.first(x.float())))
        return out


def test_a_network_that_casts() -> None:
    model = Casting()
    randomize(model, 0)
    x = torch.randn(4, 5)
    assert_exact(model, dict(plant(model, x, 1, 1, 0)), x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3)).to(dtype)
    x = torch.randn(4, 5).to(dtype)
    left = plant(model, x, 1, 1, 0)
    result = compress(model, x, 0)
    assert list(result.layers["neurons_after"]) == list(left.values())
    assert result.model(x).dtype == dtype
    assert result.largest_change < 0.1


class Counting(nn.Module):
    """Counts its calls in a buffer, one changed in place and one put anew."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("others", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.get_buffer("calls").add_(1)
        self.others = self.get_buffer("others") + 1
        out: Tensor = self.last(torch.tanh(self.first(x)))
        return out


def test_buffers_of_the_model_stay_as_they_are() -> None:
    model = Counting()
    x = torch.randn(4, 5)
    plant(model, x, 1, 1, 0)
    compress(model, x, 0)
    measure_collapse(model, x)
    assert [int(buffer) for buffer in model.buffers()] == [0, 0]


class Unrelated(nn.Module):
    """Keeps a number that happens to be that of its neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.width = self.tokens = 8
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(x).view(len(x), self.width))
        return out


def test_only_sizes_that_must_change_do() -> None:
    model = Unrelated()
    randomize(model, 0)
    x = torch.randn(4, 5)
    assert_exact(model, dict(plant(model, x, 1, 1, 0)), x)
    small = compress(model, x, 0).model
    assert isinstance(small, Unrelated)
    assert (small.width, small.tokens) == (6, 8)


def test_wrapped_networks_are_measured_and_compressed_by_their_own_names() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3))
    x = torch.randn(4, 5)
    left = plant(model, x, 1, 1, 0)
    wrapped = nn.DataParallel(model)
    assert list(measure_collapse(wrapped, x)["layer"]) == ["0"]
    result = compress(wrapped, x, 0)
    assert list(result.layers["neurons_after"]) == list(left.values())
    assert isinstance(result.model, nn.Sequential)


@pytest.mark.parametrize("example", [None, 3])
def test_examples_of_other_kinds_are_refused(example: object) -> None:
    with pytest.raises(InputError, match="example_input: expected a tensor, a sequence of arguments or a mapping"):
        compress(nn.Linear(2, 2), example)  # type: ignore[arg-type]


def test_nothing_found_and_nothing_given() -> None:
    result = compress(nn.Sequential(nn.Linear(8, 3)), torch.randn(2, 8), 0)
    assert "neurons 0 → 0 (0.0% fewer)" in result.summary()
    model = nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3))
    assert compress(model, torch.zeros(0, 5), 0).largest_change == 0


@pytest.mark.parametrize("tolerance", [0, 0.1])
def test_weights_that_are_not_finite_are_refused_at_any_tolerance(tolerance: float) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    nn.init.constant_(model.get_parameter("0.bias"), float("nan"))
    with pytest.raises(InputError, match="NaN or infinite"):
        compress(model, torch.zeros(1, 3), tolerance)


def test_a_normalization_in_two_places_stays_one_and_as_trainable_as_it_was() -> None:
    norm = nn.LayerNorm(8).requires_grad_(False)
    model = nn.Sequential(
        nn.Linear(5, 8), norm, Residual(nn.Sequential(nn.Linear(8, 9), nn.GELU(), nn.Linear(9, 8))), norm
    )
    model = nn.Sequential(*model, nn.Linear(8, 3)).eval()
    randomize(model, 0)
    x = torch.randn(4, 5)
    result = assert_exact(model, dict(plant(model, x, 1, 0, 0)), x)
    assert result.model[1] is result.model[3]  # type: ignore[index]
    assert not result.model[1].training  # type: ignore[index]
    assert not any(parameter.requires_grad for parameter in result.model[1].parameters())  # type: ignore[index]
