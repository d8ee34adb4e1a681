"""Fine-tuning: where a run takes its first weights from, and what of that belongs to its identity."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import nn

from ..config import OriginSettings, TrainConfig, identity
from ..errors import InputError
from ..models.weights import load_weights
from ..runs import RunDirectory


def located(config: TrainConfig) -> TrainConfig:
    """`config` with the step and the identity of its origin filled in from what lies there.

    A run's identity is that of its settings, a file's the SHA-256 of its bytes, so that an origin may be moved. A
    `config` without an origin, or with an origin located before, comes back as it is. Raises `InputError` where
    nothing lies there.
    """
    origin = config.origin
    if origin is None or (origin.identity is not None and (origin.weights is not None or origin.step is not None)):
        return config
    if origin.weights is not None:
        try:
            found = {"identity": "sha256:" + hashlib.sha256(Path(origin.weights).read_bytes()).hexdigest()}
        except OSError as error:
            raise InputError(f"from.weights of {config.name}: {origin.weights}: {error.strerror}") from None
        return config.model_copy(update={"origin": origin.model_copy(update=found)})
    run = _run(config, origin)
    step = origin.step if origin.step is not None else max(run.checkpoints(), default=None)
    if step is None:
        raise InputError(f"from.run of {config.name}: {run} has no checkpoint yet")
    return config.model_copy(
        update={"origin": origin.model_copy(update={"step": step, "identity": _identity(run, origin)})}
    )


def load_origin(config: TrainConfig, model: nn.Module) -> None:
    """Put the weights of the origin of `config` into `model`; without an origin, leave it as it is.

    Raises `InputError`, naming both, where the origin's checkpoint is missing, or is of another network.
    """
    origin = config.origin
    if origin is None:
        return
    if origin.weights is not None:
        path = Path(origin.weights)
    else:
        run = _run(config, origin)
        if (found := _identity(run, origin)) != origin.identity:
            raise InputError(f"from.run of {config.name}: {run} is now the run {found}, and was {origin.identity}")
        there = run.checkpoints()
        if origin.step not in there:
            steps = ", ".join(map(str, there)) or "none"
            raise InputError(
                f"from.step of {config.name}: {run} has no checkpoint of step {origin.step} (has: {steps})"
            )
        path = there[origin.step]
    weights, own = load_weights(path, config.model.name), model.state_dict()
    for name in [*own, *weights]:
        theirs, ours = (str(tuple(state[name].shape)) if name in state else "missing" for state in (weights, own))
        if theirs != ours:
            raise InputError(
                f"{path} does not fit the network {config.model.name} of {config.name}: {name} is {theirs} there, "
                f"expected {ours}"
            )
    model.load_state_dict(weights)


def _run(config: TrainConfig, origin: OriginSettings) -> RunDirectory:
    """The run itself, or of an experiment the replicate of the same number."""
    path = Path(origin.run or "")
    run = RunDirectory(path)
    if not run.exists:
        run = RunDirectory(path / f"replicate_{config.replicate}")
    if not run.exists:
        raise InputError(f"from.run of {config.name}: no run in {path}, nor in {run}")
    return run


def _identity(run: RunDirectory, origin: OriginSettings) -> str:
    """Without the replicate's number where it follows from that of the run to come."""
    there = run.config()
    paired = run.path != Path(origin.run or "")
    return identity(there) if paired else f"{identity(there)}/replicate_{there.replicate}"
