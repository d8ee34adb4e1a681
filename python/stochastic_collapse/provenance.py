"""All that a run depends on beside its settings: its origin, and what the files hold that settings name."""

from __future__ import annotations

from pathlib import Path

from .config import TrainConfig
from .data.sources import digest_of_path, sources_of
from .errors import InputError
from .origin import located as with_origin
from .user_code import digest_of

_PYTHON = "python:"


def located(config: TrainConfig) -> TrainConfig:
    """`config` with its origin (`origin.located`) and its `sources` filled in from what lies there now.

    Raises `InputError` where nothing lies there, and where something else does than when `sources` were filled in.
    """
    config = with_origin(config)
    found = _sources(config)
    if config.sources and found != config.sources:
        changed = next(key for key in {**config.sources, **found} if config.sources.get(key) != found.get(key))
        raise InputError(
            f"{changed} of {config.name}: {_named(config, changed)} has changed since these settings were written: it "
            f"was {_short(config.sources.get(changed))} and is {_short(found.get(changed))}; put it back, or start "
            "another run from it: sources={}"
        )
    return config if found == config.sources else config.model_copy(update={"sources": found})


def changed_since(config: TrainConfig, earlier: TrainConfig) -> str | None:
    """What of `sources` has changed between two otherwise equal runs, in words; None where they differ in more."""
    same = earlier.model_copy(update={"sources": config.sources, "replicate": config.replicate}) == config
    names = [key for key in config.sources if config.sources[key] != earlier.sources.get(key)]
    if not same or not names:
        return None
    return ", ".join(f"{_named(config, name)} ({name})" for name in names)


def require_same_model(config: TrainConfig) -> None:
    """Raise `InputError` where what makes the network is no longer what it was when `sources` were filled in."""
    require_source(config.model.name, config.sources.get("model.name"), f"model.name of {config.name}")


def require_same_data(config: TrainConfig) -> None:
    """Raise `InputError` where the data are no longer what they were when `sources` were filled in."""
    for key, now in sources_of(config.data).items():
        if key in config.sources and (before := config.sources[key]) != now:
            raise InputError(
                f"{key} of {config.name}: {_named(config, key)} has changed since the run was trained: it was "
                f"{_short(before)} and is {_short(now)}; put it back"
            )


def require_source(name: str, digest: str | None, where: str) -> None:
    """Raise `InputError` where the network `name` is made by a file, and that has another digest now."""
    if (now := model_source(name)) != digest:
        raise InputError(
            f"{where}: {name} has changed since the network was trained: it was {_short(digest)} and is "
            f"{_short(now)}; put it back"
        )


def model_source(name: str) -> str | None:
    """Digest of the file that a network is made by; None of those that libraries make, or the package."""
    if name.startswith(_PYTHON):
        return digest_of(name, "model.name")
    if name.startswith("transformers:"):
        path = Path(name.partition(":")[2]).expanduser()
        file = path / "config.json" if path.is_dir() else path
        return digest_of_path(file, "model.name") if file.is_file() else None  # else the name of a type
    return None


def _sources(config: TrainConfig) -> dict[str, str]:
    found = sources_of(config.data)
    if (source := model_source(config.model.name)) is not None:
        found["model.name"] = source
    if config.model.weights is not None:
        found["model.weights"] = digest_of_path(Path(config.model.weights).expanduser(), "model.weights")
    if config.loss.startswith(_PYTHON):
        found["loss"] = digest_of(config.loss, "loss")
    return found


def _named(config: TrainConfig, key: str) -> str:
    """The value of a dotted setting."""
    value: object = config
    for part in key.split("."):
        value = getattr(value, part, None)
    return str(value)


def _short(digest: str | None) -> str:
    return digest[:19] if digest else "none"
