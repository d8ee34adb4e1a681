"""Where fine-tuning finds its first weights, and what of that belongs to the identity of the run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .config import OriginSettings, TrainConfig, identity
from .errors import InputError
from .runs import RunDirectory


def required(config: TrainConfig) -> TrainConfig:
    """`config` itself; `InputError` where it names no weights to start from."""
    if config.origin is None and config.model.weights is None:
        raise InputError(
            f"{config.name}: fine-tuning needs an origin: from.run=RUN from.step=N, from.weights=FILE, or "
            "model.weights=FILE"
        )
    return config


def located(config: TrainConfig) -> TrainConfig:
    """`config` with the step and the identity of its origin filled in from what lies there.

    A run's identity is that of its settings, a file's the SHA-256 of its bytes, so that an origin may be moved. An
    experiment (replicate k from its replicate k) and one of its runs (all replicates from it) are different origins. A
    `config` without an origin, or with an origin located before, comes back as it is. Raises `InputError` where
    nothing lies there, or where the step is left open and the run is not finished.
    """
    origin = config.origin
    if origin is None or (origin.identity is not None and (origin.weights is not None or origin.step is not None)):
        return config
    if origin.weights is not None:
        return _filled_in(config, identity=_digest(config, Path(origin.weights)))
    run = _run(config, origin)
    if origin.step is None and run.status().get("state") != "finished":
        raise InputError(f"from.run of {config.name}: {run} is not finished; say which checkpoint: {_steps(run)}")
    step = origin.step if origin.step is not None else max(run.checkpoints())
    return _filled_in(config, step=step, identity=_identity(run, origin))


def planned(config: TrainConfig, source: TrainConfig) -> TrainConfig:
    """`config` with the identity of its origin filled in, a run of the settings `source` that may not be there yet.

    ``from.run`` of `config` must be the experiment's directory, and ``from.step`` be given.
    """
    return _filled_in(config, identity=identity(source))


def file_of(config: TrainConfig) -> Path:
    """The file with the weights that a `located` `config` starts from.

    Raises `InputError`, naming both, where there is no such checkpoint or another run lies there now.
    """
    origin = config.origin
    assert origin is not None
    if origin.weights is not None:
        path = Path(origin.weights)
        if (found := _digest(config, path)) != origin.identity:
            raise InputError(f"from.weights of {config.name}: {path} is now {found}, and was {origin.identity}")
        return path
    run = _run(config, origin)
    if (found := _identity(run, origin)) != origin.identity:
        raise InputError(f"from.run of {config.name}: {run} is now the run {found}, and was {origin.identity}")
    there = run.checkpoints()
    if origin.step not in there:
        raise InputError(f"from.step of {config.name}: {run} has no checkpoint of step {origin.step}: {_steps(run)}")
    return there[origin.step]


def _steps(run: RunDirectory) -> str:
    return f"there are {', '.join(map(str, run.checkpoints())) or 'none'}"


def _digest(config: TrainConfig, path: Path) -> str:
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        raise InputError(f"from.weights of {config.name}: {path}: {error.strerror}") from None


def _filled_in(config: TrainConfig, **found: str | int) -> TrainConfig:
    assert config.origin is not None
    return config.model_copy(update={"origin": config.origin.model_copy(update=found)})


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
