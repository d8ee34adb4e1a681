"""All figures from nothing: make the runs that are missing, draw, and write a page that shows what came out.

In the directory of the pictures, `<figure>.json` records how each was made; `index.html` is made of these records, so
that calls for a few figures add to it, and an interrupted call leaves what it has done.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stochastic_collapse.config import read_settings
from stochastic_collapse.errors import InputError, Interrupted, StochasticCollapseError
from stochastic_collapse.runs import runs_root
from stochastic_collapse.toys.engines import ENGINES

from . import SHIPPED, sources, style
from .index import duration, write_index
from .needs import SIZES, Means, Need, Report
from .records import Record, Source, read_records, write_record

EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class Regenerated:
    """How the figures came out."""

    page: Path
    """That shows them, with those of other calls."""
    records: list[Record]
    """Of the figures of this call."""

    @property
    def failures(self) -> dict[str, list[str]]:
        """What failed, by figure."""
        return {record.name: record.problems for record in self.records if record.problems}

    def summary(self) -> str:
        """Lines for people: the pictures, the page, what does not hold, and at the end what failed."""
        folder = self.page.parent
        drawn = [f"{folder / name} ({duration(record.seconds)})" for record in self.records for name in record.pictures]
        denied = [
            f"does not hold: {record.name}: {message.sentence} ({message.measured})"
            for record in self.records
            for message in record.messages
            if not message.holds
        ]
        failed = [f"failed: {name}: {line}" for name, lines in self.failures.items() for line in lines]
        return "\n".join([*drawn, str(self.page), *denied, *failed])

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {"page": str(self.page), "figures": [record.to_json() for record in self.records]}


def regenerate(
    size: str = "quick",
    only: Sequence[str] = (),
    *,
    runs: Path | None = None,
    out: Path | None = None,
    engine: str = "auto",
    executor: str = "local",
    report: Report = lambda line: None,
) -> Regenerated:
    """Make and draw the figures of shipped settings, or `only` some, in one of SIZES; returns how each came out.

    `runs` is a runs root in place of $SC_RUNS: runs that are finished there are used, others are made there. `out` is
    where pictures, records and ``index.html`` go, default ``figures`` in the runs root. `engine` is for the toy runs,
    `executor` for the sweeps. A figure that fails does not stop the others: its record has `problems`. Ctrl-C and
    SIGTERM raise `Interrupted`, between runs `KeyboardInterrupt`, and the same call continues. Raises `InputError` for
    a name or size that is not there.
    """
    _check("size", size, SIZES)
    _check("engine", engine, ("auto", *ENGINES))
    _check("executor", executor, EXECUTORS)
    for name in only:
        _check("figure", name, tuple(SHIPPED))
    for folder, purpose in ((runs, "of runs"), (out, "to draw into")):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: no folder {purpose}")
    with _root(runs):
        out = out or runs_root() / "figures"
        out.mkdir(parents=True, exist_ok=True)  # where that fails, before hours of computing
        page = out / "index.html"
        records = []
        for name in (name for name in SHIPPED if not only or name in only):
            record = _figure(name, size, out, Means(engine, executor, report))
            write_record(out, record)
            write_index(page, read_records(out, SHIPPED))
            for problem in record.problems:
                report(f"figure {name}: {problem}")
            records.append(record)
        return Regenerated(page, records)


def _check(what: str, found: str, expected: Sequence[str]) -> None:
    if found not in expected:
        raise InputError(f"{what}: expected {', '.join(expected)}, found {found!r}")


@contextlib.contextmanager
def _root(runs: Path | None) -> Iterator[None]:
    """Have `runs` in place of $SC_RUNS, here and in processes that start meanwhile."""
    if runs is None:
        yield
        return
    before = os.environ.get("SC_RUNS")
    os.environ["SC_RUNS"] = str(runs)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SC_RUNS"]
        else:
            os.environ["SC_RUNS"] = before


def _figure(name: str, size: str, out: Path, means: Means) -> Record:
    """Make what is missing, draw what can be drawn, and say how that went."""
    module = SHIPPED[name]
    needs: tuple[Need, ...] = module.NEEDS[size]
    record = Record(name, module.TITLE, size, module.CAPTION, module.DIFFERENCES[size])
    try:
        for need in needs:
            record.problems += _make(name, need, means)
        began = time.perf_counter()
        results = module.load(sources.find(name, {size: needs}, (), means.report))
        record.messages += module.message(results)
        with style.paper():
            picture = module.draw(results)
            record.pictures += [path.name for path in style.save(picture, out / name)]
        record.inches = float(picture.get_figwidth())
        record.drawing_seconds = time.perf_counter() - began
        record.sources += [_source(need) for need in needs]
    except Interrupted:
        raise
    except StochasticCollapseError as error:
        record.problems += [line for line in str(error).splitlines() if line not in record.problems]
    except Exception as error:  # a mistake of ours, which must not cost the other figures
        record.problems.append(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return record


def _make(figure: str, need: Need, means: Means) -> list[str]:
    """Make what is missing; what failed, a line each. A figure may be drawn from what did not."""
    try:
        if need.is_finished():
            return []
        means.report(f"figure {figure}: {need.command}")
        return need.make(means)
    except Interrupted:
        raise
    except StochasticCollapseError as error:
        return str(error).splitlines()


def _source(need: Need) -> Source:
    account = need.account()
    settings = {file: read_settings(file).text for file in need.settings()}
    return Source(need.command, account.runs, account.seconds, account.how, settings)
