"""`simulate_toy`: from settings to a finished toy run, with the engine that was asked for or the best there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import EngineUnavailable, InputError
from ..terminal import work_bar
from .directory import ToyDirectory, ToyRun
from .engines import ENGINES, Engine, Progress, Report, all_engines
from .problems import ToyConfig


def simulate_toy(
    config: ToyConfig,
    engine: str = "auto",
    *,
    julia: str | Path | None = None,
    out: str | Path | None = None,
    report: Report | None = None,
) -> ToyRun:
    """Simulate one toy problem and return the finished run (docs/reference/run-directory.md#toys).

    `engine` is juliacall, julia, torch, or auto: the first of these that is available; provenance.toml says which and
    why. `julia` is the program for the engine of that name, `out` a directory for this run in place of
    ``$SC_RUNS/<name>-<hash>``; `report` is called with each line of news. A finished run is not simulated again, by
    whichever engine it was; an unfinished one continues with its finished noise levels if the engine is of the same
    random numbers. Ctrl-C and SIGTERM raise `Interrupted`. Raises `EngineUnavailable` where no engine can run,
    `EngineFailed` where one broke off, `InputError` for bad settings, of which it leaves nothing, `RunLocked`
    where another process works in the directory.
    """
    if engine not in ("auto", *ENGINES):
        raise InputError(f"engine: expected auto, {', '.join(ENGINES)}, found {engine!r}")
    report = report or (lambda line: None)
    directory = ToyDirectory(Path(out)) if out is not None else ToyDirectory.of(config)
    for note in config.notes():
        report(f"{config.name}: {note}")
    with directory.lock():
        new = directory.prepare(config)
        if directory.is_finished:
            directory.remove_levels()  # of a process that was killed at its very end
            report(f"{directory}: already finished, by the engine {directory.provenance()['engine']}")
        else:
            candidates = [e for e in all_engines(julia, config.problem.name) if engine in ("auto", e.name)]
            try:
                why = _run_first(candidates, directory, report, by_name=engine != "auto")
            except InputError:
                if new:  # with these settings there is nothing to go on with
                    directory.discard()
                raise
            directory.write_provenance({"chosen": why, **directory.provenance()})
    return directory.load()


def simulate_all(
    configs: Sequence[ToyConfig],
    engine: str = "auto",
    *,
    julia: str | Path | None = None,
    out: str | Path | None = None,
    report: Report | None = None,
) -> list[ToyRun]:
    """`simulate_toy` for each of `configs`; where they are several, each has a folder of its name in `out`."""

    def place(config: ToyConfig) -> Path | None:
        return None if out is None else Path(out) if len(configs) == 1 else Path(out) / config.name

    return [simulate_toy(config, engine, julia=julia, out=place(config), report=report) for config in configs]


def _run_first(candidates: Sequence[Engine], directory: ToyDirectory, report: Report, *, by_name: bool) -> str:
    """Run the first of `candidates` that is available and starts; returns why it was that one."""
    passed: list[str] = []
    cause: BaseException | None = None
    for engine in candidates:
        state = engine.availability()
        if not state.available:
            reason = state.explain() if by_name else state.reason
            passed.append(f"engine {engine.name}: {reason}")
            continue
        why = "asked for by name" if by_name else "; ".join(["auto: the first that is available", *passed])
        report(f"engine {engine.name} ({state.reason}); {why}")
        _claim(directory, engine, report)
        try:
            _run(engine, directory, report)
        except EngineUnavailable as error:
            passed.append(str(error))
            cause = error.__cause__
            continue
        return why
    raise EngineUnavailable("\n".join(passed)) from cause


def _claim(directory: ToyDirectory, engine: Engine, report: Report) -> None:
    before = directory.levels_done()
    kept = directory.claim_levels(engine.stream)
    if kept:
        report(f"{directory}: continues after {kept} noise levels")
    elif before:
        report(f"{directory}: starts anew: {before} noise levels were of another engine's random numbers")


def _run(engine: Engine, directory: ToyDirectory, report: Report) -> None:
    with work_bar() as bar:
        task = bar.add_task(directory.path.name, total=None, report=f"starting {engine.name}")

        def show(progress: Progress) -> None:
            levels = f"{progress.levels_done}/{progress.levels} noise levels"
            bar.update(task, total=progress.steps, completed=progress.steps_done, report=levels)

        engine.run(directory, show, report)
