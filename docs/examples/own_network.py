"""Train a network of one's own at two learning rates, and draw how its neurons collapse."""

import matplotlib.pyplot as plt
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from stochastic_collapse import measure_collapse

images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = (images.float().reshape(-1, 1, 8, 8) - 4.9) / 6.0


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 256),
        nn.GELU(),
        nn.Linear(256, 10),
    )


def trained(lr: float, steps: int = 4000, every: int = 500) -> pd.DataFrame:
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-3)
    tables = []
    for step in range(steps + 1):
        if step % every == 0:
            tables.append(measure_collapse(model, images[:2]).assign(step=step))
        batch = torch.randint(len(images), (32,))
        optimizer.zero_grad()
        cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    print(f"lr {lr}: {(model(images).argmax(1) == labels).float().mean():.1%} of the images right")
    return pd.concat(tables)


figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
for lr, colour in ((0.01, "C0"), (0.1, "C3")):
    for axis, (layer, rows) in zip(axes, trained(lr).groupby("layer", sort=False), strict=True):
        axis.plot(rows["step"], rows["fraction_independent"], color=colour, label=f"lr {lr}")
        axis.set(title=f"layer {layer}", xlabel="SGD step", ylim=(0, 1.05))
axes[0].set_ylabel("independent neurons")
axes[0].legend()
figure.savefig("own_network.png", dpi=110, bbox_inches="tight")
