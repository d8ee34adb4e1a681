"""Runs to report on: a tiny one that was trained, with a table of compressions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
import pytest

from stochastic_collapse import train
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.runs import COMPRESSION, RunDirectory

from . import browser as chromium

MakeRun = Callable[..., RunDirectory]
"""``make_run(*overrides)``: a tiny trained run with these settings."""


def compression_table(step: int = 40) -> pd.DataFrame:
    """Rows of compression.csv for the tiny run, of which 0.1 removes half of the neurons."""
    rows = [
        [step, 0.0, 14, 14, 220, 220, 400, 400, 0.05, 0.05, 0.9, 0.9, 0.0],
        [step, 0.1, 14, 7, 220, 110, 400, 150, 0.05, 0.04, 0.9, 0.896, 0.25],
        [step, 0.5, 14, 2, 220, 30, 400, 50, 0.05, 0.03, 0.9, 0.5, 4.0],
    ]
    return pd.DataFrame(rows, columns=list(COMPRESSION))


@pytest.fixture
def make_run(tiny: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    monkeypatch.setattr("stochastic_collapse.report.compressed.TOLERANCES", (0.0, 0.1, 0.5))  # nothing to fill in

    def make(*overrides: str) -> RunDirectory:
        run = RunDirectory(train(tiny(*overrides)).directory)
        run.write_compression(compression_table())
        return run

    return make


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    return make_run()


@pytest.fixture(scope="session")
def _browser() -> Iterator[chromium.Page]:
    if chromium.found() is None:
        pytest.skip("no Chromium or Chrome on PATH (Debian: apt-get install chromium)")
    with chromium.browser() as page:
        yield page


@pytest.fixture
def page(_browser: chromium.Page) -> chromium.Page:
    """A tab of a headless browser."""
    return _browser
