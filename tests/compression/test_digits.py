"""A network of digits that has collapsed, whose weights are stored here: what compressing it is worth.

`data/digits_lr0.1_step20000.pt` is the state dict of the last checkpoint of
``sc train -f configs/digits/mlp_gelu.yaml optimizer.lr=0.1`` (torch 2.13.0, one CPU thread).
"""

from __future__ import annotations

from pathlib import Path

import torch

from stochastic_collapse import compress, load_config
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.examples import Normalizer
from stochastic_collapse.models import build_model

WEIGHTS = Path(__file__).parent / "data" / "digits_lr0.1_step20000.pt"


def test_a_third_of_the_neurons_goes_and_the_accuracy_stays() -> None:
    config = load_config("configs/digits/mlp_gelu.yaml")
    dataset = load_dataset(config.data)
    model = build_model(config.model, dataset.task)
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    images = Normalizer(dataset, torch.device("cpu"), torch.contiguous_format)(dataset.test.inputs)

    def accuracy(network: torch.nn.Module) -> float:
        with torch.no_grad():
            return float((network(images).argmax(1) == dataset.test.targets).double().mean())

    result = compress(model, images, 0.1, evaluate=accuracy)
    assert result.after.neurons <= 0.7 * result.before.neurons
    assert result.after.accuracy is not None
    assert result.before.accuracy is not None
    assert result.after.accuracy >= result.before.accuracy - 0.005
