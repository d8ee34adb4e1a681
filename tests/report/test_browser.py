"""The page in a real browser: it draws, the slider moves it, nothing complains, in light and in dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stochastic_collapse.config import TrainConfig
from stochastic_collapse.report import collect, write_page, write_report
from stochastic_collapse.runs import RunDirectory

from .browser import Page
from .conftest import MakeRun

WIDTHS = "[...document.querySelector('#layers .stack').children].map(part => parseFloat(part.style.width))"
PIXELS = "document.getElementById('incoming').toDataURL()"
MARKS = "[...document.querySelectorAll('.chart .now[visibility=visible]')].map(line => line.getAttribute('x1'))"
INSIDE = "document.documentElement.scrollWidth <= innerWidth"


@pytest.fixture
def collapsing(run: RunDirectory) -> RunDirectory:
    """A run whose first layer loses neurons step by step: of 8, k vanish and k become redundant at the k-th step."""
    table = run.collapse()
    for k, step in enumerate(sorted(set(table["step"]))):
        of_layer = (table["step"] == step) & (table["layer"] == "fc1")
        table.loc[of_layer, ["vanished", "independent"]] = k, 8 - 2 * k
    run.write_collapse(table)
    return run


def heading(page: Page) -> Any:
    return page.evaluate("document.getElementById('step-text').textContent")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_and_the_slider_moves_it(collapsing: RunDirectory, page: Page, width: int, scheme: str) -> None:
    page.open(write_report([collapsing]), width, scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper.strip("rgb()").split(","))) > 380) == (scheme == "light")
    assert page.evaluate("document.querySelectorAll('.chart path.line').length") >= 4 + 3 + 2 + 2
    assert page.evaluate(INSIDE)

    # Steps 0, 15, 20, 30, 40: it begins with the last; 0, 20 and 40 are those of the table made above.
    assert heading(page) == "step 40"
    assert page.evaluate(WIDTHS) == [50, 25, 25]
    last, marks = page.evaluate(PIXELS), page.evaluate(MARKS)
    page.evaluate("document.getElementById('step').focus()")
    page.press("ArrowLeft")
    assert heading(page) == "step 30"
    assert page.evaluate(PIXELS) != last
    page.press("Home")
    assert heading(page) == "step 0"
    assert page.evaluate(WIDTHS) == [100, 0, 0]
    assert page.evaluate("document.querySelector('#layers .stack').getAttribute('aria-label')") == (
        "fc1: 8 independent, 0 redundant, 0 vanished of 8 neurons"
    )
    moved = page.evaluate(MARKS)
    assert moved
    assert not set(moved) & set(marks)
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert heading(page) == "step 20"
    assert page.evaluate(WIDTHS) == [75, 12.5, 12.5]
    page.point("#step", across=0.999, click=True)
    assert heading(page) == "step 40"
    assert page.evaluate(PIXELS) == last
    assert page.complaints() == []
    assert all(url.startswith("file:") for url in page.requests())


def test_curves_tell_their_values(run: RunDirectory, page: Page) -> None:
    page.open(write_report([run]))
    page.point("#training .chart:nth-child(3) svg", across=0.97)
    tip = page.evaluate("document.querySelector('#training .chart:nth-child(3) .tip').innerText")
    assert "step 40" in tip
    chart, box = page.evaluate(
        "['svg', '.tip'].map(name => document.querySelector('#training .chart:nth-child(3) ' + name))"
        ".map(element => (b => [b.left, b.top, b.right, b.bottom])(element.getBoundingClientRect()))"
    )
    assert chart[0] <= box[0] < box[2] <= chart[2]  # the tip lies within the chart
    assert chart[1] <= box[1] < box[3] <= chart[3]
    assert f"{run.metrics()['eval_accuracy'].iloc[-1]:.2%}" in tip
    page.point("h1")
    assert page.evaluate("[...document.querySelectorAll('.tip')].every(tip => tip.hidden)")
    page.point("#training .chart:nth-child(3) svg", across=0.2, click=True)  # takes the slider there
    assert heading(page) == "step 15"
    page.point("#incoming", across=0.01, down=0.01)
    assert page.evaluate("document.getElementById('cell').textContent") == "incoming, 1 and 1: 0.00"
    assert page.complaints() == []


def test_layers_are_chosen_in_the_list_and_in_the_table(run: RunDirectory, page: Page) -> None:
    page.open(write_report([run]))
    sides = {}
    for k, name in enumerate(("fc1", "fc2")):
        page.evaluate(f"document.querySelectorAll('#layers button')[{k}].click()")
        assert page.evaluate("document.getElementById('layer').value") == name
        sides[name] = page.evaluate("document.getElementById('outgoing').width")
    assert sides == {"fc1": 8, "fc2": 6}
    page.choose("#layer", "fc1")
    assert page.evaluate("document.getElementById('outgoing').width") == 8
    assert page.complaints() == []


def test_playing_goes_through_all_steps_and_ends(run: RunDirectory, page: Page) -> None:
    page.open(write_report([run]))
    page.evaluate(
        "seen = []; new MutationObserver(() => seen.push(document.getElementById('step-text').textContent))"
        ".observe(document.getElementById('step-text'), {childList: true}); document.getElementById('play').click()"
    )
    while page.evaluate("document.getElementById('play').getAttribute('aria-label')") != "Play":
        page.settle()
    assert page.evaluate("seen") == [f"step {step}" for step in (0, 15, 20, 30, 40)]


def test_compression_and_settings_are_shown(run: RunDirectory, page: Page) -> None:
    page.open(write_report([run]))
    chosen = page.evaluate("document.querySelector('#compression-table tr.strong').innerText")
    assert chosen.split() == [
        "0.1",
        "7",
        "(50%)",
        "110",
        "(50%)",
        "150",
        "(38%)",
        "0.0400",
        "89.60%",
        "−0.4",
        "points",
        "0.25",
    ]
    assert page.evaluate("document.querySelectorAll('#compression circle').length") == 6
    settings = page.evaluate("document.querySelector('#settings pre').textContent")
    assert settings == (run.path / "config.yaml").read_text()
    assert "torch" in page.evaluate("document.querySelector('#settings table').textContent")


def test_several_runs_are_compared(make_run: MakeRun, page: Page) -> None:
    runs = [make_run(f"optimizer.lr={lr}", f"model.widths=[{width}, 6]") for lr, width in ((0.05, 8), (0.01, 7))]
    page.open(write_report(runs))
    assert page.evaluate("document.querySelectorAll('#runs tbody tr').length") == 2
    assert page.evaluate("document.querySelectorAll('#training .chart:first-child path.line').length") == 2
    assert page.evaluate("document.querySelector('.lead').innerText").startswith("The test accuracies lie between")
    widths = []
    for k in range(2):
        page.choose("#run", k)
        assert page.evaluate(f"document.querySelectorAll('#runs tbody tr')[{k}].className") == "chosen"
        page.choose("#layer", "fc1")
        widths.append(page.evaluate("document.getElementById('incoming').width"))
        settings = page.evaluate("document.querySelector('#settings pre').textContent")
        assert f"lr: {0.01 if widths[-1] == 7 else 0.05}" in settings
    assert sorted(widths) == [7, 8]
    page.open(write_report(runs), 390, "dark")
    assert page.evaluate(INSIDE)
    assert page.complaints() == []


def test_what_is_absent_is_said(tiny: Callable[..., TrainConfig], page: Page) -> None:
    run = RunDirectory.of(tiny())
    run.write_config(tiny())
    run.write_status("running", 0, 0.0)
    page.open(write_report([run]))
    text = page.evaluate("document.body.innerText")
    for said in (
        "After 0 of 40 steps nothing has been measured yet.",
        "No collapse measured yet, and no checkpoint to measure.",
        "This run has no checkpoint to read the weights from.",
        f"sc compress {run.path}",
    ):
        assert said in text
    assert "no evaluations yet" in page.evaluate("document.getElementById('training').textContent")
    assert page.complaints() == []


def test_names_stay_names(run: RunDirectory, page: Page, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror='document.title=1'>&amp;"
    data = collect([run, run])
    for one in data["runs"]:
        one.update(label=evil, path=evil, name=evil, notes=[evil])
    write_page(data, tmp_path / "page.html")
    page.open(tmp_path / "page.html")
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert page.evaluate("document.querySelector('#runs button').innerText") == evil
    assert page.evaluate("document.querySelector('h1').innerText").startswith(evil)
    assert page.complaints() == []
